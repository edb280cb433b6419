"""Unregularised transport against ``ot.emd`` and a linear program."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.optimize import linprog
from transport_problems import problem

from point2mask_ot import ConvergenceWarning, solve

KINDS = {
    "integer": lambda rng, shape: rng.integers(0, 20, shape) * 1.0,
    "tied": lambda rng, shape: rng.integers(0, 3, shape) * 1.0,
    "constant": lambda rng, shape: np.full(shape, 2.5),
    "uniform": lambda rng, shape: rng.random(shape),
    "heavy tailed": lambda rng, shape: np.exp(4 * rng.standard_normal(shape)),
    "negative": lambda rng, shape: rng.normal(size=shape) * 100 - 1000,
}


def linear_program(a, b, M):
    """The least cost by HiGHS."""
    K, N = M.shape
    allowed = np.isfinite(M).ravel()
    sums = sparse.vstack([sparse.kron(sparse.eye(K), np.ones((1, N))), sparse.kron(np.ones((1, K)), sparse.eye(N))])
    found = linprog(M.ravel()[allowed], A_eq=sums.tocsc()[:, allowed], b_eq=np.concatenate([a, b]), method="highs")
    assert found.success
    return found.fun


def check_optimal(result, a, b, M, cost):
    """The plan is feasible, sparse and of the least cost, and the prices prove it."""
    plan = result.plan.astype(np.float64)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-9 * b.sum())
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-9 * b.sum())
    assert (plan > 0).sum() <= len(a) + len(b) - 1
    assert result.converged
    scale = max(1.0, np.abs(M[np.isfinite(M)]).max() * b.sum())
    assert abs(float(result.cost) - cost) <= 1e-9 * scale
    f, g = result.f[a > 0], result.g[b > 0]
    gap = (a[a > 0] @ f) + (b[b > 0] @ g) - float(result.cost)
    assert abs(gap) <= 1e-12 * scale
    slack = M[np.ix_(a > 0, b > 0)].astype(np.float64) - f[:, None] - g
    assert slack.min() >= -1e-12 * scale
    chosen = plan[:, b > 0].argmax(0)
    np.testing.assert_array_equal(result.labels[b > 0], chosen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_capacities_cost_what_emd_says(rng, kind, dtype):
    ot = pytest.importorskip("ot")
    for _ in range(25):
        K, N = int(rng.integers(2, 9)), int(rng.integers(9, 70))
        M = KINDS[kind](rng, (K, N)).astype(dtype)
        b = np.concatenate([np.ones(8), rng.integers(0, 2, N - 8)]).astype(np.float64)
        a = rng.multinomial(int(b.sum()), rng.dirichlet(np.full(K, 0.5))).astype(np.float64)
        lowest = min(0.0, float(M.min()))  # emd takes no negative costs
        expected = ot.emd2(a, b, M.astype(np.float64) - lowest) + lowest * b.sum()
        check_optimal(solve(a, b, M), a, b, M, expected)


@pytest.mark.parametrize("unit", [True, False])
def test_forbidden_pairs_cost_what_the_linear_program_says(rng, unit):
    for _ in range(10):
        a, b, M = problem(rng, 5, 40, unit=unit)
        check_optimal(solve(a, b, M), a, b, M, linear_program(a, b, M))


def test_real_marginals_cost_what_emd_says(rng):
    ot = pytest.importorskip("ot")
    for kind, costs in KINDS.items():
        M = costs(rng, (5, 40))
        a, b = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(40))
        a[2] = 0
        b[[1, 7]] = 0
        a, b = a / a.sum(), b / b.sum()
        result = solve(a, b, M)
        lowest = M.min()  # emd takes no negative costs
        expected = ot.emd2(a, b, M - lowest) + lowest
        np.testing.assert_allclose(result.cost, expected, rtol=1e-9, err_msg=kind)
        check_optimal(result, a, b, M, expected)
        for scale in (1e-20, 1e20):
            np.testing.assert_allclose(solve(a * scale, b * scale, M).cost, expected * scale, rtol=1e-9)


def test_too_few_pivots_are_said(rng):
    a, b, M = problem(rng, 5, 40)
    with pytest.warns(ConvergenceWarning, match="short of the optimum"):
        assert not solve(a, b, M, max_iter=1).converged


def test_equal_masses_are_counted_in_pixels(rng):
    """Normalised marginals, in either precision, are whole capacities in units of a pixel."""
    a, b, M = problem(rng, 6, 300, unit=True)
    expected = solve(a, b, M)
    for dtype in (np.float32, np.float64):
        mass = b.sum()
        result = solve((a / mass).astype(dtype), (b / mass).astype(dtype), M)
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_allclose(result.cost, expected.cost / mass, rtol=1e-6)


def test_an_awkward_photograph_sized_problem(rng):
    """Smooth costs, capacities far from the nearest supplier's share, blocks without demand."""
    ot = pytest.importorskip("ot")
    y, x = np.mgrid[:40, :60] / 40
    M = np.stack([np.hypot(y - p, x - q) for p, q in rng.random((7, 2))]).reshape(7, -1).astype(np.float32)
    b = np.ones(M.shape[1])
    b[300:900] = 0
    a = rng.multinomial(int(b.sum()), rng.dirichlet(np.full(7, 0.4))).astype(np.float64)
    check_optimal(solve(a, b, M), a, b, M, ot.emd2(a, b, M.astype(np.float64), numItermax=10**7))
    entropic = solve(a, b, M, reg=1e-4)
    assert entropic.converged
    assert np.mean(entropic.labels == solve(a, b, M).labels) > 0.99


def test_fault_c16_as_many_suppliers_as_pixels(rng):
    """It is not made for them, and says so; it is right there, too."""
    ot = pytest.importorskip("ot")
    a, b = (rng.dirichlet(np.ones(40)) for _ in range(2))
    M = rng.random((40, 40))
    check_optimal(solve(a, b, M), a, b, M, ot.emd2(a, b, M))
    assert "where both are hundreds, POT is faster" in " ".join(solve.__doc__.split())
