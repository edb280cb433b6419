"""Drives the kernels of :mod:`.kernels`: Sinkhorn for many problems at once, and the passes of Newton's method.

A round is two launches for all problems together: masses of every block of pixels, then one program for each
supplier that adds them up and moves its potential. Where all problems are small, one program makes all rounds of a
problem, and the whole of it is one launch: 160 launches of a few microseconds each would take longer than the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import triton

from ...arrays import to_device
from ...checks import require_all
from ..checks import LARGEST_EXPONENT, LARGEST_RATIO, MASS_MISMATCH
from ..portable import fetched, no_entries
from ..problem import Options, Problems, ReadOut, Solution, starts, within
from . import checks, kernels, newton

INTERPRETED = not isinstance(kernels.weigh, triton.JITFunction)
"""The kernels run in Triton's interpreter, on CPU tensors."""
MOST_SUPPLIERS = 512
"""More do not fit beside each other in the registers of a program."""
SMALL_ENTRIES = 1 << 16
"""Entries of M up to which one program makes all rounds of a problem."""
SYNC_EVERY = 16
"""Rounds between two looks at whether all problems have reached the tolerance."""
_ROUNDED = {"enable_fp_fusion": False}
"""Round products before they are added, as the CPU does; left open, the answer differs between versions of Triton."""
_TILE_ENTRIES = 4096
_CHUNK = 256
_SPLITS = 264
"""Programs among which the pixels are divided for the links."""


