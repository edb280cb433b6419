"""Edges between blocks of 2 x 2 pixels (compiled)."""

from __future__ import annotations

import numpy as np

from ..compiled.jit import helper, njit


@njit(error_model="numpy")
def halve(right, down, between_right, between_down):  # type: ignore[no-untyped-def]
    """Two ways of two steps lead from each block to the next.

    Args:
        right, down: (H, W) resistance from each pixel to the next on its right and to the one below; +inf where there
            is none.
        between_right, between_down: (ceil(H / 2), ceil(W / 2)) the same for blocks, written.
    """
    height, width = right.shape
    between_right[:], between_down[:] = 0, 0
    for i in range(height):
        for j in range(0, width - 2, 2):
            between_right[i // 2, j // 2] += _flow(right[i, j], right[i, j + 1], right[i, j + 2])
    for i in range(0, height - 2, 2):
        for j in range(width):
            between_down[i // 2, j // 2] += _flow(down[i, j], down[i + 1, j], down[i + 2, j])
    for i in range(between_right.shape[0]):
        for j in range(between_right.shape[1]):
            between_right[i, j] = 1 / between_right[i, j]
            between_down[i, j] = 1 / between_down[i, j]


@helper(error_model="numpy")
def _flow(before, across, after):  # type: ignore[no-untyped-def]
    """Along one way, whose ends lie half in blocks.

    Where a wall divides a block its halves are one all the same, or blocks could be cut off.
    """
    before = before if before < np.inf else across
    after = after if after < np.inf else across
    return 1 / (across + (before + after) / 2)
