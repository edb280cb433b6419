"""From the plan to the pseudo-masks of one image: who owns each pixel, and what follows from that.

Nothing here makes a GPU wait, but for the boxes of components, which are found on the host.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from ..arrays import to_device
from ..geodesic import nearest_partition
from ..graph.regions import look_up
from ..nearest import NearestCosts
from ..types import Diagnostics, PseudoMasks, TransportResult
from .agreement import SWAY, agreement, of_targets, part_known
from .boxes import components_with_points, region_boxes, replace_empty
from .scene import Scene


def pseudo_masks(scene: Scene, found: Diagnostics, if_border: torch.Tensor | None = None) -> PseudoMasks:
    """The masks of one image, whose maps up to the transport's result have been ``found``.

    ``if_border`` (H, W) is the supplier of each pixel if the picture's border were background, None where nobody asked.
    """
    nearest, demand = cast(torch.Tensor, found.nearest), cast(torch.Tensor, found.demand)
    plan = found.transport
    supplier = nearest if plan is None else cast(torch.Tensor, plan.labels).view(nearest.shape)
    owner, share = _owners(scene, supplier, found.costs, demand, plan)
    agreed = agreement(found, owner, if_border, SWAY * scene.config.reg)
    if scene.config.within_class:
        near, chance = _islands(scene)
        cut_off = owner < 0
        owner, share = torch.where(cut_off, near, owner), torch.where(cut_off, chance, share)
        agreed = agreed * part_known(owner, torch.where(cut_off, chance, 1), len(agreed))
    instance, semantic, void, confidence = _panoptic_map(scene, owner, share)
    sure = of_targets(scene, agreed, instance, confidence)
    return PseudoMasks(instance, _boxes(scene, instance), semantic, void, confidence, sure, found)


def _owners(
    scene: Scene,
    supplier: torch.Tensor,
    costs: torch.Tensor | NearestCosts,
    demand: torch.Tensor,
    transport: TransportResult | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) the supplier that owns each pixel, -1 where none may, and float32 the share of the pixel that the
    plan gives to it; 1 where the plan is not entropic, and at claimed points."""
    if not len(scene.chosen):
        return torch.where(demand, supplier, -1), torch.zeros_like(supplier, dtype=torch.float32)
    known = supplier.clamp(min=0)
    least = cost_of(costs, known)
    # An estimate of the user's own may send a supplier where no path leads.
    able = demand & (least < torch.inf)
    if scene.classes is not None and scene.config.stuff == "exclude":
        able = able & scene.classes.of_a_thing
    owner = torch.where(able, supplier, -1)
    claimed, claimants = (to_device(each, owner.device) for each in _claims(scene))
    owner.view(-1).index_copy_(0, claimed, claimants)
    owned = owner >= 0
    if transport is None or scene.config.method == "exact":
        return owner, owned.to(torch.float32)
    f, g = cast(torch.Tensor, transport.f), cast(torch.Tensor, transport.g)
    price = f.index_select(0, known.flatten()) + g
    exponent = (price.view(owner.shape) - least) / scene.config.reg
    share = torch.where(owned, exponent.exp().clamp(max=1), 0).to(torch.float32)
    share.view(-1).index_fill_(0, claimed, 1)
    return owner, share


def cost_of(costs: torch.Tensor | NearestCosts, supplier: torch.Tensor) -> torch.Tensor:
    """(H, W) cost of each pixel to one supplier, +inf where that pair is left out."""
    if isinstance(costs, torch.Tensor):
        return costs.gather(0, supplier[None])[0]
    return torch.from_numpy(costs.supplier_cost(supplier.flatten().numpy())).view(supplier.shape)


def _claims(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the pixels where the first target with a point is a supplier's, and that supplier."""
    places, target = scene.pixels @ (scene.raster.width, 1), scene.targets.target
    order = np.lexsort((target, places))
    pixels, first = np.unique(places[order], return_index=True)
    claimants = target[order[first]]
    owns = np.isin(claimants, scene.chosen) & scene.config.claim_points
    return pixels[owns], np.searchsorted(scene.chosen, claimants[owns])


def _islands(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) supplier of each pixel's class that is nearest by paths that may leave the class, -1 for none, and
    float32 how much of the choice that leaves: one over the suppliers of the class."""
    assert scene.classes is not None
    owner = torch.full_like(scene.classes.category, -1)
    share = torch.zeros_like(owner, dtype=torch.float32)
    for category in np.unique(scene.suppliers.category):
        own = np.flatnonzero(scene.suppliers.category == category)
        points = scene.suppliers.select(own)
        labels = nearest_partition(scene.open_edges, points.points_yx, points.target).labels
        here = scene.classes.category == int(category)
        owner = torch.where(here, look_up(own, cast(torch.Tensor, labels), nobody=-1), owner)
        share.masked_fill_(here, 1 / len(own))
    return owner, share


def _panoptic_map(scene: Scene, owner: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """(instance, semantic, void, confidence), each (H, W), from the supplier that owns each pixel."""
    targets, classes, outside = scene.targets, scene.classes, owner < 0
    everyone = len(scene.chosen) == targets.num_targets
    instance = owner if everyone else look_up(scene.chosen, owner, nobody=-1)
    category = look_up(targets.category, instance)
    if classes is None:
        return instance, category, outside, share
    category = torch.where(outside, classes.category, category)
    # A pixel of a thing's class that nobody owns lies beyond a wall: void, like undecided stuff.
    void = outside & ((classes.certainty < scene.config.min_probability) | classes.of_a_thing)
    confidence = torch.where(outside, classes.certainty.to(torch.float32).clamp(0, 1), share)
    if scene.config.stuff == "exclude":
        for k in np.flatnonzero(~targets.is_thing)[::-1].tolist():  # the first target of a category prevails
            instance = torch.where(outside & ~void & (category == int(targets.category[k])), k, instance)
    return instance, category, void, torch.where(void, 0, confidence)


def _boxes(scene: Scene, instance: torch.Tensor) -> torch.Tensor:
    """(K, 4) boxes of the masks, by the configured rules."""
    if scene.config.box_from == "component":
        instance = components_with_points(instance, scene.pixels, scene.targets.target)
    boxes, size = region_boxes(instance, scene.targets.num_targets), (scene.raster.height, scene.raster.width)
    return replace_empty(boxes, scene.config.empty_box, scene.pixels, scene.targets.target, size)
