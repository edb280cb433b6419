"""Problems whose costs are :class:`..nearest.costs.NearestCosts`: solved over the pairs that are there, then certified.

What is left out costs at least a floor at the prices at which the entries were chosen. At the prices of a solution that
bounds the mass it could have. Where the bound is above the tolerance, entries are chosen anew at those prices, and the
solver goes on from there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import Array, Restore, as_tensors
from ..checks import ArgumentTypeError, fail, fail_type
from ..nearest import NearestCosts
from ..types import TransportResult
from .checks import Place, judge
from .nearest_choice import Choice
from .nearest_climb import Climb, refine
from .nearest_plan import NearestPlan
from .problem import Options, ReadOut


def solve_nearest(function: str, a: Array, b: Array, costs: NearestCosts, options: Options) -> TransportResult:
    """One problem; see :func:`.entry.solve`."""
    capacity, demand, restore = _arguments(function, a, b, costs, options)
    capacity, demand = capacity + options.marginal_floor, demand + options.marginal_floor
    unit = 1.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if 0 < demand.sum() < math.inf:  # demands near 1, as in .solvers
            unit = float(2.0 ** np.rint(np.log2(demand.sum() / np.count_nonzero(demand))))
        capacity, demand = capacity / unit, demand / unit
    scale = demand.sum() / capacity.sum() if capacity.sum() > 0 else 1.0
    choice = Choice(costs, capacity * scale, demand, options)
    found = choice.found._replace(
        supply=float(capacity.sum()),
        demand=float(demand.sum()),
        least_capacity=capacity.min(),
        least_demand=demand.min(),
    )
    found = found if costs.search is None else found._replace(cut_off=np.zeros(1, bool))  # not yet there
    judge(function, found, options, Place(0, 1, 0, 1))
    climb = Climb.of(choice)
    del choice  # which makes room for others
    plan, bound = refine(climb)
    result = _result(climb, plan, bound, unit, restore)
    return _with_gradient(function, a, b, climb.choice, result)


def _with_gradient(function: str, a: Array, b: Array, choice: Choice, result: TransportResult) -> TransportResult:
    """The same where nobody asks for a gradient."""
    import torch

    origin = choice.costs.origin
    listed = origin and origin.current()
    asked = [each for each in (a, b, listed) if getattr(each, "requires_grad", False)]
    if not asked or not torch.is_grad_enabled():
        return result
    from .nearest_gradient import NearSolution, Solved

    a, b = torch.as_tensor(a), torch.as_tensor(b)
    given = [each.detach().double().numpy() for each in (a, b)]
    error = float(result.marginal_error)
    solved = Solved(
        function, choice.costs, lambda: choice.passes, choice.fixed_rounds, given[0], given[1], choice.options, error
    )
    found = tuple(torch.as_tensor(each) for each in (result.f, result.g, result.cost))
    f, g, cost = NearSolution.apply(a, b, listed, found, solved)
    return replace(result, f=f, g=g, cost=cost, make_plan=replace(result.make_plan, potentials=f))


def _arguments(function: str, a: Any, b: Any, costs: Any, options: Options) -> tuple[np.ndarray, np.ndarray, Restore]:
    """Marginals in float64; shapes, families and options are checked."""
    if not isinstance(costs, NearestCosts):
        fail_type(function, "M", costs, "NearestCosts, as the other problems of the list have")
    if options.method == "exact":
        fail(function, "reg", "0 with NearestCosts", "a number > 0: an exact plan needs all costs")
    if options.backend not in ("auto", "numba"):
        fail(function, "backend", f"{options.backend!r} with NearestCosts", "'auto' or 'numba'")
    costs.check(function, "M")
    tensors, restore = as_tensors(function, a=a, b=b)
    lengths = (costs.num_suppliers, costs.num_pixels)
    for name, tensor, length in zip("ab", tensors, lengths, strict=True):
        if tensor.is_complex():
            raise ArgumentTypeError(function, name, "complex numbers", "real numbers")
        if tensor.device.type != "cpu":
            fail(function, name, f"a tensor on {tensor.device}", "one on the CPU, where NearestCosts are")
        if tensor.shape != (length,):
            fail(function, name, f"shape {tuple(tensor.shape)}", f"({length},), to go with the NearestCosts")
    a_, b_ = (tensor.detach().double().numpy() for tensor in tensors)
    return a_, b_, restore


def _result(climb: Climb, plan: ReadOut, bound: float, unit: float, restore: Restore) -> TransportResult:
    import torch

    choice, options = climb.choice, climb.choice.options
    a, b = choice.a, choice.passes.b
    capacities = choice.supply * np.exp(-climb.f / options.tau) if math.isfinite(options.tau) else a
    missed = np.abs(plan.masses - capacities).sum() + plan.pixel_error + choice.stranded
    f = np.where(a > 0, climb.f, -math.inf)
    g = plan.g + options.reg * math.log(unit)
    recipe = NearestPlan(choice.costs, f, g, options.reg, restore)
    error = float(missed / choice.total)
    if _rounds_away(choice, options):
        flow = recipe()
        missed = np.abs(flow.sum(1) - capacities * unit).sum() + np.abs(flow.sum(0) - b * unit).sum()
        error = max(error, float(missed / (choice.total * unit)))
    within = options.tol > 0 and error <= options.tol and bound <= options.bound
    return TransportResult(
        f=restore(torch.from_numpy(f)),
        g=restore(torch.from_numpy(g)),
        labels=restore(torch.from_numpy(plan.labels)),
        cost=restore(torch.tensor(plan.cost * unit, dtype=torch.float64, device="cpu")),
        marginal_error=restore(torch.tensor(error, dtype=torch.float64, device="cpu")),
        iterations=climb.passes,
        converged=bool(within),
        make_plan=recipe,
        bound=bound,
        costs=choice.costs,
    )


def _rounds_away(choice: Choice, options: Options) -> bool:
    """Whether exponents of float64 potentials may miss the tolerance, as in .solvers."""
    worst = options.tol if options.tol > 0 else 1e-7
    magnitude = max(abs(choice.found.lowest), abs(choice.found.highest))
    return worst < 4 * float(np.finfo(np.float64).eps) * magnitude / options.reg
