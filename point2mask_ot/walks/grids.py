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
from .lanes import at
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
    """The matrices of all grids, and what leads from each to the next, in flat float32 arrays.

    Attributes:
        shapes: (G + 1, 3) int64, as :func:`grid_shapes` says.
        graph: 4 for each pixel of all grids: conductance to the right and downwards, diagonal and its inverse, which is
            0 at pixels that are seeds or joined to nothing.
        slants: 2 for each pixel of all grids but the first: conductance to the lower right and to the lower left.
        weights: 4 for each pixel of all grids: of the pixels of the coarser grid at the upper left, upper right, lower
            left and lower right of a pixel, or where it is; 0 at seeds.
    """

    shapes: np.ndarray
    graph: np.ndarray
    slants: np.ndarray
    weights: np.ndarray


def lay_out(edges: np.ndarray, step: np.float32, reached: np.ndarray, seeds: np.ndarray) -> Grids:
    """The grids of a picture. Each is made of the finer one in double precision, whose rounding leads nowhere.

    Args:
        edges: (4, H, W) costs; the two diagonals are not used.
        step: what is added to the costs.
        reached: (H, W) bool; no finite edge leads out of it.
        seeds: (N, 2) rows and columns where the solution is known.
    """
    shapes = grid_shapes(*reached.shape)
    first, size = shapes[1, 0], shapes[-1, 0]
    grids = Grids(shapes, *(np.zeros(n, np.float32) for n in (4 * size, 2 * (size - first), 4 * size)))
    ground = np.zeros(size - first, np.float32)
    rows = np.zeros((3, reached.shape[1] + 4, 4))
    _lay_out(edges, step, reached, seeds, grids, ground, rows)
    return grids


@njit()
def _lay_out(edges, step, reached, seeds, grids, ground, rows):  # type: ignore[no-untyped-def]
    """Write the matrices, which are zero."""
    _lay_out_picture(edges, step, reached, grids)
    for n in range(len(seeds)):
        grids.graph[4 * ((seeds[n, 0] + 1) * (grids.shapes[0, 2] + 2) + seeds[n, 1] + 1) + INVERSE] = 0
    for level in range(len(grids.shapes) - 2):
        _coarsen(level, grids, ground, rows)
        _finish(level + 1, grids, ground)


@helper()
def _lay_out_picture(edges, step, reached, grids):  # type: ignore[no-untyped-def]
    graph, (height, width) = grids.graph, reached.shape
    line = width + 2
    for i in range(height):
        for j in range(width):
            if reached[i, j]:
                p = 4 * ((i + 1) * line + j + 1)
                if j + 1 < width:
                    graph[p + RIGHT] = conductance(edges[TO_RIGHT, i, j], step)
                if i + 1 < height:
                    graph[p + DOWN] = conductance(edges[TO_BELOW, i, j], step)
    for i in range(1, height + 1):
        for p in range(i * line + 1, i * line + width + 1):
            total = at(graph, 4 * p + RIGHT) + at(graph, 4 * (p - 1) + RIGHT)
            _set_diagonal(p, total + at(graph, 4 * p + DOWN) + at(graph, 4 * (p - line) + DOWN), graph)


@helper()
def _set_diagonal(p, value, graph):  # type: ignore[no-untyped-def]
    if value > _LEAST_DIAGONAL:
        graph[4 * p + DIAGONAL], graph[4 * p + INVERSE] = value, 1 / value


@helper()
def conductance(cost, step):  # type: ignore[no-untyped-def]
    """Of an edge, 1 where it costs nothing; 0 of a wall alone."""
    if cost == np.inf:
        return np.float32(0)
    return max(step / (cost + step), np.float32(LEAST_CONDUCTANCE))


