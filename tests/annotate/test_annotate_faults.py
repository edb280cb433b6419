"""What people lost on the page, or saw wrongly: one test for each fault."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from annotate_cases import ask, label, opening, save, serving
from PIL import Image

from point2mask_ot import label_dataset, read_coco_panoptic, read_picture, read_points
from point2mask_ot.annotate.session import Session
from point2mask_ot.checks import ArgumentError
from point2mask_ot.cli import main

CATEGORIES = [{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}]
COFFEE = skimage.data.coffee()[::8, ::8]  # 50 x 75


def state(*clicks, version=""):
    points = [{"x": x, "y": y, "category": name, "target": k} for k, (x, y, name) in enumerate(clicks)]
    return {"categories": CATEGORIES, "points": points, "version": version}


FOUR = [(37, 15, "cup"), (5, 4, "table"), (30, 40, "cup"), (70, 45, "cup")]


def save_photo(path, pixels=COFFEE) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photo(tmp_path):
    return save_photo(tmp_path / "coffee.png")


def test_fault_a2_a_reload_shows_what_is_saved(photo, tmp_path):
    with serving(Session(photo, out=tmp_path / "out")) as server:
        first = ask(server, "state")[1]
        assert (first["points"], first["version"], first["resumed"]) == ([], "", None)
        saved = ask(server, "masks", state(*FOUR))[1]
        assert ask(server, "category", {"do": "add", "name": "spoon", "isthing": 1})[0] == 200
        again = ask(server, "state")[1]
        assert [(p["x"], p["y"], p["category"]) for p in again["points"]] == FOUR
        assert [c["name"] for c in again["categories"]] == ["cup", "spoon", "table"], "one without a point, too"
        assert again["version"] == saved["version"] != ""
        assert again["resumed"] == str(tmp_path / "out/coffee_points.json")


def test_fault_a2_what_was_begun_with_gives_way_to_what_is_saved(photo, tmp_path):
    """The page saves by itself: to open a picture with the same command again took its work away."""
    (tmp_path / "other.csv").write_text("x,y,category\n3,4,leaf\n")
    begun = {"out": tmp_path / "out", "points": tmp_path / "other.csv"}
    first = opening(Session(photo, **begun))
    assert [p["category"] for p in first["points"]] == ["leaf"]
    (tmp_path / "other.csv").unlink()
    save(Session(photo, **begun), state(*FOUR, version=first["version"]))
    again = opening(Session(photo, **begun))
    assert [(p["x"], p["y"], p["category"]) for p in again["points"]] == FOUR
    assert again["resumed"] == str(tmp_path / "out/coffee_points.json")


def test_fault_a2_pages_do_not_overwrite_each_other_unseen(photo, tmp_path):
    file = tmp_path / "out/coffee_points.json"
    with serving(Session(photo, out=tmp_path / "out")) as server:
        mine = ask(server, "masks", state(*FOUR))[1]["version"]
        kept = file.read_bytes()
        for stale in ("", "0" * 64, None, 7):
            status, answer = ask(server, "masks", state(FOUR[0], version=stale))
            assert (status, answer["version"]) == (409, mine)
            assert answer["error"] == f"{file} was saved elsewhere since this page read it"
            assert file.read_bytes() == kept
        # Another server on the same picture counts as well as another page.
        theirs = save(Session(photo, out=tmp_path / "out"), state(*FOUR[:2], version=mine))
        assert ask(server, "masks", state(*FOUR[:3], version=mine))[0] == 409
        assert ask(server, "masks", state(*FOUR[:3], version=theirs["version"]))[0] == 200, "replaced knowingly"
        assert read_points(file).targets.num_targets == 3
        file.unlink()
        assert ask(server, "masks", state(FOUR[0], version=mine))[0] == 200, "nothing to overwrite"


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("oops")])
def test_fault_a2_the_version_is_told_where_masks_fail(photo, tmp_path, monkeypatch, capsys, error):
    session = Session(photo, out=tmp_path / "out")
    monkeypatch.setattr(session, "_write_masks", lambda *_: (_ for _ in ()).throw(error))
    with serving(session) as server:
        status, answer = ask(server, "masks", state(*FOUR))
        assert (status, answer["masks_error"]) == (200, f"{type(error).__name__}: {error}")
        assert answer["version"] == ask(server, "state")[1]["version"]
    assert str(error) in capsys.readouterr().err


def test_fault_a3_annotate_does_not_open_another_pictures_points(tmp_path):
    one = save_photo(tmp_path / "day1/0001.png")
    two = save_photo(tmp_path / "day2/0001.png", COFFEE[::-1])
    out = tmp_path / "out"
    late = Session(two, out=out)  # nothing is saved yet
    save(Session(one, out=out), state(*FOUR))
    kept = {path: path.read_bytes() for path in out.rglob("*.*")}
    for case in (two, save_photo(tmp_path / "day1/0001.jpg")):
        with pytest.raises(ArgumentError, match=r"0001_points.json, of another picture than this 0001.*a folder for"):
            Session(case, out=out)
        assert main(["annotate", str(case), "--out", str(out), "--no-browser"]) == 2
    with serving(late) as server:
        for answer in (ask(server, "masks", state(FOUR[0])), ask(server, "state")):
            assert answer[0] == 400
            assert "0001_points.json, of another picture" in answer[1]["error"]
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == kept
    moved = save_photo(tmp_path / "archive/0001.png")
    assert len(opening(Session(moved, out=out))["points"]) == 4, "the same picture goes on, wherever it lies"


def test_fault_a3_annotate_does_not_replace_what_it_reads_or_does_not_know(photo, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    own = {"categories": CATEGORIES, "images": [{"file_name": "coffee.png", "points": state(FOUR[0])["points"]}]}
    (out / "coffee.json").write_text(json.dumps(own))
    with pytest.raises(ArgumentError, match=r"coffee.json, which is read"):
        Session(photo, out=out, points=out / "coffee.json")
    with pytest.raises(ArgumentError, match=r"coffee.json, of another picture"):
        Session(photo, out=out)
    (out / "coffee.json").unlink()
    (out / ".job").mkdir()
    with pytest.raises(ArgumentError, match=r".job, which is not of this command"):
        Session(photo, out=out)


def turned_webp(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COFFEE).save(path, lossless=True, exif=exif)
    return np.rot90(COFFEE, -1)


def deep_tiff(path):
    cv2.imwrite(str(path), COFFEE[..., 1].astype(np.uint16) * 16)
    return None


def turned_jpeg(path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(COFFEE).save(path, quality=95, exif=exif)
    return None


@pytest.mark.parametrize("make", [turned_webp, deep_tiff, turned_jpeg])
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_fault_a5_the_page_is_sent_the_pixels_that_are_labelled(tmp_path, make, exif):
    path = tmp_path / f"picture.{make.__name__.split('_')[1]}"
    expected = make(path)
    with serving(Session(path, out=tmp_path / "out", exif=exif)) as server:
        status, sent = ask(server, "view")
        told = ask(server, "state")[1]
    shown = Image.open(io.BytesIO(sent))
    assert (status, shown.format, shown.mode, dict(shown.getexif())) == (200, "PNG", "RGB", {})
    assert (told["width"], told["height"]) == shown.size
    np.testing.assert_array_equal(np.asarray(shown), read_picture(path, exif=exif))
    if expected is not None and exif == "apply":
        np.testing.assert_array_equal(np.asarray(shown), expected)


def test_fault_c7_what_the_page_saves_is_read_by_every_command(tmp_path):
    out, photo = tmp_path / "out", save_photo(tmp_path / "photos/a.png")
    save(Session(photo, out=out), state(*FOUR))
    points = out / "a_points.json"
    assert [image["file_name"] for image in json.loads(points.read_text())["images"]] == ["a.png"]
    assert main(["label", str(photo), "--points", str(points), "--out", str(tmp_path / "one")]) == 0
    assert label_dataset(photo.parent, points, tmp_path / "all", workers=0, progress=False).labelled == 1
    masks = read_coco_panoptic(out / "a.json", out / "panoptic")[0].id_map
    assert (tmp_path / "one/a.json").read_bytes() == (out / "a.json").read_bytes()
    for name in ("one/a.json", "all/panoptic.json"):
        made = read_coco_panoptic(tmp_path / name, (tmp_path / name).parent / "panoptic")[0]
        np.testing.assert_array_equal(made.id_map, masks)


def test_fault_c7_the_page_reads_points_of_many_pictures(photo, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("image,x,y,category\ntea.png,1,2,leaf\ncoffee.png,3,4,cup\n")
    opened = opening(Session(photo, out=tmp_path / "out", points=points))
    assert [(p["x"], p["y"], p["category"]) for p in opened["points"]] == [(3, 4, "cup")]
    points.write_text("image,x,y,category\ntea.png,1,2,leaf\ntee.png,3,4,cup\n")
    with pytest.raises(ArgumentError, match=r"coffee.png"):
        Session(photo, out=tmp_path / "other", points=points)


def test_fault_a8_what_is_thinned_for_the_page_is_the_centre_of_each_block(photo, tmp_path, monkeypatch):
    session = Session(photo, out=tmp_path / "out")
    answers = [label(session, state(*FOUR))]
    monkeypatch.setattr("point2mask_ot.annotate.preview.SENT_PIXELS", 500)
    answers.append(label(session, state(*FOUR)))
    whole, thin = (
        np.repeat(answer["values"], answer["lengths"]).reshape(answer["height"], answer["width"]) for answer in answers
    )
    assert (whole.shape, thin.shape, answers[1]["factor"]) == ((50, 75), (17, 25), 3)
    rows = [*range(1, 48, 3), 49]  # of the last block, two rows, the last
    np.testing.assert_array_equal(thin, whole[rows][:, 1::3])


def test_fault_a10_two_targets_in_one_block_are_two(photo, tmp_path):
    session = Session(photo, out=tmp_path / "out", pixels=1000)
    near = state((36, 20, "cup"), (37, 20, "cup"))
    assert label(session, near)["factor"] == 2
    saved = save(session, near)
    assert [target["pixels"] > 0 for target in saved["targets"]] == [True, True]
    with pytest.raises(
        ArgumentError, match=r"targets 1 and 2 both at \(y, x\) = \(20, 36\); expected one target a pixel$"
    ):
        label(session, state((36, 20, "cup"), (36, 20, "cup")))
