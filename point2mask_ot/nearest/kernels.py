"""Kernels over the blocks of :class:`.nearest.costs.NearestCosts`: best suppliers, contenders, and other forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiled.jit import helper, njit


class Blocks(NamedTuple):
    """The arrays of :class:`.nearest.costs.NearestCosts` that a kernel reads; a block may have any number of lanes.

    Attributes:
        pixel: (B, lanes) int32, -1 where a lane is empty.
        first: (B + 1,) int64, entries of each block.
        supplier: (E,) int32.
        cost: (E, lanes).
    """

    pixel: np.ndarray
    first: np.ndarray
    supplier: np.ndarray
    cost: np.ndarray


@helper(error_model="numpy")
def _best(blocks: Blocks, price: Any, n: int, top: Any, owner: Any) -> None:
    """Largest price - cost of each lane of a block and the supplier it is of; -inf and -1 where nothing is finite."""
    for j in range(top.size):
        top[j], owner[j] = -np.inf, -1
    for e in range(blocks.first[n], blocks.first[n + 1]):
        i, offered = blocks.supplier[e], price[blocks.supplier[e]]
        for j in range(np.uint64(top.size)):
            score = offered - blocks.cost[e, j]
            owner[j] = i if score > top[j] else owner[j]  # suppliers ascend: the smallest index of a tie stays
            top[j] = max(score, top[j])


@njit(error_model="numpy")
def label_and_cost(blocks: Blocks, price: Any, start: int, stop: int, label: Any, cost: Any) -> None:
    """Fill the pixels of blocks ``start`` to ``stop``: the supplier of largest price - cost, and what it costs.

    Args:
        blocks: see :class:`Blocks`.
        price: (K,) float64; -inf takes a supplier out.
        start, stop: blocks to do.
        label: (N,) int64 out, -1 where nothing is finite.
        cost: (N,) float64 out, +inf there.
    """
    lanes = blocks.cost.shape[1]
    top, owner = np.empty(lanes), np.empty(lanes, np.int32)
    for n in range(start, stop):
        _best(blocks, price, n, top, owner)
        for j in range(lanes):
            if blocks.pixel[n, j] >= 0:
                label[blocks.pixel[n, j]] = owner[j]
                cost[blocks.pixel[n, j]] = np.inf
        for e in range(blocks.first[n], blocks.first[n + 1]):
            for j in range(lanes):
                if owner[j] == blocks.supplier[e] and blocks.pixel[n, j] >= 0:
                    cost[blocks.pixel[n, j]] = blocks.cost[e, j]


@njit(error_model="numpy")
def contenders(
    blocks: Blocks, price: Any, sway: float, demand: Any, start: int, stop: int, wanted: Any, kept: Any
) -> None:
    """Count pixels of blocks ``start`` to ``stop`` for those whose price - cost is within ``sway`` of the best.

    Args:
        blocks: see :class:`Blocks`.
        price: (K,) float64.
        sway: see above.
        demand: (N,) bool, pixels that count.
        start, stop: blocks to do.
        wanted: (K,) int64 added to: pixels that each contends for.
        kept: (K,) int64 added to: those for which nobody else does.
    """
    lanes = blocks.cost.shape[1]
    top, owner, rivals = np.empty(lanes), np.empty(lanes, np.int32), np.empty(lanes, np.int64)
    for n in range(start, stop):
        _best(blocks, price, n, top, owner)
        for j in range(lanes):
            rivals[j] = 0
            if blocks.pixel[n, j] < 0 or owner[j] < 0 or not demand[blocks.pixel[n, j]]:
                top[j], owner[j] = np.inf, -1
        for e in range(blocks.first[n], blocks.first[n + 1]):
            offered, count = price[blocks.supplier[e]], 0
            for j in range(np.uint64(lanes)):
                wants = offered - blocks.cost[e, j] >= top[j] - sway
                rivals[j] += wants
                count += wants
            wanted[blocks.supplier[e]] += count
        for j in range(lanes):
            if owner[j] >= 0 and rivals[j] == 1:
                kept[owner[j]] += 1


@njit(error_model="numpy")
def find_near(blocks: Blocks, price: Any, window: float, start: int, stop: int, best: Any, near: Any) -> None:
    """Entries of blocks ``start`` to ``stop`` that are within ``window`` of the best at some pixel.

    Args:
        blocks: see :class:`Blocks`.
        price: (K,) float64.
        window: see above.
        start, stop: blocks to do.
        best: (B, lanes) float64 out: largest price - cost, -inf where nothing is finite.
        near: (E,) bool out.
    """
    owner = np.empty(best.shape[1], np.int32)
    for n in range(start, stop):
        _best(blocks, price, n, best[n], owner)
        for e in range(blocks.first[n], blocks.first[n + 1]):
            offered, found = price[blocks.supplier[e]], False
            for j in range(np.uint64(owner.size)):
                found |= offered - blocks.cost[e, j] >= best[n, j] - window and blocks.cost[e, j] < np.inf
            near[e] = found


@njit(error_model="numpy")
def cost_of(blocks: Blocks, chosen: Any, start: int, stop: int, cost: Any) -> None:
    """Fill ``cost`` (N,) float64 of blocks ``start`` to ``stop`` with that of each pixel's ``chosen`` (N,) supplier."""
    for n in range(start, stop):
        for j in range(blocks.pixel.shape[1]):
            if blocks.pixel[n, j] >= 0:
                cost[blocks.pixel[n, j]] = np.inf
        for e in range(blocks.first[n], blocks.first[n + 1]):
            for j in range(blocks.pixel.shape[1]):
                if blocks.pixel[n, j] >= 0 and chosen[blocks.pixel[n, j]] == blocks.supplier[e]:
                    cost[blocks.pixel[n, j]] = blocks.cost[e, j]


