"""Passes over one cost matrix on the CPU: what the solvers ask of it, with the state that makes passes cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .._threads import run_parallel
from . import _numba, _numba_rounds
from ._numba import Base

LN2 = math.log(2.0)
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
        self.bounds = _ranges(*M.shape)
        self.ranges = len(self.bounds) - 1
        self.single = M.dtype == np.float32
        self.serial = M.size < serial_below
        self._serial_below = serial_below

    def subset(self, pixels: np.ndarray) -> CpuPasses:
        """Passes over some of the pixels only."""
        return CpuPasses(np.take(self.M, pixels, axis=1), self.b[pixels], self.rows, self.cut, self._serial_below)

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
        renew = _numba_rounds.exponents(f, k, self.rows, slack, base)
        stride = self._stride(len(self.rows) if renew else base.live_count.mean()) if links else 0
        masses = np.zeros((self.ranges, len(f)))
        pairs = np.zeros((self.ranges, len(f), len(f)) if links else (self.ranges, 0, 0))

        def part(first: int, last: int) -> None:
            _numba.fused_pass(
                self.M, self._demand[dtype], dtype.type(k), self.rows, base, renew, dtype.type(self.cut + slack),
                stride, self.bounds, first, last, masses, pairs,
            )  # fmt: skip

        self.over_ranges(part)
        triangle = pairs.sum(axis=0)
        return masses.sum(axis=0), triangle + triangle.T

    def _stride(self, live: float) -> int:
        """The Hessian may be a sample: every pixel where few suppliers compete or pixels are scarce."""
        pixels_per_supplier = self.M.shape[1] / len(self.rows)
        return 1 + (live > 12 and pixels_per_supplier > 400) + 2 * (live > 24 and pixels_per_supplier > 800)

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        k = 1 / (reg * LN2)
        with np.errstate(divide="ignore"):
            log_b = np.log2(self.b)

        tops, rests = np.full((self.ranges, len(wanted)), -np.inf), np.zeros((self.ranges, len(wanted)))

        def part(first: int, last: int) -> None:
            _numba.log_masses(self.M, log_b, f * k, k, self.rows, wanted, self.bounds, first, last, tops, rests)

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
        lost_below = self.b.sum() * 2.0 ** (bits_kept - self.cut)
        lost, before = np.zeros(len(f), bool), f.copy()
        done, error = 0, math.inf
        while done < limit and error > tol:
            if self.serial:
                made, error = self._serial_rounds(f, before, a, reg, tau, tol, dtype, lost_below, lost, limit - done)
                done += made
            else:
                if math.isfinite(tau):
                    _numba_rounds.center(f, a, tau, self.rows)
                masses, _ = self.masses(f, reg, dtype == np.float64)
                before[:] = f
                error = _numba_rounds.update_suppliers(f, masses, a, reg, tau, self.rows, lost_below, lost)
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
        dtype: np.dtype, lost_below: float, lost: np.ndarray, limit: int,
    ) -> tuple[int, float]:  # fmt: skip
        base, slack = self._base_for(dtype, reg), _slack(dtype)
        return _numba_rounds.rounds(
            self.M, self._demand[dtype], a, reg, tau, tol, self.rows, base, dtype.type(self.cut + slack), slack,
            self.bounds, f, before, lost_below, lost, limit,
        )  # fmt: skip

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> dict[str, Any]:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        k = 1 / (reg * LN2)
        g, labels = np.empty(len(self.b)), np.empty(len(self.b), np.int64)

        masses, sums = np.zeros((self.ranges, len(f))), np.zeros((self.ranges, 2))

        def part(first: int, last: int) -> None:
            _numba.read_out(
                self.M, self.b, f_before, f, k, self.rows, self.bounds, first, last, g, labels, masses, sums
            )

        self.over_ranges(part)
        cost, pixel_error = sums.sum(axis=0)
        return {
            "g": g / k,
            "labels": labels,
            "masses": masses.sum(axis=0),
            "cost": float(cost),
            "pixel_error": float(pixel_error),
        }

    def _base_for(self, dtype: np.dtype, reg: float) -> Base:
        if self._base is None or self._base.u.dtype != dtype or self._base_reg != reg:
            K, N = self.M.shape
            blocks = -(-N // _numba.BLOCK)
            self._base_reg = reg
            self._base = Base(
                level=np.empty(N, dtype),
                live=np.empty((blocks, K), np.int32),
                live_count=np.zeros(blocks, np.int32),
                anchor=np.full(K, np.nan),
                offset=np.zeros(1),
                u=np.zeros(K, dtype),
            )
            self._demand.setdefault(dtype, self.b.astype(dtype))
        return self._base

    def over_ranges(self, part: Callable[[int, int], None]) -> None:
        """Call ``part(first, last)`` for all ranges of blocks, a share of them on each thread."""
        shares = 1 if self.serial else min(torch.get_num_threads(), self.ranges)
        ends = np.arange(shares + 1) * self.ranges // shares
        run_parallel(lambda share: part(*share), list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)))


def _slack(dtype: np.dtype) -> float:
    """Bits by which suppliers may move against each other before exponents near the top of their range."""
    return 40.0 if dtype == np.float32 else 60.0


def _ranges(suppliers: int, pixels: int) -> np.ndarray:
    """Bounds of ranges of blocks; they depend on the size alone, so sums do not depend on the threads."""
    blocks = -(-pixels // _numba.BLOCK)
    count = max(1, min(_MAX_RANGES, blocks // _BLOCKS_PER_RANGE, _MAX_LINKS // suppliers**2))
    return np.arange(count + 1) * blocks // count
