"""Random walks on the CPU: groups of targets, on a few threads that end with the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..compiled.threads import run_parallel
from . import kernels
from .grids import lay_out
from .lanes import lanes_of, vectors
from .walk import LEAST_PROBABILITY, WIDTHS, Walk

_SECONDS = 5e-8
"""About what a pixel takes for a group of targets."""


class _Memory(NamedTuple):
    """What a group is solved in, see :func:`.kernels.solve`."""

    lanes: int
    x: np.ndarray
    b: np.ndarray
    residual: np.ndarray

    def clear(self) -> None:
        for values in (self.x, self.b, self.residual):
            lanes_of(values).fill(0)


def unlikeliness(walk: Walk, cycles: int) -> torch.Tensor:
    """(K, H, W) float32 1 / probability that a walk meets each target first, 1e6 at most; +inf where it meets none."""
    planes = np.empty((walk.count, *walk.reached.shape), np.float32)

    def keep(x: np.ndarray, targets: range) -> None:
        kernels.write_planes(x, walk.reached.numpy(), LEAST_PROBABILITY, planes[targets.start : targets.stop])

    solve(walk, cycles, keep)
    return torch.from_numpy(planes)


def solve(walk: Walk, cycles: int, keep: Callable[[np.ndarray, range], None]) -> None:
    """Hand over the solution of each group of targets and these targets."""
    edges, step = np.ascontiguousarray(walk.edges.numpy()), np.float32(walk.step)
    grids = lay_out(edges, step, walk.reached.numpy(), np.ascontiguousarray(walk.seeds))
    visits = kernels.plan(len(grids.shapes) - 1, cycles)
    size, first = len(grids.graph) // 4, grids.shapes[1, 0]

    spare: list[_Memory] = []

    def solve_one(targets: range) -> None:
        lanes = next(width for width in WIDTHS if width >= len(targets))
        memory = _popped(spare)  # the next group's, for new memory takes as long as a cycle may
        if memory is None or memory.lanes != lanes:
            memory = None
            memory = _Memory(lanes, *(vectors(n, lanes) for n in (size, size - first, walk.reached.shape[1] + 4)))
        else:
            memory.clear()
        kernels.solve(grids, _seeds(walk, targets, lanes), visits, memory.x, memory.b, memory.residual)
        keep(lanes_of(memory.x), targets)
        spare.append(memory)

    run_parallel(solve_one, _groups(walk.count), serial=size * _SECONDS < 1e-3)


def _popped(spare: list[_Memory]) -> _Memory | None:
    """None where other threads took the last."""
    try:
        return spare.pop()
    except IndexError:
        return None


def _groups(count: int) -> list[range]:
    """Targets that are solved together: as many as fit into a vector, which is narrower where threads would idle."""
    threads = torch.get_num_threads()
    lanes = next((width for width in WIDTHS if width * threads >= count), WIDTHS[-1])
    return [range(first, min(first + lanes, count)) for first in range(0, count, lanes)]


def _seeds(walk: Walk, targets: range, lanes: int) -> kernels.Seeds:
    """All seeds of a walk, with what the targets are there."""
    height, width = walk.reached.shape
    place, of_seed = np.unique(walk.seeds[:, 0] * width + walk.seeds[:, 1], return_inverse=True)
    value = vectors(len(place), lanes)
    own = (walk.target >= targets.start) & (walk.target < targets.stop)
    lanes_of(value)[of_seed[own], walk.target[own] - targets.start] = walk.share[own]
    row, column = np.divmod(place, width)
    first = np.searchsorted(row, np.arange(height + 1))
    return kernels.Seeds(first, (row + 1) * (width + 2) + column + 1, value)
