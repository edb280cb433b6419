"""Sinkhorn rounds around the fused pass, compiled so that small problems do not wait for the interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._jit import njit
from ._numba import Base, fused_pass

LN2 = math.log(2.0)


@njit()
def exponents(f: Any, k: float, rows: Any, slack: float, base: Base) -> bool:
    """Fill ``base.u`` for a pass at ``f`` and say whether the base must be renewed.

    Between renewals the smallest rise since the last one is taken out, so that exponents against the base lie
    between 0 (at the supplier that led then) and ``slack``.

    Args:
        f: (K,) potentials.
        k: bits per unit of cost.
        rows: suppliers that take part.
        slack: bits by which one supplier may rise against another before the base must be renewed.
        base: its anchor and offset are updated as well.
    """
    anchor, offset = base.anchor, base.offset
    low, high = np.inf, -np.inf
    for i in rows:
        rise = f[i] * k - anchor[i]
        low, high = min(low, rise), max(high, rise)
    renew = math.isnan(anchor[rows[0]]) or high - low > slack
    if renew:
        low = 0.0
        offset[0] = 0.0
        for i in rows:
            anchor[i] = f[i] * k
            offset[0] += anchor[i] / rows.size
    for i in rows:
        base.u[i] = f[i] * k - offset[0] - low
    return renew


@njit()
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


@njit()
def update_suppliers(
    f: Any, masses: Any, a: Any, reg: float, tau: float, rows: Any, lost_below: float, lost: Any
) -> float:
    """Eq. 11 (suppliers last): move ``f`` to where the masses meet the capacities; return the L1 error before.

    Suppliers whose mass is below ``lost_below`` are left alone and marked in ``lost``.
    """
    error = 0.0
    soft = math.isfinite(tau)
    for i in rows:
        capacity = a[i] * math.exp(-f[i] / tau) if soft else a[i]
        error += abs(capacity - masses[i])
        lost[i] = masses[i] < lost_below
        if not lost[i]:
            f[i] += reg * math.log(a[i] / masses[i])
            if soft:
                f[i] *= tau / (tau + reg)
    return error


@njit()
def rounds(
    M: Any, b: Any, a: Any, reg: float, tau: float, tol: float, rows: Any, base: Base, cut: Any, slack: float,
    bounds: Any, f: Any, f_before: Any, lost_below: float, lost: Any, limit: int,
) -> tuple[int, float]:  # fmt: skip
    """Up to ``limit`` rounds on one thread; stop early at an error of ``tol`` or at a lost supplier.

    Returns the rounds made and the L1 error of the capacities before the last update.
    """
    K = f.size
    ranges = bounds.size - 1
    no_links = np.empty((ranges, 0, 0))
    bits = base.u.dtype.type(1.0 / (reg * LN2))
    error = np.inf
    for done in range(limit):
        if math.isfinite(tau):
            center(f, a, tau, rows)
        renew = exponents(f, 1.0 / (reg * LN2), rows, slack, base)
        parts = np.zeros((ranges, K))
        fused_pass(M, b, bits, rows, base, renew, cut, 0, bounds, 0, ranges, parts, no_links)
        masses = np.zeros(K)
        for i in rows:  # loops, not array expressions: those take seconds to compile
            f_before[i] = f[i]
            for r in range(ranges):
                masses[i] += parts[r, i]
        error = update_suppliers(f, masses, a, reg, tau, rows, lost_below, lost)
        if error <= tol or lost.any():
            return done + 1, error
    return limit, error
