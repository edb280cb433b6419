"""CPU kernels that read the cost matrix: one fused pass, exact log masses, and the final read-out.

Blocks of pixels (see :mod:`.blocks`) come in ranges, ``bounds[r]`` to ``bounds[r + 1]``, whose sums are kept
apart until the end: a call does the ranges ``first`` to ``last``, and however ranges are spread over threads, the
totals have the same bits. ``rows`` lists the suppliers that take part; others are never read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiled.jit import helper, njit
from .blocks import ANY_ORDER, BLOCK, LOWEST, Base, Scratch, add_links, add_masses, take_best, weigh
from .exp2 import VECTOR_MATH, exp2

_NEGLIGIBLE = 60.0  # bits behind the best at which a weight is lost to rounding in float64


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def fused_pass(
    M: Any, b: Any, u: Any, k: Any, rows: Any, cut: Any, base: Base,
    bounds: Any, first: int, last: int, scratch: Scratch, masses: Any, links: Any,
) -> None:  # fmt: skip
    """Add to ``masses`` what each supplier would send if every pixel's marginal held exactly (Eq. 10).

    One exponential per entry and no logarithm: exponents are taken against ``base.level``, the largest one when
    it was last renewed, and suppliers that were more than ``cut`` bits below it all over a block are not read.
    Both stay valid while no entry of ``u`` has risen against another by more than the slack that the caller counted
    into ``cut``.

    Args:
        M: (K, N) costs.
        b: (N,) demand, in the dtype of the arithmetic, as are ``k`` and ``cut``.
        u: (K,) exponents of the suppliers, float64.
        k: bits per unit of cost.
        rows: suppliers that take part.
        cut: bits behind the best beyond which a supplier is left out of a block.
        base: see :class:`Base`.
        bounds, first, last: blocks of each range, and the ranges to do.
        scratch: see :class:`Scratch`.
        masses: (ranges, K) float64, added to.
        links: (ranges, K, K) float64, lower triangles added to: sum_j b_j p_ij p_kj; none are
            taken where it is empty.
    """
    pixels = np.uint64(M.shape[1])
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, pixels)
            count = weigh(M, b, u, k, rows, cut, base, block, start, stop, scratch)
            add_masses(base, scratch, block, count, stop - start, r, masses)
            if links.size > 0:
                add_links(b, base, scratch, block, count, start, stop, r, links)


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def log_masses(
    M: Any, b: Any, u: Any, k: float, rows: Any, wanted: Any, base: Base,
    bounds: Any, first: int, last: int, scratch: Scratch, top: Any, rest: Any,
) -> None:  # fmt: skip
    """The same masses as logarithms, for suppliers so far behind that they underflow or were left out.

    Args:
        M: (K, N) costs.
        b, u, k, rows: as for :func:`fused_pass`, in float64.
        wanted: suppliers whose mass is needed.
        base: new, in float64; spoilt.
        bounds, first, last: blocks of each range, and the ranges to do.
        scratch: in float64.
        top, rest: (ranges, len(wanted)) running result: the mass is ``rest * 2**top``. Start with -inf and 0.
    """
    g, share = base.level, scratch.share
    pixels = np.uint64(M.shape[1])
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, pixels)
            weigh(M, b, u, k, rows, _NEGLIGIBLE, base, block, start, stop, scratch)
            for j in range(start, stop):
                g[j] = math.log2(share[j - start]) - g[j] if b[j] > 0 else -np.inf
            for p in range(wanted.size):
                i = wanted[p]
                high = top[r, p]
                for j in range(start, stop):
                    share[j - start] = (u[i] - M[i, j] * k) + g[j]
                    high = max(high, share[j - start])
                if high < LOWEST:
                    continue
                rest[r, p] *= exp2(top[r, p] - high)
                for j in range(stop - start):
                    rest[r, p] += exp2(share[j] - high)
                top[r, p] = high


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _add_costs(
    M: Any, base: Base, scratch: Scratch, block: int, count: int, start: int, stop: int, part: int, sums: Any
) -> None:
    """Add <plan, M> of a block, whose plan is ``weights * share``, to ``sums[part, 0]``."""
    total = 0.0
    for p in range(count):
        i = base.live[block, p]
        for j in range(start, stop):
            cost = M[i, j] if M[i, j] < np.inf else 0.0
            total += scratch.weights[p, j - start] * scratch.share[j - start] * cost
    sums[part, 0] += total


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def read_out(
    M: Any, b: Any, u_before: Any, u: Any, moved: bool, k: float, rows: Any, f: Any, base: Base,
    bounds: Any, first: int, last: int, scratch: Scratch, labels: Any, masses: Any, sums: Any,
) -> None:  # fmt: skip
    """Potentials of the pixels, labels, marginals and cost, in float64 and without storing the plan.

    Args:
        M: (K, N) costs.
        b: (N,) demand, float64.
        u_before: (K,) exponents of the suppliers from which the pixels' potentials follow (Eq. 10).
        u: (K,) exponents of the plan.
        moved: they differ.
        k: bits per unit of cost.
        rows: suppliers that take part.
        f: (K,) potentials of the plan.
        base: new, in float64; its level is left holding the pixels' potentials times ``k``, -inf at zero demand.
        bounds, first, last: blocks of each range, and the ranges to do.
        scratch: in float64.
        labels: (N,) out: argmax of f - M, the smallest index of a tie, 0 where nothing is finite.
        masses: (ranges, K) added to: row sums of the plan.
        sums: (ranges, 2) added to: ``<plan, M>`` and the L1 error of the column sums.
    """
    g, share = base.level, scratch.share
    pixels = np.uint64(M.shape[1])
    for r in range(first, last):
        for block in range(bounds[r], bounds[r + 1]):
            start = block * BLOCK
            stop = min(start + BLOCK, pixels)
            take_best(M, f, rows, start, stop, g, labels)
            count = weigh(M, b, u_before, k, rows, _NEGLIGIBLE, base, block, start, stop, scratch)
            for j in range(start, stop):
                g[j] = math.log2(share[j - start]) - g[j] if b[j] > 0 else -np.inf
            if moved and count > 0:
                count = rows.size
                base.live_count[block] = count
                for p in range(count):
                    base.live[block, p] = rows[p]
                for j in range(start, stop):
                    g[j] = -g[j]
                weigh(M, b, u, k, rows, _NEGLIGIBLE, base, block, start, stop, scratch)
                for j in range(start, stop):
                    g[j] = -g[j]
                    if b[j] > 0:  # share is demand / column sum
                        sums[r, 1] += abs(b[j] / share[j - start] - b[j])
                        share[j - start] = 1.0
            add_masses(base, scratch, block, count, stop - start, r, masses)
            _add_costs(M, base, scratch, block, count, start, stop, r, sums)
