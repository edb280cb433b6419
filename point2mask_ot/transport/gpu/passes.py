"""Passes of Newton's method over the costs of one problem, on a GPU."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch

from ...arrays import to_device
from ..portable import fetched
from ..problem import Problems, ReadOut
from . import kernels, memory, newton
from .launch import CHUNK, ROUNDED, Tables, Tile, numbers_of, read_out

_SPLITS = 264
"""Programs among which the pixels are divided for the links."""


class TritonPasses:
    """Passes over one (K, N) matrix for :mod:`..newton`; methods and arguments as in :class:`..cpu.passes.CpuPasses`.

    The host does the K-by-K algebra: every pass sends K potentials and fetches K masses and K x K links.
    """

    def __init__(self, M: torch.Tensor, b: np.ndarray, rows: np.ndarray) -> None:
        self.M, self.b, self.rows = M, b, rows
        self.single = M.dtype == torch.float32
        self._demand = to_device(b, M.device)

    def subset(self, pixels: np.ndarray) -> TritonPasses:
        """Passes over some of the pixels only."""
        return TritonPasses(self.M[:, to_device(pixels, self.M.device)], self.b[pixels], self.rows)

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mass of each supplier when every pixel's marginal holds, and the links sum_j b_j p_ij p_kj."""
        K = len(f)
        with torch.cuda.device_of(self.M):
            numbers, state = numbers_of(self.M.device, reg), self._state(f, f)
            masses, g = self._weigh(state, numbers, torch.float64 if precise else self.M.dtype)
            if not links:
                return masses.cpu().numpy(), np.zeros((0, 0))
            pairs = self._links(state, g, numbers)
            both = torch.cat([masses, pairs[:K, :K].reshape(-1)]).cpu().numpy()
        found = both[K:].reshape(K, K)
        np.fill_diagonal(found, 0.0)
        return both[:K], found

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        with torch.cuda.device_of(self.M):
            numbers, state, tables = numbers_of(self.M.device, reg), self._state(f, f), self._tables
            _, g = self._weigh(state, numbers, torch.float64)
            index, found = to_device(wanted.astype(np.int64), tables.device), tables.empty(len(wanted))
            newton.log_masses[(len(wanted),)](
                self.M, g, state, index, found, tables.of_problems, numbers, CHUNK=CHUNK, **ROUNDED
            )
            return found.cpu().numpy() * math.log(2.0)

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        K = len(f)
        with torch.cuda.device_of(self.M):
            state = self._state(f_before, f)
            g, labels = read_out(self._tables, state, numbers_of(self.M.device, reg), math.inf)
            masses, sums = state[memory.REST.value, :K], state[:, K]
            return fetched(g, labels, masses, sums[memory.COST.value, None], sums[memory.PIXEL_ERROR.value, None])

    def _weigh(
        self, state: torch.Tensor, numbers: torch.Tensor, real: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        K, tables = len(self.M), self._tables
        g, partials = tables.empty(len(self.b)), tables.empty(K + 2, tables.tiles, dtype=real)
        kernels.weigh[(tables.tiles,)](
            self.M, self._demand, state, g, partials, tables.of_tiles, numbers, **tables.tile.launch(real), STOPS=False
        )
        return partials[:K].sum(1, dtype=torch.float64), g

    def _links(self, state: torch.Tensor, g: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        tables = self._tables
        rows = min(64, max(16, tables.tile.rows))
        across = -(-len(self.M) // rows)
        block = min(64, 2048 // rows)
        splits = min(max(1, _SPLITS // across**2), -(-len(self.b) // block))
        squares = tables.empty(splits, across * rows, across * rows, dtype=torch.float32)
        newton.links[(splits, across, across)](
            self.M, self._demand, state, g, squares, tables.of_problems, numbers,
            ROWS=rows, BLOCK=block, ROW_TILES=across, num_warps=8, **ROUNDED,
        )  # fmt: skip
        return squares.sum(0, dtype=torch.float64)

    def _state(self, before: np.ndarray, f: np.ndarray) -> torch.Tensor:
        """The state of one problem at some potentials, with suppliers that take no part at -inf."""
        K = len(f)
        state = np.zeros((memory.STATES.value, K + 1))
        state[[memory.UNIT.value, memory.TOTAL.value], K] = 1.0
        for row, potentials in ((memory.BEFORE.value, before), (memory.F.value, f)):
            state[row, :K] = -math.inf
            state[row, self.rows] = potentials[self.rows]
        return to_device(state, self.M.device)

    @cached_property
    def _tables(self) -> Tables:
        K, N = self.M.shape
        return Tables(Problems(self._demand[:0], self._demand, self.M.reshape(-1), ((K, N),), (1,)), Tile.of(K))
