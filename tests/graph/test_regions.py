"""Label maps: extremes, counts and medians, on every device and on the path that a GPU takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from point2mask_ot import checks
from point2mask_ot.graph import regions


@pytest.fixture(params=["cpu", "path of a GPU", pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request, monkeypatch):
    """Puts a tensor on the device, or makes the functions believe that it does not lie on the CPU."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    if request.param == "path of a GPU":
        monkeypatch.setattr(checks, "values_at_hand", lambda tensor: False)
    return lambda tensor: tensor.to("cuda" if request.param == "cuda" else "cpu")


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (90, 130)])
def test_first_extremes(rng, place, dtype, count, size):
    values = rng.integers(0, 4, (count, *size)).astype(float)
    values[rng.random(values.shape) < 0.3] = np.inf
    for function, best in ((regions.first_smallest, np.argmin), (regions.first_largest, np.argmax)):
        value, label = function(place(torch.from_numpy(values).to(dtype)))
        np.testing.assert_array_equal(label.cpu(), best(values, 0), err_msg="the first of equals")
        np.testing.assert_array_equal(value.cpu(), np.take_along_axis(values, best(values, 0)[None], 0)[0])


@pytest.mark.parametrize("count", [0, 1, 6])
def test_counts_and_moments(rng, place, count):
    labels = rng.integers(-1, count, (13, 21))
    weight = rng.random(labels.shape)
    index, there = range(count), place(torch.from_numpy(labels))
    np.testing.assert_array_equal(regions.areas(there, count).cpu(), [(labels == k).sum() for k in index])
    places = [np.nonzero(labels == k) for k in index]
    moments = [[len(rows), rows.sum(), columns.sum()] for rows, columns in places]
    np.testing.assert_array_equal(regions.moments(there, count).cpu(), np.array(moments).reshape(count, 3).T)
    sums = regions.weights(there, place(torch.from_numpy(weight)), count)
    np.testing.assert_allclose(sums.cpu(), ndimage.sum(weight, labels, index), rtol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 6])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 21)])
def test_extents(rng, place, count, size):
    labels = rng.integers(-1, max(count - 1, 0), size)  # nobody has the last label
    found = regions.extents(place(torch.from_numpy(labels)), count).cpu().tolist()
    slices = ndimage.find_objects(labels + 1, max_label=count)
    for (top, left, bottom, right), own in zip(found, slices, strict=True):
        assert ((top > bottom) and (left > right)) if own is None else own == np.s_[top : bottom + 1, left : right + 1]


def test_look_up(place):
    labels = place(torch.tensor([[0, -1], [2, 1]]))
    assert regions.look_up(np.array([5, 6, 7]), labels, nobody=-1).tolist() == [[5, -1], [7, 6]]
    assert regions.look_up(np.zeros(0, bool), place(torch.tensor([-1]))).tolist() == [False]


@pytest.mark.parametrize("kept", [1, 2, 7, 60])
def test_median_where(rng, place, kept):
    values = torch.from_numpy(rng.random(60))
    mask = torch.from_numpy(rng.permutation(60) < kept)
    expected = values[mask].sort().values[(kept - 1) // 2]
    assert regions.median_where(place(mask), place(values)).item() == expected
    assert not regions.median_where(place(mask & False), place(values)).isfinite()
