"""The parts of a picture that walls surround."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .grid import FORWARD_OFFSETS, pair_slices


def connected_parts(edges: np.ndarray, directions: Sequence[int] = range(4)) -> np.ndarray:
    """(H, W) int32 number of the part that each pixel is in, by the first pixel of each.

    Args:
        edges: (4, H, W) costs, +inf for a wall.
        directions: those of the four along which one may go.
    """
    ways = [(*pair_slices(FORWARD_OFFSETS[i]), edges[i]) for i in directions]
    if all((cost[here] < np.inf).all() for here, _, cost in ways):
        return np.zeros(edges.shape[1:], np.int32)
    index = np.arange(edges[0].size, dtype=np.int32).reshape(edges.shape[1:])
    ends = [(index[here][cost[here] < np.inf], index[there][cost[here] < np.inf]) for here, there, cost in ways]
    first, second = (np.concatenate(side) for side in zip(*ends, strict=True))
    return connected(first, second, index.size).reshape(index.shape)


def connected(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """(count,) int32, equal for nodes that edges between ``first`` and ``second`` join, by the first node of each."""
    from scipy.sparse import coo_array  # slow to import, and only walls and sizes need it
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], np.int32)
