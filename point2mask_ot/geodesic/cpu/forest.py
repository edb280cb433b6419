"""One target's forest of cheapest paths, and the sums of what lies below each pixel (compiled).

Parents are those of :mod:`..descent`, kept as one bit of eight: bit k for neighbour k in raster order, 0 for none.
"""

from __future__ import annotations

import numpy as np

from ...compiled.jit import helper, njit
from ...graph.grid import FORWARD_OFFSETS
from .tight import cost_between, neighbour

_POINT = 255
"""In place of a parent's bit, while parents are looked for: a point of the target."""


@njit()
def grow(edges: np.ndarray, top: int, left: int, distance: np.ndarray, points: np.ndarray, parent: np.ndarray) -> bool:
    """Find the parents of a map, or of the part of it that begins at (top, left).

    Args:
        edges: (4, H, W) forward edges, contiguous as everything here.
        distance: (h, w) cost from the target; +inf where it is unknown.
        points: (n, 2) int64 pixels of the target's points; those outside the part are passed over.
        parent: (h, w) uint8: the result.

    Returns:
        Whether every pixel of finite cost has found its way to a point: False where the map has holes.
    """
    height, width = distance.shape
    parent[:] = 0
    for y in range(height):
        for channel in range(4):
            dy, dx = FORWARD_OFFSETS[channel]
            first, end = max(0, -dx), width - max(0, dx)
            if y + dy >= height:
                continue
            cost = edges[channel, top + y, left + first : left + end]
            here, there = distance[y, first:end], distance[y + dy, first + dx : end + dx]
            _mark(here, cost, there, parent[y + dy, first + dx : end + dx], 3 - channel)
            _mark(there, cost, here, parent[y, first:end], 4 + channel)
    loose = _keep_first(distance.reshape(-1), parent.reshape(-1))
    for point in points:
        y, x = point[0] - top, point[1] - left
        if 0 <= y < height and 0 <= x < width and distance[y, x] == 0 and parent[y, x] == 0:
            parent[y, x] = _POINT
            loose -= 1
    if loose > 0:
        loose -= _cross_plateaus(edges, top, left, distance, parent, loose)
    for point in points:
        y, x = point[0] - top, point[1] - left
        if 0 <= y < height and 0 <= x < width and parent[y, x] == _POINT:
            parent[y, x] = 0
    return loose == 0


@helper()
def _mark(origin: np.ndarray, cost: np.ndarray, end: np.ndarray, parent: np.ndarray, bit: int) -> None:
    """Set a bit of the pixels that a tight edge reaches from a pixel that is nearer."""
    flag = np.uint8(1 << bit)
    for x in range(len(parent)):
        is_tight = (origin[x] + cost[x] == end[x]) & (origin[x] < end[x]) & (end[x] < np.inf)
        parent[x] |= flag if is_tight else np.uint8(0)


@helper()
def _keep_first(distance: np.ndarray, parent: np.ndarray) -> int:
    """Leave the lowest bit of each pixel; count the finite ones that have none."""
    loose = 0
    for pixel in range(len(parent)):
        bits = parent[pixel]
        parent[pixel] = bits & (~bits + np.uint8(1))
        loose += (bits == 0) & (distance[pixel] < np.inf)
    return loose


