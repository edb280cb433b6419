"""How far from each point the k-th target can be at most, from where the points' cells meet."""

from __future__ import annotations

import numpy as np

from ...compiled.jit import helper, njit
from ...graph.grid import FORWARD_OFFSETS


def kth_reach(
    edges: np.ndarray,
    distance: np.ndarray,
    labels: np.ndarray,
    starts: np.ndarray,
    target: np.ndarray,
    k: int,
) -> np.ndarray:
    """(n,) float32: from each point, k targets lie within this, counting what each starts at.

    A way from cell to cell is one on the picture, if not the cheapest, so this is an upper bound.

    Args:
        edges: (4, H, W) forward edges.
        distance: (H, W) the least of start + distance over all points.
        labels: (H, W) int64 point it comes from; -1 for none.
        starts: (n,) float32 what each point starts at, at least 0.
        target: (n,) int64 the target of each point.
        k: at least 1.
    """
    count = len(starts)
    pair, length = _meetings(edges, distance, labels, starts)
    order = np.lexsort((length, pair))
    pair, length = pair[order], length[order]
    first = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])[: len(pair)])
    ends, length = np.stack(np.divmod(pair[first], count)), length[first]
    origin, end, length = np.append(ends[0], ends[1]), np.append(ends[1], ends[0]), np.tile(length, 2)
    order = np.argsort(origin, kind="stable")
    bounds = np.searchsorted(origin[order], np.arange(count + 1))
    present = np.zeros(count, np.bool_)
    present[labels[labels >= 0]] = True
    reach = _walk(bounds, end[order], length[order], starts, target, present, k)
    return np.nextafter(reach.astype(np.float32), np.float32(np.inf))


@njit()
def _meetings(
    edges: np.ndarray, distance: np.ndarray, labels: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Every edge between cells: the smaller label times n plus the larger, and the length of the way across it."""
    height, width = distance.shape
    pair, length = np.empty(1024, np.int64), np.empty(1024, np.float64)
    size = 0
    for y in range(height):
        for x in range(width):
            for channel in range(4):
                dy, dx = FORWARD_OFFSETS[channel]
                if y + dy == height or not 0 <= x + dx < width or labels[y, x] == labels[y + dy, x + dx]:
                    continue
                here, there = labels[y, x], labels[y + dy, x + dx]
                edge = edges[channel, y, x]
                if here < 0 or there < 0 or edge == np.inf:
                    continue
                # The difference of two floats in double precision: what each point starts at may dwarf the ways.
                onward = np.float64(distance[y, x]) - np.float64(starts[here])
                back = np.float64(distance[y + dy, x + dx]) - np.float64(starts[there])
                if size == len(pair):
                    pair, length = np.append(pair, pair), np.append(length, length)
                pair[size] = min(here, there) * len(starts) + max(here, there)
                length[size] = onward + edge + back
                size += 1
    return pair[:size], length[:size]


@njit()
def _walk(
    bounds: np.ndarray,
    end: np.ndarray,
    length: np.ndarray,
    starts: np.ndarray,
    target: np.ndarray,
    present: np.ndarray,
    k: int,
) -> np.ndarray:
    """From each point that has a cell, to the nearest others until k targets are met; +inf if there are fewer."""
    count = len(starts)
    reach = np.full(count, np.inf)
    best = np.full(count, np.inf)
    settled, met = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    waiting = np.empty(count, np.int64)
    for origin in range(count):
        if not present[origin]:
            continue
        waiting[0], best[origin], size, settled_ones = origin, 0.0, 1, 0
        remaining, farthest = k, 0.0
        while size > settled_ones and remaining > 0:
            node = _nearest_waiting(waiting, best, settled_ones, size)
            settled_ones += 1
            settled[node] = origin
            if met[target[node]] != origin:
                met[target[node]] = origin
                remaining -= 1
                farthest = max(farthest, best[node] + starts[node])
            for index in range(bounds[node], bounds[node + 1]):
                other = end[index]
                if settled[other] != origin:
                    if best[other] == np.inf:
                        waiting[size] = other
                        size += 1
                    best[other] = min(best[other], best[node] + length[index])
        for index in range(size):
            best[waiting[index]] = np.inf
        if remaining == 0:
            reach[origin] = farthest
    return reach


@helper()
def _nearest_waiting(waiting: np.ndarray, best: np.ndarray, first: int, size: int) -> int:
    """The nearest of those that wait, moved to the front of them."""
    chosen = first
    for index in range(first + 1, size):
        if best[waiting[index]] < best[waiting[chosen]]:
            chosen = index
    waiting[first], waiting[chosen] = waiting[chosen], waiting[first]
    return waiting[first]
