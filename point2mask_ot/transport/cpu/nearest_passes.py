"""Passes over block-sparse costs on the CPU: the counterpart of :class:`.passes.CpuPasses`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ...compiled.threads import run_parallel
from ...nearest.costs import NearestCosts, ranges
from ..problem import ReadOut
from . import nearest_fused as fused
from .blocks import Ranges
from .passes import bits, joined_logs

_DOUBLE = np.dtype(np.float64)
_SERIAL_ENTRIES = 1 << 19
"""Costs below which a pass takes less than the start of threads, and float32 gains less than its kernels take to
compile."""
_MAX_LINKS = 1 << 24
"""Links, of all ranges together, that are kept before they are summed."""
_NEGLIGIBLE = 60.0
_CUT = 44.0


class NearestPasses:
    """Passes over costs between near suppliers and pixels, with a fixed demand; see :class:`..newton.Passes`.

    Args:
        costs: entries of blocks.
        b: (B, lanes) demand of the lanes of the blocks; those that no supplier in ``rows`` reaches must have none.
        rows: suppliers that take part.
        cut: bits behind a pixel's best supplier beyond which a supplier may be left out of a whole block.
    """

    serial = False

    def __init__(self, costs: NearestCosts, b: np.ndarray, rows: np.ndarray, cut: float = _CUT) -> None:
        self.costs, self.demand, self.rows, self.cut = costs, b, rows, cut
        self.small = costs.cost.size < _SERIAL_ENTRIES
        self.single = costs.cost.dtype == np.float32 and not self.small
        self.bounds = ranges(len(b)).astype(np.uint64)
        self._masked = np.zeros(costs.num_suppliers, bool)
        self._masked[rows] = True
        self.anchor, self.u = np.empty(costs.num_suppliers), np.zeros(costs.num_suppliers)
        self._demand = {_DOUBLE: b}

    @cached_property
    def b(self) -> np.ndarray:
        """(N,) demand."""
        b = np.zeros(self.costs.num_pixels)
        filled = self.costs.pixel >= 0
        b[self.costs.pixel[filled]] = self.demand[filled]
        return b

    def subset(self, pixels: np.ndarray) -> NearestPasses:
        """Passes over some of the pixels only: a sample of all blocks' lanes."""
        costs = self.costs
        chosen = np.zeros(costs.num_pixels, bool)
        chosen[pixels] = True
        taken = chosen[costs.pixel] & (costs.pixel >= 0)
        number = taken.sum(1)
        block = np.flatnonzero(number)
        lanes = -(-int(number.max()) // 8) * 8
        lane = np.argsort(~taken[block], axis=1, kind="stable")[:, :lanes]
        lane[np.arange(lanes) >= number[block, None]] = -1
        counts = np.diff(costs.first)[block]
        first = np.concatenate([[0], counts.cumsum()])
        supplier, cost = np.empty(first[-1], np.int32), np.empty((first[-1], lanes), costs.cost.dtype)
        b = np.empty((len(block), lanes))
        fused.gather(self._near_costs(_DOUBLE, 1.0), block, lane, first, supplier, cost, b)
        place = np.full(costs.num_pixels, -1, np.int32)
        place[pixels] = np.arange(len(pixels))
        pixel = np.where(lane >= 0, place[np.take_along_axis(costs.pixel[block], lane, 1)], -1).astype(np.int32)
        floor = np.where(lane >= 0, np.take_along_axis(costs.floor[block], lane, 1), np.float32(np.inf))
        part = NearestCosts(costs.num_suppliers, len(pixels), pixel, first, supplier, cost, costs.price, floor)
        return NearestPasses(part, b, self.rows, self.cut)

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, Any]:
        """Mass of each supplier when every pixel's marginal holds, and the links sum_j b_j p_ij p_kj.

        Args:
            f: (K,) potentials.
            reg: entropy weight.
            precise: compute in float64 even if the costs are float32.
            links: also take the links.

        Returns:
            (K,) masses, and a (K, K) scipy.sparse.csr_array of the links (symmetric, zero diagonal), float64.
        """
        dtype = self.dtype(precise)
        costs, u = self._near_costs(dtype, reg), self._exponents(f, reg)
        pairs, structure = self._neighbours if links else (self._no_pairs, None)
        parts = len(self.bounds) - 1
        masses = np.zeros((parts, len(f)))
        sums = np.zeros((parts, pairs.other.size if links else 0))
        self._over_ranges(lambda part: fused.fused_pass(costs, u, pairs, part, self._scratch(dtype), masses, sums))
        return masses.sum(axis=0), None if structure is None else structure.filled(sums.sum(axis=0))

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        costs, u = self._near_costs(_DOUBLE, reg, _NEGLIGIBLE), self._exponents(f, reg)
        u[wanted] = f[wanted] * bits(reg)
        place = np.full(len(f), -1)
        place[wanted] = np.arange(len(wanted))
        parts = len(self.bounds) - 1
        tops, rests = np.full((parts, len(wanted)), -np.inf), np.zeros((parts, len(wanted)))
        self._over_ranges(lambda part: fused.log_masses(costs, u, place, part, self._scratch(_DOUBLE), tops, rests))
        return joined_logs(tops, rests)

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        return self.certified(f_before, f, reg, self.demand)[0]

    def certified(self, f_before: np.ndarray, f: np.ndarray, reg: float, b: np.ndarray) -> tuple[ReadOut, float]:
        """The same, and the mass that pairs without an entry have at most in the plan over all pairs.

        Args:
            f_before, f: (K,) potentials.
            reg: entropy weight.
            b: (B, lanes) demand, of pixels that no supplier reaches, too.
        """
        costs = self._near_costs(_DOUBLE, reg, _NEGLIGIBLE)
        before, u = self._exponents(f_before, reg), self._exponents(f, reg)
        rises = (f_before - self.costs.price)[self.rows] * bits(reg)
        offered = rises.max() + np.log2(np.exp2(rises - rises.max()).sum())
        out = fused.LeftOut(self.costs.floor, np.full(len(b), offered), b)
        g, parts, pixel = np.full(self.costs.num_pixels, -np.inf), len(self.bounds) - 1, self.costs.pixel
        masses, sums = np.zeros((parts, len(f))), np.zeros((parts, 3))
        self._over_ranges(
            lambda part: fused.read_out(costs, out, pixel, before, u, part, self._scratch(_DOUBLE), g, masses, sums)
        )
        labels, _ = self.costs.label_and_cost(np.where(self._masked, f, -np.inf))
        cost, pixel_error, left_out = sums.sum(axis=0)
        g *= 1 / bits(reg)
        plan = ReadOut(g, np.maximum(labels, 0), float(cost), masses.sum(axis=0), float(pixel_error))
        return plan, float(left_out)

    def nearly_left_out(self, f: np.ndarray, reg: float) -> float:
        """That mass if nobody mattered to a block but those who share one with its suppliers.

        No bound, but what one is after a search from f: prices far away may have risen together.
        """
        _, structure = self._neighbours
        rises = np.where(self._masked, (f - self.costs.price) * bits(reg), -np.inf)
        around = structure.largest(rises) + np.log2(structure.degrees + 1)
        first = self.costs.first
        offered = np.full(len(first) - 1, -np.inf)
        some = first[1:] > first[:-1]
        offered[some] = np.maximum.reduceat(around[self.costs.supplier], first[:-1][some])
        costs, u = self._near_costs(_DOUBLE, reg, _NEGLIGIBLE), self._exponents(f, reg)
        out, sums = fused.LeftOut(self.costs.floor, offered, self.demand), np.zeros(len(self.bounds) - 1)
        self._over_ranges(lambda part: fused.left_out(costs, out, u, part, self._scratch(_DOUBLE), sums))
        return float(sums.sum())

    def dtype(self, precise: bool) -> np.dtype:
        """Of the arithmetic."""
        return _DOUBLE if precise else self.costs.cost.dtype

    def _exponents(self, f: np.ndarray, reg: float) -> np.ndarray:
        return np.where(self._masked, f * bits(reg), -np.inf)

    def _near_costs(self, dtype: np.dtype, reg: float, cut: float | None = None) -> fused.NearCosts:
        if dtype not in self._demand:
            self._demand[dtype] = self.demand.astype(dtype)
        k, cut = dtype.type(bits(reg)), dtype.type(self.cut if cut is None else cut)
        costs = self.costs
        return fused.NearCosts(costs.first, costs.supplier, costs.cost, self._demand[dtype], k, cut)

    _no_pairs = fused.Neighbours(np.zeros(0, np.int64), np.zeros(0, np.int32))

    @cached_property
    def _neighbours(self) -> tuple[fused.Neighbours, _Structure]:
        costs, K = self.costs, self.costs.num_suppliers
        order = np.argsort(costs.supplier, kind="stable")
        block = np.repeat(np.arange(len(costs.pixel)), np.diff(costs.first))[order]
        by_first = np.searchsorted(costs.supplier[order], np.arange(K + 1))
        starts, index = np.zeros(K + 1, np.int64), np.zeros(0, np.int32)
        fused.count_neighbours(costs.first, costs.supplier, by_first, block, index, starts)
        if starts[-1]:
            index = np.zeros(starts[-1], np.int32)
            fused.count_neighbours(costs.first, costs.supplier, by_first, block, index, starts)
        if index.size * (len(self.bounds) - 1) > _MAX_LINKS:
            count = max(1, _MAX_LINKS // index.size)
            self.bounds = (np.arange(count + 1) * len(self.demand) // count).astype(np.uint64)
        return fused.Neighbours(starts, index), _Structure(starts, index)

    def _scratch(self, dtype: np.dtype) -> fused.NearScratch:
        """Memory for one thread."""
        lanes, most = self.demand.shape[1], int(np.diff(self.costs.first).max(initial=1))
        floats = [np.empty(shape, dtype) for shape in ((most, lanes), (most, lanes), lanes, lanes, most)]
        integers = [np.empty(size, np.int64) for size in (most, most, self.costs.num_suppliers)]
        return fused.NearScratch(*floats, *integers)

    def _over_ranges(self, part: Callable[[Ranges], None]) -> None:
        """Call ``part`` for all ranges of blocks, on as many threads as there are."""
        count = len(self.bounds) - 1
        if self.small:
            return part(Ranges(self.bounds, 0, count))
        run_parallel(part, [Ranges(self.bounds, first, last) for first, last in itertools.pairwise(range(count + 1))])


class _Structure:
    """Where the links of pairs lie in a symmetric sparse matrix."""

    def __init__(self, first: np.ndarray, index: np.ndarray) -> None:
        from scipy.sparse import csr_array

        rows, number = np.repeat(np.arange(len(first) - 1), np.diff(first)), np.arange(1, len(index) + 1)
        both = np.concatenate([rows, index]), np.concatenate([index, rows])
        shape = (len(first) - 1,) * 2
        self.template = csr_array((np.concatenate([number, number]).astype(np.float64), both), shape)
        self.order = self.template.data.astype(np.int64) - 1

    @property
    def degrees(self) -> np.ndarray:
        """(K,) other suppliers that each shares a block with."""
        return np.diff(self.template.indptr)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """(K,) largest of the values of a supplier and those that it shares a block with."""
        largest, first = values.copy(), self.template.indptr
        some = first[1:] > first[:-1]
        around = np.maximum.reduceat(values[self.template.indices], first[:-1][some])
        largest[some] = np.maximum(largest[some], around)
        return largest

    def filled(self, links: np.ndarray) -> Any:
        """scipy.sparse.csr_array of these links."""
        filled = self.template.copy()
        filled.data = links[self.order]
        filled.eliminate_zeros()
        return filled
