"""Typical sizes of categories: how they are learned, and whom they are told of."""

from __future__ import annotations

import numpy as np
import pytest

from point2mask_ot import ArgumentError, PointTargets, fill_sizes, typical_sizes
from point2mask_ot.types import SIZE_ERROR

NAN = np.nan


def sized(size, category=None, is_thing=None, error=None):
    category = category or [0] * len(size)
    return PointTargets([(i, i) for i in range(len(size))], None, category, is_thing, size, error)


def test_the_law_of_the_hints():
    size, error = np.array([100.0, 250, 90, 400]), np.array([1.2, 1.35, 2, 1.35])
    found = typical_sizes(sized([*size, NAN], error=[*error, 9]))
    logs = np.log(size)
    spread = np.sqrt(logs.var(ddof=1) + (np.log(error) ** 2).mean())
    assert found == {0: (pytest.approx(np.exp(logs.mean())), pytest.approx(np.exp(spread)))}


def test_equal_hints_are_trusted_no_further_than_one():
    (size, spread), = typical_sizes(sized([300.0] * 50)).values()  # fmt: skip
    assert size == pytest.approx(300)
    assert spread == pytest.approx(SIZE_ERROR)


def test_of_many_pictures_by_category_and_never_of_stuff():
    pictures = [
        sized([10, 20, 4000], [0, 1, 2], [True, True, False]),
        sized([10, NAN, 4000], [0, 1, 2], [True, True, False]),
        sized([10, 20, 4000], [0, 1, 2], [True, True, False]),
        PointTargets(np.zeros((0, 2))),
    ]
    assert set(typical_sizes(iter(pictures))) == {0}, "two hints of one category are too few, and stuff has no size"
    assert set(typical_sizes(pictures, least=2)) == {0, 1}
    assert typical_sizes([]) == {}
    together = sized([10, 10, 10])
    assert typical_sizes(pictures)[0] == pytest.approx(typical_sizes(together)[0])


def test_who_is_told():
    targets = sized([NAN, 50, NAN, NAN, NAN], [0, 0, 1, 2, 3], [True, True, True, True, False], error=1.1)
    filled = fill_sizes(targets, {0: (300, 1.6), 1: 40, 3: 9000})
    np.testing.assert_array_equal(filled.size, [300, 50, 40, NAN, NAN])
    assert filled.size_error.tolist() == [1.6**2, 1.1, 4, 1.1, 1.1]
    np.testing.assert_array_equal(targets.size, [NAN, 50, NAN, NAN, NAN], err_msg="inputs stay")
    same = fill_sizes(targets, {})
    np.testing.assert_array_equal(same.size, targets.size)


@pytest.mark.parametrize("told", [0, -3, NAN, np.inf, "large", (300, 0.5), (300, NAN), (300, 2, 1)])
def test_refuses_sizes(told):
    with pytest.raises(ArgumentError, match=r"^fill_sizes: argument 'typical'"):
        fill_sizes(sized([NAN]), {0: told})


def test_refuses_what_is_no_picture():
    with pytest.raises(ArgumentError, match=r"^typical_sizes: argument 'pictures': got int"):
        typical_sizes([3])
    with pytest.raises(ArgumentError, match=r"^typical_sizes: argument 'least': got 1"):
        typical_sizes([], least=1)


@pytest.mark.parametrize("typical", [300, [3], {"nucleus": 300}])
def test_sizes_are_by_category_index(typical):
    with pytest.raises(ArgumentError, match=r"^fill_sizes: argument 'typical'"):
        fill_sizes(sized([NAN]), typical)


def test_none_stands_for_an_unknown_size():
    assert np.isnan(PointTargets([(1, 1), (2, 2)], size=[None, 3]).size).tolist() == [True, False]
