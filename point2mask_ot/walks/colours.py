"""Targets that are solved together, since no walk tells them apart: those of a colour lie far from each other.

The systems of all targets have one matrix, so that one right-hand side may hold several targets: its solution is the
sum of their probabilities. A walk hardly ever passes several rings of targets without meeting one, so that near a
target the others of its colour count for next to nothing; the number of solves does not grow with that of targets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ..geodesic import nearest_partition
from ..geodesic.arguments import PointedGraph
from .walk import Walk

MANY = 48
"""Targets from which on they share colours; fewer are mostly neighbours of each other anyway."""
RINGS = 8
"""Targets of a colour are at least that many rings of neighbours apart. What one of them adds where another is read is
about exp(-1.3) less with each: at 8 it changes a cost near the best by 0.001, one of 2 more by 0.03 at most, and
one label in 100,000."""
RINGS_OF_LABELS = 6
"""The same where labels alone are wanted, after one cycle: that leaves two in a thousand wrong, to which this adds a
tenth, and 5 rings a half."""


class Colours(NamedTuple):
    """A walk whose targets are colours, and whose each colour is in each place.

    Attributes:
        walk: to colours; ``count`` is their number.
        cell: (H, W) int32, which row of ``owner`` a pixel belongs to; -1 where no walk arrives.
        owner: (cells, colours) int32 target of each colour near each cell, -1 where none is.
    """

    walk: Walk
    cell: np.ndarray
    owner: np.ndarray


def coloured(walk: Walk, rings: int = RINGS, many: int = MANY) -> Colours:
    """Give targets colours; each its own where they are few."""
    if walk.count < many:
        everywhere = np.where(walk.reached.numpy(), 0, -1).astype(np.int32)
        return Colours(walk, everywhere, np.arange(walk.count, dtype=np.int32)[None])
    cell = _cells(walk)
    near = _neighbours(walk, cell)
    colour = _greedy(_within(near, rings - 1), np.lexsort(_centres(walk).T))
    owner = np.full((walk.count, colour.max() + 1), -1, np.int32)
    for distance in (rings // 2, (rings - 1) // 2):  # no two of a colour are as near to one cell as the second
        around = _within(near, distance).tocoo()
        owner[around.row, colour[around.col]] = around.col
    image = PointedGraph(walk.edges, walk.seeds, colour[walk.target], owner.shape[1])
    return Colours(Walk(image, walk.reached, walk.step), cell, owner)


def _cells(walk: Walk) -> np.ndarray:
    """(H, W) int32 nearest target by resistance; -1 where none can be reached."""
    ways = torch.full_like(walk.edges, torch.inf)
    ways[[0, 2]] = walk.edges[[0, 2]] + walk.step
    labels = nearest_partition(ways, walk.seeds, walk.target).labels
    return labels.to(torch.int32).numpy()  # type: ignore[union-attr,no-any-return]


def _centres(walk: Walk) -> np.ndarray:
    """(K, 2) of each target's points, column first, in units of the distance between targets: neighbours in a strip of
    rows follow each other, which takes fewer colours than any order."""
    total = np.zeros((walk.count, 3))
    np.add.at(total, walk.target, np.column_stack([walk.seeds[:, ::-1], np.ones(len(walk.seeds))]))
    centre = total[:, :2] / np.maximum(total[:, 2:], 1)
    centre[:, 1] = (centre[:, 1] / (walk.reached.numel() / walk.count) ** 0.5).round()
    return centre


def _neighbours(walk: Walk, cell: np.ndarray):  # type: ignore[no-untyped-def]
    """(K, K) sparse bool, who shares a border or a pixel with whom; each with itself."""
    from scipy.sparse import csr_array

    pairs = [np.stack([cell[:, :-1].ravel(), cell[:, 1:].ravel()]), np.stack([cell[:-1].ravel(), cell[1:].ravel()])]
    pairs = [pair[:, pair[0] != pair[1]] for pair in pairs]
    pairs.append(np.stack([cell[tuple(walk.seeds.T)], walk.target]))  # several targets may have a point there
    one, other = np.concatenate(pairs, 1)
    one, other = np.divmod(
        np.unique((one.astype(np.int64) * walk.count + other)[(one >= 0) & (other >= 0)]), walk.count
    )
    graph = csr_array((np.ones(len(one), bool), (one, other)), shape=(walk.count, walk.count))
    own = csr_array((np.ones(walk.count, bool), (np.arange(walk.count), np.arange(walk.count))), shape=graph.shape)
    return graph + graph.T + own


def _within(near, rings: int):  # type: ignore[no-untyped-def]
    """(K, K) sparse bool, who is at most so many rings from whom."""
    found = near
    for _ in range(rings - 1):
        found = found @ near
    return found.tocsr()


def _greedy(conflicts, order: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(K,) the first colour that none in conflict has, one target after the other."""
    colour = np.full(len(order), -1)
    for k in order:
        taken = colour[conflicts.indices[conflicts.indptr[k] : conflicts.indptr[k + 1]]]
        free = np.ones(len(taken) + 1, bool)
        free[taken[(taken >= 0) & (taken < len(free))]] = False
        colour[k] = free.argmax()
    return colour
