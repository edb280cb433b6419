"""Problems whose costs are :class:`..nearest.costs.NearestCosts`: solved over the pairs that are there, then certified.

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
from ..nearest import NearestCosts
from ..types import TransportResult
from .checks import Place, Statistics, as_pairs, judge
from .cpu import nearest_fused as fused
from .cpu.nearest_passes import NearestPasses
from .newton import ROUGH, Semidual, ascend, ascend_to, float32_error, maximise, polish, rough_sample
from .problem import Options, ReadOut
from .sinkhorn import iterate

Search = Callable[[np.ndarray, float], NearestCosts]

_SEARCHES = 12
"""Choices of entries near the top."""
_STEPS = 40
"""The same on the way there."""
_TRIES = 12
"""Of those, after which the way is too long for steps of this reg."""
_PATIENCE = 40
"""Passes over samples, or while prices are rough."""
_NEAR = 3e-4
"""Marginal error at which prices move by less than a margin yet, as slow as they are over many suppliers."""
_FIT = 0.1
"""Bound above which entries are so far from the right ones that an exact solution is not worth the passes."""
_MARGIN = 0.5
"""Times reg: by how much prices are expected to move yet from near the top."""
_STRIDE = 8.0
"""The same from afar."""
_REACH = 16.0
"""Times reg: how far from the prices at which entries were chosen these are trusted. Beyond, what was left out would
have its say: a supplier that must give up all it holds finds no rival among the entries, and its price runs away."""
_FEW_PAIRS = 1 << 26
"""So many of supplier and pixel are no trouble, if they must be."""
_NEIGHBOURS = 64
"""Suppliers that compete for a pixel, of those left out, when prices are rough; all may in the end."""


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

    @property
    def is_small(self) -> bool:
        """Whether all pairs would fit, too."""
        return self.costs.num_suppliers * self.costs.num_pixels <= _FEW_PAIRS

    @cached_property
    def dual(self) -> Semidual:
        """What Newton climbs."""
        return Semidual(self.passes, self.supply, self.options.reg, self.options.tau, self.span, self.magnitude)

    def rounds(
        self, f: np.ndarray, reg: float, tol: float, limit: int, path: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Sinkhorn's rounds from potentials f: those before the last update and after it, and the rounds made.

        ``path``, (n, 2, K), is filled with the same of the first n rounds.
        """
        from .cpu.rounds import CpuRounds

        options, worst = self.options, tol if tol > 0 else ROUGH
        precise = not self.passes.single or worst < float32_error(self.magnitude, reg)
        passes = cast(Any, self.passes)  # which have what rounds ask of CpuPasses
        path = np.empty((0, 2, len(f))) if path is None else path
        rounds = CpuRounds(passes, self.supply, reg, options.tau, tol, precise, path)
        rounds.suppliers.f[:] = f
        made = iterate(rounds, limit)
        return rounds.suppliers.before, rounds.suppliers.f, made

    def fixed_rounds(self) -> np.ndarray:
        """(rounds, 2, K) potentials before and after each of the rounds asked for, from the prices of the entries."""
        options, path = self.options, np.empty((self.options.max_iter, 2, len(self.a)))
        self.rounds(np.where(self.a > 0, self.costs.price, 0.0), options.reg, options.tol, options.max_iter, path)
        return path

    def least_prices(self) -> np.ndarray:
        """(K,) at which a supplier has a pixel yet where nobody whose entry is left out may be better."""
        costs = self.costs
        block = np.repeat(np.arange(len(costs.pixel)), np.diff(costs.first))
        with np.errstate(invalid="ignore"):
            least = np.where(costs.cost < np.inf, costs.cost - costs.floor[block], np.inf).min(1)
        found = np.full(costs.num_suppliers, np.inf)
        np.minimum.at(found, costs.supplier, least)
        return np.where(found < np.inf, found, -np.inf)

    def chosen_anew(self, f: np.ndarray, window: float) -> Choice:
        """With the entries within ``window`` of the best at potentials f, at which who takes no part asks too much."""
        price = np.full(len(f), f[self.rows].min() - self.span - 2 * window)
        price[self.rows] = f[self.rows]
        found = cast(Search, self.costs.search)(price, window)
        return Choice(found, self.a, self.b, self.options)


