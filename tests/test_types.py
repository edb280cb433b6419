"""Point targets: what they accept, keep and refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, PointTargets

TWO = [(0, 0), (1, 1)]


def test_defaults():
    targets = PointTargets([(1, 2), (3, 4)])
    assert targets.num_targets == 2
    assert targets.target.tolist() == [0, 1]
    assert targets.category.tolist() == [0, 0]
    assert targets.is_thing.tolist() == [True, True]


@pytest.mark.parametrize("make", [list, np.array, torch.tensor, lambda v: np.array(v, np.float32), tuple])
def test_takes_lists_arrays_and_tensors(make):
    targets = PointTargets(make([[1, 2], [3, 4], [5, 6]]), make([1, 0, 1]), make([7, 8]), make([1, 0]))
    assert targets.points_yx.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert targets.target.dtype == targets.category.dtype == np.int64
    assert targets.is_thing.dtype == bool


def test_keeps_a_copy_that_nobody_can_change():
    points = np.array([[1, 2]])
    targets = PointTargets(points)
    points[:] = 9
    assert targets.points_yx.tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="read-only"):
        targets.points_yx[:] = 0


@pytest.mark.parametrize("empty", [[], np.zeros((0, 2)), torch.zeros(0, 2)])
def test_nothing_is_a_valid_annotation(empty):
    assert PointTargets(empty).num_targets == 0


def test_select_renumbers():
    targets = PointTargets([(0, 0), (1, 1), (2, 2), (3, 3)], [0, 1, 2, 1], [5, 6, 7], [True, False, True])
    chosen = targets.select([2, 1])
    assert chosen.points_yx.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert chosen.target.tolist() == [1, 0, 1]
    assert chosen.category.tolist() == [7, 6]
    assert chosen.is_thing.tolist() == [True, False]
    assert targets.select([]).num_targets == 0
    assert targets.select(targets.is_thing).category.tolist() == [5, 7]
    assert targets.select([True, False, False]).category.tolist() == [5]


@pytest.mark.parametrize("keep", [[0, 0], [3], [-1], [True, False], [0.5]])
def test_select_refuses(keep):
    with pytest.raises(ArgumentError, match="'keep'"):
        PointTargets([*TWO, (2, 2)]).select(keep)


REFUSALS = {
    "three coordinates": ({"points_yx": [(0, 0, 0)]}, "points_yx", "(N, 2)"),
    "a flat list": ({"points_yx": [1, 2]}, "points_yx", "(N, 2)"),
    "NaN": ({"points_yx": [(0, np.nan)]}, "points_yx", "finite"),
    "words": ({"points_yx": [("a", "b")]}, "points_yx", "integers or floats"),
    "complex": ({"points_yx": np.zeros((1, 2), complex)}, "points_yx", "integers or floats"),
    "too few targets": ({"points_yx": TWO, "target": [0]}, "target", "2 points"),
    "a target without a point": ({"points_yx": TWO, "target": [0, 2]}, "target", "[0, 2]"),
    "ids from 1": ({"points_yx": TWO, "target": [1, 2]}, "target", "0..K-1"),
    "negative id": ({"points_yx": TWO, "target": [-1, 0]}, "target", "0..K-1"),
    "fractional id": ({"points_yx": TWO, "target": [0, 0.5]}, "target", "integers"),
    "too few categories": ({"points_yx": TWO, "category": [1]}, "category", "(2,)"),
    "negative category": ({"points_yx": TWO, "category": [0, -1]}, "category", "non-negative"),
    "thing and stuff": ({"points_yx": TWO, "category": [3, 3], "is_thing": [1, 0]}, "is_thing", "category 3"),
    "a huge id": ({"points_yx": TWO, "target": [0, 1_700_000_000]}, "target", "0..K-1"),
    "ragged things": ({"points_yx": TWO, "is_thing": [[True], [True, False]]}, "is_thing", "booleans"),
    "thing of 2": ({"points_yx": TWO, "is_thing": [2, 0]}, "is_thing", "booleans"),
    "too many things": ({"points_yx": TWO, "is_thing": [1, 0, 1]}, "is_thing", "(2,)"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case):
    arguments, argument, words = REFUSALS[case]
    with pytest.raises(ArgumentError) as caught:
        PointTargets(**arguments)
    assert str(caught.value).startswith("PointTargets: ")
    assert f"'{argument}'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.gpu
def test_refuses_device_data():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    with pytest.raises(ArgumentError, match=r"\.cpu\(\)"):
        PointTargets(torch.zeros(1, 2, device="cuda"))
