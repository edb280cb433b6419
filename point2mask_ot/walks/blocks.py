"""Edges between blocks of 2 x 2 pixels (compiled)."""

from __future__ import annotations

import numpy as np

from ..compiled.jit import helper, njit
from .grids import TO_BELOW, TO_RIGHT


@njit(error_model="numpy")
def halve(edges, step, reached, between):  # type: ignore[no-untyped-def]
    """Two ways of two steps lead from each block to the next.

    Args:
        edges: (4, H, W) costs; the two diagonals are not used.
        step: what is added to them, of their dtype.
        reached: (H, W) bool; no finite edge leads out of it.
        between: (4, ceil(H / 2), ceil(W / 2)) costs between blocks, to which the same is to be added, written but for
            the diagonals; +inf where no way leads.
    """
    _, height, width = edges.shape
    between[TO_RIGHT], between[TO_BELOW] = 0, 0
    for i in range(height):
        for j in range(0, width - 2, 2):
            if reached[i, j + 1]:
                way = edges[TO_RIGHT, i]
                between[TO_RIGHT, i // 2, j // 2] += _flow(way[j] + step, way[j + 1] + step, way[j + 2] + step)
    for i in range(0, height - 2, 2):
        for j in range(width):
            if reached[i + 1, j]:
                before, across, after = edges[TO_BELOW, i, j], edges[TO_BELOW, i + 1, j], edges[TO_BELOW, i + 2, j]
                between[TO_BELOW, i // 2, j // 2] += _flow(before + step, across + step, after + step)
    for i in range(between.shape[1]):
        for j in range(between.shape[2]):
            for way in (TO_RIGHT, TO_BELOW):
                between[way, i, j] = max(1 / between[way, i, j] - step, between.dtype.type(0))


@helper(error_model="numpy")
def _flow(before, across, after):  # type: ignore[no-untyped-def]
    """Along one way, whose ends lie half in blocks.

    Where a wall divides a block its halves are one all the same, or blocks could be cut off.
    """
    before = before if before < np.inf else across
    after = after if after < np.inf else across
    return 1 / (across + (before + after) / 2)
