"""The grids on which random walks are solved (compiled): every other pixel of every other row makes the next one.

The last row and column always belong to it too, since a strip there would else be seen by the finer grid alone.

A pixel between those takes its value from the 2 or 4 around it, in proportion to the conductances that lead there, so
that values do not leak through a boundary, wherever it lies; and the coarse matrix is the fine one seen through that
interpolation (Galerkin). This is the black-box multigrid of Dendy (J. Comput. Phys. 1982), whose convergence hardly
depends on jumps of the conductances. The coarser grids have 8 neighbours, the picture's 4.

The grids lie one after the other in flat arrays, each with a border of one pixel that is joined to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiled.jit import helper, njit
from ..graph.grid import FORWARD_OFFSETS
from .multigrid import LEAST_CONDUCTANCE

RIGHT, DOWN, DIAGONAL, INVERSE = range(4)
RIGHT_DOWN, LEFT_DOWN = range(2)
TO_RIGHT, TO_BELOW = FORWARD_OFFSETS.index((0, 1)), FORWARD_OFFSETS.index((1, 0))

_LEAST_DIAGONAL = 1e-30
"""A pixel with less is joined to nothing: its inverse could overflow in single precision."""


def grid_shapes(height: int, width: int) -> np.ndarray:
    """(G, 3) int64: the first pixel, height and width of each grid, and a last row whose first pixel is the end."""
    rows, start = [], 0
    while True:
        rows.append((start, height, width))
        start += (height + 2) * (width + 2)
        if max(height, width) == 1:
            return np.array([*rows, (start, 0, 0)])
        height, width = (n // 2 + 1 if n > 2 else 1 for n in (height, width))


class Grids(NamedTuple):
    """The matrices of all grids, and what leads from each to the next, in double or in single precision.

    Attributes:
        shapes: (G + 1, 3) int64, as :func:`grid_shapes` says.
        graph: (pixels of all grids, 4): conductance to the right and downwards, diagonal and its inverse, which is 0
            at pixels that are seeds or joined to nothing.
        slants: (pixels of all grids, 2): conductance to the lower right and to the lower left.
        weights: (pixels of all grids, 4): of the pixels of the coarser grid at the upper left, upper right, lower left
            and lower right of a pixel, or where it is.
    """

    shapes: np.ndarray
    graph: np.ndarray
    slants: np.ndarray
    weights: np.ndarray


def lay_out(edges: np.ndarray, step: np.float32, reached: np.ndarray, seeds: np.ndarray) -> Grids:
    """The grids of a picture, in single precision; made in double precision, whose rounding leads nowhere.

    Args:
        edges: (4, H, W) costs; the two diagonals are not used.
        step: what is added to the costs.
        reached: (H, W) bool; no finite edge leads out of it.
        seeds: (N, 2) rows and columns where the solution is known.
    """
    shapes = grid_shapes(*reached.shape)
    double = Grids(shapes, *(np.zeros((shapes[-1, 0], n)) for n in (4, 2, 4)))
    _lay_out(edges, step, reached, seeds, double)
    return Grids(shapes, *(array.astype(np.float32) for array in double[1:]))


@njit()
def _lay_out(edges, step, reached, seeds, grids):  # type: ignore[no-untyped-def]
    """Write the matrices, which are zero."""
    graph = grids.graph
    _lay_out_picture(edges, step, reached, graph)
    for level in range(len(grids.shapes) - 2):
        _interpolate(level, grids)
        if level == 0:
            _take_out(seeds, grids.shapes[0, 2] + 2, graph)
        _coarsen(level, grids)
    for p in range(len(graph)):
        if graph[p, DIAGONAL] > _LEAST_DIAGONAL:
            graph[p, INVERSE] = 1 / graph[p, DIAGONAL]


@helper()
def _lay_out_picture(edges, step, reached, graph):  # type: ignore[no-untyped-def]
    """Seeds are pixels like others, so that a pixel beside one still takes part in the interpolation."""
    height, width = reached.shape
    line = width + 2
    for i in range(height):
        for j in range(width):
            if reached[i, j]:
                p = (i + 1) * line + j + 1
                if j + 1 < width:
                    graph[p, RIGHT] = conductance(edges[TO_RIGHT, i, j], step)
                if i + 1 < height:
                    graph[p, DOWN] = conductance(edges[TO_BELOW, i, j], step)
    for i in range(1, height + 1):
        for p in range(i * line + 1, i * line + width + 1):
            graph[p, DIAGONAL] += graph[p, RIGHT] + graph[p - 1, RIGHT] + graph[p, DOWN] + graph[p - line, DOWN]


@helper()
def _take_out(seeds, line, graph):  # type: ignore[no-untyped-def]
    """The edges to seeds leave the graph; the diagonal of their other end keeps them."""
    for n in range(len(seeds)):
        p = (seeds[n, 0] + 1) * line + seeds[n, 1] + 1
        for _, edge, way in _edges_of(p, line):
            graph[edge, way] = 0
        graph[p, DIAGONAL] = 0


@helper()
def conductance(cost, step):  # type: ignore[no-untyped-def]
    """Of an edge, 1 where it costs nothing; 0 of a wall alone."""
    if cost == np.inf:
        return np.float32(0)
    return max(step / (cost + step), np.float32(LEAST_CONDUCTANCE))


@helper()
def _edges_of(p, line):  # type: ignore[no-untyped-def]
    """(pixel at the other end, pixel that stores the edge, its place there) of the four edges of a pixel."""
    return (p + 1, p, RIGHT), (p - 1, p - 1, RIGHT), (p + line, p, DOWN), (p - line, p - line, DOWN)


@helper()
def _interpolate(level, grids):  # type: ignore[no-untyped-def]
    """The weights: of pixels that the coarser grid keeps, of those between two such, and of those between four."""
    graph, slants, weights = grids.graph, grids.slants, grids.weights
    start, height, width = grids.shapes[level]
    line = width + 2
    for i in range(height):
        for j in range(width):
            p = start + (i + 1) * line + j + 1
            upper, left = 2 * (i % 2), j % 2
            on_row, on_column = _is_kept(i, height), _is_kept(j, width)
            if on_row and on_column:
                weights[p, upper + left] = 1
            elif on_row:
                before = graph[p - 1, RIGHT] + slants[p - line - 1, RIGHT_DOWN] + slants[p, LEFT_DOWN]
                after = graph[p, RIGHT] + slants[p - line + 1, LEFT_DOWN] + slants[p, RIGHT_DOWN]
                ends = graph[p - 1, DIAGONAL], graph[p + 1, DIAGONAL]
                weights[p, upper], weights[p, upper + 1] = _shares(before, after, ends, _ground(p, line, graph, slants))
            elif on_column:
                before = graph[p - line, DOWN] + slants[p - line - 1, RIGHT_DOWN] + slants[p - line + 1, LEFT_DOWN]
                after = graph[p, DOWN] + slants[p, LEFT_DOWN] + slants[p, RIGHT_DOWN]
                ends = graph[p - line, DIAGONAL], graph[p + line, DIAGONAL]
                weights[p, left], weights[p, 2 + left] = _shares(before, after, ends, _ground(p, line, graph, slants))
    _interpolate_centres(level, grids)


@helper()
def _interpolate_centres(level, grids):  # type: ignore[no-untyped-def]
    """The weights of pixels between four, which take the mean of all their neighbours, of whom four lie between two."""
    graph, slants, weights = grids.graph, grids.slants, grids.weights
    start, height, width = grids.shapes[level]
    line = width + 2
    for i in range(1, height, 2):
        if _is_kept(i, height):
            continue
        for j in range(1, width, 2):
            if _is_kept(j, width):
                continue
            p = start + (i + 1) * line + j + 1
            if graph[p, DIAGONAL] > _LEAST_DIAGONAL:
                left, right, up, down = graph[p - 1, RIGHT], graph[p, RIGHT], graph[p - line, DOWN], graph[p, DOWN]
                slanted = slants[p - line - 1, RIGHT_DOWN], slants[p - line + 1, LEFT_DOWN]
                of_all = 1 / graph[p, DIAGONAL]
                weights[p, 0] = (slanted[0] + up * weights[p - line, 0] + left * weights[p - 1, 0]) * of_all
                weights[p, 1] = (slanted[1] + up * weights[p - line, 1] + right * weights[p + 1, 0]) * of_all
                lower = slants[p, LEFT_DOWN], slants[p, RIGHT_DOWN]
                weights[p, 2] = (lower[0] + down * weights[p + line, 0] + left * weights[p - 1, 2]) * of_all
                weights[p, 3] = (lower[1] + down * weights[p + line, 1] + right * weights[p + 1, 2]) * of_all


@helper(inline="always")
def _is_kept(i, count):  # type: ignore[no-untyped-def]
    """Whether a row or column is one of the coarser grid: every other, and the last unless there are only two."""
    return i % 2 == 0 or (i == count - 1 and count > 2)


@helper(inline="always")
def _shares(before, after, ends, ground):  # type: ignore[no-untyped-def]
    """Of the two ends of a line; the ground takes the rest.

    Where walls or seeds leave nothing of an end it has no value. Coarse conductances may be negative.
    """
    before = max(before, 0.0) if ends[0] > _LEAST_DIAGONAL else 0.0
    after = max(after, 0.0) if ends[1] > _LEAST_DIAGONAL else 0.0
    total = before + after + max(ground, 0.0)
    if total > _LEAST_DIAGONAL:
        return before / total, after / total
    return 0.0, 0.0


@helper()
def _coarsen(level, grids):  # type: ignore[no-untyped-def]
    """Add up the energies of the edges for each cell, which is 3 x 3 pixels between 4 of the coarser grid."""
    graph, slants = grids.graph, grids.slants
    start, height, width = grids.shapes[level]
    line, coarse_start, coarse_line = width + 2, grids.shapes[level + 1, 0], grids.shapes[level + 1, 2] + 2
    corner = np.zeros((3, 3, 4))
    matrix = np.zeros((4, 4))
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            p = start + (i + 1) * line + j + 1
            _weights_in_cell(p, line, i + 2 < height, j + 2 < width, grids.weights, corner)
            matrix[:] = 0
            for a in range(2):
                for b in range(2):
                    q = p + a * line + b
                    _add_energy(matrix, graph[q, RIGHT], corner[a, b], corner[a, b + 1])
                    _add_energy(matrix, graph[q, DOWN], corner[a, b], corner[a + 1, b])
                    _add_energy(matrix, slants[q, RIGHT_DOWN], corner[a, b], corner[a + 1, b + 1])
                    _add_energy(matrix, slants[q + 1, LEFT_DOWN], corner[a, b + 1], corner[a + 1, b])
                    _add_ground(matrix, _ground(q, line, graph, slants), corner[a, b])
            first = coarse_start + (i // 2 + 1) * coarse_line + j // 2 + 1
            _add_cell(matrix, first, coarse_line, graph, slants)


@helper(inline="always")
def _weights_in_cell(p, line, below, beside, weights, corner):  # type: ignore[no-untyped-def]
    """(3, 3, 4) weights of the cell's corners for its pixels; 0 outside the picture."""
    corner[:] = 0
    for a in range(2):
        for b in range(2):
            for k in range(4):
                corner[a, b, k] = weights[p + a * line + b, k]
        if beside:
            corner[a, 2, 1], corner[a, 2, 3] = weights[p + a * line + 2, 0], weights[p + a * line + 2, 2]
        if below:
            corner[2, a, 2], corner[2, a, 3] = weights[p + 2 * line + a, 0], weights[p + 2 * line + a, 1]
    if below and beside:
        corner[2, 2, 3] = 1


