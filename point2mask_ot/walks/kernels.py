"""Full multigrid for the linear systems of random walks (compiled): all targets of a group in the lanes of a vector.

The grids are those of :mod:`.grids`. A grid starts from the solution on the coarser one; then come W-cycles with
two red-black Gauss-Seidel sweeps on the way down and two on the way up. Both sweeps, and what is added before or summed
up after them, go through memory once: the rows follow each other as a wave. On the coarser grids, whose pixels have 8
neighbours, those of a colour are not independent; they are relaxed one after the other all the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiled.jit import helper, njit
from .grids import DIAGONAL, DOWN, INVERSE, LEFT_DOWN, RIGHT, RIGHT_DOWN, TO_BELOW, TO_RIGHT, conductance
from .lanes import LANES, add_scaled, load, scaled, store

_SWEEPS = 2


class Seeds(NamedTuple):
    """Points of a group of targets, where the solution is known.

    Attributes:
        pixels: (N, 2) int64 rows and columns.
        lane: (N,) int64, which of the targets each is of.
        share: (N,) float32, its share of the pixel.
    """

    pixels: np.ndarray
    lane: np.ndarray
    share: np.ndarray


@njit()
def solve(grids, edges, step, seeds, cycles, x, b):  # type: ignore[no-untyped-def]
    """Probabilities that a walk ends at each target of a group.

    Args:
        grids, edges, step: as of :func:`.grids.lay_out`.
        seeds: of the group's targets.
        cycles: on each grid.
        x: (pixels of all grids * LANES,) zero, written; the first grid holds the result.
        b: as large, zero, overwritten.
    """
    height, width = grids.shapes[0, 1:]
    for n in range(len(seeds.pixels)):
        i, j = seeds.pixels[n]
        if j + 1 < width:
            _flow_in(i, j + 1, conductance(edges[TO_RIGHT, i, j], step), n, seeds, grids, b)
        if j > 0:
            _flow_in(i, j - 1, conductance(edges[TO_RIGHT, i, j - 1], step), n, seeds, grids, b)
        if i + 1 < height:
            _flow_in(i + 1, j, conductance(edges[TO_BELOW, i, j], step), n, seeds, grids, b)
        if i > 0:
            _flow_in(i - 1, j, conductance(edges[TO_BELOW, i - 1, j], step), n, seeds, grids, b)
    coarsest = len(grids.shapes) - 2
    for level in range(coarsest):
        _reduce_inflow(level, grids, b)
    _cycle(coarsest, grids, x, b)
    for level in range(coarsest - 1, -1, -1):
        for _ in range(cycles):
            _visit(level, True, True, grids, x, b)
            _cycle(level + 1, grids, x, b)
        _visit(level, True, False, grids, x, b)
    for n in range(len(seeds.pixels)):
        i, j = seeds.pixels[n]
        x[((i + 1) * (width + 2) + j + 1) * LANES + seeds.lane[n]] = seeds.share[n]


@helper()
def _flow_in(i, j, conductance, n, seeds, grids, b):  # type: ignore[no-untyped-def]
    """From seed n over an edge to its neighbour."""
    p = (i + 1) * (grids.shapes[0, 2] + 2) + j + 1
    if grids.graph[p, INVERSE] > 0:
        b[p * LANES + seeds.lane[n]] += seeds.share[n] * conductance


@helper()
def _reduce_inflow(level, grids, b):  # type: ignore[no-untyped-def]
    start, height, width = grids.shapes[level]
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            p = start + i * (width + 2) + j
            _reduce(level, i, j, load(b, p * LANES), grids, b)


@helper()
def _cycle(level, grids, x, b):  # type: ignore[no-untyped-def]
    """From zero; the last grid is a single pixel."""
    x[grids.shapes[level, 0] * LANES : grids.shapes[level + 1, 0] * LANES] = 0
    if level == len(grids.shapes) - 2:
        _visit(level, False, False, grids, x, b)
        return
    _visit(level, False, True, grids, x, b)
    _cycle(level + 1, grids, x, b)
    _visit(level, True, True, grids, x, b)
    _cycle(level + 1, grids, x, b)
    _visit(level, True, False, grids, x, b)


@helper()
def _visit(level, enlarge, reduce, grids, x, b):  # type: ignore[no-untyped-def]
    """Add the coarser grid's solution if ``enlarge``, sweep, take the residuals there if ``reduce``."""
    start, height, width = grids.shapes[level]
    line = width + 2
    if reduce:
        b[grids.shapes[level + 1, 0] * LANES : grids.shapes[level + 2, 0] * LANES] = 0
    for row in range(1, height + 2 * _SWEEPS + 2):
        if enlarge and row <= height:
            _add_interpolated(level, row, grids, x)
        for lag in range(1, 2 * _SWEEPS + 1):  # red, black, red, black
            if 1 <= row - lag <= height:
                first = start + (row - lag) * line + 1
                _relax(first + row % 2, first + width, line, level > 0, grids.graph, grids.slants, x, b)
        if reduce and row > 2 * _SWEEPS + 1:
            _reduce_residuals(level, row - 2 * _SWEEPS - 1, grids, x, b)


