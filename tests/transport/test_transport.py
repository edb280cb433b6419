"""Sinkhorn and Newton against POT, a literal transcription of the equations and scipy's optimiser."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.special import logsumexp
from transport_problems import problem, rounds

from point2mask_ot import (
    ConvergenceWarning,
    MapTerm,
    PointTargets,
    capacities,
    edge_costs,
    geodesic_distances,
    sinkhorn,
    solve,
)

BACKENDS = ("numba", "torch")
REGULARISED = [(method, backend) for method in ("newton", "sinkhorn") for backend in BACKENDS]


def check_marginals(result, a, b, M, tol, reg=0.0):
    """The plan is finite, respects zeros and forbidden pairs, and its error is what the result says, below tol."""
    plan = np.asarray(result.plan, dtype=np.float64)
    assert np.isfinite(plan).all()
    assert not plan[a == 0].any()
    assert not plan[:, b == 0].any()
    assert not plan[np.isinf(M)].any()
    assert np.isneginf(np.asarray(result.f)[a == 0]).all()
    assert np.isneginf(np.asarray(result.g)[b == 0]).all()
    error = (np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()) / b.sum()
    exponent = np.abs(M[np.isfinite(M)]).max() / reg if reg else 1.0  # what a rounded potential is multiplied by
    rounding = 1e-15 * max(exponent, 1e3) if M.dtype == np.float64 else 1e-6
    assert float(result.marginal_error) <= tol
    assert abs(error - float(result.marginal_error)) <= rounding
    finite = np.where(np.isfinite(M), M, 0.0).astype(np.float64)
    np.testing.assert_allclose(result.cost, (plan * finite).sum(), rtol=max(rounding, 1e-9))


@pytest.mark.parametrize(("method", "backend"), REGULARISED)
@pytest.mark.parametrize("reg", [0.05, 0.3])
def test_converged_plan_is_pots(rng, method, backend, reg):
    ot = pytest.importorskip("ot")
    a, b, M = problem(rng)
    result = solve(a, b, M, reg=reg, method=method, backend=backend, tol=1e-10)
    assert result.converged
    check_marginals(result, a, b, M, 1e-10)
    rows, pixels = a > 0, b > 0
    expected = np.zeros_like(M)
    expected[np.ix_(rows, pixels)] = ot.sinkhorn(
        a[rows], b[pixels], M[np.ix_(rows, pixels)], reg, method="sinkhorn_log", numItermax=100_000, stopThr=1e-12
    )
    np.testing.assert_allclose(result.plan, expected, atol=1e-8)
    np.testing.assert_array_equal(result.labels[pixels], expected[:, pixels].argmax(0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reg", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize("floor", [0.0, 1e-8])
@pytest.mark.parametrize("count", [1, 7, 80])
def test_rounds_are_the_equations(rng, tolerance, dtype, backend, reg, floor, count):
    a, b, M = problem(rng, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
    result = sinkhorn(a, b, M, reg, max_iter=count, marginal_floor=floor, backend=backend)
    f, g = rounds(a, b, M, reg, count, floor)
    np.testing.assert_allclose(result.f, f, **tolerance[dtype])
    np.testing.assert_allclose(result.g, g, **tolerance[dtype])
    assert result.iterations == count
    assert not result.converged


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reg", [1e-4, 1e-2])
def test_far_suppliers_and_a_region_out_of_reach(rng, tolerance, dtype, backend, reg):
    """Suppliers whose first mass underflows, beside whole blocks of pixels that nobody reaches."""
    a, b, M = problem(rng, 5, 600)
    M[3] += 4
    M[:, 100:400] = np.inf
    b[100:400] = 0
    a *= b.sum() / a.sum()
    M = M.astype(torch.empty(0, dtype=dtype).numpy().dtype)
    result = sinkhorn(a, b, M, reg, max_iter=5, backend=backend)
    f, g = rounds(a, b, M, reg, 5)
    np.testing.assert_allclose(result.f, f, **tolerance[dtype])
    np.testing.assert_allclose(result.g, g, **tolerance[dtype])


@pytest.mark.parametrize("backend", BACKENDS)
def test_rounds_stop_at_the_tolerance(rng, backend):
    a, b, M = problem(rng)
    result = sinkhorn(a, b, M, 0.2, max_iter=5000, tol=1e-8, backend=backend)
    assert result.converged
    assert result.iterations < 5000
    check_marginals(result, a, b, M, 1e-8)
    before = sinkhorn(a, b, M, 0.2, max_iter=result.iterations - 2, backend=backend)
    assert before.marginal_error > 1e-8


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tol", [1e-7, 1e-10])
def test_float32_costs_reach_the_tolerance(rng, backend, tol):
    a, b, M = problem(rng, 5, 3000, dtype=np.float32)
    result = solve(a, b, M, reg=1e-2, tol=tol, backend=backend)
    assert result.converged
    check_marginals(result, a, b, M, tol)
    assert result.plan.dtype == np.float32
    assert result.f.dtype == result.g.dtype == np.float64


def soft_masses(a, b, M, reg, tau):
    """Row sums of the soft plan, by scipy on the semi-dual in the potentials of the suppliers with capacity."""
    rows, pixels = a > 0, b > 0
    a, b, M = a[rows], b[pixels], M[np.ix_(rows, pixels)]

    def negative_dual(f):
        scores = (f[:, None] - M) / reg
        shares = np.exp(scores - logsumexp(scores, axis=0))
        capacities = a * np.exp(-f / tau)
        value = tau * capacities.sum() + reg * (b * logsumexp(scores, axis=0)).sum()
        return value, shares @ b - capacities

    found = minimize(negative_dual, np.zeros(len(a)), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    masses = np.zeros(len(rows))
    masses[rows] = a * np.exp(-found.x / tau)
    return masses


@pytest.mark.parametrize(("method", "backend"), REGULARISED)
@pytest.mark.parametrize("tau", [0.05, 1.0, 20.0])
def test_soft_capacities(rng, method, backend, tau):
    a, b, M = problem(rng)
    a[2], a[3] = a[3], a[2]  # no longer what a feasible plan gave
    result = solve(a, b, M, reg=0.2, tau=tau, method=method, backend=backend, tol=1e-9)
    assert result.converged
    np.testing.assert_allclose(result.plan.sum(0), b, atol=1e-8)
    np.testing.assert_allclose(result.plan.sum(1), soft_masses(a, b, M, 0.2, tau), atol=1e-6)


@pytest.mark.filterwarnings("ignore:If reg_type = entropy")
def test_soft_capacities_mean_what_pots_do(rng):
    ot = pytest.importorskip("ot")
    a, b, M = problem(rng, 4, 30, degenerate=False)
    a = a[::-1].copy()
    result = solve(a, b, M, reg=0.3, tau=0.7, tol=1e-10)
    expected = ot.unbalanced.sinkhorn_unbalanced(
        a, b, M, 0.3, (0.7, 1e12), reg_type="entropy", c=np.ones_like(M), numItermax=100_000, stopThr=1e-14
    )
    np.testing.assert_allclose(result.plan, expected, rtol=1e-6)


@pytest.mark.parametrize("tau", [None, np.inf, 1e9])
def test_stiff_capacities_are_hard(rng, tau):
    a, b, M = problem(rng)
    result = solve(a, b, M, reg=0.1, tau=tau)
    np.testing.assert_allclose(result.plan.sum(1), a, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("reg", [1e-4, 1e-2])
def test_small_reg_at_any_scale(rng, backend, scale, reg):
    a, b, M = problem(rng, 5, 400, unit=True)
    M *= scale
    result = solve(a, b, M, reg=reg, backend=backend, tol=1e-6, max_iter=2000)
    check_marginals(result, a, b, M, 1e-6, reg)


def discs_and_their_ground(seed, side=32, size=224):
    """Capacities and costs of 49 touching discs with rims and of the ground around them: outlines make costs jump."""
    rng, (y, x) = np.random.default_rng(seed), np.indices((size, size))
    picture, points = np.full((size, size), 0.3), [(1, 1)]
    for center in np.ndindex(size // side, size // side):
        cy, cx = np.array(center) * side + side // 2
        distance, radius = np.hypot(y - cy - rng.uniform(-5, 5), x - cx - rng.uniform(-5, 5)), rng.uniform(9.6, 19.2)
        inside = rng.uniform(0.5, 0.9) - 0.2 * (distance > radius - 3)
        picture = np.where(distance < radius, inside, picture)
        points.append((cy, cx))
    noisy = gaussian_filter(picture + rng.normal(0, 0.03, picture.shape), 1).astype(np.float32)
    edges = edge_costs(terms=[MapTerm(noisy[None])], step_cost=1e-3, power=2)
    targets = PointTargets(points)
    costs = geodesic_distances(edges, targets.points_yx, targets.target)
    a = capacities(edges, targets, iterations=3, keep_points=True)
    return a, np.ones(size * size), (costs * (10 / np.median(costs.max(0)))).reshape(len(points), -1)


@pytest.mark.parametrize("reg", [0.1, 0.03])
def test_newton_where_few_pixels_decide(reg):
    a, b, M = discs_and_their_ground(seed=1)
    result = solve(a, b, M, reg=reg, max_iter=60)  # as many passes as a few dozen Newton steps take
    assert result.converged
    check_marginals(result, a, b, M, 1e-7, reg)


def crowd(seed, side=8, size=112):
    """Capacities, demands and costs of 196 discs of a few pixels, the ground between them left out."""
    rng, (y, x) = np.random.default_rng(seed), np.indices((size, size))
    picture, points, covered = np.full((size, size), 0.3), [], np.zeros((size, size), bool)
    for corner in np.ndindex(size // side, size // side):
        cy, cx = np.array(corner) * side + side // 2 + rng.integers(-1, 2, 2)
        disc = np.hypot(y - cy, x - cx) < rng.uniform(0.2, 0.5) * side
        picture[disc] = rng.uniform(0.5, 0.9)
        covered |= disc
        points.append((cy, cx))
    noisy = gaussian_filter(picture + rng.normal(0, 0.03, picture.shape), 1).astype(np.float32)
    edges = edge_costs(terms=[MapTerm(noisy[None])], step_cost=1e-3, power=2)
    targets = PointTargets(points)
    costs = geodesic_distances(edges, targets.points_yx, targets.target)
    M, b = (costs * (10 / np.median(costs.max(0)))).reshape(len(points), -1), covered.ravel().astype(float)
    nearest = np.bincount(M.argmin(0), b, len(points))
    a = np.maximum(np.rint(nearest * rng.uniform(0.6, 1.4, len(points))), 3)
    return a * (b.sum() / a.sum()), b, M


def test_newton_in_a_crowd():
    """One supplier waits on a plateau, another stands before a kink: neither may hold up the other."""
    a, b, M = crowd(seed=1)
    result = solve(a, b, M, reg=0.03, max_iter=45)
    assert result.converged
    check_marginals(result, a, b, M, 1e-7, 0.03)


@pytest.mark.parametrize("share", [3e-5, 1e-4, 1e-3])
def test_newton_on_tied_costs_at_a_small_reg(rng, share):
    """Whole costs leave the dual flat but for steps: the case in which a falling ``reg`` alone stalls."""
    for _ in range(6):
        M = rng.integers(0, 10, (20, 600)) * 1.0
        a, b = rng.multinomial(600, rng.dirichlet(np.full(20, 0.7))).astype(float), np.ones(600)
        result = solve(a, b, M, reg=share * 9, tol=1e-9)
        assert result.converged
        check_marginals(result, a, b, M, 1e-9, share * 9)


@pytest.mark.parametrize("reg", [0.0, 1e-2])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (4, 257)])
@pytest.mark.parametrize("kind", ["constant", "ties", "random"])
def test_small_shapes_and_ties(rng, reg, shape, kind):
    K, N = shape
    M = {"constant": np.full(shape, 2.0), "ties": rng.integers(0, 2, shape) * 1.0, "random": rng.random(shape)}[kind]
    a, b = rng.uniform(0.1, 1, K), rng.uniform(0.1, 1, N)
    result = solve(a, b, M, reg=reg, normalize=True)
    check_marginals(result, a * (b.sum() / a.sum()), b, M, 1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_are_the_argmax_and_the_smallest_index_wins(rng, backend):
    a, b, M = problem(rng, unit=True)
    M[2] = M[3]
    a[2] = a[3] = (a[2] + a[3]) / 2
    result = solve(a, b, M, reg=0.1, backend=backend)
    assert np.isneginf(result.f[1])
    np.testing.assert_array_equal(result.labels, (result.f[:, None] - M).argmax(0))
    assert result.labels[4] == 0  # out of reach
    twins = solve(np.array([2.0, 2.0]), np.ones(4), np.full((2, 4), 3.0), reg=0.1, backend=backend)
    assert twins.labels.tolist() == [0, 0, 0, 0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), reg=st.sampled_from([3e-3, 0.03, 0.3]), method=st.sampled_from(["newton", "exact"]))
def test_properties(seed, reg, method):
    """Marginals; shifts of rows and columns move potentials, not the plan; order of the suppliers does not matter."""
    rng = np.random.default_rng(seed)
    a, b, M = problem(rng, int(rng.integers(2, 7)), int(rng.integers(20, 150)), unit=method == "exact")
    reg = 0.0 if method == "exact" else reg
    result = solve(a, b, M, reg=reg, tol=1e-9)
    check_marginals(result, a, b, M, 1e-9)
    rows, columns = rng.normal(size=len(a)), rng.normal(size=len(b))
    shifted = solve(a, b, M + rows[:, None] + columns, reg=reg, tol=1e-9)
    np.testing.assert_allclose(shifted.cost, result.cost + a @ rows + b @ columns, atol=1e-6)
    order = rng.permutation(len(a))
    permuted = solve(a[order], b, M[order], reg=reg, tol=1e-9)
    np.testing.assert_allclose(permuted.cost, result.cost, atol=1e-6)
    if reg:
        np.testing.assert_allclose(shifted.plan, result.plan, atol=1e-6)
        np.testing.assert_allclose(permuted.plan, result.plan[order], atol=1e-6)


@pytest.mark.parametrize("reg", [0.0, 0.05])
def test_batch_and_list_are_the_loop(rng, reg):
    a, b, M = (np.stack(x) for x in zip(*(problem(rng, unit=True) for _ in range(3)), strict=True))
    batch = solve(a, b, M, reg=reg)
    many = solve(list(a), list(b), list(M), reg=reg)
    for index in range(3):
        single = solve(a[index], b[index], M[index], reg=reg)
        for name in ("f", "g", "labels", "cost", "marginal_error", "plan"):
            np.testing.assert_array_equal(getattr(batch, name)[index], getattr(single, name))
            np.testing.assert_array_equal(getattr(many[index], name), getattr(single, name))
    assert batch.iterations == max(result.iterations for result in many)
    assert batch.converged is True


def test_list_of_different_shapes(rng):
    problems = [problem(rng, 3, 20), problem(rng, 5, 31)]
    results = sinkhorn(*map(list, zip(*problems, strict=True)), 0.1)
    assert [result.plan.shape for result in results] == [(3, 20), (5, 31)]


@pytest.mark.parametrize("method", ["sinkhorn", "newton", "exact"])
def test_threads_do_not_change_a_bit(rng, method):
    """Large enough for several ranges of blocks and a pool; eight callers at once, one thread or two each."""
    a, b, M = problem(rng, 12, 60_000, unit=True, dtype=np.float32)
    options = {"reg": 0.0 if method == "exact" else 0.05, "method": method, "tol": 1e-5}
    expected = solve(a, b, M, **options)
    results = [None] * 8

    def work(index):
        results[index] = solve(a, b, M, **options)

    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            callers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            for result in results:
                for name in ("f", "g", "labels", "cost", "marginal_error"):
                    np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("reg", "method"), [(0.0, "exact"), (0.05, "newton"), (0.05, "sinkhorn")])
def test_inputs_stay_and_results_are_new(rng, reg, method):
    given = [torch.as_tensor(x) for x in problem(rng, unit=True)]
    copies = [x.clone() for x in given]
    result = solve(*given, reg=reg, method=method, tol=1e-5)
    for array in (result.f, result.g, result.labels, result.plan):
        array.fill_(0)
    for before, after in zip(copies, given, strict=True):
        assert torch.equal(before, after)


def test_families_devices_and_dtypes(rng, device):
    a, b, M = problem(rng, unit=True)
    expected = solve(a, b, M, reg=0.05)
    tensors = [torch.as_tensor(x).to(device) for x in (a, b, M)]
    result = solve(*tensors, reg=0.05)
    for name in ("f", "g", "labels", "cost", "plan"):
        tensor = getattr(result, name)
        assert tensor.device.type == device.type
        np.testing.assert_allclose(tensor.cpu(), getattr(expected, name), atol=1e-7)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        low = solve(tensors[0].int(), tensors[1].bool(), tensors[2].to(dtype), reg=0.05)
        assert low.plan.dtype == torch.float32
        assert low.converged
    integers = solve(a.astype(np.int64), b.astype(np.uint8), np.arange(M.size).reshape(M.shape), reg=10.0)
    assert integers.plan.dtype == np.float64


def test_read_only_and_strided_inputs(rng):
    a, b, M = problem(rng)
    expected = solve(a, b, M, reg=0.1)
    wide = np.repeat(M, 2, axis=1)[:, ::2]
    wide.flags.writeable = False
    np.testing.assert_array_equal(solve(a, b, wide, reg=0.1).plan, expected.plan)


INFEASIBLE = {
    "too little reach": ([1.0, 3.0], [1.0] * 4, [[0.0] * 4, [np.inf, np.inf, 0.0, 1.0]]),
    "too little reach at one cost": ([1.0, 3.0], [1.0] * 4, [[2.0] * 4, [np.inf, np.inf, 2.0, 2.0]]),
    "only a supplier without capacity": ([4.0, 0.0], [1.0] * 4, [[0.0, 1.0, 2.0, np.inf], [0.0] * 4]),
    "nobody with capacity": ([4.0, 0.0], [0.0, 4.0], [[0.0, np.inf], [0.0, 0.0]]),
}


@pytest.mark.parametrize(
    ("reg", "method", "backend"),
    [(0.0, "exact", "auto"), *((0.01, method, backend) for method, backend in REGULARISED)],
)
@pytest.mark.parametrize("case", INFEASIBLE)
def test_impossible_marginals_are_said_and_finite(case, reg, method, backend):
    a, b, M = map(np.array, INFEASIBLE[case])
    with pytest.warns(ConvergenceWarning, match="marginal error"):
        result = solve(a, b, M, reg=reg, method=method, backend=backend, max_iter=200)
    assert result.converged is False
    assert 1e-3 < result.marginal_error <= 2.0
    assert np.isfinite(result.plan).all()
    assert np.isfinite(result.f[a > 0]).all()
    assert np.isfinite(result.cost)
    assert not np.isnan(result.g).any()


def test_a_small_mismatch_is_scaled_away(rng):
    a, b, M = problem(rng)
    expected = solve(a, b, M, reg=0.1)
    np.testing.assert_allclose(solve(a * 1.00005, b, M, reg=0.1).plan, expected.plan, atol=1e-7)
    np.testing.assert_allclose(solve(a * 3, b, M, reg=0.1, normalize=True).plan, expected.plan, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_operator_compiles(rng, backend):
    a, b, M = (torch.as_tensor(x) for x in problem(rng, unit=True))

    def pipeline(a, b, M):
        result = solve(a, b, M * 2, reg=0.1, backend=backend)
        return result.labels + 1, result.plan.sum(0), result.converged, sinkhorn(a, b, M, 0.1).cost

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, while it traces
        compiled = torch.compile(pipeline, fullgraph=True, backend="aot_eager")(a, b, M)
    for traced, eager in zip(compiled, pipeline(a, b, M), strict=True):
        torch.testing.assert_close(traced, torch.as_tensor(eager))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e8, 1e12, 1e14])
def test_fault_a7_the_error_is_that_of_the_plan_as_it_is_given(scale, dtype):
    M = (np.random.default_rng(0).random((4, 50)) * scale).astype(dtype)
    a, b = np.array([10.0, 10, 20, 10]), np.ones(50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = solve(a, b, M, reg=0.1), sinkhorn(a, b, M, 0.1, max_iter=5)
    for result in results:
        plan = result.plan.astype(np.float64)
        real = (np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()) / 50
        assert result.marginal_error >= 0.9 * real
    assert results[0].converged == (scale == 1e8)  # 1e9 costs a reg: all that float64 can tell at 1e-7
