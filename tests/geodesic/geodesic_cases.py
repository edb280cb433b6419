"""Pixel graphs on which shortest paths go wrong first, and oracles that others wrote."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices


def close_border(edges: np.ndarray) -> np.ndarray:
    """Set the costs of pairs that leave the image to +inf, as the contract has it."""
    closed = np.full_like(edges, np.inf)
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, _ = pair_slices(offset)
        closed[channel][here] = edges[channel][here]
    return closed


def noise(rng, height, width):
    return rng.random((4, height, width))


def smooth(rng, height, width):
    """Costs of a smooth map: many tiny ones beside a few large."""
    image = np.cumsum(rng.standard_normal((height, width)), 1) * 1e-3 + (np.arange(width) > width // 2)
    edges = np.full((4, height, width), np.inf)
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        edges[channel][here] = np.abs(image[here] - image[there])
    return edges


def ties(rng, height, width):
    return rng.integers(0, 3, (4, height, width)).astype(float)


def zero(rng, height, width):
    return np.zeros((4, height, width))


def constant(rng, height, width):
    return np.full((4, height, width), 0.3)


def lognormal(rng, height, width):
    """Far from the triangle inequality."""
    return np.exp(4 * rng.standard_normal((4, height, width)))


def walls(rng, height, width):
    """Open and closed at random: many regions that cannot be reached."""
    return np.where(rng.random((4, height, width)) < 0.6, np.inf, rng.random((4, height, width)))


def _pixel_edges(open_pixels: np.ndarray, cost: np.ndarray) -> np.ndarray:
    edges = np.full((4, *open_pixels.shape), np.inf)
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        edges[channel][here] = np.where(open_pixels[here] & open_pixels[there], cost[here], np.inf)
    return edges


def maze(rng, height, width):
    """One corridor from top to bottom, turning at every second row."""
    open_pixels = np.ones((height, width), bool)
    open_pixels[1::2] = False
    open_pixels[1::4, -1:] = True
    open_pixels[3::4, :1] = True
    return _pixel_edges(open_pixels, rng.random((height, width)))


def spiral(rng, height, width):
    """One corridor that winds to the middle."""
    open_pixels = np.zeros((height, width), bool)
    top, left, bottom, right = 0, 0, height - 1, width - 1
    while top <= bottom and left <= right:
        open_pixels[top, left : right + 1] = True
        open_pixels[top : bottom + 1, right] = True
        open_pixels[bottom, left : right + 1] = True
        open_pixels[top + 2 : bottom + 1, left] = True
        if left + 1 < width and top + 2 <= bottom:
            open_pixels[top + 2, left + 1] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return _pixel_edges(open_pixels, rng.random((height, width)))


FAMILIES = (noise, smooth, ties, zero, constant, lognormal, walls, maze, spiral)


def graph(edges: np.ndarray) -> sparse.csr_matrix:
    """Both directions of every open edge; built by hand because scipy's constructors drop costs of zero."""
    _, height, width = edges.shape
    index = np.arange(height * width).reshape(height, width)
    rows, columns, costs = [], [], []
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        cost = edges[channel][here]
        is_open = cost < np.inf
        for start, end in ((here, there), (there, here)):
            rows.append(index[start][is_open])
            columns.append(index[end][is_open])
            costs.append(cost[is_open])
    row, column, cost = map(np.concatenate, (rows, columns, costs))
    order = np.argsort(row, kind="stable")
    starts = np.searchsorted(row[order], np.arange(height * width + 1))
    return sparse.csr_matrix((cost[order].astype(np.float64), column[order], starts), shape=(height * width,) * 2)


def scipy_distances(edges: np.ndarray, points: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
    """(K, H, W) float64 distances by scipy, minimum over the points of a target."""
    _, height, width = edges.shape
    single = dijkstra(graph(edges), indices=[y * width + x for y, x in points]).reshape(-1, height, width)
    if target is None:
        return single
    return np.stack([single[np.asarray(target) == k].min(0) for k in range(max(target) + 1)])


def bellman_ford(edges: np.ndarray, sources: list[tuple[int, int]]) -> np.ndarray:
    """(H, W) distances in the dtype of the edges by plain loops."""
    _, height, width = edges.shape
    distance = np.full((height, width), np.inf, edges.dtype)
    for source in sources:
        distance[source] = 0
    changed = True
    while changed:
        changed = False
        for channel, (dy, dx) in enumerate(FORWARD_OFFSETS):
            for y in range(height - dy):
                for x in range(max(0, -dx), width - max(0, dx)):
                    for start, end in (((y, x), (y + dy, x + dx)), ((y + dy, x + dx), (y, x))):
                        candidate = distance[start] + edges[channel, y, x]
                        if candidate < distance[end]:
                            distance[end] = candidate
                            changed = True
    return distance


def random_points(rng, count, height, width):
    return np.column_stack((rng.integers(0, height, count), rng.integers(0, width, count)))
