"""The gradient of the transport operator as an operator of its own, since it looks at values."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..compiled.operators import operator, refuse_gradient
from .checks import checked
from .gradient import Differential, Incoming, Outgoing, scaled, through_optimum, through_rounds, unconverged, unscaled
from .portable import Padded, TorchRounds
from .problem import NUMBERS, Options, Problems, is_compiled
from .pullback import Shares, TorchShares
from .solvers import passes_again

Path = list[tuple[Tensor, Tensor]]
"""(K,) potentials before and after each round."""
Gradients = tuple[list[Tensor], list[Tensor], list[Tensor]]


def _shapes(a: list[Tensor], b: list[Tensor], M: list[Tensor], *rest: Any) -> Gradients:
    of_costs = rest[11]
    by_M = [costs.new_empty(costs.shape) if of_costs else costs.new_empty(0) for costs in M]
    return [torch.empty_like(each) for each in a], [torch.empty_like(each) for each in b], by_M


@operator(
    "transport_gradient(Tensor[] a, Tensor[] b, Tensor[] M, Tensor[] f, Tensor[] g, Tensor[] error, "
    "Tensor[] converged, Tensor[] entries, Tensor[] moved, Tensor[] path, Tensor[] by_f, Tensor[] by_g, "
    f"Tensor[] by_cost, bool of_marginals, bool of_costs, str function, {NUMBERS}) -> (Tensor[], Tensor[], Tensor[])",
    _shapes,
    backward=refuse_gradient,
)
def transport_gradient(
    a: list[Tensor],
    b: list[Tensor],
    M: list[Tensor],
    f: list[Tensor],
    g: list[Tensor],
    error: list[Tensor],
    converged: list[Tensor],
    entries: list[Tensor],
    moved: list[Tensor],
    path: list[Tensor],
    by_f: list[Tensor],
    by_g: list[Tensor],
    by_cost: list[Tensor],
    of_marginals: bool,
    of_costs: bool,
    function: str,
    *numbers: Any,
) -> Gradients:
    """Of batches of problems, from what the transport operator was given and gave back, and the gradient by that.

    Args:
        a, b, M: what it was given.
        f, g, error, converged, entries, moved, path: parts of the solution.
        by_f, by_g, by_cost: the gradient by these.
        of_marginals: that by a or b is wanted; else what stands for it may mean nothing.
        of_costs: that by the costs is wanted; else nothing stands for it.
        function: public function to name in messages.
        numbers: those of :class:`.problem.Options`.

    Returns:
        The gradient by a, b and M, in their shapes and dtypes.
    """
    options = Options(*numbers)
    a, b, M = ([tensor.detach() for tensor in tensors] for tensors in (a, b, M))
    by_M = [costs.new_zeros(costs.shape) if of_costs else costs.new_empty(0) for costs in M]
    by_a, by_b = ([torch.empty_like(each) for each in given] for given in (a, b))
    with torch.no_grad(), torch.autocast(M[0].device.type, enabled=False):
        for batch in range(len(M)):
            if options.tol > 0 and not converged[batch].all():
                raise unconverged(function, options, float(error[batch].max()))
            for p in range(len(M[batch])):
                own = partial(_entry, batch, p)
                incoming = Incoming(own(by_f), own(by_g), float(own(by_cost)))
                into = own(by_M) if of_costs else None
                if options.method == "exact":
                    found = _of_exact(own(f), own(g), incoming, (own(entries), own(moved)), into, function)
                else:
                    potentials = own(f), own(g)
                    problem = _posed(function, own(a), own(b), own(M), potentials, options, of_marginals)
                    if options.tol > 0:
                        found = through_optimum(problem, incoming, into)
                    else:
                        rounds = _rounds(problem, own(M), own(path))
                        found = through_rounds(problem, rounds, incoming, into)
                given = unscaled(found, own(a).double(), own(b).double(), options)
                own(by_a).copy_(given.a)
                own(by_b).copy_(given.b)
    return by_a, by_b, by_M


def _entry(batch: int, p: int, tensors: list[Tensor]) -> Tensor:
    return tensors[batch][p]


def _of_exact(
    f: Tensor, g: Tensor, incoming: Incoming, plan: tuple[Tensor, Tensor], into: Tensor | None, function: str
) -> Outgoing:
    """Of the cost alone: by M it is the plan, by the marginals it is their prices. They are subgradients."""
    if incoming.f.any() or incoming.g.any():
        raise RuntimeError(f"{function}: with reg=0 only the cost has a gradient: prices and plans jump; take reg > 0")
    entries, moved = plan
    if into is not None:
        into.view(-1).index_add_(0, entries, (incoming.cost * moved).to(into.dtype))
    prices = (torch.where(potentials > -math.inf, incoming.cost * potentials, 0.0) for potentials in (f, g))
    return Outgoing(*prices)


def _posed(
    function: str,
    a: Tensor,
    b: Tensor,
    M: Tensor,
    potentials: tuple[Tensor, Tensor],
    options: Options,
    of_marginals: bool,
) -> Differential:
    capacity, demand = scaled(a.double(), b.double(), options)
    shares: Shares
    if is_compiled(M.device, options):
        from .cpu.pullback import CpuShares  # imports numba: only where it is used

        (problem,) = checked(function, [a[None]], [b[None]], [M[None]], options)
        passes, precise = passes_again(problem, options)
        shares = CpuShares(passes, M, demand, options.reg, precise)
    else:
        shares = TorchShares(M, demand, options.reg)
    return Differential(shares, capacity, demand, *potentials, options, of_marginals)


def _rounds(problem: Differential, M: Tensor, path: Tensor) -> Path:
    """Those that were kept; or of rounds that are made once more."""
    options, made = problem.options, []
    if len(path):
        return [(before, after) for before, after in path]
    padded = Padded.of(Problems.of([problem.a[None]], [problem.b[None]], [M[None]]))
    rounds = TorchRounds(padded, problem.a[None], problem.b[None], options)
    for _ in range(options.max_iter):
        rounds.make(1)
        made.append((_live(rounds.before[0]), _live(rounds.f[0])))
    return made


def _live(f: Tensor) -> Tensor:
    return torch.where(f > -math.inf, f, 0.0)
