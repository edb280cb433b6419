"""Damped Newton ascent on the K supplier potentials of the semi-dual.

With every pixel's marginal enforced (Eq. 10), what is left of the dual is concave in the K potentials alone:

    D(f) = a . f - reg sum_j b_j ln sum_i exp((f_i - M_ij) / reg)

Its gradient, capacities minus masses, and its Hessian, a graph Laplacian over the suppliers, both come out of
one pass over M. A capacity that is soft with strength tau replaces ``a . f`` by
``-tau sum_i a_i exp(-f_i / tau)``: the capacity in force at f is then ``a exp(-f / tau)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ._newton_step import capped_step, laplacian


class Passes(Protocol):
    """What the solvers ask of a cost matrix; :class:`._passes.CpuPasses` documents it.

    Attributes:
        b: (N,) demand.
        rows: suppliers that take part.
        single: passes in float32 are possible, and worth it while far from the goal.
    """

    b: np.ndarray
    rows: np.ndarray
    single: bool

    def subset(self, pixels: np.ndarray) -> Passes: ...

    def masses(
        self, f: np.ndarray, reg: float, precise: bool, links: bool = False
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray: ...

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Semidual:
    """The problem that is climbed.

    Attributes:
        passes: the costs and the demand.
        a: (K,) capacities, of the same total as the demand.
        reg: entropy weight.
        tau: softness of the capacities, inf for hard ones.
        span: range of the finite costs.
        magnitude: largest absolute value among them.
    """

    passes: Passes
    a: np.ndarray
    reg: float
    tau: float
    span: float
    magnitude: float

    def at(self, f: np.ndarray, precise: bool) -> Point:
        """One pass."""
        capacities = self.a
        if math.isfinite(self.tau):
            f = self._centered(f)
            capacities = self.a * np.exp(-f / self.tau)
        masses, links = self.passes.masses(f, self.reg, precise, links=True)
        error = float(np.abs(capacities - masses).sum() / self.a.sum())
        return Point(f, capacities, masses, links, error)

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
    links: np.ndarray
    error: float

    @property
    def gradient(self) -> np.ndarray:
        """Of the semi-dual."""
        return self.capacities - self.masses


def float32_error(magnitude: float, reg: float) -> float:
    """L1 error of the marginals that rounding exponents to float32 causes; inf where they do not even fit."""
    return max(5e-6, 1e-7 * magnitude / reg) if 1e-30 < reg < 1e30 else math.inf


def ascend(problem: Semidual, f: np.ndarray, tol: float, limit: int) -> tuple[np.ndarray, int]:
    """Climb from f until the L1 error of the capacities over the mass is at most tol.

    Returns:
        The potentials and the number of passes made, which is at most ``limit`` and a few.
    """
    rough = float32_error(problem.magnitude, problem.reg)
    precise = not problem.passes.single or math.isinf(rough)
    here = problem.at(f, precise)
    cap, used = 6 * problem.reg, 1
    while used < limit:
        if not precise and tol < rough and here.error <= rough:
            precise = True
            here = problem.at(here.f, precise)
            used += 1
        if here.error <= tol:
            break
        step = _direction(problem, here, cap)
        here, cap, tries = _search(problem, here, step, cap, precise)
        used += tries
    return here.f, used


def _direction(problem: Semidual, here: Point, cap: float) -> np.ndarray:
    """Newton for the suppliers that hold a good part of their capacity, a Sinkhorn update for the others."""
    rows = problem.passes.rows
    behind = here.masses[rows] < 0.2 * here.capacities[rows]
    step = np.zeros(len(here.f))
    active = rows
    if behind.any():
        step[rows[behind]] = _sinkhorn_step(problem, here, rows[behind])
        active = rows[~behind]
        if active.size == 0:
            return step
    hessian = laplacian(here.links, problem.reg)
    soft = math.isfinite(problem.tau)
    if soft:
        hessian += np.diag(here.capacities / problem.tau)
    floor = 1e-9 * np.maximum(here.masses, here.capacities)[active] / problem.reg
    pinned = None if soft else int(here.masses[active].argmax())
    if len(active) < len(step):
        hessian = hessian[active][:, active]
    step[active] = capped_step(hessian, here.gradient[active], floor, cap, pinned)
    return step


def _sinkhorn_step(problem: Semidual, here: Point, rows: np.ndarray) -> np.ndarray:
    """Eq. 11 for some suppliers; those whose mass underflows are measured in logarithms."""
    with np.errstate(divide="ignore"):
        logs = np.log(here.masses[rows])
    vanished = here.masses[rows] < 1e-9 * here.capacities[rows]
    if vanished.any():
        logs[vanished] = problem.passes.log_masses(here.f, problem.reg, rows[vanished])
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        step = problem.reg * (np.log(here.capacities[rows]) - logs)
    step = np.where(np.isfinite(step), step, 0.0)  # nothing within reach: no price helps
    return step * (problem.tau / (problem.tau + problem.reg)) if math.isfinite(problem.tau) else step


def _search(problem: Semidual, here: Point, step: np.ndarray, cap: float, precise: bool) -> tuple[Point, float, int]:
    """Go along ``step``, shortened until the slope there shows that the top was not passed by far.

    Returns:
        The point reached, the next cap on the length of a step, and the number of passes made.
    """
    slope = float(here.gradient @ step)
    length = float(np.abs(step).max())
    for tries in range(1, 7):
        there = problem.at(here.f + step, precise)
        new_slope = float(there.gradient @ step)
        if new_slope >= -0.5 * abs(slope) or there.error < 0.7 * here.error:
            if tries > 1:
                cap = max(length, 0.5 * problem.reg)
            elif length >= 0.9 * cap and new_slope > 0:
                cap *= 4.0 if new_slope > 0.25 * slope else 2.0
            return there, min(cap, max(problem.span, 6 * problem.reg)), tries
        shrink = min(max(slope / (slope - new_slope), 0.05), 0.6) if slope > 0 else 0.25
        step, slope, length = step * shrink, slope * shrink, length * shrink
    step = np.zeros(len(here.f))
    step[problem.passes.rows] = _sinkhorn_step(problem, here, problem.passes.rows)
    return problem.at(here.f + step, precise), problem.reg, 7


_LEVELS = ((64, 3e-3), (16, 1e-3), (4, 4e-4))
"""One pixel in so many, and the smallest ``reg`` over the range of the costs for which that sample is enough."""


def maximise(problem: Semidual, tol: float, limit: int) -> tuple[np.ndarray, int]:
    """Maximise the semi-dual from nothing: large ``reg`` first, on samples of the pixels first.

    Returns:
        As :func:`ascend`; the passes counted are those over all pixels.
    """
    f, first = _from_samples(problem)
    used = 0
    for reg in _annealed(first, problem.reg):
        goal = tol if reg == problem.reg else max(tol, 2e-2)
        f, made = ascend(replace(problem, reg=reg), f, goal, limit - used)
        used += made
    return f, used


def _from_samples(problem: Semidual) -> tuple[np.ndarray, float]:
    """Rough potentials, and the ``reg`` that they are good for."""
    f = np.zeros(len(problem.a))
    reg = max(problem.reg, problem.span / 20)
    random = np.random.default_rng(0)
    for stride, share in _LEVELS:
        if len(problem.passes.b) >= stride * max(1500, 60 * len(problem.passes.rows)):
            sample = _sampled(problem, stride, random)
            last = max(problem.reg, share * problem.span)
            for step in _annealed(reg, last):
                f, _ = ascend(replace(sample, reg=step), f, tol=1e-2, limit=30)
            reg = last
    return f, reg


def _annealed(first: float, last: float) -> Iterator[float]:
    """A falling sequence of entropy weights that ends in ``last``."""
    while first > 1.5 * last:
        yield first
        first /= 4
    yield last


def _sampled(problem: Semidual, stride: int, random: np.random.Generator) -> Semidual:
    """One pixel at random out of every ``stride`` in a row, with the capacities scaled to match."""
    count = len(problem.passes.b) // stride
    pixels = np.arange(count) * stride + random.integers(0, stride, count)
    pixels = pixels[problem.passes.b[pixels] > 0]
    sample = problem.passes.subset(pixels)
    return replace(problem, passes=sample, a=problem.a * (sample.b.sum() / problem.a.sum()))