@helper()
def _add_interpolated(level, i, grids, x):  # type: ignore[no-untyped-def]
    """The coarser grid's solution to a row."""
    shapes, graph, weights = grids.shapes, grids.graph, grids.weights
    start, width, coarse_line = shapes[level, 0], shapes[level, 2], shapes[level + 1, 2] + 2
    above = shapes[level + 1, 0] + ((i + 1) // 2) * coarse_line
    for j in range(1, width + 1):
        p, corner = start + i * (width + 2) + j, above + (j + 1) // 2
        if graph[p, INVERSE] == 0:
            continue
        total = add_scaled(load(x, p * LANES), weights[p, 0], load(x, corner * LANES))
        if j % 2 == 0:
            total = add_scaled(total, weights[p, 1], load(x, (corner + 1) * LANES))
        if i % 2 == 0:
            total = add_scaled(total, weights[p, 2], load(x, (corner + coarse_line) * LANES))
            if j % 2 == 0:
                total = add_scaled(total, weights[p, 3], load(x, (corner + coarse_line + 1) * LANES))
        store(x, p * LANES, total)


@helper()
def _relax(first, end, line, is_slanted, graph, slants, x, b):  # type: ignore[no-untyped-def]
    """Gauss-Seidel at every other pixel of a row. Takes arrays, not their record: to pass that would take longer."""
    if is_slanted:
        for p in range(first, end, 2):
            inflow = _slanted_inflow(_inflow(p, line, graph, x, b), p, line, slants, x)
            store(x, p * LANES, scaled(graph[p, INVERSE], inflow))
    else:
        for p in range(first, end, 2):
            store(x, p * LANES, scaled(graph[p, INVERSE], _inflow(p, line, graph, x, b)))


@helper()
def _inflow(p, line, graph, x, b):  # type: ignore[no-untyped-def]
    """What comes to a pixel from outside and from its 4 neighbours."""
    total = load(b, p * LANES)
    total = add_scaled(total, graph[p, RIGHT], load(x, (p + 1) * LANES))
    total = add_scaled(total, graph[p - 1, RIGHT], load(x, (p - 1) * LANES))
    total = add_scaled(total, graph[p, DOWN], load(x, (p + line) * LANES))
    return add_scaled(total, graph[p - line, DOWN], load(x, (p - line) * LANES))


@helper()
def _slanted_inflow(total, p, line, slants, x):  # type: ignore[no-untyped-def]
    """And from the other 4, on the coarser grids."""
    total = add_scaled(total, slants[p, RIGHT_DOWN], load(x, (p + line + 1) * LANES))
    total = add_scaled(total, slants[p - line - 1, RIGHT_DOWN], load(x, (p - line - 1) * LANES))
    total = add_scaled(total, slants[p, LEFT_DOWN], load(x, (p + line - 1) * LANES))
    return add_scaled(total, slants[p - line + 1, LEFT_DOWN], load(x, (p - line + 1) * LANES))


@helper()
def _reduce_residuals(level, i, grids, x, b):  # type: ignore[no-untyped-def]
    """Of a row, to the coarser grid. The picture's black pixels, just relaxed, have none."""
    graph = grids.graph
    start, width = grids.shapes[level, 0], grids.shapes[level, 2]
    line = width + 2
    first = start + i * line
    for j in range(1 + (i + 1) % 2 if level == 0 else 1, width + 1, 2 if level == 0 else 1):
        p = first + j
        if graph[p, INVERSE] > 0:
            total = _inflow(p, line, graph, x, b)
            if level > 0:
                total = _slanted_inflow(total, p, line, grids.slants, x)
            _reduce(level, i, j, add_scaled(total, -graph[p, DIAGONAL], load(x, p * LANES)), grids, b)


@helper(inline="always")
def _reduce(level, i, j, value, grids, b):  # type: ignore[no-untyped-def]
    """Add to the coarser grid, where the interpolation would take a pixel's value from."""
    shapes, weights = grids.shapes, grids.weights
    p, coarse_line = shapes[level, 0] + i * (shapes[level, 2] + 2) + j, shapes[level + 1, 2] + 2
    corner = shapes[level + 1, 0] + ((i + 1) // 2) * coarse_line + (j + 1) // 2
    _add(b, corner, weights[p, 0], value)
    if j % 2 == 0:
        _add(b, corner + 1, weights[p, 1], value)
    if i % 2 == 0:
        _add(b, corner + coarse_line, weights[p, 2], value)
        if j % 2 == 0:
            _add(b, corner + coarse_line + 1, weights[p, 3], value)


@helper(inline="always")
def _add(b, p, weight, value):  # type: ignore[no-untyped-def]
    store(b, p * LANES, add_scaled(load(b, p * LANES), weight, value))


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
def keep_best(x, first, count, label, best):  # type: ignore[no-untyped-def]
    """Merge a group of targets into the largest values of all and the targets that they are of.

    Args:
        x: as for :func:`solve`, after it.
        first, count: of the group's targets.
        label: (H, W) int64, -1 at first, changed: the first target of the largest value, in whatever order groups come.
        best: (H, W) float32, -inf at first, changed: that value.
    """
    height, width = label.shape
    for i in range(height):
        for j in range(width):
            here = ((i + 1) * (width + 2) + j + 1) * LANES
            lane = 0
            for k in range(1, count):
                if x[here + k] > x[here + lane]:
                    lane = k
            value = x[here + lane]
            if value > best[i, j] or (value == best[i, j] and first + lane < label[i, j]):
                label[i, j], best[i, j] = first + lane, value
