"""What searches on the device of the edges: one of the backends, whichever way it takes its images."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..checks import check_choice, fail
from ..compiled.backends import has_triton
from .arguments import PointedGraph

BACKENDS = ("auto", "numba", "heap", "torch", "triton")


class OneByOne:
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


def find_search(function: str, edges: torch.Tensor, backend: str) -> Any:
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
    return OneByOne(backend)


def _triton_search(function: str, device: str) -> Any:
    if not has_triton():
        fail(function, "backend", "'triton', which is not installed", "'auto' or 'torch'")
    from .gpu import launch

    if device != "cuda" and not (device == "cpu" and launch.INTERPRETED):
        interpreter = "; on the CPU it needs Triton's interpreter (TRITON_INTERPRET=1 before the first use)"
        fail(function, "backend", f"'triton' for edges on {device}", f"'auto' or 'torch' there{interpreter}")
    return launch
