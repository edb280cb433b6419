"""Distances of many targets, each only where a limit allows them: work for pixels that matter, not for pictures.

As :mod:`.tile_search`, but a pixel takes no value of a target above its own limit, so that a tile is visited only if
one of its pixels took one from outside. What a visit makes inside a tile is not limited; what is collected is.

A search can be cut short when the room for its results is full: all that it has to know lies in arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import helper, njit
from ...compiled.vectors import GROUP
from .queue import SPAN, Queue, enqueue, pop
from .relaxation import fixed_point, places, store_and_offer_within
from .tile_search import DIRECTIONS, SLOTS
from .tiles import AREA, COSTS, SIDE, STATE

_IDLE = -1


class Found(NamedTuple):
    """Tiles with the distances of targets: those of target k lie from ``ranges[k, 0]`` to ``ranges[k, 1]``.

    Attributes:
        cost: (E, 64) float32; +inf beyond the limit.
        tile: (E,) int32, its place among those of the picture and the rim around them.
        ranges: (K, 2) int64.
    """

    cost: np.ndarray
    tile: np.ndarray
    ranges: np.ndarray

    @classmethod
    def room(cls, entries: int, targets: int) -> Found:
        return cls(np.empty((entries, AREA), np.float32), np.empty(entries, np.int32), np.zeros((targets, 2), np.int64))


class Sources(NamedTuple):
    """The points of all targets, in the order of the search.

    Attributes:
        pixels: (n, 2) int64.
        bounds: (K + 1,) int64: those of target k are ``pixels[bounds[k]:bounds[k + 1]]``.
        allowance: (K,) float32, what a target may go beyond the common limits.
        order: (K,) int64: who comes first.
    """

    pixels: np.ndarray
    bounds: np.ndarray
    allowance: np.ndarray
    order: np.ndarray


class _Memory(NamedTuple):
    """What searches in step know.

    Attributes:
        state: equal parts of flat records of tiles, all +inf.
        running: (slots,) the target that each searches, all idle.
        tiles: (slots,) the tile that each visits.
        offers: what comes out of a visit, 8 values for each.
        allowance: GROUP equal values for each.
        visited: (slots, tiles) bool, all False.
        trail: (slots, tiles) int32, the tiles that each has visited.
        lengths: (slots,) how many.
        spans: (slots, 2) the first span of the queue's groups in which tiles wait, and the end.
        progress: (2,) targets begun, and entries found.
    """

    state: np.ndarray
    running: np.ndarray
    tiles: np.ndarray
    offers: np.ndarray
    allowance: np.ndarray
    visited: np.ndarray
    trail: np.ndarray
    lengths: np.ndarray
    spans: np.ndarray
    progress: np.ndarray


class BoundedSearch:
    """A search that goes on as room is made for what it finds.

    Args:
        costs: what :func:`.tiles.pack_costs` made.
        sources: the points.
        limits: flat records of STATE values for each tile, as :func:`.joint_search.search` makes them. They may be
            lowered while the search waits for room.
        slots: numbers 0, 1, ... of the searches in step: 1, 2 or 4.
    """

    def __init__(self, costs: np.ndarray, sources: Sources, limits: np.ndarray, slots: tuple[int, ...] = SLOTS) -> None:
        self._across = costs.shape[1]
        self._costs, self._sources, self._limits, self._slots = costs.reshape(-1), sources, limits, slots
        count, tiles = len(slots), costs.shape[0] * costs.shape[1]
        groups = -(-tiles // SPAN**2) * SPAN
        self._queue = Queue(*(np.full(count * size, np.inf, np.float32) for size in (groups * SPAN, groups)))
        self._memory = _Memory(
            np.full(count * tiles * STATE, np.inf, np.float32),
            np.full(count, _IDLE),
            np.empty(count, np.int64),
            np.empty(count * DIRECTIONS, np.float32),
            np.zeros(count * GROUP, np.float32),
            np.zeros((count, tiles), np.bool_),
            np.empty((count, tiles), np.int32),
            np.zeros(count, np.int64),
            np.zeros((count, 2), np.int64),
            np.zeros(2, np.int64),
        )

    def advance(self, found: Found) -> int:
        """Search until the room is full or nothing is left; the entries that the next target needs, 0 at the end.

        Entries lie behind those of earlier calls, as many as :attr:`used` says.
        """
        return _search(
            self._costs, self._across, self._sources, self._limits, self._slots, self._memory, self._queue, found
        )

    @property
    def num_targets(self) -> int:
        return len(self._sources.order)

    @property
    def used(self) -> int:
        """How many entries lie in the room."""
        return int(self._memory.progress[1])

    def start_over(self) -> None:
        """Let the next entries lie at the beginning of the room again."""
        self._memory.progress[1] = 0


@njit()
def _search(
    costs: np.ndarray,
    across: int,
    sources: Sources,
    limits: np.ndarray,
    slots: tuple[int, ...],
    memory: _Memory,
    queue: Queue,
    found: Found,
) -> int:
    """Each slot owns an equal part of the memory and of the queue."""
    state, running, tiles = memory.state, memory.running, memory.tiles
    count = len(slots)
    size, groups = len(state) // count, len(queue.minima) // count
    steps = (-across, across, -1, 1, -across - 1, -across + 1, across - 1, across + 1)
    while True:
        busy, wanted = False, 0
        for slot in range(count):
            tile = pop(queue, memory.spans[slot, 0], memory.spans[slot, 1])
            while tile < 0:
                if running[slot] != _IDLE:
                    if memory.progress[1] + memory.lengths[slot] > len(found.cost):
                        wanted = max(wanted, memory.lengths[slot])
                        break
                    _collect(state[slot * size : (slot + 1) * size], limits, memory, slot, found)
                if wanted > 0 or not _begin(slot, across, size, groups, sources, limits, memory, queue):
                    break
                tile = pop(queue, memory.spans[slot, 0], memory.spans[slot, 1])
            if tile < 0:
                tiles[slot] = across + 1  # one in which nothing changes
                continue
            busy = True
            tile -= slot * groups * SPAN
            tiles[slot] = tile
            if not memory.visited[slot, tile]:
                memory.visited[slot, tile] = True
                memory.trail[slot, memory.lengths[slot]] = tile
                memory.lengths[slot] += 1
        if not busy:
            return wanted
        at, priced = places(slots, tiles, STATE, size), places(slots, tiles, COSTS, 0)
        rows, columns = fixed_point(state, costs, at, priced)
        limited = places(slots, tiles, STATE, 0)
        store_and_offer_within(
            rows, columns, state, costs, at, priced, across, memory.offers, limits, limited, memory.allowance
        )
        for slot in range(count):
            for direction in range(DIRECTIONS):
                offer = memory.offers[slot * DIRECTIONS + direction]
                if offer < np.inf:
                    _wait(slot, tiles[slot] + steps[direction], offer, groups, memory, queue)


@helper(forceinline=True)
def _wait(slot: int, tile: int, cost: Any, groups: int, memory: _Memory, queue: Queue) -> None:
    """Let a cost wait at a tile, and widen the spans to search."""
    enqueue(queue, slot * groups * SPAN + tile, cost)
    span = slot * groups + tile // SPAN**2 * SPAN
    memory.spans[slot, 0] = min(memory.spans[slot, 0], span)
    memory.spans[slot, 1] = max(memory.spans[slot, 1], span + SPAN)


@helper()
def _begin(
    slot: int,
    across: int,
    size: int,
    groups: int,
    sources: Sources,
    limits: np.ndarray,
    memory: _Memory,
    queue: Queue,
) -> bool:
    """Let a slot begin with the next target that its own limits allow; whether there is one."""
    memory.spans[slot, 0], memory.spans[slot, 1] = (slot + 1) * groups, slot * groups
    while memory.progress[0] < len(sources.order):
        target = sources.order[memory.progress[0]]
        memory.progress[0] += 1
        allowance = sources.allowance[target]
        for index in range(sources.bounds[target], sources.bounds[target + 1]):
            y, x = sources.pixels[index, 0], sources.pixels[index, 1]
            tile = (y // SIDE + 1) * across + x // SIDE + 1
            place = tile * STATE + y % SIDE * SIDE + x % SIDE
            if limits[place] + allowance >= 0:
                memory.state[slot * size + place] = 0
                _wait(slot, tile, np.float32(0), groups, memory, queue)
                memory.running[slot] = target
        if memory.running[slot] != _IDLE:
            memory.allowance[slot * GROUP : (slot + 1) * GROUP] = allowance
            return True
    return False


@helper()
def _collect(own: np.ndarray, limits: np.ndarray, memory: _Memory, slot: int, found: Found) -> None:
    """Move the distances of a slot to where results lie, those beyond the limit as +inf."""
    entry, allowance = memory.progress[1], memory.allowance[slot * GROUP]
    found.ranges[memory.running[slot], 0] = entry
    for index in range(memory.lengths[slot]):
        tile = memory.trail[slot, index]
        start = tile * STATE
        cost = found.cost[entry]
        for pixel in range(AREA):
            value = own[start + pixel]
            cost[pixel] = value if value <= limits[start + pixel] + allowance else np.float32(np.inf)
        own[start : start + STATE] = np.inf
        memory.visited[slot, tile] = False
        found.tile[entry] = tile
        entry += 1
    found.ranges[memory.running[slot], 1] = entry
    memory.progress[1] = entry
    memory.lengths[slot] = 0
    memory.running[slot] = _IDLE