@helper()
def _finish(level, grids, ground):  # type: ignore[no-untyped-def]
    """The diagonal of a coarser grid: what leads to the neighbours and to seeds."""
    start, height, width = grids.shapes[level]
    for i in range(1, height + 1):
        for p in range(start + i * (width + 2) + 1, start + i * (width + 2) + width + 1):
            straight, slanted, lost = _edges_of(p, level, grids, ground)
            total = straight[0] + straight[1] + straight[2] + straight[3]
            total += slanted[0] + slanted[1] + slanted[2] + slanted[3]
            _set_diagonal(p, np.float32(total + lost), grids.graph)


@helper()
def _edges_of(p, level, grids, ground):  # type: ignore[no-untyped-def]
    """Conductances of a pixel to the left, right, up and down; to the upper left, upper right, lower left and lower
    right; and to seeds, which the picture's pixels count among their neighbours."""
    graph, slants = grids.graph, grids.slants
    line = grids.shapes[level, 2] + 2
    left, right = np.float64(at(graph, 4 * (p - 1) + RIGHT)), np.float64(at(graph, 4 * p + RIGHT))
    up, down = np.float64(at(graph, 4 * (p - line) + DOWN)), np.float64(at(graph, 4 * p + DOWN))
    if level == 0:
        return (left, right, up, down), (0.0, 0.0, 0.0, 0.0), 0.0
    q = p - grids.shapes[1, 0]
    upper_left = np.float64(at(slants, 2 * (q - line - 1) + RIGHT_DOWN))
    upper_right = np.float64(at(slants, 2 * (q - line + 1) + LEFT_DOWN))
    lower_left, lower_right = np.float64(at(slants, 2 * q + LEFT_DOWN)), np.float64(at(slants, 2 * q + RIGHT_DOWN))
    slanted = upper_left, upper_right, lower_left, lower_right
    return (left, right, up, down), slanted, np.float64(at(ground, q))


@helper()
def _coarsen(level, grids, ground, rows):  # type: ignore[no-untyped-def]
    """The interpolation from the coarser grid, and its matrix.

    That adds up the energies of the edges for each cell, which is 3 x 3 pixels between 4 of the coarser grid. ``rows``
    holds the weights of the cells' rows of pixels in double precision.
    """
    _, height, width = grids.shapes[level]
    rows[:] = 0
    _interpolate(level, 0, grids, ground, rows[0])
    for i in range(0, height, 2):
        rows[1:] = 0
        if i + 1 < height:
            _interpolate(level, i + 1, grids, ground, rows[1])
        if i + 2 < height:
            _interpolate(level, i + 2, grids, ground, rows[2])
        if i + 1 < height and not _is_kept(i + 1, height):
            _interpolate_centres(level, i + 1, grids, ground, rows)
        for j in range(0, width, 2):
            if _is_kept(i + 1, height) or _is_kept(j + 1, width):
                _add_narrow_cell(level, i, j, grids, ground, rows)
            else:
                _add_cell(level, i, j, grids, ground, rows)
        _write_weights(level, i, grids, rows)
        for j in range(rows.shape[1]):  # an assignment of the whole row takes a second to compile
            for k in range(rows.shape[2]):
                rows[0, j, k] = rows[2, j, k]


@helper()
def _write_weights(level, i, grids, rows):  # type: ignore[no-untyped-def]
    start, height, width = grids.shapes[level]
    for a in range(min(2, height - i)):
        first = start + (i + a + 1) * (width + 2) + 1
        for j in range(width):
            for k in range(4):
                grids.weights[4 * (first + j) + k] = rows[a, j, k]


