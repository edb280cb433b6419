"""Full multigrid for the linear systems of random walks (compiled): all targets of a group in the lanes of a vector.

The grids are those of :mod:`.grids`. A grid starts from the solution on the coarser one; then come F-cycles with
two red-black Gauss-Seidel sweeps on the way down and two on the way up. Both sweeps, and what is added before or summed
up after them, go through memory once: the rows follow each other as a wave. On the coarser grids, whose pixels have 8
neighbours, those of a colour are not independent; they are relaxed one after the other all the same.

The picture itself has no right-hand side: where the solution is known it is put back after each half sweep. Gradients
have one, of the same matrix; for them the kernels are compiled once more, when one is first asked for.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from ..compiled.jit import helper, njit
from .grids import DIAGONAL, DOWN, INVERSE, LEFT_DOWN, RIGHT, RIGHT_DOWN
from .lanes import add, add_scaled, at, load, scaled, store, zero

_SWEEPS = 2
_LAST = 2 * _SWEEPS + 2
"""By so many pixels residuals lie behind the first half sweep."""
_STRIP = 512
"""Columns of a picture of more than twice as many that go by at once."""


class Seeds(NamedTuple):
    """Pixels where the solution is known, those of all targets, row by row.

    Attributes:
        first: (H + 1,) int64: seeds first[i] to first[i + 1] lie in row i.
        place: (N,) int64, in the first grid.
        value: (N,) vectors, what a group of targets is there.
    """

    first: np.ndarray
    place: np.ndarray
    value: np.ndarray


def plan(grids: int, cycles: int) -> np.ndarray:
    """(N, 4) int64, the order in which grids are visited: from the coarsest to the picture, in F-cycles.

    A row has the grid, and whether it starts from zero, first adds what the coarser one found, and then hands its
    residuals there.

    Args:
        grids: how many.
        cycles: on the picture; one on each coarser grid, which only starts the next.
    """
    coarsest = grids - 1

    @cache
    def cycle(level: int, is_full: bool) -> list[tuple[int, bool, bool, bool]]:
        if level == coarsest:
            return [(level, True, False, False)]
        down, up = (level, True, False, True), (level, False, True, False)
        again = [(level, False, True, True), *cycle(level + 1, False)] if is_full else []
        return [down, *cycle(level + 1, is_full), *again, up]

    visits = cycle(coarsest, True) if coarsest else []
    for level in reversed(range(coarsest)):
        once = [(level, False, True, True), *cycle(level + 1, True)]
        visits = visits + once * (1 if level else cycles) + [(level, False, True, False)]
    return np.array(visits, np.int64).reshape(-1, 4)


@njit()
def solve(grids, seeds, visits, x, b, residual, source):  # type: ignore[no-untyped-def]
    """Probabilities that a walk ends at each target of a group, or what flows from sources.

    Args:
        grids: as :func:`.grids.lay_out` makes them for these seeds.
        seeds: of the group's targets and of all others.
        visits: see :func:`plan`.
        x: (pixels of all grids,) vectors of zeros, overwritten; the first grid holds the result.
        b: (pixels of all grids but the first,) the same.
        residual: (W + 4,) the same.
        source: None, or (pixels of the first grid,) vectors, the right-hand side there, zero at seeds and on the
            border; then there is nothing in ``seeds``.
    """
    _start(grids, seeds, x, b, residual, source)
    for n in range(len(visits)):
        level = visits[n, 0]
        if visits[n, 1]:
            for p in range(grids.shapes[level, 0], grids.shapes[level + 1, 0]):
                store(x, p, zero(x))
        _visit(level, visits[n, 2] > 0, visits[n, 3] > 0, grids, seeds, x, b, residual, source)


@helper()
def _start(grids, seeds, x, b, residual, source):  # type: ignore[no-untyped-def]
    """Seeds, and what flows from them and from sources to the coarser grids."""
    for n in range(len(seeds.place)):
        store(x, seeds.place[n], load(seeds.value, n))
    for level in range(len(grids.shapes) - 2):
        start, height, width = grids.shapes[level]
        for i in range(height):
            if level > 0:
                here = start - grids.shapes[1, 0] + (i + 1) * (width + 2) + 1
                _collect(level, i, 0, grids.shapes[level + 1, 2], b, here, grids, b)
            elif source is not None or _seeds_between(i - 1, i + 2, seeds):
                _residuals(0, i, 0, width, 1, grids, x, b, residual, source)
                _collect(0, i, 0, grids.shapes[1, 2], residual, 1, grids, b)


@helper()
def _seeds_between(top, bottom, seeds):  # type: ignore[no-untyped-def]
    return seeds.first[max(top, 0)] < seeds.first[min(bottom, len(seeds.first) - 1)]


@helper()
def _visit(level, enlarge, reduce, grids, seeds, x, b, residual, source):  # type: ignore[no-untyped-def]
    """Add the coarser grid's solution if ``enlarge``, sweep, take the residuals there if ``reduce``.

    A wide picture goes by in strips of columns, of which as many rows as a wave is long stay in the cache. A strip lies
    one pixel further left for each half sweep, so that every pixel finds its neighbours as if rows were whole.
    """
    start, height, width = grids.shapes[level]
    strip = _STRIP if level == 0 and width > 2 * _STRIP else width + _LAST
    for left in range(0, width + _LAST, strip):
        for row in range(height + 2 * _SWEEPS + 1):
            if enlarge and row < height:
                _enlarge(level, row, left, min(left + strip, width), grids, x)
                if level == 0:
                    _put_back(row, seeds, x)
            for lag in range(1, 2 * _SWEEPS + 1):  # red, black, red, black
                i = row - lag
                if 0 <= i < height:
                    first, end = max(left - lag, 0), min(left + strip - lag, width)
                    first += (first + i + lag + 1) % 2
                    line = start + (i + 1) * (width + 2) + 1
                    if level == 0:
                        _relax_straight(line + first, line + end, width + 2, grids.graph, x, source)
                        _put_back(i, seeds, x)
                    else:
                        _relax(line + first, line + end, width + 2, grids.shapes[1, 0], grids.graph, grids.slants, x, b)
            i = row - 2 * _SWEEPS - 1
            if reduce and i >= 0:  # the picture's black pixels, just relaxed, have no residual
                first, end = max(left - _LAST, 0), min(left + strip - _LAST, width)
                _residuals(level, i, first, end, 2 if level == 0 else 1, grids, x, b, residual, source)
                last = end // 2 if end < width else grids.shapes[level + 1, 2]
                _collect(level, i, first // 2, last, residual, 1, grids, b)


@helper()
def _enlarge(level, i, first, end, grids, x):  # type: ignore[no-untyped-def]
    """The coarser grid's solution to some pixels of a row. Takes them two by two, which lie between the same of the
    coarser grid."""
    weights, line = grids.weights, grids.shapes[level + 1, 2] + 2
    p = grids.shapes[level, 0] + (i + 1) * (grids.shapes[level, 2] + 2) + 1
    above = grids.shapes[level + 1, 0] + (i // 2 + 1) * line + 1
    upper = load(x, above + first // 2)
    lower = load(x, above + line + first // 2)
    for j in range(first, end, 2):
        total = add_scaled(load(x, p + j), at(weights, 4 * (p + j)), upper)
        other = add_scaled(load(x, p + j + 1), at(weights, 4 * (p + j + 1)), upper)
        upper = load(x, above + j // 2 + 1)
        other = add_scaled(other, at(weights, 4 * (p + j + 1) + 1), upper)
        if i % 2:
            total = add_scaled(total, at(weights, 4 * (p + j) + 2), lower)
            other = add_scaled(other, at(weights, 4 * (p + j + 1) + 2), lower)
            lower = load(x, above + line + j // 2 + 1)
            other = add_scaled(other, at(weights, 4 * (p + j + 1) + 3), lower)
        store(x, p + j, total)
        store(x, p + j + 1, other)


@helper()
def _put_back(i, seeds, x):  # type: ignore[no-untyped-def]
    """What is known in a row of the picture."""
    for n in range(seeds.first[i], seeds.first[i + 1]):
        store(x, seeds.place[n], load(seeds.value, n))


@helper()
def _relax_straight(first, end, line, graph, x, source):  # type: ignore[no-untyped-def]
    """Gauss-Seidel at every other pixel of a row of the picture. Takes arrays, not their record: to pass that would
    take longer."""
    right = load(x, first - 1)
    for p in range(first, end, 2):
        total = scaled(at(graph, 4 * (p - 1) + RIGHT), right)
        right = load(x, p + 1)
        total = add_scaled(total, at(graph, 4 * p + RIGHT), right)
        total = add_scaled(total, at(graph, 4 * p + DOWN), load(x, p + line))
        total = add_scaled(total, at(graph, 4 * (p - line) + DOWN), load(x, p - line))
        if source is not None:
            total = add(total, load(source, p))
        store(x, p, scaled(at(graph, 4 * p + INVERSE), total))


@helper()
def _relax(first, end, line, offset, graph, slants, x, b):  # type: ignore[no-untyped-def]
    """The same on a coarser grid."""
    upper, right, lower = load(x, first - 1 - line), load(x, first - 1), load(x, first - 1 + line)
    for p in range(first, end, 2):
        q = p - offset
        total = add_scaled(load(b, q), at(slants, 2 * (q - line - 1) + RIGHT_DOWN), upper)
        total = add_scaled(total, at(graph, 4 * (p - 1) + RIGHT), right)
        total = add_scaled(total, at(slants, 2 * q + LEFT_DOWN), lower)
        upper, right, lower = load(x, p + 1 - line), load(x, p + 1), load(x, p + 1 + line)
        total = add_scaled(total, at(slants, 2 * (q - line + 1) + LEFT_DOWN), upper)
        total = add_scaled(total, at(graph, 4 * p + RIGHT), right)
        total = add_scaled(total, at(slants, 2 * q + RIGHT_DOWN), lower)
        total = add_scaled(total, at(graph, 4 * p + DOWN), load(x, p + line))
        total = add_scaled(total, at(graph, 4 * (p - line) + DOWN), load(x, p - line))
        store(x, p, scaled(at(graph, 4 * p + INVERSE), total))


@helper()
def _straight_inflow(p, line, graph, total, x):  # type: ignore[no-untyped-def]
    """What comes to a pixel from its 4 neighbours, and ``total``."""
    total = add_scaled(total, at(graph, 4 * p + RIGHT), load(x, p + 1))
    total = add_scaled(total, at(graph, 4 * (p - 1) + RIGHT), load(x, p - 1))
    total = add_scaled(total, at(graph, 4 * p + DOWN), load(x, p + line))
    return add_scaled(total, at(graph, 4 * (p - line) + DOWN), load(x, p - line))


@helper()
def _inflow(p, line, offset, graph, slants, x, b):  # type: ignore[no-untyped-def]
    """What comes to a pixel of a coarser grid from outside and from its 8 neighbours."""
    q = p - offset
    total = _straight_inflow(p, line, graph, load(b, q), x)
    total = add_scaled(total, at(slants, 2 * q + RIGHT_DOWN), load(x, p + line + 1))
    total = add_scaled(total, at(slants, 2 * (q - line - 1) + RIGHT_DOWN), load(x, p - line - 1))
    total = add_scaled(total, at(slants, 2 * q + LEFT_DOWN), load(x, p + line - 1))
    return add_scaled(total, at(slants, 2 * (q - line + 1) + LEFT_DOWN), load(x, p - line + 1))


@helper()
def _residuals(level, i, first, end, stride, grids, x, b, residual, source):  # type: ignore[no-untyped-def]
    """Of every or, of the picture, every other pixel in a piece of a row that begins one before ``first``; 0 between
    them and beside the row."""
    width, graph = grids.shapes[level, 2], grids.graph
    start = grids.shapes[level, 0] + (i + 1) * (width + 2) + 1
    first = max(first - 1, 0)
    if level == 0:
        for j in range(first, end):
            store(residual, j + 1, zero(residual))
        for j in range(first + (first + i) % stride, end, stride):
            total = _straight_inflow(start + j, width + 2, graph, _source(start + j, x, source), x)
            store(residual, j + 1, add_scaled(total, -at(graph, 4 * (start + j) + DIAGONAL), load(x, start + j)))
    else:
        for j in range(first, end):
            total = _inflow(start + j, width + 2, grids.shapes[1, 0], graph, grids.slants, x, b)
            store(residual, j + 1, add_scaled(total, -at(graph, 4 * (start + j) + DIAGONAL), load(x, start + j)))
    store(residual, width + 1, zero(residual))
    store(residual, width + 2, zero(residual))


@helper()
def _source(p, x, source):  # type: ignore[no-untyped-def]
    """What comes to a pixel of the picture from outside."""
    return zero(x) if source is None else load(source, p)


@helper()
def _collect(level, i, first, end, values, here, grids, b):  # type: ignore[no-untyped-def]
    """Add a row's values to some pixels of the coarser grid, where the interpolation would take them from.

    The first row that comes to one of the coarser grid writes it, the next two add.
    """
    shapes, weights = grids.shapes, grids.weights
    p = shapes[level, 0] + (i + 1) * (shapes[level, 2] + 2) + 1
    line = shapes[level + 1, 2] + 2
    c = shapes[level + 1, 0] - shapes[1, 0] + (i // 2 + 1) * line + 1
    has_below = i % 2 and i // 2 + 1 < shapes[level + 1, 1]
    before = load(values, here + 2 * first - 1)
    for j in range(first, end):
        k = 4 * (p + 2 * j)
        own, after = load(values, here + 2 * j), load(values, here + 2 * j + 1)
        total = add_scaled(scaled(at(weights, k), own), at(weights, k + 4), after)
        total = add_scaled(total, at(weights, k - 3), before)
        store(b, c + j, add(load(b, c + j), total) if i else total)
        if has_below:
            total = add_scaled(scaled(at(weights, k + 2), own), at(weights, k + 6), after)
            store(b, c + line + j, add_scaled(total, at(weights, k - 1), before))
        before = after


@njit()
def write_planes(x, reached, least, planes):  # type: ignore[no-untyped-def]
    """1 / what is in the lanes of the first grid.

    Args:
        x: (pixels, lanes) float32, as :func:`solve` leaves them.
        reached: (H, W) bool; +inf elsewhere.
        least: smaller values become that; larger than 1 become 1.
        planes: (n, H, W) float32, of no more than the lanes, written.
    """
    count, height, width = planes.shape
    least, most = np.float32(least), np.float32(1)
    for i in range(height):
        first = (i + 1) * (width + 2) + 1
        for k in range(count):
            for j in range(width):
                value = most / min(max(x[first + j, k], least), most)
                planes[k, i, j] = value if reached[i, j] else np.float32(np.inf)


@njit()
def keep_best(x, cell, owner, label, best):  # type: ignore[no-untyped-def]
    """Merge a group of colours into the largest values of all and the targets that they are of.

    Args:
        x: (pixels, lanes) float32, as :func:`solve` leaves them.
        cell, owner: as of :class:`.colours.Colours`, of the group.
        label: (H, W) int64, -1 at first, changed: the first target of the largest value, in whatever order groups come.
        best: (H, W) float32, -inf at first, changed: that value.
    """
    height, width = label.shape
    for i in range(height):
        here = (i + 1) * (width + 2) + 1
        for j in range(width):
            value = best[i, j]
            own = owner[max(cell[i, j], 0)]
            found = label[i, j] if cell[i, j] >= 0 else 0
            for k in range(owner.shape[1] if cell[i, j] >= 0 else 0):
                if x[here + j, k] >= value and own[k] >= 0 and (x[here + j, k] > value or own[k] < found):
                    value, found = x[here + j, k], own[k]
            if cell[i, j] >= 0:
                label[i, j], best[i, j] = found, value
