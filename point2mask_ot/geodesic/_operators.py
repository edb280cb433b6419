"""The searches as PyTorch operators, opaque to ``torch.compile``: what depends on values is checked inside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..checks import check_choice, fail
from ..points import check_targets, pixel_indices

BACKENDS = ("auto", "numba", "heap", "torch")

_ARGUMENTS = "(Tensor edges, Tensor points_yx, Tensor target, int num_targets, str backend)"


@torch.library.custom_op("point2mask::geodesic_distances", mutates_args=(), schema=f"{_ARGUMENTS} -> Tensor")
def distances_operator(
    edges: torch.Tensor, points_yx: torch.Tensor, target: torch.Tensor, num_targets: int, backend: str
) -> torch.Tensor:
    """(K, H, W) costs from each target on floating-point edges (4, H, W)."""
    function = "geodesic_distances"
    search = _backend(function, edges, backend)
    return search.distances(edges, *_checked(function, edges, points_yx, target, num_targets))


@distances_operator.register_fake
def _(
    edges: torch.Tensor, points_yx: torch.Tensor, target: torch.Tensor, num_targets: int, backend: str
) -> torch.Tensor:
    return edges.new_empty((num_targets, *edges.shape[1:]))


@torch.library.custom_op("point2mask::nearest_partition", mutates_args=(), schema=f"{_ARGUMENTS} -> (Tensor, Tensor)")
def partition_operator(
    edges: torch.Tensor, points_yx: torch.Tensor, target: torch.Tensor, num_targets: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) int64 nearest target and (H, W) its cost on floating-point edges (4, H, W)."""
    function = "nearest_partition"
    search = _backend(function, edges, backend)
    return search.partition(edges, *_checked(function, edges, points_yx, target, num_targets))


@partition_operator.register_fake
def _(
    edges: torch.Tensor, points_yx: torch.Tensor, target: torch.Tensor, num_targets: int, backend: str
) -> tuple[torch.Tensor, torch.Tensor]:
    return edges.new_empty(edges.shape[1:], dtype=torch.int64), edges.new_empty(edges.shape[1:])


def check_costs(function: str, edges: torch.Tensor) -> None:
    """Refuse NaN, which drops edges silently, and negative costs, on which a search never ends."""
    # On the CPU by NumPy, in this thread: waking torch's threads costs more than a small map takes.
    lowest = float(edges.numpy().min() if edges.device.type == "cpu" else edges.min())
    if not lowest >= 0:
        fail(function, "edges", "NaN" if lowest != lowest else f"a cost of {lowest:g}", "costs >= 0 (+inf: a wall)")


def _checked(
    function: str, edges: torch.Tensor, points_yx: torch.Tensor, target: torch.Tensor, num_targets: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """The pixel and the target of each point and the number of targets, after all checks of values."""
    check_costs(function, edges)
    pixels = pixel_indices(function, points_yx, *edges.shape[1:])
    check_targets(function, target.numpy(), num_targets, len(pixels))
    return pixels, target.numpy(), num_targets


def _backend(function: str, edges: torch.Tensor, name: str) -> Any:
    """What searches on the edges' device; numba is imported only when it is wanted."""
    check_choice(function, "backend", name, BACKENDS)
    on_host = edges.device.type == "cpu"
    if name == "auto":
        name = "numba" if on_host else "torch"
    if name == "torch":
        from . import _torch

        return _torch
    if not on_host:
        fail(function, "backend", f"{name!r} for edges on {edges.device}", "'auto' or 'torch' on that device")
    from . import _numba

    return _numba.search_for(name, edges.dtype)
