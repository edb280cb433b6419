"""Rough sizes in point files: what is read, refused and written."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from point2mask_ot import (
    ArgumentError,
    Category,
    FileError,
    PanopticImage,
    PointTargets,
    Segment,
    read_points,
    sample_points,
    write_coco_panoptic,
    write_points,
)
from point2mask_ot.cli import main
from point2mask_ot.panoptic import PicturePoints, prepare_points, read_point_set, write_point_set
from point2mask_ot.types import SIZE_ERROR

COIN, TABLE = Category(3, "coin", True), Category(7, "table", False)
HEADER = "x,y,category,target,size,radius,diameter,size_error\n"


def read(tmp_path, text, name="p.csv"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return read_points(path).targets


def document(*points):
    categories = [{"name": "coin", "isthing": 1}, {"name": "table", "isthing": 0}]
    return {
        "categories": categories,
        "points": [{"x": i, "y": 0, "category": "coin", **p} for i, p in enumerate(points)],
    }


def test_csv(tmp_path):
    rows = ["1,2,coin,,300,,,", "3,4,coin,,,10,,", "5,6,coin,,,,20,1.6", "7,8,coin,,,,,", "9,9,coin,,3.5e2,,,2"]
    targets = read(tmp_path, HEADER + "\n".join(rows) + "\n")
    np.testing.assert_array_equal(targets.size, [300, math.pi * 100, math.pi * 100, np.nan, 350])
    assert targets.size_error.tolist() == [SIZE_ERROR, SIZE_ERROR, 1.6, SIZE_ERROR, 2]
    some = read(tmp_path, "x;y;category;diameter\n1;2;coin;4\n3;4;coin;\n")
    np.testing.assert_array_equal(some.size, [math.pi * 4, np.nan])


def test_json(tmp_path):
    targets = read(
        tmp_path,
        document(
            {"size": 300}, {"radius": 10.0, "size_error": 2}, {"diameter": 20}, {"size": None, "radius": None}, {}
        ),
        "p.json",
    )
    np.testing.assert_array_equal(targets.size, [300, math.pi * 100, math.pi * 100, np.nan, np.nan])
    assert targets.size_error.tolist() == [SIZE_ERROR, 2, SIZE_ERROR, SIZE_ERROR, SIZE_ERROR]


def test_one_point_of_a_target_is_enough_and_several_may_agree(tmp_path):
    rows = ["1,2,coin,a,,,,", "3,4,coin,a,300,,,", "5,6,coin,b,314,10,20,", "7,8,coin,b,,,,1.6", "9,9,coin,b,314,,,1.6"]
    targets = read(tmp_path, HEADER + "\n".join(rows) + "\n")
    assert targets.size.tolist() == [300, 314], "rounded numbers agree, and the first stands"
    assert targets.size_error.tolist() == [SIZE_ERROR, 1.6]


def test_stuff_may_have_a_size(tmp_path):
    targets = read(tmp_path, "x,y,category,size\n1,2,wall:stuff,\n3,4,wall:stuff,5000\n")
    assert targets.size.tolist() == [5000]


CSV_REFUSED = {
    "zero": ("1,2,coin,,0,,,", "line 2: size '0'; expected a finite number > 0, or nothing where it is not known"),
    "negative": ("1,2,coin,,,-3,,", "line 2: radius '-3'"),
    "NaN": ("1,2,coin,,nan,,,", "line 2: size 'nan'"),
    "infinity": ("1,2,coin,,1e999,,,", "line 2: size '1e999'"),
    "infinite area": ("1,2,coin,,,,1e200,", "line 2: diameter '1e200'"),
    "no area": ("1,2,coin,,,1e-200,,", "line 2: radius '1e-200'"),
    "words": ("1,2,coin,,large,,,", "line 2: size 'large'"),
    "underscores": ("1,2,coin,,3_0,,,", "line 2: size '3_0'"),
    "an error below 1": ("1,2,coin,,300,,,0.8", "line 2: size_error '0.8'; expected a finite number >= 1"),
    "an error of nothing": ("1,2,coin,,,,,1.5", "line 2: size_error 1.5 without a size; expected a size,"),
    "two forms": ("1,2,coin,,300,10.5,,", "line 2: radius '10.5' of a target of 300 pixels; expected one size for"),
    "radius for diameter": ("1,2,coin,,,10,10,", "line 2: diameter '10' of a target of 314.159 pixels"),
    "two points": ("1,2,coin,a,300,,,\n3,4,coin,b,9,,,\n5,6,coin,a,400,,,", "line 4: size '400' of a target of 300"),
    "two errors": ("1,2,coin,a,3,,,1.5\n3,4,coin,a,,,,2", "line 3: size_error '2' of a target of 1.5; expected one"),
}  # fmt: skip


@pytest.mark.parametrize("case", CSV_REFUSED)
def test_csv_refused(case, tmp_path):
    rows, reason = CSV_REFUSED[case]
    with pytest.raises(FileError, match=r"^read_points: argument 'path': got .*p\.csv: .*; expected ") as refusal:
        read(tmp_path, f"{HEADER}{rows}\n")
    assert reason in str(refusal.value)


JSON_REFUSED = {
    "zero": ([{"size": 0}], "points[0]: size 0; expected a finite number > 0"),
    "text": ([{"size": "300"}], "points[0]: 'size' is '300'; expected a JSON integer or number"),
    "empty": ([{"size": ""}], "points[0]: 'size' is ''"),
    "true": ([{"radius": True}], "points[0]: 'radius' is True"),
    "NaN": ([{"size": math.nan}], "NaN"),
    "huge": ([{"size": 10**400}], "points[0]: size 1000"),
    "two points": ([{"size": 3, "target": 1}, {"size": 4, "target": 1}], "points[1]: size 4 of a target of 3 pixels"),
    "two in one point": ([{"radius": 3, "diameter": 90}], "points[0]: diameter 90 of a target of 28.2743 pixels"),
    "misspelt": ([{"radus": 3}], "did you mean 'radius'"),
    "as elsewhere": ([{"area": 300}], "did you mean 'size'"),
}


@pytest.mark.parametrize("case", JSON_REFUSED)
def test_json_refused(case, tmp_path):
    points, reason = JSON_REFUSED[case]
    with pytest.raises(FileError) as refusal:
        read(tmp_path, document(*points), "p.json")
    assert reason in str(refusal.value)


def test_columns_of_somebodys_own_are_no_sizes(tmp_path):
    for column in ("slice", "side", "diameter_of_whom", "sized_by"):
        assert not read(tmp_path, f"x,y,category,{column}\n1,2,coin,7\n").has_sizes
    assert read(tmp_path, "x,y,category,size,area\n1,2,coin,7,9\n").size.tolist() == [7]
    for column, name in (("sizes", "size"), ("diametre", "diameter"), ("size error", "size_error"), ("area", "size")):
        with pytest.raises(FileError, match=f"did you mean '{name}'"):
            read(tmp_path, f"x,y,category,{column}\n1,2,coin,7\n")


PLAIN = PointTargets([(4, 3), (6, 5), (9, 9)], [0, 1, 1], [0, 1], [True, False])
PLAIN_JSON = """{
 "categories": [
  {
   "id": 3,
   "name": "coin",
   "isthing": 1
  },
  {
   "id": 7,
   "name": "table",
   "isthing": 0
  }
 ],
 "points": [
  {
   "x": 3,
   "y": 4,
   "category": "coin",
   "target": 0
  },
  {
   "x": 5,
   "y": 6,
   "category": "table",
   "target": 1
  },
  {
   "x": 9,
   "y": 9,
   "category": "table",
   "target": 1
  }
 ]
}
"""


def test_files_without_sizes_are_the_bytes_they_were(tmp_path):
    write_points(tmp_path / "p.json", PLAIN, [COIN, TABLE])
    assert (tmp_path / "p.json").read_text() == PLAIN_JSON
    write_points(tmp_path / "p.csv", PLAIN, [COIN, TABLE], image="a.png")
    rows = ["image,x,y,category,target,isthing", "a.png,3,4,coin,0,1", "a.png,5,6,table,1,0", "a.png,9,9,table,1,0"]
    assert (tmp_path / "p.csv").read_text() == "\n".join(rows) + "\n"


def test_sizes_are_written_where_they_are_known(tmp_path):
    targets = PointTargets([(4, 3), (6, 5), (9, 9)], [0, 1, 1], size=[np.nan, 300], size_error=[3, SIZE_ERROR])
    write_points(tmp_path / "p.csv", targets, [COIN])
    rows = ["x,y,category,target,isthing,size", "3,4,coin,0,1,", "5,6,coin,1,1,300", "9,9,coin,1,1,300"]
    assert (tmp_path / "p.csv").read_text() == "\n".join(rows) + "\n"


known = st.floats(1e-300, 1e300) | st.integers(1, 2**60).map(float) | st.just(math.nan)
errors = st.floats(1, 1e300) | st.just(SIZE_ERROR)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(st.tuples(known, errors), min_size=1, max_size=5), suffix=st.sampled_from(["json", "csv"]))
def test_sizes_round_trip(told, suffix, tmp_path):
    size, error = (np.array(column) for column in zip(*told, strict=True))
    owners = [k for k in range(len(told)) for _ in range(2)]
    targets = PointTargets([(i, 2 * i) for i in range(len(owners))], owners, size=size, size_error=error)
    write_points(tmp_path / f"p.{suffix}", targets, [COIN])
    found = read_points(tmp_path / f"p.{suffix}").targets
    np.testing.assert_array_equal(found.size, size)
    np.testing.assert_array_equal(found.size_error, np.where(np.isnan(size), SIZE_ERROR, error))


def test_point_sets_round_trip(tmp_path):
    pictures = [
        PicturePoints("a.jpg", 7, PointTargets([(1, 2), (3, 4)], size=[120.5, np.nan], size_error=2)),
        PicturePoints("b.jpg", 8, PointTargets([(1, 2)])),
    ]
    write_point_set(tmp_path / "p.json", pictures, [COIN])
    first, second = read_point_set(tmp_path / "p.json").pictures
    np.testing.assert_array_equal(first.targets.size, [120.5, np.nan])
    assert first.targets.size_error.tolist() == [2, SIZE_ERROR]
    assert not second.targets.has_sizes
    assert (tmp_path / "p.json").read_text().count("size") == 2


def image(number: int) -> PanopticImage:
    ids = np.full((20, 30), 4)
    ids[2:12, 2:12], ids[14:18, 20:25] = 1, 2
    return PanopticImage(ids, (Segment(1, 3, True), Segment(2, 3, True), Segment(4, 7, False)), number, f"{number}.png")


def test_sampled_sizes():
    """The true ones at 1, typically off by the factor that was asked for, and none for stuff."""
    exact = sample_points(image(0), [COIN, TABLE], stuff=True, size_error=1).targets
    np.testing.assert_array_equal(exact.size, [100, 20, np.nan])
    assert exact.size_error.tolist() == [1, 1, 1]
    plain = sample_points(image(0), [COIN, TABLE], stuff=True).targets
    assert not plain.has_sizes
    np.testing.assert_array_equal(exact.points_yx, plain.points_yx)
    drawn = [sample_points(image(i), [COIN, TABLE], seed=3, size_error=1.5).targets.size for i in range(400)]
    off = np.log(np.array(drawn) / [100, 20]) / np.log(1.5)
    assert abs(off.mean()) < 4 / np.sqrt(off.size)
    assert abs(off.std() - 1) < 4 / np.sqrt(2 * off.size)
    again = sample_points(image(7), [COIN, TABLE], seed=3, size_error=1.5).targets.size
    np.testing.assert_array_equal(again, drawn[7])
    with pytest.raises(ArgumentError, match=r"^sample_points: argument 'size_error': got 0\.5; expected .* >= 1"):
        sample_points(image(0), [COIN, TABLE], size_error=0.5)


def test_prepare_points_writes_sizes_if_asked(tmp_path, capsys):
    path = tmp_path / "masks.json"
    write_coco_panoptic([image(1), image(2)], path, path.with_suffix(""), [COIN, TABLE])
    ask = ["prepare", "points", "--panoptic", str(path), "--out"]
    assert main([*ask, str(tmp_path / "plain.json")]) == 0
    assert "size" not in (tmp_path / "plain.json").read_text()
    assert main([*ask, str(tmp_path / "p.json"), "--size-error", "1.6"]) == 0
    found = read_point_set(tmp_path / "p.json")
    assert found.info["size_error"] == 1.6
    for picture in found.pictures:
        expected = sample_points(image(picture.image_id), [COIN, TABLE], stuff=True, size_error=1.6).targets
        np.testing.assert_array_equal(picture.targets.size, expected.size)
        assert picture.targets.size_error[:2].tolist() == [1.6, 1.6]
    assert main([*ask, str(tmp_path / "p.json"), "--size-error", "0"]) == 2
    assert "--size-error: got 0" in capsys.readouterr().err


def test_a_size_that_no_target_of_the_picture_has_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("x,y,category,radius\n3,4,coin,40\n")
    assert read_points(path).targets.size[0] == pytest.approx(np.pi * 1600)
    with pytest.raises(FileError, match=r"radius '40', which makes 5026.55 pixels.*at most the 2000 pixels"):
        read_points(path, shape=(40, 50))


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 0.5])
def test_an_error_of_sizes_is_a_finite_factor(error, tmp_path):
    with pytest.raises(ArgumentError, match=r"prepare_points: argument 'size_error'"):
        prepare_points([], tmp_path / "p.json", size_error=error)
