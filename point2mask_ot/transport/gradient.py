"""The gradient of a solution by capacities, demand and costs: through the optimum, or through Sinkhorn's rounds.

At an optimum the potentials are what two equations say, whatever led there. With P the plan, x its row sums and y its
column sums, the adjoint of those equations is, for incoming gradients u of f and v of g,

    [diag(x + x reg / tau)  P      ] [w]   [u]
    [P^T                    diag(y)] [z] = [v]

    dL/da = reg w exp(-f / tau),  dL/db = reg z,  dL/dM_ij = P_ij (w_i + z_j)

and z follows from w, so that a K x K system is left, the Hessian of the semi-dual. With hard capacities it is singular
along constants (f + c, g - c is the same plan): a loss must not depend on the constant, and then neither does the
gradient. Fixed rounds are differentiated one after the other, the last first, from the potentials between them. Both
come down to :class:`.pullback.Shares`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .newton import laplacian
from .problem import Options
from .pullback import Round, Shares, Weights

_CORRECTIONS = 4
_EXACT = 1e-11
"""Residual of the adjoint equations, over what they start from, that rounding leaves."""
_WRONG = 1e-3
"""The same where there is no solution."""
_SINGULAR = 1e-13
"""Share of their mass, about, that suppliers contend for with others, which is too little to be told from none."""


class Incoming(NamedTuple):
    """The gradient by the solution of one problem, float64.

    Attributes:
        f: (K,); without meaning for suppliers without capacity.
        g: (N,); without meaning for pixels without demand.
        cost: by ``<P, M>``.
    """

    f: Tensor
    g: Tensor
    cost: float


class Differential(NamedTuple):
    """Of one problem, float64 but for the costs: what a gradient is made from.

    Attributes:
        shares: of its costs.
        a: (K,) capacities, of the same total as the demand.
        b: (N,) demand.
        f: (K,) potentials of the solution, -inf without capacity.
        g: (N,) potentials of the solution, -inf without demand.
        options: of the call.
        of_marginals: the gradient by a or b is wanted.
    """

    shares: Shares
    a: Tensor
    b: Tensor
    f: Tensor
    g: Tensor
    options: Options
    of_marginals: bool = True


class Outgoing(NamedTuple):
    """The gradient by the capacities, (K,), and by the demand, (N,); that by the costs went where it was to go."""

    a: Tensor
    b: Tensor


def through_optimum(problem: Differential, incoming: Incoming, M_gradient: Tensor | None) -> Outgoing:
    """By the implicit function theorem: a pass for the Hessian, a K x K system, and a pass for the result.

    Args:
        problem: converged.
        incoming: by its solution.
        M_gradient: zeros in the shape and dtype of M, added to; None where nobody asks.
    """
    shares, reg, tau = problem.shares, problem.options.reg, problem.options.tau
    u, v = _with_cost(problem, incoming, M_gradient)
    live = problem.a > 0
    held = torch.where(live, problem.a * torch.exp(-problem.f / tau), 0.0) if math.isfinite(tau) else problem.a
    stiffness = held / tau if math.isfinite(tau) else None
    links = shares.links(problem.f)
    if problem.of_marginals and stiffness is None and _are_apart(links, held, live):
        raise RuntimeError(
            "solve: no gradient by a or b: suppliers hardly touch at this reg, so that nothing tells what capacity of "
            "one is worth to another: a larger reg, or soft capacities (tau); by M there is one"
        )
    solve = _solver(laplacian(links, reg, None if stiffness is None else stiffness.cpu().numpy()), reg, held, live)
    start = u + shares.pull(problem.f, Weights(torch.zeros_like(u)), -v, None).f if v.any() else u
    start = torch.where(live, start, 0.0)
    w, mean, left = torch.zeros_like(u), torch.zeros_like(v), start
    scale = float(u.abs().sum() + v.abs().sum())
    for correction in range(_CORRECTIONS):  # links leave out weak ones; the passes that make the result do not
        if correction and not float(left.abs().sum()) > _EXACT * scale:
            break
        step = solve(left)
        pulled = shares.pull(problem.f, Weights(-reg * step), None if correction else -v, M_gradient)
        w, mean = w + step, mean + pulled.mean
        left = left + pulled.f - (0.0 if stiffness is None else reg * stiffness * step)
        if not correction:
            left = torch.where(live, left + u - start, 0.0)
    if float(left.abs().sum()) > _WRONG * scale:
        raise RuntimeError(
            "solve: no gradient: the loss depends on the constant by which f and g may be shifted against each other "
            "(compare potentials with one another, or take plan or log_share), or suppliers hardly touch: a larger "
            "reg, or soft capacities (tau)"
        )
    by_a = reg * w * (held / torch.where(live, problem.a, 1.0))
    return Outgoing(by_a, mean + reg * v / torch.where(problem.b > 0, problem.b, 1.0))


def through_rounds(
    problem: Differential, rounds: Sequence[tuple[Tensor, Tensor]], incoming: Incoming, M_gradient: Tensor | None
) -> Outgoing:
    """Back through Sinkhorn's rounds, the last first.

    Args:
        problem: as the rounds left it.
        rounds: (K,) potentials before and after the suppliers' update of each round, 0 for suppliers without capacity.
        incoming: by its solution.
        M_gradient: zeros in the shape and dtype of M, added to; None where nobody asks.
    """
    shares, reg, tau = problem.shares, problem.options.reg, problem.options.tau
    soft = tau * np.finfo(np.float64).eps < reg  # harder than that is hard
    kept = tau / (tau + reg) if soft else 1.0
    u, v = _with_cost(problem, incoming, M_gradient)
    live = problem.a > 0
    a, log_a = torch.where(live, problem.a, 1.0), torch.where(live, problem.a, 1.0).log()
    by_a, by_b = torch.zeros_like(u), reg * v / torch.where(problem.b > 0, problem.b, 1.0)
    gradient = torch.where(live, u, 0.0)
    by_log_sum: Tensor | None = -v  # g belongs to the potentials before the last update
    pulls: list[Round] = []
    for before, after in reversed(rounds):  # after = kept (before + reg (ln a - ln m)), m_i = sum_j b_j s_ij(before)
        log_masses = log_a - (after / kept - before) / reg
        moved = kept * gradient
        weights = Weights(-reg * moved, log_masses)
        by_a += reg * moved / a
        f = torch.where(live, before, -math.inf)
        if by_log_sum is None:
            pulled = shares.pull(f, weights, None, None)
            pulls.append((f, weights))
        else:
            pulled = shares.pull(f, weights, by_log_sum, M_gradient)
            by_b += pulled.mean
        gradient, by_log_sum = torch.where(live, moved + pulled.f, 0.0), None
        if soft:  # before = f + tau ln sum_i a_i exp(-f_i / tau) - tau ln sum a, of the f of last round
            held = torch.softmax(torch.where(live, log_a - before / tau, -math.inf), 0)
            by_a += gradient.sum() * tau * (held - a / problem.a.sum()) / a * live
            gradient = gradient - gradient.sum() * held
    if pulls and (M_gradient is not None or problem.of_marginals):
        by_b += shares.pull_rounds(pulls, M_gradient)
    return Outgoing(torch.where(live, by_a, 0.0), by_b)


def unconverged(function: str, options: Options, error: float) -> RuntimeError:
    """What to raise where there is no optimum whose gradient could be taken."""
    return RuntimeError(
        f"{function}: no gradient, since method {options.method!r} stopped short of the optimum, at a marginal error "
        f"of {error:.2g}; tol is {options.tol:g}. A larger max_iter, reg or tol may help; sinkhorn without tol has a "
        "gradient after any number of rounds."
    )


def scaled(a: Tensor, b: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Capacities and demand as the solver used them, from float64 ones as they came."""
    return a * (b.sum() / a.sum()) + options.marginal_floor, b + options.marginal_floor


