"""Tiles of 8x8 pixels, relaxed to a fixed point while they are held in vector registers.

A sweep passes over the rows of a tile onward and back; each of its steps moves 8 pixels at once along their straight
and both diagonal edges. Sweeps over the rows alternate with sweeps over the columns, on the transposed tile.

All functions work on two tiles at a time, which belong to two independent searches: they fill the two halves of wide
vectors, and each hides the other's latency. ``Places`` are two flat indices, one for each.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .._jit import njit
from ._vectors import from_left, from_right, less, load, plus, smaller, store, transpose

SIDE = 8
AREA = SIDE * SIDE

# Costs of one tile: two corner edges (to the north-west and the north-east tile), then for the rows and for the
# columns three blocks of 8 vectors. Vector r of a block holds the edges between row r - 1 and row r; vector 0 leads to
# the tile before. Falling edges come from the lane to the left, rising ones from the lane to the right.
NORTH_WEST, NORTH_EAST = 0, 1
ROWS, COLUMNS = SIDE, SIDE + 3 * AREA
STRAIGHT, FALLING, RISING = 0, AREA, 2 * AREA
COSTS = 400  # 392 in use, whole cache lines

# State of one tile: 8 rows of distances, then what the west and the east neighbour offer to its first and its last
# column, kept apart because a column does not lie in one piece.
WEST, EAST = AREA, AREA + SIDE
STATE = AREA + 2 * SIDE

Places: TypeAlias = tuple[int, int]
Vector: TypeAlias = Any  # Lanes(16)
Block: TypeAlias = tuple[Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector]


@njit()
def pack_costs(edges: np.ndarray) -> np.ndarray:
    """(tiles down + 2, tiles across + 2, COSTS) costs of all tiles inside a rim of empty ones; +inf is no edge.

    Entries of ``edges`` (4, H, W) for pairs that leave the image are not read. A diagonal edge between two tiles is
    kept once: with the rows if it leads north, with the columns if it leads west, else as a corner.
    """
    _, height, width = edges.shape
    down, across = (height + SIDE - 1) // SIDE, (width + SIDE - 1) // SIDE
    padded = np.full((4, down * SIDE + 1, across * SIDE + 2), np.inf, np.float32)
    right, down_left, straight_down, down_right = padded[0], padded[1], padded[2], padded[3]
    right[1 : height + 1, 1:width] = edges[0, :, :-1]
    down_left[1:height, 2 : width + 1] = edges[1, :-1, 1:]
    straight_down[1:height, 1 : width + 1] = edges[2, :-1]
    down_right[1:height, 1:width] = edges[3, :-1, :-1]

    costs = np.full((down + 2, across + 2, COSTS), np.inf, np.float32)
    for tile_y in range(down):
        for tile_x in range(across):
            tile = costs[tile_y + 1, tile_x + 1]
            top, left = tile_y * SIDE, tile_x * SIDE  # of the tile's first pixel; padded, it lies one further
            tile[NORTH_WEST] = down_right[top, left]
            tile[NORTH_EAST] = down_left[top, left + SIDE + 1]
            for r in range(SIDE):
                y = top + r
                for c in range(SIDE):
                    x = left + c
                    row, column = ROWS + SIDE * r + c, COLUMNS + SIDE * c + r
                    tile[row + STRAIGHT] = straight_down[y, x + 1]
                    tile[column + STRAIGHT] = right[y + 1, x]
                    tile[row + FALLING] = down_right[y, x] if c > 0 else np.inf
                    tile[column + FALLING] = down_right[y, x] if r > 0 else np.inf
                    tile[row + RISING] = down_left[y, x + 2] if c < SIDE - 1 else np.inf
                    tile[column + RISING] = down_left[y + 1, x + 1] if r < SIDE - 1 else np.inf
    return costs


@njit(forceinline=True)
def shift(places: Places, offset: int) -> Places:
    return places[0] + offset, places[1] + offset


@njit(forceinline=True)
def onward(row: Vector, costs: np.ndarray, at: Places) -> Vector:
    """What a row offers to the next one, whose vectors of costs begin at ``at``."""
    straight = plus(row, load(costs, shift(at, STRAIGHT)))
    falling = plus(from_left(row), load(costs, shift(at, FALLING)))
    rising = plus(from_right(row), load(costs, shift(at, RISING)))
    return smaller(straight, smaller(falling, rising))


@njit(forceinline=True)
def back(row: Vector, costs: np.ndarray, at: Places) -> Vector:
    """What a row, whose vectors of costs begin at ``at``, offers to the one before."""
    straight = plus(row, load(costs, shift(at, STRAIGHT)))
    falling = from_right(plus(row, load(costs, shift(at, FALLING))))
    rising = from_left(plus(row, load(costs, shift(at, RISING))))
    return smaller(straight, smaller(falling, rising))


@njit(forceinline=True)
def load_tile(state: np.ndarray, at: Places) -> Block:
    """The columns of a tile, with what its neighbours offered."""
    rows = (
        load(state, at),
        load(state, shift(at, 1 * SIDE)),
        load(state, shift(at, 2 * SIDE)),
        load(state, shift(at, 3 * SIDE)),
        load(state, shift(at, 4 * SIDE)),
        load(state, shift(at, 5 * SIDE)),
        load(state, shift(at, 6 * SIDE)),
        load(state, shift(at, 7 * SIDE)),
    )
    c0, c1, c2, c3, c4, c5, c6, c7 = transpose(rows)
    c0 = smaller(load(state, shift(at, WEST)), c0)
    c7 = smaller(load(state, shift(at, EAST)), c7)
    return c0, c1, c2, c3, c4, c5, c6, c7


@njit(forceinline=True)
def store_tile(state: np.ndarray, at: Places, rows: Block, columns: Block) -> None:
    store(state, at, rows[0])
    store(state, shift(at, 1 * SIDE), rows[1])
    store(state, shift(at, 2 * SIDE), rows[2])
    store(state, shift(at, 3 * SIDE), rows[3])
    store(state, shift(at, 4 * SIDE), rows[4])
    store(state, shift(at, 5 * SIDE), rows[5])
    store(state, shift(at, 6 * SIDE), rows[6])
    store(state, shift(at, 7 * SIDE), rows[7])
    store(state, shift(at, WEST), columns[0])
    store(state, shift(at, EAST), columns[7])


@njit(forceinline=True)
def fixed_point(columns: Block, costs: np.ndarray, at: Places) -> tuple[Block, Block]:
    """Relax a tile until no edge inside it improves anything; its rows and its columns.

    Edges need not obey the triangle inequality, so a pass may make an improvement for the pass before it. A sweep ends
    with a pass back, which leaves nothing to improve backwards. Hence, when a sweep over the rows changes nothing, all
    that may be left is onward along the columns, and the other way round.
    """
    in_rows, in_columns = shift(at, ROWS), shift(at, COLUMNS)
    columns, _ = _sweep(columns, costs, in_columns)
    while True:
        rows, changed = _sweep(transpose(columns), costs, in_rows)
        if not changed and not _improves_onward(columns, costs, in_columns):
            return rows, columns
        columns, changed = _sweep(transpose(rows), costs, in_columns)
        if not changed and not _improves_onward(rows, costs, in_rows):
            return rows, columns


@njit(forceinline=True)
def _sweep(rows: Block, costs: np.ndarray, at: Places) -> tuple[Block, bool]:
    """One pass onward and one back; the rows, and whether any lane improved."""
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    r1 = smaller(onward(r0, costs, shift(at, 1 * SIDE)), r1)
    r2 = smaller(onward(r1, costs, shift(at, 2 * SIDE)), r2)
    r3 = smaller(onward(r2, costs, shift(at, 3 * SIDE)), r3)
    r4 = smaller(onward(r3, costs, shift(at, 4 * SIDE)), r4)
    r5 = smaller(onward(r4, costs, shift(at, 5 * SIDE)), r5)
    r6 = smaller(onward(r5, costs, shift(at, 6 * SIDE)), r6)
    r7 = smaller(onward(r6, costs, shift(at, 7 * SIDE)), r7)
    r6 = smaller(back(r7, costs, shift(at, 7 * SIDE)), r6)
    r5 = smaller(back(r6, costs, shift(at, 6 * SIDE)), r5)
    r4 = smaller(back(r5, costs, shift(at, 5 * SIDE)), r4)
    r3 = smaller(back(r4, costs, shift(at, 4 * SIDE)), r3)
    r2 = smaller(back(r3, costs, shift(at, 3 * SIDE)), r2)
    r1 = smaller(back(r2, costs, shift(at, 2 * SIDE)), r1)
    r0 = smaller(back(r1, costs, shift(at, 1 * SIDE)), r0)
    bits = less(r0, rows[0]) | less(r1, rows[1]) | less(r2, rows[2]) | less(r3, rows[3])
    bits |= less(r4, rows[4]) | less(r5, rows[5]) | less(r6, rows[6]) | less(r7, rows[7])
    return (r0, r1, r2, r3, r4, r5, r6, r7), bits != 0


@njit(forceinline=True)
def _improves_onward(rows: Block, costs: np.ndarray, at: Places) -> bool:
    """Whether a pass onward would change anything: quicker than the pass, since no row waits for another."""
    bits = less(onward(rows[0], costs, shift(at, 1 * SIDE)), rows[1])
    bits |= less(onward(rows[1], costs, shift(at, 2 * SIDE)), rows[2])
    bits |= less(onward(rows[2], costs, shift(at, 3 * SIDE)), rows[3])
    bits |= less(onward(rows[3], costs, shift(at, 4 * SIDE)), rows[4])
    bits |= less(onward(rows[4], costs, shift(at, 5 * SIDE)), rows[5])
    bits |= less(onward(rows[5], costs, shift(at, 6 * SIDE)), rows[6])
    bits |= less(onward(rows[6], costs, shift(at, 7 * SIDE)), rows[7])
    return bits != 0