@njit()
def _cross_plateaus(
    edges: np.ndarray, top: int, left: int, distance: np.ndarray, parent: np.ndarray, loose: int
) -> int:
    """Let pixels without a nearer neighbour go to one of equal cost, by the fewest steps to one that has found its way.

    Returns:
        How many found one.
    """
    height, width = distance.shape
    steps = np.zeros((height, width), np.int64)
    queue = np.empty(loose, np.int64)
    size = 0
    for y in range(height):
        for x in range(width):
            if parent[y, x] == 0 and distance[y, x] < np.inf:
                steps[y, x] = height * width
                queue[size] = y * width + x
                size += 1
    loose_ones = queue.copy()
    size = 0
    for pixel in loose_ones:  # the border first: next to one that has found its way
        y, x = pixel // width, pixel % width
        if _first_below(edges, top, left, distance, steps, y, x, 1) < 8:
            queue[size] = pixel
            size += 1
    for pixel in queue[:size]:
        steps[pixel // width, pixel % width] = 1
    first = 0
    while first < size:
        y, x = queue[first] // width, queue[first] % width
        first += 1
        for k in range(8):
            v, u = neighbour(y, x, k)
            if not (0 <= v < height and 0 <= u < width) or steps[v, u] != height * width:
                continue
            if _is_flat(edges, top, left, distance, y, x, v, u, k):
                steps[v, u] = steps[y, x] + 1
                queue[size] = v * width + u
                size += 1
    for pixel in queue[:size]:
        y, x = pixel // width, pixel % width
        parent[y, x] = 1 << _first_below(edges, top, left, distance, steps, y, x, steps[y, x])
    return size


@njit(inline="always")
def _is_flat(edges, top, left, distance, y, x, v, u, k):  # type: ignore[no-untyped-def]
    """Whether neighbour k, (v, u), costs what (y, x) costs, and the edge between them adds nothing."""
    cost = cost_between(edges, top + y, left + x, top + v, left + u, k)
    return distance[v, u] == distance[y, x] and distance[v, u] + cost == distance[y, x]


@njit(inline="always")
def _first_below(edges, top, left, distance, steps, y, x, limit):  # type: ignore[no-untyped-def]
    """The first neighbour on the plateau that is fewer steps away than ``limit``; 8 if there is none."""
    height, width = distance.shape
    for k in range(8):
        v, u = neighbour(y, x, k)
        is_inside = 0 <= v < height and 0 <= u < width
        if is_inside and steps[v, u] < limit and _is_flat(edges, top, left, distance, y, x, v, u, k):
            return k
    return 8


@njit()
def gather(parent: np.ndarray, flow: np.ndarray, children: np.ndarray, queue: np.ndarray) -> None:
    """Add to the flow of each pixel that of all below it: leaves first, each parent when its last child is done.

    Args:
        parent: (h, w) uint8.
        flow: (h, w) float64, changed in place; of no meaning afterwards where there is no parent.
        children, queue: (h * w,) uint8 and (h * w + 1,) uint32, memory.
    """
    width, bits, sums = parent.shape[1], parent.reshape(-1), flow.reshape(-1)
    ways = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    steps = np.zeros(256, np.uint64)  # which wrap around
    children[:] = 0
    for k in range(8):
        steps[1 << k] = np.uint64(ways[k])
        first, end = max(0, ways[k]), len(bits) + min(0, ways[k])
        if first < end:
            _count(bits[first - ways[k] : end - ways[k]], np.uint8(1 << k), children[first:end])
    _hand_on(bits, steps, children, queue, sums)


@helper()
def _hand_on(parent: np.ndarray, steps: np.ndarray, children: np.ndarray, queue: np.ndarray, sums: np.ndarray) -> None:
    """Go through all pixels, each after its children.

    No branch depends on the forest, since a processor would guess many of them wrongly, nor may an index be negative.
    """
    size, first, one = np.uint64(0), np.uint64(0), np.uint64(1)
    for leaf in range(len(parent)):
        queue[size] = leaf
        size += np.uint64(children[leaf] == 0)
    while first < size:
        pixel = np.uint64(queue[first])
        above = np.uint64(pixel + steps[parent[pixel]])
        sums[above] += sums[pixel]
        left = np.uint8(children[above] - np.uint8(1))
        children[above] = left
        queue[size] = above  # one without a parent is above itself, and never comes twice
        size += np.uint64(left == np.uint8(0))
        first += one


@helper()
def _count(bits: np.ndarray, flag: np.uint8, children: np.ndarray) -> None:
    for pixel in range(len(children)):
        children[pixel] += np.uint8(1) if bits[pixel] == flag else np.uint8(0)


@njit()
def sort_nodes(labels: np.ndarray, width: int, bounds: np.ndarray, nodes: np.ndarray, boxes: np.ndarray) -> None:
    """Put the nodes of each target together, and find the part of the picture that they fill.

    Args:
        labels: (k, H * W) int64 target of each node, -1 for none.
        width: W.
        bounds: (K + 1,) int64: the nodes of target t are ``nodes[bounds[t]:bounds[t + 1]]``.
        nodes: (k * H * W,) unsigned places in the flat labels, in ascending order for each target.
        boxes: (K, 4) int64 top, left, bottom and right, the last two exclusive; all 0 for no nodes.
    """
    flat, pixels, count = labels.reshape(-1), labels.shape[1], len(boxes)
    sizes = np.zeros(count + 1, np.int64)
    for label in flat:
        sizes[label] += 1  # those of nobody come last
    bounds[0] = 0
    for target in range(count):
        bounds[target + 1] = bounds[target] + sizes[target]
        boxes[target] = 0
        if sizes[target] > 0:
            boxes[target, :2] = pixels
    ends = bounds[:count].copy()
    for node in range(len(flat)):
        target = flat[node]
        if target >= 0:
            nodes[ends[target]] = node
            ends[target] += 1
            box, y, x = boxes[target], node % pixels // width, node % width
            box[0], box[1] = min(box[0], y), min(box[1], x)
            box[2], box[3] = max(box[2], y + 1), max(box[3], x + 1)


@njit()
def spread(
    nodes: np.ndarray, width: int, values: np.ndarray, top: int, left: int, fill: float, part: np.ndarray
) -> None:
    """Write the values at a target's nodes into the part of the picture that begins at (top, left).

    Args:
        nodes: (n,) places in the flat values.
        width: W of the picture.
        values: (k, H * W).
        fill: what the part holds elsewhere.
        part: (h, w): the result.
    """
    part[:] = fill
    flat, pixels = values.reshape(-1), values.shape[1]
    for node in nodes:
        pixel = np.int64(node) % pixels
        part[pixel // width - top, pixel % width - left] = flat[node]


@njit()
def add_flow(
    parent: np.ndarray, flow: np.ndarray, top: int, left: int, start: int, stop: int, total: np.ndarray
) -> None:
    """Add what flows along each edge between a pixel and its parent, to the rows [start, stop) of the sums.

    Args:
        parent, flow: (h, w), of the part of the picture that begins at (top, left).
        total: (4, H, W) float64.
    """
    height, width = parent.shape
    for y in range(max(start - top, 0), min(stop - top, height)):
        for channel in range(4):
            dy, dx = FORWARD_OFFSETS[channel]
            first, end = max(0, -dx), width - max(0, dx)
            if y + dy >= height:
                continue
            sums = total[channel, top + y, left + first : left + end]
            _add_where(parent[y, first:end], np.uint8(16 << channel), flow[y, first:end], sums)
            v = y + dy
            _add_where(parent[v, first + dx : end + dx], np.uint8(8 >> channel), flow[v, first + dx : end + dx], sums)


@helper()
def _add_where(parent: np.ndarray, bit: np.uint8, flow: np.ndarray, sums: np.ndarray) -> None:
    for x in range(len(sums)):
        sums[x] += flow[x] if parent[x] == bit else 0.0
