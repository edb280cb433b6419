"""Drives the kernels of :mod:`.kernels` and :mod:`.small`: Sinkhorn's rounds for many problems at once.

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
from ..checks import Statistics, judge_all
from ..portable import nothing_kept
from ..problem import Options, Problems, Solution, starts, within
from ..sinkhorn import iterate
from . import checks, kernels, memory, small

INTERPRETED = not isinstance(kernels.weigh, triton.JITFunction)
"""The kernels run in Triton's interpreter, on CPU tensors."""
MOST_SUPPLIERS = 512
"""More do not fit beside each other in the registers of a program."""
SMALL_ENTRIES = 1 << 16
"""Entries of M up to which one program makes all rounds of a problem."""
SYNC_EVERY = 16
"""Rounds between two looks at whether all problems have reached the tolerance."""
ROUNDED = {"enable_fp_fusion": False}
"""Round products before they are added, as the CPU does; left open, the answer differs between versions of Triton."""
CHUNK = 256
"""Numbers that a program adds up at once."""
_TILE_ENTRIES = 4096


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
        return {"ROWS": self.rows, "BLOCK": self.block, "num_warps": 4 if real == torch.float32 else 8, **ROUNDED}

    def alone(self, real: torch.dtype) -> dict[str, Any]:
        """The same for a kernel that has a multiprocessor to itself, and more to keep."""
        block = self.block if real == torch.float32 else self.block // 2
        return {"ROWS": self.rows, "BLOCK": block, "num_warps": 8, **ROUNDED}


