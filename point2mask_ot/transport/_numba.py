"""CPU kernels that read the cost matrix: one fused pass, exact log masses, and the final read-out.

All of them work on blocks of 128 pixels, so that what a block needs stays in the fastest cache. Blocks come in
ranges, ``bounds[r]`` to ``bounds[r + 1]``, whose sums are kept apart until the end: a call does the ranges
``first`` to ``last``, and however ranges are spread over threads, the totals have the same bits.

Exponents are in bits: with ``k = 1 / (reg ln 2)`` and ``u = f k``, entry (i, j) weighs ``2**(u[i] - M[i, j] k)``
before its pixel's marginal is enforced. ``rows`` lists the suppliers that take part; others are never read.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._jit import njit
from ._exp2 import VECTOR_MATH, exp2

BLOCK = 128
_LOWEST = -3e38  # below every exponent, and finite in float32 too: infinity minus infinity never happens
_NEGLIGIBLE = 60.0  # bits behind the best at which a weight is lost to rounding in float64
_ANY_ORDER = VECTOR_MATH | {"reassoc"}


class Base(NamedTuple):
    """What passes at one ``reg`` share: exponents are taken against those of the last renewal.

    Attributes:
        level: (N,) each pixel's largest exponent then, in the dtype of the arithmetic.
        live: (blocks, K) suppliers to be read in each block.
        live_count: (blocks,) their number.
        anchor: (K,) exponents of the suppliers then, float64; NaN before the first renewal.
        offset: (1,) constant taken out of them then.
        u: (K,) exponents of the coming pass, in the dtype of the arithmetic.
    """

    level: np.ndarray
    live: np.ndarray
    live_count: np.ndarray
    anchor: np.ndarray
    offset: np.ndarray
    u: np.ndarray


@njit(fastmath=VECTOR_MATH)
def _raise_to(best: Any, cost: Any, u: Any, k: Any) -> None:
    for j in range(best.size):
        t = u - cost[j] * k
        best[j] = t if t > best[j] else best[j]


@njit(fastmath=VECTOR_MATH)
def _highest(cost: Any, u: Any, k: Any, base: Any, lowest: Any) -> Any:
    high = lowest
    for j in range(base.size):
        t = (u - cost[j] * k) - base[j]
        high = t if t > high else high
    return high


@njit(fastmath=VECTOR_MATH)
def _weigh(cost: Any, u: Any, k: Any, base: Any, weights: Any, total: Any) -> None:
    for j in range(base.size):
        e = exp2((u - cost[j] * k) - base[j])
        weights[j] = e
        total[j] += e


@njit(fastmath=_ANY_ORDER)
def _dot(x: Any, y: Any, zero: Any) -> Any:
    total = zero
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@njit(fastmath=VECTOR_MATH)
def _renew(M: Any, u: Any, k: Any, rows: Any, cut: Any, start: int, level: Any, live: Any) -> int:
    """Set ``level`` to each pixel's largest exponent; list the suppliers within ``cut`` bits of it somewhere."""
    stop = start + level.size
    lowest = level.dtype.type(_LOWEST)
    level[:] = lowest
    for i in rows:
        _raise_to(level, M[i, start:stop], u[i], k)
    count = 0
    for i in rows:
        if _highest(M[i, start:stop], u[i], k, level, lowest) > -cut:
            live[count] = i
            count += 1
    return count


@njit(fastmath=VECTOR_MATH)
def _add_links(weights: Any, live: Any, scale: Any, skip: int, stride: int, links: Any) -> None:
    """Add sum_j b_j p_ij p_kj over every ``stride``-th pixel; ``scale`` holds sqrt(b_j) / s_j."""
    size = (scale.size - skip + stride - 1) // stride
    zero = scale.dtype.type(0)
    for p in range(live.size):
        for j in range(size):
            weights[p, j] = weights[p, skip + j * stride] * scale[skip + j * stride]
    for p in range(1, live.size):
        for q in range(p):
            links[live[p], live[q]] += stride * _dot(weights[p, :size], weights[q, :size], zero)


