"""The gradient of transport, by finite differences and by what autograd makes of the plain equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transport_problems import problem

import point2mask_ot
from point2mask_ot import NearestCosts, sinkhorn, solve


def tensors(rng, suppliers=3, pixels=11, *, degenerate=False, dtype=torch.float64, device="cpu"):
    return [
        torch.tensor(each, dtype=dtype, device=device)
        for each in problem(rng, suppliers, pixels, degenerate=degenerate)
    ]


class Outcome:
    """Numbers that depend on all of a result, and not on the constant that potentials are defined up to."""

    def __init__(self, a, b, M, seed=0):
        random = torch.Generator().manual_seed(seed)
        self.live, self.asks, self.allowed = a > 0, b > 0, M.isfinite()
        f, g = (torch.randn(n, generator=random, dtype=torch.float64).to(M.device) for n in M.shape)
        self.by_f, self.by_g = torch.where(self.live, f, 0), torch.where(self.asks, g, 0)
        self.by_g -= self.asks * ((self.by_g.sum() - self.by_f.sum()) / self.asks.sum())
        self.by_plan = torch.randn(M.shape, generator=random, dtype=torch.float64).to(M.device)

    def arguments(self, a, b, M):
        """With what takes no part held fixed: a derivative of ln 0 is none."""
        return (
            torch.where(self.live, a, 0),
            torch.where(self.asks, b, 0),
            torch.where(self.allowed, M, torch.inf),
        )

    def of_potentials(self, f, g, cost):
        f, g = torch.where(self.live, f, 0), torch.where(self.asks, g, 0)
        return (f * self.by_f).sum() + (g * self.by_g).sum(), cost

    def of(self, result):
        pixels = torch.nonzero(self.asks)[:5, 0]
        suppliers = torch.where(self.live[:, None], self.allowed, False)[:, pixels].int().argmax(0)
        shares = result.log_share(pixels, suppliers)
        potentials = self.of_potentials(result.f, result.g, result.cost)
        return *potentials, (result.plan * self.by_plan).sum(), shares.sum()


def check(solver, a, b, M):
    outcome = Outcome(a, b, M)
    given = [each.clone().requires_grad_() for each in (a, b, torch.where(M.isfinite(), M, 1.0))]
    assert torch.autograd.gradcheck(lambda *each: outcome.of(solver(*outcome.arguments(*each))), given, atol=1e-6)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("tau", [None, 0.7], ids=["hard", "soft"])
@pytest.mark.parametrize("degenerate", [False, True], ids=["plain", "degenerate"])
@pytest.mark.parametrize("method", ["newton", "sinkhorn"])
def test_optimum_by_finite_differences(method, degenerate, tau, backend, rng, device):
    a, b, M = tensors(rng, degenerate=degenerate, device=device)
    check(lambda *each: solve(*each, reg=0.4, method=method, tol=1e-12, tau=tau, backend=backend), a, b, M)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("tau", [None, 0.7], ids=["hard", "soft"])
@pytest.mark.parametrize("degenerate", [False, True], ids=["plain", "degenerate"])
def test_fixed_rounds_by_finite_differences(degenerate, tau, backend, rng, device):
    a, b, M = tensors(rng, degenerate=degenerate, device=device)
    check(lambda *each: sinkhorn(*each, reg=0.2, max_iter=12, tau=tau, backend=backend), a, b, M)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("tau", [None, 0.7], ids=["hard", "soft"])
@pytest.mark.parametrize("reg", [0.3, 2e-3])
def test_rounds_of_both_backends_have_one_gradient(reg, tau, dtype, rng):
    """At a small reg prices move by hundreds of bits from round to round, and suppliers are lost on the way."""
    a, b, M = tensors(rng, 6, 700, dtype=dtype)
    M[2] += 3.0
    gradients = []
    for backend in ("numba", "torch"):
        given = [each.clone().requires_grad_() for each in (a, b, M)]
        result = sinkhorn(*given, reg=reg, max_iter=25, tau=tau, backend=backend)
        loss = -result.log_share(torch.arange(0, 700, 7), torch.arange(100) % 6).mean() + result.cost / 700
        gradients.append(torch.autograd.grad(loss, given))
    for ours, plain in zip(*gradients, strict=True):
        scale = float(plain.abs().max())
        torch.testing.assert_close(ours / scale, plain / scale, rtol=0, atol=2e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("tau", [None, 1.0])
def test_a_supplier_whose_only_cheap_pixel_has_no_demand(tau, backend):
    """Its mass is below all numbers, beside which a share of that pixel is above them."""
    a, b = torch.ones(2, dtype=torch.float64), torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    M = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    given = [each.requires_grad_() for each in (a, b, M)]
    result = sinkhorn(*given, reg=1e-3, max_iter=3, tau=tau, backend=backend)
    for gradient in torch.autograd.grad(result.f.diff().sum() + result.cost, given):
        assert gradient.isfinite().all()
        assert gradient.shape[-1] == 2 or not gradient[..., 2].any()


def test_rounds_with_the_released_codes_floor(rng):
    a, b, M = tensors(rng)
    check(lambda *each: sinkhorn(*each, reg=0.2, max_iter=5, marginal_floor=1e-3), a, b, M)


def test_small_problems(rng):
    for shape in ((1, 1), (1, 7), (2, 1), (7, 3)):
        M = torch.tensor(rng.random(shape))
        b = torch.tensor(rng.uniform(0.5, 2, shape[1]))
        a = torch.tensor(rng.uniform(0.5, 2, shape[0]))
        a *= b.sum() / a.sum()
        check(lambda *each: solve(*each, reg=0.3, tol=1e-12), a, b, M)
        check(lambda *each: sinkhorn(*each, reg=0.3, max_iter=4), a, b, M)


def test_any_unit_of_mass(rng):
    a, b, M = tensors(rng)
    gradient = []
    for unit in (1.0, 7.0, 1e-5, 1e6):
        M = M.detach().requires_grad_()
        shares = solve(a * unit, b * unit, M, reg=0.2, tol=1e-11).log_share([1, 2, 3], [0, 1, 2])
        gradient += torch.autograd.grad(shares.sum(), M)
    for other in gradient[1:]:
        torch.testing.assert_close(other, gradient[0], rtol=1e-8, atol=1e-9)


def test_equal_costs(rng):
    """Ties are no kinks of entropic transport."""
    a, b, M = tensors(rng)
    check(lambda *each: solve(*each, reg=0.2, tol=1e-12), a, b, torch.ones_like(M))


def unrolled(a, b, M, reg, count):
    """Eq. 10-11 in plain torch, whose graph autograd keeps."""
    a = a * (b.sum() / a.sum())
    f = torch.zeros_like(a)
    for _ in range(count):
        g = reg * b.log() - reg * torch.logsumexp((f[:, None] - M) / reg, 0)
        f = reg * a.log() - reg * torch.logsumexp((g - M) / reg, 1)
    return f, g, (((f[:, None] + g - M) / reg).exp() * M).sum()


def kernel_rounds(a, b, M, reg, count):
    """The same by scaling exp(-M / reg), in a fraction of the operations, where that is far from 0."""
    a, kernel = a * (b.sum() / a.sum()), (-M / reg).exp()
    u = torch.ones_like(a)
    for _ in range(count):
        v = b / (u @ kernel)
        u = a / (kernel @ v)
    return reg * u.log(), reg * v.log(), (u[:, None] * kernel * v * M).sum()


def gradients(values, given):
    loss = sum(value * (1 + n) for n, value in enumerate(values))
    return torch.autograd.grad(loss, given)


def test_optimum_equals_twenty_thousand_rounds_unrolled(rng):
    a, b, M = given = [each.requires_grad_() for each in tensors(rng, 3, 8)]
    outcome = Outcome(a, b, M)
    wanted = gradients(outcome.of_potentials(*kernel_rounds(a, b, M, 0.1, 20_000)), given)
    result = solve(a, b, M, reg=0.1, tol=1e-11)
    for found, expected in zip(
        gradients(outcome.of_potentials(result.f, result.g, result.cost), given), wanted, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("reg", [0.3, 0.002], ids=["smooth", "sharp, where suppliers lose everything"])
def test_rounds_equal_those_unrolled(reg, backend, rng):
    a, b, M = given = [each.requires_grad_() for each in tensors(rng, 4, 60)]
    with torch.no_grad():
        M[1] += 3  # so far behind at first that its shares vanish in floating point
    outcome = Outcome(a, b, M)
    wanted = gradients(outcome.of_potentials(*unrolled(a, b, M, reg, 25)), given)
    result = sinkhorn(a, b, M, reg, max_iter=25, backend=backend)
    for found, expected in zip(
        gradients(outcome.of_potentials(result.f, result.g, result.cost), given), wanted, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("call", [lambda *p, **o: solve(*p, reg=0.05, **o), lambda *p, **o: sinkhorn(*p, 0.05, **o)])
def test_large_problems_in_single_precision(call, rng):
    """Blocks that leave suppliers out, float32, threads; against the plain form in float64."""
    centres = torch.linspace(0, 4, 12)
    M = (centres[:, None] - torch.linspace(0, 4, 45_000)).abs() ** 1.5
    b, a = torch.ones(M.shape[1]), torch.tensor(rng.dirichlet(np.full(12, 5.0)) * M.shape[1])
    pixels = torch.arange(0, 45_000, 997)
    suppliers = (M[:, pixels].argmin(0) + 1) % 12

    def gradient(M, **options):
        M = M.clone().requires_grad_()
        return torch.autograd.grad(-call(a, b, M, **options).log_share(pixels, suppliers).mean(), M)[0]

    expected, found = gradient(M.double(), backend="torch"), gradient(M)
    assert found.dtype == torch.float32
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected.float() / scale, rtol=0, atol=2e-4)
    torch.testing.assert_close(gradient(M.double()) / scale, expected / scale, rtol=0, atol=1e-6)


def test_exact_transport_has_the_gradient_of_its_cost(rng):
    a, b, M = given = [each.requires_grad_() for each in tensors(rng)]
    assert torch.autograd.gradcheck(lambda *each: solve(*each).cost, given)
    result = solve(a, b, M)
    torch.testing.assert_close(torch.autograd.grad(result.cost, M, retain_graph=True)[0], result.plan)
    with pytest.raises(RuntimeError, match="solve: with reg=0 only the cost has a gradient"):
        result.f.sum().backward()


@pytest.fixture
def near(rng):
    """A problem of which each pixel knows four suppliers, one of them three; and as a dense one."""
    full = torch.tensor(rng.random((7, 150)) * 2)
    costs, labels = full.topk(4, 0, largest=False)
    labels[3, 5] = -1
    b = torch.tensor(rng.uniform(0.5, 2, 150))
    b[8] = 0
    a = torch.zeros(7, dtype=torch.float64).index_add_(0, labels[0], 0.7 * b) + 0.3 * b.sum() / 7

    def dense(costs):
        listed = labels >= 0
        return torch.full_like(full, torch.inf).index_put(
            (labels[listed], torch.arange(150).expand(4, -1)[listed]), costs[listed]
        )

    return a * (b.sum() / a.sum()), b, costs, labels, dense


SOLVERS = {
    "newton": lambda a, b, M, **o: solve(a, b, M, reg=0.3, tol=1e-12, **o),
    "soft": lambda a, b, M, **o: solve(a, b, M, reg=0.3, tol=1e-12, tau=0.5, **o),
    "rounds": lambda a, b, M, **o: sinkhorn(a, b, M, 0.3, max_iter=15),
    "soft rounds": lambda a, b, M, **o: sinkhorn(a, b, M, 0.3, max_iter=15, tau=0.5),
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_near_costs_have_the_gradient_of_dense_ones(solver, near):
    a, b, costs, labels, dense = near
    given = [each.requires_grad_() for each in (a, b, costs)]
    outcome, pixels = Outcome(a, b, dense(costs)), torch.arange(40)

    def values(M):
        result = SOLVERS[solver](a, b, M, bound=2.0)
        share = result.log_share(pixels, labels[1, :40])
        return *outcome.of_potentials(result.f, result.g, result.cost), (share * torch.linspace(-1, 1, 40)).sum()

    wanted = gradients(values(dense(costs)), given)
    found = gradients(values(NearestCosts.from_nearest(labels, costs, 7)), given)
    asks = b > 0
    for own, expected in zip(found, wanted, strict=True):
        alike = (own, expected) if own.shape != b.shape else (own[asks], expected[asks])
        torch.testing.assert_close(*alike, rtol=1e-7, atol=1e-8)


def test_near_costs_without_a_gradient_keep_nothing(near):
    a, b, costs, labels, _ = near
    assert NearestCosts.from_nearest(labels, costs, 7).origin is None
    result = solve(a, b, NearestCosts.from_nearest(labels.numpy(), costs.numpy(), 7), reg=0.3, bound=2.0)
    assert not result.f.requires_grad
    a.requires_grad_()
    with torch.no_grad():
        assert not solve(a, b, NearestCosts.from_nearest(labels, costs, 7), reg=0.3, bound=2.0).f.requires_grad


def test_shares_are_those_of_the_plan(rng):
    a, b, M = problem(rng)
    result = solve(a, b, M, reg=0.1)
    pixels = np.flatnonzero(b > 0)
    for supplier in range(len(a)):
        share = result.log_share(pixels, np.full(len(pixels), supplier))
        np.testing.assert_allclose(np.exp(share), result.plan[supplier, pixels] / b[pixels], atol=1e-6)
    assert result.log_share(pixels[:3], [1, 1, 1]).tolist() == [-math.inf] * 3  # who has no capacity
    assert result.log_share([4], [0]).tolist() == [-math.inf]  # whom nobody reaches
    assert result.log_share([], []).shape == (0,)


def test_shares_of_a_batch_and_what_is_refused(rng):
    a, b, M = tensors(rng, 4, 20)
    batch = solve(a.expand(2, -1), b.expand(2, -1), torch.stack([M, M]), reg=0.2)
    shares = batch.log_share([[0, 1, 1], [2, 3, 4]], [[0, 1, 2], [3, 3, 3]])
    single = solve(a, b, M, reg=0.2)
    torch.testing.assert_close(shares[1], single.log_share([2, 3, 4], [3, 3, 3]))
    for pixels, suppliers, message in (
        ([20], [0], r"'pixels': got 20 to 20; expected 0\.\.19"),
        ([0], [-1], r"'suppliers': got -1 to -1; expected 0\.\.3"),
        ([0, 1], [0], "one supplier for each pixel"),
        ([[0]], [[0]], r"'pixels': got shape \(1, 1\); expected \(n,\)"),
    ):
        with pytest.raises(point2mask_ot.ArgumentError, match=message):
            single.log_share(pixels, suppliers)
    for wrong in ([0.5], "ab", [True]):
        with pytest.raises(TypeError, match="expected integers"):
            single.log_share(wrong, [0])
    with pytest.raises(point2mask_ot.ArgumentError, match="without entropy a share is 0 or 1"):
        solve(a, b, M).log_share([0], [0])


def test_batches_lists_and_compiled_code(rng):
    problems = [tensors(rng, 4, 40) for _ in range(3)]
    a, b, M = (torch.stack(each) for each in zip(*problems, strict=True))
    M.requires_grad_()
    at = torch.arange(10).expand(3, -1)

    def loss(a, b, M):
        result = solve(a, b, M, reg=0.2, tol=1e-10)
        return -result.log_share(at, at % 4).sum() + result.cost.sum() + result.plan[..., 0].square().sum()

    (whole,) = torch.autograd.grad(loss(a, b, M), M)
    listed = solve(list(a), list(b), list(M), reg=0.2, tol=1e-10)
    each = [-r.log_share(at[0], at[0] % 4).sum() + r.cost + r.plan[:, 0].square().sum() for r in listed]
    torch.testing.assert_close(torch.autograd.grad(sum(each), M)[0], whole)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(a, b, M), M)[0], whole)


def test_only_those_who_ask_get_one(rng):
    a, b, M = tensors(rng)
    assert not solve(a, b, M, reg=0.2).f.requires_grad
    M.requires_grad_()
    result = solve(a, b, M, reg=0.2)
    assert all(each.requires_grad for each in (result.f, result.g, result.cost, result.plan))
    assert not any(each.requires_grad for each in (result.labels, result.marginal_error))
    with torch.no_grad():
        result = solve(a, b, M, reg=0.2)
    assert not any(each.requires_grad for each in (result.f, result.plan))
    whole = solve(a.round().long(), torch.ones(len(b), dtype=torch.int64), M, reg=0.2, normalize=True)
    assert torch.autograd.grad(whole.cost, M)[0].shape == M.shape


def test_no_gradient_short_of_the_optimum(rng):
    a, b, M = tensors(rng)
    M.requires_grad_()
    with pytest.warns(point2mask_ot.ConvergenceWarning):
        result = solve(a, b, M, reg=0.01, max_iter=2)
    with pytest.raises(RuntimeError, match=r"solve: no gradient, since method 'newton' stopped short"):
        result.cost.backward()


def test_no_gradient_by_the_constant_of_the_potentials(rng):
    a, b, M = tensors(rng)
    M.requires_grad_()
    with pytest.raises(RuntimeError, match="the loss depends on the constant"):
        solve(a, b, M, reg=0.2).f.sum().backward()
    solve(a, b, M, reg=0.2, tau=0.5).f.sum().backward()  # soft capacities leave none


def test_no_second_derivative(rng):
    a, b, M = tensors(rng)
    M.requires_grad_()
    (first,) = torch.autograd.grad(solve(a, b, M, reg=0.2).cost, M, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated once more"):
        first.sum().backward()


def test_nothing_forbidden_has_a_gradient_and_nan_stays(rng):
    a, b, M = tensors(rng, degenerate=True)
    M.requires_grad_()
    (found,) = torch.autograd.grad(solve(a, b, M, reg=0.2).cost, M)
    assert found.isfinite().all()
    assert not found[M.isinf()].any()
    assert not found[1].any()
    result = solve(a, b, M, reg=0.2)
    (found,) = torch.autograd.grad((result.f[0] - result.f[2]) * torch.nan, M)
    assert found.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_costs_get_theirs(dtype, rng):
    a, b, M = tensors(rng)
    M = M.to(dtype).requires_grad_()
    (found,) = torch.autograd.grad(solve(a, b, M, reg=0.2).cost, M)
    assert found.dtype == dtype
    assert found.isfinite().all()


@pytest.mark.parametrize("kind", ["dense", "near"])
def test_suppliers_that_hardly_touch_have_a_gradient_by_costs_alone(kind, rng):
    """What capacity is worth between them drowns in rounding, and came out as 1e47."""
    owner = torch.tensor([0] * 20 + [1] * 30 + [2] * 10)
    M = torch.tensor(rng.random((3, 60))) + (owner != torch.arange(3)[:, None])
    a, b = torch.tensor([20.0, 30, 10], dtype=torch.float64), torch.ones(60, dtype=torch.float64)
    labels = np.repeat(np.arange(3)[:, None], 60, 1)

    def cost(a, M):
        return solve(a, b, M if kind == "dense" else NearestCosts.from_nearest(labels, M, 3), reg=1e-4).cost

    leaf = M.clone().requires_grad_()
    (found,) = torch.autograd.grad(cost(a, leaf), leaf)
    torch.testing.assert_close(found, (owner == torch.arange(3)[:, None]).double())
    with pytest.raises(RuntimeError, match="no gradient by a or b: suppliers hardly touch"):
        cost(a.clone().requires_grad_(), M).backward()


@pytest.mark.parametrize("solver", [solve, sinkhorn])
def test_nobody_is_pushed_off_no_capacity(solver, rng):
    a, b, M = tensors(rng, degenerate=True)
    a.requires_grad_(), b.requires_grad_()
    plan = solver(a, b, M, reg=0.3).plan
    by_a, by_b = torch.autograd.grad((plan * torch.tensor(rng.random(plan.shape))).sum(), (a, b))
    assert not by_a[a == 0].any()
    assert not by_b[b == 0].any()
    assert by_a[a > 0].all()


@pytest.mark.parametrize("tau", [1e12, 1e20, 1e300])
def test_capacities_as_good_as_hard(tau, rng):
    a, b, M = tensors(rng)
    a.requires_grad_()
    (hard,) = torch.autograd.grad(sinkhorn(a, b, M, reg=0.2, max_iter=20).cost, a)
    (found,) = torch.autograd.grad(sinkhorn(a, b, M, reg=0.2, max_iter=20, tau=tau).cost, a)
    torch.testing.assert_close(found, hard)


def test_a_plan_that_was_looked_at_without_a_gradient_has_one_later(rng):
    a, b, M = tensors(rng)
    M.requires_grad_()
    result = solve(a, b, M, reg=0.2)
    with torch.no_grad():
        assert not result.plan.requires_grad
    with torch.inference_mode():
        result.plan.max()
    assert result.plan.requires_grad
    assert result.plan is result.plan


def test_near_costs_whose_tensor_has_changed_are_refused(rng):
    M = torch.tensor(rng.random((3, 12)), requires_grad=True)
    a, b = torch.full((3,), 4.0, dtype=torch.float64), torch.ones(12, dtype=torch.float64)
    labels = np.repeat(np.arange(3)[:, None], 12, 1)
    costs = NearestCosts.from_nearest(labels, M, 3)
    result = solve(a, b, costs, reg=0.2)
    with torch.no_grad():
        M.mul_(2)
        assert not solve(a, b, NearestCosts.from_nearest(labels, M, 3), reg=0.2).f.requires_grad
    for use in (lambda: solve(a, b, costs, reg=0.2), lambda: result.log_share([0], [0])):
        with pytest.raises(RuntimeError, match="changed in place since"):
            use()
