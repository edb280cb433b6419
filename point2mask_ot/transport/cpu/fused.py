"""CPU kernels that read the cost matrix: one fused pass, exact log masses, and the final read-out.

Blocks of pixels (see :mod:`.blocks`) come in ranges, whose sums are kept apart until the end: however ranges are
spread over threads, the totals have the same bits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import helper, njit
from .blocks import (
    ANY_ORDER,
    LOWEST,
    Base,
    Block,
    Costs,
    Ranges,
    Scratch,
    add_links,
    add_masses,
    block_of,
    take_best,
    weigh,
)
from .exp2 import VECTOR_MATH, exp2

NEGLIGIBLE = 60.0
"""Bits behind the best at which a weight is lost to rounding in float64."""


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


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def fused_pass(costs: Costs, u: Any, base: Base, ranges: Ranges, scratch: Scratch, masses: Any, links: Any) -> None:
    """Add to ``masses`` what each supplier would send if every pixel's marginal held exactly (Eq. 10).

    One exponential per entry and no logarithm: exponents are taken against ``base.level``, the largest one when
    it was last renewed, and suppliers that were more than ``cut`` bits below it all over a block are not read.
    Both stay valid while no entry of ``u`` has risen against another by more than the slack that the caller counted
    into ``cut``.

    Args:
        costs: see :class:`Costs`.
        u: (K,) exponents of the suppliers, float64.
        base: see :class:`Base`.
        ranges: see :class:`Ranges`.
        scratch: see :class:`Scratch`.
        masses: (ranges, K) float64, added to.
        links: (ranges, K, K) float64, lower triangles added to: sum_j b_j p_ij p_kj; none are
            taken where it is empty.
    """
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            count = weigh(costs, u, block, base, scratch)
            add_masses(base, scratch, block, count, r, masses)
            if links.size > 0:
                add_links(costs.b, base, scratch, block, count, r, links)


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def log_masses(
    costs: Costs, u: Any, wanted: Any, base: Base, ranges: Ranges, scratch: Scratch, top: Any, rest: Any
) -> None:
    """The same masses as logarithms, for suppliers so far behind that they underflow or were left out.

    Args:
        costs: in float64, with a cut of :data:`NEGLIGIBLE`.
        u: (K,) exponents of the suppliers.
        wanted: suppliers whose mass is needed.
        base: new, in float64; spoilt.
        ranges: see :class:`Ranges`.
        scratch: in float64.
        top, rest: (ranges, len(wanted)) running result: the mass is ``rest * 2**top``. Start with -inf and 0.
    """
    M, k, g, share = costs.M, costs.k, base.level, scratch.share
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            start, stop = block.start, block.stop
            weigh(costs, u, block, base, scratch)
            _level(costs.b, block, share, g)
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


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def _level(b: Any, block: Block, share: Any, g: Any) -> None:
    """Turn the level of a block's base into the potentials of its pixels, in bits."""
    for j in range(block.start, block.stop):
        g[j] = math.log2(share[j - block.start]) - g[j] if b[j] > 0 else -np.inf


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _cost(M: Any, base: Base, scratch: Scratch, block: Block, count: int) -> float:
    """<plan, M> of a block, whose plan is ``weights * share``."""
    total = 0.0
    for p in range(count):
        i = base.live[block.number, p]
        for j in range(block.start, block.stop):
            cost = M[i, j] if M[i, j] < np.inf else 0.0
            total += scratch.weights[p, j - block.start] * scratch.share[j - block.start] * cost
    return total


class Move(NamedTuple):
    """The last update of the suppliers.

    Attributes:
        u_before: (K,) exponents from which the pixels' potentials follow (Eq. 10).
        u: (K,) exponents of the plan.
        f: (K,) potentials of the plan.
        moved: potentials differ from those before.
    """

    u_before: np.ndarray
    u: np.ndarray
    f: np.ndarray
    moved: bool


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def read_out(
    costs: Costs, move: Move, base: Base, ranges: Ranges, scratch: Scratch, labels: Any, masses: Any, sums: Any
) -> None:
    """Potentials of the pixels, labels, marginals and cost, in float64 and without storing the plan.

    Args:
        costs: in float64, with a cut of :data:`NEGLIGIBLE`.
        move: see :class:`Move`.
        base: new, in float64; its level is left holding the pixels' potentials times ``k``, -inf at zero demand.
        ranges: see :class:`Ranges`.
        scratch: in float64.
        labels: (N,) out: argmax of f - M, the smallest index of a tie, 0 where nothing is finite.
        masses: (ranges, K) added to: row sums of the plan.
        sums: (ranges, 2) added to: ``<plan, M>`` and the L1 error of the column sums.
    """
    b, rows, g, share = costs.b, costs.rows, base.level, scratch.share
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            take_best(costs.M, rows, move.f, block, g, labels)
            count = weigh(costs, move.u_before, block, base, scratch)
            _level(b, block, share, g)
            if move.moved and count > 0:
                count = rows.size
                base.live_count[index] = count
                for p in range(count):
                    base.live[index, p] = rows[p]
                for j in range(block.start, block.stop):
                    g[j] = -g[j]
                weigh(costs, move.u, block, base, scratch)
                for j in range(block.start, block.stop):
                    g[j] = -g[j]
                    if b[j] > 0:  # share is demand / column sum
                        sums[r, 1] += abs(b[j] / share[j - block.start] - b[j])
                        share[j - block.start] = 1.0
            add_masses(base, scratch, block, count, r, masses)
            sums[r, 0] += _cost(costs.M, base, scratch, block, count)
