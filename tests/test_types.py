"""Point targets: what they accept, keep and refuse."""

from __future__ import annotations

import copy
import inspect
import pickle

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


TENSORS = {
    "a gradient": ({"points_yx": torch.zeros(2, 2, requires_grad=True)}, "points_yx", ".detach()"),
    "a gradient in a list": ({"points_yx": [torch.zeros(2, requires_grad=True)] * 2}, "points_yx", "regular shape"),
    "a size that learns": ({"points_yx": TWO, "size": torch.ones(2, requires_grad=True)}, "size", ".detach()"),
    "things that learn": ({"points_yx": TWO, "is_thing": torch.ones(2, requires_grad=True)}, "is_thing", ".detach()"),
    "bfloat16": ({"points_yx": torch.ones(2, 2).bfloat16()}, "points_yx", "bfloat16; expected a dtype that NumPy has"),
    "categories in bfloat16": ({"points_yx": TWO, "category": torch.ones(2).bfloat16()}, "category", ".float()"),
    "things in bfloat16": ({"points_yx": TWO, "is_thing": torch.ones(2).bfloat16()}, "is_thing", ".float()"),
    "things in a list": ({"points_yx": TWO, "is_thing": [torch.ones((), requires_grad=True)] * 2}, "is_thing", "bool"),
    "another device": ({"points_yx": torch.zeros(2, 2, device="meta")}, "points_yx", ".cpu()"),
}
"""What has no form in NumPy."""
REFUSALS |= TENSORS


def test_an_unknown_argument_gets_a_suggestion():
    with pytest.raises(
        ArgumentError, match=r"^PointTargets: argument 'sizes': .* \(did you mean 'size'\?\)$"
    ) as caught:
        PointTargets(TWO, sizes=[3, 4])
    assert isinstance(caught.value, TypeError)
    assert list(inspect.signature(PointTargets).parameters)[:2] == ["points_yx", "target"]
    with pytest.raises(TypeError, match="category"):
        PointTargets(TWO, [0, 1], [0, 0], category=[0, 0])


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


def test_fault_c14_stuff_beside_things_has_a_category_of_its_own():
    targets = PointTargets([(1, 2), (3, 4), (5, 6)], is_thing=[True, True, False])
    assert targets.category.tolist() == [0, 0, 1]
    assert PointTargets([(1, 2)], is_thing=[False]).category.tolist() == [0]


def raster(targets, size):
    """(H, W) -1, or the target of the point on a pixel."""
    picture = np.full(size, -1)
    picture[tuple(targets.points_yx.T)] = targets.target
    return picture


@pytest.fixture
def scattered(rng):
    pixels = rng.choice(20 * 31, 40, replace=False)
    points = np.stack(np.divmod(pixels, 31), 1)
    target = np.r_[np.arange(9), rng.integers(0, 9, 31)]
    return PointTargets(points, target, np.arange(9) % 4, np.arange(9) % 4 < 3), (20, 31)


