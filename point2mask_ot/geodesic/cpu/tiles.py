"""Tiles of 8x8 pixels: how their costs and their state lie in memory.

A rim of empty tiles surrounds those of the image, so that every tile has 8 neighbours.
"""

from __future__ import annotations

import numpy as np

from ...compiled.jit import njit

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
INNER_COLUMNS = COLUMNS + ROW
COSTS = INNER_COLUMNS + (SIDE - 1) * SIDE + SIDE  # the last 8 make whole cache lines

# State of one tile: 8 rows of distances, then what the west and the east neighbour offer to its first and its last
# column, kept apart because a column does not lie in one piece.
WEST, EAST = AREA, AREA + SIDE
STATE = AREA + 2 * SIDE


def pack_costs(edges: np.ndarray) -> np.ndarray:
    """(tiles down + 2, tiles across + 2, COSTS) costs of all tiles inside a rim of empty ones; +inf is no edge.

    Entries of ``edges`` (4, H, W) for pairs that leave the image are not read.
    """
    return cut(pad(edges))


def pad(edges: np.ndarray) -> np.ndarray:
    """(4, H + 1, W + 2) costs, H and W in whole tiles, of an image that begins at pixel (1, 1); +inf is no edge.

    Each lies at the pixel at which its edge begins.
    """
    _, height, width = edges.shape
    down, across = -(-height // SIDE), -(-width // SIDE)
    padded = np.full((4, down * SIDE + 1, across * SIDE + 2), np.inf, np.float32)
    padded[0, 1 : height + 1, 1:width] = edges[0, :, :-1]
    padded[1, 1:height, 2 : width + 1] = edges[1, :-1, 1:]
    padded[2, 1:height, 1 : width + 1] = edges[2, :-1]
    padded[3, 1:height, 1:width] = edges[3, :-1, :-1]
    return padded


def cut(padded: np.ndarray) -> np.ndarray:
    """What :func:`pack_costs` makes, of what :func:`pad` made."""
    down, across = padded.shape[1] // SIDE, padded.shape[2] // SIDE
    costs = np.full((down + 2, across + 2, COSTS), np.inf, np.float32)
    _cut(padded, costs)
    return costs


@njit()
def _cut(padded: np.ndarray, costs: np.ndarray) -> None:
    """Copy the edges of each tile to its place in ``costs``, which is full of +inf."""
    right, down_left, straight_down, down_right = padded[0], padded[1], padded[2], padded[3]
    for tile_y in range(costs.shape[0] - 2):
        for tile_x in range(costs.shape[1] - 2):
            tile = costs[tile_y + 1, tile_x + 1]
            top, left = tile_y * SIDE, tile_x * SIDE  # of the tile's first pixel; padded, it lies one further
            tile[NORTH_WEST] = down_right[top, left]
            tile[NORTH_EAST] = down_left[top, left + SIDE + 1]
            for i in range(SIDE):
                y, x = top + i, left + i
                tile[COLUMNS + STRAIGHT + i] = right[y + 1, left]
                if i > 0:
                    tile[COLUMNS + FALLING + i] = down_right[y, left]
                if i < SIDE - 1:
                    tile[COLUMNS + RISING + i] = down_left[y + 1, left + 1]
                for c in range(1, SIDE):
                    tile[INNER_COLUMNS + SIDE * (c - 1) + i] = right[y + 1, left + c]
                for r in range(SIDE):
                    row, y = ROWS + ROW * r + i, top + r
                    tile[row + STRAIGHT] = straight_down[y, x + 1]
                    if i > 0:
                        tile[row + FALLING] = down_right[y, x]
                    if i < SIDE - 1:
                        tile[row + RISING] = down_left[y, x + 2]
