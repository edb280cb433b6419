"""From tiles in the order in which targets found them to blocks of pixels with their suppliers in order.

In place: the costs are by far the largest there are.
"""

from __future__ import annotations

import numpy as np

from ...compiled.jit import helper, njit
from .tiles import AREA, SIDE


def block_pixels(height: int, width: int) -> np.ndarray:
    """(blocks, 64) int32 pixels of an image's tiles, -1 beyond its border."""
    down, across = -(-height // SIDE), -(-width // SIDE)
    pixel = np.full((down * SIDE, across * SIDE), -1, np.int32)
    pixel[:height, :width] = np.arange(height * width, dtype=np.int32).reshape(height, width)
    return np.ascontiguousarray(pixel.reshape(down, SIDE, across, SIDE).swapaxes(1, 2)).reshape(-1, AREA)


@njit()
def arrange(
    cost: np.ndarray, tile: np.ndarray, ranges: np.ndarray, across: int, blocks: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put the entries of each block side by side, its suppliers ascending.

    Args:
        cost: (E, 64), reordered.
        tile: (E,) int32, each entry's tile among those of the image and the rim around them, ``across`` in a row.
        ranges: (K, 2) int64, from where to where the entries of each supplier lie.
        blocks: B, the number of tiles without the rim.

    Returns:
        ``first`` (B + 1,) int64 and ``supplier`` (E,) int32, as in NearestCosts.
    """
    block = np.empty(len(cost), np.int64)
    first = np.zeros(blocks + 1, np.int64)
    for entry in range(len(cost)):
        block[entry] = (tile[entry] // across - 1) * (across - 2) + tile[entry] % across - 1
        first[block[entry] + 1] += 1
    for index in range(blocks):
        first[index + 1] += first[index]
    place, supplier, following = block, np.empty(len(cost), np.int32), first[:-1].copy()
    for own in range(len(ranges)):
        for entry in range(ranges[own, 0], ranges[own, 1]):
            own_block = block[entry]
            place[entry] = following[own_block]
            following[own_block] += 1
            supplier[place[entry]] = own
    for entry in range(len(cost)):
        while place[entry] != entry:
            other = place[entry]
            for pixel in range(AREA):
                cost[entry, pixel], cost[other, pixel] = cost[other, pixel], cost[entry, pixel]
            place[entry], place[other] = place[other], other
    return first, supplier


@njit()
def keep_near(
    cost: np.ndarray, first: np.ndarray, supplier: np.ndarray, price: np.ndarray, window: float, floor: np.ndarray
) -> None:
    """Leave out what costs more than a pixel's smallest ``cost - price`` plus ``window``, and empty entries.

    Args:
        cost: (E, 64); what is left out becomes +inf, and the entries that remain move to the front.
        first, supplier: as in NearestCosts, rewritten.
        price: (K,) float64.
        floor: (B, 64) float32, written: the largest ``cost - price`` that is kept, rounded down.
    """
    kept, most = 0, np.empty(AREA)
    for block in range(len(first) - 1):
        start, stop = first[block], first[block + 1]
        first[block] = kept
        most[:] = np.inf
        for entry in range(start, stop):
            _lower(most, cost[entry], price[supplier[entry]])
        most += window
        for entry in range(start, stop):
            own = supplier[entry]
            if _cut(cost[kept], cost[entry], price[own], most) > 0:
                supplier[kept] = own
                kept += 1
        for pixel in range(AREA):
            value = np.float32(most[pixel])
            floor[block, pixel] = np.nextafter(value, np.float32(-np.inf)) if value > most[pixel] else value
    first[-1] = kept


@helper()
def _lower(most: np.ndarray, cost: np.ndarray, price: float) -> None:
    for pixel in range(AREA):
        reduced = cost[pixel] - price
        most[pixel] = reduced if reduced < most[pixel] else most[pixel]


@helper()
def _cut(kept: np.ndarray, cost: np.ndarray, price: float, most: np.ndarray) -> int:
    """Copy the costs whose reduced cost is at most a limit, +inf for others; how many there are."""
    count = 0
    for pixel in range(AREA):
        value = cost[pixel]
        is_near = (value - price <= most[pixel]) & (value < np.inf)
        kept[pixel] = value if is_near else np.float32(np.inf)
        count += is_near
    return count
