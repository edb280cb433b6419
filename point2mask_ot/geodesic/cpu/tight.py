"""Walks along tight edges: those by which a cheapest path may reach a pixel.

An edge of cost w from p to q is tight when ``distance[p] + w == distance[q]``, to the bit. Every pixel that can be
reached has a tight edge into it, because its distance is such a sum. Edges of zero cost are tight both ways, so
a walk must remember where it has been.
"""

from __future__ import annotations

import numpy as np

from ...compiled.jit import helper, njit
from ...graph.grid import FORWARD_OFFSETS
from .heap import trailing_zeros


def flood(edges: np.ndarray, distance: np.ndarray, sources: np.ndarray, names: np.ndarray, labels: np.ndarray) -> None:
    """Give each pixel that tight edges connect to a source the smallest name among those sources.

    Args:
        edges: (4, H, W) forward edges, contiguous as everything here.
        distance: (H, W) cost from the nearest source.
        sources: (n, 2) int64 pixels in the order of their names: the first to arrive has the smallest.
        names: (n,) int64, ascending.
        labels: (H, W) int64, filled with -1: the result.
    """
    ways = np.zeros(distance.shape, np.uint8)
    _mark_ways(edges, distance, ways)
    _flood(ways.reshape(-1), labels.shape[1], sources, names, labels.reshape(-1))


def flooded(edges: np.ndarray, distance: np.ndarray, pixels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(H, W) int64 nearest target, the first of equals, -1 where there is none; pixels and target are of points."""
    labels, order = np.full(distance.shape, -1, np.int64), np.argsort(target, kind="stable")
    flood(edges, distance, pixels[order], target[order], labels)
    return labels


@njit()
def _flood(ways: np.ndarray, width: int, sources: np.ndarray, names: np.ndarray, labels: np.ndarray) -> None:
    """Follow the ways that lead from each pixel of the flat image, from one source after another."""
    steps = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    stack = np.empty(len(labels), np.int64)
    for source in range(len(sources)):
        pixel = sources[source, 0] * width + sources[source, 1]
        if labels[pixel] != -1:
            continue
        labels[pixel] = names[source]
        stack[0] = pixel
        size = 1
        while size > 0:
            size -= 1
            pixel = stack[size]
            ahead = np.uint64(ways[pixel])
            while ahead > 0:
                other = pixel + steps[int(trailing_zeros(ahead))]
                ahead &= ahead - np.uint64(1)
                if labels[other] == -1:
                    labels[other] = names[source]
                    stack[size] = other
                    size += 1


@njit()
def _mark_ways(edges: np.ndarray, distance: np.ndarray, ways: np.ndarray) -> None:
    """Set bit k of each pixel from which a tight edge leads to neighbour k of 8 in raster order."""
    height, width = distance.shape
    for channel in range(4):
        dy, dx = FORWARD_OFFSETS[channel]
        first, end = max(0, -dx), width - max(0, dx)
        for y in range(height - dy):
            cost = edges[channel, y, first:end]
            here, there = distance[y, first:end], distance[y + dy, first + dx : end + dx]
            _mark(here, cost, there, ways[y, first:end], 4 + channel)
            _mark(there, cost, here, ways[y + dy, first + dx : end + dx], 3 - channel)


@helper()
def _mark(origin: np.ndarray, cost: np.ndarray, end: np.ndarray, ways: np.ndarray, bit: int) -> None:
    flag = np.uint8(1 << bit)
    for x in range(len(ways)):
        is_tight = (origin[x] + cost[x] == end[x]) & (end[x] < np.inf)
        ways[x] |= flag if is_tight else np.uint8(0)


@njit()
def trace(edges: np.ndarray, distance: np.ndarray, end: np.ndarray, is_goal: np.ndarray) -> np.ndarray:
    """The path with the fewest steps from ``end`` back to a goal along tight edges; empty if there is none.

    Args:
        edges: (4, H, W) forward edges.
        distance: (H, W) costs.
        end: (2,) int64 pixel.
        is_goal: (H, W) bool.

    Returns:
        (L, 2) int64, from ``end`` to the goal. Of equally long paths, the one whose steps, counted from ``end``,
        come first in raster order of the neighbours.
    """
    height, width = distance.shape
    origin = np.full((height, width), -1, np.int64)
    queue = np.empty(height * width, np.int64)
    queue[0] = end[0] * width + end[1]
    origin[end[0], end[1]] = queue[0]
    first, size = 0, 1
    while first < size:
        y, x = queue[first] // width, queue[first] % width
        first += 1
        if is_goal[y, x]:
            return _unwind(origin, y, x)
        for k in range(8):
            v, u = neighbour(y, x, k)
            if not (0 <= v < height and 0 <= u < width) or origin[v, u] != -1:
                continue
            if distance[v, u] + cost_between(edges, y, x, v, u, k) == distance[y, x]:
                origin[v, u] = y * width + x
                queue[size] = v * width + u
                size += 1
    return np.empty((0, 2), np.int64)


@njit()
def _unwind(origin: np.ndarray, y: int, x: int) -> np.ndarray:
    """The path from the pixel that is its own origin to (y, x)."""
    width = origin.shape[1]
    length = 1
    v, u = y, x
    while origin[v, u] != v * width + u:
        v, u = origin[v, u] // width, origin[v, u] % width
        length += 1
    path = np.empty((length, 2), np.int64)
    for step in range(length - 1, -1, -1):
        path[step, 0], path[step, 1] = y, x
        y, x = origin[y, x] // width, origin[y, x] % width
    return path


@njit(inline="always")
def neighbour(y: int, x: int, k: int) -> tuple[int, int]:
    """Neighbour k of 8 in raster order: the forward ones last, each opposite of its mirror."""
    dy, dx = FORWARD_OFFSETS[k - 4 if k >= 4 else 3 - k]
    return (y + dy, x + dx) if k >= 4 else (y - dy, x - dx)


@njit(inline="always")
def cost_between(edges: np.ndarray, y: int, x: int, v: int, u: int, k: int) -> float:
    """Cost of the edge from (y, x) to its neighbour k, which is (v, u)."""
    return edges[k - 4, y, x] if k >= 4 else edges[3 - k, v, u]
