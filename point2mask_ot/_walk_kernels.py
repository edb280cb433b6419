"""Full multigrid for the linear systems of random walks (compiled): all targets of a group in the lanes of a vector.

The grids are those of :mod:`._multigrid`: blocks of 2 x 2 pixels make the next one. They lie one after the other in
flat arrays, each with a border of one pixel that is joined to nothing. A grid starts from the solution on the coarser
one; then come W-cycles with two red-black Gauss-Seidel sweeps on the way down and two on the way up. Both sweeps, and
what is added before or summed up after them, go through memory once: the rows follow each other as a wave.
"""

from __future__ import annotations

import numpy as np

from ._jit import helper, njit
from ._multigrid import LEAST_CONDUCTANCE
from ._walk_vectors import LANES, add_scaled, load, scaled, store
from .grid import FORWARD_OFFSETS

_RIGHT, _DOWN, _DIAGONAL, _INVERSE = range(4)
_TO_RIGHT, _TO_BELOW = FORWARD_OFFSETS.index((0, 1)), FORWARD_OFFSETS.index((1, 0))


def grid_shapes(height: int, width: int) -> np.ndarray:
    """(G, 3) int64: the first pixel, height and width of each grid, and a last row whose first pixel is the end."""
    rows, start = [], 0
    while True:
        rows.append((start, height, width))
        start += (height + 2) * (width + 2)
        if max(height, width) == 1:
            return np.array([*rows, (start, 0, 0)])
        height, width = (height + 1) // 2, (width + 1) // 2


@njit()
def lay_out(edges, reached, step, seeds, shapes, graph):  # type: ignore[no-untyped-def]
    """The matrices of all grids.

    Args:
        edges: (4, H, W) costs; the two diagonals are not used.
        reached: (H, W) bool; no finite edge leads out of it.
        step: what is added to the costs.
        seeds: (N, 2) rows and columns where the solution is known.
        shapes: of the grids.
        graph: (pixels of all grids, 4), zero, written: conductance to the right and downwards, diagonal and its
            inverse, which is 0 at pixels that are seeds or joined to nothing.
    """
    height, width = reached.shape
    line = width + 2
    for i in range(height):
        for j in range(width):
            if reached[i, j]:
                p = (i + 1) * line + j + 1
                if j + 1 < width:
                    graph[p, _RIGHT] = _conductance(edges[_TO_RIGHT, i, j], step)
                if i + 1 < height:
                    graph[p, _DOWN] = _conductance(edges[_TO_BELOW, i, j], step)
    # An edge to a seed leaves the graph and becomes part of the diagonal of its other end.
    for n in range(len(seeds)):
        p = (seeds[n, 0] + 1) * line + seeds[n, 1] + 1
        for other, edge, way in _edges_of(p, line):
            graph[other, _DIAGONAL] += graph[edge, way]
            graph[edge, way] = 0
    for n in range(len(seeds)):
        graph[(seeds[n, 0] + 1) * line + seeds[n, 1] + 1, _DIAGONAL] = 0
    for level in range(1, len(shapes) - 1):
        _coarsen(level, shapes, graph)
    for level in range(len(shapes) - 1):
        start, height, width = shapes[level]
        line = width + 2
        for i in range(1, height + 1):
            for p in range(start + i * line + 1, start + i * line + width + 1):
                joined = graph[p, _RIGHT] + graph[p - 1, _RIGHT] + graph[p, _DOWN] + graph[p - line, _DOWN]
                graph[p, _DIAGONAL] += joined
                if graph[p, _DIAGONAL] > 0:
                    graph[p, _INVERSE] = 1 / graph[p, _DIAGONAL]


@helper()
def _conductance(cost, step):  # type: ignore[no-untyped-def]
    """Of an edge, 1 where it costs nothing; 0 of a wall alone."""
    if cost == np.inf:
        return np.float32(0)
    return max(step / (cost + step), np.float32(LEAST_CONDUCTANCE))


