"""Costs from random walks instead of shortest paths: how unlikely a walk from a pixel first meets a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..arrays import to_device
from ..checks import check_integer, check_number
from ..geodesic import geodesic_distances, nearest_partition
from ..geodesic.arguments import PointedGraph, as_call, checked_images
from . import portable
from .parts import find_parts
from .solvers import host_solver, most_probable
from .walk import Walk

LEAST_SPACING_COST = 1e-6
"""Far smaller ones round to zero in single precision."""


def random_walk_costs(
    edges: Any, points_yx: Any, target: Any = None, *, spacing_cost: float = 0.3, cycles: int = 2
) -> Any:
    """Minus the logarithm of the probability that a random walk from each pixel meets a target's points first.

    The walk steps to the 4 neighbours, with probabilities in proportion to 1 / cost of the edge: an edge's cost is its
    electrical resistance. Unlike the cheapest path, which one gap in a boundary lets through, a walk counts all ways at
    once: it rarely finds a gap or passes a narrow neck (Grady, Random walks for image segmentation, PAMI 2006). The
    cheapest target of a pixel is the random walker's label; and for entropic transport with ``reg=1`` the plan is the
    walk's probability, reweighted to the capacities.

    Args:
        edges: (4, H, W), (B, 4, H, W) or a list, as for :func:`geodesic_distances`; the two diagonals are not used.
        points_yx, target: as for :func:`geodesic_distances`.
        spacing_cost: what is added to the edges along a straight way as long as the typical distance between
            points, the root of the pixels per target; at least 1e-6. The larger, the less the picture counts. In these
            units the result does not depend on the resolution.
        cycles: of multigrid on each grid. On photographs one leaves a mean error of a few ten-thousandths of a
            probability (0.0001 to 0.0014, also where edges were squared), and each further one about a fifth of
            that. Where a wall surrounds a part, or neighbouring edges differ by a factor of hundreds, two leave 0.001
            to 0.01; where they differ at random by many orders of magnitude it takes tens of cycles.

    Returns:
        (K, H, W) costs >= 0, 0 at the target's points (log n where n targets share a pixel); +inf where no walk leads
        from the pixel to the target. At most 13.9 elsewhere: smaller probabilities than 1e-6 are lost in single
        precision. For a batch or a list a list of such arrays. Deterministic; no gradient flows.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`; a ``spacing_cost`` below 1e-6.

    Example:
        >>> import numpy as np
        >>> edges = np.zeros((4, 1, 5), np.float32)
        >>> probability = np.exp(-random_walk_costs(edges, [(0, 0), (0, 4)]))
        >>> (100 * probability[:, 0]).round().astype(int).tolist()
        [[100, 75, 50, 25, 0], [0, 25, 50, 75, 100]]
    """
    name = "random_walk_costs"
    spacing_cost = check_number(name, "spacing_cost", spacing_cost, minimum=LEAST_SPACING_COST)
    cycles = check_integer(name, "cycles", cycles, minimum=1)
    call = as_call(name, edges, points_yx, target).detached()
    images = checked_images(name, *call.operands) if call.images else []
    results = [call.restore(_costs(image, spacing_cost, cycles)) for image in images]
    return results[0] if call.is_single else results


def random_walk_partition(
    edges: Sequence[Tensor], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray], *, spacing_cost: float
) -> list[Tensor]:
    """(H, W) int64 target whose points a walk most probably meets first, for each image; -1 where it meets none."""
    call = as_call("random_walk_partition", list(edges), list(points_yx), list(target)).detached()
    images = checked_images("random_walk_partition", *call.operands) if call.images else []
    return [_labels(image, spacing_cost) for image in images]


def _costs(image: PointedGraph, spacing_cost: float, cycles: int) -> Tensor:
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


def _labels(image: PointedGraph, spacing_cost: float) -> Tensor:
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


def _step(image: PointedGraph, reached: Tensor | int, spacing_cost: float) -> Tensor:
    """0-d, what is added to the edges where so many pixels are reached."""
    pixels = torch.as_tensor(reached, device=image.edges.device).clamp(min=1)
    return spacing_cost * (image.num_targets / pixels.to(image.edges.dtype)).sqrt()


def _walk_costs(walk: Walk, cycles: int, unlikeliness: Callable[[Walk, int], Tensor]) -> Tensor:
    """(K, H, W) minus the logarithm of the probability, +inf where no walk arrives."""
    if walk.count == 1:  # whom else could a walk meet
        return walk.edges.new_zeros(1, *walk.reached.shape).masked_fill_(~walk.reached, torch.inf)
    return unlikeliness(walk, cycles).log_()


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
