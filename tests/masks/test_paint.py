"""What a person has painted holds, in the page, in `label` and in the job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from point2mask_ot import FileError, PointTargets, label_dataset, label_picture, read_coco_panoptic, read_points
from point2mask_ot.annotate.session import Session
from point2mask_ot.cli import main
from point2mask_ot.files.io import Origin
from point2mask_ot.masks.paint import mend, painted_owner
from point2mask_ot.panoptic.paint import Paint, json_paint


def slow_owner(owner, marks):
    """By the definition, pixel by pixel: the set of owners that a pixel may go to."""
    made = np.where(marks > 0, marks - 1, owner)
    erased = (marks < 0) & (made == -marks - 1)
    allowed = [[{int(own)} for own in row] for row in made]
    for y, x in zip(*np.nonzero(erased), strict=True):
        others = [(i, j) for i, j in np.ndindex(made.shape) if not erased[i, j] and made[i, j] not in (-1, made[y, x])]
        squared = [(i - y) ** 2 + (j - x) ** 2 for i, j in others]
        best = min(squared, default=0)
        near = {int(made[other]) for other, far in zip(others, squared, strict=True) if far == best}
        allowed[y][x] = near or {-1}
    return allowed


@settings(deadline=None, max_examples=60)
@given(arrays(np.int64, (5, 6), elements=st.integers(-1, 2)), arrays(np.int32, (5, 6), elements=st.integers(-3, 3)))
def test_paint_holds_and_what_is_erased_goes_to_the_nearest_other(owner, marks):
    kept = owner.copy()
    made, allowed = painted_owner(owner, marks), slow_owner(owner, marks)
    assert all(int(made[y, x]) in allowed[y][x] for y, x in np.ndindex(made.shape))
    np.testing.assert_array_equal(owner, kept)
    untouched = (marks == 0) | ((marks < 0) & (owner != -marks - 1))
    np.testing.assert_array_equal(made[untouched], owner[untouched])


def test_a_coarser_grid_is_of_the_same_picture():
    marks = np.zeros((2, 3), np.int32)
    marks[1, 2], marks[0, 0] = 2, -1
    made = painted_owner(np.zeros((5, 7), np.int64), marks)
    assert (made[3:, 5:] == 1).all()
    assert (made[:2, :2] == 1).all(), "erased from 0, so it is the only other's"


@settings(deadline=None, max_examples=40)
@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-3, 3)))
def test_paint_outlives_a_file(marks):
    told = json.loads(json.dumps(Paint(marks).to_json()))
    found = json_paint(ORIGIN, told, {str(k): k for k in range(3)}, "")
    np.testing.assert_array_equal(np.zeros_like(marks) if found is None else found.marks, marks)


ORIGIN = Origin("read_points", "path", Path("points.json"))
GOOD = {"height": 4, "width": 5, "targets": [{"target": 0, "own": [3, 2]}]}


@pytest.mark.parametrize(
    ("paint", "expected"),
    [
        ({**GOOD, "height": 0}, "at least one pixel"),
        ({**GOOD, "height": 2**20, "width": 2**20}, "at most"),
        ({**GOOD, "targets": [{"target": 1, "own": [3, 2]}]}, "a target that has a point"),
        ({**GOOD, "targets": [{"target": 0, "own": [18, 3]}]}, "runs within 20 pixels"),
        ({**GOOD, "targets": [{"target": 0, "own": [3, 0]}]}, "runs within"),
        ({**GOOD, "targets": [{"target": 0, "not": [-1, 2]}]}, "runs within"),
        ({**GOOD, "targets": [{"target": 0, "not": [1, 2, 3]}]}, "runs within"),
        ({**GOOD, "targets": [{"target": 0, "not": "many"}]}, "runs within"),
        ({**GOOD, "targets": [{"target": 0, "not": [True, 1]}]}, "runs within"),
        ([], "a JSON object"),
    ],
)
def test_refuses_damaged_paint(paint, expected, tmp_path):
    entry = {"file_name": "a.png", "points": [{"x": 1, "y": 1, "category": "cup", "target": 0}], "paint": paint}
    document = {"categories": [{"name": "cup", "isthing": 1}], "images": [entry]}
    (tmp_path / "points.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=expected):
        read_points(tmp_path / "points.json")


def test_a_picture_without_a_name_keeps_its_paint(tmp_path):
    points = [{"x": 1, "y": 1, "category": "cup", "target": 0}]
    document = {"categories": [{"name": "cup", "isthing": 1}], "points": points, "paint": GOOD}
    (tmp_path / "points.json").write_text(json.dumps(document))
    paint = read_points(tmp_path / "points.json").paint
    assert paint is not None
    np.testing.assert_array_equal(np.flatnonzero(paint.marks), [3, 4])


CATEGORIES = [{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}]
POINTS = [{"x": 6, "y": 6, "category": "cup", "target": 0}, {"x": 20, "y": 12, "category": "table", "target": 1}]


def test_a_mended_picture_keeps_its_masks_in_every_command(tmp_path):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[2:10, 2:12] = 200
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(pixels).save(photos / "a.png")
    marks = np.zeros((16, 24), np.int32)
    marks[12:15, 3:9], marks[2:5, 2:6] = 1, -1
    body = {"categories": CATEGORIES, "points": POINTS, "paint": Paint(marks).to_json()}
    session = Session(photos, out=out)
    answer = session.save_masks("a.png", json.dumps(body).encode())
    assert "masks_error" not in answer
    assert session.opening("a.png")["paint"] == body["paint"]

    targets = PointTargets([(6, 6), (12, 20)], category=[0, 1], is_thing=[True, False])
    plain = label_picture(pixels, targets)
    expected = mend(plain, targets, marks)
    assert (expected.instance[12:15, 3:9] == 0).all()
    assert (expected.instance[2:5, 2:6] == 1).all()
    assert (expected.semantic[2:5, 2:6] == 1).all()
    assert expected.boxes[0].tolist() == [2, 2, 12, 15]
    assert (plain.instance[3:5, 3:6] == 0).all(), "which was the cup's"

    assert (
        main(["label", str(photos / "a.png"), "--points", str(out / "a_points.json"), "--out", str(tmp_path / "l")])
        == 0
    )
    assert label_dataset(photos, out, tmp_path / "all", workers=0, progress=False).labelled == 1
    for name in ("out/a.json", "l/a.json", "all/panoptic.json"):
        made = read_coco_panoptic(tmp_path / name, (tmp_path / name).parent / "panoptic")[0]
        np.testing.assert_array_equal(made.id_map - 1, expected.instance, err_msg=name)
