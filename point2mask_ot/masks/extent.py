"""How far from its points a thing of known size can be expected to own pixels, and where it cannot own any."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..arrays import to_device
from ..capacity import Estimate
from ..types import PointTargets
from .config import PseudoMaskConfig

SLACK = 3.0
"""Pixels that are added to a radius: a small target's point may lie in its corner."""


def with_extent(
    config: PseudoMaskConfig, cost: torch.Tensor, estimate: Estimate, demand: torch.Tensor, targets: PointTargets
) -> tuple[torch.Tensor, torch.Tensor]:
    """Costs and capacities once far pixels are dearer (``compactness``) or out of ``reach``.

    Both count in radii of a disc of as many pixels as the target should own. They touch things whose size was told,
    where there is stuff without a size, which takes what others do not.

    Args:
        config: ``compactness`` and ``reach`` matter.
        cost: (K, H, W).
        estimate: of the K capacities.
        demand: (H, W) what each pixel asks for.
        targets: K of them, at the pixels of the costs.

    Returns:
        (K, H, W) and (K,) capacities that the costs allow; those that came in where there is nothing to do.
    """
    chosen, takes_rest = _things_of_known_size(targets), targets.takes_rest
    if not chosen.size or not (config.compactness or config.reach):
        return cost, estimate.capacities
    things = to_device(chosen, cost.device)
    radius = _radius(estimate, things).to(cost.dtype)[:, None, None]
    far = _squared_distances(cost, targets, chosen)
    cost = cost.index_add(0, things, far * (config.compactness * estimate.doubt**2 / radius**2).to(cost.dtype))
    if config.reach is None:
        return cost, estimate.capacities
    return _cut_off(cost, far <= (config.reach * (radius - SLACK) + SLACK) ** 2, estimate, demand, things, takes_rest)


def compactness_weights(config: PseudoMaskConfig, estimate: Estimate, targets: PointTargets) -> np.ndarray:
    """(K,) float32: what the squared distance from a target's points is multiplied by; 0 where it does not count."""
    chosen, weights = _things_of_known_size(targets), np.zeros(targets.num_targets, np.float32)
    if chosen.size and config.compactness:
        radius = _radius(estimate, torch.from_numpy(chosen)).to(torch.float32)
        weights[chosen] = (config.compactness * estimate.doubt**2 / radius**2).to(torch.float32).numpy()
    return weights


def _things_of_known_size(targets: PointTargets) -> np.ndarray:
    """Indices; none where nobody takes what they leave."""
    chosen = np.flatnonzero(np.isfinite(targets.size) & targets.is_thing)
    return chosen if targets.takes_rest.any() else chosen[:0]


def _radius(estimate: Estimate, things: torch.Tensor) -> torch.Tensor:
    """(T,) of discs of as many pixels as things should own, and some slack."""
    return (estimate.capacities[things] / math.pi).sqrt() + SLACK


def _squared_distances(cost: torch.Tensor, targets: PointTargets, chosen: np.ndarray) -> torch.Tensor:
    """(len(chosen), H, W) squared Euclidean distance to the nearest point of each target."""
    y, x = (torch.arange(side, device=cost.device, dtype=cost.dtype) for side in cost.shape[1:])
    planes = []
    for k in chosen.tolist():
        plane: torch.Tensor | None = None
        for row, column in targets.points_yx[targets.target == k].tolist():
            own = ((y - row) ** 2)[:, None] + (x - column) ** 2
            plane = own if plane is None else torch.minimum(plane, own)
        assert plane is not None  # every target has a point
        planes.append(plane)
    return torch.stack(planes)


def _cut_off(
    cost: torch.Tensor,
    within: torch.Tensor,
    estimate: Estimate,
    demand: torch.Tensor,
    things: torch.Tensor,
    takes_rest: np.ndarray,
) -> tuple[torch.Tensor, torch.Tensor]:
    """No pixel beyond the reach of the things, and capacities that can be met within it."""
    within = within & torch.isfinite(cost[things])
    cost = cost.index_copy(0, things, torch.where(within, cost[things], torch.inf))
    # If those who reach a pixel share it evenly, each gets this much: no more than that they can all have at once.
    share = torch.where(demand > 0, demand.double(), 0) / within.sum(0).clamp(min=1)
    most = within.flatten(1).double() @ share.flatten()
    capacities = estimate.capacities
    cut = capacities.index_copy(0, things, torch.minimum(capacities[things], most))
    rest = torch.where(to_device(takes_rest, cost.device), capacities, 0)
    return cost, torch.where(rest > 0, rest * (1 + (capacities - cut).sum() / rest.sum()), cut)
