"""The walks of one picture: what they cost, whom they meet first, and gradients, part by part where it has walls."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..arrays import to_device
from ..geodesic import geodesic_distances, nearest_partition
from ..geodesic.arguments import PointedGraph
from . import portable
from .parts import find_parts
from .solvers import host_solver, most_probable
from .walk import Walk


def picture_costs(image: PointedGraph, spacing_cost: float, cycles: int) -> Tensor:
    """(K, H, W) costs, part by part where a look at the edges makes nobody wait."""
    if not checks.values_at_hand(image.edges):
        reached = cast(Tensor, geodesic_distances(_straight(image), image.pixels, image.target)) < torch.inf
        step = _step(image, reached.any(0).sum(), spacing_cost)
        walk = Walk(image, reached.any(0), step)
        return _walk_costs(walk, cycles, portable.unlikeliness).masked_fill_(~reached, torch.inf)
    parts = find_parts(image)
    step = _step(image, sum(part.pixels.sum() for part in parts), spacing_cost)
    if len(parts) == 1 and parts[0].is_as_large_as(image):
        return _walk_costs(Walk(image, parts[0].pixels, step), cycles, _unlikeliness)
    cost = image.edges.new_full((image.num_targets, *image.edges.shape[1:]), torch.inf)
    for part in parts:
        own = _walk_costs(Walk(part.cut(image), part.pixels, step), cycles, _unlikeliness)
        for k, values in zip(part.targets.tolist(), own, strict=True):  # boxes may overlap, parts do not
            there = cost[k, *part.box]
            torch.minimum(there, values.to(there.dtype), out=there)
    return cost


def picture_labels(image: PointedGraph, spacing_cost: float) -> Tensor:
    """(H, W) most probable targets, likewise."""
    if not checks.values_at_hand(image.edges):
        reached = cast(Tensor, nearest_partition(_straight(image), image.pixels, image.target).labels) >= 0
        walk = Walk(image, reached, _step(image, reached.sum(), spacing_cost))
        return _walk_labels(walk, portable.most_probable)
    parts = find_parts(image)
    step = _step(image, sum(part.pixels.sum() for part in parts), spacing_cost)
    if len(parts) == 1 and parts[0].is_as_large_as(image):
        return _walk_labels(Walk(image, parts[0].pixels, step), _most_probable_of_blocks)
    label = image.edges.new_full(image.edges.shape[1:], -1, dtype=torch.int64)
    for part in parts:
        own = _walk_labels(Walk(part.cut(image), part.pixels, step), _most_probable_of_blocks)
        label[part.box] = torch.where(part.pixels, torch.from_numpy(part.targets)[own.clamp(min=0)], label[part.box])
    return label


def picture_gradient(image: PointedGraph, cost: Tensor, gradient: Tensor, spacing_cost: float, cycles: int) -> Tensor:
    """(4, H, W) gradient by the edges of what has the (K, H, W) ``gradient`` by the costs that were found."""
    reached = cost < torch.inf
    step = _step(image, reached.any(0).sum(), spacing_cost)
    if not checks.values_at_hand(image.edges):
        return _walk_gradient(Walk(image, reached.any(0), step), cost, gradient, cycles, portable.edge_flows)
    parts = find_parts(image)
    if len(parts) == 1 and parts[0].is_as_large_as(image):
        return _walk_gradient(Walk(image, parts[0].pixels, step), cost, gradient, cycles, _edge_flows)
    total = image.edges.new_zeros(image.edges.shape)
    for part in parts:
        walk = Walk(part.cut(image), part.pixels, step)
        found, by_it = (maps[part.targets][:, *part.box] for maps in (cost, gradient))
        total[:, *part.box] += _walk_gradient(walk, found, by_it, cycles, _edge_flows)
    return total


def _step(image: PointedGraph, reached: Tensor | int, spacing_cost: float) -> Tensor:
    """0-d, what is added to the edges where so many pixels are reached."""
    pixels = torch.as_tensor(reached, device=image.edges.device).clamp(min=1)
    return spacing_cost * (image.num_targets / pixels.to(image.edges.dtype)).sqrt()


def _walk_costs(walk: Walk, cycles: int, unlikeliness: Callable[[Walk, int], Tensor]) -> Tensor:
    """(K, H, W) minus the logarithm of the probability, +inf where no walk arrives."""
    if walk.count == 1:  # whom else could a walk meet
        return walk.edges.new_zeros(1, *walk.reached.shape).masked_fill_(~walk.reached, torch.inf)
    return unlikeliness(walk, cycles).log_()


def _walk_gradient(
    walk: Walk, cost: Tensor, gradient: Tensor, cycles: int, edge_flows: Callable[[Walk, Tensor, Tensor, int], Tensor]
) -> Tensor:
    """(4, H, W) gradient by the edges, likewise; 0 where their conductance does not depend on their cost."""
    total = walk.edges.new_zeros(walk.edges.shape)  # in rows, however the edges lie
    if walk.count > 1:
        slope = portable.conductance_slope(walk.edges[::2], walk.step)  # to the right and downwards
        total[::2] = torch.where(slope != 0, -slope * edge_flows(walk, cost, gradient, cycles), 0)
    return total


def _walk_labels(walk: Walk, most_probable: Callable[[Walk], Tensor]) -> Tensor:
    """(H, W) most probable target, the first of equals."""
    if walk.count == 1:
        return walk.reached.long() - 1
    labels = torch.where(walk.reached, most_probable(walk), -1)
    seeds, first = np.unique(walk.seeds[:, 0] * labels.shape[1] + walk.seeds[:, 1], return_index=True)
    own = (to_device(each, labels.device) for each in (seeds, walk.target[first]))
    labels.view(-1).index_copy_(0, *own)  # blocks may hold several points, or nothing else
    return labels


def _unlikeliness(walk: Walk, cycles: int) -> Tensor:
    """(K, H, W) 1 / probabilities by whatever solves this walk best on the host."""
    return host_solver(walk).unlikeliness(walk, cycles)  # type: ignore[no-any-return]


def _most_probable_of_blocks(walk: Walk) -> Tensor:
    """(H, W) most probable target on a grid that is as fine as regions need."""
    height, width = walk.reached.shape
    coarse, side, limit = walk, 1, walk.largest_block()
    while 2 * side <= limit:
        coarse, side = coarse.halved(), 2 * side
    labels = most_probable(coarse)
    if side > 1:
        labels = labels.repeat_interleave(side, 0)[:height].repeat_interleave(side, 1)[:, :width]
    return labels


def _straight(image: PointedGraph) -> Tensor:
    """Edges without the diagonals, which walks do not use."""
    straight = image.edges.clone()
    straight[1] = straight[3] = torch.inf
    return straight


def _edge_flows(walk: Walk, cost: Tensor, gradient: Tensor, cycles: int) -> Tensor:
    """(2, H, W) what conductances do, likewise."""
    return host_solver(walk).edge_flows(walk, cost, gradient, cycles)  # type: ignore[no-any-return]