@njit(error_model="numpy")
def count_suppliers(labels: Any, lanes: int, count: int, first: Any) -> int:
    """Different suppliers of each block of ``lanes`` columns of (k, N) labels, into ``first[1:]``.

    Returns:
        The column of a supplier that is named twice, -1 where none is.
    """
    seen, seen_by = np.full(count, -1), np.full(count, -1)
    for n in range(first.size - 1):
        number = 0
        for j in range(n * lanes, min((n + 1) * lanes, labels.shape[1])):
            for t in range(labels.shape[0]):
                i = labels[t, j]
                if i < 0:
                    continue
                if seen_by[i] == j:
                    return j
                seen_by[i] = j
                number += seen[i] != n
                seen[i] = n
        first[n + 1] = number
    return -1


@njit(error_model="numpy")
def fill_blocks(labels: Any, costs: Any, count: int, blocks: Blocks) -> None:
    """Enter (k, N) labels and costs into blocks of +inf, whose ``first`` is that of :func:`count_suppliers`."""
    lanes = blocks.cost.shape[1]
    seen, at = np.full(count, -1), np.empty(count, np.int64)
    for n in range(blocks.first.size - 1):
        number, start, stop = blocks.first[n], n * lanes, min((n + 1) * lanes, labels.shape[1])
        for j in range(start, stop):
            for t in range(labels.shape[0]):
                i = labels[t, j]
                if i >= 0 and seen[i] != n:
                    seen[i] = n
                    blocks.supplier[number] = i
                    number += 1
        blocks.supplier[blocks.first[n] : number].sort()
        for e in range(blocks.first[n], number):
            at[blocks.supplier[e]] = e
        for j in range(start, stop):
            for t in range(labels.shape[0]):
                if labels[t, j] >= 0:
                    blocks.cost[at[labels[t, j]], j - start] = costs[t, j]


@njit(error_model="numpy")
def add_squared_distances(
    blocks: Blocks, width: int, points: Any, bounds: Any, weight: Any, start: int, stop: int
) -> None:
    """Make pixels of blocks ``start`` to ``stop`` dearer with the squared distance to the supplier's nearest point.

    Args:
        blocks: see :class:`Blocks`; costs are changed.
        width: of the picture.
        points: (n, 2) float32 rows and columns, by supplier.
        bounds: (K + 1,) int64: those of supplier k are ``points[bounds[k]:bounds[k + 1]]``.
        weight: (K,) float32; 0 leaves a supplier's costs alone.
        start, stop: blocks to do.
    """
    lanes = blocks.pixel.shape[1]
    for n in range(start, stop):
        for e in range(blocks.first[n], blocks.first[n + 1]):
            k = blocks.supplier[e]
            if weight[k] == 0:
                continue
            for j in range(lanes):
                pixel = blocks.pixel[n, j]
                if pixel < 0 or blocks.cost[e, j] == np.inf:
                    continue
                y, x, far = np.float32(pixel // width), np.float32(pixel % width), np.float32(np.inf)
                for p in range(bounds[k], bounds[k + 1]):
                    far = min(far, (y - points[p, 0]) ** 2 + (x - points[p, 1]) ** 2)
                blocks.cost[e, j] += far * weight[k]
