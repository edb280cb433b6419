"""The searches as operators of torch, opaque to ``torch.compile``: what depends on values is checked inside them.

One call takes the images of a batch or of a list, of any sizes, and gives back a map or maps for each: the CPU's
kernels take them one by one, the others all at once.
"""

from __future__ import annotations

from typing import Any

import torch

from ..checks import fail
from ..compiled.backends import OUTSIDE_CUDA_GRAPHS
from ..compiled.operators import operator
from . import top_maps
from .arguments import PointedGraph, checked_images
from .backends import OneByOne, find_search
from .gradients import (
    distances_backward,
    nearest_backward,
    partition_backward,
    remember_distances,
    remember_nearest,
    remember_partition,
)

_ARGUMENTS = "(Tensor[] edges, Tensor[] points_yx, Tensor[] target, SymInt[] num_targets, str backend)"


def _distances_shapes(
    edges: list[torch.Tensor], points_yx: object, target: object, num_targets: list[int], backend: str
) -> list[torch.Tensor]:
    return [image.new_empty((count, *image.shape[1:])) for image, count in zip(edges, num_targets, strict=True)]


@operator(
    f"geodesic_distances{_ARGUMENTS} -> Tensor[]",
    _distances_shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=distances_backward,
    remember=remember_distances,
)
def distances_operator(
    edges: list[torch.Tensor],
    points_yx: list[torch.Tensor],
    target: list[torch.Tensor],
    num_targets: list[int],
    backend: str,
) -> list[torch.Tensor]:
    """Costs from each target.

    Args:
        edges: (4, H, W) each, of one floating-point dtype and device.
        points_yx: (N, 2) each, on the host.
        target: (N,) int64 each, on the host.
        num_targets: K of each.
        backend: one of ``backends.BACKENDS``.

    Returns:
        (K, H, W) each.
    """
    function = "geodesic_distances"
    search = find_search(function, edges[0], backend)
    return search.distances(checked_images(function, edges, points_yx, target, num_targets))


def _partition_shapes(edges: list[torch.Tensor], *rest: object) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    labels = [image.new_empty(image.shape[1:], dtype=torch.int64) for image in edges]
    return labels, [image.new_empty(image.shape[1:]) for image in edges]


@operator(
    f"nearest_partition{_ARGUMENTS} -> (Tensor[], Tensor[])",
    _partition_shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=partition_backward,
    remember=remember_partition,
)
def partition_operator(
    edges: list[torch.Tensor],
    points_yx: list[torch.Tensor],
    target: list[torch.Tensor],
    num_targets: list[int],
    backend: str,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(H, W) int64 nearest target of each image, and (H, W) its cost; arguments as above."""
    function = "nearest_partition"
    search = find_search(function, edges[0], backend)
    return search.partition(checked_images(function, edges, points_yx, target, num_targets))


def _nearest_shapes(
    edges: list[torch.Tensor],
    points_yx: object,
    target: object,
    num_targets: object,
    offset: object,
    k: int,
    *rest: object,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    labels = [image.new_empty((k, *image.shape[1:]), dtype=torch.int64) for image in edges]
    return labels, [image.new_empty((k, *image.shape[1:])) for image in edges]


@operator(
    "nearest_targets(Tensor[] edges, Tensor[] points_yx, Tensor[] target, SymInt[] num_targets, Tensor[] offset, "
    "SymInt k, str backend) -> (Tensor[], Tensor[])",
    _nearest_shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=nearest_backward,
    remember=remember_nearest,
)
def nearest_operator(
    edges: list[torch.Tensor],
    points_yx: list[torch.Tensor],
    target: list[torch.Tensor],
    num_targets: list[int],
    offset: list[torch.Tensor],
    k: int,
    backend: str,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(k, H, W) int64 nearest targets of each image, and (k, H, W) their costs.

    ``offset`` is (K,) float64 each, on the host; other arguments as above.
    """
    function = "nearest_targets"
    search = find_search(function, edges[0], backend)
    images = checked_images(function, edges, points_yx, target, num_targets)
    for image, starts in zip(images, offset, strict=True):
        if starts.shape != (image.num_targets,):
            fail(function, "offset", f"shape {tuple(starts.shape)}", f"({image.num_targets},): one for each target")
        if not bool(torch.isfinite(starts).all()):
            fail(function, "offset", "NaN or infinity", "finite numbers")
    pairs = [_nearest(search, image, starts, k) for image, starts in zip(images, offset, strict=True)]
    return [labels for labels, _ in pairs], [distances for _, distances in pairs]


def _nearest(search: Any, image: PointedGraph, offset: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """By a search of its own where there is one for these edges, else from whole maps."""
    if isinstance(search, OneByOne) and search.has_tiles(image):
        from .cpu import ranking

        labels, distances = ranking.nearest(
            image.edges.contiguous().numpy(), image.pixels, image.target, image.num_targets, offset.numpy(), k
        )
        return torch.from_numpy(labels), torch.from_numpy(distances)
    starts = offset.to(image.edges.dtype).to(image.edges.device)
    return top_maps.nearest(image, starts, k, search.distances)
