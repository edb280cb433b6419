"""Passes over one cost matrix on the CPU: what the solvers ask of it, with the state that makes passes cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...compiled.threads import run_parallel
from . import fused, rounds
from .blocks import BLOCK, Base, Scratch

LN2 = math.log(2.0)
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
        self._base: Base | None = None
        self._base_reg = math.nan
        self._anchor, self._u = np.empty(len(M)), np.zeros(len(M))
        self.bounds = _ranges(*M.shape)
        self.ranges = len(self.bounds) - 1
        self.serial = M.size < serial_below
        # Newton's few passes over a small problem gain less from float32 than its kernels take to compile.
        self.single = M.dtype == np.float32 and not self.serial
        self._serial_below = serial_below

    def subset(self, pixels: np.ndarray) -> CpuPasses:
        """Passes over some of the pixels only."""
        return CpuPasses(np.take(self.M, pixels, axis=1), self.b[pixels], self.rows, self.cut, self._serial_below)

    def forget(self) -> None:
        """Free what passes at one ``reg`` share, where none are to come."""
        self._base = None

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
        dtype = np.dtype(np.float64 if precise else self.M.dtype)
        base, slack, k = self._base_for(dtype, reg), _slack(dtype), 1 / (reg * LN2)
        if rounds.exponents(f, k, self.rows, slack, self._anchor, self._u):
            base.live_count.fill(-1)
        masses = np.zeros((self.ranges, len(f)))
        pairs = np.zeros((self.ranges, len(f), len(f)) if links else (self.ranges, 0, 0))

        def part(first: int, last: int) -> None:
            fused.fused_pass(
                self.M, self._demand[dtype], self._u, dtype.type(k), self.rows, dtype.type(self.cut + slack), base,
                self.bounds, first, last, self._scratch(dtype), masses, pairs,
            )  # fmt: skip

        self.over_ranges(part)
        triangle = pairs.sum(axis=0)
        return masses.sum(axis=0), triangle + triangle.T

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        k = 1 / (reg * LN2)
        base = self._new_base(self.b.dtype)
        tops, rests = np.full((self.ranges, len(wanted)), -np.inf), np.zeros((self.ranges, len(wanted)))

        def part(first: int, last: int) -> None:
            fused.log_masses(
                self.M, self.b, f * k, k, self.rows, wanted, base, self.bounds, first, last,
                self._scratch(self.b.dtype), tops, rests,
            )  # fmt: skip

        self.over_ranges(part)
        top = tops.max(axis=0)
        rest = (rests * np.exp2(tops - np.where(top > -np.inf, top, 0))).sum(axis=0)
        with np.errstate(divide="ignore"):
            return np.where(top > -np.inf, top + np.log2(rest), -np.inf) * LN2

    def rounds(
        self, f: np.ndarray, a: np.ndarray, reg: float, tau: float, tol: float, limit: int, precise: bool
    ) -> tuple[int, np.ndarray]:
        """Sinkhorn rounds; changes ``f``.

        Args:
            f: (K,) potentials, updated in place.
            a: (K,) capacities.
            reg: entropy weight.
            tau: softness of the capacities, inf for hard ones.
            tol: stop once the L1 error of the capacities before an update is at most this.
            limit: rounds to make at most.
            precise: compute in float64 even if M is float32.

        Returns:
            The number of rounds made and the potentials before the last update.
        """
        dtype = np.dtype(np.float64 if precise else self.M.dtype)
        bits_kept = 24.0 if dtype == np.float32 else 40.0
        demand = float(self.b.sum())
        lost_below = demand * 2.0 ** (bits_kept - self.cut)
        lost, before = np.zeros(len(f), bool), f.copy()
        done, error = 0, math.inf
        while done < limit and error > tol:
            if self.serial:
                made, error = self._serial_rounds(
                    f, before, a, reg, tau, tol, dtype, demand, lost_below, lost, limit - done
                )
                done += made
            else:
                if math.isfinite(tau):
                    rounds.center(f, a, tau, self.rows)
                masses, _ = self.masses(f, reg, dtype == np.float64)
                before[:] = f
                error, _ = rounds.update_suppliers(f, masses, demand, a, reg, tau, self.rows, lost_below, lost)
                done += 1
            if lost.any():
                self._find_lost(f, before, a, reg, tau, lost)
        return done, before

    def _find_lost(
        self, f: np.ndarray, before: np.ndarray, a: np.ndarray, reg: float, tau: float, lost: np.ndarray
    ) -> None:
        wanted = np.flatnonzero(lost)
        logs = self.log_masses(before, reg, wanted)
        reachable = wanted[logs > -np.inf]
        found = before[reachable] + reg * (np.log(a[reachable]) - logs[logs > -np.inf])
        f[reachable] = found * (tau / (tau + reg) if math.isfinite(tau) else 1.0)
        lost[:] = False

    def _serial_rounds(
        self, f: np.ndarray, before: np.ndarray, a: np.ndarray, reg: float, tau: float, tol: float,
        dtype: np.dtype, demand: float, lost_below: float, lost: np.ndarray, limit: int,
    ) -> tuple[int, float]:  # fmt: skip
        base, slack = self._base_for(dtype, reg), _slack(dtype)
        return rounds.rounds(
            self.M, self._demand[dtype], a, 1 / (reg * LN2), reg, tau, tol, self.rows, base, self._anchor, self._u,
            dtype.type(self.cut + slack), slack, self.bounds, self._scratch(dtype), np.empty((self.ranges, len(f))),
            f, before, demand, lost_below, lost, limit,
        )  # fmt: skip

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> dict[str, Any]:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        k = 1 / (reg * LN2)
        base, labels = self._new_base(self.b.dtype), np.empty(len(self.b), np.int64)
        masses, sums = np.zeros((self.ranges, len(f))), np.zeros((self.ranges, 2))
        moved = bool((f != f_before).any())

        def part(first: int, last: int) -> None:
            fused.read_out(
                self.M, self.b, f_before * k, f * k, moved, k, self.rows, f, base, self.bounds, first, last,
                self._scratch(self.b.dtype), labels, masses, sums,
            )  # fmt: skip

        self.over_ranges(part)
        cost, pixel_error = sums.sum(axis=0)
        return {
            "g": base.level / k,
            "labels": labels,
            "masses": masses.sum(axis=0),
            "cost": float(cost),
            "pixel_error": float(pixel_error),
        }

    def _base_for(self, dtype: np.dtype, reg: float) -> Base:
        if self._base is None or self._base.level.dtype != dtype or self._base_reg != reg:
            self._base_reg = reg
            self._anchor.fill(math.nan)
            self._base = self._new_base(dtype)
            self._demand.setdefault(dtype, self.b.astype(dtype))
        return self._base

    def _new_base(self, dtype: np.dtype) -> Base:
        K, N = self.M.shape
        blocks = -(-N // _BLOCK)
        return Base(np.empty(N, dtype), np.empty((blocks, K), np.int32), np.full(blocks, -1))

    def _scratch(self, dtype: np.dtype) -> Scratch:
        return Scratch(np.empty((len(self.M), _BLOCK), dtype), np.empty(_BLOCK, dtype), np.empty(len(self.M), np.int64))

    def over_ranges(self, part: Callable[[int, int], None]) -> None:
        """Call ``part(first, last)`` for all ranges of blocks, a share of them on each thread."""
        shares = 1 if self.serial else min(torch.get_num_threads(), self.ranges)
        if shares == 1:
            return part(0, self.ranges)
        ends = np.arange(shares + 1) * self.ranges // shares
        run_parallel(lambda share: part(*share), list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)))


def _slack(dtype: np.dtype) -> float:
    """Bits by which suppliers may move against each other before exponents near the top of their range."""
    return 40.0 if dtype == np.float32 else 60.0


def _ranges(suppliers: int, pixels: int) -> np.ndarray:
    """Bounds of ranges of blocks; they depend on the size alone, so sums do not depend on the threads."""
    blocks = -(-pixels // _BLOCK)
    count = max(1, min(_MAX_RANGES, blocks // _BLOCKS_PER_RANGE, _MAX_LINKS // suppliers**2))
    return (np.arange(count + 1) * blocks // count).astype(np.uint64)
