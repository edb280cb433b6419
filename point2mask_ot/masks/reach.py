"""Reach: how far from its points a target of known size can own pixels at all."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..arrays import to_device
from ..types import PointTargets

SLACK = 3.0
"""Pixels that are added to the reach: a small target's point may lie in its corner."""


def limit_reach(
    cost: torch.Tensor, capacities: torch.Tensor, demand: torch.Tensor, targets: PointTargets, reach: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Costs that are infinite beyond some radii of each hinted thing's points, and capacities that then can be met.

    The radius is that of a disc of as many pixels as the target should own. Nothing is limited unless there is stuff
    without a hint, which takes what is out of everyone's reach.

    Args:
        cost: (K, H, W).
        capacities: (K,) float64 pixels.
        demand: (H, W) what each pixel asks for.
        targets: K of them, at the pixels of the costs.
        reach: radii.

    Returns:
        (K, H, W) and (K,); the arguments themselves where nothing is limited.
    """
    limited = np.isfinite(targets.size) & targets.is_thing
    takes_rest = ~np.isfinite(targets.size) & ~targets.is_thing
    if not (limited.any() and takes_rest.any()):
        return cost, capacities
    within = _within_reach(cost, capacities, targets, np.flatnonzero(limited), reach)
    cost = cost.clone()
    chosen = to_device(np.flatnonzero(limited), cost.device)
    cost[chosen] = torch.where(within, cost[chosen], torch.inf)
    # If those who reach a pixel share it evenly, each gets this much: less than that they can all have at once.
    share = torch.where(demand > 0, demand.double(), 0) / within.sum(0).clamp(min=1)
    reachable = (within & torch.isfinite(cost[chosen])).flatten(1).double() @ share.flatten()
    cut = capacities.index_put((chosen,), torch.minimum(capacities[chosen], reachable))
    rest = to_device(takes_rest, cost.device)
    background = torch.where(rest, capacities, 0)
    return cost, torch.where(rest, background * (1 + (capacities.sum() - cut.sum()) / background.sum()), cut)


def _within_reach(
    cost: torch.Tensor, capacities: torch.Tensor, targets: PointTargets, chosen: np.ndarray, reach: float
) -> torch.Tensor:
    """(len(chosen), H, W) bool."""
    height, width = cost.shape[1:]
    y, x = (torch.arange(side, device=cost.device, dtype=torch.float64) for side in (height, width))
    planes = []
    for k in chosen.tolist():
        limit = (reach * (capacities[k] / math.pi).sqrt() + SLACK) ** 2
        near = [
            (y[:, None] - row) ** 2 + (x - column) ** 2 <= limit
            for row, column in targets.points_yx[targets.target == k].tolist()
        ]
        planes.append(torch.stack(near).any(0) if len(near) > 1 else near[0])
    return torch.stack(planes)