@helper(inline="always")
def _ground(p, line, graph, slants):  # type: ignore[no-untyped-def]
    """What leads from a pixel to none of its neighbours."""
    joined = graph[p, RIGHT] + graph[p - 1, RIGHT] + graph[p, DOWN] + graph[p - line, DOWN]
    joined += slants[p, RIGHT_DOWN] + slants[p, LEFT_DOWN]
    joined += slants[p - line - 1, RIGHT_DOWN] + slants[p - line + 1, LEFT_DOWN]
    return graph[p, DIAGONAL] - joined


@helper(inline="always")
def _add_energy(matrix, conductance, one, other):  # type: ignore[no-untyped-def]
    """Of an edge between two pixels, given the corners' weights for both."""
    if conductance != 0:
        for k in range(4):
            for m in range(k, 4):
                matrix[k, m] += conductance * (one[k] - other[k]) * (one[m] - other[m])


@helper(inline="always")
def _add_ground(matrix, ground, one):  # type: ignore[no-untyped-def]
    """Of a pixel's edges to seeds."""
    if ground > 0:
        for k in range(4):
            for m in range(k, 4):
                matrix[k, m] += ground * one[k] * one[m]


@helper(inline="always")
def _add_cell(matrix, first, line, graph, slants):  # type: ignore[no-untyped-def]
    """The (4, 4) matrix of a cell's corners to the one of the grid."""
    graph[first, RIGHT] -= matrix[0, 1]
    graph[first, DOWN] -= matrix[0, 2]
    graph[first + 1, DOWN] -= matrix[1, 3]
    graph[first + line, RIGHT] -= matrix[2, 3]
    slants[first, RIGHT_DOWN] -= matrix[0, 3]
    slants[first + 1, LEFT_DOWN] -= matrix[1, 2]
    for k, p in enumerate((first, first + 1, first + line, first + line + 1)):
        graph[p, DIAGONAL] += matrix[k, k]
