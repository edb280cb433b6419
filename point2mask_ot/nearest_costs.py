"""Costs between suppliers and pixels where each pixel knows only those that may serve it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCK = 64
"""Pixels in a block: 8 x 8 of them where they come from a picture."""


@dataclass(frozen=True, eq=False)
class NearestCosts:
    """A (K, N) cost matrix of which most entries are left out, because they cost too much to matter.

    Pixels lie in blocks; a block lists some suppliers with a cost for each of its pixels. What is left out is not free
    to be anything: it costs at least ``floor``, at the prices at which the entries were chosen.

    Attributes:
        num_suppliers, num_pixels: K and N.
        pixel: (B, 64) int32, the pixels of each block, each of the N in one place; -1 fills up.
        first: (B + 1,) int64: entries first[b] to first[b + 1] are those of block b.
        supplier: (E,) int32, ascending within a block.
        cost: (E, 64) float32 or float64; +inf where the pair is forbidden or left out.
        price: (K,) float64 at which the entries were chosen.
        floor: (B, 64) float32, at most ``cost - price`` of any supplier that a pixel leaves out; +inf where none is.
        search: ``search(price, window)`` -> the same costs with the entries chosen anew: all whose ``cost - price`` is
            at most the pixel's smallest plus ``window``; None where nobody can.
    """

    num_suppliers: int
    num_pixels: int
    pixel: np.ndarray
    first: np.ndarray
    supplier: np.ndarray
    cost: np.ndarray
    price: np.ndarray
    floor: np.ndarray
    search: Callable[[np.ndarray, float], NearestCosts] | None = None
