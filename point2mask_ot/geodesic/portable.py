"""The portable backend: relaxations of all maps of all images at once, on any device.

Images of different sizes are padded to one, with pixels that no path can enter. A round moves every path on by one
pixel, so a map takes hundreds, a maze thousands. The host cannot know how many: every 32 rounds it waits for the device
to say whether anything changed. No other backend waits.

Values equal Dijkstra's to the bit: adding an edge is monotone in floating point, so the smallest of all sums that are
added up one edge at a time from a source does not depend on the order in which the sums are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..graph.grid import FORWARD_OFFSETS, pair_slices
from .arguments import PointedGraph

_ROUNDS = 32  # between two tests of convergence
_NOBODY = torch.iinfo(torch.int64).max


def distances(images: Sequence[PointedGraph]) -> list[torch.Tensor]:
    """(K, H, W) shortest-path costs from each target of each image; all values are already checked."""
    counts = [image.num_targets for image in images]
    edges = _padded(images)
    owner = _on(edges.device, np.repeat(np.arange(len(images)), counts))
    maps = np.concatenate([first + image.target for first, image in zip(_starts(counts), images, strict=True)])
    return _cut(_distances(images, edges[owner], maps).split(counts), images)


def partition(images: Sequence[PointedGraph]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(H, W) int64 nearest target of each image, -1 where there is none, and (H, W) the cost from it."""
    edges = _padded(images)
    maps = np.repeat(np.arange(len(images)), [len(image.pixels) for image in images])
    distance = _distances(images, edges, maps)
    labels = torch.full_like(distance, _NOBODY, dtype=torch.int64)
    names = _on(edges.device, np.concatenate([image.target for image in images]))
    labels.view(-1).scatter_reduce_(0, _sources(images, maps, distance), names, "amin")
    _relax_labels(labels, distance, edges)
    return _cut(labels.masked_fill_(labels == _NOBODY, -1), images), _cut(distance, images)


def _distances(images: Sequence[PointedGraph], edges: torch.Tensor, maps: np.ndarray) -> torch.Tensor:
    """(M, H, W) settled maps on edges (M, 4, H, W), from all points, each on the map of its index."""
    distance = edges.new_full((len(edges), *edges.shape[2:]), torch.inf)
    distance.view(-1).index_fill_(0, _sources(images, maps, distance), 0.0)
    _relax_distances(distance, edges)
    return distance


def _sources(images: Sequence[PointedGraph], maps: np.ndarray, values: torch.Tensor) -> torch.Tensor:
    """Where all points lie in the flat values of (M, H, W) maps."""
    pixels = np.concatenate([image.pixels for image in images])
    _, height, width = values.shape
    return _on(values.device, (maps * height + pixels[:, 0]) * width + pixels[:, 1])


def _padded(images: Sequence[PointedGraph]) -> torch.Tensor:
    """(B, 4, H, W) edges of all images on a grid that holds each; +inf between pixels that are not both in one."""
    height, width = np.max([image.edges.shape[1:] for image in images], axis=0).tolist()
    padded = images[0].edges.new_full((len(images), 4, height, width), torch.inf)
    for own, image in zip(padded, images, strict=True):
        _, rows, columns = image.edges.shape
        for channel, (here, _) in _pairs():
            own[channel, :rows, :columns][here] = image.edges[channel][here]
    return padded


def _cut(values: Sequence[torch.Tensor] | torch.Tensor, images: Sequence[PointedGraph]) -> list[torch.Tensor]:
    """The part of each image on the padded grid, in memory of its own."""
    sizes = [image.edges.shape[1:] for image in images]
    return [
        part[..., :h, :w].clone(memory_format=torch.contiguous_format)
        for part, (h, w) in zip(values, sizes, strict=True)
    ]


def _starts(counts: Sequence[int]) -> list[int]:
    return np.cumsum([0, *counts])[:-1].tolist()


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(device)


def _relax_distances(distance: torch.Tensor, edges: torch.Tensor) -> None:
    """Plain form of Eq. 3: the least sum of d_s + beta d_b, the cost of an edge, over the steps of any path."""
    pairs = [(edges[:, channel][:, *here], here, there) for channel, (here, there) in _pairs()]

    def relax() -> None:
        for cost, here, there in pairs:
            _lower(distance[:, *there], distance[:, *here] + cost)
            _lower(distance[:, *here], distance[:, *there] + cost)

    until_stable(distance, relax)


def _relax_labels(labels: torch.Tensor, distance: torch.Tensor, edges: torch.Tensor) -> None:
    """Hand the smallest label on along tight edges, those by which a cheapest path may reach a pixel."""
    pairs = []
    for channel, (here, there) in _pairs():
        for origin, end in ((here, there), (there, here)):
            reached = distance[:, *origin] + edges[:, channel][:, *here]
            pairs.append((origin, end, (reached != distance[:, *end]) | torch.isinf(reached)))

    def relax() -> None:
        for origin, end, blocked in pairs:
            _lower(labels[:, *end], labels[:, *origin].masked_fill(blocked, _NOBODY))

    until_stable(labels, relax)


def _pairs() -> list[tuple]:
    return [(channel, pair_slices(offset)) for channel, offset in enumerate(FORWARD_OFFSETS)]


def _lower(values: torch.Tensor, candidates: torch.Tensor) -> None:
    torch.minimum(values, candidates, out=values)


def until_stable(state: torch.Tensor, relax: Callable[[], None]) -> None:
    """Repeat ``relax`` until one round changes nothing: a maze needs thousands, so there is no limit."""
    while True:
        for _ in range(_ROUNDS - 1):
            relax()
        before = state.clone()
        relax()
        if torch.equal(before, state):
            return
