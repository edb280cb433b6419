"""Transport over block-sparse costs against the dense solver and POT; its bound against the dense plan."""

from __future__ import annotations

import pickle
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_problems import problem, rounds

from point2mask_ot import ArgumentError, ArgumentTypeError, ConvergenceWarning, NearestCosts, sinkhorn, solve


def spatial(rng, side=40, suppliers=30, dtype=np.float64, spread=0.3):
    """(a, b, M): Euclidean costs between points and the pixels of a square, and capacities off the nearest areas."""
    points = rng.random((suppliers, 2)) * side
    pixels = np.stack(np.divmod(np.arange(side * side), side), 1)
    M = np.linalg.norm(points[:, None] - pixels, axis=2) * (suppliers**0.5 / side)
    a = np.bincount(M.argmin(0), minlength=suppliers) * rng.uniform(1 - spread, 1 + spread, suppliers) + 1
    b = np.ones(side * side)
    return a * (b.sum() / a.sum()), b, M.astype(dtype)


def check(result, a, b, M, reg, tol=1e-7, tau=None):
    """What the result says holds against the plan over all pairs, in float64."""
    assert result.converged
    assert result.marginal_error <= tol
    assert result.bound <= tol
    rows, f = a > 0, np.asarray(result.f)
    assert np.isneginf(f[~rows]).all()
    assert np.isneginf(np.asarray(result.g)[b == 0]).all()
    plan = np.zeros(M.shape)
    pixels = b > 0
    scores = (f[rows, None] - M[np.ix_(rows, pixels)].astype(np.float64)) / reg
    shares = np.exp(scores - scores.max(0))
    plan[np.ix_(rows, pixels)] = b[pixels] * shares / shares.sum(0)
    outside = plan[np.isinf(result.costs.to_dense())].sum() / b.sum()
    assert outside <= result.bound + 1e-15
    wanted = a * np.exp(-np.where(rows, f, 0) / tau) if tau else a
    missed = np.abs(plan.sum(1) - wanted).sum() / b.sum()
    assert abs(missed - result.marginal_error) <= 2 * result.bound + 1e-12
    entries = result.plan.toarray()
    assert np.abs(entries - plan).sum() / b.sum() <= 3 * result.bound + 1e-9
    np.testing.assert_array_equal(np.asarray(result.labels)[pixels], plan.argmax(0)[pixels])


def same(result, dense, b, accuracy):
    """f is the dense solver's up to a constant; labels and cost are the same."""
    rows, pixels = np.isfinite(dense.f), b > 0
    np.testing.assert_array_equal(np.isfinite(result.f), rows)
    assert np.ptp(result.f[rows] - dense.f[rows]) <= accuracy
    np.testing.assert_array_equal(result.labels[pixels], dense.labels[pixels])
    np.testing.assert_allclose(result.cost, dense.cost, rtol=1e-5)


