"""Which targets matter in each block of pixels, while groups of colours are solved (compiled)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiled.jit import helper, njit

_SIDE = 8


class Place(NamedTuple):
    """What a group of colours stands for in a part of a picture.

    Attributes:
        cell: (h, w) int32 row of the tables of each pixel, -1 outside the part.
        owner: (cells, n) int32 target of each colour, -1 for none.
        worth: (cells, n) float32, what its probability counts; 0 for none.
        corner: (2,) int64, the part's first pixel in the picture.
        least: share of a pixel's best that counts.
        smallest: probabilities below that are that.
    """

    cell: np.ndarray
    owner: np.ndarray
    worth: np.ndarray
    corner: np.ndarray
    least: np.float32
    smallest: np.float32


@njit()
def count(x, place, best):  # type: ignore[no-untyped-def]
    """The entries of a group of colours, and the best of each pixel.

    Args:
        x: (pixels, lanes) float32, as :func:`.kernels.solve` leaves them.
        place: of the group.
        best: (h, w) float32, raised.

    Returns:
        (M, 3) int64 row and column of blocks and the colour, (M,) int64 targets, and how many of them there are.
    """
    height, width = place.cell.shape
    top, left = place.corner
    blocks, targets, size = np.empty((64, 3), np.int64), np.empty(64, np.int64), 0
    hit = np.empty(place.owner.shape[1], np.bool_)
    value = np.empty(place.owner.shape[1], np.float32)
    for row in range(top // _SIDE, (top + height - 1) // _SIDE + 1):
        for column in range(left // _SIDE, (left + width - 1) // _SIDE + 1):
            box = _box(row, column, place)
            _find_hits(x, box, place, best, value, hit)
            for lane in range(len(hit)):
                if not hit[lane]:
                    continue
                before = size
                for i in range(box[0], box[1]):
                    for j in range(box[2], box[3]):
                        target = place.owner[place.cell[i, j], lane] if place.cell[i, j] >= 0 else -1
                        if target < 0 or _is_listed(target, targets, before, size):
                            continue
                        if size == len(targets):
                            blocks = np.concatenate((blocks, np.empty_like(blocks)))
                            targets = np.concatenate((targets, np.empty_like(targets)))
                        blocks[size, 0], blocks[size, 1], blocks[size, 2] = row, column, lane
                        targets[size] = target
                        size += 1
    return blocks, targets, size


@njit()
def fill(x, place, blocks, targets, rows):  # type: ignore[no-untyped-def]
    """The probabilities of entries.

    Args:
        x, place: as for :func:`count`.
        blocks, targets: from it.
        rows: (E, 64) float32, written; 0 where a pixel does not know the target.
    """
    width = place.cell.shape[1]
    for n in range(len(targets)):
        rows[n] = 0
        box = _box(blocks[n, 0], blocks[n, 1], place)
        for i in range(box[0], box[1]):
            for j in range(box[2], box[3]):
                cell, lane = place.cell[i, j], blocks[n, 2]
                if cell >= 0 and place.owner[cell, lane] == targets[n]:
                    found = min(max(x[(i + 1) * (width + 2) + j + 1, lane], place.smallest), np.float32(1))
                    rows[n, (i + place.corner[0]) % _SIDE * _SIDE + (j + place.corner[1]) % _SIDE] = found


@njit()
def matter(rows, targets, blocks, worth, least):  # type: ignore[no-untyped-def]
    """(E,) bool, whether entries are good enough for some pixel.

    Args:
        rows, targets: as :func:`fill` and :func:`count` leave them.
        blocks: (E,) int64, theirs.
        worth: (K,) float32, what a target's probability counts.
        least: (blocks, 64) float32, what it has to count.
    """
    good = np.zeros(len(rows), np.bool_)
    for n in range(len(rows)):
        for p in range(rows.shape[1]):
            value = rows[n, p] * worth[targets[n]]
            good[n] |= (value > 0) & (value >= least[blocks[n], p])
    return good


@njit()
def merge(rows, slots, probability):  # type: ignore[no-untyped-def]
    """Entries to their places, the larger of two that have the same.

    Args:
        rows: (E, 64) float32.
        slots: (E,) int64 rows of ``probability``, -1 for nowhere.
        probability: (N, 64) float32, raised.
    """
    for n in range(len(rows)):
        if slots[n] >= 0:
            for p in range(rows.shape[1]):
                probability[slots[n], p] = max(probability[slots[n], p], rows[n, p])


@helper()
def _box(row, column, place):  # type: ignore[no-untyped-def]
    """First and last row and column of a block, in the part."""
    height, width = place.cell.shape
    top, left = row * _SIDE - place.corner[0], column * _SIDE - place.corner[1]
    return max(top, 0), min(top + _SIDE, height), max(left, 0), min(left + _SIDE, width)


@helper()
def _find_hits(x, box, place, best, value, hit):  # type: ignore[no-untyped-def]
    """The colours that count at some pixel of a block, and the best of each."""
    hit[:] = False
    width = place.cell.shape[1]
    for i in range(box[0], box[1]):
        for j in range(box[2], box[3]):
            cell = place.cell[i, j]
            if cell < 0:
                continue
            p, highest = (i + 1) * (width + 2) + j + 1, best[i, j]
            for lane in range(len(hit)):
                value[lane] = min(max(x[p, lane], place.smallest), np.float32(1)) * place.worth[cell, lane]
                highest = max(highest, value[lane])
            best[i, j] = highest
            for lane in range(len(hit)):
                hit[lane] |= (value[lane] > 0) & (value[lane] >= place.least * highest)


@helper()
def _is_listed(target, targets, first, end):  # type: ignore[no-untyped-def]
    found = False
    for n in range(first, end):
        found |= targets[n] == target
    return found
