"""Algorithm 1 up to the transport with a map of costs for each supplier: a batch of images, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..capacity import Estimate, estimate_capacities, rivals
from ..types import Diagnostics
from .assignment import transport
from .clock import Clock
from .config import PseudoMaskConfig
from .extent import with_extent
from .partition import distances, regions
from .scene import Scene, cheapest


def maps_of_all(config: PseudoMaskConfig, scenes: Sequence[Scene], clock: Clock) -> list[Diagnostics]:
    """Every map up to the transport's result, of each image.

    Args:
        config: the switches.
        scenes: the images; sizes may differ.
        clock: of the whole batch.
    """
    if not scenes:
        return []
    with clock("geodesic"):
        suppliers = [scene.suppliers for scene in scenes]
        raw = distances(scenes, [own.points_yx for own in suppliers], [own.target for own in suppliers])
        costs = [scene.with_classes(scene.raster.enlarge(own)) for scene, own in zip(scenes, raw, strict=True)]
        nearest = [cheapest(cost) for cost in costs]
    with clock("capacities"):
        demand = [scene.demand(label) for scene, label in zip(scenes, nearest, strict=True)]
        estimates = _capacities(config, scenes, costs, nearest, demand)
    with clock("transport"):
        costs = [scene.scaled(cost, own) for scene, cost, own in zip(scenes, costs, demand, strict=True)]
        problems = zip(costs, estimates, demand, suppliers, strict=True)
        bounded = [with_extent(config, *problem) for problem in problems]
        costs, counts = [cost for cost, _ in bounded], [count for _, count in bounded]
        plans = transport(config, counts, demand, [cost.flatten(1) for cost in costs])
    return [
        Diagnostics(
            suppliers=scene.chosen,
            edges=scene.edges,
            raw_distances=raw[b],
            costs=costs[b],
            nearest=nearest[b],
            demand=demand[b],
            capacities=counts[b],
            counted=estimates[b].counted,
            transport=plans[b],
            seconds=clock.seconds,
            walks=scene.walks,
            no_background=scene.no_background,
        )
        for b, scene in enumerate(scenes)
    ]


def _capacities(
    config: PseudoMaskConfig,
    scenes: Sequence[Scene],
    costs: Sequence[torch.Tensor],
    nearest: Sequence[torch.Tensor],
    demand: Sequence[torch.Tensor],
) -> list[Estimate]:
    """How many pixels each supplier of each image should own (Eq. 4)."""
    return estimate_capacities(
        lambda chosen, *points: regions([scenes[b] for b in chosen], *points),
        [scene.suppliers for scene in scenes],
        demand,
        group=lambda b: rivals(costs[b], scenes[b].suppliers.points_yx, scenes[b].suppliers.target),
        first=nearest if config.assign == "cost" else list(map(Scene.assigned, scenes, costs)),
        method=config.capacity,
        iterations=config.centroid_rounds,
        centroid_of=config.centroid_of,
        keep_points=config.keep_points,
    )
