"""Dijkstra's algorithm on the padded pixel graph with a monotone radix heap.

Non-negative floats sort as their bits do, so the queue sorts integers. It is monotone: no key is smaller than
``last``, the key that left it last. A key lies at the level of the highest base-32 digit in which it differs from
``last``, in the bucket of its own digit there. When the smallest bucket lies above level 0 and holds several keys,
``last`` moves to the smallest of them and all of them move to lower levels.

An entry stays where it is when its pixel improves; it is dropped when it is met and its key is no longer its
pixel's cost. Only the end of an edge that is settled first can improve the other, so there are never more entries
than sources and edges: that is the size of the pool.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from ...compiled.jit import helper, intrinsic, njit
from ...graph.grid import FORWARD_OFFSETS

_DIGIT_BITS = 5
_DIGITS = 1 << _DIGIT_BITS
_LEVELS = -(-64 // _DIGIT_BITS)
_END = -1  # of a list
_ZERO_IS_DEFINED = ir.Constant(ir.IntType(1), 0)


@intrinsic
def leading_zeros(typing_context: Any, word: Any) -> Any:
    """Number of zero bits above the highest one of a uint64 (64 for zero), as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], _ZERO_IS_DEFINED)

    return types.uint64(types.uint64), generate


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Number of zero bits below the lowest one of a uint64 (64 for zero), as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], _ZERO_IS_DEFINED)

    return types.uint64(types.uint64), generate


@njit()
def pack_weights(edges: np.ndarray) -> np.ndarray:
    """(H+2, W+2, 8) costs towards each neighbour in raster order: contiguous for a pixel, +inf out of the image.

    The rim of one pixel spares the search every test of bounds. Entries of ``edges`` (4, H, W) for pairs that
    leave the image are not read.
    """
    _, height, width = edges.shape
    weights = np.full((height + 2, width + 2, 8), np.inf, edges.dtype)
    for channel in range(4):
        dy, dx = FORWARD_OFFSETS[channel]
        for y in range(height - dy):
            for x in range(max(0, -dx), width - max(0, dx)):
                # In raster order the forward neighbours come last, and the opposite of place k is place 7 - k.
                weights[y + 1, x + 1, 4 + channel] = edges[channel, y, x]
                weights[y + 1 + dy, x + 1 + dx, 3 - channel] = edges[channel, y, x]
    return weights


def search(weights: np.ndarray, sources: np.ndarray, bounds: np.ndarray, result: np.ndarray) -> None:
    """Distances of several targets into ``result`` (K, H, W); +inf where no path leads.

    Args:
        weights: what :func:`pack_weights` made, float32 or float64.
        sources: (n, 2) int64 pixels; those of target k are ``sources[bounds[k]:bounds[k + 1]]``.
        bounds: (K + 1,) int64.
        result: of the dtype of ``weights``, overwritten.
    """
    for k in range(len(result)):
        cost = np.full(weights.shape[:2], np.inf, weights.dtype)
        flat = cost.reshape(-1)
        bits = flat.view(np.uint32 if weights.itemsize == 4 else np.uint64)
        own = sources[bounds[k] : bounds[k + 1]]
        room = len(own) + 4 * flat.size
        _dijkstra(weights, own, flat, bits, np.empty(room, bits.dtype), np.empty((room, 2), np.int32))
        result[k] = cost[1:-1, 1:-1]


class _Heap(NamedTuple):
    """A pool of entries, in lists by bucket.

    Attributes:
        keys: (entries,) of each.
        links: (entries, 2) int32: its pixel, and the next entry of its list.
        heads: (buckets,) int32: the first entry of each list.
        occupied: (levels,) uint64: whose bit d tells whether bucket d of the level holds any.
    """

    keys: np.ndarray
    links: np.ndarray
    heads: np.ndarray
    occupied: np.ndarray


@njit()
def _dijkstra(
    weights: np.ndarray, sources: np.ndarray, cost: np.ndarray, bits: np.ndarray, keys: np.ndarray, links: np.ndarray
) -> None:
    """Fill ``cost``, the flat padded grid, whose memory as unsigned integers is ``bits``; the rest is the heap's."""
    rows, columns, _ = weights.shape
    towards = weights.reshape(rows * columns, 8)
    steps = (-columns - 1, -columns, -columns + 1, -1, 1, columns - 1, columns, columns + 1)
    heap = _Heap(keys, links, np.full(_LEVELS * _DIGITS, _END, np.int32), np.zeros(_LEVELS, np.uint64))
    heads, occupied = heap.heads, heap.occupied
    _enter_sources(sources, columns, cost, heap)
    last, used, free = np.uint64(0), len(sources), _END
    while True:
        level = 0
        while level < _LEVELS and occupied[level] == 0:
            level += 1
        if level == _LEVELS:
            break
        bucket = level * _DIGITS + int(trailing_zeros(occupied[level]))
        entry = heads[bucket]
        heads[bucket] = links[entry, 1]
        if heads[bucket] == _END:
            occupied[level] &= occupied[level] - np.uint64(1)
        elif level > 0:
            occupied[level] &= occupied[level] - np.uint64(1)
            heads[bucket] = _END
            last, free = _spread(entry, free, bits, heap)
            continue
        last, here = np.uint64(keys[entry]), np.int64(links[entry, 0])
        links[entry, 1] = free
        free = entry
        if last > bits[here]:
            continue
        settled = cost[here]
        for k in range(8):
            there = here + steps[k]
            candidate = settled + towards[here, k]
            if candidate < cost[there]:
                cost[there] = candidate
                if free == _END:
                    entry = used
                    used += 1
                else:
                    entry = free
                    free = links[entry, 1]
                keys[entry], links[entry, 0] = bits[there], there
                _push(entry, last, heap)


@helper()
def _enter_sources(sources: np.ndarray, columns: int, cost: np.ndarray, heap: _Heap) -> None:
    """Let the queue begin with the sources, whose keys are zero, in its first bucket."""
    for entry in range(len(sources)):
        pixel = (sources[entry, 0] + 1) * columns + sources[entry, 1] + 1
        cost[pixel] = 0
        heap.keys[entry], heap.links[entry, 0] = 0, pixel
        _push(entry, np.uint64(0), heap)


@helper(forceinline=True)
def _push(entry: int, last: np.uint64, heap: _Heap) -> None:
    """Put an entry into the bucket of its key."""
    key = np.uint64(heap.keys[entry])
    highest_bit = np.uint64(63) - leading_zeros((key ^ last) | np.uint64(1))
    level = highest_bit // np.uint64(_DIGIT_BITS)
    digit = (key >> level * np.uint64(_DIGIT_BITS)) & np.uint64(_DIGITS - 1)
    bucket = int(level * np.uint64(_DIGITS) + digit)
    heap.links[entry, 1] = heap.heads[bucket]
    heap.heads[bucket] = entry
    heap.occupied[int(level)] |= np.uint64(1) << digit


@helper()
def _spread(first: int, free: int, bits: np.ndarray, heap: _Heap) -> tuple[np.uint64, int]:
    """Distribute a list of entries around its smallest key, the new ``last``; outdated entries become free."""
    keys, links = heap.keys, heap.links
    smallest = keys[first]
    entry = links[first, 1]
    while entry != _END:
        smallest = min(smallest, keys[entry])
        entry = links[entry, 1]
    entry = first
    while entry != _END:
        rest = links[entry, 1]
        if keys[entry] > bits[links[entry, 0]]:
            links[entry, 1] = free
            free = entry
        else:
            _push(entry, np.uint64(smallest), heap)
        entry = rest
    return np.uint64(smallest), free