@dataclass(frozen=True)
class Tile:
    """Suppliers and pixels of one block: powers of two."""

    rows: int
    block: int

    @classmethod
    def of(cls, suppliers: int) -> Tile:
        """The block for as many suppliers."""
        rows = max(8, triton.next_power_of_2(suppliers))
        return cls(rows, min(256, _TILE_ENTRIES // rows))

    def launch(self, real: torch.dtype) -> dict[str, Any]:
        """Launch arguments of kernels that hold a block in registers, in the dtype of the arithmetic."""
        return {"ROWS": self.rows, "BLOCK": self.block, "num_warps": 4 if real == torch.float32 else 8, **_ROUNDED}

    def alone(self, real: torch.dtype) -> dict[str, Any]:
        """The same for a kernel that has a multiprocessor to itself, and more to keep."""
        block = self.block if real == torch.float32 else self.block // 2
        return {"ROWS": self.rows, "BLOCK": block, "num_warps": 8, **_ROUNDED}


class Tables:
    """Where the kernels find the parts of each problem: the tables of :mod:`.kernels` for one size of block."""

    def __init__(self, problems: Problems, tile: Tile) -> None:
        self.problems, self.tile = problems, tile
        self.device = problems.M.device
        shapes = np.array(problems.shapes, np.int64)
        K, N = shapes.T
        tiles = -(-N // tile.block)
        self.suppliers, self.tiles, self.partials = int(K.sum()), int(tiles.sum()), int((K * tiles).sum())
        columns = [K, N, starts(K), starts(N), starts(K * N), starts(tiles), tiles, starts(K * tiles)]
        problem = np.arange(len(shapes), dtype=np.int64)
        table = np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
        parts = [table.ravel(), np.repeat(problem, tiles), np.repeat(problem, K)]
        self.tables, self.tile_problem, self.supplier_problem = to_device(np.concatenate(parts), self.device).split(
            [len(part) for part in parts]
        )

    def empty(self, size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty(size, dtype=dtype, device=self.device)

    def zeros(self, size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.zeros(size, dtype=dtype, device=self.device)


def sinkhorn(function: str, problems: Problems, options: Options) -> Solution:
    """Rounds for all problems; the host waits for the device only to look at a tolerance.

    Args:
        function: public function to name in messages.
        problems: their values are checked here.
        options: of the call.
    """
    real = problems.M.dtype if 1e-30 < options.reg < 1e30 else torch.float64
    with torch.cuda.device_of(problems.M):
        tables = Tables(problems, Tile.of(max(K for K, _ in problems.shapes)))
        numbers = _numbers(tables.device, options.reg, options.tau, options.tol, options.marginal_floor)
        start = _checked(function, tables, numbers, options.normalize)
        small = max(K * N for K, N in problems.shapes) <= SMALL_ENTRIES
        make = _rounds_in_one_launch if small else _rounds
        before, f, made = make(tables, start, numbers, real, options)
        g, labels, _, cost, _, error = _read_out(tables, before, f, start.capacity, start.total, numbers, options.tau)
    return Solution(
        f, g, labels, cost, error, made, within(error, options), *no_entries(tables.device)
    )  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What :func:`.checks.balance` makes of the marginals: (sum of K) capacities and potentials, and for
    each problem the unit of mass of its rounds and its total."""

    capacity: torch.Tensor
    f: torch.Tensor
    unit: torch.Tensor
    total: torch.Tensor


def _numbers(device: torch.device, reg: float, tau: float, tol: float, floor: float) -> torch.Tensor:
    return to_device(np.array([1 / (reg * math.log(2.0)), reg, tau, tol, floor]), device)


def _checked(function: str, tables: Tables, numbers: torch.Tensor, normalize: bool) -> Start:
    problems, P = tables.problems, len(tables.problems.shapes)
    faults, reached = tables.zeros(len(_FAULTS), torch.int32), tables.zeros(tables.suppliers, torch.int32)
    statistics = tables.empty(checks.STATISTICS.value * tables.tiles)
    checks.inspect[(tables.tiles,)](
        problems.M, problems.b, statistics, reached, faults, tables.tables, tables.tile_problem,
        **tables.tile.launch(problems.M.dtype),
    )  # fmt: skip
    start = Start(tables.empty(tables.suppliers), tables.empty(tables.suppliers), tables.empty(P), tables.empty(P))
    checks.balance[(P,)](
        problems.a, statistics, reached, faults, start.capacity, start.f, start.unit, start.total,
        tables.tables, numbers,
        MASS_MISMATCH, LARGEST_RATIO, LARGEST_EXPONENT,
        ROWS=tables.tile.rows, CHUNK=_CHUNK, NORMALIZE=normalize, **_ROUNDED,
    )  # fmt: skip
    sound = faults == 0
    for fault, (argument, got, expected) in _FAULTS.items():
        require_all(function, argument, sound[fault], got, expected)
    return start


_FAULTS = {
    checks.NOT_A_COST.value: ("M", "NaN or -inf", "costs that are numbers or +inf"),
    checks.UNREACHED.value: ("M", "pixels with demand that no supplier reaches (all +inf)",
                                     "a finite cost in the column of every pixel with b > 0"),
    checks.CUT_OFF.value: ("M", "suppliers with capacity that reach no pixel (all +inf)",
                                   "a finite cost in the row of every supplier with a > 0"),
    checks.SCALE.value: ("M", "costs that floating point cannot hold beside each other",
                                 "costs of a sane scale, and +inf for a forbidden pair"),
    checks.NO_DEMAND.value: ("b", "NaN, infinity, negative masses or a total of 0", "finite masses >= 0"),
    checks.NO_CAPACITY.value: ("a", "NaN, infinity, negative masses or a total of 0", "finite masses >= 0"),
    checks.MISMATCH.value: ("a", "another total than that of b", "the same total (normalize=True rescales a)"),
}  # fmt: skip


def _rounds_in_one_launch(
    tables: Tables, start: Start, numbers: torch.Tensor, real: torch.dtype, options: Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    P = len(tables.problems.shapes)
    made = tables.empty(P, torch.int64)
    before, tops, rests = (tables.empty(tables.suppliers) for _ in range(3))
    kernels.all_rounds[(P,)](
        tables.problems.M, tables.problems.b, start.capacity, start.f, before, tops, rests, made,
        start.unit, start.total, tables.tables, numbers, options.max_iter,
        **tables.tile.alone(real), SOFT=math.isfinite(options.tau), real=_triton_dtype(real),
    )  # fmt: skip
    return before, start.f, made


def _triton_dtype(real: torch.dtype) -> Any:
    return triton.language.float64 if real == torch.float64 else triton.language.float32


def _rounds(
    tables: Tables, start: Start, numbers: torch.Tensor, real: torch.dtype, options: Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    problems, P, soft, stops = tables.problems, len(tables.problems.shapes), math.isfinite(options.tau), options.tol > 0
    f, f_next, before = start.f, tables.empty(tables.suppliers), tables.empty(tables.suppliers)
    errors = torch.full_like(f, math.inf)
    errors_next = torch.empty_like(f)
    made, g = tables.zeros(P, torch.int64), tables.empty(len(problems.b))
    partials = tables.empty(tables.partials, real)
    for done in range(options.max_iter):
        kernels.weigh[(tables.tiles,)](
            problems.M, problems.b, f, errors, g, partials, start.unit, start.total,
            tables.tables, tables.tile_problem, numbers,
            **tables.tile.launch(real), STOPS=stops,
        )  # fmt: skip
        kernels.update[(tables.suppliers,)](
            problems.M, g, partials, start.capacity, f, errors, f_next, errors_next, before, made,
            start.unit, start.total, tables.tables, tables.supplier_problem, numbers,
            ROWS=tables.tile.rows, CHUNK=_CHUNK, SOFT=soft, STOPS=stops, **_ROUNDED,
        )  # fmt: skip
        f, f_next, errors, errors_next = f_next, f, errors_next, errors
        if stops and done % SYNC_EVERY == SYNC_EVERY - 1 and int(made.max()) <= done:
            break
    return before, f, made


def _read_out(
    tables: Tables, before: torch.Tensor, f: torch.Tensor, capacity: torch.Tensor, total: torch.Tensor,
    numbers: torch.Tensor, tau: float,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """Pixel potentials, labels, masses of the suppliers, and for each problem cost, pixels' error and whole error."""
    problems, P = tables.problems, len(tables.problems.shapes)
    g, labels = tables.empty(len(problems.b)), tables.empty(len(problems.b), torch.int64)
    partials, costs, errors = tables.empty(tables.partials), tables.empty(tables.tiles), tables.empty(tables.tiles)
    kernels.read_out[(tables.tiles,)](
        problems.M, problems.b, before, f, g, labels, partials, costs, errors,
        tables.tables, tables.tile_problem, numbers,
        **tables.tile.launch(torch.float64),
    )  # fmt: skip
    masses, cost, pixel_error, error = tables.empty(tables.suppliers), tables.empty(P), tables.empty(P), tables.empty(P)
    kernels.finish[(P,)](
        partials, costs, errors, capacity, f, total, masses, cost, pixel_error, error, tables.tables, numbers,
        ROWS=tables.tile.rows, CHUNK=min(32, tables.tile.block), SOFT=math.isfinite(tau), num_warps=8, **_ROUNDED,
    )  # fmt: skip
    return g, labels, masses, cost, pixel_error, error


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
            numbers = _numbers(self.M.device, reg, math.inf, -1.0, 0.0)
            potentials = self._potentials(f)
            masses, g = self._weigh(potentials, numbers, torch.float64 if precise else self.M.dtype)
            if not links:
                return masses.cpu().numpy(), np.zeros((0, 0))
            pairs = self._links(potentials, g, numbers)
            both = torch.cat([masses, pairs[:K, :K].reshape(-1)]).cpu().numpy()
        found = both[K:].reshape(K, K)
        np.fill_diagonal(found, 0.0)
        return both[:K], found

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        with torch.cuda.device_of(self.M):
            numbers = _numbers(self.M.device, reg, math.inf, -1.0, 0.0)
            potentials = self._potentials(f)
            _, g = self._weigh(potentials, numbers, torch.float64)
            tables = self._tables
            index, found = to_device(wanted.astype(np.int64), tables.device), tables.empty(len(wanted))
            newton.log_masses[(len(wanted),)](
                tables.problems.M, g, potentials, index, found, tables.tables, numbers, CHUNK=_CHUNK, **_ROUNDED
            )
            return found.cpu().numpy() * math.log(2.0)

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        K = len(f)
        with torch.cuda.device_of(self.M):
            numbers = _numbers(self.M.device, reg, math.inf, -1.0, 0.0)
            tables = self._tables
            before, after = self._potentials(f_before), self._potentials(f)
            nothing, one = tables.zeros(K), torch.ones(1, dtype=torch.float64, device=tables.device)
            g, labels, masses, cost, pixel_error, _ = _read_out(tables, before, after, nothing, one, numbers, math.inf)
            return fetched(g, labels, masses, cost, pixel_error)

    def _weigh(self, f: torch.Tensor, numbers: torch.Tensor, real: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        tables = self._tables
        g, partials = tables.empty(len(self.b)), tables.empty(tables.partials, real)
        one = torch.ones(1, dtype=torch.float64, device=tables.device)
        kernels.weigh[(tables.tiles,)](
            tables.problems.M, self._demand, f, f, g, partials, one, one, tables.tables, tables.tile_problem, numbers,
            **tables.tile.launch(real), STOPS=False,
        )  # fmt: skip
        return partials.view(len(f), -1).sum(1, dtype=torch.float64), g

    def _links(self, f: torch.Tensor, g: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        tables = self._tables
        rows = min(64, max(16, tables.tile.rows))
        across = -(-len(f) // rows)
        block = min(64, 2048 // rows)
        splits = min(max(1, _SPLITS // across**2), -(-len(self.b) // block))
        squares = tables.empty(splits * (across * rows) ** 2, torch.float32)
        newton.links[(splits, across, across)](
            tables.problems.M, self._demand, f, g, squares, tables.tables, numbers, splits,
            ROWS=rows, BLOCK=block, ROW_TILES=across, num_warps=8, **_ROUNDED,
        )  # fmt: skip
        return squares.view(splits, across * rows, across * rows).sum(0, dtype=torch.float64)

    def _potentials(self, f: np.ndarray) -> torch.Tensor:
        live = np.full(len(f), -math.inf)
        live[self.rows] = f[self.rows]
        return to_device(live, self.M.device)

    @cached_property
    def _tables(self) -> Tables:
        K, N = self.M.shape
        return Tables(Problems(self._demand[:0], self._demand, self.M.reshape(-1), ((K, N),), (1,)), Tile.of(K))
