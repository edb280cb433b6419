"""Shortest paths by visiting tiles in the order of the costs that wait at them.

A visit relaxes a tile to its own fixed point, then offers what came out to the pixels around it; every neighbour that
gained is queued under the smallest cost it was given. The next tile is the one with the smallest cost pending. A tile
is visited one to three times, hardly depending on the size of the image; each visit makes at least one pixel final,
so there are never more visits than pixels.

Costs are sums built up one edge at a time from a source, and minima of them, as in Dijkstra's algorithm; the result
equals its to the bit, whatever the order of visits.

Several searches run in step, each in a slot: in each round every one of them visits its next tile.
"""

from __future__ import annotations

from typing import NamedTuple

import llvmlite.binding
import numpy as np

from ...compiled.jit import helper, njit
from .queue import SPAN, Queue, enqueue, pop
from .relaxation import fixed_point, places, store_and_offer
from .tiles import COSTS, SIDE, STATE

SLOTS = (0, 1, 2, 3) if llvmlite.binding.get_host_cpu_features().get("avx512f") else (0, 1)
"""Searches in step: as many as the vector registers hold tiles for."""

DIRECTIONS = 8
_IDLE = -1


class _Slots(NamedTuple):
    """Memory of the searches in step.

    Attributes:
        state: equal parts of flat records of tiles, all +inf.
        running: the target that each searches, all idle.
        tiles: the tile that each visits.
        offers: what comes out of a visit, 8 values for each.
    """

    state: np.ndarray
    running: np.ndarray
    tiles: np.ndarray
    offers: np.ndarray


def search(
    costs: np.ndarray, sources: np.ndarray, bounds: np.ndarray, result: np.ndarray, slots: tuple[int, ...] = SLOTS
) -> None:
    """Distances of several targets into ``result`` (K, H, W).

    Args:
        costs: what :func:`.tiles.pack_costs` made.
        sources: (n, 2) int64 pixels; those of target k are ``sources[bounds[k]:bounds[k + 1]]``.
        bounds: (K + 1,) int64.
        result: float32, overwritten.
        slots: numbers 0, 1, ... of the searches in step: 1, 2 or 4.
    """
    across = costs.shape[1]
    tiles = costs.shape[0] * across
    groups = -(-tiles // SPAN**2) * SPAN
    # To make these arrays in compiled code would take a quarter of a second more to compile.
    queue = Queue(*(np.full(len(slots) * size, np.inf, np.float32) for size in (groups * SPAN, groups)))
    memory = _Slots(
        np.full(len(slots) * tiles * STATE, np.inf, np.float32),
        np.full(len(slots), _IDLE),
        np.empty(len(slots), np.int64),
        np.empty(len(slots) * DIRECTIONS, np.float32),
    )
    _search(costs.reshape(-1), across, sources, bounds, result, slots, memory, queue)


@njit()
def _search(
    costs: np.ndarray,
    across: int,
    sources: np.ndarray,
    bounds: np.ndarray,
    result: np.ndarray,
    slots: tuple[int, ...],
    memory: _Slots,
    queue: Queue,
) -> None:
    """Each slot owns an equal part of the memory and of the queue."""
    state, running, tiles = memory.state, memory.running, memory.tiles
    count = len(slots)
    size, groups = len(state) // count, len(queue.minima) // count
    steps = (-across, across, -1, 1, -across - 1, -across + 1, across - 1, across + 1)
    following = 0
    while True:
        busy = False
        for slot in range(count):
            first_tile = slot * groups * SPAN
            while True:
                tile = pop(queue, slot * groups, (slot + 1) * groups)
                if tile >= 0:
                    break
                if running[slot] != _IDLE:
                    _collect(state[slot * size : (slot + 1) * size], across, result[running[slot]])
                    running[slot] = _IDLE
                if following == len(result):
                    tile = first_tile + across + 1  # one in which nothing changes
                    break
                running[slot] = following
                for index in range(bounds[following], bounds[following + 1]):
                    y, x = sources[index, 0], sources[index, 1]
                    tile = (y // SIDE + 1) * across + x // SIDE + 1
                    state[slot * size + tile * STATE + y % SIDE * SIDE + x % SIDE] = 0
                    enqueue(queue, first_tile + tile, np.float32(0))
                following += 1
            busy = busy or running[slot] != _IDLE
            tiles[slot] = tile - first_tile
        if not busy:
            return
        at, priced = places(slots, tiles, STATE, size), places(slots, tiles, COSTS, 0)
        rows, columns = fixed_point(state, costs, at, priced)
        store_and_offer(rows, columns, state, costs, at, priced, across, memory.offers)
        for slot in range(count):
            tile = slot * groups * SPAN + tiles[slot]
            for direction in range(DIRECTIONS):
                enqueue(queue, tile + steps[direction], memory.offers[slot * DIRECTIONS + direction])


@helper()
def _collect(own: np.ndarray, across: int, result: np.ndarray) -> None:
    """Move the distances of a slot into an image."""
    height, width = result.shape
    whole = width // SIDE
    for y in range(height):
        start = ((y // SIDE + 1) * across + 1) * STATE + y % SIDE * SIDE
        for tile in range(whole):
            for x in range(SIDE):
                result[y, tile * SIDE + x] = own[start + tile * STATE + x]
        for x in range(width - whole * SIDE):
            result[y, whole * SIDE + x] = own[start + whole * STATE + x]
    for index in range(len(own)):
        own[index] = np.inf
