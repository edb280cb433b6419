"""Passes over one cost matrix on the CPU: what the solvers ask of it, with the state that makes passes cheap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from ...compiled.threads import run_parallel
from ..problem import ReadOut
from . import fused
from .blocks import BLOCK, Base, Costs, Ranges, Scratch

LN2 = math.log(2.0)
_DOUBLE = np.dtype(np.float64)
_BLOCK = int(BLOCK)
_BLOCKS_PER_RANGE = 16
_MAX_RANGES = 32
_MAX_LINKS = 1 << 22
"""Links, of all ranges together, that are kept before they are summed."""


class CpuPasses:
    """Passes over (K, N) costs with a fixed demand.

    Args:
        M: (K, N) float32 or float64 costs; read only.
        b: (N,) float64 demand; pixels that no supplier in ``rows`` reaches must have none.
        rows: suppliers that take part.
        cut: bits behind a pixel's best supplier beyond which a supplier may be left out of a whole block.
        serial_below: stay on the calling thread where there are fewer entries than this.
    """

    def __init__(self, M: np.ndarray, b: np.ndarray, rows: np.ndarray, cut: float, serial_below: int) -> None:
        self.M, self.b, self.rows, self.cut = M, b, rows, cut
        self._demand = {b.dtype: b}
        self._shared: tuple[Costs, Base] | None = None
        self._reg = math.nan
        self.anchor, self.u = np.empty(len(M)), np.zeros(len(M))
        bounds = _ranges(*M.shape)
        self.ranges = len(bounds) - 1
        self.all = Ranges(bounds, 0, self.ranges)
        self.serial = M.size < serial_below
        # Newton's few passes over a small problem gain less from float32 than its kernels take to compile.
        self.single = M.dtype == np.float32 and not self.serial
        self._serial_below = serial_below

    def subset(self, pixels: np.ndarray) -> CpuPasses:
        """Passes over some of the pixels only."""
        return CpuPasses(np.take(self.M, pixels, axis=1), self.b[pixels], self.rows, self.cut, self._serial_below)

    def forget(self) -> None:
        """Free what passes at one ``reg`` share, where none are to come."""
        self._shared = None

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mass of each supplier when every pixel's marginal holds, and the links sum_j b_j p_ij p_kj.

        Args:
            f: (K,) potentials.
            reg: entropy weight.
            precise: compute in float64 even if M is float32.
            links: also take the links.

        Returns:
            (K,) masses and (K, K) links (symmetric, zero diagonal), float64.
        """
        dtype = self.dtype(precise)
        costs, base = self.shared(dtype, reg)
        if fused.exponents(f, bits(reg), self.rows, slack_of(dtype), self.anchor, self.u):
            base.live_count.fill(-1)
        masses = np.zeros((self.ranges, len(f)))
        pairs = np.zeros((self.ranges, len(f), len(f)) if links else (self.ranges, 0, 0))
        self.over_ranges(
            lambda ranges: fused.fused_pass(costs, self.u, base, ranges, self.scratch(dtype), masses, pairs)
        )
        triangle = pairs.sum(axis=0)
        return masses.sum(axis=0), triangle + triangle.T

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        costs, base, u = self._exact_costs(reg), self._new_base(_DOUBLE), f * bits(reg)
        tops, rests = np.full((self.ranges, len(wanted)), -np.inf), np.zeros((self.ranges, len(wanted)))
        self.over_ranges(
            lambda ranges: fused.log_masses(costs, u, wanted, base, ranges, self.scratch(_DOUBLE), tops, rests)
        )
        return joined_logs(tops, rests)

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        k = bits(reg)
        move = fused.Move(f_before * k, f * k, f, bool((f != f_before).any()))
        costs, base, labels = self._exact_costs(reg), self._new_base(_DOUBLE), np.empty(len(self.b), np.int64)
        masses, sums = np.zeros((self.ranges, len(f))), np.zeros((self.ranges, 2))
        self.over_ranges(
            lambda ranges: fused.read_out(costs, move, base, ranges, self.scratch(_DOUBLE), labels, masses, sums)
        )
        cost, pixel_error = sums.sum(axis=0)
        return ReadOut(base.level / k, labels, float(cost), masses.sum(axis=0), float(pixel_error))

    def dtype(self, precise: bool) -> np.dtype:
        """Of the arithmetic."""
        return _DOUBLE if precise else self.M.dtype

    def shared(self, dtype: np.dtype, reg: float) -> tuple[Costs, Base]:
        """What passes share as long as neither of these changes."""
        if self._shared is None or self._shared[1].level.dtype != dtype or self._reg != reg:
            self._reg = reg
            self.anchor.fill(math.nan)
            if dtype not in self._demand:
                self._demand[dtype] = self.b.astype(dtype)
            k, cut = dtype.type(bits(reg)), dtype.type(self.cut + slack_of(dtype))
            self._shared = Costs(self.M, self._demand[dtype], self.rows, k, cut), self._new_base(dtype)
        return self._shared

    def _exact_costs(self, reg: float) -> Costs:
        return Costs(self.M, self.b, self.rows, bits(reg), fused.NEGLIGIBLE)

    def _new_base(self, dtype: np.dtype) -> Base:
        K, N = self.M.shape
        blocks = -(-N // _BLOCK)
        return Base(np.empty(N, dtype), np.empty((blocks, K), np.int32), np.full(blocks, -1))

    def scratch(self, dtype: np.dtype) -> Scratch:
        """Memory for one thread."""
        return Scratch(np.empty((len(self.M), _BLOCK), dtype), np.empty(_BLOCK, dtype), np.empty(len(self.M), np.int64))

    def over_ranges(self, part: Callable[[Ranges], None]) -> None:
        """Call ``part`` for all ranges of blocks, a share of them on each thread."""
        shares = 1 if self.serial else min(torch.get_num_threads(), self.ranges)
        if shares == 1:
            return part(self.all)
        ends = (np.arange(shares + 1) * self.ranges // shares).tolist()
        run_parallel(part, [Ranges(self.all.bounds, first, last) for first, last in itertools.pairwise(ends)])


def joined_logs(tops: np.ndarray, rests: np.ndarray) -> np.ndarray:
    """Natural logarithms of the sums over the first axis of ``rests * 2**tops``; -inf where all tops are."""
    top = tops.max(axis=0)
    rest = (rests * np.exp2(tops - np.where(top > -np.inf, top, 0))).sum(axis=0)
    with np.errstate(divide="ignore"):
        return np.where(top > -np.inf, top + np.log2(rest), -np.inf) * LN2


def bits(reg: float) -> float:
    """Per unit of cost."""
    return 1 / (reg * LN2)


def slack_of(dtype: np.dtype) -> float:
    """Bits by which suppliers may move against each other before exponents near the top of their range."""
    return 40.0 if dtype == np.float32 else 60.0


def _ranges(suppliers: int, pixels: int) -> np.ndarray:
    """Bounds of ranges of blocks; they depend on the size alone, so sums do not depend on the threads."""
    blocks = -(-pixels // _BLOCK)
    count = max(1, min(_MAX_RANGES, blocks // _BLOCKS_PER_RANGE, _MAX_LINKS // suppliers**2))
    return (np.arange(count + 1) * blocks // count).astype(np.uint64)
