"""Random walks on the CPU: groups of targets, on a few threads that end with the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch

from ..compiled.threads import run_parallel
from . import flows, kernels
from .grids import lay_out
from .lanes import lanes_of, vectors
from .walk import LEAST_PROBABILITY, WIDTHS, Walk

_SECONDS = 5e-8
"""About what a pixel takes for a group of targets."""

_STRIP = 1 << 16
"""Values of the targets' maps that are looked at at once on the way to or from vectors: they stay in the cache."""

_CUT_OFF = np.float32((1 - 1e-5) / LEAST_PROBABILITY)
"""1 / probabilities that are LEAST_PROBABILITY but for the rounding of a logarithm."""


class _Memory(NamedTuple):
    """What a group is solved in, see :func:`.kernels.solve`."""

    lanes: int
    x: np.ndarray
    b: np.ndarray
    residual: np.ndarray
    source: np.ndarray | None

    def clear(self) -> None:
        """All but the sources, which are written anew."""
        for values in (self.x, self.b, self.residual):
            lanes_of(values).fill(0)


def unlikeliness(walk: Walk, cycles: int) -> torch.Tensor:
    """(K, H, W) float32 1 / probability that a walk meets each target first, 1e6 at most; +inf where it meets none."""
    planes = np.empty((walk.count, *walk.reached.shape), np.float32)

    def keep(x: np.ndarray, targets: range) -> None:
        kernels.write_planes(x, walk.reached.numpy(), LEAST_PROBABILITY, planes[targets.start : targets.stop])

    solve(walk, cycles, keep)
    return torch.from_numpy(planes)


def edge_flows(walk: Walk, cost: torch.Tensor, gradient: torch.Tensor, cycles: int) -> torch.Tensor:
    """As :func:`.portable.edge_flows`, in single precision, from what probabilities ``cost`` tells."""
    costs, gradients, total = cost.numpy(), gradient.numpy(), torch.zeros_like(cost[0])
    for found, by_it in zip(cost, gradient, strict=True):  # one by one, which takes no memory
        total += torch.where(found < float(np.log(_CUT_OFF)), by_it, 0)
    free = walk.reached.numpy().copy()
    free[tuple(walk.seeds.T)] = False
    flow = np.zeros((2, *free.shape), np.float32)

    def fill(source: np.ndarray, targets: range) -> None:
        for rows in _strips(len(targets), *free.shape):
            strip = slice(targets.start, targets.stop), slice(rows.start, rows.stop)
            maps = np.exp(costs[strip]), np.ascontiguousarray(gradients[strip]), total.numpy()[strip[1]], free[strip[1]]
            flows.write_sources(*maps, rows.start, _CUT_OFF, source)

    def keep(response: np.ndarray, targets: range) -> None:
        for rows in _strips(len(targets), *free.shape):
            strip = -costs[targets.start : targets.stop, rows.start : rows.stop + 1]
            flows.add_flows(np.exp(strip, out=strip), response, rows.start, len(rows), flow)

    _solve(walk, cycles, keep, fill)
    return torch.from_numpy(flow)


def _strips(count: int, height: int, width: int) -> Iterator[range]:
    """Rows whose values of so many maps are looked at at once."""
    rows = max(_STRIP // (count * width), 1)
    return (range(first, min(first + rows, height)) for first in range(0, height, rows))


def solve(walk: Walk, cycles: int, keep: Callable[[np.ndarray, range], None]) -> None:
    """Hand over the solution of each group of targets and these targets."""
    _solve(walk, cycles, keep)


def _solve(
    walk: Walk,
    cycles: int,
    keep: Callable[[np.ndarray, range], None],
    fill: Callable[[np.ndarray, range], None] | None = None,
) -> None:
    """The same for what flows from the sources that ``fill`` writes for each group, if given: nothing comes from seeds
    then, and solutions are handed over in the order of targets, since sums over them depend on it."""
    edges, step = np.ascontiguousarray(walk.edges.numpy()), np.float32(walk.step)
    grids = lay_out(edges, step, walk.reached.numpy(), np.ascontiguousarray(walk.seeds))
    visits = kernels.plan(len(grids.shapes) - 1, cycles)
    size, first = len(grids.graph) // 4, grids.shapes[1, 0]

    spare: list[_Memory] = []
    turns = _Turns()

    def solve_one(targets: range) -> None:
        lanes = next(width for width in WIDTHS if width >= len(targets))
        memory = _popped(spare)  # the next group's, for new memory takes as long as a cycle may
        if memory is None or memory.lanes != lanes:
            memory = None
            x, b, residual = (vectors(n, lanes) for n in (size, size - first, walk.reached.shape[1] + 4))
            memory = _Memory(lanes, x, b, residual, vectors(first, lanes) if fill else None)
        else:
            memory.clear()
        if fill and memory.source is not None:
            fill(lanes_of(memory.source), targets)
        seeds = _no_seeds(walk, lanes) if fill else _seeds(walk, targets, lanes)
        kernels.solve(grids, seeds, visits, memory.x, memory.b, memory.residual, memory.source)

        def finish() -> None:
            keep(lanes_of(memory.x), targets)
            spare.append(memory)

        if fill:
            turns.take(targets, finish)
        else:
            finish()

    run_parallel(solve_one, _groups(walk.count), serial=size * _SECONDS < 1e-3)


class _Turns:
    """Lets what belongs to ranges run in their order, whichever is ready first; nobody waits."""

    def __init__(self) -> None:
        self._next, self._lock = 0, Lock()
        self._ready: dict[int, tuple[range, Callable[[], None]]] = {}

    def take(self, turn: range, run: Callable[[], None]) -> None:
        """Run it, and those of the next that wait, or leave it to whoever comes before."""
        with self._lock:
            self._ready[turn.start] = turn, run
            while self._next in self._ready:
                turn, run = self._ready.pop(self._next)
                run()
                self._next = turn.stop


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


def _no_seeds(walk: Walk, lanes: int) -> kernels.Seeds:
    """Where the solution is 0 there: the grids see to that."""
    none = np.zeros(0, np.int64)
    return kernels.Seeds(np.zeros(walk.reached.shape[0] + 1, np.int64), none, vectors(0, lanes))