class Tables:
    """Where kernels find the parts of problems: the tables of :mod:`.memory`, for one size of block.

    Attributes:
        of_problems: (P, columns) for kernels that have a program for each problem.
        tiles, suppliers: blocks of pixels and suppliers of all problems.
        partials: length of the kernels' buffer of partial sums.
    """

    def __init__(self, problems: Problems, tile: Tile) -> None:
        self.problems, self.tile = problems, tile
        self.device = problems.M.device
        shapes = np.array(problems.shapes, np.int64)
        K, N = shapes.T
        tiles = -(-N // tile.block)
        partials = (K + 2) * tiles
        self.suppliers, self.tiles, self.partials = int(K.sum()), int(tiles.sum()), int(partials.sum())
        number = np.arange(len(shapes), dtype=np.int64)
        length = np.full_like(number, self.suppliers + len(shapes))
        columns = [
            K, N, starts(K), starts(N), starts(K * N), starts(tiles), tiles, starts(partials),
            number, self.suppliers + number, length,
        ]  # fmt: skip
        table = np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
        parts = [table.ravel(), np.repeat(number, tiles), np.repeat(number, K)]
        rows, self._of_tile, self._of_supplier = to_device(np.concatenate(parts), self.device).split(
            [len(part) for part in parts]
        )
        self.of_problems = rows.view(table.shape)

    @cached_property
    def of_tiles(self) -> torch.Tensor:
        """For kernels that have a program for each block of pixels."""
        return self.of_problems[self._of_tile]

    @cached_property
    def of_suppliers(self) -> torch.Tensor:
        """For kernels that have a program for each supplier."""
        return self.of_problems[self._of_supplier]

    def empty(self, *size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty(size, dtype=dtype, device=self.device)


def sinkhorn(function: str, problems: Problems, options: Options) -> Solution:
    """Rounds for all problems; the host waits for the device only to look at a tolerance.

    Args:
        function: public function to name in messages.
        problems: whose values are checked here.
        options: of the call.
    """
    with torch.cuda.device_of(problems.M):
        tables = Tables(problems, Tile.of(max(K for K, _ in problems.shapes)))
        numbers = numbers_of(tables.device, options.reg, options.tau, options.tol, options.marginal_floor)
        found, state = _balanced(tables, numbers)
        judge_all(function, found, options, problems.batches)
        iterate(TritonRounds(tables, state, numbers, options), options.max_iter)
        g, labels = read_out(tables, state, numbers, options.tau)
    f, made = state[memory.F.value, : tables.suppliers], state[memory.MADE.value, tables.suppliers :]
    cost, error = (state[row.value, tables.suppliers :] for row in (memory.COST, memory.ERROR))
    return Solution(f, g, labels, cost, error, made.long(), within(error, options), *nothing_kept(tables.device))


def numbers_of(
    device: torch.device, reg: float, tau: float = math.inf, tol: float = -1.0, floor: float = 0.0
) -> torch.Tensor:
    """The numbers of :mod:`.memory`."""
    return to_device(np.array([1 / (reg * math.log(2.0)), reg, tau, tol, floor]), device)


def _balanced(tables: Tables, numbers: torch.Tensor) -> tuple[Statistics, torch.Tensor]:
    """Statistics of the problems, and the state in which rounds begin."""
    problems, tile = tables.problems, tables.tile
    P = len(problems.shapes)
    reached = torch.zeros((P, tile.rows), dtype=torch.int32, device=tables.device)
    statistics = tables.empty(tables.tiles, checks.STATISTICS.value)
    found, state = tables.empty(checks.OF_PROBLEM.value, P), tables.empty(memory.STATES.value, tables.suppliers + P)
    checks.inspect[(tables.tiles,)](
        problems.M, problems.b, statistics, reached, tables.of_tiles, **tile.launch(problems.M.dtype)
    )
    checks.balance[(P,)](
        problems.a, statistics, reached, found, state, tables.of_problems, numbers,
        ROWS=tile.rows, CHUNK=CHUNK, **ROUNDED,
    )  # fmt: skip
    return Statistics._make([*found.unbind(), reached != 0]), state


class TritonRounds:
    """Sinkhorn's rounds, whose potentials are in the state; see :class:`..sinkhorn.Rounds`."""

    def __init__(self, tables: Tables, state: torch.Tensor, numbers: torch.Tensor, options: Options) -> None:
        self._tables, self._state, self._numbers, self._options = tables, state, numbers, options
        problems = tables.problems
        self._real = problems.M.dtype if 1e-30 < options.reg < 1e30 else torch.float64
        self._small = max(K * N for K, N in problems.shapes) <= SMALL_ENTRIES
        if not self._small:
            self._g, self._partials = tables.empty(len(problems.b)), tables.empty(tables.partials, dtype=self._real)

    def make(self, limit: int) -> int:
        """All rounds of small problems, else one."""
        tables, problems, options = self._tables, self._tables.problems, self._options
        soft, stops = math.isfinite(options.tau), options.tol > 0
        if self._small:
            small.all_rounds[(len(problems.shapes),)](
                problems.M, problems.b, self._state, tables.of_problems, self._numbers, limit,
                **tables.tile.alone(self._real), SOFT=soft, real=_triton_dtype(self._real),
            )  # fmt: skip
            return limit
        kernels.weigh[(tables.tiles,)](
            problems.M, problems.b, self._state, self._g, self._partials, tables.of_tiles, self._numbers,
            **tables.tile.launch(self._real), STOPS=stops,
        )  # fmt: skip
        kernels.update[(tables.suppliers,)](
            problems.M, self._g, self._partials, self._state, tables.of_suppliers, self._numbers,
            ROWS=tables.tile.rows, CHUNK=CHUNK, SOFT=soft, STOPS=stops, **ROUNDED,
        )  # fmt: skip
        return 1

    def settled(self, made: int) -> bool:
        """Whether all began their last round within the tolerance."""
        if self._options.tol < 0 or made % SYNC_EVERY:
            return False
        return int(self._state[memory.MADE.value, self._tables.suppliers :].max()) < made


def _triton_dtype(real: torch.dtype) -> Any:
    return triton.language.float64 if real == torch.float64 else triton.language.float32


def read_out(
    tables: Tables, state: torch.Tensor, numbers: torch.Tensor, tau: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixel potentials and labels; masses, costs and errors are left in the state."""
    problems = tables.problems
    g, labels = tables.empty(len(problems.b)), tables.empty(len(problems.b), dtype=torch.int64)
    partials = tables.empty(tables.partials)
    kernels.read_out[(tables.tiles,)](
        problems.M, problems.b, state, g, labels, partials, tables.of_tiles, numbers,
        **tables.tile.launch(torch.float64),
    )  # fmt: skip
    kernels.finish[(len(problems.shapes),)](
        partials, state, tables.of_problems, numbers,
        ROWS=tables.tile.rows, CHUNK=min(32, tables.tile.block), SOFT=math.isfinite(tau), num_warps=8, **ROUNDED,
    )  # fmt: skip
    return g, labels
