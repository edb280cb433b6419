"""Exact transport of unit pixels to integer capacities.

Entropic prices at a small ``reg`` put nearly every pixel where it belongs. What is left over moves along
successive shortest augmenting paths between suppliers, over the few pixels for which somebody else competes.
Prices that moved less than the width of that competition certify the whole; otherwise the width grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..cpu.passes import CpuPasses
from ..newton import Semidual, maximise
from . import kernels
from .kernels import Heaps, Rivals

_REG_SHARES = (3e-4, 1e-2)
"""Least and largest entropy weight of the first prices, over the range of the costs."""
_CONTESTED = 20.0
"""Pixels times that weight: where there are few, moving more of them by paths costs less than sharper prices."""
_PRICE_ERROR = 1e-3
_PRICE_PASSES = 40


@dataclass(frozen=True)
class Assignment:
    """An optimal plan of unit pixels, or one as full as forbidden pairs allow.

    Attributes:
        f: (K,) optimal prices; 0 for suppliers that take no part.
        owner: (N,) supplier of each pixel, -1 where nothing is demanded.
        passes: passes over all costs that were made.
    """

    f: np.ndarray
    owner: np.ndarray
    passes: int


def assign(passes: CpuPasses, capacity: np.ndarray, span: float, magnitude: float) -> Assignment:
    """Give each pixel of demand 1 to one supplier at least cost, ``capacity[i]`` pixels to supplier i.

    Args:
        passes: the costs and the demand, 0 or 1 for each pixel.
        capacity: (K,) int64 of the same total as the demand; 0 for suppliers that take no part.
        span: range of the finite costs.
        magnitude: largest absolute value among them.
    """
    least, largest = _REG_SHARES
    reg = span * min(max(_CONTESTED / len(passes.b), least), largest)
    f, used = np.zeros(len(capacity)), 0
    if span > 0:
        dual = Semidual(passes, capacity.astype(np.float64), reg, math.inf, span, magnitude)
        f, used = maximise(dual, _PRICE_ERROR, _PRICE_PASSES)
        passes.forget()
    width = 20 * reg or 1.0
    while True:
        # Beyond this width nobody is screened out, and the outcome stands however far the prices move.
        everyone = width > span + float(np.ptp(f[passes.rows]))
        before = f.copy()
        owner, best, rivals = _rivals(passes, f, width, passes.b > 0)
        counts = np.bincount(owner[owner >= 0], minlength=len(f))
        feasible = _repair(passes, capacity, f, owner, best, rivals, counts, width)
        moved = float(np.ptp((f - before)[passes.rows]))
        used += 2
        if everyone or (feasible and moved <= width):
            break
        width = max(4 * width, 2 * moved)
    return Assignment(f, owner, used)


def screen(passes: CpuPasses, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Argmax and maximum over the suppliers of f - M, for every pixel."""
    owner, best, _ = _rivals(passes, f, 0.0, np.ones(len(passes.b), bool))
    return np.maximum(owner, 0, out=owner), best


def _rivals(
    passes: CpuPasses, f: np.ndarray, width: float, demanded: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pixels = len(passes.b)
    owner, best, rivals = np.empty(pixels, np.int64), np.empty(pixels), np.empty(pixels, np.int32)
    passes.over_ranges(
        lambda ranges: kernels.screen_rivals(passes.M, passes.rows, f, demanded, width, ranges, owner, best, rivals)
    )
    return owner, best, rivals


def _repair(
    passes: CpuPasses, capacity: np.ndarray, f: np.ndarray, owner: np.ndarray, best: np.ndarray,
    rivals: np.ndarray, counts: np.ndarray, width: float,
) -> bool:  # fmt: skip
    """Meet the capacities by moving contested pixels; updates the prices, the owners and the counts."""
    contested = np.flatnonzero(rivals > 1)
    offsets = np.concatenate([[0], np.cumsum(rivals[contested], dtype=np.int64)])
    suppliers, costs = np.empty(offsets[-1], np.int32), np.empty(offsets[-1])
    kernels.list_rivals(passes.M, f, passes.rows, width, best, contested, offsets, suppliers, costs)
    listed = Rivals(owner[contested], offsets, suppliers, costs)
    heaps = _empty_heaps(len(f), 4 * len(suppliers) + 2 * len(f) ** 2)
    memory = np.empty(len(f)), np.empty(len(f), np.int64), np.empty(len(f), bool)
    while not kernels.augment(capacity, counts, f, listed, heaps, *memory):
        heaps.root.fill(-1)
    owner[contested] = listed.owner
    return bool((counts <= capacity).all())


def _empty_heaps(suppliers: int, nodes: int) -> Heaps:
    pairs = (suppliers, suppliers)
    key, pixel = np.empty(nodes), np.empty(nodes, np.int32)
    left, right = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
    return Heaps(np.full(pairs, -1), np.empty(pairs), key, pixel, left, right)
