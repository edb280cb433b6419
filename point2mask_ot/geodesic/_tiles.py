"""Tiles of 8x8 pixels, relaxed to a fixed point while they are held in vector registers.

A sweep passes over the rows of a tile onward and back; each of its steps moves 8 pixels at once along their straight
and both diagonal edges. That leaves the horizontal edges: sweeps over the columns, on the transposed tile.

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

# Costs of one tile, as vectors of 8. First two single corner edges, to the north-west and the north-east tile. Then for
# each row the edges to the row before: straight up, falling (from the lane to the left), rising (from the lane to the
# right); those of the first row lead to the north tile. Then the same for the first column and the west tile, and for
# the other columns the straight edges alone, since the rows hold all diagonals inside the tile.
NORTH_WEST, NORTH_EAST = 0, 1
ROWS = SIDE
STRAIGHT, FALLING, RISING, ROW = 0, SIDE, 2 * SIDE, 3 * SIDE
COLUMNS = ROWS + SIDE * ROW
COSTS = COLUMNS + ROW + (SIDE - 1) * SIDE + SIDE  # the last 8 make whole cache lines

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

    Entries of ``edges`` (4, H, W) for pairs that leave the image are not read.
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
            for i in range(SIDE):
                y, x = top + i, left + i
                tile[COLUMNS + STRAIGHT + i] = right[y + 1, left]
                tile[COLUMNS + FALLING + i] = down_right[y, left] if i > 0 else np.inf
                tile[COLUMNS + RISING + i] = down_left[y + 1, left + 1] if i < SIDE - 1 else np.inf
                for c in range(1, SIDE):
                    tile[COLUMNS + ROW + SIDE * (c - 1) + i] = right[y + 1, left + c]
                for r in range(SIDE):
                    row, y = ROWS + ROW * r + i, top + r
                    tile[row + STRAIGHT] = straight_down[y, x + 1]
                    tile[row + FALLING] = down_right[y, x] if i > 0 else np.inf
                    tile[row + RISING] = down_left[y, x + 2] if i < SIDE - 1 else np.inf
    return costs


@njit(forceinline=True)
def shift(places: Places, offset: int) -> Places:
    return places[0] + offset, places[1] + offset


@njit(forceinline=True)
def onward(row: Vector, costs: np.ndarray, at: Places) -> Vector:
    """What a row offers to the next one, whose edges begin at ``at``."""
    straight = plus(row, load(costs, shift(at, STRAIGHT)))
    falling = plus(from_left(row), load(costs, shift(at, FALLING)))
    rising = plus(from_right(row), load(costs, shift(at, RISING)))
    return smaller(straight, smaller(falling, rising))


@njit(forceinline=True)
def back(row: Vector, costs: np.ndarray, at: Places) -> Vector:
    """What a row, whose edges begin at ``at``, offers to the one before."""
    straight = plus(row, load(costs, shift(at, STRAIGHT)))
    falling = from_right(plus(row, load(costs, shift(at, FALLING))))
    rising = from_left(plus(row, load(costs, shift(at, RISING))))
    return smaller(straight, smaller(falling, rising))


@njit(forceinline=True)
def _sideways(column: Vector, costs: np.ndarray, at: Places) -> Vector:
    """What a column offers along the straight edges at ``at``, to either side."""
    return plus(column, load(costs, at))


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
    in_rows, in_columns = shift(at, ROWS), shift(at, COLUMNS + ROW)
    columns, _ = _sweep_columns(columns, costs, in_columns)
    while True:
        rows, changed = _sweep_rows(transpose(columns), costs, in_rows)
        if not changed and not _columns_improve(columns, costs, in_columns):
            return rows, columns
        columns, changed = _sweep_columns(transpose(rows), costs, in_columns)
        if not changed and not _rows_improve(rows, costs, in_rows):
            return rows, columns


@njit(forceinline=True)
def _sweep_rows(rows: Block, costs: np.ndarray, at: Places) -> tuple[Block, bool]:
    """One pass onward and one back; the rows, and whether any pixel improved."""
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    r1 = smaller(onward(r0, costs, shift(at, 1 * ROW)), r1)
    r2 = smaller(onward(r1, costs, shift(at, 2 * ROW)), r2)
    r3 = smaller(onward(r2, costs, shift(at, 3 * ROW)), r3)
    r4 = smaller(onward(r3, costs, shift(at, 4 * ROW)), r4)
    r5 = smaller(onward(r4, costs, shift(at, 5 * ROW)), r5)
    r6 = smaller(onward(r5, costs, shift(at, 6 * ROW)), r6)
    r7 = smaller(onward(r6, costs, shift(at, 7 * ROW)), r7)
    r6 = smaller(back(r7, costs, shift(at, 7 * ROW)), r6)
    r5 = smaller(back(r6, costs, shift(at, 6 * ROW)), r5)
    r4 = smaller(back(r5, costs, shift(at, 5 * ROW)), r4)
    r3 = smaller(back(r4, costs, shift(at, 4 * ROW)), r3)
    r2 = smaller(back(r3, costs, shift(at, 3 * ROW)), r2)
    r1 = smaller(back(r2, costs, shift(at, 2 * ROW)), r1)
    r0 = smaller(back(r1, costs, shift(at, 1 * ROW)), r0)
    swept = (r0, r1, r2, r3, r4, r5, r6, r7)
    return swept, _any_less(swept, rows)


@njit(forceinline=True)
def _sweep_columns(columns: Block, costs: np.ndarray, at: Places) -> tuple[Block, bool]:
    """One pass onward and one back; the columns, and whether any pixel improved."""
    c0, c1, c2, c3, c4, c5, c6, c7 = columns
    c1 = smaller(_sideways(c0, costs, at), c1)
    c2 = smaller(_sideways(c1, costs, shift(at, 1 * SIDE)), c2)
    c3 = smaller(_sideways(c2, costs, shift(at, 2 * SIDE)), c3)
    c4 = smaller(_sideways(c3, costs, shift(at, 3 * SIDE)), c4)
    c5 = smaller(_sideways(c4, costs, shift(at, 4 * SIDE)), c5)
    c6 = smaller(_sideways(c5, costs, shift(at, 5 * SIDE)), c6)
    c7 = smaller(_sideways(c6, costs, shift(at, 6 * SIDE)), c7)
    c6 = smaller(_sideways(c7, costs, shift(at, 6 * SIDE)), c6)
    c5 = smaller(_sideways(c6, costs, shift(at, 5 * SIDE)), c5)
    c4 = smaller(_sideways(c5, costs, shift(at, 4 * SIDE)), c4)
    c3 = smaller(_sideways(c4, costs, shift(at, 3 * SIDE)), c3)
    c2 = smaller(_sideways(c3, costs, shift(at, 2 * SIDE)), c2)
    c1 = smaller(_sideways(c2, costs, shift(at, 1 * SIDE)), c1)
    c0 = smaller(_sideways(c1, costs, at), c0)
    swept = (c0, c1, c2, c3, c4, c5, c6, c7)
    return swept, _any_less(swept, columns)


@njit(forceinline=True)
def _any_less(first: Block, second: Block) -> bool:
    bits = less(first[0], second[0]) | less(first[1], second[1]) | less(first[2], second[2])
    bits |= less(first[3], second[3]) | less(first[4], second[4]) | less(first[5], second[5])
    return (bits | less(first[6], second[6]) | less(first[7], second[7])) != 0


@njit(forceinline=True)
def _rows_improve(rows: Block, costs: np.ndarray, at: Places) -> bool:
    """Whether a pass onward would change anything: quicker than the pass, since no row waits for another."""
    bits = less(onward(rows[0], costs, shift(at, 1 * ROW)), rows[1])
    bits |= less(onward(rows[1], costs, shift(at, 2 * ROW)), rows[2])
    bits |= less(onward(rows[2], costs, shift(at, 3 * ROW)), rows[3])
    bits |= less(onward(rows[3], costs, shift(at, 4 * ROW)), rows[4])
    bits |= less(onward(rows[4], costs, shift(at, 5 * ROW)), rows[5])
    bits |= less(onward(rows[5], costs, shift(at, 6 * ROW)), rows[6])
    bits |= less(onward(rows[6], costs, shift(at, 7 * ROW)), rows[7])
    return bits != 0


@njit(forceinline=True)
def _columns_improve(columns: Block, costs: np.ndarray, at: Places) -> bool:
    """Whether a pass onward would change anything."""
    bits = less(_sideways(columns[0], costs, at), columns[1])
    bits |= less(_sideways(columns[1], costs, shift(at, 1 * SIDE)), columns[2])
    bits |= less(_sideways(columns[2], costs, shift(at, 2 * SIDE)), columns[3])
    bits |= less(_sideways(columns[3], costs, shift(at, 3 * SIDE)), columns[4])
    bits |= less(_sideways(columns[4], costs, shift(at, 4 * SIDE)), columns[5])
    bits |= less(_sideways(columns[5], costs, shift(at, 5 * SIDE)), columns[6])
    bits |= less(_sideways(columns[6], costs, shift(at, 6 * SIDE)), columns[7])
    return bits != 0