class TestFaultC15PointsMoveWithThePicture:
    def test_fault_c15_flip(self, scattered):
        targets, size = scattered
        assert np.array_equal(raster(targets.flip(size), size), raster(targets, size)[:, ::-1])
        assert np.array_equal(raster(targets.flip(size, axis="y"), size), raster(targets, size)[::-1])
        assert np.array_equal(targets.flip(size).flip(size).points_yx, targets.points_yx)
        with pytest.raises(ArgumentError, match=r"inside the 2x2 image"):
            targets.flip((2, 2))

    def test_fault_c15_crop(self, scattered):
        targets, size = scattered
        part = targets.crop(6, 12, 5, 8)
        seen = raster(targets, size)[6:11, 12:20]
        kept = np.unique(seen[seen >= 0])
        assert 0 < len(kept) < 9
        ours = raster(part, (5, 8))
        assert np.array_equal(np.where(ours >= 0, kept[ours], -1), seen)
        assert np.array_equal(part.category, targets.category[kept])
        assert np.array_equal(part.is_thing, targets.is_thing[kept])
        assert targets.crop(6, 12, 1, 1).num_targets <= 1
        with pytest.raises(ArgumentError, match=r"'lost': got 'error', and targets \[.*\] without a point"):
            targets.crop(6, 12, 5, 8, lost="error")

    def test_a_crop_beyond_the_picture_is_padding(self, scattered):
        targets, size = scattered
        padded = targets.crop(-3, -5, 30, 50, lost="error")
        assert np.array_equal(raster(padded, (30, 50))[3:23, 5:36], raster(targets, size))

    def test_fault_c15_resize_keeps_points_on_what_they_mark(self, scattered):
        targets, size = scattered
        tripled = targets.resize(size, (60, 93))
        assert np.array_equal(tripled.points_yx, targets.points_yx * 3 + 1)  # the middle of three pixels
        back = tripled.resize((60, 93), size)
        np.testing.assert_allclose(back.points_yx, targets.points_yx, atol=1e-12)
        assert targets.resize(size, size) is targets
        with pytest.raises(ArgumentError, match=r"^PointTargets.resize: .*inside the 2x2 image"):
            targets.resize((2, 2), (4, 4))

    def test_sizes_are_those_of_whole_objects_in_pixels_of_the_picture(self):
        size, error = [100.0, np.nan, 30], [1.2, 2, 1.35]
        targets = PointTargets([(2, 3), (5, 6), (8, 1)], size=size, size_error=error)
        half = targets.resize((10, 12), (5, 24))
        np.testing.assert_array_equal(half.size, np.array(size) * 0.5 * 2)
        np.testing.assert_array_equal(targets.resize((10, 12), (5, 6)).size, np.array(size) / 4)
        part = targets.crop(4, 0, 6, 8)
        np.testing.assert_array_equal(part.size, size[1:])
        chosen = targets.select([2, 0])
        np.testing.assert_array_equal(chosen.size, [30, 100])
        for moved, kept in ((half, error), (part, error[1:]), (chosen, [1.35, 1.2]), (targets.flip((10, 12)), error)):
            assert moved.size_error.tolist() == kept
        np.testing.assert_array_equal(targets.flip((10, 12)).size, size)

    @pytest.mark.parametrize(
        ("call", "argument"),
        [
            (lambda t: t.crop(0, 0, 0, 5), "height"),
            (lambda t: t.crop(0.5, 0, 4, 5), "top"),
            (lambda t: t.crop(0, 0, 4, 5, lost="keep"), "lost"),
            (lambda t: t.flip((4, 5), axis="z"), "axis"),
            (lambda t: t.flip(4), "size"),
            (lambda t: t.resize((4, 5), (0, 3)), "new_size"),
        ],
    )
    def test_refuses(self, call, argument):
        with pytest.raises(ArgumentError, match=f"'{argument}'"):
            call(PointTargets(TWO))


def test_targets_are_equal_by_value():
    first = PointTargets([(1, 2), (3, 4)], category=[0, 5], is_thing=[True, False])
    same = [pickle.loads(pickle.dumps(first)), copy.deepcopy(first), first.flip((9, 9)).flip((9, 9))]
    same.append(PointTargets([(1.0, 2.0), (3.0, 4.0)], category=[0, 5], is_thing=[True, False]))
    for other in same:
        assert other == first
        assert hash(other) == hash(first)
    others = [first.select([0]), first.select([1, 0]), first.crop(0, 0, 9, 9, lost="error").flip((9, 9))]
    others.append(PointTargets([(1, 2), (3, 4)], category=[0, 5]))
    for other in [*others, None, [(1, 2), (3, 4)]]:
        assert other != first
    assert len({first, *same, *others}) == 1 + len(others)


def test_sizes():
    unknown = PointTargets(TWO)
    assert np.isnan(unknown.size).all()
    assert unknown.size_error.tolist() == [1.35, 1.35]
    assert not unknown.has_sizes
    told = PointTargets(TWO, size=[3, np.nan], size_error=2)
    assert told.has_sizes
    assert told.size_error.tolist() == [2, 2]
    assert PointTargets(TWO, size=7).size.tolist() == [7, 7]
    assert told == PointTargets(TWO, size=[3, np.nan], size_error=[2, 2])
    assert hash(told) == hash(PointTargets(TWO, size=[3.0, np.nan], size_error=2.0))
    assert told != PointTargets(TWO, size=[4, np.nan], size_error=2)
    assert told != unknown
    for argument, values in {
        "size": [0, -1, np.inf, [1, 2, 3], [[1, 2]], ["a", "b"]],
        "size_error": [0.5, np.nan, np.inf, [1, 2, 3]],
    }.items():
        for value in values:
            with pytest.raises(ArgumentError, match=f"^PointTargets: argument '{argument}'"):
                PointTargets(TWO, **{argument: value})