@helper()
def _interpolate(level, i, grids, ground, row):  # type: ignore[no-untyped-def]
    """The weights of pixels that the coarser grid keeps, and of those between two such, in a row."""
    start, height, width = grids.shapes[level]
    line = width + 2
    on_row, upper = _is_kept(i, height), 2 * (i % 2)
    for j in range(width):
        p, left = start + (i + 1) * line + j + 1, j % 2
        on_column = _is_kept(j, width)
        if at(grids.graph, 4 * p + INVERSE) == 0:  # known, or of no value
            continue
        if on_row and on_column:
            row[j, upper + left] = 1
        elif on_row or on_column:
            straight, slanted, lost = _edges_of(p, level, grids, ground)
            if on_row:
                before, after = straight[0] + slanted[0] + slanted[2], straight[1] + slanted[1] + slanted[3]
                row[j, upper], row[j, upper + 1] = _shares(before, after, p - 1, p + 1, lost, grids.graph)
            else:
                before, after = straight[2] + slanted[0] + slanted[1], straight[3] + slanted[2] + slanted[3]
                row[j, left], row[j, 2 + left] = _shares(before, after, p - line, p + line, lost, grids.graph)


@helper()
def _shares(before, after, one, other, lost, graph):  # type: ignore[no-untyped-def]
    """Of the two ends of a line; the ground takes the rest.

    Where walls leave nothing of an end it has no value. Coarse conductances may be negative.
    """
    before = max(before, 0.0) if at(graph, 4 * one + DIAGONAL) > 0 else 0.0
    after = max(after, 0.0) if at(graph, 4 * other + DIAGONAL) > 0 else 0.0
    total = before + after + max(lost, 0.0)
    if total > _LEAST_DIAGONAL:
        return before / total, after / total
    return 0.0, 0.0


@helper()
def _interpolate_centres(level, i, grids, ground, rows):  # type: ignore[no-untyped-def]
    """The weights of pixels between four, which take the mean of all their neighbours, of whom four lie between two."""
    start, _, width = grids.shapes[level]
    for j in range(1, width, 2):
        p = start + (i + 1) * (width + 2) + j + 1
        if _is_kept(j, width) or at(grids.graph, 4 * p + INVERSE) == 0:
            continue
        (left, right, up, down), slanted, lost = _edges_of(p, level, grids, ground)
        total = left + right + up + down + slanted[0] + slanted[1] + slanted[2] + slanted[3] + lost
        above, own, below = rows[0], rows[1], rows[2]
        own[j, 0] = (slanted[0] * above[j - 1, 0] + up * above[j, 0] + left * own[j - 1, 0]) / total
        own[j, 1] = (slanted[1] * above[j + 1, 0] + up * above[j, 1] + right * own[j + 1, 0]) / total
        own[j, 2] = (slanted[2] * below[j - 1, 0] + down * below[j, 0] + left * own[j - 1, 2]) / total
        own[j, 3] = (slanted[3] * below[j + 1, 0] + down * below[j, 1] + right * own[j + 1, 2]) / total


@helper()
def _is_kept(i, count):  # type: ignore[no-untyped-def]
    """Whether a row or column is one of the coarser grid: every other, and the last unless there are only two."""
    return i % 2 == 0 or (i == count - 1 and count > 2)


