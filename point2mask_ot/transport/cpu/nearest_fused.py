"""CPU kernels that read block-sparse costs: the counterparts of :mod:`.fused`.

A block knows the few suppliers that matter to it, so nothing is kept between passes: its largest exponents are found
anew each time, from costs that the next loop finds in the fastest cache.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import helper, njit
from .blocks import ANY_ORDER, LOWEST, Ranges
from .exp2 import VECTOR_MATH, exp2

_LINKED = 2.0**-24  # of a block's largest: what a pair that weighs less adds to the Hessian shortens no step


class NearCosts(NamedTuple):
    """What a pass reads.

    Attributes:
        first, supplier, cost: of :class:`...nearest.costs.NearestCosts`; a block may have any number of lanes.
        b: (B, lanes) demand, in the dtype of the arithmetic, as are the numbers.
        k: bits per unit of cost.
        cut: bits behind a pixel's best supplier beyond which one is left out of a block, if it is so all over it.
    """

    first: np.ndarray
    supplier: np.ndarray
    cost: np.ndarray
    b: np.ndarray
    k: Any
    cut: Any


class NearScratch(NamedTuple):
    """Memory for one block, of one thread, which it may fill with its largest number of entries.

    Attributes:
        exponents, weights: (most, lanes) in the dtype of the arithmetic.
        level, share: (lanes,) likewise.
        mass: (most,) likewise, what the rows of the weights send.
        entry: (most,) int64, entries of the rows of the weights.
        linked: (most,) int64, rows of the weights.
        slot: (K,) int64.
    """

    exponents: np.ndarray
    weights: np.ndarray
    level: np.ndarray
    share: np.ndarray
    mass: np.ndarray
    entry: np.ndarray
    linked: np.ndarray
    slot: np.ndarray


class Neighbours(NamedTuple):
    """Pairs of suppliers that share a block: those of i with ``other[first[i]:first[i + 1]]``, all below i."""

    first: np.ndarray
    other: np.ndarray


@njit(error_model="numpy")
def count_neighbours(first: Any, supplier: Any, by_first: Any, by_block: Any, index: Any, starts: Any) -> None:
    """Fill the starts of :class:`Neighbours`, and the index too unless it is empty.

    Args:
        first, supplier: of the costs.
        by_first, by_block: blocks of each supplier, as the entries of each block are kept.
        index: out.
        starts: (K + 1,) out.
    """
    number, seen = 0, np.full(starts.size - 1, -1)
    for i in range(starts.size - 1):
        starts[i] = number
        for at in range(by_first[i], by_first[i + 1]):
            block = by_block[at]
            for e in range(first[block], first[block + 1]):
                other = supplier[e]
                if other >= i:
                    break
                if seen[other] != i:
                    seen[other] = i
                    if index.size > 0:
                        index[number] = other
                    number += 1
    starts[starts.size - 1] = number


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def _weigh(costs: NearCosts, u: Any, n: int, scratch: NearScratch) -> int:
    """Weights of the suppliers of a block, each pixel's demand over their total, and its largest exponent.

    Exponents are taken against that of the block's first supplier, lest large potentials cost float32 its last bits.

    Returns:
        The number of suppliers that weigh anything; all others are left out.
    """
    cost, k, level, share, entry = costs.cost, costs.k, scratch.level, scratch.share, scratch.entry
    exponents, weights = scratch.exponents, scratch.weights
    lanes, count, base = np.uint64(level.size), 0, 0.0
    demanded = False
    for j in range(lanes):
        level[j] = LOWEST
        share[j] = 0
        demanded |= costs.b[n, j] > 0
    if not demanded:
        return 0
    for e in range(costs.first[n], costs.first[n + 1]):
        offered = u[costs.supplier[e]]
        if offered == -np.inf:
            continue
        base = offered if count == 0 else base
        score = level.dtype.type(offered - base)
        for j in range(lanes):
            t = score - cost[e, j] * k
            exponents[count, j] = t
            level[j] = t if t > level[j] else level[j]
        entry[count] = e
        count += 1
    kept = 0
    for p in range(count):
        near = False
        for j in range(lanes):
            near |= exponents[p, j] - level[j] > -costs.cut
        if near:
            for j in range(lanes):
                weight = exp2(exponents[p, j] - level[j])
                weights[kept, j] = weight
                share[j] += weight
            entry[kept] = entry[p]
            kept += 1
    for j in range(lanes):
        share[j] = costs.b[n, j] / share[j] if costs.b[n, j] > 0 else 0
    return kept


@helper(error_model="numpy")
def _base(costs: NearCosts, u: Any, n: int) -> float:
    """The exponent that those of a block are taken against."""
    for e in range(costs.first[n], costs.first[n + 1]):
        if u[costs.supplier[e]] > -np.inf:
            return u[costs.supplier[e]]  # type: ignore[no-any-return]
    return 0.0


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _add_masses(costs: NearCosts, scratch: NearScratch, count: int, part: int, masses: Any) -> None:
    """Add to ``masses[part]`` what each supplier sends: its weights times ``share``."""
    weights, share = scratch.weights, scratch.share
    for p in range(count):
        mass = weights.dtype.type(0)
        for j in range(np.uint64(share.size)):
            mass += weights[p, j] * share[j]
        masses[part, costs.supplier[scratch.entry[p]]] += mass
        scratch.mass[p] = mass


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _add_links(
    costs: NearCosts, n: int, pairs: Neighbours, scratch: NearScratch, count: int, part: int, links: Any
) -> None:
    """Add sum_j b_j p_ij p_kj of the block to ``links[part]``, where neither is negligible. Spoils the scratch."""
    weights, share, linked, slot = scratch.weights, scratch.share, scratch.linked, scratch.slot
    lanes = np.uint64(share.size)
    for j in range(lanes):
        share[j] = share[j] / math.sqrt(costs.b[n, j]) if share[j] > 0 else 0
    largest = weights.dtype.type(0)
    for p in range(count):
        largest = max(largest, scratch.mass[p])
        for j in range(lanes):
            weights[p, j] *= share[j]
    for s in range(count):
        least = largest * _LINKED * largest / scratch.mass[s]
        i, number = costs.supplier[scratch.entry[s]], 0
        for t in range(s):
            linked[number] = t
            number += scratch.mass[t] > least
        if number > 0:
            for at in range(pairs.first[i], pairs.first[i + 1]):
                slot[pairs.other[at]] = at
        t = 0
        while t + 4 <= number:  # four at once, for which a row is read once
            q0, q1, q2, q3 = linked[t], linked[t + 1], linked[t + 2], linked[t + 3]
            link0 = link1 = link2 = link3 = weights.dtype.type(0)
            for j in range(lanes):
                link0 += weights[s, j] * weights[q0, j]
                link1 += weights[s, j] * weights[q1, j]
                link2 += weights[s, j] * weights[q2, j]
                link3 += weights[s, j] * weights[q3, j]
            links[part, slot[costs.supplier[scratch.entry[q0]]]] += link0
            links[part, slot[costs.supplier[scratch.entry[q1]]]] += link1
            links[part, slot[costs.supplier[scratch.entry[q2]]]] += link2
            links[part, slot[costs.supplier[scratch.entry[q3]]]] += link3
            t += 4
        while t < number:
            link, q = weights.dtype.type(0), linked[t]
            for j in range(lanes):
                link += weights[s, j] * weights[q, j]
            links[part, slot[costs.supplier[scratch.entry[q]]]] += link
            t += 1


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def fused_pass(
    costs: NearCosts, u: Any, pairs: Neighbours, ranges: Ranges, scratch: NearScratch, masses: Any, links: Any
) -> None:
    """Add to ``masses`` what each supplier would send if every pixel's marginal held exactly (Eq. 10).

    Args:
        costs: see :class:`NearCosts`.
        u: (K,) exponents of the suppliers, float64; -inf for those that do not take part.
        pairs: see :class:`Neighbours`.
        ranges: see :class:`.blocks.Ranges`.
        scratch: see :class:`NearScratch`.
        masses: (ranges, K) float64, added to.
        links: (ranges, pairs) float64, added to: sum_j b_j p_ij p_kj; none are taken where it is empty.
    """
    for r in range(ranges.first, ranges.last):
        for n in range(ranges.bounds[r], ranges.bounds[r + 1]):
            count = _weigh(costs, u, n, scratch)
            _add_masses(costs, scratch, count, r, masses)
            if links.size > 0:
                _add_links(costs, n, pairs, scratch, count, r, links)


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def log_masses(costs: NearCosts, u: Any, place: Any, ranges: Ranges, scratch: NearScratch, top: Any, rest: Any) -> None:
    """The same masses as logarithms, for suppliers so far behind that they underflow or were left out.

    Args:
        costs, scratch: in float64.
        u: (K,) exponents of the suppliers.
        place: (K,) int64, where a supplier's mass goes; -1 for those that nobody asks about.
        ranges: see :class:`.blocks.Ranges`.
        top, rest: (ranges, wanted) running result: the mass is ``rest * 2**top``. Start with -inf and 0.
    """
    share, level = scratch.share, scratch.level
    lanes = np.uint64(share.size)
    for r in range(ranges.first, ranges.last):
        for n in range(ranges.bounds[r], ranges.bounds[r + 1]):
            asked = False
            for e in range(costs.first[n], costs.first[n + 1]):
                asked |= place[costs.supplier[e]] >= 0
            if not asked or _weigh(costs, u, n, scratch) == 0:
                continue
            base = _base(costs, u, n)
            _level(scratch)
            for e in range(costs.first[n], costs.first[n + 1]):
                p = place[costs.supplier[e]]
                if p < 0:
                    continue
                high, score = top[r, p], u[costs.supplier[e]] - base
                for j in range(lanes):
                    share[j] = (score - costs.cost[e, j] * costs.k) + level[j]
                    high = max(high, share[j])
                if high < LOWEST:
                    continue
                rest[r, p] *= exp2(top[r, p] - high)
                for j in range(lanes):
                    rest[r, p] += exp2(share[j] - high)
                top[r, p] = high


class LeftOut(NamedTuple):
    """What is known of suppliers without an entry.

    One that is left out of pixel j costs at least its price at the choice plus ``floor[j]``. All of them together weigh
    at most ``2**offered * 2**(-floor[j] k)``, against those that are there.

    Attributes:
        floor: (B, lanes) of the costs.
        offered: (B,) log2 of the sum of ``2**(u - price k)`` over the suppliers that are reckoned with in a block.
        b: (B, lanes) demand, of pixels that no supplier reaches, too.
    """

    floor: np.ndarray
    offered: np.ndarray
    b: np.ndarray


@helper(error_model="numpy")
def _left_out(costs: NearCosts, out: LeftOut, n: int, base: float, scratch: NearScratch) -> float:
    """Mass that those without an entry could take of the pixels of a block, whose potentials are in ``level``."""
    taken = 0.0
    for j in range(scratch.level.size):
        if out.b[n, j] > 0 and out.floor[n, j] < np.inf:
            share = 1.0
            if scratch.level[j] > -np.inf:
                given = scratch.level[j] - base - math.log2(out.b[n, j])
                share = exp2(min(0.0, out.offered[n] - out.floor[n, j] * costs.k + given))
            taken += out.b[n, j] * share
    return taken


@helper(error_model="numpy")
def _level(scratch: NearScratch) -> None:
    """Turn the largest exponents of a block into the potentials of its pixels, in bits; -inf without demand."""
    for j in range(scratch.level.size):
        share = scratch.share[j]
        scratch.level[j] = math.log2(share) - scratch.level[j] if 0 < share < np.inf else -np.inf


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def left_out(costs: NearCosts, out: LeftOut, u: Any, ranges: Ranges, scratch: NearScratch, sums: Any) -> None:
    """Add to ``sums`` (ranges,) the mass that suppliers without an entry could take of the pixels at most.

    Args:
        costs, scratch: in float64.
        out: see :class:`LeftOut`.
        u: (K,) exponents of the suppliers; -inf for those that do not take part.
        ranges: see :class:`.blocks.Ranges`.
        sums: out.
    """
    for r in range(ranges.first, ranges.last):
        for n in range(ranges.bounds[r], ranges.bounds[r + 1]):
            _weigh(costs, u, n, scratch)
            _level(scratch)
            sums[r] += _left_out(costs, out, n, _base(costs, u, n), scratch)


@njit(fastmath=VECTOR_MATH, error_model="numpy")
def read_out(
    costs: NearCosts, out: LeftOut, pixel: Any, u_before: Any, u: Any, ranges: Ranges, scratch: NearScratch, g: Any,
    masses: Any, sums: Any,
) -> None:  # fmt: skip
    """Potentials of the pixels, marginals and cost, in float64 and without storing the plan.

    Args:
        costs, scratch: in float64.
        out: see :class:`LeftOut`.
        pixel: (B, lanes) pixels of the blocks.
        u_before: (K,) exponents from which the pixels' potentials follow (Eq. 10).
        u: (K,) exponents of the plan.
        ranges: see :class:`.blocks.Ranges`.
        g: (N,) out, in bits; -inf without demand.
        masses: (ranges, K) added to: row sums of the plan.
        sums: (ranges, 3) added to: ``<plan, M>``, the L1 error of the column sums, and as :func:`left_out`.
    """
    share, level, weights = scratch.share, scratch.level, scratch.weights
    lanes = np.uint64(share.size)
    moved = False
    for i in range(u.size):
        moved |= u[i] != u_before[i]
    for r in range(ranges.first, ranges.last):
        for n in range(ranges.bounds[r], ranges.bounds[r + 1]):
            count, base = _weigh(costs, u_before, n, scratch), _base(costs, u_before, n)
            _level(scratch)
            sums[r, 2] += _left_out(costs, out, n, base, scratch)
            for j in range(lanes):
                if pixel[n, j] >= 0:
                    g[pixel[n, j]] = level[j] - base
            if moved and count > 0:
                count = _move(costs, u, base, n, scratch)
                for j in range(lanes):
                    total = 0.0
                    for p in range(count):
                        total += weights[p, j]
                    sums[r, 1] += abs(total - costs.b[n, j])
            _add_masses(costs, scratch, count, r, masses)
            sums[r, 0] += _cost(costs, scratch, count)


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def _move(costs: NearCosts, u: Any, base: float, n: int, scratch: NearScratch) -> int:
    """Weights of all suppliers of a block at other potentials, given those of its pixels in ``level``."""
    count = 0
    for e in range(costs.first[n], costs.first[n + 1]):
        score = u[costs.supplier[e]] - base
        if score == -np.inf:
            continue
        for j in range(np.uint64(scratch.level.size)):
            weight = exp2((score - costs.cost[e, j] * costs.k) + scratch.level[j])
            scratch.weights[count, j] = weight if costs.b[n, j] > 0 else 0
        scratch.entry[count] = e
        count += 1
    for j in range(scratch.share.size):
        scratch.share[j] = 1.0
    return count


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _cost(costs: NearCosts, scratch: NearScratch, count: int) -> float:
    """<plan, M> of a block, whose plan is ``weights * share``."""
    total = 0.0
    for p in range(count):
        e = scratch.entry[p]
        for j in range(np.uint64(scratch.share.size)):
            cost = costs.cost[e, j] if costs.cost[e, j] < np.inf else 0.0
            total += scratch.weights[p, j] * scratch.share[j] * cost
    return total


@njit(error_model="numpy")
def gather(costs: NearCosts, block: Any, lane: Any, first: Any, supplier: Any, cost: Any, b: Any) -> None:
    """Fill costs of some of the lanes of some of the blocks.

    Args:
        costs: all.
        block: (B',) blocks to take.
        lane: (B', lanes) lanes to take of each, -1 for none.
        first, supplier, cost: out; entries of blocks to take, in their order, and +inf where there is no lane.
        b: (B', lanes) out.
    """
    for m in range(block.size):
        n = block[m]
        for j in range(lane.shape[1]):
            b[m, j] = costs.b[n, lane[m, j]] if lane[m, j] >= 0 else 0.0
        for at in range(costs.first[n + 1] - costs.first[n]):
            supplier[first[m] + at] = costs.supplier[costs.first[n] + at]
            for j in range(lane.shape[1]):
                inside = lane[m, j] >= 0
                cost[first[m] + at, j] = costs.cost[costs.first[n] + at, lane[m, j]] if inside else np.inf


class Reach(NamedTuple):
    """Who reaches whom at a finite cost, bool.

    Attributes:
        supplier: (K,) reaches some pixel.
        pixel: (B, lanes) is reached by a supplier that takes part.
    """

    supplier: np.ndarray
    pixel: np.ndarray


@njit(error_model="numpy")
def cost_range(costs: NearCosts, floor: Any, part: Any, reach: Reach) -> tuple[float, float, float, int]:
    """Lowest and highest finite cost, the dearest that a pixel with demand cannot avoid, and pixels out of reach.

    Args:
        costs: all; NaN and -inf come through the lowest.
        floor: (B, lanes); a pixel without a cost is out of reach where nobody is left out.
        part: (K,) bool, suppliers that take part.
        reach: filled in.
    """
    lanes = np.uint64(costs.cost.shape[1])
    lowest, highest, dearest, unreached = np.inf, -np.inf, 0.0, 0
    cheapest, largest = np.empty(lanes, costs.cost.dtype), np.empty(lanes, costs.cost.dtype)
    for n in range(costs.first.size - 1):
        for j in range(lanes):
            cheapest[j], largest[j] = np.inf, -np.inf
            reach.pixel[n, j] = False
        for e in range(costs.first[n], costs.first[n + 1]):
            real, some, takes_part = True, False, part[costs.supplier[e]]
            for j in range(lanes):
                cost = costs.cost[e, j]
                finite = cost < np.inf
                cheapest[j] = cost if cost < cheapest[j] else cheapest[j]
                largest[j] = cost if finite & (cost > largest[j]) else largest[j]
                real &= cost > -np.inf
                some |= finite
                reach.pixel[n, j] |= takes_part & finite
            if not real:
                return np.nan, highest, dearest, unreached
            reach.supplier[costs.supplier[e]] |= some
        for j in range(lanes):
            lowest, highest = min(lowest, float(cheapest[j])), max(highest, float(largest[j]))
            if costs.b[n, j] > 0:
                unreached += cheapest[j] == np.inf and floor[n, j] == np.inf
                dearest = max(dearest, abs(cheapest[j])) if cheapest[j] < np.inf else dearest
    return lowest, highest, dearest, unreached
