"""Shortest paths by visiting tiles in the order of the costs that wait at them.

A visit relaxes a tile to its own fixed point, then offers what came out to the pixels around it; every neighbour that
gained is queued under the smallest cost it was given. The next tile is the one with the smallest cost pending. A tile
is visited one to three times, hardly depending on the size of the image; each visit makes at least one pixel final,
so there are never more visits than pixels.

Costs are sums built up one edge at a time from a source, and minima of them, as in Dijkstra's algorithm; the result
equals its to the bit, whatever the order of visits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import njit
from ._bits import trailing_zeros
from ._tiles import (
    AREA,
    COLUMNS,
    COSTS,
    EAST,
    NORTH_EAST,
    NORTH_WEST,
    ROWS,
    SIDE,
    STATE,
    WEST,
    Places,
    Vector,
    back,
    fixed_point,
    load_tile,
    onward,
    shift,
    store_tile,
)
from ._vectors import equal, improvement, load, lowest, prefetch, smaller, store

_GROUP = 64  # tiles that share a minimum in the queue
_CACHE_LINE = 16  # floats


@njit()
def search(costs: np.ndarray, sources: np.ndarray, bounds: np.ndarray, result: np.ndarray) -> None:
    """Distances of several targets into ``result`` (K, H, W), two of them at a time.

    Args:
        costs: what :func:`_tiles.pack_costs` made.
        sources: (n, 2) int64 pixels; those of target k are ``sources[bounds[k]:bounds[k + 1]]``.
        bounds: (K + 1,) int64.
        result: float32, overwritten.
    """
    across = costs.shape[1]
    tiles = costs.shape[0] * across
    # Both searches number their tiles through: ``count`` of them each, in whole vectors of group minima.
    count = (tiles + SIDE * _GROUP - 1) // (SIDE * _GROUP) * SIDE * _GROUP
    costs, state = costs.reshape(-1), np.empty(2 * count * STATE, np.float32)
    for half in range(2):
        _own(state, half, count, tiles)[:] = np.inf
    pending = np.full(2 * count, np.inf, np.float32)
    minima = np.full(2 * count // _GROUP, np.inf, np.float32)
    running, current = np.full(2, -1), np.empty(2, np.int64)
    following = 0
    while True:
        for half in range(2):
            tile = _pop(pending, minima, half * count, count)
            if tile < 0:
                own = _own(state, half, count, tiles)
                if running[half] >= 0:
                    _read(own, across, result[running[half]])
                running[half] = following if following < len(result) else -1
                if running[half] >= 0:
                    begin, end = bounds[following], bounds[following + 1]
                    _begin(own, across, sources[begin:end], pending, minima, half * count)
                    following += 1
                    tile = _pop(pending, minima, half * count, count)
            current[half] = tile
            _fetch_ahead(costs, (tile - half * count) * COSTS, COSTS)
            _fetch_ahead(state, tile * STATE, STATE)
        if running[0] < 0 and running[1] < 0:
            return
        # A search without a tile to visit (it is over, or had no source) visits one in which nothing changes.
        first = current[0] if current[0] >= 0 else across + 1
        second = current[1] if current[1] >= 0 else across + 1 + count
        _visit(state, costs, pending, minima, (first, second), count, across)


@njit()
def _own(state: np.ndarray, half: int, count: int, tiles: int) -> np.ndarray:
    """The part of the state that one of the two searches uses."""
    return state[half * count * STATE : (half * count + tiles) * STATE]


@njit(forceinline=True)
def _fetch_ahead(values: np.ndarray, start: int, size: int) -> None:
    """Ask for memory that the next visit reads, while the other search still looks for its tile."""
    for index in range(start, start + size, _CACHE_LINE):
        prefetch(values, index)


@njit()
def _begin(
    own: np.ndarray, across: int, sources: np.ndarray, pending: np.ndarray, minima: np.ndarray, first: int
) -> None:
    """Set up one half for the next target."""
    own[:] = np.inf
    for y, x in sources:
        tile = (y // SIDE + 1) * across + x // SIDE + 1
        own[tile * STATE + y % SIDE * SIDE + x % SIDE] = 0
        _enqueue(pending, minima, first + tile, np.float32(0))


@njit()
def _read(own: np.ndarray, across: int, result: np.ndarray) -> None:
    """Copy the distances of one half, tile by tile, into an image."""
    height, width = result.shape
    for y in range(height):
        for tile in range((width + SIDE - 1) // SIDE):
            start = ((y // SIDE + 1) * across + tile + 1) * STATE + y % SIDE * SIDE
            for c in range(min(SIDE, width - tile * SIDE)):
                result[y, tile * SIDE + c] = own[start + c]


@njit()
def _visit(
    state: np.ndarray,
    costs: np.ndarray,
    pending: np.ndarray,
    minima: np.ndarray,
    tiles: Places,
    count: int,
    across: int,
) -> None:
    """Relax a tile of each search and offer what came out to the 8 neighbours."""
    at, priced = (tiles[0] * STATE, tiles[1] * STATE), (tiles[0] * COSTS, (tiles[1] - count) * COSTS)
    rows, columns = fixed_point(load_tile(state, at), costs, priced)
    store_tile(state, at, rows, columns)

    down = across * STATE
    below, beside = shift(priced, across * COSTS), shift(priced, COSTS)
    north = _offer(state, shift(at, 7 * SIDE - down), back(rows[0], costs, shift(priced, ROWS)))
    south = _offer(state, shift(at, down), onward(rows[7], costs, shift(below, ROWS)))
    west = _offer(state, shift(at, EAST - STATE), back(columns[0], costs, shift(priced, COLUMNS)))
    east = _offer(state, shift(at, WEST + STATE), onward(columns[7], costs, shift(beside, COLUMNS)))
    for half in range(2):
        _enqueue(pending, minima, tiles[half] - across, north[half])
        _enqueue(pending, minima, tiles[half] + across, south[half])
        _enqueue(pending, minima, tiles[half] - 1, west[half])
        _enqueue(pending, minima, tiles[half] + 1, east[half])
        tile, first, price, price_below = tiles[half], at[half], priced[half], below[half]
        candidate = state[first] + costs[price + NORTH_WEST]
        _offer_corner(state, pending, minima, tile - across - 1, AREA - 1, candidate)
        candidate = state[first + SIDE - 1] + costs[price + NORTH_EAST]
        _offer_corner(state, pending, minima, tile - across + 1, AREA - SIDE, candidate)
        candidate = state[first + AREA - SIDE] + costs[price_below - COSTS + NORTH_EAST]
        _offer_corner(state, pending, minima, tile + across - 1, SIDE - 1, candidate)
        candidate = state[first + AREA - 1] + costs[price_below + COSTS + NORTH_WEST]
        _offer_corner(state, pending, minima, tile + across + 1, 0, candidate)


@njit(forceinline=True)
def _offer(state: np.ndarray, at: Places, candidates: Vector) -> tuple[float, float]:
    """Lower the values at ``at``; for each search the smallest candidate that was an improvement, or +inf."""
    before = load(state, at)
    store(state, at, smaller(candidates, before))
    return lowest(improvement(candidates, before))


@njit(forceinline=True)
def _offer_corner(
    state: np.ndarray, pending: np.ndarray, minima: np.ndarray, tile: int, pixel: int, candidate: float
) -> None:
    place = tile * STATE + pixel
    if candidate < state[place]:
        state[place] = candidate
        _enqueue(pending, minima, tile, candidate)


@njit(forceinline=True)
def _enqueue(pending: np.ndarray, minima: np.ndarray, tile: int, cost: Any) -> None:
    """Let a cost wait at a tile; +inf is none."""
    pending[tile] = min(pending[tile], cost)
    minima[tile // _GROUP] = min(minima[tile // _GROUP], cost)


@njit()
def _pop(pending: np.ndarray, minima: np.ndarray, first: int, count: int) -> int:
    """Take the tile with the smallest cost pending, of ``count`` tiles from ``first``; -1 if there is none."""
    cost = _minimum(minima, first // _GROUP, (first + count) // _GROUP)
    if cost == np.inf:
        return -1
    group = _find(minima, first // _GROUP, cost)
    tile = _find(pending, group * _GROUP, cost)
    pending[tile] = np.inf
    minima[group] = _minimum(pending, group * _GROUP, (group + 1) * _GROUP)
    return tile


@njit(forceinline=True)
def _minimum(values: np.ndarray, start: int, end: int) -> float:
    """Minimum of a range of whole vectors."""
    best = load(values, (start,))
    for index in range(start + SIDE, end, SIDE):
        best = smaller(load(values, (index,)), best)
    return lowest(best)[0]


@njit(forceinline=True)
def _find(values: np.ndarray, start: int, value: float) -> int:
    """The first index from ``start`` on at which ``value`` stands, as it must somewhere."""
    bits = equal(load(values, (start,)), value)
    while bits == 0:
        start += SIDE
        bits = equal(load(values, (start,)), value)
    return start + int(trailing_zeros(bits))
