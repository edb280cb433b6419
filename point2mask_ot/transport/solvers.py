"""One validated problem in, one solution out: which passes, which algorithm, which start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .exact.simplex import Flow, network_simplex
from .newton import Passes, Semidual, ascend, float32_error, maximise
from .portable import TorchPasses
from .problem import Method, Options, Problem, ReadOut, Solution, axes, keeps_path, within
from .sinkhorn import iterate, missed_mass

if TYPE_CHECKING:
    from .cpu.passes import CpuPasses
    from .cpu.rounds import CpuRounds
    from .exact.assignment import Assignment

SERIAL_ENTRIES = 1 << 19
"""Entries of M below which a pass takes less than the start of a pool of threads."""
_SMALL_REG = 5e-5
"""Entropy weight, over the range of the costs, below which Newton starts from unregularised prices."""
_PATIENCE = 100
"""Passes after which it turns to them above that weight, too."""

_ROUNDINGS = 4
"""Of numbers as large as the costs, in an exponent of the plan."""


@dataclass(frozen=True)
class _Found:
    """What a method makes of one problem.

    Attributes:
        f: (K,) potentials.
        plan: what was read out of its plan.
        iterations: rounds, passes or pivots made.
        flow: the entries of an unregularised plan, supplier * N + pixel, and their masses.
        finished: False where the plan may be feasible and yet not optimal.
        path: see :class:`.problem.Solution`.
    """

    f: np.ndarray
    plan: ReadOut
    iterations: int
    flow: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.int64), np.zeros(0))
    finished: bool = True
    path: np.ndarray | None = None


def solve_one(problem: Problem, options: Options) -> Solution:
    """Solve one problem; finite whatever the masks forbid."""
    a, b, unit = _in_units(problem, options)
    rows = np.flatnonzero(a > 0)
    stranded = _stranded(problem, rows) & (b > 0)
    served = np.where(stranded, 0.0, b)
    supply = a
    if not served.any():
        found = _nothing(problem, options)
    elif options.method == "sinkhorn":
        found = _sinkhorn(problem, a, served, rows, options)
    else:  # the other methods need equal totals
        supply = a * (served.sum() / b.sum()) if stranded.any() else a
        method = _newton if options.method == "newton" else _exact
        found = method(problem, supply, served, rows, options)
    f, plan = found.f, found.plan
    # A soft problem settles on capacities of its own; a hard one is held to those that were asked for.
    capacities = supply * np.exp(-f / options.tau) if math.isfinite(options.tau) else a
    missed = np.abs(plan.masses - capacities).sum() + plan.pixel_error + b[stranded].sum()
    error = float(missed / b.sum())
    f, g = np.where(a > 0, f, -math.inf), plan.g + options.reg * math.log(unit)
    if _beyond_float64(problem.magnitude, options):
        potentials, prices, wanted, demand = (
            torch.as_tensor(each, device=problem.M.device) for each in (f, g, capacities * unit, b * unit)
        )
        missed = missed_mass(potentials, prices, problem.M, options.reg, wanted, demand)
        error = max(error, missed / float(b.sum() * unit))
    return Solution(
        f=f,
        g=g,
        labels=plan.labels,
        cost=plan.cost * unit,
        error=error,
        iterations=found.iterations,
        converged=within(error, options) and found.finished,
        entries=found.flow[0],
        moved=found.flow[1] * unit,
        path=np.zeros((0, 2, len(f))) if found.path is None else found.path,
    )


def _in_units(problem: Problem, options: Options) -> tuple[np.ndarray, np.ndarray, float]:
    """Both marginals, in units in which a demand is near 1, and that unit.

    It keeps float32 and thresholds in bits away from their limits; powers of two round nothing.
    """
    a, b = problem.a + options.marginal_floor, problem.b + options.marginal_floor
    unit = 2.0 ** np.rint(np.log2(b.sum() / np.count_nonzero(b)))
    return a / unit, b / unit, float(unit)


def _stranded(problem: Problem, rows: np.ndarray) -> np.ndarray:
    """Pixels that no supplier with capacity reaches."""
    M = problem.M
    if not problem.masked:
        return np.zeros(M.shape[1], bool)
    cheapest = M[int(rows[0])].clone()
    for i in rows[1:].tolist():  # row by row: a selection of rows would be a copy of M
        torch.minimum(cheapest, M[i], out=cheapest)
    return np.asarray((cheapest == math.inf).cpu())


def _nothing(problem: Problem, options: Options) -> _Found:
    K, N = problem.M.shape
    device = problem.M.device
    g = torch.full((N,), -math.inf, dtype=torch.float64, device=device)
    labels = torch.zeros(N, dtype=torch.int64, device=device)
    shapes = axes((K, N), device, options)
    plan = ReadOut(g, labels, 0.0, np.zeros(K), 0.0)
    flow = np.zeros(shapes["E"], np.int64), np.zeros(shapes["E"])
    return _Found(np.zeros(K), plan, 0, flow, path=np.zeros(shapes["R"]))


def _passes(problem: Problem, b: np.ndarray, rows: np.ndarray, options: Options) -> Passes:
    if options.backend == "triton":
        from .gpu.passes import TritonPasses  # imports triton

        return TritonPasses(problem.M, b, rows)
    if options.backend == "torch":
        return TorchPasses(problem.M, b, rows)
    return _cpu_passes(problem, b, rows, options.method)


def _cpu_passes(problem: Problem, b: np.ndarray, rows: np.ndarray, method: Method) -> CpuPasses:
    from .cpu.passes import CpuPasses  # imports numba: only where it is used

    # Sinkhorn tells suppliers that lost everything from those that were left out of blocks: a wider cut.
    cut = 44.0 if method != "sinkhorn" else 60.0 if problem.M.dtype == torch.float32 else 80.0
    return CpuPasses(problem.M.numpy(), b, rows, cut, SERIAL_ENTRIES)


def _sinkhorn(problem: Problem, a: np.ndarray, b: np.ndarray, rows: np.ndarray, options: Options) -> _Found:
    rounds = _rounds(problem, a, b, rows, options)
    made = iterate(rounds, options.max_iter)
    f, before = rounds.suppliers.f, rounds.suppliers.before
    return _Found(f, rounds.passes.read_out(before, f, options.reg), made, path=rounds.path)


def _rounds(problem: Problem, a: np.ndarray, b: np.ndarray, rows: np.ndarray, options: Options) -> CpuRounds:
    from .cpu.rounds import CpuRounds

    passes = _cpu_passes(problem, b, rows, options.method)
    precise = _is_precise(problem, options)
    path = np.empty((options.max_iter if keeps_path(problem.M.device, options) else 0, 2, len(a)))
    return CpuRounds(passes, a, options.reg, options.tau, options.tol, precise, path)


def passes_again(problem: Problem, options: Options) -> tuple[CpuPasses, bool]:
    """The passes on the CPU that :func:`solve_one` makes, for its gradient, and whether they have to be in float64."""
    a, b, _ = _in_units(problem, options)
    rows = np.flatnonzero(a > 0)
    if options.tol > 0:
        return _cpu_passes(problem, b, rows, "newton"), True
    served = np.where(_stranded(problem, rows), 0.0, b)
    return _cpu_passes(problem, served, rows, "sinkhorn"), _is_precise(problem, options)


def _is_precise(problem: Problem, options: Options) -> bool:
    return problem.M.dtype == torch.float64 or _beyond_float32(problem.magnitude, options)


def _beyond_float32(magnitude: float, options: Options) -> bool:
    """Whether float32 exponents would miss the tolerance, or without one cost more than a hundredth of the mass."""
    worst = options.tol if options.tol > 0 else 1e-2
    return worst < float32_error(magnitude, options.reg)


def _beyond_float64(magnitude: float, options: Options) -> bool:
    """Whether exponents of float64 potentials may miss the tolerance, or without one the default of ``solve``."""
    worst = options.tol if options.tol > 0 else 1e-7
    return options.reg > 0 and worst < _ROUNDINGS * float(np.finfo(np.float64).eps) * magnitude / options.reg


def _newton(problem: Problem, a: np.ndarray, b: np.ndarray, rows: np.ndarray, options: Options) -> _Found:
    passes = _passes(problem, b, rows, options)
    dual = Semidual(passes, a, options.reg, options.tau, problem.span, problem.magnitude)
    f, made = _potentials(problem, dual, options)
    return _Found(f, passes.read_out(f, f, options.reg), made)


def _potentials(problem: Problem, dual: Semidual, options: Options) -> tuple[np.ndarray, int]:
    """Newton from nothing; from unregularised prices where that would stall or did."""
    goal = 0.9 * options.tol  # the read-out rounds differently
    f, made = None, 0
    if options.reg >= _SMALL_REG * problem.span:
        f, made = maximise(dual, goal, min(_PATIENCE, options.max_iter))
        if made < _PATIENCE:
            return f, made
    prices = _exact_prices(problem, dual, options)
    if prices is not None:
        f, made = prices.f, made + prices.passes
    if f is None:
        return maximise(dual, goal, options.max_iter)
    f, more = ascend(dual, f, goal, options.max_iter - made)
    return f, made + more


def _exact_prices(problem: Problem, dual: Semidual, options: Options) -> Assignment | None:
    b = dual.passes.b
    units = _units(dual.a, b, problem.resolution)
    if units is None or math.isfinite(options.tau) or options.backend != "numba":
        return None
    from .exact.assignment import assign

    passes = _cpu_passes(problem, (b > 0).astype(np.float64), np.flatnonzero(units), "exact")
    return assign(passes, units, problem.span, problem.magnitude)


def _units(a: np.ndarray, b: np.ndarray, resolution: float) -> np.ndarray | None:
    """Capacities counted in pixels, where every pixel with demand has the same and capacities are whole."""
    demand = b[b > 0]
    if demand.max() - demand.min() > resolution * demand.max():
        return None
    counts = a * (len(demand) / a.sum())
    whole = np.rint(counts)
    exact = (np.abs(counts - whole) <= 4 * resolution * np.maximum(counts, 1)) & ((whole > 0) == (a > 0))
    return whole.astype(np.int64) if exact.all() and whole.sum() == len(demand) else None


def _exact(problem: Problem, a: np.ndarray, b: np.ndarray, rows: np.ndarray, options: Options) -> _Found:
    flow, iterations, labels, best = _optimal_flow(problem, a, b, rows, options)
    supplier, pixel, moved = flow.supplier, flow.pixel, flow.mass
    _take_largest(labels, supplier, pixel, moved)
    g = np.negative(best, out=best)  # arrays as long as M is wide are changed in place: all together outweigh M
    g[b == 0] = -math.inf
    masses = np.bincount(supplier, moved, len(a))
    received = np.bincount(pixel, moved, len(b))
    received -= b
    pixel_error = float(np.abs(received, out=received).sum())
    del received
    cost = float(np.multiply(problem.M.numpy()[supplier, pixel], moved).sum())
    supplier *= len(b)
    supplier += pixel
    plan = ReadOut(g, labels, cost, masses, pixel_error)
    return _Found(flow.f, plan, iterations, _padded(supplier, moved, problem, options), flow.finished)


def _optimal_flow(
    problem: Problem, a: np.ndarray, b: np.ndarray, rows: np.ndarray, options: Options
) -> tuple[Flow, int, np.ndarray, np.ndarray]:
    """The entries of an optimal plan, passes made, and argmax and maximum of its f - M for every pixel."""
    from .exact.assignment import assign, screen

    units = _units(a, b, problem.resolution)
    if units is not None:
        passes = _cpu_passes(problem, (b > 0).astype(np.float64), np.flatnonzero(units), "exact")
        found = assign(passes, units, problem.span, problem.magnitude)
        pixel = np.flatnonzero(b > 0)
        flow, iterations = Flow(found.f, found.owner[pixel], pixel, b[pixel], finished=True), found.passes
        del found
    else:
        flow, iterations = network_simplex(a, b, problem.M.numpy(), problem.span, options.max_iter), 1
        passes = _cpu_passes(problem, b, rows, "exact")
    return flow, iterations, *screen(passes, flow.f)


def _take_largest(labels: np.ndarray, supplier: np.ndarray, pixel: np.ndarray, mass: np.ndarray) -> None:
    """Replace labels, where the plan has entries, by the supplier of the largest (the smallest index of a tie)."""
    if len(pixel) > np.count_nonzero(np.bincount(pixel)):  # pixels that are shared
        order = np.lexsort((-supplier, mass))  # later assignments win: ascending mass, then descending index
        pixel, supplier = pixel[order], supplier[order]
    labels[pixel] = supplier


def _padded(index: Any, mass: Any, problem: Problem, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """One length for all plans of a shape."""
    size = axes((problem.M.shape[0], problem.M.shape[1]), problem.M.device, options)["E"]
    entries, masses = np.zeros(size, np.int64), np.zeros(size)
    entries[: len(index)], masses[: len(mass)] = index, mass
    return entries, masses
