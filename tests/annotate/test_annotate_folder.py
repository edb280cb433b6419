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

from point2mask_ot import Category, label_dataset, read_coco_panoptic, read_points
from point2mask_ot.annotate.opened import ROOM, Opened
from point2mask_ot.annotate.session import Session
from point2mask_ot.checks import ArgumentError, FileError, InputWarning
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


TABLE = [Category(1, "table", False)]
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
    summary = json.loads((tmp_path / "labels/summary.json").read_text())
    assert (summary["pictures_skipped"], summary["pictures_without_points"]) == (1, 0)
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
    with pytest.raises(FileError, match=r"no picture to label: 0 skipped, 1 without a point"):
        label_dataset(photos, tmp_path / "out", tmp_path / "labels", workers=0, progress=False)


def test_only_some_pictures_in_an_order_of_ones_own(photos, tmp_path):
    asked = tmp_path / "doubtful.txt"
    asked.write_text("shot_10\n\n./b/x.jpg\nshot_10.jpg\nshot_2.jpg\n")
    out = tmp_path / "out"
    save(Session(photos, out=out), state(*TWO), "a/x.png")
    session = Session(photos, out=out, only=asked)
    assert list(session.pictures.names) == ["shot_10.jpg", "b/x.png", "shot_2.jpg"]
    assert session.folder()["states"] == ["untouched"] * 3
    with pytest.raises(ArgumentError, match=r"no picture 'a/x\.png'.* in the list of only"):
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
        # One that a page still has, though nobody else does any more, comes back with its points: the page is told.
        status, answer = ask(one, "save", state(*TWO))
        assert (status, answer["returned"]) == (200, ["table"])
        assert [c["name"] for c in answer["categories"]] == ["object", "cup", "background", "wall", "table"]
        assert ask(one, "save", state(*TWO, version=answer["version"]))[1]["returned"] == []
        assert [c["name"] for c in ask(two, "folder")[1]["categories"]] == [
            "object", "cup", "background", "wall", "table"
        ]  # fmt: skip


