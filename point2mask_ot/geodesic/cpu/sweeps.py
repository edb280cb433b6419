"""Shortest paths in small images by sweeps over all rows, with 16 targets side by side in the lanes of a vector.

A sweep down lowers each pixel by what the three above it and the one to its left offer; a sweep up is the mirror
image. Rows are skipped next to which nothing has changed; when no row is left, no edge lowers anything.

Costs are sums built up one edge at a time from a source, and minima of them, as in Dijkstra's algorithm; the result
equals its to the bit. Paths that wind take many sweeps, so a bound says when to leave the rest to the tiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ...compiled.jit import helper, intrinsic, njit
from ...compiled.vectors import GROUP, Lanes, VectorCode
from . import tile_search, tiles

LANES = 2 * GROUP
PIXELS, TARGETS = 64 * 64, 8
"""The largest image and the fewest targets for which this is faster than the tiles. On 38 x 50 pixels they take 1.27
times as long for 10 targets, 1.31 times for 20 (the geometric mean over a network's maps, a photograph and noise); on
19 x 25 and fewer 0.95 to 0.9 times."""
VISITS, LOWERED = 45, 11
"""How often a row is visited and a value is lowered, on average, before the tiles take over. Smooth maps take 15 and 3,
noise 36 and 8; a maze, in which every sweep lowers most values, is given up after 17 sweeps."""

_WALLS = 1 / 3
"""Share of edges at +inf, those in the margin included, from which on an image is taken for a maze at once."""


def search(padded: np.ndarray, sources: np.ndarray, bounds: np.ndarray, result: np.ndarray) -> None:
    """Distances of several targets into ``result`` (K, H, W).

    Args:
        padded: what :func:`.tiles.pad` made.
        sources: (n, 2) int64 pixels; those of target k are ``sources[bounds[k]:bounds[k + 1]]``.
        bounds: (K + 1,) int64.
        result: float32, overwritten.
    """
    done = sweep(padded, sources, bounds, result)
    if done < len(result):
        tile_search.search(tiles.cut(padded), sources, bounds[done:], result[done:])


def sweep(
    padded: np.ndarray,
    sources: np.ndarray,
    bounds: np.ndarray,
    result: np.ndarray,
    limits: tuple[int, int] = (VISITS, LOWERED),
) -> int:
    """As :func:`search`, but may stop after some targets; says after how many."""
    across = padded.shape[2]
    distance = np.empty((result.shape[1] + 2) * across * LANES, np.float32)
    return _sweep(padded.reshape(-1), across, sources, bounds, result, distance, limits)


@njit()
def _sweep(
    costs: np.ndarray,
    across: int,
    sources: np.ndarray,
    bounds: np.ndarray,
    result: np.ndarray,
    distance: np.ndarray,
    limits: tuple[int, int],
) -> int:
    """``distance`` is for the padded image, LANES values a pixel."""
    count, height, width = result.shape
    walls = 0
    for index in range(len(costs)):
        walls += costs[index] == np.inf
    if walls > _WALLS * len(costs):
        return 0
    plane = len(costs) // 4
    # From a pixel to the costs of the edges to its neighbours, in the order of ``_relax_row``.
    above = (-1, 3 * plane - across - 1, 2 * plane - across, plane - across + 1)
    below = (0, 3 * plane, 2 * plane, plane)
    # Rows to visit on the way down and on that up, between two empty ones.
    waiting = np.zeros((2, height + 2), np.bool_)
    for first in range(0, count, LANES):
        lanes = min(LANES, count - first)
        if lanes < TARGETS:
            return first
        visits, lowered = limits[0] * height, limits[1] * height * width * lanes  # those left
        for index in range(len(distance)):
            distance[index] = np.inf
        for lane in range(lanes):
            for index in range(bounds[first + lane], bounds[first + lane + 1]):
                y, x = sources[index, 0] + 1, sources[index, 1] + 1
                distance[(y * across + x) * LANES + lane] = 0
                waiting[0, y] = waiting[0, y + 1] = waiting[1, y] = waiting[1, y - 1] = True
        is_quiet, way = False, 1
        while visits > 0 and lowered > 0:
            was_quiet, is_quiet, way = is_quiet, True, 1 - way
            step = 1 - 2 * way
            for row in range(height):
                y = 1 + row if way == 0 else height - row
                if waiting[way, y]:
                    waiting[way, y] = False
                    if way == 0:
                        changed = _relax_row(distance, y * across + 1, width, 1, across, costs, above)
                    else:
                        changed = _relax_row(distance, y * across + width, width, -1, across, costs, below)
                    visits, lowered = visits - 1, lowered - changed
                    if changed > 0:
                        waiting[way, y + step] = waiting[1 - way, y] = waiting[1 - way, y - step] = True
                        is_quiet = False
            if is_quiet and was_quiet:
                break
        else:
            return first
        _collect(distance, across, result, first)
    return count


@helper()
def _relax_row(
    distance: np.ndarray, start: int, width: int, step: int, across: int, costs: np.ndarray, edges: tuple[int, ...]
) -> int:
    """Lower a row, from pixel ``start`` by steps of 1 or -1 and from the row before; how many values that changed."""
    side, changed = _load(distance, start - step), 0
    ahead = -step * across + step
    before, beside = _load(distance, start + ahead - 2 * step), _load(distance, start + ahead - step)
    for pixel in range(start, start + step * width, step):
        after = _load(distance, pixel + ahead)
        side, changed = _relax(distance, pixel, (side, before, beside, after), costs, edges, changed)
        before, beside = beside, after
    return changed


def _pixel(code: VectorCode, builder: Any, array_type: Any, array: Any, pixel: Any) -> tuple[Any, list[Any]]:
    """Where the values of a pixel lie."""
    start = builder.mul(pixel, ir.Constant(pixel.type, LANES))
    return code.data(array_type, array), [start, *code.shift([start], GROUP)]


@intrinsic
def _load(typing_context: Any, distance: Any, pixel: Any) -> Any:
    """The values of a pixel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, LANES // GROUP)
        return code.load(*_pixel(code, builder, distance, *arguments))

    return Lanes(LANES)(distance, types.int64), generate


@intrinsic
def _relax(
    typing_context: Any, distance: Any, pixel: Any, neighbours: Any, costs: Any, edges: Any, changed: Any
) -> Any:
    """Lower a pixel by what its neighbours offer; its values, and ``changed`` plus how many are lower now.

    The first neighbour's values come late, hence its minimum last. ``edges`` leads from the pixel to their costs.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, LANES // GROUP)
        data, place = _pixel(code, builder, distance, *arguments[:2])
        prices, offers = code.data(costs, arguments[3]), []
        for k in range(neighbours.count):
            price = builder.add(arguments[1], builder.extract_value(arguments[4], k))
            offers.append(code.plus(builder.extract_value(arguments[2], k), code.broadcast(prices, price)))
        late, *others = offers
        old = lowest = code.load(data, place)
        for offer in others:
            lowest = code.smaller(offer, lowest)
        lowest = code.smaller(late, lowest)
        code.store(lowest, data, place)
        bits = builder.bitcast(code.less(lowest, old), ir.IntType(LANES))
        count = builder.add(arguments[5], builder.zext(builder.ctpop(bits), arguments[5].type))
        return context.make_tuple(builder, signature.return_type, [lowest, count])

    return types.Tuple([Lanes(LANES), types.int64])(
        distance, types.int64, neighbours, costs, edges, types.int64
    ), generate


@helper()
def _collect(distance: np.ndarray, across: int, result: np.ndarray, first: int) -> None:
    """Move the lanes into the images from ``first`` on."""
    count, height, width = result.shape
    for y in range(height):
        for lane in range(min(LANES, count - first)):
            start = ((y + 1) * across + 1) * LANES + lane
            for x in range(width):
                result[first + lane, y, x] = distance[start + x * LANES]