@njit(fastmath=VECTOR_MATH)
def fused_pass(
    M: Any, b: Any, k: Any, rows: Any, base: Base, renew: bool, cut: Any, stride: int,
    bounds: Any, first: int, last: int, masses: Any, links: Any,
) -> None:  # fmt: skip
    """Add to ``masses`` what each supplier would send if every pixel's marginal held exactly (Eq. 10).

    One exponential per entry and no logarithm: exponents are taken against ``base.level``, the largest one when
    it was last renewed, and suppliers that were more than ``cut`` bits below it all over a block are not read.
    Both stay valid while no ``base.u`` has risen against another by more than the slack that the caller counted
    into ``cut``.

    Args:
        M: (K, N) costs.
        b: (N,) demand, in the dtype of the arithmetic, as are ``k`` and ``cut``.
        k: bits per unit of cost.
        rows: suppliers that take part.
        base: see :class:`Base`.
        renew: renew the level and the live suppliers first.
        cut: bits behind the best beyond which a supplier is left out of a block.
        stride: use every ``stride``-th pixel for ``links``; 0 for none.
        bounds, first, last: blocks of each range, and the ranges to do.
        masses: (ranges, K) float64, added to.
        links: (ranges, K, K) float64, lower triangles added to: sum_j b_j p_ij p_kj.
    """
    u, live, count = base.u, base.live, base.live_count
    weights = np.empty((M.shape[0], BLOCK), u.dtype)
    total = np.empty(BLOCK, u.dtype)
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, M.shape[1])
            demand, level = b[start:stop], base.level[start:stop]
            if renew:
                count[block] = _renew(M, u, k, rows, cut, start, level, live[block]) if demand.any() else 0
            alive, share = live[block, : count[block]], total[: stop - start]
            if alive.size == 0:
                continue
            share[:] = 0
            for p in range(alive.size):
                i = alive[p]
                _weigh(M[i, start:stop], u[i], k, level, weights[p, : share.size], share)
            for j in range(share.size):
                share[j] = demand[j] / share[j]
            for p in range(alive.size):
                masses[r, alive[p]] += _dot(weights[p, : share.size], share, level.dtype.type(0))
            if stride > 0:
                for j in range(share.size):
                    share[j] = share[j] / math.sqrt(demand[j]) if demand[j] > 0 else share[j]
                _add_links(weights, alive, share, block % stride, stride, links[r])


@njit(fastmath=VECTOR_MATH)
def _accumulate(cost: Any, u: Any, k: Any, base: Any, total: Any) -> None:
    for j in range(base.size):
        total[j] += exp2((u - cost[j] * k) - base[j])


@njit(fastmath=VECTOR_MATH)
def _normalise(M: Any, u: Any, k: float, rows: Any, start: int, base: Any, total: Any) -> None:
    """``base`` and ``total`` such that a pixel's weights sum to ``total * 2**base``, to float64 rounding."""
    stop = start + base.size
    base[:] = _LOWEST
    total[:] = 0.0
    for i in rows:
        _raise_to(base, M[i, start:stop], u[i], k)
    for i in rows:
        if _highest(M[i, start:stop], u[i], k, base, _LOWEST) > -_NEGLIGIBLE:
            _accumulate(M[i, start:stop], u[i], k, base, total)


@njit(fastmath=VECTOR_MATH)
def log_masses(
    M: Any, log_b: Any, u: Any, k: float, rows: Any, wanted: Any,
    bounds: Any, first: int, last: int, top: Any, rest: Any,
) -> None:  # fmt: skip
    """The same masses as logarithms, for suppliers so far behind that they underflow or were left out.

    Args:
        M: (K, N) costs.
        log_b: (N,) log2 of the demand, float64.
        u, k, rows: as for :func:`fused_pass`, in float64.
        wanted: suppliers whose mass is needed.
        bounds, first, last: blocks of each range, and the ranges to do.
        top, rest: (ranges, len(wanted)) running result: the mass is ``rest * 2**top``. Start with -inf and 0.
    """
    bases, totals, scores = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, M.shape[1])
            base, total, score = bases[: stop - start], totals[: stop - start], scores[: stop - start]
            _normalise(M, u, k, rows, start, base, total)
            for j in range(base.size):
                demanded = log_b[start + j] > _LOWEST
                base[j] = log_b[start + j] - base[j] - math.log2(total[j]) if demanded else -np.inf
            for p in range(wanted.size):
                i = wanted[p]
                high = top[r, p]
                for j in range(base.size):
                    score[j] = (u[i] - M[i, start + j] * k) + base[j]
                    high = max(high, score[j])
                if high < _LOWEST:
                    continue
                rest[r, p] *= exp2(top[r, p] - high)
                for j in range(base.size):
                    rest[r, p] += exp2(score[j] - high)
                top[r, p] = high