@pytest.mark.parametrize("window", [2.0, np.inf])
@pytest.mark.parametrize("reg", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_degenerate_problems(rng, reg, window, dtype):
    a, b, M = problem(rng, dtype=dtype)
    costs = NearestCosts.from_dense(M, window=window * reg)
    result = solve(a, b, costs, reg=reg, tol=1e-9)
    check(result, a, b, M, reg, 1e-9)
    same(result, solve(a, b, M, reg=reg, tol=1e-10), b, 1e-5 * max(reg, 0.05))


@pytest.mark.parametrize("reg", [0.05, 0.3])
def test_the_plan_is_pots(rng, reg):
    ot = pytest.importorskip("ot")
    a, b, M = problem(rng, degenerate=False)
    result = solve(a, b, NearestCosts.from_dense(M, window=reg), reg=reg, tol=1e-9)
    expected = ot.sinkhorn(a, b, M, reg, method="sinkhorn_log", numItermax=100_000, stopThr=1e-12)
    np.testing.assert_allclose(result.plan.toarray(), expected, atol=1e-7)


@pytest.mark.parametrize(("reg", "window"), [(0.02, 8), (0.1, 1), (0.1, 8), (1.0, 4)])
def test_points_on_a_grid(rng, reg, window):
    a, b, M = spatial(rng, dtype=np.float32)
    result = solve(a, b, NearestCosts.from_dense(M, window=window * reg), reg=reg)
    check(result, a, b, M, reg)
    same(result, solve(a, b, M, reg=reg), b, 1e-5)


def test_many_pixels_start_from_a_sample(rng):
    a, b, M = spatial(rng, side=200, suppliers=12, dtype=np.float32)
    result = solve(a, b, NearestCosts.from_dense(M, window=0.5), reg=0.1)
    check(result, a, b, M, 0.1)
    same(result, solve(a, b, M, reg=0.1), b, 1e-5)


@given(
    seed=st.integers(0, 2**31),
    reg=st.sampled_from([1e-3, 0.02, 0.3]),
    window=st.floats(0, 10),
    tau=st.sampled_from([None, 0.1, 5.0]),
)
@settings(max_examples=30, deadline=None)
def test_whatever_the_first_entries_were(seed, reg, window, tau):
    rng = np.random.default_rng(seed)
    a, b, M = problem(rng, int(rng.integers(2, 12)), 100, degenerate=bool(rng.integers(2)))
    result = solve(a, b, NearestCosts.from_dense(M, window=window * reg), reg=reg, tau=tau)
    check(result, a, b, M, reg, tau=tau)


@pytest.mark.parametrize("tau", [0.05, 1.0, 20.0])
def test_soft_capacities(rng, tau):
    a, b, M = spatial(rng)
    result = solve(a, b, NearestCosts.from_dense(M, window=0.3), reg=0.1, tau=tau)
    dense = solve(a, b, M, reg=0.1, tau=tau)
    check(result, a, b, M, 0.1, tau=tau)
    np.testing.assert_allclose(result.f, dense.f, atol=1e-5)  # here even the constant is the problem's


def test_entries_make_room_for_others(rng):
    """Two choices of them would take twice the memory; only the first is the caller's."""
    a, b, M = spatial(rng, suppliers=40, spread=0.8)
    a = a[rng.permutation(len(a))]  # prices that move far
    returned, alive = [], []

    def search(price, window):
        alive.append(sum(kept() is not None for kept in returned))
        found = replace(NearestCosts.from_dense(M, price=price, window=window), search=search)
        returned.append(weakref.ref(found))
        return found

    given = search(np.zeros(len(a)), 0.3)
    result = solve(a, b, given, reg=0.05, bound=1e-7)
    check(result, a, b, M, 0.05)
    assert len(returned) > 2
    assert alive[2:] == [1] * len(alive[2:])
    assert result.costs is returned[-1]()


def test_a_supplier_that_no_first_entry_knows(rng):
    a, b, M = spatial(rng)
    M[4] += 3
    costs = NearestCosts.from_dense(M, window=0.1)
    assert np.isinf(costs.to_dense()[4]).all()
    result = solve(a, b, costs, reg=0.1)
    check(result, a, b, M, 0.1)


def test_without_a_search_the_bound_says_what_may_be_missing(rng):
    a, b, M = spatial(rng)
    labels = np.argsort(M, axis=0)[:12]
    costs = NearestCosts.from_nearest(labels, np.take_along_axis(M, labels, 0), len(a))
    with pytest.warns(ConvergenceWarning, match="leaves out pairs that may have .* bound is 1e-07|bound is"):
        result = solve(a, b, costs, reg=0.1)
    assert not result.converged
    assert 1e-7 < result.bound < 0.1
    assert result.marginal_error <= 1e-7
    scores = (result.f[:, None] - M) / 0.1
    plan = np.exp(scores - scores.max(0))
    plan /= plan.sum(0)
    assert plan[np.isinf(costs.to_dense())].sum() / b.sum() <= result.bound
    assert solve(a, b, costs, reg=0.1, tol=2 * result.bound).converged


def test_impossible_marginals_are_told(rng):
    M = np.array([[0.0, 0.1, np.inf], [np.inf, np.inf, 0.2]])
    a, b = np.array([1.0, 2.0]), np.ones(3)
    with pytest.warns(ConvergenceWarning, match="impossible"):
        result = solve(a, b, NearestCosts.from_dense(M), reg=0.1, max_iter=30)
    assert not result.converged
    np.testing.assert_allclose(result.marginal_error, 2 / 3, rtol=1e-6)
    assert np.isfinite(result.plan.toarray()).all()


def test_pixels_that_nobody_with_capacity_reaches():
    M = np.array([[0.0, np.inf], [1.0, 1.0]])
    a, b = np.array([2.0, 0.0]), np.ones(2)
    for costs in (M, NearestCosts.from_dense(M)):
        with pytest.warns(ConvergenceWarning):
            result = solve(a, b, costs, reg=0.1)
        np.testing.assert_allclose(result.marginal_error, 1.0)


@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("tau", [None, 0.5])
def test_rounds_are_the_dense_ones(rng, count, tau):
    a, b, M = problem(rng)
    result = sinkhorn(a, b, NearestCosts.from_dense(M), 0.05, max_iter=count, tau=tau)
    dense = sinkhorn(a, b, M, 0.05, max_iter=count, tau=tau)
    for part in ("f", "g", "cost", "marginal_error"):
        np.testing.assert_allclose(getattr(result, part), getattr(dense, part), rtol=1e-9, atol=1e-12)
    assert (result.iterations, result.converged) == (count, False)
    if tau is None:
        np.testing.assert_allclose(result.f, rounds(a, b, M, 0.05, count)[0], atol=1e-9)


def test_rounds_reach_a_tolerance(rng):
    a, b, M = problem(rng)
    result = sinkhorn(a, b, NearestCosts.from_dense(M, window=0.3), 0.2, max_iter=5000, tol=1e-7)
    assert result.converged
    assert result.bound <= 1e-7
    plan = result.plan.toarray()
    error = (np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()) / b.sum()
    np.testing.assert_allclose(error, result.marginal_error, rtol=1e-6)
    same(result, solve(a, b, M, reg=0.2), b, 1e-5)


def test_families_lists_and_pickles(rng):
    a, b, M = problem(rng)
    costs = NearestCosts.from_dense(M, window=0.1)
    one = solve(a, b, costs, reg=0.1)
    tensors = solve(torch.tensor(a, device="cpu"), torch.tensor(b, device="cpu"), costs, reg=0.1)
    assert isinstance(tensors.f, torch.Tensor)
    assert isinstance(tensors.cost, torch.Tensor)
    np.testing.assert_array_equal(tensors.f, one.f)
    listed = solve([a, a], [b, b], [costs, NearestCosts.from_dense(M)], reg=0.1)
    np.testing.assert_array_equal(listed[0].f, one.f)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.plan.toarray(), one.plan.toarray())
    assert solve(a, b, M, reg=0.1).bound == 0


