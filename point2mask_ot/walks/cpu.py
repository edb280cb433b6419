"""Random walks on the CPU: groups of targets, on a few threads that end with the call."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
import torch

from ..compiled.threads import run_parallel
from . import kernels
from .grids import lay_out
from .lanes import LANES
from .walk import Walk

_SECONDS = 1e-7
"""About what a pixel takes for a group of targets."""


def probabilities(walk: Walk, cycles: int) -> torch.Tensor:
    """(K, H, W) float32 probability that a walk meets each target first; of no meaning where it meets none."""
    planes = np.empty((walk.count, *walk.reached.shape), np.float32)

    def keep(x: np.ndarray, first: int) -> None:
        kernels.write_planes(x, planes[first : first + LANES])

    _solve(walk, cycles, keep)
    return torch.from_numpy(planes)


def most_probable(walk: Walk) -> torch.Tensor:
    """(H, W) int64 target of the largest such probability, the first of equals."""
    label = np.full(walk.reached.shape, -1, np.int64)
    best = np.full(walk.reached.shape, -np.inf, np.float32)
    one_at_a_time = Lock()

    def keep(x: np.ndarray, first: int) -> None:
        with one_at_a_time:
            kernels.keep_best(x, first, min(LANES, walk.count - first), label, best)

    _solve(walk, 1, keep)
    return torch.from_numpy(label)


def _solve(walk: Walk, cycles: int, keep: Callable[[np.ndarray, int], None]) -> None:
    """Hand over the solution of each group of targets and the first of the targets."""
    edges, step = np.ascontiguousarray(walk.edges.numpy()), np.float32(walk.step)
    pixels = np.ascontiguousarray(walk.seeds)
    grids = lay_out(edges, step, walk.reached.numpy(), pixels)
    size = len(grids.graph)

    def solve(first: int) -> None:
        x, b = np.zeros((2, size * LANES), np.float32)
        own = (walk.target >= first) & (walk.target < first + LANES)
        seeds = kernels.Seeds(pixels[own], walk.target[own] - first, walk.share[own].astype(np.float32))
        kernels.solve(grids, edges, step, seeds, cycles, x, b)
        keep(x, first)

    run_parallel(solve, range(0, walk.count, LANES), serial=size * _SECONDS < 1e-3)
