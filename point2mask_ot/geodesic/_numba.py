"""The CPU backend: one search for each target on a small pool of threads, labels by flooding tight edges."""

from __future__ import annotations

import numpy as np
import torch

from .._threads import run_parallel
from . import _heap
from ._tight import flood

# A pixel takes about 0.1 us for each target: below a millisecond a pool of threads costs more than it gives.
_SERIAL = 10_000


def distances(edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int) -> torch.Tensor:
    """(count, H, W) shortest-path costs from the pixels of each target; the arguments are already checked."""
    weights = _heap.pack_weights(edges.contiguous().numpy())
    result = np.empty((count, *edges.shape[1:]), weights.dtype)

    def search(index: int) -> None:
        result[index] = _heap.dijkstra(weights, pixels[target == index])

    run_parallel(search, range(count), serial=result.size < _SERIAL)
    return torch.from_numpy(result)


def partition(
    edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) int64 nearest target, -1 where there is none, and (H, W) the cost from it."""
    forward = edges.contiguous().numpy()
    distance = np.ascontiguousarray(_heap.dijkstra(_heap.pack_weights(forward), pixels))
    labels = np.full(distance.shape, -1, np.int64)
    order = np.argsort(target, kind="stable")
    flood(forward, distance, pixels[order], target[order], labels)
    return torch.from_numpy(labels), torch.from_numpy(distance)
