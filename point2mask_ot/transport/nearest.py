"""Problems whose costs are :class:`..nearest_costs.NearestCosts`: solved over the pairs that are there, then certified.

What is left out costs at least a floor at the prices at which the entries were chosen. At the prices of a solution that
bounds the mass it could have. Where the bound is above the tolerance, entries are chosen anew at those prices, and the
solver goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..arrays import Array, Restore, as_tensors
from ..checks import ArgumentTypeError, fail, fail_type
from ..nearest_costs import NearestCosts
from ..types import TransportResult
from .checks import Place, Statistics, judge
from .cpu import nearest_fused as fused
from .cpu.nearest_passes import NearestPasses
from .newton import ROUGH, Semidual, ascend, float32_error, maximise, rough_sample
from .problem import Options, ReadOut
from .sinkhorn import iterate

Search = Callable[[np.ndarray, float], NearestCosts]

_SEARCHES = 6
_STEPS = 20
_PATIENCE = 60
"""Passes over samples, or while prices are rough."""
_FARTHEST = 20.0
_NEAR = 3e-4
"""Marginal error at which prices move by less than a margin yet, as slow as they are over many suppliers."""
_FIT = 0.1
"""Bound above which entries are so far from the right ones that an exact solution is not worth the passes."""
_MARGIN = 2.0
"""Times reg: by how much prices are expected to move yet, when entries are chosen at rough ones."""


class Choice:
    """A problem over one choice of entries.

    Args:
        costs: the entries.
        a: (K,) capacities.
        b: (N,) demand, of the same total.
        options: of the call.
    """

    def __init__(self, costs: NearestCosts, a: np.ndarray, b: np.ndarray, options: Options) -> None:
        self.costs, self.a, self.b, self.options = costs, a, b, options
        self.rows = np.flatnonzero(a > 0)
        self.demand = np.where(costs.pixel >= 0, b[costs.pixel], 0.0)
        self.found, self.absent, reached = _statistics(costs, a, self.demand)
        served = np.where(reached, self.demand, 0.0)
        self.total, self.stranded = float(self.demand.sum()), float((self.demand - served).sum())
        self.supply = a * (served.sum() / self.total) if self.stranded else a
        cut = 100.0 if options.method == "sinkhorn" else 44.0  # rounds tell who lost everything by masses
        self.passes = NearestPasses(costs, served, self.rows, cut)

    @property
    def span(self) -> float:
        """Range of the finite costs."""
        return self.found.highest - self.found.lowest  # type: ignore[no-any-return]

    @property
    def magnitude(self) -> float:
        """Largest absolute value among them."""
        return max(abs(self.found.lowest), abs(self.found.highest))

    def climb(self, f: np.ndarray, tol: float, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Solve to a tolerance from potentials f, or up to where pairs that matter are missing.

        Returns:
            Potentials before the last update and after, and the passes made.
        """
        if self.stranded == self.total:
            return f, f, 0
        if self.options.method == "sinkhorn":
            return self._rounds(f, tol, limit)
        goal = 0.9 * tol  # the read-out rounds differently
        cold = self.costs.search is None and f[self.rows].min() == f[self.rows].max()
        f, made = maximise(self.dual, goal, limit) if cold else ascend(self.dual, f, goal, limit)
        return f, f, made

    def climb_roughly(self, f: np.ndarray, reg: float) -> tuple[np.ndarray, int, bool]:
        """Prices that are good enough to search from, by Newton on a sample.

        Returns:
            Potentials, passes over all pixels, and whether all pairs that matter at them are there.
        """
        if self.stranded == self.total:
            return f, 0, False
        dual = replace(self.dual, reg=reg)
        sample = rough_sample(dual)
        f, made = ascend(sample, f, ROUGH, _PATIENCE)
        return f, made if sample is dual else 0, not self.absent.size and _covers_most(sample.passes, f, reg)

    @cached_property
    def dual(self) -> Semidual:
        """What Newton climbs."""
        dual = Semidual(self.passes, self.supply, self.options.reg, self.options.tau, self.span, self.magnitude)
        return dual if self.costs.search is None else replace(dual, covers=_covers_most)

    def _rounds(self, f: np.ndarray, tol: float, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
        from .cpu.rounds import CpuRounds

        options, worst = self.options, tol if tol > 0 else ROUGH
        precise = not self.passes.single or worst < float32_error(self.magnitude, options.reg)
        rounds = CpuRounds(self.passes, self.supply, options.reg, options.tau, tol, precise)
        rounds.suppliers.f[:] = f
        made = iterate(rounds, limit)
        return rounds.suppliers.before, rounds.suppliers.f, made

    def bound(self, f: np.ndarray) -> float:
        """Mass, over all of it, that pairs left out have at most at potentials f."""
        return self.passes.left_out(f, self.options.reg, self.demand) / self.total

    def chosen_anew(self, f: np.ndarray, window: float) -> Choice:
        """With the entries within ``window`` of the best at potentials f, at which who takes no part asks too much."""
        price = np.full(len(f), f[self.rows].min() - self.span - 2 * window)
        price[self.rows] = f[self.rows]
        found = cast(Search, self.costs.search)(price, window)
        return Choice(found, self.a, self.b, self.options)


def _covers_most(passes: NearestPasses, f: np.ndarray, reg: float) -> bool:
    return passes.nearly_left_out(f, reg) <= _FIT * passes.demand.sum()


@dataclass
class _State:
    """Where the solver stands."""

    choice: Choice
    f: np.ndarray
    before: np.ndarray
    bound: float = math.inf
    passes: int = 0

    def choose(self, reg: float, left_out: float, margin: float) -> None:
        """Choose entries anew, for the prices at hand and those a little away.

        Args:
            reg: entropy weight to solve with.
            left_out: mass that may be left out of them.
            margin: by how much prices may move yet, times reg.
        """
        choice = self.choice
        window = reg * (math.log(2 * len(choice.rows) / left_out) + margin)
        self.f[choice.absent] += window
        self.choice = choice.chosen_anew(self.f, window)


def _statistics(costs: NearestCosts, a: np.ndarray, demand: np.ndarray) -> tuple[Statistics, np.ndarray, np.ndarray]:
    """What the rules judge; suppliers with capacity and without an entry; lanes that any with capacity reaches."""
    reach = fused.Reach(np.zeros(len(a), bool), np.zeros(demand.shape, bool))
    read = fused.NearCosts(costs.first, costs.supplier, costs.cost, demand, 1.0, 0.0)
    lowest, highest, dearest, unreached = fused.cost_range(read, costs.floor, a > 0, reach)
    absent = (a > 0) & ~reach.supplier
    supply, total, least = float(a.sum()), float(demand.sum()), float(demand.min())
    found = Statistics(supply, total, float(a.min()), least, lowest, highest, dearest, unreached, absent)
    return found, np.flatnonzero(absent), reach.pixel


def solve_nearest(function: str, a: Array, b: Array, costs: NearestCosts, options: Options) -> TransportResult:
    """One problem; see :func:`.entry.solve`."""
    capacity, demand, restore = _arguments(function, a, b, costs, options)
    capacity, demand = capacity + options.marginal_floor, demand + options.marginal_floor
    unit = 1.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if 0 < demand.sum() < math.inf:  # demands near 1, as in .solvers
            unit = float(2.0 ** np.rint(np.log2(demand.sum() / np.count_nonzero(demand))))
        capacity, demand = capacity / unit, demand / unit
    choice = Choice(costs, capacity, demand, options)
    judged = choice.found if costs.search is None else choice.found._replace(cut_off=np.zeros(1, bool))
    judge(function, judged._replace(demand=float(demand.sum()), least_demand=demand.min()), options, Place(0, 1, 0, 1))
    capacity = capacity * (demand.sum() / capacity.sum())
    state = refine(Choice(costs, capacity, demand, options))
    return _result(state, capacity, unit, restore)


def _arguments(
    function: str, a: Any, b: Any, costs: Any, options: Options
) -> tuple[np.ndarray, np.ndarray, Restore]:
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


def refine(choice: Choice) -> _State:
    """Solve over the entries that are there, and choose anew until what is left out cannot matter."""
    options, rows = choice.options, choice.rows
    start = np.where(choice.a > 0, choice.costs.price, 0.0)
    state = _State(choice, start, start)
    searches = _SEARCHES if choice.costs.search is not None and options.tol > 0 else 0
    if searches:
        _approach(state)
        state.f, _, made = state.choice.climb(state.f, _NEAR, options.max_iter - state.passes)
        state.passes += made
        state.bound = state.choice.bound(state.f)
    margin = _MARGIN
    while True:
        if searches and (state.bound > options.tol or state.choice.absent.size):
            state.choose(options.reg, options.tol, margin)
            state.choice.passes.single = False  # prices are near the top
            searches -= 1
        state.before, state.f, made = state.choice.climb(state.f, options.tol, options.max_iter - state.passes)
        state.passes += made
        state.bound = state.choice.bound(state.f)
        done = state.bound <= options.tol and not state.choice.absent.size
        if done or not searches or state.passes >= options.max_iter:
            return state
        moved = np.ptp((state.f - state.choice.costs.price)[rows]) / options.reg
        margin += min(float(moved), _FARTHEST)  # farther than the window allowed for


def _approach(state: _State) -> None:
    """Rough prices, from entries that matter at those.

    Where prices run out of what the entries cover, they have far to go: a larger reg takes them there, with a window
    to match, and comes down again.
    """
    own = reg = state.choice.options.reg
    failed = 0
    for _ in range(_STEPS):
        state.f, made, covered = state.choice.climb_roughly(state.f, reg)
        state.passes += made
        if covered and reg == own:
            return
        if covered:
            reg, failed = max(reg / 4, own), 0
            continue
        failed += 1
        reg = 3 * reg if failed > 2 else reg
        state.choose(reg, _FIT, _MARGIN)


def _result(state: _State, a: np.ndarray, unit: float, restore: Restore) -> TransportResult:
    import torch

    choice, options, b = state.choice, state.choice.options, state.choice.passes.b
    plan = _read_out(state, len(a), len(b))
    capacities = choice.supply * np.exp(-state.f / options.tau) if math.isfinite(options.tau) else a
    missed = np.abs(plan.masses - capacities).sum() + plan.pixel_error + choice.stranded
    f = np.where(a > 0, state.f, -math.inf)
    g = plan.g + options.reg * math.log(unit)
    recipe = NearestPlan(choice.costs, f, g, options.reg)
    error = float(missed / choice.total)
    if _rounds_away(choice, options):
        flow = recipe()
        missed = np.abs(flow.sum(1) - capacities * unit).sum() + np.abs(flow.sum(0) - b * unit).sum()
        error = max(error, float(missed / (choice.total * unit)))
    within = options.tol > 0 and error <= options.tol and state.bound <= options.tol
    scalars = (restore(torch.tensor(value, dtype=torch.float64)) for value in (plan.cost * unit, error))
    cost, marginal_error = scalars
    vectors = (restore(torch.from_numpy(each)) for each in (f, g, plan.labels))
    return TransportResult(
        *vectors, cost, marginal_error, state.passes, bool(within), recipe, bound=state.bound, costs=choice.costs
    )


def _read_out(state: _State, K: int, N: int) -> ReadOut:
    if state.choice.stranded == state.choice.total:
        return ReadOut(np.full(N, -math.inf), np.zeros(N, np.int64), 0.0, np.zeros(K), 0.0)
    return state.choice.passes.read_out(state.before, state.f, state.choice.options.reg)


def _rounds_away(choice: Choice, options: Options) -> bool:
    """Whether exponents of float64 potentials may miss the tolerance, as in .solvers."""
    worst = options.tol if options.tol > 0 else 1e-7
    magnitude = max(abs(choice.found.lowest), abs(choice.found.highest))
    return worst < 4 * float(np.finfo(np.float64).eps) * magnitude / options.reg


@dataclass(frozen=True, eq=False)
class NearestPlan:
    """What the plan of near costs is made from when it is first read."""

    costs: NearestCosts
    f: np.ndarray
    g: np.ndarray
    reg: float

    def __call__(self) -> Any:
        """(K, N) scipy.sparse.csr_array, float64."""
        from scipy.sparse import coo_array

        costs, pixel = self.costs, self.costs.pixel_of_entries()
        entry, lane = np.nonzero((pixel >= 0) & (costs.cost < np.inf))
        supplier, pixel = costs.supplier[entry], pixel[entry, lane]
        mass = np.exp((self.f[supplier] - costs.cost[entry, lane] + self.g[pixel]) / self.reg)
        moved = mass > 0
        shape = (costs.num_suppliers, costs.num_pixels)
        return coo_array((mass[moved], (supplier[moved], pixel[moved])), shape).tocsr()

    def restored(self, restore: Restore) -> NearestPlan:
        """The same: a plan of near costs is of no family."""
        return self