def unscaled(by_scaled: Outgoing, a: Tensor, b: Tensor, options: Options) -> Outgoing:
    """The gradient by marginals as they came, of which the solver used ``a sum(b) / sum(a)`` and b.

    Zero for suppliers and pixels that have none, of which there is no share to hold on to.
    """
    total, share = a.sum(), (by_scaled.a * a).sum() / a.sum()
    by_a, by_b = (b.sum() / total) * (by_scaled.a - share), by_scaled.b + share
    if options.marginal_floor > 0:
        return Outgoing(by_a, by_b)
    return Outgoing(torch.where(a > 0, by_a, 0.0), torch.where(b > 0, by_b, 0.0))


def _with_cost(problem: Differential, incoming: Incoming, M_gradient: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradient by both potentials, where that by the cost is one by them and by M."""
    u, v = torch.where(problem.a > 0, incoming.f, 0.0), torch.where(problem.b > 0, incoming.g, 0.0)
    if incoming.cost == 0:
        return u, v
    by_f, by_g = problem.shares.cost_parts(problem.f, problem.g, incoming.cost, M_gradient)
    return u + by_f, v + by_g


def _are_apart(links: Any, held: Tensor, live: Tensor) -> bool:
    """Whether the suppliers fall into groups that contend for next to nothing, so that rounding drowns it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    masses, rows = held.cpu().numpy(), np.flatnonzero(live.cpu().numpy())
    pairs = coo_array(links)
    i, k = pairs.coords
    touch = pairs.data > _SINGULAR * np.minimum(masses[i], masses[k])
    graph = coo_array((touch[touch], (i[touch], k[touch])), pairs.shape).tocsr()
    return bool(connected_components(graph[rows][:, rows], directed=False, return_labels=False) > 1)


def _solver(hessian: Any, reg: float, held: Tensor, live: Tensor) -> Callable[[Tensor], Tensor]:
    """From (K,) to the solution of the adjoint equations for w, that of least norm where there are many."""
    rows = np.flatnonzero(live.cpu().numpy())
    invert = _dense_inverse if isinstance(hessian, np.ndarray) else _sparse_inverse
    inverse = invert(reg * hessian[rows][:, rows], held.cpu().numpy()[rows])

    def solve(right: Tensor) -> Tensor:
        solution = np.zeros(len(live))
        solution[rows] = inverse(right.cpu().numpy()[rows])
        return torch.from_numpy(solution).to(right.device)

    return solve


def _dense_inverse(hessian: np.ndarray, masses: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    scale = np.sqrt(np.maximum(masses, np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(hessian / scale / scale[:, None])
    with np.errstate(divide="ignore", over="ignore"):
        factors = np.where(values > _SINGULAR, 1 / values, 0.0)
    return lambda right: vectors @ (factors * (vectors.T @ (right / scale))) / scale  # type: ignore[no-any-return]


def _sparse_inverse(hessian: Any, masses: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    # Where it is singular along constants, a little on the diagonal settles them.
    matrix = hessian + diags_array(_SINGULAR * np.maximum(masses, np.finfo(np.float64).tiny))
    factors = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factors.solve  # type: ignore[no-any-return]