@njit(fastmath=VECTOR_MATH)
def read_out(
    M: Any, b: Any, f_before: Any, f: Any, k: float, rows: Any, bounds: Any, first: int, last: int,
    g: Any, labels: Any, masses: Any, sums: Any,
) -> None:  # fmt: skip
    """Potentials of the pixels, labels, marginals and cost, in float64 and without storing the plan.

    Args:
        M: (K, N) costs.
        b: (N,) demand, float64.
        f_before: (K,) potentials from which ``g`` follows (Eq. 10).
        f: (K,) potentials of the plan (equal to ``f_before`` where the pixels were updated last).
        k: bits per unit of cost.
        rows: suppliers that take part.
        bounds, first, last: blocks of each range, and the ranges to do.
        g: (N,) out: potentials times ``k``; -inf at zero demand.
        labels: (N,) out: argmax of f - M, the smallest index of a tie, 0 where nothing is finite.
        masses: (ranges, K) added to: row sums of the plan.
        sums: (ranges, 2) added to: ``<plan, M>`` and the L1 error of the column sums.
    """
    bases, totals, best, entries = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    u = f_before * k
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, M.shape[1])
            base, total, top, moved = (
                bases[: stop - start],
                totals[: stop - start],
                best[: stop - start],
                entries[: stop - start],
            )
            _normalise(M, u, k, rows, start, base, total)
            for j in range(base.size):
                demand = b[start + j]
                g[start + j] = math.log2(demand / total[j]) - base[j] if demand > 0 else -np.inf
            total[:] = 0.0
            top[:] = -np.inf
            labels[start:stop] = 0
            for i in rows:
                cost = M[i, start:stop]
                take_best(cost, f[i], i, top, labels[start:stop])
                if _move(cost, f[i], k, g[start:stop], moved):
                    for j in range(total.size):
                        total[j] += moved[j]
                    masses[r, i] += _sum(moved)
                    sums[r, 0] += _finite_dot(moved, cost)
            for j in range(base.size):
                sums[r, 1] += abs(total[j] - b[start + j])


@njit(fastmath=VECTOR_MATH)
def take_best(cost: Any, f: float, i: int, best: Any, owner: Any) -> None:
    """Enter supplier i where its f - M beats the best so far."""
    for j in range(best.size):
        score = f - cost[j]
        better = score > best[j]
        best[j] = score if better else best[j]
        owner[j] = i if better else owner[j]


@njit(fastmath=VECTOR_MATH)
def _move(cost: Any, f: float, k: float, g: Any, moved: Any) -> bool:
    """Fill ``moved`` with a row of the plan; False, and nothing filled in, where all of it is negligible."""
    high = _LOWEST
    for j in range(g.size):
        t = (f - cost[j]) * k + g[j]
        high = t if t > high else high
    if high < -2 * _NEGLIGIBLE:
        return False
    for j in range(g.size):
        moved[j] = exp2((f - cost[j]) * k + g[j])
    return True


@njit(fastmath=_ANY_ORDER)
def _sum(x: Any) -> float:
    total = 0.0
    for j in range(x.size):
        total += x[j]
    return total


@njit(fastmath=_ANY_ORDER)
def _finite_dot(x: Any, cost: Any) -> float:
    total = 0.0
    for j in range(x.size):
        total += x[j] * (cost[j] if cost[j] < np.inf else 0.0)
    return total