@helper()
def _add_cell(level, i, j, grids, ground, rows):  # type: ignore[no-untyped-def]
    """The energies of a cell of 3 x 3 pixels.

    Those of its centre's edges are the sum over its neighbours, g w w', less what the centre, which is their mean,
    takes off: d c c'. Then come the edges along the upper and the left line, and those between the middles of lines.
    What weights lack to 1 leads to seeds.
    """
    start, _, width = grids.shapes[level]
    line = width + 2
    p = start + (i + 1) * line + j + 1
    above, own, below = rows[0], rows[1], rows[2]
    k0, k1, k2, k3 = above[j, 0], above[j + 2, 0], below[j, 0], below[j + 2, 0]
    t0, t1, l0, l2 = above[j + 1, 0], above[j + 1, 1], own[j, 0], own[j, 2]
    r1, r3, o2, o3 = own[j + 2, 0], own[j + 2, 2], below[j + 1, 0], below[j + 1, 1]
    c0, c1, c2, c3 = own[j + 1, 0], own[j + 1, 1], own[j + 1, 2], own[j + 1, 3]
    (gl, gr, gu, gd), (h0, h1, h2, h3), lost = _edges_of(p + line + 1, level, grids, ground)
    d = gl + gr + gu + gd + h0 + h1 + h2 + h3 + lost
    of_c, of_t, of_l, of_r, of_o = c0 + c1 + c2 + c3, t0 + t1, l0 + l2, r1 + r3, o2 + o3
    e01, e02, e13, e23 = (
        gu * t0 * t1 - d * c0 * c1,
        gl * l0 * l2 - d * c0 * c2,
        gr * r1 * r3 - d * c1 * c3,
        gd * o2 * o3,
    )
    e23, e03, e12 = e23 - d * c2 * c3, -d * c0 * c3, -d * c1 * c2
    s0 = gu * t0 * of_t + gl * l0 * of_l + h0 * k0 - d * c0 * of_c
    s1 = gu * t1 * of_t + gr * r1 * of_r + h1 * k1 - d * c1 * of_c
    s2 = gl * l2 * of_l + gd * o2 * of_o + h2 * k2 - d * c2 * of_c
    s3 = gr * r3 * of_r + gd * o3 * of_o + h3 * k3 - d * c3 * of_c
    graph = grids.graph
    before, after = np.float64(at(graph, 4 * p + RIGHT)), np.float64(at(graph, 4 * (p + 1) + RIGHT))
    e01 += after * t0 * (t1 - k1) - before * (k0 - t0) * t1
    s0 += before * (k0 - t0) * (k0 - of_t) + after * t0 * (of_t - k1)
    s1 += after * (t1 - k1) * (of_t - k1) - before * t1 * (k0 - of_t)
    before, after = np.float64(at(graph, 4 * p + DOWN)), np.float64(at(graph, 4 * (p + line) + DOWN))
    e02 += after * l0 * (l2 - k2) - before * (k0 - l0) * l2
    s0 += before * (k0 - l0) * (k0 - of_l) + after * l0 * (of_l - k2)
    s2 += after * (l2 - k2) * (of_l - k2) - before * l2 * (k0 - of_l)
    if level > 0:
        q = p - grids.shapes[1, 0]
        slants = grids.slants
        lost = np.float64(at(ground, q + 1))
        e01, s0, s1 = (
            e01 + lost * t0 * t1,
            s0 + lost * t0 * of_t + np.float64(at(ground, q)) * k0,
            s1 + lost * t1 * of_t,
        )
        lost = np.float64(at(ground, q + line))
        e02, s0, s2 = e02 + lost * l0 * l2, s0 + lost * l0 * of_l, s2 + lost * l2 * of_l
        g = np.float64(at(slants, 2 * (q + 1) + LEFT_DOWN))
        e01, e02, e12 = e01 + g * (t0 - l0) * t1, e02 - g * (t0 - l0) * l2, e12 - g * t1 * l2
        g *= of_t - of_l
        s0, s1, s2 = s0 + g * (t0 - l0), s1 + g * t1, s2 - g * l2
        g = np.float64(at(slants, 2 * (q + 1) + RIGHT_DOWN))
        e01, e03, e13 = e01 + g * t0 * (t1 - r1), e03 - g * t0 * r3, e13 - g * (t1 - r1) * r3
        g *= of_t - of_r
        s0, s1, s3 = s0 + g * t0, s1 + g * (t1 - r1), s3 - g * r3
        g = np.float64(at(slants, 2 * (q + line) + RIGHT_DOWN))
        e02, e03, e23 = e02 + g * l0 * (l2 - o2), e03 - g * l0 * o3, e23 - g * (l2 - o2) * o3
        g *= of_l - of_o
        s0, s2, s3 = s0 + g * l0, s2 + g * (l2 - o2), s3 - g * o3
        g = np.float64(at(slants, 2 * (q + line + 2) + LEFT_DOWN))
        e12, e13, e23 = e12 - g * r1 * o2, e13 + g * r1 * (r3 - o3), e23 - g * o2 * (r3 - o3)
        g *= of_r - of_o
        s1, s2, s3 = s1 + g * r1, s2 - g * o2, s3 + g * (r3 - o3)
    _add_edges(level, i, j, (e01, e02, e13, e23, e03, e12), (s0, s1, s2, s3), grids, ground)


