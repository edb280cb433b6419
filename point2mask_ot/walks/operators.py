"""Costs of random walks and their gradient as operators of torch, opaque to ``torch.compile``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..compiled.backends import OUTSIDE_CUDA_GRAPHS
from ..compiled.operators import keep_lists, kept_lists, operator, refuse_gradient, where_wanted
from ..geodesic.arguments import checked_images
from .picture import picture_costs, picture_gradient

_NAME = "random_walk_costs"
_GRAPHS = "Tensor[] edges, Tensor[] points_yx, Tensor[] target, SymInt[] num_targets"


def _gradient_shapes(edges: list[Tensor], *rest: object) -> list[Tensor]:
    return [image.new_empty(image.shape) for image in edges]


@operator(
    f"random_walk_gradient({_GRAPHS}, Tensor[] cost, Tensor[] gradient, float spacing_cost, SymInt cycles) -> Tensor[]",
    _gradient_shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=refuse_gradient,
)
def gradient_operator(
    edges: list[Tensor],
    points_yx: list[Tensor],
    target: list[Tensor],
    num_targets: list[int],
    cost: list[Tensor],
    gradient: list[Tensor],
    spacing_cost: float,
    cycles: int,
) -> list[Tensor]:
    """Gradient by the edges.

    Args:
        edges, points_yx, target, num_targets, spacing_cost, cycles: as below.
        cost: (K, H, W) each, what was found for them.
        gradient: (K, H, W) each, by that.

    Returns:
        (4, H, W) each.
    """
    images = checked_images(_NAME, edges, points_yx, target, num_targets)
    maps = zip(cost, gradient, strict=True)
    return [
        picture_gradient(image, found.detach(), by_it.detach(), spacing_cost, cycles)
        for image, (found, by_it) in zip(images, maps, strict=True)
    ]


def _costs_shapes(
    edges: list[Tensor], points_yx: object, target: object, num_targets: list[int], *rest: object
) -> list[Tensor]:
    return [image.new_empty((count, *image.shape[1:])) for image, count in zip(edges, num_targets, strict=True)]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    """Nothing that the caller does not hold anyway."""
    edges, points_yx, target, ctx.num_targets, *ctx.numbers = inputs
    keep_lists(ctx, edges, points_yx, target, output)


def _backward(ctx: Any, gradient: list[Tensor | None]) -> tuple[Any, ...]:
    edges, points_yx, target, cost = kept_lists(ctx, 4)
    lists: list[Any] = [edges, points_yx, target, ctx.num_targets, cost, gradient]
    by_edges = where_wanted(ctx, gradient_operator, gradient, lists, *ctx.numbers)
    none = [None] * len(by_edges)
    return by_edges, none, none, None, None, None


@operator(
    f"random_walk_costs({_GRAPHS}, float spacing_cost, SymInt cycles) -> Tensor[]",
    _costs_shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=_backward,
    remember=_remember,
)
def costs_operator(
    edges: list[Tensor],
    points_yx: list[Tensor],
    target: list[Tensor],
    num_targets: list[int],
    spacing_cost: float,
    cycles: int,
) -> list[Tensor]:
    """Costs of walks to each target.

    Args:
        edges: (4, H, W) each, of one floating-point dtype and device.
        points_yx: (N, 2) each, on the host.
        target: (N,) int64 each, on the host.
        num_targets: K of each.
        spacing_cost, cycles: as for the function.

    Returns:
        (K, H, W) each.
    """
    images = checked_images(_NAME, edges, points_yx, target, num_targets)
    return [picture_costs(image, spacing_cost, cycles) for image in images]
