"""Costs from random walks instead of shortest paths: how unlikely a walk from a pixel first meets a target."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ._multigrid import Grid, hierarchy, solve
from .arrays import to_device
from .checks import check_integer, check_number
from .geodesic import nearest_partition
from .geodesic._distances import as_call
from .geodesic._operators import Image, checked_images

LEAST_PROBABILITY = 1e-6
"""What single precision cannot tell from zero; its cost is about 14."""


def random_walk_costs(
    edges: Any, points_yx: Any, target: Any = None, *, spacing_cost: float = 0.3, iterations: int = 8
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
            points, the root of the pixels per target; positive. The larger, the less the picture counts. In these
            units the result does not depend on the resolution.
        iterations: of multigrid-preconditioned conjugate gradients on each grid; each costs about as much as 40
            passes over the result. 8 leave an error of a few thousandths of a probability.

    Returns:
        (K, H, W) costs >= 0, 0 at the target's points; +inf where no walk leads from the pixel to any target. At
        most 13.9 elsewhere: smaller probabilities than 1e-6 are lost in single precision. For a batch or a list a
        list of such arrays. Deterministic; no gradient flows.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`; a ``spacing_cost`` that is not positive.

    Example:
        >>> import numpy as np
        >>> edges = np.zeros((4, 1, 5), np.float32)
        >>> probability = np.exp(-random_walk_costs(edges, [(0, 0), (0, 4)]))
        >>> (100 * probability[:, 0]).round().astype(int).tolist()
        [[100, 75, 50, 25, 0], [0, 25, 50, 75, 100]]
    """
    name = "random_walk_costs"
    spacing_cost = check_number(name, "spacing_cost", spacing_cost, above=0.0)
    iterations = check_integer(name, "iterations", iterations, minimum=1)
    call = as_call(name, edges, points_yx, target)
    images = checked_images(name, *call.operands) if call.images else []
    results = [call.restore(_image_costs(image, spacing_cost, iterations)) for image in images]
    return results[0] if call.is_single else results


def _image_costs(image: Image, spacing_cost: float, iterations: int) -> Tensor:
    edges, count = image.edges, image.num_targets
    height, width = edges.shape[-2:]
    right, down = edges[0, :, :-1], edges[2, :-1]
    if not count:
        return edges.new_empty(0, height, width)
    # Walks that never end would disturb the coarser grids, where a block may lie on both sides of a wall.
    reached = _reached(image)
    step = spacing_cost * (count / reached.sum().clamp(min=1)).sqrt().to(edges.dtype)
    right = torch.where(torch.isfinite(right) & reached[:, :-1], step / (right + step), 0)
    down = torch.where(torch.isfinite(down) & reached[:-1], step / (down + step), 0)
    pixels = image.pixels[:, 0] * width + image.pixels[:, 1]
    seeds = edges.new_zeros(count, height * width)
    seeds[to_device(image.target, edges.device), to_device(pixels, edges.device)] = 1
    seeds = (seeds / seeds.sum(0).clamp(min=1)).view(count, height, width)
    free = seeds.sum(0) == 0
    probability = _first_met(right, down, seeds, free, iterations)
    cost = (1 / probability.clamp(LEAST_PROBABILITY, 1)).log()
    return torch.where(reached, cost, torch.inf)


def _first_met(right: Tensor, down: Tensor, seeds: Tensor, free: Tensor, iterations: int) -> Tensor:
    """(K, H, W) probabilities; each is harmonic at free pixels, and 0 or 1 at the seeds."""
    whole = Grid(right, down, torch.zeros_like(seeds[0]))
    inner_right = right * (free[:, :-1] & free[:, 1:])
    inner_down = down * (free[:-1] & free[1:])
    ground = torch.where(free, whole.diagonal - Grid(inner_right, inner_down, whole.ground).diagonal, 0).clamp(min=0)
    grids = hierarchy(Grid(inner_right, inner_down, ground))
    inflow = torch.where(free, -whole.times(seeds), 0)
    return seeds + solve(grids, inflow, iterations)


def _reached(image: Image) -> Tensor:
    """(H, W) bool: pixels from which a walk leads to some point."""
    straight = image.edges.clone()
    straight[1] = straight[3] = torch.inf
    labels = nearest_partition(straight, image.pixels, np.zeros(len(image.pixels), np.int64)).labels
    return cast(Tensor, labels) >= 0
