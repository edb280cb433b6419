"""One search from many points at once, each with the cost that it starts at, over the tiles of a picture.

As :mod:`.tile_search`, but what runs in step are tiles of the same search: the cheapest few that wait. One of them may
lie beside another and be lowered by it after its own relaxation; it then waits again. That costs a few visits more, and
hides the time in which a single tile would wait for its own results.
"""

from __future__ import annotations

import numpy as np

from ...compiled.jit import njit
from .queue import SPAN, Queue, enqueue, pop
from .relaxation import fixed_point, places, store_and_offer
from .tile_search import DIRECTIONS, SLOTS
from .tiles import AREA, COSTS, SIDE, STATE


def search(costs: np.ndarray, sources: np.ndarray, starts: np.ndarray, slots: tuple[int, ...] = SLOTS) -> np.ndarray:
    """The least of start + distance over all points.

    Args:
        costs: what :func:`.tiles.pack_costs` made.
        sources: (n, 2) int64 pixels.
        starts: (n,) float32, at least 0; +inf for none.
        slots: numbers 0, 1, ... of the tiles in step: 1, 2 or 4.

    Returns:
        Flat records of STATE values for each tile of ``costs``: the 64 values of its pixels, then once more those of
        its first and of its last column.
    """
    across = costs.shape[1]
    tiles = costs.shape[0] * across
    groups = -(-tiles // SPAN**2) * SPAN
    queue = Queue(*(np.full(size, np.inf, np.float32) for size in (groups * SPAN, groups)))
    state = np.full(tiles * STATE, np.inf, np.float32)
    chosen, offers = np.empty(len(slots), np.int64), np.empty(len(slots) * DIRECTIONS, np.float32)
    _search(costs.reshape(-1), across, sources, starts, slots, state, chosen, offers, queue)
    return state


def image(state: np.ndarray, across: int, height: int, width: int) -> np.ndarray:
    """(H, W) values of the pixels in the records of a search, whose tiles lie ``across`` in a row."""
    tiles = state.reshape(-1, across, STATE)[1:-1, 1:-1, :AREA]
    down, across = tiles.shape[:2]
    whole = tiles.reshape(down, across, SIDE, SIDE).swapaxes(1, 2).reshape(down * SIDE, across * SIDE)
    return np.ascontiguousarray(whole[:height, :width])


@njit()
def _search(
    costs: np.ndarray,
    across: int,
    sources: np.ndarray,
    starts: np.ndarray,
    slots: tuple[int, ...],
    state: np.ndarray,
    tiles: np.ndarray,
    offers: np.ndarray,
    queue: Queue,
) -> None:
    """``tiles`` and ``offers`` are room for the tiles in step."""
    steps = (-across, across, -1, 1, -across - 1, -across + 1, across - 1, across + 1)
    for index in range(len(sources)):
        y, x = sources[index, 0], sources[index, 1]
        tile = (y // SIDE + 1) * across + x // SIDE + 1
        place = tile * STATE + y % SIDE * SIDE + x % SIDE
        state[place] = min(state[place], starts[index])
        enqueue(queue, tile, starts[index])
    while True:
        busy = False
        for slot in range(len(slots)):
            tile = pop(queue, 0, len(queue.minima))
            busy = busy or tile >= 0
            tiles[slot] = tile if tile >= 0 else across + 1  # where nothing is left to change, or all do the same
        if not busy:
            return
        at, priced = places(slots, tiles, STATE, 0), places(slots, tiles, COSTS, 0)
        rows, columns = fixed_point(state, costs, at, priced)
        store_and_offer(rows, columns, state, costs, at, priced, across, offers)
        for slot in range(len(slots)):
            for direction in range(DIRECTIONS):
                enqueue(queue, tiles[slot] + steps[direction], offers[slot * DIRECTIONS + direction])
