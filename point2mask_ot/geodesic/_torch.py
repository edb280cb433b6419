"""The portable backend: relaxations of the whole grid at once, on any device.

Values equal Dijkstra's to the bit: adding an edge is monotone in floating point, so the smallest of all sums that are
added up one edge at a time from a source does not depend on the order in which the sums are tried.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..grid import FORWARD_OFFSETS, pair_slices

_ROUNDS = 24  # between two tests of convergence, each of which waits for the device


def distances(edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int) -> torch.Tensor:
    """(count, H, W) shortest-path costs from the pixels of each target; the arguments are already checked."""
    result = edges.new_full((count, *edges.shape[1:]), torch.inf)
    sources = torch.from_numpy(np.column_stack((target, pixels))).to(edges.device)
    result[tuple(sources.T)] = 0.0
    _relax_distances(result, edges)
    return result


def partition(
    edges: torch.Tensor, pixels: np.ndarray, target: np.ndarray, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) int64 nearest target, -1 where there is none, and (H, W) the cost from it."""
    distance = distances(edges, pixels, np.zeros_like(target), 1)[0]
    nobody = count
    first = np.full(distance.shape, nobody)
    np.minimum.at(first, tuple(pixels.T), target)
    labels = torch.from_numpy(first).to(edges.device)
    _relax_labels(labels, distance, edges)
    return labels.masked_fill_(labels == nobody, -1), distance


def _relax_distances(distance: torch.Tensor, edges: torch.Tensor) -> None:
    pairs = [(edge[here], here, there) for edge, (here, there) in _pairs(edges)]

    def relax() -> None:
        for cost, here, there in pairs:
            _lower(distance[..., *there], distance[..., *here] + cost)
            _lower(distance[..., *here], distance[..., *there] + cost)

    _until_stable(distance, relax)


def _relax_labels(labels: torch.Tensor, distance: torch.Tensor, edges: torch.Tensor) -> None:
    """Hand the smallest label on along tight edges, those by which a cheapest path may reach a pixel."""
    nobody = torch.iinfo(labels.dtype).max
    pairs = []
    for edge, (here, there) in _pairs(edges):
        for origin, end in ((here, there), (there, here)):
            reached = distance[origin] + edge[here]
            pairs.append((origin, end, (reached != distance[end]) | torch.isinf(reached)))

    def relax() -> None:
        for origin, end, blocked in pairs:
            _lower(labels[end], labels[origin].masked_fill(blocked, nobody))

    _until_stable(labels, relax)


def _pairs(edges: torch.Tensor) -> list[tuple]:
    return [(edge, pair_slices(offset)) for edge, offset in zip(edges, FORWARD_OFFSETS, strict=True)]


def _lower(values: torch.Tensor, candidates: torch.Tensor) -> None:
    torch.minimum(values, candidates, out=values)


def _until_stable(state: torch.Tensor, relax: Callable[[], None]) -> None:
    """Repeat ``relax`` until one round changes nothing: a maze needs thousands, so there is no limit."""
    while True:
        for _ in range(_ROUNDS - 1):
            relax()
        before = state.clone()
        relax()
        if torch.equal(before, state):
            return
