"""The k nearest targets from whole maps, a few at a time: for any backend, and the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .arguments import PointedGraph

_MAPS = 8
"""Made at a time."""


def nearest(
    image: PointedGraph,
    offset: torch.Tensor,
    k: int,
    distances: Callable[[list[PointedGraph]], list[torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """(k, H, W) int64 targets, -1 for none, and distances; arguments are already checked.

    Args:
        image: the picture and its K targets.
        offset: (K,) what each starts at, of the edges' dtype and device.
        k: at least 1.
        distances: the maps of all targets of some images.
    """
    shape = k, *image.edges.shape[1:]
    labels = image.edges.new_full(shape, -1, dtype=torch.int64)
    key = image.edges.new_full(shape, torch.inf)
    distance = key.clone()
    for first in range(0, image.num_targets, _MAPS):
        part = _part(image, first, min(first + _MAPS, image.num_targets))
        (maps,) = distances([part])
        names = torch.arange(first, first + len(maps), device=maps.device)[:, None, None].expand(maps.shape)
        keys = torch.cat([key, maps + offset[first : first + len(maps), None, None]])
        # Stable: of equals those of smaller index, which are there already, stay before.
        key, order = (values[:k] for values in keys.sort(dim=0, stable=True))
        labels = torch.cat([labels, names]).gather(0, order)
        distance = torch.cat([distance, maps]).gather(0, order)
    return labels.masked_fill_(torch.isinf(distance), -1), distance


def _part(image: PointedGraph, first: int, end: int) -> PointedGraph:
    """The same picture with some of its targets."""
    chosen = np.flatnonzero((image.target >= first) & (image.target < end))
    return PointedGraph(image.edges, image.pixels[chosen], image.target[chosen] - first, end - first)
