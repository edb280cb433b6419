"""The gradients of the searches: operators of their own, and how autograd calls them.

They walk back along one cheapest path of each pixel (:mod:`.descent` says which), found from the edges and the costs
that the caller holds anyway: nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compiled.backends import OUTSIDE_CUDA_GRAPHS
from ..compiled.operators import keep_lists, kept_lists, operator, refuse_gradient, where_wanted
from ..points import pixel_indices
from . import descent
from .arguments import PointedGraph
from .backends import find_search

_MAPS = 8
"""Made at a time, of targets that need one."""


def _shapes(gradient: object, edges: list[Tensor], *rest: object) -> list[Tensor]:
    return [image.new_empty(image.shape) for image in edges]


@operator(
    "geodesic_distances_gradient(Tensor[] gradient, Tensor[] edges, Tensor[] distances, Tensor[] points_yx, "
    "Tensor[] target, str backend) -> Tensor[]",
    _shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=refuse_gradient,
)
def distances_gradient(
    gradient: list[Tensor],
    edges: list[Tensor],
    distances: list[Tensor],
    points_yx: list[Tensor],
    target: list[Tensor],
    backend: str,
) -> list[Tensor]:
    """(4, H, W) gradient to the edges of each image.

    Args:
        gradient: to the distances.
        edges: (4, H, W) each.
        distances: (K, H, W) each, of these edges.
        points_yx, target, backend: as of the search.
    """
    found = []
    for given, costs, maps, points, ids in zip(gradient, edges, distances, points_yx, target, strict=True):
        image = _pointed(costs, points, ids, len(maps))
        total = _module(costs, backend).from_maps(image, maps.detach(), given.detach())
        found.append(total.to(costs.dtype))
    return found


@operator(
    "nearest_targets_gradient(Tensor[] gradient, Tensor[] edges, Tensor[] labels, Tensor[] distances, "
    "Tensor[] points_yx, Tensor[] target, SymInt[] num_targets, str backend) -> Tensor[]",
    _shapes,
    tags=OUTSIDE_CUDA_GRAPHS,
    backward=refuse_gradient,
)
def nearest_gradient(
    gradient: list[Tensor],
    edges: list[Tensor],
    labels: list[Tensor],
    distances: list[Tensor],
    points_yx: list[Tensor],
    target: list[Tensor],
    num_targets: list[int],
    backend: str,
) -> list[Tensor]:
    """(4, H, W) gradient to the edges of each image, from that to its (k, H, W) distances; arguments as above."""
    found = []
    images = zip(gradient, edges, labels, distances, points_yx, target, num_targets, strict=True)
    for given, costs, names, maps, points, ids, count in images:
        image = _pointed(costs, points, ids, count)
        total, lost = _module(costs, backend).from_nearest(image, names, maps.detach(), given.detach())
        for first in range(0, len(lost), _MAPS):
            total += _from_whole_maps(image, lost[first : first + _MAPS], names, given.detach(), backend)
        found.append(total.to(costs.dtype))
    return found


def _from_whole_maps(
    image: PointedGraph, chosen: Sequence[int], labels: Tensor, gradient: Tensor, backend: str
) -> Tensor:
    """What flows from the nodes of some targets, by paths that may leave what is held of them.

    A target that is among the k nearest of a pixel is so all along its path, but for ties that rounding makes.
    """
    own = np.isin(image.target, chosen)
    target = np.searchsorted(chosen, image.target[own])
    part = PointedGraph(image.edges, image.pixels[own], target, len(chosen))
    (maps,) = find_search("nearest_targets", image.edges, backend).distances([part])
    given = torch.stack([torch.where(labels == name, gradient, 0).sum(0) for name in chosen])
    return _module(image.edges, backend).from_maps(part, maps, given)  # type: ignore[no-any-return]


def _pointed(edges: Tensor, points_yx: Tensor, target: Tensor, num_targets: int) -> PointedGraph:
    """The graph that the search was on, whose values it has checked."""
    pixels = pixel_indices("geodesic_distances", points_yx.numpy(), *edges.shape[1:])
    return PointedGraph(edges.detach(), pixels, target.numpy(), num_targets)


def _module(edges: Tensor, backend: str) -> Any:
    """What walks back on the edges' device."""
    if edges.device.type != "cpu" or backend in ("torch", "triton"):
        return descent
    from .cpu import descent as compiled

    return compiled


def remember_distances(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    edges, points_yx, target, _, ctx.backend = inputs
    keep_lists(ctx, edges, points_yx, target, output)


def distances_backward(ctx: Any, gradient: list[Tensor | None]) -> tuple[Any, ...]:
    edges, points_yx, target, distances = kept_lists(ctx, 4)
    return _to_edges(ctx, gradient, edges, distances, points_yx, target)


def remember_partition(ctx: Any, inputs: tuple[Any, ...], output: tuple[list[Tensor], list[Tensor]]) -> None:
    remember_distances(ctx, inputs, output[1])


def partition_backward(ctx: Any, _: object, gradient: list[Tensor | None]) -> tuple[Any, ...]:
    """As of one target that has all the points."""
    edges, points_yx, target, distance = kept_lists(ctx, 4)
    maps, given = ([None if own is None else own[None] for own in values] for values in (distance, gradient))
    one = [torch.zeros_like(own) for own in target]
    return _to_edges(ctx, given, edges, maps, points_yx, one)


def remember_nearest(ctx: Any, inputs: tuple[Any, ...], output: tuple[list[Tensor], list[Tensor]]) -> None:
    edges, points_yx, target, ctx.num_targets, _, _, ctx.backend = inputs
    keep_lists(ctx, edges, points_yx, target, *output)


def nearest_backward(ctx: Any, _: object, gradient: list[Tensor | None]) -> tuple[Any, ...]:
    edges, points_yx, target, labels, distances = kept_lists(ctx, 5)
    lists: list[Any] = [gradient, edges, labels, distances, points_yx, target, ctx.num_targets]
    by_edges = where_wanted(ctx, nearest_gradient, gradient, lists, ctx.backend)
    none = [None] * len(edges)
    return by_edges, none, none, None, none, None, None


def _to_edges(ctx: Any, gradient: Sequence[Any], *lists: Sequence[Any]) -> tuple[Any, ...]:
    by_edges = where_wanted(ctx, distances_gradient, gradient, (gradient, *lists), ctx.backend)
    none = [None] * len(by_edges)
    return by_edges, none, none, None, None
