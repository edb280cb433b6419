"""The searches as operators of torch, opaque to ``torch.compile``: what depends on values is checked inside them.

One call takes the images of a batch or of a list, of any sizes, and gives back a map or maps for each: the CPU's
kernels take them one by one, the others all at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..checks import check_choice, fail
from ..compiled.backends import OUTSIDE_CUDA_GRAPHS, has_triton
from ..compiled.operators import operator
from . import top_maps
from .arguments import PointedGraph, checked_images

BACKENDS = ("auto", "numba", "heap", "torch", "triton")

_ARGUMENTS = "(Tensor[] edges, Tensor[] points_yx, Tensor[] target, SymInt[] num_targets, str backend)"


def _distances_shapes(
    edges: list[torch.Tensor], points_yx: object, target: object, num_targets: list[int], backend: str
) -> list[torch.Tensor]:
    return [image.new_empty((count, *image.shape[1:])) for image, count in zip(edges, num_targets, strict=True)]


@operator(f"geodesic_distances{_ARGUMENTS} -> Tensor[]", _distances_shapes, tags=OUTSIDE_CUDA_GRAPHS)
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
        backend: one of ``BACKENDS``.

    Returns:
        (K, H, W) each.
    """
    function = "geodesic_distances"
    search = _search(function, edges[0], backend)
    return search.distances(checked_images(function, edges, points_yx, target, num_targets))


def _partition_shapes(edges: list[torch.Tensor], *rest: object) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    labels = [image.new_empty(image.shape[1:], dtype=torch.int64) for image in edges]
    return labels, [image.new_empty(image.shape[1:]) for image in edges]


@operator(f"nearest_partition{_ARGUMENTS} -> (Tensor[], Tensor[])", _partition_shapes, tags=OUTSIDE_CUDA_GRAPHS)
def partition_operator(
    edges: list[torch.Tensor],
    points_yx: list[torch.Tensor],
    target: list[torch.Tensor],
    num_targets: list[int],
    backend: str,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(H, W) int64 nearest target of each image, and (H, W) its cost; arguments as above."""
    function = "nearest_partition"
    search = _search(function, edges[0], backend)
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
    search = _search(function, edges[0], backend)
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
    if isinstance(search, _OneByOne) and search.has_tiles(image):
        from .cpu import ranking

        labels, distances = ranking.nearest(
            image.edges.contiguous().numpy(), image.pixels, image.target, image.num_targets, offset.numpy(), k
        )
        return torch.from_numpy(labels), torch.from_numpy(distances)
    starts = offset.to(image.edges.dtype).to(image.edges.device)
    return top_maps.nearest(image, starts, k, search.distances)


class _OneByOne:
    """A backend of the CPU, which takes one image at a time."""

    def __init__(self, backend: str) -> None:
        from .cpu import search

        self._search_for = partial(search.search_for, backend)
        self._backend = backend

    def has_tiles(self, image: PointedGraph) -> bool:
        """Whether vectors search the tiles of an image."""
        return self._backend == "numba" and image.edges.dtype == torch.float32

    def distances(self, images: list[PointedGraph]) -> list[torch.Tensor]:
        return [self._search_for(image.edges, image.num_targets).distances(*image) for image in images]

    def partition(self, images: list[PointedGraph]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        results = [self._search_for(image.edges, 1).partition(*image) for image in images]
        return [labels for labels, _ in results], [distance for _, distance in results]


def _search(function: str, edges: torch.Tensor, backend: str) -> Any:
    """What searches on the edges' device; numba and Triton are imported only when they are wanted."""
    check_choice(function, "backend", backend, BACKENDS)
    device = edges.device.type
    if backend == "auto":
        backend = {"cpu": "numba", "cuda": "triton" if has_triton() else "torch"}.get(device, "torch")
    if backend == "torch":
        from . import portable

        return portable
    if backend == "triton":
        return _triton_search(function, device)
    if device != "cpu":
        fail(function, "backend", f"{backend!r} for edges on {edges.device}", "'auto', 'torch' or 'triton' there")
    return _OneByOne(backend)


def _triton_search(function: str, device: str) -> Any:
    if not has_triton():
        fail(function, "backend", "'triton', which is not installed", "'auto' or 'torch'")
    from .gpu import launch

    if device != "cuda" and not (device == "cpu" and launch.INTERPRETED):
        interpreter = "; on the CPU it needs Triton's interpreter (TRITON_INTERPRET=1 before the first use)"
        fail(function, "backend", f"'triton' for edges on {device}", f"'auto' or 'torch' there{interpreter}")
    return launch
