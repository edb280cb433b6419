"""Block-sparse costs: what they keep, what they say of the rest, and the kernels over them, against dense matrices."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from point2mask_ot import ArgumentError, ArgumentTypeError, NearestCosts

K = 7


@pytest.fixture(name="M", params=[np.float32, np.float64])
def matrix(rng, request):
    """(K, 150) with forbidden pairs, ties, and a pixel that nobody reaches."""
    costs = (rng.integers(0, 40, (K, 150)) / 8).astype(request.param)
    costs[rng.random(costs.shape) < 0.2] = np.inf
    costs[:, 77] = np.inf
    return costs


def nearest(M, k):
    """(k, N) labels and costs of the k cheapest; -1 and +inf where fewer are finite."""
    labels = np.argsort(M, axis=0, kind="stable")[:k]
    costs = np.take_along_axis(M, labels, 0)
    return np.where(np.isfinite(costs), labels, -1), costs


def test_the_nearest_of_each_pixel(M):
    labels, costs = nearest(M, 3)
    found = NearestCosts.from_nearest(labels, costs, K)
    found.check("test", "costs")
    expected = np.full_like(M, np.inf)
    for t in range(3):
        known = labels[t] >= 0
        expected[labels[t, known], np.flatnonzero(known)] = costs[t, known]
    np.testing.assert_array_equal(found.to_dense(), expected)
    assert found.cost.dtype == M.dtype
    floor = found.floor.reshape(-1)[:150]
    left_out = np.where(np.isinf(expected), M, np.inf).min(0)
    assert (floor <= left_out).all()
    np.testing.assert_array_equal(floor, np.where((labels >= 0).all(0), costs[2], np.inf))


def test_all_of_them_leave_nobody_out(M):
    labels, costs = nearest(M, K)
    found = NearestCosts.from_nearest(labels, costs, K)
    np.testing.assert_array_equal(found.to_dense(), M)
    assert np.isinf(found.floor).all()


def test_a_floor_is_rounded_down(M):
    labels, costs = nearest(M, 2)
    floor = np.full(150, 1 / 3)
    assert (NearestCosts.from_nearest(labels, costs, K, floor=floor).floor.reshape(-1)[:150] <= 1 / 3).all()


@given(seed=st.integers(0, 2**31), window=st.floats(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_search_keeps_all_within_the_window(seed, window):
    rng = np.random.default_rng(seed)
    M, price = rng.random((K, 70)) * 2, rng.normal(0, 0.5, K)
    found = NearestCosts.from_dense(M).search(price, window)
    found.check("test", "costs")
    reduced, kept = M - price[:, None], np.isfinite(found.to_dense())
    assert kept[reduced <= reduced.min(0) + window].all()
    floor = found.floor.reshape(-1)[:70]
    assert (np.where(kept, np.inf, reduced) >= floor).all()
    np.testing.assert_array_equal(found.to_dense()[kept], M[kept])


@pytest.mark.parametrize("window", [0.5, np.inf])
def test_labels_and_their_costs(rng, M, window):
    price = rng.integers(-8, 8, K) / 8
    price[2] = -np.inf
    found = NearestCosts.from_dense(M, window=window)
    kept = found.to_dense().astype(np.float64)
    label, cost = found.label_and_cost(price)
    score = np.where(np.isfinite(kept), price[:, None] - kept, -np.inf)
    reached = score.max(0) > -np.inf
    np.testing.assert_array_equal(label, np.where(reached, score.argmax(0), -1))
    np.testing.assert_array_equal(cost, np.where(reached, kept[score.argmax(0), np.arange(150)], np.inf))
    np.testing.assert_array_equal(found.supplier_cost(label), cost)
    assert np.isinf(found.supplier_cost(np.full(150, 2))[np.isinf(kept[2])]).all()


def test_who_contends_and_who_keeps(rng, M):
    price, demand = rng.integers(-8, 8, K) / 8, rng.random(150) < 0.7
    wanted, kept = NearestCosts.from_dense(M).firmness(price, 0.5, demand)
    score = price[:, None] - M.astype(np.float64)
    wants = (score >= score.max(0) - 0.5) & np.isfinite(M) & demand
    np.testing.assert_array_equal(wanted, wants.sum(1))
    np.testing.assert_array_equal(kept, wants[:, wants.sum(0) == 1].sum(1))


def test_pickle(M):
    again = pickle.loads(pickle.dumps(NearestCosts.from_dense(M, window=0.5)))
    np.testing.assert_array_equal(again.search(np.zeros(K), np.inf).to_dense(), M)


LABELS = np.array([[0, 1, 2], [1, 2, -1]])
COSTS = np.array([[0.0, 1.0, 2.0], [1.0, 2.0, np.nan]])


@pytest.mark.parametrize(
    ("labels", "costs", "argument", "message"),
    [
        (LABELS[0], COSTS, "labels", "shape"),
        (LABELS, COSTS[:, :2], "costs", "shape"),
        (LABELS + 2, COSTS, "labels", "0..2"),
        (LABELS - 1, COSTS, "labels", "-2 to 1"),
        (np.zeros_like(LABELS), np.zeros_like(COSTS), "labels", "different suppliers"),
        (np.abs(LABELS), COSTS, "costs", "NaN"),
        (LABELS, np.where(LABELS == 0, -np.inf, COSTS), "costs", "-inf"),
    ],
)
def test_refused(labels, costs, argument, message):
    with pytest.raises(ArgumentError, match=f"from_nearest: argument '{argument}'.*{message}"):
        NearestCosts.from_nearest(labels, costs, 3)


def test_refused_kinds_and_floors():
    with pytest.raises(ArgumentTypeError, match="labels"):
        NearestCosts.from_nearest(LABELS.astype(float), COSTS, 3)
    with pytest.raises(ArgumentTypeError, match="costs"):
        NearestCosts.from_nearest(LABELS, COSTS.tolist(), 3)
    with pytest.raises(ArgumentError, match="floor"):
        NearestCosts.from_nearest(LABELS, COSTS, 3, floor=np.zeros(2))
    with pytest.raises(ArgumentError, match="NaN"):
        NearestCosts.from_dense(COSTS)
    with pytest.raises(ArgumentError, match="price"):
        NearestCosts.from_dense(np.abs(LABELS), price=np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 3), st.floats(0, 2))
def test_narrowed_is_what_a_search_would_find(seed, window, spread):
    rng = np.random.default_rng(seed)
    M = rng.uniform(0, 5, (K, 150)).astype(np.float32)
    M[rng.random(M.shape) < 0.2] = np.inf
    wide, price = NearestCosts.from_dense(M, window=3.0), rng.uniform(-spread, spread, K)
    found, expected = wide.narrowed(price, window), NearestCosts.from_dense(M, price=price, window=window)
    if found is None:
        assert window + 2 * np.ptp(price) > 3
        return
    found.check("test", "costs")
    np.testing.assert_array_equal(found.supplier, expected.supplier)
    np.testing.assert_array_equal(found.first, expected.first)
    listed = np.isfinite(expected.to_dense())
    np.testing.assert_array_equal(found.to_dense()[listed], M[listed])
    assert (found.floor <= expected.floor).all()
