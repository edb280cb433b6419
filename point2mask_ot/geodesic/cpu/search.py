"""The CPU backend: the targets shared out over a few threads, labels by flooding tight edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from ...compiled.threads import run_parallel
from . import heap, joint_search, sweeps, tile_search, tiles
from .tight import flooded


@dataclass(frozen=True)
class Search:
    """One way to search: what it makes of the edges once, and how it fills the maps of some targets.

    Attributes:
        pack: (4, H, W) edges to the form that ``fill`` reads.
        fill: ``fill(packed, sources, bounds, result)`` writes the distances of target k from the pixels
            ``sources[bounds[k]:bounds[k + 1]]`` into ``result[k]``; releases the GIL.
        together: ``together(packed, sources, (H, W))`` -> (H, W) cost from the nearest of all sources.
        seconds: about what it takes for one pixel and one target.
    """

    pack: Callable[[np.ndarray], np.ndarray]
    fill: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
    together: Callable[[np.ndarray, np.ndarray, tuple[int, ...]], np.ndarray]
    seconds: float

    def distances(self, edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int) -> torch.Tensor:
        """(count, H, W) shortest-path costs from the pixels of each target; the arguments are already checked."""
        packed = self.pack(edges.contiguous().numpy())
        order = np.argsort(target, kind="stable")
        sources, bounds = pixels[order], np.searchsorted(target[order], np.arange(count + 1))
        result = np.empty((count, *edges.shape[1:]), packed.dtype)

        def fill(part: slice) -> None:
            self.fill(packed, sources, bounds[part.start : part.stop + 1], result[part])

        # Threads would cost more than they give to less than a millisecond of work.
        workers = torch.get_num_threads() if result.size * self.seconds > 1e-3 else 1
        cuts = [count * worker // workers for worker in range(workers + 1)]
        run_parallel(fill, [slice(start, stop) for start, stop in pairwise(cuts) if start < stop])
        return torch.from_numpy(result)

    def partition(
        self, edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(H, W) int64 nearest target, -1 where there is none, and (H, W) the cost from it."""
        costs = edges.contiguous().numpy()
        distance = self.together(self.pack(costs), pixels, costs.shape[1:])
        return torch.from_numpy(flooded(costs, distance, pixels, target)), torch.from_numpy(distance)


def _by_heap(weights: np.ndarray, sources: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.empty((1, *shape), weights.dtype)
    heap.search(weights, sources, np.array([0, len(sources)]), result)
    return result[0]


def _by_tiles(costs: np.ndarray, sources: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    state = joint_search.search(costs, sources, np.zeros(len(sources), np.float32))
    return joint_search.image(state, costs.shape[1], *shape)


HEAP = Search(heap.pack_weights, heap.search, _by_heap, 8e-8)
TILES = Search(tiles.pack_costs, tile_search.search, _by_tiles, 5e-9)
SWEEPS = Search(tiles.pad, sweeps.search, lambda padded, *rest: _by_tiles(tiles.cut(padded), *rest), 5e-9)


def search_for(backend: str, edges: torch.Tensor, targets: int) -> Search:
    """Vectors for ``"numba"``, but they hold float32 only: sweeps over small images, tiles of others; else the heap."""
    if backend == "heap" or edges.dtype != torch.float32:
        return HEAP
    return SWEEPS if edges[0].numel() <= sweeps.PIXELS and targets >= sweeps.TARGETS else TILES
