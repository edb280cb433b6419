"""How sure each mask is: what is left of it when something is otherwise that well might be.

The plan tells how clear-cut the choice was under the costs as they are, not whether it is right. A mask that is right
holds when prices sway, when its outline is smoothed, and when the picture's border is background. That takes no new
costs, but one search for labels alone where there is a background. Nothing here makes a GPU wait.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from ..arrays import to_device
from ..graph.grid import FORWARD_OFFSETS, pair_slices
from ..graph.regions import areas, contenders, weights
from ..nearest import NearestCosts
from ..types import Diagnostics, PointTargets
from .border import with_border
from .scene import Scene

SWAY = 3.0
"""By how much a price may be off, times ``reg``: the plan shares a pixel 20 to 1 between two that differ by that."""


def with_border_points(scene: Scene) -> PointTargets | None:
    """The suppliers if the picture's border were background, see :mod:`.border`; None where that says nothing new."""
    own = scene.suppliers
    if scene.config.stuff != "supply" or scene.config.border == "background" or own.is_thing.all():
        return None
    return with_border(own, scene.pixels, scene.raster.height, scene.raster.width)[0]


def agreement(found: Diagnostics, owner: torch.Tensor, if_border: torch.Tensor | None, sway: float) -> torch.Tensor:
    """(S,) float64 in [0, 1]: how far the region of each supplier is the same under other assumptions.

    Args:
        found: the maps up to the transport's result.
        owner: (H, W) supplier that owns each pixel, -1 where none may.
        if_border: (H, W) supplier of each pixel if the picture's border were background; None where nobody asked.
        sway: by how much prices may be off.
    """
    if not len(found.suppliers):
        return torch.zeros(0, dtype=torch.float64, device=owner.device)
    demand, edges = cast(torch.Tensor, found.demand), cast(torch.Tensor, found.edges)
    inside, count = torch.where(demand, owner, -1), len(found.suppliers)
    agreed = _firmness(found, sway)
    if edges.shape[1:] == inside.shape:  # outlines on a coarse grid are those of its cells
        agreed = agreed * _smoothness(inside, edges, count)
    if if_border is not None:
        agreed = agreed * _ious(inside, torch.where(demand, if_border, -1), count)
    return agreed


def part_known(owner: torch.Tensor, chance: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) float64 mean over each region of the chance that a pixel is its supplier's, 1 where that is no guess."""
    return weights(owner, chance, count) / areas(owner, count).clamp(min=1)


def of_targets(scene: Scene, agreed: torch.Tensor, instance: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """(K,) float32 from those of the suppliers; stuff that its class decides is as sure as its pixels are."""
    pixels = areas(instance, scene.targets.num_targets)
    sure = agreed.new_zeros(len(pixels)).index_copy(0, to_device(scene.chosen, agreed.device), agreed)
    for k in np.setdiff1d(np.arange(len(pixels)), scene.chosen).tolist():
        total = torch.where(instance == k, confidence, 0).sum(dtype=torch.float64)
        sure[k] = total / pixels[k].clamp(min=1)
    return torch.where(pixels > 0, sure, 0).to(torch.float32)


def _firmness(found: Diagnostics, sway: float) -> torch.Tensor:
    """(S,) float64: what a supplier keeps if all outbid him by ``sway``, over what he gets if he outbids them."""
    nearest, demand, plan = cast(torch.Tensor, found.nearest), cast(torch.Tensor, found.demand), found.transport
    if isinstance(found.costs, NearestCosts):
        prices = np.zeros(len(found.suppliers)) if plan is None else cast(torch.Tensor, plan.f).numpy()
        wanted, kept = found.costs.firmness(prices, sway, demand.flatten().numpy())
        return _ratio(torch.from_numpy(kept), torch.from_numpy(wanted))
    cost = cast(torch.Tensor, found.costs)
    price, labels = cost.new_zeros(len(cost)), nearest
    if plan is not None:
        price, labels = cast(torch.Tensor, plan.f).to(cost.dtype), cast(torch.Tensor, plan.labels).view(nearest.shape)
    return _ratio(*reversed(contenders(cost, price, sway, labels, demand)))


def _smoothness(labels: torch.Tensor, edges: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) float64: the part of each region that its pixels' neighbours in other regions do not outvote.

    Nobody votes across a wall, or where he is in no region.
    """
    owned, votes = labels >= 0, torch.ones_like(labels, dtype=torch.int8)
    for (here, there), cost in zip(map(pair_slices, FORWARD_OFFSETS), edges, strict=True):
        meets = owned[here] & owned[there] & (cost[here] < torch.inf)
        vote = (2 * (labels[here] == labels[there]).to(torch.int8) - 1) * meets
        votes[here] += vote
        votes[there] += vote
    return _ratio(areas(torch.where(votes > 0, labels, -1), count), areas(labels, count))


def _ious(a: torch.Tensor, b: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) float64 intersection over union of the regions of each label; -1 is nobody's."""
    both = areas(torch.where(a == b, a, -1), count)
    return _ratio(both, areas(a, count) + areas(b, count) - both)


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return part.double() / whole.clamp(min=1)