def test_the_same_bits_on_any_number_of_threads(rng):
    a, b, M = spatial(rng, side=160, suppliers=20, dtype=np.float32)
    costs = NearestCosts.from_dense(M, window=1.0)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(solve(a, b, costs, reg=0.1))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0].f, found[1].f)
    np.testing.assert_array_equal(found[0].cost, found[1].cost)


def test_refused(rng):
    a, b, M = problem(rng)
    costs = NearestCosts.from_dense(M)
    with pytest.raises(ArgumentError, match="exact plan needs all costs"):
        solve(a, b, costs)
    with pytest.raises(ArgumentError, match=r"argument 'a'.*shape"):
        solve(a[1:], b, costs, reg=0.1)
    with pytest.raises(ArgumentError, match="same total"):
        solve(2 * a, b, costs, reg=0.1)
    assert solve(2 * a, b, costs, reg=0.1, normalize=True).converged
    with pytest.raises(ArgumentError, match="masses >= 0"):
        solve(-a, b, costs, reg=0.1)
    with pytest.raises(ArgumentError, match="finite masses"):
        solve(a, b * np.nan, costs, reg=0.1)
    with pytest.raises(ArgumentError, match="backend"):
        solve(a, b, costs, reg=0.1, backend="torch")
    with pytest.raises(ArgumentTypeError, match="NearestCosts"):
        solve([a, a], [b, b], [costs, M], reg=0.1)
    with pytest.raises(ArgumentError, match="1 pixels with demand that no supplier reaches"):
        solve(a, np.where(np.arange(len(b)) == 4, 1e-5, b), costs, reg=0.1)
    with pytest.raises(ArgumentError, match="NaN"):
        solve(a, b, replace(costs, cost=costs.cost * np.nan), reg=0.1)
    with pytest.raises(ArgumentError, match="one place"):
        solve(a, b, replace(costs, pixel=np.zeros_like(costs.pixel)), reg=0.1)
    with pytest.raises(ArgumentError, match="ascending"):
        solve(a, b, replace(costs, supplier=costs.supplier[::-1]), reg=0.1)


def test_a_supplier_out_of_reach_is_refused_where_nobody_can_search(rng):
    labels, costs = np.zeros((1, 3), np.int64), np.zeros((1, 3))
    with pytest.raises(ArgumentError, match=r"suppliers .1. with capacity that reach no pixel"):
        solve(np.array([2.0, 1.0]), np.ones(3), NearestCosts.from_nearest(labels, costs, 2), reg=0.1)


def test_nothing_is_changed(rng):
    a, b, M = problem(rng)
    costs = NearestCosts.from_dense(M, window=0.1)
    before = pickle.dumps((a, b, costs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(a, b, costs, reg=0.1)
    assert pickle.dumps((a, b, costs)) == before