def _moves(choice: Choice, origin: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Of each price against most of the others: all may move alike."""
    moves = f - origin
    return moves - np.median(moves[choice.rows])  # type: ignore[no-any-return]


def _covers_most(passes: Any, f: np.ndarray, reg: float) -> bool:
    return passes.nearly_left_out(f, reg) <= _FIT * passes.demand.sum()


@dataclass
class _State:
    """Where the solver stands: with which entries, at which potentials, after how many passes."""

    choice: Choice
    f: np.ndarray
    before: np.ndarray
    origin: np.ndarray
    """Potentials at which the entries were chosen."""
    passes: int = 0
    links: Any = None
    way: Any = 0.0
    """Of each price, when they were last held: 1 up, -1 down, 0 where it had not come to the limit."""
    times: Any = 1.0
    """How many times as far as at first each may go."""
    spent: int = 0
    """Passes that led nowhere, before it began anew with all pairs."""

    @property
    def left(self) -> int:
        """Passes that may be made yet."""
        return max(self.choice.options.max_iter - (self.passes - self.spent), 1)

    @property
    def patience(self) -> int:
        """Passes after which prices, where entries can be chosen anew, more likely run away than that they arrive."""
        return min(_PATIENCE, self.left)

    @property
    def dual(self) -> Semidual:
        """What Newton climbs, as far as the entries tell what it is."""
        choice = self.choice
        if choice.costs.search is None:
            return choice.dual

        def covers(passes: Any, f: np.ndarray, reg: float) -> bool:
            near = np.abs(_moves(choice, self.origin, f)) <= _REACH * reg
            return bool(near[choice.rows].all()) or _covers_most(passes, f, reg)

        return replace(choice.dual, covers=covers)

    def climb_roughly(self, reg: float) -> bool:
        """Prices that are good enough to search from, by Newton on a sample; whether the entries tell them."""
        choice = self.choice
        if choice.stranded == choice.total:
            return False
        if choice.options.method == "sinkhorn":
            _, self.f, made = choice.rounds(self.f, reg, ROUGH, self.patience)
            self.passes += made
            return not choice.absent.size and _covers_most(choice.passes, self.f, reg)
        dual = replace(self.dual, reg=reg)
        sample = rough_sample(dual)
        self.f, made = ascend(sample, self.f, ROUGH, _PATIENCE)
        self.passes += made if sample is dual else 0
        return not choice.absent.size and sample.covers(sample.passes, self.f, reg)

    def climb(self, tol: float, limit: int) -> bool:
        """Solve to a tolerance with the entries at hand, in ``limit`` passes; whether it got there, or none is left."""
        choice = self.choice
        if choice.stranded == choice.total:
            return False
        if choice.options.method == "sinkhorn":
            self.before, self.f, made = choice.rounds(self.f, choice.options.reg, tol, self.left)
            self.passes += made
            return True
        return self._climb(choice, 0.9 * tol, limit) or self.left <= 1  # the read-out rounds differently

    def _climb(self, choice: Choice, tol: float, limit: int) -> bool:
        done = False
        if self.links is not None:
            self.f, made, done = polish(self.dual, self.f, self.links, tol, limit)
            self.passes += made
        if not done and choice.costs.search is None and np.ptp(self.f[choice.rows]) == 0:
            self.f, made = maximise(choice.dual, tol, limit)
            self.passes += made
        elif not done:
            top, made = ascend_to(self.dual, self.f, tol, limit)
            self.f, self.links, done = top.f, top.links, top.error <= tol
            self.passes += made
        self.before = self.f
        return done

    def read_out(self) -> tuple[ReadOut, float]:
        """What the potentials mean, and the mass that pairs left out have at most."""
        choice = self.choice
        if choice.stranded == choice.total:
            K, N = len(choice.a), len(choice.b)
            plan = ReadOut(np.full(N, -math.inf), np.zeros(N, np.int64), 0.0, np.zeros(K), 0.0)
            return plan, float(choice.costs.floor.min() < math.inf)
        plan, left_out = choice.passes.certified(self.before, self.f, choice.options.reg, choice.demand)
        return plan, left_out / choice.total

    def choose(self, reg: float, left_out: float, margin: float, held: bool) -> None:
        """Choose entries anew, for the prices at hand and those a little away.

        Args:
            reg: entropy weight to solve with.
            left_out: mass that may be left out of them.
            margin: by how much prices may move yet, times reg.
            held: prices go no farther than the entries that they were found with are trusted.
        """
        choice = self.choice
        rivals = len(choice.rows) if left_out < _FIT else min(len(choice.rows), _NEIGHBOURS)
        window = reg * (math.log(2 * rivals / left_out) + margin)
        self.f = self._held(reg) if held else self.f.copy()
        self.f[choice.absent] += window
        self.choice, self.origin = choice.chosen_anew(self.f, window), self.f

    def _held(self, reg: float) -> np.ndarray:
        """The prices, none farther from where entries were chosen than it may go, unless these cover it all the same.

        Who comes to the limit on the same way again may go twice as far each time. What is covered is most of the
        mass: a supplier may still fall without end where his entries know no rival.
        """
        choice = self.choice
        moves = _moves(choice, self.origin, self.f)
        if not choice.absent.size and _covers_most(choice.passes, self.f, reg):
            fallen = moves < -_REACH * reg
            if not fallen.any():
                return self.f.copy()
            least = choice.least_prices() + np.median((self.f - self.origin)[choice.rows])
            return np.where(fallen, np.maximum(self.f, least), self.f)
        limit = _REACH * reg * self.times
        way = np.where(np.abs(moves) >= 0.9 * _REACH * reg, np.sign(moves), 0.0)
        self.times = np.where((way != 0) & (way == self.way), 2.0 * self.times, 1.0)
        self.way = way
        return self.origin + np.clip(moves, -limit, limit)  # type: ignore[no-any-return]

    def take_all(self) -> None:
        """Begin anew with all pairs, where prices did not arrive with some: as a dense problem is solved."""
        found = cast(Search, self.choice.costs.search)(np.zeros(len(self.f)), math.inf)
        self.choice = Choice(replace(found, search=None), self.choice.a, self.choice.b, self.choice.options)
        self.f, self.links, self.spent = np.zeros(len(self.f)), None, self.passes


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
    state, plan, bound = refine(choice)
    result = _result(state, plan, bound, unit, restore)
    return _with_gradient(function, a, b, state.choice, result)


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


def refine(choice: Choice) -> tuple[_State, ReadOut, float]:
    """Solve over the entries that are there, and choose anew until what is left out cannot matter.

    Returns:
        Where that ended, its plan, and the mass, over all of it, that pairs left out have at most.
    """
    options, costs = choice.options, choice.costs
    start = np.where(choice.a > 0, costs.price, 0.0)
    state = _State(choice, start, start, start)
    searches = _SEARCHES if costs.search is not None and options.tol > 0 else 0
    if searches:
        _approach(state)
        if state.choice.costs.floor.min() < math.inf:
            state.choose(options.reg, options.bound, _MARGIN, held=False)
    while True:
        reached = state.climb(options.tol, state.patience if searches else state.left)
        plan, bound = state.read_out()
        done = bound <= options.bound and not state.choice.absent.size
        if done or not searches or state.passes >= options.max_iter:
            break
        # Prices that arrived moved by more than was expected, and will stay near; others ran out of the entries.
        state.choose(options.reg, options.bound, _MARGIN if reached else _STRIDE, held=not reached)
        searches -= 1
    if not (done and reached) and costs.search is not None and options.method == "newton" and choice.is_small:
        state.take_all()
        state.climb(options.tol, state.left)
        plan, bound = state.read_out()
    return state, plan, bound


def _approach(state: _State) -> None:
    """Prices near the top, and entries that matter at those: from one choice to the next, as far as it is trusted.

    Prices that do not arrive have far to go: a larger reg takes them there, with a window to match, and comes down
    again.
    """
    options = state.choice.options
    own = reg = options.reg
    failed, rough = 0, True
    for _ in range(_STEPS):
        arrived = not rough or state.climb_roughly(reg)
        if arrived and reg > own:
            reg, failed = max(reg / 4, own), 0
            continue
        rough = not arrived  # once is enough: a sample knows small suppliers badly
        if arrived and state.climb(max(_NEAR, options.tol), state.patience):
            return
        failed += 1
        if failed > _TRIES:
            reg, rough = 3 * reg, True
        state.choose(reg, _FIT, _STRIDE, held=True)


def _result(state: _State, plan: ReadOut, bound: float, unit: float, restore: Restore) -> TransportResult:
    import torch

    choice, options = state.choice, state.choice.options
    a, b = choice.a, choice.passes.b
    capacities = choice.supply * np.exp(-state.f / options.tau) if math.isfinite(options.tau) else a
    missed = np.abs(plan.masses - capacities).sum() + plan.pixel_error + choice.stranded
    f = np.where(a > 0, state.f, -math.inf)
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
        iterations=state.passes,
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


@dataclass(frozen=True, eq=False)
class NearestPlan:
    """What the plan of near costs is made from when it is first read."""

    costs: NearestCosts
    f: np.ndarray
    g: np.ndarray
    reg: float
    restore: Restore
    potentials: Any = None
    """f as a tensor with a gradient, where it has one."""

    def is_cut_off(self) -> bool:
        """The plan never has a gradient."""
        return False

    def log_share(self, pixels: Any, suppliers: Any) -> Any:
        """See :meth:`~point2mask_ot.TransportResult.log_share`."""
        import torch

        from .nearest_gradient import near_log_shares

        costs, f = self.costs, torch.from_numpy(self.f) if self.potentials is None else self.potentials
        at, who = as_pairs("log_share", pixels, suppliers, (costs.num_suppliers, costs.num_pixels), None)
        return self.restore(near_log_shares(costs, f, self.reg, at[0], who[0]))

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
        """The same for a caller of another family; the plan itself is of none."""
        return replace(self, restore=restore)