@helper()
def _coarsen(level, shapes, graph):  # type: ignore[no-untyped-def]
    """Two edges between two blocks: half their sum, as for a path twice as long and twice as wide."""
    start, height, width = shapes[level - 1]
    line, coarse_line = width + 2, shapes[level, 2] + 2
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            p = start + i * line + j
            block = shapes[level, 0] + ((i + 1) // 2) * coarse_line + (j + 1) // 2
            graph[block, _DIAGONAL] += graph[p, _DIAGONAL]
            if j % 2 == 0:
                graph[block, _RIGHT] += graph[p, _RIGHT] / 2
            if i % 2 == 0:
                graph[block, _DOWN] += graph[p, _DOWN] / 2


@helper()
def _edges_of(p, line):  # type: ignore[no-untyped-def]
    """(pixel at the other end, pixel that stores the edge, its place there) of the four edges of a pixel."""
    return (p + 1, p, _RIGHT), (p - 1, p - 1, _RIGHT), (p + line, p, _DOWN), (p - line, p - line, _DOWN)


@njit()
def solve(graph, shapes, edges, step, seeds, lane, share, cycles, finest, x, b):  # type: ignore[no-untyped-def]
    """Probabilities that a walk ends at each target of a group.

    Args:
        graph, shapes, edges, step: as for :func:`lay_out`, after it.
        seeds, lane, share: (N, 2) pixels of the group's targets, (N,) their lane, and (N,) their share of the pixel.
        cycles: on each grid.
        finest: the grid to stop at.
        x: (pixels of all grids * LANES,) zero, written; that grid holds the result.
        b: as large, zero, overwritten.
    """
    height, width = shapes[0, 1:]
    for n in range(len(seeds)):
        i, j = seeds[n]
        if j + 1 < width:
            _flow_in(i, j + 1, edges[_TO_RIGHT, i, j], step, share[n], lane[n], shapes, graph, b)
        if j > 0:
            _flow_in(i, j - 1, edges[_TO_RIGHT, i, j - 1], step, share[n], lane[n], shapes, graph, b)
        if i + 1 < height:
            _flow_in(i + 1, j, edges[_TO_BELOW, i, j], step, share[n], lane[n], shapes, graph, b)
        if i > 0:
            _flow_in(i - 1, j, edges[_TO_BELOW, i - 1, j], step, share[n], lane[n], shapes, graph, b)
    coarsest = len(shapes) - 2
    _cycle(coarsest, shapes, graph, x, b)
    for level in range(coarsest - 1, finest - 1, -1):
        for _ in range(cycles):
            _visit(level, True, True, shapes, graph, x, b)
            _cycle(level + 1, shapes, graph, x, b)
        _visit(level, True, False, shapes, graph, x, b)
    for n in range(len(seeds)):
        x[((seeds[n, 0] + 1) * (width + 2) + seeds[n, 1] + 1) * LANES + lane[n]] = share[n]


@helper()
def _flow_in(i, j, cost, step, share, lane, shapes, graph, b):  # type: ignore[no-untyped-def]
    """From a seed over an edge to its neighbour, on every grid."""
    if graph[(i + 1) * (shapes[0, 2] + 2) + j + 1, _INVERSE] > 0:
        for level in range(len(shapes) - 1):
            p = shapes[level, 0] + ((i >> level) + 1) * (shapes[level, 2] + 2) + (j >> level) + 1
            b[p * LANES + lane] += share * _conductance(cost, step)


@helper()
def _cycle(level, shapes, graph, x, b):  # type: ignore[no-untyped-def]
    """From zero, with two visits of the coarser grid; the last one is a single pixel."""
    x[shapes[level, 0] * LANES : shapes[level + 1, 0] * LANES] = 0
    if level == len(shapes) - 2:
        _visit(level, False, False, shapes, graph, x, b)
        return
    _visit(level, False, True, shapes, graph, x, b)
    _cycle(level + 1, shapes, graph, x, b)
    _visit(level, True, True, shapes, graph, x, b)
    _cycle(level + 1, shapes, graph, x, b)
    _visit(level, True, False, shapes, graph, x, b)


@helper()
def _visit(level, enlarge, reduce, shapes, graph, x, b):  # type: ignore[no-untyped-def]
    """Add the coarser grid's solution if ``enlarge``, sweep twice, sum up the residuals of blocks if ``reduce``."""
    height = shapes[level, 1]
    if reduce:
        b[shapes[level + 1, 0] * LANES : shapes[level + 2, 0] * LANES] = 0
    for row in range(1, height + 6):
        if enlarge and row <= height:
            _add_blocks(level, row, shapes, graph, x)
        for lag in range(1, 5):  # red, black, red, black
            if 1 <= row - lag <= height:
                _relax(level, row - lag, lag % 2, shapes, graph, x, b)
        if reduce and row > 5:
            _sum_residuals(level, row - 5, shapes, graph, x, b)


@helper()
def _add_blocks(level, i, shapes, graph, x):  # type: ignore[no-untyped-def]
    start, width = shapes[level, 0], shapes[level, 2]
    above = shapes[level + 1, 0] + ((i + 1) // 2) * (shapes[level + 1, 2] + 2)
    one = np.float32(1)
    for j in range(1, width + 1):
        p = start + i * (width + 2) + j
        if graph[p, _INVERSE] > 0:
            block = load(x, (above + (j + 1) // 2) * LANES)
            store(x, p * LANES, add_scaled(load(x, p * LANES), one, block))


@helper()
def _relax(level, i, odd, shapes, graph, x, b):  # type: ignore[no-untyped-def]
    """Gauss-Seidel at every other pixel of a row."""
    start, width = shapes[level, 0], shapes[level, 2]
    line = width + 2
    for j in range(1 + (i + odd) % 2, width + 1, 2):
        p = start + i * line + j
        inverse = graph[p, _INVERSE]
        if inverse > 0:
            inflow = _inflow(p, line, graph, x, b)
            store(x, p * LANES, scaled(inverse, inflow))


@helper()
def _inflow(p, line, graph, x, b):  # type: ignore[no-untyped-def]
    """What comes to a pixel from outside and from its neighbours."""
    total = load(b, p * LANES)
    total = add_scaled(total, graph[p, _RIGHT], load(x, (p + 1) * LANES))
    total = add_scaled(total, graph[p - 1, _RIGHT], load(x, (p - 1) * LANES))
    total = add_scaled(total, graph[p, _DOWN], load(x, (p + line) * LANES))
    return add_scaled(total, graph[p - line, _DOWN], load(x, (p - line) * LANES))


@helper()
def _sum_residuals(level, i, shapes, graph, x, b):  # type: ignore[no-untyped-def]
    """Of the red pixels of a row, into the blocks of the coarser grid: black ones, just relaxed, have none."""
    start, width = shapes[level, 0], shapes[level, 2]
    line = width + 2
    above = shapes[level + 1, 0] + ((i + 1) // 2) * (shapes[level + 1, 2] + 2)
    one = np.float32(1)
    for j in range(1 + (i + 1) % 2, width + 1, 2):
        p = start + i * line + j
        if graph[p, _INVERSE] > 0:
            residual = add_scaled(_inflow(p, line, graph, x, b), -graph[p, _DIAGONAL], load(x, p * LANES))
            block = (above + (j + 1) // 2) * LANES
            store(b, block, add_scaled(load(b, block), one, residual))


@njit()
def write_planes(x, planes):  # type: ignore[no-untyped-def]
    """The lanes of the first grid as (n, H, W) planes, n <= LANES."""
    count, height, width = planes.shape
    for i in range(height):
        first = ((i + 1) * (width + 2) + 1) * LANES
        for k in range(count):
            for j in range(width):
                planes[k, i, j] = x[first + j * LANES + k]


@njit()
def keep_best(x, shapes, finest, first, count, label, best):  # type: ignore[no-untyped-def]
    """Merge a group of targets into the largest values of all and the targets that they are of.

    A grid coarser than the picture gives all pixels of a block the same.

    Args:
        x, shapes, finest: as for :func:`solve`, after it.
        first, count: of the group's targets.
        label: (H, W) int64, -1 at first, changed: the first target of the largest value, in whatever order groups come.
        best: (H, W) float32, -inf at first, changed: that value.
    """
    height, width = label.shape
    for i in range(height):
        row = shapes[finest, 0] + ((i >> finest) + 1) * (shapes[finest, 2] + 2) + 1
        for j in range(width):
            here = (row + (j >> finest)) * LANES
            lane = 0
            for k in range(1, count):
                if x[here + k] > x[here + lane]:
                    lane = k
            value = x[here + lane]
            if value > best[i, j] or (value == best[i, j] and first + lane < label[i, j]):
                label[i, j], best[i, j] = first + lane, value
