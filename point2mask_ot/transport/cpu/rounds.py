"""Sinkhorn's rounds on the CPU: the pass over the costs, and between passes the suppliers' update, compiled."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import njit
from ..sinkhorn import supplier_potentials
from .blocks import Base, Costs, Ranges, Scratch, add_masses, block_of, weigh
from .fused import exponents
from .passes import CpuPasses, bits, slack_of


class Suppliers(NamedTuple):
    """The suppliers' side of a problem: (K,) each.

    Attributes:
        a: capacities.
        f: potentials, updated.
        before: those before the last update.
        lost: bool: the mass vanished beside that of others; such a supplier has not been moved.
        anchor, u: see :func:`.fused.exponents`.
    """

    a: np.ndarray
    f: np.ndarray
    before: np.ndarray
    lost: np.ndarray
    anchor: np.ndarray
    u: np.ndarray


class Numbers(NamedTuple):
    """Of a call, in float64.

    Attributes:
        reg, tau: entropy weight, and softness of the capacities, inf for hard ones.
        tol: L1 error of the capacities at which rounds end.
        k: bits per unit of cost.
        slack: see :func:`.fused.exponents`.
        demand: total of the pixels.
        lost_below: mass below which a supplier counts as lost.
    """

    reg: float
    tau: float
    tol: float
    k: float
    slack: float
    demand: float
    lost_below: float


@njit(error_model="numpy")
def center(suppliers: Suppliers, rows: Any, tau: float) -> None:
    """Shift soft potentials so that the capacities ``a exp(-f / tau)`` sum to the demand (the sum of ``a``)."""
    a, f = suppliers.a, suppliers.f
    low, total, mass = np.inf, 0.0, 0.0
    for i in rows:
        low = min(low, f[i])
    for i in rows:
        total += a[i] * math.exp((low - f[i]) / tau)
        mass += a[i]
    shift = tau * math.log(total / mass) - low
    for i in rows:
        f[i] += shift


@njit(error_model="numpy")
def update(suppliers: Suppliers, masses: Any, rows: Any, numbers: Numbers) -> tuple[float, bool]:
    """Eq. 11 (suppliers last): move ``f`` to where the masses meet the capacities.

    Masses are scaled to the total demand first, or the rounding of float32 would make all potentials drift.
    Lost suppliers are left alone and marked.

    Returns the L1 error of the capacities before, and whether any supplier is lost.
    """
    a, f, lost = suppliers.a, suppliers.f, suppliers.lost
    reg, tau, soft = numbers.reg, numbers.tau, math.isfinite(numbers.tau)
    total = 0.0
    for i in rows:
        total += masses[i]
    error, any_lost = 0.0, False
    for i in rows:
        suppliers.before[i] = f[i]
        masses[i] *= numbers.demand / total
        capacity = a[i] * math.exp(-f[i] / tau) if soft else a[i]
        error += abs(capacity - masses[i])
        lost[i] = masses[i] < numbers.lost_below
        any_lost |= lost[i]
        if not lost[i]:
            f[i] += reg * math.log(a[i] / masses[i])
            if soft:
                f[i] *= tau / (tau + reg)
    return error, any_lost


@njit(error_model="numpy")
def serial_rounds(
    costs: Costs, base: Base, ranges: Ranges, scratch: Scratch, suppliers: Suppliers, numbers: Numbers,
    parts: Any, limit: int, path: Any,
) -> tuple[int, float]:  # fmt: skip
    """Up to ``limit`` rounds on one thread; stop early at the tolerance or at a lost supplier.

    Compiled because of small problems, most of whose time the interpreter would take, were it to drive the rounds.

    ``parts`` is memory: (ranges, K) masses. The potentials around each round go to ``path``, (n, 2, K), as far as there
    is any. Returns the rounds made and the L1 error of the capacities before the last update.
    """
    error = np.inf
    for done in range(limit):
        if math.isfinite(numbers.tau):
            center(suppliers, costs.rows, numbers.tau)
        if exponents(suppliers.f, numbers.k, costs.rows, numbers.slack, suppliers.anchor, suppliers.u):
            for block in range(base.live_count.size):
                base.live_count[block] = -1
        for r in range(parts.shape[0]):
            for i in range(parts.shape[1]):  # loops, not array expressions: those take seconds to compile
                parts[r, i] = 0.0
        for r in range(ranges.first, ranges.last):  # the fused pass; a call of it would tell in small problems
            for number in range(ranges.bounds[r], ranges.bounds[r + 1]):
                block = block_of(costs.M, number)
                count = weigh(costs, suppliers.u, block, base, scratch)
                add_masses(base, scratch, block, count, r, parts)
        for i in costs.rows:
            for r in range(1, parts.shape[0]):
                parts[0, i] += parts[r, i]
        error, any_lost = update(suppliers, parts[0], costs.rows, numbers)
        if done < path.shape[0]:
            for i in range(path.shape[2]):
                path[done, 0, i], path[done, 1, i] = suppliers.before[i], suppliers.f[i]
        if error <= numbers.tol or any_lost:
            return done + 1, error
    return limit, error


class CpuRounds:
    """Sinkhorn's rounds for one problem; see :class:`..sinkhorn.Rounds`.

    Args:
        passes: over the costs, with a cut that tells suppliers who lost everything from those left out of blocks.
        a: (K,) capacities.
        reg: entropy weight.
        tau: softness of the capacities, inf for hard ones.
        tol: L1 error of the capacities before an update, over the demand, at which rounds end; negative for none.
        precise: compute in float64 even if M is float32.
        path: (n, 2, K) out: the potentials before and after each of the first n rounds.
    """

    def __init__(
        self, passes: CpuPasses, a: np.ndarray, reg: float, tau: float, tol: float, precise: bool, path: np.ndarray
    ) -> None:
        self.passes, self.precise, self.path, self.error = passes, precise, path, math.inf
        self._made = 0
        K, dtype = len(a), passes.dtype(precise)
        demand = float(passes.b.sum())
        lost_below = demand * 2.0 ** ((24.0 if dtype == np.float32 else 40.0) - passes.cut)
        self.numbers = Numbers(reg, tau, tol * demand, bits(reg), slack_of(dtype), demand, lost_below)
        self.suppliers = Suppliers(a, np.zeros(K), np.zeros(K), np.zeros(K, bool), passes.anchor, passes.u)

    def make(self, limit: int) -> int:
        """Rounds until somebody is lost where all are compiled together, else one."""
        suppliers, numbers, passes, made = self.suppliers, self.numbers, self.passes, 1
        if passes.serial:
            dtype = passes.dtype(self.precise)
            costs, base = passes.shared(dtype, numbers.reg)
            parts = np.empty((passes.ranges, len(suppliers.f)))
            rest = self.path[self._made :]
            made, self.error = serial_rounds(
                costs, base, passes.all, passes.scratch(dtype), suppliers, numbers, parts, limit, rest
            )
        else:
            if math.isfinite(numbers.tau):
                center(suppliers, passes.rows, numbers.tau)
            masses, _ = passes.masses(suppliers.f, numbers.reg, self.precise)
            self.error, _ = update(suppliers, masses, passes.rows, numbers)
        if suppliers.lost.any():
            self._find_lost()
        self._made += made
        for last in self.path[self._made - 1 : self._made]:
            last[:] = suppliers.before, suppliers.f
        return made

    def settled(self, made: int) -> bool:
        """Whether the last round began within the tolerance."""
        return self.error <= self.numbers.tol

    def _find_lost(self) -> None:
        """Move lost suppliers by the logarithms of their masses."""
        _, f, before, lost, *_ = self.suppliers
        wanted = np.flatnonzero(lost)
        logs = self.passes.log_masses(before, self.numbers.reg, wanted)
        found, logs = wanted[logs > -np.inf], logs[logs > -np.inf]
        log_a = np.log(self.suppliers.a[found])
        f[found] = supplier_potentials(before[found], log_a, logs, self.numbers.reg, self.numbers.tau)
        lost[:] = False
