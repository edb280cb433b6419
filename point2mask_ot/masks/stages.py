"""The stages of Algorithm 1, each over all images of a batch, in the order in which they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..capacity import Estimate, estimate_capacities, rivals
from ..checks import ArgumentError
from ..geodesic import geodesic_distances, nearest_partition
from ..transport import sinkhorn, solve
from ..types import Diagnostics, PointTargets, PseudoMasks, TransportResult
from ..walks.costs import random_walk_costs, random_walk_partition
from .agreement import with_border_points
from .config import PseudoMaskConfig
from .extent import with_extent
from .inputs import Maps
from .ownership import pseudo_masks
from .scene import Scene, cheapest


def label_images(config: PseudoMaskConfig, maps: Sequence[Maps], targets: Sequence[PointTargets]) -> list[PseudoMasks]:
    """Algorithm 1 from maps and points to pseudo-masks.

    On a GPU the host waits for the device once a centroid round and once before the transport, for a few numbers of
    the whole batch, and where the solver itself waits.

    Args:
        config: the switches.
        maps: of each image; sizes may differ.
        targets: K targets of each, possibly none.

    Returns:
        Pseudo-masks of each image with every intermediate map among their diagnostics.

    Raises:
        ArgumentError: see :class:`~point2mask_ot.PseudoMasker`.
    """
    seconds: dict[str, float] = {}
    share = 1 / len(maps)
    with _clock(seconds, "edges", share):
        scenes = _scenes(config, maps, targets)
    with _clock(seconds, "geodesic", share):
        suppliers = [scene.suppliers for scene in scenes]
        distances = _distances(scenes, [own.points_yx for own in suppliers], [own.target for own in suppliers])
        costs = [scene.with_classes(scene.raster.enlarge(own)) for scene, own in zip(scenes, distances, strict=True)]
        nearest = [cheapest(cost) for cost in costs]
    with _clock(seconds, "capacities", share):
        demand = [scene.demand(label) for scene, label in zip(scenes, nearest, strict=True)]
        estimates = _capacities(config, scenes, costs, nearest, demand)
    with _clock(seconds, "transport", share):
        costs = [scene.scaled(cost, own) for scene, cost, own in zip(scenes, costs, demand, strict=True)]
        problems = zip(costs, estimates, demand, suppliers, strict=True)
        bounded = [with_extent(config, *problem) for problem in problems]
        costs, counts = [cost for cost, _ in bounded], [count for _, count in bounded]
        plans = _transport(config, counts, demand, costs)
    with _clock(seconds, "confidence", share):
        if_border = _if_border_is_background(scenes)
    with _clock(seconds, "masks", share):
        found = [
            Diagnostics(
                suppliers=scene.chosen,
                edges=scene.edges,
                distances=distances[b],
                cost=costs[b],
                nearest=nearest[b],
                demand=demand[b],
                capacities=counts[b],
                counted=estimates[b].counted,
                transport=plans[b],
                seconds=seconds,
                walks=scene.walks,
                no_background=scene.no_background,
            )
            for b, scene in enumerate(scenes)
        ]
        masks = [pseudo_masks(*image) for image in zip(scenes, found, if_border, strict=True)]
    return masks


@contextmanager
def _clock(seconds: dict[str, float], stage: str, share: float) -> Iterator[None]:
    """Wall time of a stage for each image. On a GPU that is the time to launch it: nothing waits for the device."""
    start = time.perf_counter()
    yield
    seconds[stage] = share * (time.perf_counter() - start)


def _scenes(config: PseudoMaskConfig, maps: Sequence[Maps], targets: Sequence[PointTargets]) -> list[Scene]:
    scenes = []
    for index, image in enumerate(zip(maps, targets, strict=True)):
        try:
            scenes.append(Scene.of(config, *image))
        except ArgumentError as error:
            if len(maps) > 1:
                error.args = (f"{error} (image {index} of the batch)",)
            raise
    return scenes


def _distances(
    scenes: Sequence[Scene], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """(S, h, w) cost for each image, from points given in pixels of the picture."""
    config = scenes[0].config
    cells = [scene.raster.cells(points) for scene, points in zip(scenes, points_yx, strict=True)]
    return _search(
        scenes,
        cells,
        target,
        walk=lambda *images: random_walk_costs(*images, spacing_cost=config.spacing_cost),
        path=lambda *images: geodesic_distances(*images, backend=config.backend),
    )


def _capacities(
    config: PseudoMaskConfig,
    scenes: Sequence[Scene],
    costs: Sequence[torch.Tensor],
    nearest: Sequence[torch.Tensor],
    demand: Sequence[torch.Tensor],
) -> list[Estimate]:
    """How many pixels each supplier of each image should own (Eq. 4)."""
    return estimate_capacities(
        lambda chosen, *points: _regions([scenes[b] for b in chosen], *points),
        [scene.suppliers for scene in scenes],
        demand,
        group=lambda b: rivals(costs[b], scenes[b].suppliers.points_yx, scenes[b].suppliers.target),
        first=nearest if config.assign == "cost" else list(map(Scene.assigned, scenes, costs)),
        method=config.capacity,
        iterations=config.centroid_rounds,
        centroid_of=config.centroid_of,
        keep_points=config.keep_points,
    )


def _regions(
    scenes: Sequence[Scene], points_yx: Sequence[np.ndarray], unit: Sequence[np.ndarray], owner: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """(H, W) unit of the points that each pixel falls to for each image, -1 where none can; ``owner`` says whose."""
    config = scenes[0].config
    if config.assign == "likelihood" or config.stride > 1 or config.unary_weight:
        found = zip(scenes, _distances(scenes, points_yx, unit), owner, strict=True)
        return [scene.assigned(scene.with_classes(scene.raster.enlarge(own), whose)) for scene, own, whose in found]
    return _search(  # labels alone, without a cost for each target
        scenes,
        points_yx,
        unit,
        walk=lambda *images: random_walk_partition(*images, spacing_cost=config.spacing_cost),
        path=lambda *images: [part.labels for part in nearest_partition(*images, backend=config.backend)],
    )


def _if_border_is_background(scenes: Sequence[Scene]) -> list[torch.Tensor | None]:
    """(H, W) supplier that each pixel of each image falls to then; one search for all images that it is news for."""
    bordered = [with_border_points(scene) for scene in scenes]
    asked = [(scene, own) for scene, own in zip(scenes, bordered, strict=True) if own is not None]
    if not asked:
        return [None] * len(scenes)
    chosen, suppliers = zip(*asked, strict=True)
    points = ([own.points_yx for own in suppliers], [own.target for own in suppliers])
    found = iter(_regions(chosen, *points, [np.arange(own.num_targets) for own in suppliers]))
    return [None if own is None else next(found) for own in bordered]


def _search(
    scenes: Sequence[Scene],
    points: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    *,
    walk: Callable[..., list[torch.Tensor]],
    path: Callable[..., list[torch.Tensor]],
) -> list[torch.Tensor]:
    """One call of ``walk`` for all images whose costs are those of walks, and one of ``path`` for the others."""
    found: dict[int, torch.Tensor] = {}
    for search, walks in ((path, False), (walk, True)):
        chosen = [b for b, scene in enumerate(scenes) if scene.walks == walks]
        if chosen:
            images = zip(*((scenes[b].edges, points[b], target[b]) for b in chosen), strict=True)
            found.update(zip(chosen, search(*images), strict=True))
    return [found[b] for b in range(len(scenes))]


def _transport(
    config: PseudoMaskConfig,
    counts: Sequence[torch.Tensor],
    demand: Sequence[torch.Tensor],
    costs: Sequence[torch.Tensor],
) -> list[TransportResult | None]:
    """From the capacities to one label for each pixel of demand (Eq. 9-11); None where there is nothing to do."""
    results: list[TransportResult | None] = [None] * len(counts)
    if config.method == "minimum":
        return results
    masses = torch.stack([count.sum() for count in counts]).tolist()
    busy = [b for b, mass in enumerate(masses) if mass > 0]
    if not busy:
        return results
    supply, M = [counts[b] for b in busy], [costs[b].flatten(1) for b in busy]
    wanted = [demand[b].flatten().to(counts[b].dtype) for b in busy]
    for b, result in zip(busy, _solve(config, supply, wanted, M), strict=True):
        results[b] = result
    return results


def _solve(
    config: PseudoMaskConfig, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor]
) -> list[TransportResult]:
    normalize = callable(config.capacity)  # an estimate of the user's own need not sum to the demand
    if config.method == "sinkhorn":
        return sinkhorn(
            a,
            b,
            M,
            config.reg,
            max_iter=config.max_iter or (80 if config.tol is None else 10_000),
            tol=config.tol,
            tau=config.tau,
            marginal_floor=config.marginal_floor,
            normalize=normalize,
        )
    return solve(
        a,
        b,
        M,
        reg=0.0 if config.method == "exact" else config.reg,
        method=config.method,
        tau=config.tau,
        tol=1e-7 if config.tol is None else config.tol,
        max_iter=config.max_iter,
        normalize=normalize,
    )