@helper()
def _add_edges(level, i, j, energy, lost, grids, ground):  # type: ignore[no-untyped-def]
    """A cell's off-diagonal energies and the sums of its rows to the matrix of the coarser grid."""
    graph, slants, line = grids.graph, grids.slants, grids.shapes[level + 1, 2] + 2
    p = grids.shapes[level + 1, 0] + (i // 2 + 1) * line + j // 2 + 1
    q = p - grids.shapes[1, 0]
    graph[4 * p + RIGHT] -= energy[0]
    graph[4 * p + DOWN] -= energy[1]
    graph[4 * (p + 1) + DOWN] -= energy[2]
    graph[4 * (p + line) + RIGHT] -= energy[3]
    slants[2 * q + RIGHT_DOWN] -= energy[4]
    slants[2 * (q + 1) + LEFT_DOWN] -= energy[5]
    ground[q] += lost[0]
    ground[q + 1] += lost[1]
    ground[q + line] += lost[2]
    ground[q + line + 1] += lost[3]


@helper()
def _add_narrow_cell(level, i, j, grids, ground, rows):  # type: ignore[no-untyped-def]
    """The same edge by edge, where a cell has no centre, since the last row or column is kept."""
    line = grids.shapes[level, 2] + 2
    p = grids.shapes[level, 0] + (i + 1) * line + j + 1
    corner, matrix, lost = np.zeros((4, 3, 4)), np.zeros((4, 4)), np.zeros(4)  # the last row leads to seeds
    for a in range(3):
        for b in range(3):
            for k in range(4):  # weights are said in terms of the cell that a pixel is the upper left of
                if (a < 2 or k >= 2) and (b < 2 or k % 2):
                    corner[a, b, k] = rows[a, j + b, k - 2 * (a == 2) - (b == 2)]
    for n in range(20):
        a, b, way = n // 10, n // 5 % 2, n % 5
        one, down, right = corner[a, b + (way == 3)], _ENDS[way][0], _ENDS[way][1]
        value = _conductance_of(p + a * line + b, level, way, grids, ground)
        other = corner[a + down, b + right] if way < 4 else corner[3, 0]
        total = 0.0
        for k in range(4):
            total += value * (one[k] - other[k])
        for k in range(4):
            lost[k] += total * (one[k] - other[k])
            for m in range(4):
                matrix[k, m] += value * (one[k] - other[k]) * (one[m] - other[m])
    energy = matrix[0, 1], matrix[0, 2], matrix[1, 3], matrix[2, 3], matrix[0, 3], matrix[1, 2]
    _add_edges(level, i, j, energy, (lost[0], lost[1], lost[2], lost[3]), grids, ground)


_ENDS = (0, 1), (1, 0), (1, 1), (1, 0), (0, 0)
"""Rows and columns from a pixel to the other end of its edges to the right, down and to the lower right, of that from
the pixel on its right to the lower left, and of what leads to seeds."""


@helper()
def _conductance_of(p, level, way, grids, ground):  # type: ignore[no-untyped-def]
    q = p - grids.shapes[1, 0]
    if way == 0:
        return np.float64(at(grids.graph, 4 * p + RIGHT))
    if way == 1:
        return np.float64(at(grids.graph, 4 * p + DOWN))
    if level == 0:
        return 0.0
    if way == 2:
        return np.float64(at(grids.slants, 2 * q + RIGHT_DOWN))
    if way == 3:
        return np.float64(at(grids.slants, 2 * (q + 1) + LEFT_DOWN))
    return np.float64(at(ground, q))
