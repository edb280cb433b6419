"""Whatever solves a walk best on the host, group by group."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch

from ..geodesic.arguments import PointedGraph
from . import portable
from .colours import RINGS_OF_LABELS, coloured
from .walk import WIDTHS, Walk

_BYTES_OF_GRIDS = 48
"""A pixel's, with the coarser grids."""
_BYTES_OF_ENTRIES = 160
"""A pixel's, with those that are left out at the end, while they are sorted."""

_BYTES_OF_LABELS = 16
"""A pixel's: its cell, its label and the probability of that."""


def host_solver(walk: Walk) -> Any:
    """Compiled kernels where they may: they hold single precision, and mend no walls."""
    if walk.edges.dtype != torch.float32 or walk.has_walls():
        return portable
    from . import cpu

    return cpu


def most_probable(walk: Walk) -> torch.Tensor:
    """(H, W) int64 target of the largest probability that a walk meets it first, the first of equals."""
    if host_solver(walk) is portable:  # many at once: groups of them would take as long each
        return portable.most_probable(walk)
    from .kernels import keep_best

    colours = coloured(walk, RINGS_OF_LABELS)
    label = np.full(colours.cell.shape, -1, np.int64)
    best = np.full(colours.cell.shape, -np.inf, np.float32)
    one_at_a_time = Lock()

    def keep(x: np.ndarray, group: range) -> None:
        owner = np.ascontiguousarray(colours.owner[:, group.start : group.stop])
        with one_at_a_time:
            keep_best(x, colours.cell, owner, label, best)

    solve_groups(colours.walk, 1, keep)
    return torch.from_numpy(label)


def solve_groups(walk: Walk, cycles: int, keep: Callable[[np.ndarray, range], None]) -> None:
    """Hand over the probabilities of each group of targets, as (pixels with a border of one, lanes), and the group."""
    height, width = walk.reached.shape
    if walk.count == 1:  # whom else could a walk meet
        return keep(np.ones(((height + 2) * (width + 2), 1), np.float32), range(1))
    solver = host_solver(walk)
    if solver is not portable:
        solver.solve(walk, cycles, keep)
        return None
    for first in range(0, walk.count, WIDTHS[-1]):
        group = range(first, min(first + WIDTHS[-1], walk.count))
        target = np.where((walk.target >= first) & (walk.target < group.stop), walk.target - first, len(group))
        image = PointedGraph(walk.edges, walk.seeds, target, len(group) + 1)  # the others as one
        found = portable.probabilities(Walk(image, walk.reached, walk.step), cycles)
        x = np.zeros((height + 2, width + 2, WIDTHS[-1]), np.float32)
        x[1:-1, 1:-1, : len(group)] = found[:-1].permute(1, 2, 0).numpy()
        keep(x.reshape(-1, WIDTHS[-1]), group)


def walk_bytes(
    height: int, width: int, targets: int, *, dense: bool = False, labels: bool = False, threads: int = 1
) -> int:
    """About the memory that walks need at once beside the picture's edges, by the compiled kernels.

    Args:
        height, width: of the picture.
        targets: K.
        dense: for a cost of every target at every pixel, else for those that may matter, about 8 a pixel.
        labels: for the most probable target alone.
        threads: that solve at once.
    """
    lanes = next((n for n in WIDTHS if n >= targets), WIDTHS[-1])
    groups = min(threads, -(-targets // lanes))
    grids, vectors = _BYTES_OF_GRIDS, groups * lanes * 4 * (4 + 1) / 3  # x on all grids, b on all but the first
    if labels:
        return int(height * width * (grids + vectors + _BYTES_OF_LABELS))
    if dense:
        return int(height * width * (grids + vectors + 4 * targets))
    return int(height * width * (grids + max(vectors + _BYTES_OF_ENTRIES / 2, _BYTES_OF_ENTRIES)))
