"""A folder of pictures under annotation: its list, its files, and two people at once."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import ask, opening, save, serving
from PIL import Image

from point2mask_ot import label_dataset, read_coco_panoptic, read_points
from point2mask_ot.annotate.opened import ROOM, Opened
from point2mask_ot.annotate.session import Session
from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.cli import main

COFFEE = skimage.data.coffee()[::8, ::8]  # 50 x 75
CATEGORIES = [{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}]
NAMES = ["a/x.png", "b/x.png", "shot_2.jpg", "shot_10.jpg"]


@pytest.fixture
def photos(tmp_path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(COFFEE, 3 * number, 1)).save(root / name)
    return root


def state(*clicks, **more):
    points = [{"x": x, "y": y, "category": name, "target": k} for k, (x, y, name) in enumerate(clicks)]
    return {"categories": CATEGORIES, "points": points, "version": "", **more}


TWO = [(37, 15, "cup"), (5, 4, "table")]


def test_pictures_are_listed_as_people_count_without_those_of_the_results(photos):
    (photos / ".hidden").mkdir()
    for name in (".hidden/no.png", "._shot_2.jpg", "notes.txt"):
        (photos / name).write_bytes(b"")
    out = photos / "annotations"
    save(Session(photos, out=out), state(*TWO), "a/x.png")
    session = Session(photos, out=out)
    assert session.pictures.names == NAMES
    assert session.states() == ["begun", "untouched", "untouched", "untouched"]


def test_what_shares_a_name_is_kept_apart_and_the_job_reads_it(photos, tmp_path):
    out = tmp_path / "out"
    with serving(Session(photos, out=out)) as server:
        for name, clicks, mark in (
            ("a/x.png", TWO, None),
            ("b/x.png", TWO[::-1], "done"),
            ("shot_2.jpg", TWO[:1], "skipped"),
            ("shot_10.jpg", [], "done"),
        ):
            status, answer = ask(server, "save", state(*clicks, state=mark), picture=name)
            assert (status, answer["state"]) == (200, mark or "begun")
        assert ask(server, "folder")[1]["states"] == ["begun", "done", "skipped", "done"]
        assert ask(server, "state", picture="shot_2.jpg")[1]["state"] == "skipped"
        ask(
            server,
            "masks",
            state(*TWO, version=ask(server, "state", picture="a/x.png")[1]["version"]),
            picture="a/x.png",
        )
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.name[0] != ".") == [
        "a/panoptic/x.png", "a/x.json", "a/x_points.json", "b/x_points.json", "categories.json",
        "shot_10_points.json", "shot_2_points.json",
    ]  # fmt: skip
    made = label_dataset(photos, out, tmp_path / "labels", workers=0, progress=False)
    assert (made.pictures, made.labelled, made.set_aside) == (3, 3, 0)
    labels = read_coco_panoptic(tmp_path / "labels/panoptic.json", tmp_path / "labels/panoptic")
    by_name = {image.file_name: image for image in labels}
    assert set(by_name) == {"a/x.png", "b/x.png", "shot_10.jpg"}, "what was skipped is left alone"
    assert len(by_name["shot_10.jpg"].segments) == 0, "nothing is in it, a person has said"
    alone = read_coco_panoptic(out / "a/x.json", out / "a/panoptic")[0]
    np.testing.assert_array_equal(by_name["a/x.png"].id_map, alone.id_map)


def test_points_that_are_taken_back_leave_a_picture_untouched(photos, tmp_path):
    with serving(Session(photos, out=tmp_path / "out")) as server:
        first = ask(server, "save", state(*TWO))[1]
        assert ask(server, "save", state(version=first["version"]))[1]["state"] == "untouched"
        assert ask(server, "folder")[1]["states"][0] == "untouched"
    with pytest.raises(FileError, match="no points file"):
        label_dataset(photos, tmp_path / "out", tmp_path / "labels", workers=0, progress=False)


def test_only_some_pictures_in_an_order_of_ones_own(photos, tmp_path):
    asked = tmp_path / "doubtful.txt"
    asked.write_text("shot_10\n\n./b/x.jpg\nshot_10.jpg\nshot_2.jpg\n")
    out = tmp_path / "out"
    save(Session(photos, out=out), state(*TWO), "a/x.png")
    session = Session(photos, out=out, only=asked)
    assert list(session.pictures.names) == ["shot_10.jpg", "b/x.png", "shot_2.jpg"]
    assert session.folder()["states"] == ["untouched"] * 3
    with pytest.raises(ArgumentError, match=r"no picture 'a/x\.png'"):
        session.check_name("a/x.png")
    session.change_categories(json.dumps({"do": "rename", "name": "cup", "to": "mug"}).encode())
    assert {point["category"] for point in opening(Session(photos, out=out), "a/x.png")["points"]} == {"mug", "table"}
    with pytest.raises(ArgumentError, match=r"'only': got 'shot_3.jpg', which .* \(did you mean 'shot_2.jpg'\?\)"):
        Session(photos, out=out, only=["shot_3.jpg"])


def test_ten_thousand_pictures_are_listed_without_opening_one(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for number in range(10_000):
        (root / f"{number}.jpg").touch()  # empty: whoever opens it is refused
    start = time.perf_counter()
    session = Session(root, out=tmp_path / "out")
    told = session.folder()
    assert time.perf_counter() - start < 3
    assert (len(told["pictures"]), told["pictures"][9], set(told["states"])) == (10_000, "9.jpg", {"untouched"})
    with pytest.raises(FileError, match="an empty file"):
        opening(session)


@pytest.mark.parametrize(
    ("files", "expected"),
    [([], "without a picture"), (["a.png", "a.jpg"], "a.jpg and a.png.*differ in more than the suffix")],
)
def test_refuses_folders(files, expected, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in files:
        (tmp_path / "photos" / name).touch()
    with pytest.raises(ArgumentError, match=expected):
        Session(tmp_path / "photos", out=tmp_path / "out")
    assert main(["annotate", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--no-browser"]) == 2


def test_a_damaged_picture_or_file_of_points_is_the_trouble_of_that_picture_alone(photos, tmp_path):
    (photos / "shot_2.jpg").write_bytes(b"no picture")
    (tmp_path / "out/b").mkdir(parents=True)
    (tmp_path / "out/b/x_points.json").write_text("{")
    with serving(Session(photos, out=tmp_path / "out")) as server:
        assert ask(server, "folder")[1]["states"] == ["untouched", "begun", "untouched", "untouched"]
        for name, expected in (("shot_2.jpg", "no readable picture"), ("b/x.png", "JSON")):
            status, answer = ask(server, "state", picture=name)
            assert (status, expected in answer["error"]) == (400, True)
            status, answer = ask(server, "save", state(*TWO), picture=name)
            assert status == 400
        assert (tmp_path / "out/b/x_points.json").read_text() == "{"
        assert ask(server, "save", state(*TWO), picture="a/x.png")[0] == 200


def test_a_page_is_never_at_odds_with_itself(photos, tmp_path):
    """An answer is lost with a server that is killed; a beacon overtakes a save; another page still counts."""
    with serving(Session(photos, out=tmp_path / "out")) as server:
        assert ask(server, "save", state(*TWO, page="mine", edit=1))[0] == 200
    with serving(Session(photos, out=tmp_path / "out")) as server:
        status, answer = ask(server, "save", state(TWO[0], page="mine", edit=3))
        assert status == 200, "the version was in the answer that was lost"
        late = ask(server, "save", state(*TWO, page="mine", edit=2))
        assert late == (409, {"error": "a newer state is there"})
        theirs = state(*TWO, page="theirs", edit=9)
        assert ask(server, "save", theirs) == (409, {**ask(server, "save", theirs)[1], "version": answer["version"]})
        assert ask(server, "save", {**theirs, "version": answer["version"]})[0] == 200
        assert ask(server, "save", state(TWO[0], page="mine", edit=4))[0] == 409
    assert read_points(tmp_path / "out/a/x_points.json").targets.num_targets == 2


def test_two_servers_of_one_folder_share_its_categories(photos, tmp_path):
    with serving(Session(photos, out=tmp_path / "out")) as one, serving(Session(photos, out=tmp_path / "out")) as two:
        assert ask(one, "category", {"do": "add", "name": "cup", "isthing": 1})[0] == 200
        status, answer = ask(two, "category", {"do": "add", "name": "wall", "isthing": 0})
        assert (status, [c["name"] for c in answer["categories"]]) == (200, ["object", "cup", "background", "wall"])
        assert ask(one, "folder")[1]["categories"] == answer["categories"]
        for taken in ("cup", " ", ""):
            assert ask(two, "category", {"do": "add", "name": taken, "isthing": 1})[0] == 400
        # One that a page still has, though nobody else does any more, comes back with its points.
        assert ask(one, "save", state(*TWO))[0] == 200
        assert [c["name"] for c in ask(two, "folder")[1]["categories"]] == [
            "object", "cup", "background", "wall", "table"
        ]  # fmt: skip


def test_points_of_many_pictures_to_begin_with(photos, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("image,x,y,category\nb/x.png,3,4,cup\nshot_2.jpg,5,6,cup\n")
    session = Session(photos, out=tmp_path / "out", points=points)
    assert opening(session, "a/x.png")["points"] == []
    assert [(p["x"], p["y"]) for p in opening(session, "b/x.png")["points"]] == [(3, 4)]
    save(session, state(*TWO), "b/x.png")
    assert len(opening(session, "b/x.png")["points"]) == 2, "they have given way to what is saved"
    assert len(opening(session, "shot_2.jpg")["points"]) == 1


def test_a_large_picture_is_sent_reduced_and_saved_whole(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("point2mask_ot.annotate.opened.VIEW_PIXELS", 1000)
    session = Session(photos, out=tmp_path / "out", pixels=1000)
    told = opening(session)
    assert (told["view_factor"], told["width"], told["height"]) == (2, 75, 50)
    assert Image.open(io.BytesIO(session.opened("a/x.png").view)).size == (38, 25)
    assert save(session, state(*TWO))["factor"] == 1
    assert read_coco_panoptic(tmp_path / "out/a/x.json", tmp_path / "out/a/panoptic")[0].id_map.shape == (50, 75)
    Image.fromarray(COFFEE[::-1]).save(photos / "a/x.png")
    failed = save(session, state(*TWO, version=opening(session)["version"]))
    assert "has changed since it was opened" in failed["masks_error"]


def test_few_pictures_are_open_and_each_is_opened_once():
    begun, go = [], threading.Event()

    def open_one(name):
        begun.append(name)
        if name == "slow":
            go.wait(10)
        if name == "bad":
            raise ValueError(name)
        return name

    opened = Opened(open_one)
    threads = [threading.Thread(target=opened, args=("slow",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert begun == ["slow"]
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            opened("bad")
    assert begun == ["slow", "bad", "bad"], "it may have been mended"
    for number in range(50):
        opened(str(number))
    assert len(opened) == ROOM


def test_saved_files_are_whole_whenever_one_looks(photos, tmp_path):
    """Many saves of one picture, by one page, while another reads."""
    with serving(Session(photos, out=tmp_path / "out")) as server:
        ask(server, "save", state(*TWO, page="p", edit=0))
        path, seen, done = tmp_path / "out/a/x_points.json", [], threading.Event()

        def look():
            while not done.is_set():
                seen.append(json.loads(path.read_bytes())["info"]["saved_by"][1])

        reader = threading.Thread(target=look)
        reader.start()
        for edit in range(1, 20):
            assert ask(server, "save", state(*TWO, page="p", edit=edit))[0] == 200
        done.set()
        reader.join()
    assert seen == sorted(seen)


def names_of(path):
    document = json.loads(path.read_text())
    return [c["name"] for c in document["categories"]], [p["category"] for p in document["images"][0]["points"]]


def test_a_category_changes_in_every_picture(photos, tmp_path):
    out = tmp_path / "out"
    with serving(Session(photos, out=out)) as server:
        one = ask(server, "save", state(*TWO, page="p", edit=1), picture="a/x.png")[1]
        ask(server, "save", state(TWO[0], state="done"), picture="shot_2.jpg")

        def change(what, name, **more):
            return ask(server, "category", {"do": what, "name": name, **more})

        assert change("rename", "cup", to="mug")[0] == 200
        assert names_of(out / "a/x_points.json") == (["mug", "table"], ["mug", "table"])
        assert names_of(out / "shot_2_points.json") == (["mug", "table"], ["mug"])
        assert ask(server, "folder")[1]["states"] == ["begun", "untouched", "done", "untouched"], "as they were"
        # A page that has not seen it is told, as of any other change, even the page that saved last.
        assert ask(server, "save", state(*TWO, page="p", edit=2, version=one["version"]), picture="a/x.png")[0] == 409

        assert change("add", "bowl", isthing=1)[0] == 200
        assert change("add", "wall", isthing=0)[0] == 200
        assert change("merge", "mug", to="bowl")[0] == 200
        assert names_of(out / "a/x_points.json")[1] == ["bowl", "table"]
        listed = change("recolor", "bowl", color=[1, 2, 3])[1]["categories"]
        assert {c["name"]: c.get("color") for c in listed} == {"bowl": [1, 2, 3], "table": None, "wall": None}
        assert "color" not in change("recolor", "bowl", color=None)[1]["categories"][0]
        assert change("delete", "wall")[0] == 200
        for body, expected in (
            ({"do": "delete", "name": "bowl"}, "which has points in x_points.json"),
            ({"do": "merge", "name": "bowl", "to": "table"}, "both things, or both stuff"),
            ({"do": "merge", "name": "bowl", "to": "bowl"}, "two categories"),
            ({"do": "rename", "name": "bowl", "to": "table"}, "a new name"),
            ({"do": "rename", "name": "bowl", "to": " "}, "a new name"),
            ({"do": "rename", "name": "cup", "to": "x"}, "no category 'cup'"),
            ({"do": "recolor", "name": "bowl", "color": [1, 2, 300]}, "0..255"),
            ({"do": "drop", "name": "bowl"}, "'drop'"),
        ):
            status, answer = ask(server, "category", body)
            assert (status, expected in answer["error"]) == (400, True), answer
    made = label_dataset(photos, out, tmp_path / "labels", workers=0, progress=False)
    assert (made.labelled, made.set_aside) == (2, 0)


def test_stuff_that_is_merged_is_one_region(photos, tmp_path):
    out = tmp_path / "out"
    with serving(Session(photos, out=out)) as server:
        both = state((5, 4, "table"), (70, 40, "wall"), (37, 15, "cup"))
        both["categories"] = [*CATEGORIES, {"id": 3, "name": "wall", "isthing": 0}]
        both["points"][0]["size"] = 900
        ask(server, "save", both)
        assert ask(server, "category", {"do": "merge", "name": "wall", "to": "table"})[0] == 200
    found = read_points(out / "a/x_points.json").targets
    assert found.num_targets == 2
    assert sorted(found.is_thing.tolist()) == [False, True]
    assert np.isnan(found.size).all()


def test_coarse_labels_are_of_larger_blocks_and_wait_for_nobody(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("point2mask_ot.annotate.opened.COARSE_PIXELS", 1000)
    with serving(Session(photos, out=tmp_path / "out")) as server, server.turns.any():  # as while another is labelled
        name = "label?coarse&picture=a/x.png"
        status, answer = ask(server, name, state(*TWO))
        assert (status, answer["factor"], answer["width"]) == (200, 2, 38)
    assert server.session.label("a/x.png", json.dumps(state(*TWO)).encode())["factor"] == 1