def test_points_of_many_pictures_to_begin_with(photos, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("image,x,y,category\nb/x.png,3,4,mug\nshot_2.jpg,5,6,mug\nx.jpg,1,1,mug\ny.jpg,1,1,sky:stuff\n")
    with pytest.warns(InputWarning, match=r"photos has no 'x.jpg', 'y.jpg' \(2 pictures\)"):
        session = Session(photos, out=tmp_path / "out", points=points)
    assert session.begun_with == f"points of 2 pictures taken from {points}"
    told = session.folder()
    assert told["states"] == ["untouched", "begun", "begun", "untouched"], "before anybody opens one"
    assert [(c["name"], c["isthing"]) for c in told["categories"]] == [("mug", 1), ("sky", 0)]
    made = label_dataset(photos, tmp_path / "out", tmp_path / "labels", workers=0, progress=False)
    assert (made.labelled, made.set_aside) == (2, 0)
    assert opening(session, "a/x.png")["points"] == []
    opened = opening(session, "b/x.png")
    assert [(p["x"], p["y"]) for p in opened["points"]] == [(3, 4)]
    save(session, state(*TWO, version=opened["version"]), "b/x.png")
    # With the same command again, what is saved stays, and what was renamed meanwhile does not come back.
    session.change_categories(json.dumps({"do": "rename", "name": "mug", "to": "bowl"}).encode())
    points.write_text("image,x,y,category\nb/x.png,3,4,mug\nshot_2.jpg,5,6,mug\n")
    again = Session(photos, out=tmp_path / "out", points=points)
    assert "2 pictures had points" in again.begun_with
    assert len(opening(again, "b/x.png")["points"]) == 2
    assert [c["name"] for c in again.folder()["categories"]] == ["bowl", "cup", "sky", "table"]


def test_a_picture_alone_begins_with_the_points_of_its_folder(photos, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("image,x,y,category\nx.png,1,1,cup\nb/x.png,3,4,mug\na/x.png,5,6,cup\n")
    session = Session(photos / "b/x.png", out=tmp_path / "out", points=points)
    assert [(p["x"], p["y"]) for p in opening(session, "x.png")["points"]] == [(3, 4)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<annotations/>", "a file that looks like one of cvat; expected .*`point2mask prepare import` makes of it"),
        ('{"shapes": [], "imagePath": "a.png"}', "looks like one of labelme"),
        ("so much text" * 99, r"'points': got .*points.csv: .{77}\.\.\.; expected"),
        (None, "points.csv: a folder; expected one JSON or CSV file, which `point2mask prepare import` makes"),
        ("x,y,category\n1,1,cup\n", "points beside which no picture is named"),
        ("image,x,y,category\nx.png,1,1,cup\n", r"points of 'x.png' \(1 picture\).*has them, such as 'a/x.png'"),
        ("image,x,y,category\na/x.png,1,1,table\n", "'table' as thing and as stuff"),
        ("image,x,y,category\na/x.png,1,1,cup\nb/x.png,1,900,cup\n", "line 3: x=1, y=900; expected a point inside"),
    ],
)
def test_points_to_begin_with_that_are_of_no_use_are_refused_before_anything_is_written(
    content, expected, photos, tmp_path
):
    (tmp_path / "points.csv").mkdir() if content is None else (tmp_path / "points.csv").write_text(content)
    with pytest.raises(ArgumentError, match=expected):
        Session(photos, out=tmp_path / "out", points=tmp_path / "points.csv", categories=TABLE)
    assert not list((tmp_path / "out").rglob("*.json"))
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/points.csv").write_text("image,x,y,category\na/x.png,1,1,cup\n")
    with pytest.raises(ArgumentError, match=r"a file in .*out, which takes those of single pictures"):
        Session(photos, out=tmp_path / "out", points=tmp_path / "out/points.csv")


def test_points_of_many_pictures_wait_for_the_disk_together(tmp_path, monkeypatch):
    """A disk takes milliseconds for each file that is waited for: a minute and more for ten thousand."""
    root = tmp_path / "many"
    root.mkdir()
    for number in range(300):
        (root / f"{number}.jpg").touch()  # empty: whoever opens it is refused
    rows = "".join(f"{number}.jpg,{x},5,cup\n" for number in range(300) for x in (1, 2))
    (tmp_path / "points.csv").write_text(f"image,x,y,category\n{rows}")
    waits = []
    monkeypatch.setattr("os.fsync", lambda _: waits.append("file"))
    monkeypatch.setattr("os.sync", lambda: waits.append("all"))
    session = Session(root, out=tmp_path / "out", points=tmp_path / "points.csv")
    assert waits.count("all") == 1
    assert len(waits) < 10
    assert set(session.states()) == {"begun"}


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


UNNAMEABLE = {
    "": "one name", " ": "one name", "a,b": "without a comma",
    "x" * 81: "1 to 80 letters", "a\0b": "on one line", "a\nb": "on one line", "dish:stuf": "did you mean 'stuff'",
    "a:b": "alone or with :thing or :stuff", "a:b:stuff": "alone or",
}  # fmt: skip


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
        assert ask(server, "uses?category=bowl")[1] == {"points": 2, "pictures": 2}
        # Kinds are understood as on the command line.
        for name, asked, found in (("sky: stuff", 1, 0), ("kite:thing", 0, 1), ("background", 1, 0)):
            assert {c["name"]: c["isthing"] for c in change("add", name, isthing=asked)[1]["categories"]}[
                name.partition(":")[0]
            ] == found
            assert change("delete", name.partition(":")[0])[0] == 200
        assert change("rename", "bowl", to="dish:thing")[0] == 200
        assert change("rename", "dish", to="bowl")[0] == 200
        for body, expected in (
            ({"do": "delete", "name": "bowl"}, "which has points in x_points.json"),
            ({"do": "merge", "name": "bowl", "to": "table"}, "both things, or both stuff"),
            ({"do": "merge", "name": "bowl", "to": "bowl"}, "two categories"),
            ({"do": "rename", "name": "bowl", "to": "table"}, "a new name"),
            ({"do": "rename", "name": "cup", "to": "x"}, "no category 'cup'"),
            ({"do": "recolor", "name": "bowl", "color": [1, 2, 300]}, "0..255"),
            ({"do": "drop", "name": "bowl"}, "'drop'"),
            ({"do": "rename", "name": "bowl", "to": "dish:stuff"}, "a name alone"),
            *(({"do": "rename", "name": "bowl", "to": name}, expected) for name, expected in UNNAMEABLE.items()),
            *(({"do": "add", "name": name}, expected) for name, expected in UNNAMEABLE.items()),
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


@pytest.mark.parametrize("out", ["file", "file/below", "dangling", "nul\0"])
def test_a_folder_that_takes_no_results_is_refused_before_anyone_clicks(out, photos, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere/below")
    for given in (photos, photos / "shot_2.jpg"):
        with pytest.raises(ArgumentError, match=r"^annotate: argument 'out': got .*; expected a folder that can be"):
            Session(given, out=tmp_path / out)


def test_a_sub_folder_that_takes_no_results_is_refused_too(photos, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("")
    with pytest.raises(ArgumentError, match=r"out/a, which is a file"):
        Session(photos, out=tmp_path / "out")
    monkeypatch.setattr("os.access", lambda path, how: False)  # as root, all can be written to
    with pytest.raises(ArgumentError, match=r"argument 'out': got .*, which cannot be written to"):
        Session(photos, out=tmp_path / "other")


def test_links_out_of_the_folder_are_for_the_page_what_they_are_for_the_job(photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (photos / "shot_2.jpg").rename(tmp_path / "elsewhere/x.jpg")
    (photos / "shot_2.jpg").symlink_to(tmp_path / "elsewhere/x.jpg")
    (photos / "inner.png").symlink_to(photos / "a/x.png")
    with pytest.warns(InputWarning, match=r"lead out of the folder: 'shot_2.jpg' \(1 picture\)"):
        session = Session(photos, out=tmp_path / "out")
    assert session.pictures.names == ["a/x.png", "b/x.png", "inner.png", "shot_10.jpg"]
    session = Session(photos, out=tmp_path / "out", follow_links=True)
    assert "shot_2.jpg" in session.pictures.names
    for name in ("inner.png", "shot_2.jpg"):
        save(session, state(*TWO), name)
    made = [
        label_dataset(photos, tmp_path / "out", tmp_path / str(links), workers=0, progress=False, follow_links=links)
        for links in (False, True)
    ]
    assert [(one.labelled, one.set_aside) for one in made] == [(1, 1), (2, 0)]
    for path in [path for path in photos.rglob("*.*") if path.is_file() and not path.is_symlink()]:
        path.unlink()
    (photos / "inner.png").unlink()
    with pytest.raises(ArgumentError, match=r"links out of the folder; expected .*follow_links=True"):
        Session(photos, out=tmp_path / "out")


@pytest.mark.parametrize("inside", ["", "annotations"])
def test_masks_among_the_pictures_are_no_pictures(inside, photos, tmp_path):
    out = photos / inside
    save(Session(photos, out=out), state(*TWO), "a/x.png")
    assert Session(photos, out=out).pictures.names == NAMES
    label_dataset(photos, out, tmp_path / "labels", workers=0, progress=False)
    summary = json.loads((tmp_path / "labels/summary.json").read_text())
    assert summary["pictures_without_points_first"] == sorted(NAMES[1:])


def test_a_picture_that_cannot_be_opened_is_skipped_without_looking_at_it(photos, tmp_path):
    out = tmp_path / "out"
    with serving(Session(photos, out=out)) as server:
        ask(server, "save", state(*TWO), picture="a/x.png")
        for name in ("a/x.png", "b/x.png"):
            (photos / name).write_bytes(b"no picture")
            assert ask(server, "skip", {"state": "skipped"}, picture=name) == (200, {"state": "skipped"})
        assert ask(server, "folder")[1]["states"] == ["skipped", "skipped", "untouched", "untouched"]
        assert len(json.loads((out / "a/x_points.json").read_text())["images"][0]["points"]) == 2, "they stay"
        for name, was in (("a/x.png", "begun"), ("b/x.png", "untouched")):
            assert ask(server, "skip", {"state": "begun"}, picture=name) == (200, {"state": was})
        assert ask(server, "skip", {"state": "done"}, picture="b/x.png")[0] == 400
        (out / "b/x_points.json").write_text("{")
        status, answer = ask(server, "skip", {"state": "skipped"}, picture="b/x.png")
        assert (status, "JSON" in answer["error"]) == (400, True)
        assert (out / "b/x_points.json").read_text() == "{"


def test_a_folder_of_skipped_pictures_says_so(photos, tmp_path):
    session = Session(photos, out=tmp_path / "out")
    for name in NAMES[:2]:
        session.skip(name, b'{"state": "skipped"}')
    session.skip(NAMES[2], b'{"state": "begun"}')
    with pytest.raises(FileError, match=r"no picture to label: 2 skipped, 1 without a point"):
        label_dataset(photos, tmp_path / "out", tmp_path / "labels", workers=0, progress=False)


def test_stuff_is_as_large_as_it_is_said_to_be_and_without_a_size_it_takes_the_rest(photos, tmp_path):
    """One rule for the page, the job and docs/formats.md: that of `PointTargets`."""
    session = Session(photos, out=tmp_path / "out")
    sized = state(*TWO)
    sized["points"][1]["size"] = 200
    label = [
        session.label("a/x.png", json.dumps(each).encode())["targets"][1]["pixels"] for each in (state(*TWO), sized)
    ]
    assert label[1] < label[0]
    save(session, sized, "a/x.png")
    found = read_points(tmp_path / "out/a/x_points.json").targets
    assert found.size[~found.is_thing].tolist() == [200]
    assert not found.takes_rest.any()


def test_the_brush_leaves_a_point_of_another_target_to_it(photos, tmp_path):
    """Whatever was first, the point or the paint."""
    session = Session(photos, out=tmp_path / "out")
    row = 15 * 75
    painted = state(*TWO, paint={"height": 50, "width": 75, "targets": [{"target": 1, "own": [row, 75]}]})
    answer = session.label("a/x.png", json.dumps(painted).encode())
    owner = np.repeat(answer["values"], answer["lengths"]).reshape(50, 75)
    assert owner[15, 37] == 0
    assert (np.delete(owner[15], 37) == 1).all()
    save(session, painted, "a/x.png")
    made = read_coco_panoptic(tmp_path / "out/a/x.json", tmp_path / "out/a/panoptic")[0].id_map
    np.testing.assert_array_equal(made - 1, owner)
    # What is erased from a target is taken from it, even at its own point.
    painted["paint"]["targets"] = [{"target": 0, "not": [row, 75]}]
    answer = session.label("a/x.png", json.dumps(painted).encode())
    assert (np.repeat(answer["values"], answer["lengths"]).reshape(50, 75)[15] == 1).all()
