"""Damped Newton ascent on the K supplier potentials of the semi-dual.

With every pixel's marginal enforced (Eq. 10), what is left of the dual is concave in the K potentials alone:

    D(f) = a . f - reg sum_j b_j ln sum_i exp((f_i - M_ij) / reg)

Its gradient, capacities minus masses, and its Hessian, a graph Laplacian over the suppliers, both come out of
one pass over M. A capacity that is soft with strength tau replaces ``a . f`` by
``-tau sum_i a_i exp(-f_i / tau)``: the capacity in force at f is then ``a exp(-f / tau)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from .problem import ReadOut


class Passes(Protocol):
    """What the solvers ask of a cost matrix; :class:`.cpu.passes.CpuPasses` documents it.

    Links are a (K, K) array, or a scipy.sparse.csr_array where most suppliers do not meet.

    Attributes:
        b: (N,) demand.
        rows: suppliers that take part.
        single: passes in float32 are possible, and worth it while far from the goal.
    """

    rows: np.ndarray
    single: bool

    @property
    def b(self) -> np.ndarray: ...

    def subset(self, pixels: np.ndarray) -> Passes: ...

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, Any]: ...

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray: ...

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut: ...


def _always(passes: Passes, f: np.ndarray, reg: float) -> bool:
    return True


@dataclass(frozen=True)
class Semidual:
    """The function that is climbed.

    Attributes:
        passes: the costs and the demand.
        a: (K,) capacities, of the same total as the demand.
        reg: entropy weight.
        tau: softness of the capacities, inf for hard ones.
        span: range of the finite costs.
        magnitude: largest absolute value among them.
        covers: ``covers(passes, f, reg)``: whether the costs hold all pairs that matter at potentials f.
    """

    passes: Passes
    a: np.ndarray
    reg: float
    tau: float
    span: float
    magnitude: float
    covers: Callable[[Any, np.ndarray, float], bool] = field(default=_always)

    def at(self, f: np.ndarray, precise: bool, links: Any = None) -> Point:
        """One pass, which takes links unless they are given."""
        capacities = self.a
        if math.isfinite(self.tau):
            f = self._centered(f)
            capacities = self.a * np.exp(-f / self.tau)
        masses, taken = self.passes.masses(f, self.reg, precise, links=links is None)
        error = float(np.abs(capacities - masses).sum() / self.a.sum())
        return Point(f, capacities, masses, taken if links is None else links, error)

    def _centered(self, f: np.ndarray) -> np.ndarray:
        """Shift f along constants, the one direction in which the soft problem has a closed form."""
        rows = self.passes.rows
        low = f[rows].min()
        total = (self.a[rows] * np.exp((low - f[rows]) / self.tau)).sum()
        centered = np.zeros(len(f))
        centered[rows] = f[rows] - low + self.tau * math.log(total / self.a.sum())
        return centered


@dataclass(frozen=True)
class Point:
    """Potentials, the capacities in force there, and what a pass found."""

    f: np.ndarray
    capacities: np.ndarray
    masses: np.ndarray
    links: Any
    error: float

    @property
    def gradient(self) -> np.ndarray:
        """Of the semi-dual."""
        return self.capacities - self.masses


_FAR = 30.0
"""Times reg: a movement of prices after which costs that matter may be missing, however small the error is."""
ROUGH = 1e-2
"""Marginal error at which prices hardly move any more."""


def float32_error(magnitude: float, reg: float) -> float:
    """L1 error of the marginals that rounding exponents to float32 causes; inf where they do not even fit."""
    return max(5e-6, 1e-7 * magnitude / reg) if 1e-30 < reg < 1e30 else math.inf


def ascend(dual: Semidual, f: np.ndarray, tol: float, limit: int) -> tuple[np.ndarray, int]:
    """Climb from f until the L1 error of the capacities over the mass is at most tol, or costs that matter are missing.

    Returns:
        The potentials and the number of passes made, which is at most ``limit`` and a few.
    """
    here, used = ascend_to(dual, f, tol, limit)
    return here.f, used


def ascend_to(dual: Semidual, f: np.ndarray, tol: float, limit: int) -> tuple[Point, int]:
    """The same, with what the last pass found."""
    rough = float32_error(dual.magnitude, dual.reg)
    precise = not dual.passes.single or math.isinf(rough)
    here = dual.at(f, precise)
    cap, used = np.full(len(f), 6 * dual.reg), 1
    while used < limit:
        if not precise and tol < rough and here.error <= rough:
            precise = True
            here = dual.at(here.f, precise)
            used += 1
        if here.error <= tol:
            break
        far = np.ptp((here.f - f)[dual.passes.rows]) > _FAR * dual.reg
        if used > 1 and (far or here.error > ROUGH) and not dual.covers(dual.passes, here.f, dual.reg):
            break
        here, tries = _search(dual, here, cap, precise)
        used += tries
    return here, used


def polish(dual: Semidual, f: np.ndarray, links: Any, tol: float, limit: int) -> tuple[np.ndarray, int, bool]:
    """Newton's steps from near the top with links that were taken nearby: most passes need none of their own.

    Returns:
        The potentials, the number of passes made, and whether the L1 error is at most tol: each step should take most
        of it away. Where one does not, links are taken once more; where one does not help at all, that is left.
    """
    here, fresh = dual.at(f, precise=True, links=links), False
    cap, used = np.full(len(f), dual.reg), 1
    while here.error > tol and used < limit:
        before = here.error
        there = dual.at(here.f + _model(dual, here).step(cap), precise=True, links=here.links)
        used += 1
        here = min(here, there, key=lambda point: point.error)
        if there.error <= max(0.2 * before, tol):
            continue
        if fresh or there.error > before:
            break
        here, fresh = dual.at(here.f, precise=True), True
        used += 1
    return here.f, used, here.error <= tol


@dataclass(frozen=True)
class Model:
    """What a pass tells of the semi-dual around it.

    Attributes:
        leap: (K,) Sinkhorn's step of the suppliers that are far behind their capacity, 0 for the others.
        active: the others, for which the quadratic model is good.
        hessian: of theirs, negative.
        gradient: theirs.
        floor: smallest diagonal of the Hessian to reckon with, so that suppliers without links stay bounded.
        pinned: index into ``active`` of the supplier that keeps its price where the Hessian is singular along
            constants, -1 where it is regular (soft capacities).
    """

    leap: np.ndarray
    active: np.ndarray
    hessian: Any
    gradient: np.ndarray
    floor: np.ndarray
    pinned: int

    def step(self, cap: np.ndarray) -> np.ndarray:
        """Towards the top, no price farther than its cap."""
        step = np.clip(self.leap, -cap, cap)
        if self.active.size:
            step[self.active] = _boxed_step(self.hessian, self.gradient, self.floor, cap[self.active], self.pinned)
        return step


def laplacian(links: Any, reg: float, stiffness: np.ndarray | None) -> Any:
    """Negative Hessian of the semi-dual from ``links[i, k] = sum_j b_j p_ij p_kj``.

    The diagonal is the sum of the off-diagonal entries: as ``r - sum_j b_j p_ij^2`` it would cancel. Soft capacities
    add their own ``stiffness``.
    """
    if not isinstance(links, np.ndarray):
        from . import sparse_step  # imports scipy.sparse: only where it is used

        return sparse_step.laplacian(links, reg, stiffness)
    hessian = -links / reg
    np.fill_diagonal(hessian, 0.0)
    np.fill_diagonal(hessian, -hessian.sum(axis=1))
    if stiffness is not None:
        hessian += np.diag(stiffness)
    return hessian


def _boxed_step(hessian: Any, gradient: np.ndarray, floor: np.ndarray, cap: np.ndarray, pinned: int) -> np.ndarray:
    """Maximise the model ``gradient . s - s . hessian s / 2`` over ``|s| <= cap``: an ascent direction.

    Clipping the components of its top instead would not be one. The arguments are those of
    :func:`.cpu.newton_step.boxed_step`.
    """
    if not isinstance(hessian, np.ndarray):
        from . import sparse_step

        return sparse_step.boxed_step(hessian, gradient, floor, cap, pinned)
    from .cpu import newton_step  # imports numba: only where it is used

    step = np.empty(len(gradient))
    newton_step.boxed_step(np.ascontiguousarray(hessian), gradient, floor, cap, pinned, step)
    return step


def _model(dual: Semidual, here: Point) -> Model:
    """Newton for the suppliers that hold a good part of their capacity, a Sinkhorn update for the others."""
    rows = dual.passes.rows
    behind = here.masses[rows] < 0.2 * here.capacities[rows]
    leap, active = np.zeros(len(here.f)), rows
    if behind.any():
        leap[rows[behind]] = _sinkhorn_step(dual, here, rows[behind])
        active = rows[~behind]
    soft = math.isfinite(dual.tau)
    hessian = laplacian(here.links, dual.reg, here.capacities / dual.tau if soft else None)
    if len(active) < len(leap):
        hessian = hessian[active][:, active]
    floor = 1e-9 * np.maximum(here.masses, here.capacities)[active] / dual.reg
    pinned = -1 if soft or not active.size else int(here.masses[active].argmax())
    return Model(leap, active, hessian, here.gradient[active], floor, pinned)


def _sinkhorn_step(dual: Semidual, here: Point, rows: np.ndarray) -> np.ndarray:
    """Eq. 11 for some suppliers; those whose mass underflows are measured in logarithms."""
    with np.errstate(divide="ignore"):
        logs = np.log(here.masses[rows])
    vanished = here.masses[rows] < 1e-9 * here.capacities[rows]
    if vanished.any():
        logs[vanished] = dual.passes.log_masses(here.f, dual.reg, rows[vanished])
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        step = dual.reg * (np.log(here.capacities[rows]) - logs)
    step = np.where(np.isfinite(step), step, 0.0)  # nothing within reach: no price helps
    return step * (dual.tau / (dual.tau + dual.reg)) if math.isfinite(dual.tau) else step


def _search(dual: Semidual, here: Point, cap: np.ndarray, precise: bool) -> tuple[Point, int]:
    """One step, tried with smaller caps until the slope at its end shows that the top was not passed by far.

    Each supplier has a cap of its own: among hundreds, one waits on a plateau for a pixel that is a hundred ``reg``
    away while others stand before a kink. Only those that overshot are held back.

    Args:
        dual: what is climbed.
        here: where to start.
        cap: (K,) largest move of each price; adapted in place.
        precise: passes are in float64.

    Returns:
        The point reached and the number of passes made.
    """
    model = _model(dual, here)
    np.maximum(cap, np.abs(model.leap), out=cap)
    for tries in range(1, 7):
        step = model.step(cap)
        there = dual.at(here.f + step, precise)
        before, after = step * here.gradient, step * there.gradient
        overshot = (after < -0.3 * np.abs(before)) & (np.abs(there.gradient) > np.abs(here.gradient).mean())
        _shrink(cap, overshot, step, here, there, dual.reg)
        if after.sum() >= -0.5 * abs(before.sum()) or there.error < 0.7 * here.error:
            if tries == 1:
                cap[(np.abs(step) >= 0.9 * cap) & (after > 0) & ~overshot] *= 3.0
                np.minimum(cap, max(dual.span, 6 * dual.reg), out=cap)
            return there, tries
        if not overshot.any():
            np.minimum(cap, 0.5 * np.abs(step).max(), out=cap)
    cap[:] = dual.reg
    step = np.zeros(len(here.f))
    step[dual.passes.rows] = _sinkhorn_step(dual, here, dual.passes.rows)
    return dual.at(here.f + step, precise), 7


def _shrink(cap: np.ndarray, who: np.ndarray, step: np.ndarray, here: Point, there: Point, reg: float) -> None:
    """Cap those who overshot near where the secant of their own slopes has its zero."""
    slope, reversed_ = np.abs(here.gradient[who]), np.abs(there.gradient[who])
    share = np.clip(slope / (slope + reversed_), 0.1, 0.6)
    cap[who] = np.maximum(np.abs(step[who]) * share, 0.25 * reg)


_LEVELS = ((64, 3e-3), (16, 1e-3), (4, 4e-4))
"""One pixel in so many, and the smallest ``reg`` over the range of the costs for which that sample is enough."""


def maximise(dual: Semidual, tol: float, limit: int) -> tuple[np.ndarray, int]:
    """Maximise the semi-dual from nothing: large ``reg`` first, on samples of the pixels first.

    Returns:
        As :func:`ascend`; the passes counted are those over all pixels.
    """
    f, first = _from_samples(dual)
    used = 0
    for reg in _annealed(first, dual.reg):
        goal = tol if reg == dual.reg else max(tol, 2e-2)
        f, made = ascend(replace(dual, reg=reg), f, goal, limit - used)
        used += made
    return f, used


def _from_samples(dual: Semidual) -> tuple[np.ndarray, float]:
    """Rough potentials, and the ``reg`` that they are good for."""
    f = np.zeros(len(dual.a))
    reg = max(dual.reg, dual.span / 20)
    random = np.random.default_rng(0)
    for stride, share in _LEVELS:
        if _is_large(dual, stride):
            sample = _sampled(dual, stride, random)
            last = max(dual.reg, share * dual.span)
            for step in _annealed(reg, last):
                f, _ = ascend(replace(sample, reg=step), f, tol=ROUGH, limit=30)
            reg = last
    return f, reg


def _annealed(first: float, last: float) -> Iterator[float]:
    """A falling sequence of entropy weights that ends in ``last``."""
    while first > 1.5 * last:
        yield first
        first /= 4
    yield last


def rough_sample(dual: Semidual) -> Semidual:
    """The smallest sample of the pixels that tells rough potentials at the ``reg`` at hand; all where none does."""
    for stride, share in _LEVELS:
        if _is_large(dual, stride) and dual.reg >= share * dual.span:
            return _sampled(dual, stride, np.random.default_rng(0))
    return dual


def _is_large(dual: Semidual, stride: int) -> bool:
    """Whether one pixel in ``stride`` is enough for each supplier."""
    return len(dual.passes.b) >= stride * max(1500, 60 * len(dual.passes.rows))


def _sampled(dual: Semidual, stride: int, random: np.random.Generator) -> Semidual:
    """One pixel at random out of every ``stride`` in a row, with the capacities scaled to match."""
    count = len(dual.passes.b) // stride
    pixels = np.arange(count) * stride + random.integers(0, stride, count)
    pixels = pixels[dual.passes.b[pixels] > 0]
    sample = dual.passes.subset(pixels)
    return replace(dual, passes=sample, a=dual.a * (sample.b.sum() / dual.a.sum()))
