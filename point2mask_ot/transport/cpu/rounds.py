"""Sinkhorn rounds around the fused pass, compiled so that small problems do not wait for the interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiled.jit import njit
from .blocks import BLOCK, Base, Scratch, add_masses, weigh

LN2 = math.log(2.0)


@njit(error_model="numpy")
def exponents(f: Any, k: float, rows: Any, slack: float, anchor: Any, u: Any) -> bool:
    """Fill ``u`` for a pass at ``f`` and say whether the base must be renewed.

    Between renewals the smallest rise since the last one is taken out, so that exponents against the base lie
    between 0 (at the supplier that led then) and ``slack``.

    Args:
        f: (K,) potentials.
        k: bits per unit of cost.
        rows: suppliers that take part.
        slack: bits by which one supplier may rise against another before the base must be renewed.
        anchor: (K,) exponents at the last renewal, updated; NaN before the first.
        u: (K,) out: exponents of the coming pass.
    """
    low, high = np.inf, -np.inf
    for i in rows:
        rise = f[i] * k - anchor[i]
        low, high = min(low, rise), max(high, rise)
    renewed = math.isnan(anchor[rows[0]]) or high - low > slack
    mean = 0.0  # of the anchor, taken out lest large potentials cost float32 its last bits
    for i in rows:
        if renewed:
            anchor[i] = f[i] * k
        mean += anchor[i] / rows.size
    for i in rows:
        u[i] = f[i] * k - mean - (0.0 if renewed else low)
    return renewed


@njit(error_model="numpy")
def center(f: Any, a: Any, tau: float, rows: Any) -> None:
    """Shift soft potentials so that the capacities ``a exp(-f / tau)`` sum to the demand (the sum of ``a``)."""
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
def update_suppliers(
    f: Any, masses: Any, demand: float, a: Any, reg: float, tau: float, rows: Any, lost_below: float, lost: Any
) -> tuple[float, bool]:
    """Eq. 11 (suppliers last): move ``f`` to where the masses meet the capacities.

    Masses are scaled to the total ``demand`` first, or the rounding of float32 would make all potentials drift.
    Suppliers whose mass is below ``lost_below`` are left alone and marked in ``lost``.

    Returns the L1 error of the capacities before, and whether any supplier is lost.
    """
    total = 0.0
    for i in rows:
        total += masses[i]
    error, any_lost = 0.0, False
    soft = math.isfinite(tau)
    for i in rows:
        masses[i] *= demand / total
        capacity = a[i] * math.exp(-f[i] / tau) if soft else a[i]
        error += abs(capacity - masses[i])
        lost[i] = masses[i] < lost_below
        any_lost |= lost[i]
        if not lost[i]:
            f[i] += reg * math.log(a[i] / masses[i])
            if soft:
                f[i] *= tau / (tau + reg)
    return error, any_lost


@njit(error_model="numpy")
def rounds(
    M: Any, b: Any, a: Any, k: float, reg: float, tau: float, tol: float, rows: Any, base: Base, anchor: Any, u: Any,
    cut: Any, slack: float, bounds: Any, scratch: Scratch, parts: Any,
    f: Any, f_before: Any, demand: float, lost_below: float, lost: Any, limit: int,
) -> tuple[int, float]:  # fmt: skip
    """Up to ``limit`` rounds on one thread; stop early at an error of ``tol`` or at a lost supplier.

    ``parts`` is memory for the masses of each range; the other arguments are those of :func:`.fused.fused_pass`,
    :func:`exponents` and :func:`update_suppliers`.

    Returns the rounds made and the L1 error of the capacities before the last update.
    """
    bits = base.level.dtype.type(k)
    pixels = np.uint64(M.shape[1])
    error = np.inf
    for done in range(limit):
        if math.isfinite(tau):
            center(f, a, tau, rows)
        if exponents(f, k, rows, slack, anchor, u):
            for block in range(base.live_count.size):
                base.live_count[block] = -1
        for r in range(parts.shape[0]):
            for i in range(parts.shape[1]):  # loops, not array expressions: those take seconds to compile
                parts[r, i] = 0.0
            for block in range(bounds[r], bounds[r + 1]):
                start = block * BLOCK
                stop = min(start + BLOCK, pixels)
                count = weigh(M, b, u, bits, rows, cut, base, block, start, stop, scratch)
                add_masses(base, scratch, block, count, stop - start, r, parts)
        for i in rows:
            f_before[i] = f[i]
            for r in range(1, parts.shape[0]):
                parts[0, i] += parts[r, i]
        error, any_lost = update_suppliers(f, parts[0], demand, a, reg, tau, rows, lost_below, lost)
        if error <= tol or any_lost:
            return done + 1, error
    return limit, error
