"""The stages of Algorithm 1, each over all images of a batch, in the order in which they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch

from ..capacity import estimate_capacities
from ..checks import ArgumentError
from ..geodesic import geodesic_distances, nearest_partition
from ..transport import sinkhorn, solve
from ..types import Diagnostics, PointTargets, PseudoMasks, TransportResult
from ..walks.costs import random_walk_costs, random_walk_partition
from .config import PseudoMaskConfig
from .image import Image, Maps, cheapest


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
        images = _images(config, maps, targets)
    with _clock(seconds, "geodesic", share):
        distances = _distances(
            images, [image.suppliers.points_yx for image in images], [image.suppliers.target for image in images]
        )
        costs = [image.raster.enlarge(own) for image, own in zip(images, distances, strict=True)]
        nearest = [cheapest(cost) for cost in costs]
    with _clock(seconds, "capacities", share):
        demand = [image.demand(label) for image, label in zip(images, nearest, strict=True)]
        first = nearest
        if config.assign == "likelihood":
            first = [image.partition(cost) for image, cost in zip(images, costs, strict=True)]
        counts = estimate_capacities(
            lambda chosen, points_yx, target: _regions([images[b] for b in chosen], points_yx, target),
            [image.suppliers for image in images],
            demand,
            first=first,
            method=config.capacity,
            iterations=config.centroid_rounds,
            centroid_of=config.centroid_of,
            keep_points=config.keep_points,
        )
    with _clock(seconds, "transport", share):
        costs = [image.scaled(cost, own) for image, cost, own in zip(images, costs, demand, strict=True)]
        plans = _transport(config, counts, demand, costs)
    with _clock(seconds, "masks", share):
        masks = [_masks(*each) for each in zip(images, costs, nearest, demand, plans, strict=True)]
    notes = [
        Diagnostics(image.chosen, image.edges, near, cost, label, wanted, count, plan, seconds)
        for image, near, cost, label, wanted, count, plan in zip(
            images, distances, costs, nearest, demand, counts, plans, strict=True
        )
    ]
    return [PseudoMasks(*each, note) for each, note in zip(masks, notes, strict=True)]  # type: ignore[arg-type, call-arg]


@contextmanager
def _clock(seconds: dict[str, float], stage: str, share: float) -> Iterator[None]:
    """Wall time of a stage for each image. On a GPU that is the time to launch it: nothing waits for the device."""
    start = time.perf_counter()
    yield
    seconds[stage] = share * (time.perf_counter() - start)


def _images(config: PseudoMaskConfig, maps: Sequence[Maps], targets: Sequence[PointTargets]) -> list[Image]:
    images = []
    for index, (own, labelled) in enumerate(zip(maps, targets, strict=True)):
        try:
            images.append(Image(config, own, labelled))
        except ArgumentError as error:
            if len(maps) > 1:
                error.args = (f"{error} (image {index} of the batch)",)
            raise
    return images


def _distances(
    images: Sequence[Image], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """(S, h, w) cost for each image, from points given in pixels of the picture."""
    config = images[0].config
    cells = [image.raster.cells(points) for image, points in zip(images, points_yx, strict=True)]
    return _by_cost(
        lambda *graphs: random_walk_costs(*graphs, spacing_cost=config.spacing_cost),
        lambda *graphs: geodesic_distances(*graphs, backend=config.backend),
        images, cells, target,
    )  # fmt: skip


def _regions(
    images: Sequence[Image], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """(H, W) the target that each pixel of each image falls to, -1 where none can."""
    config = images[0].config
    if config.assign == "likelihood" or config.stride > 1:
        costs = _distances(images, points_yx, target)
        return [image.partition(image.raster.enlarge(cost)) for image, cost in zip(images, costs, strict=True)]
    return _by_cost(  # labels alone, without a cost for each target
        lambda *graphs: random_walk_partition(*graphs, spacing_cost=config.spacing_cost),
        lambda *graphs: [part.labels for part in nearest_partition(*graphs, backend=config.backend)],
        images, points_yx, target,
    )  # fmt: skip


def _by_cost(
    walk: Callable[..., list[torch.Tensor]],
    path: Callable[..., list[torch.Tensor]],
    images: Sequence[Image],
    points_yx: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
) -> list[torch.Tensor]:
    """One search for all images with walks and one for all with paths."""
    found: dict[int, torch.Tensor] = {}
    for search, walks in ((path, False), (walk, True)):
        chosen = [b for b, image in enumerate(images) if image.walks == walks]
        if chosen:
            results = search(
                [images[b].edges for b in chosen], [points_yx[b] for b in chosen], [target[b] for b in chosen]
            )
            found.update(zip(chosen, results, strict=True))
    return [found[b] for b in range(len(images))]


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


def _masks(
    image: Image,
    cost: torch.Tensor,
    nearest: torch.Tensor,
    demand: torch.Tensor,
    plan: TransportResult | None,
) -> tuple[torch.Tensor, ...]:
    """(instance, masks, boxes, semantic, void, confidence) of one image."""
    supplier = nearest if plan is None else cast(torch.Tensor, plan.labels).view(nearest.shape)
    owner, share = image.owners(supplier, cost, demand, plan)
    if image.config.within_class:
        near, chance = image.islands()
        cut_off = owner < 0
        owner, share = torch.where(cut_off, near, owner), torch.where(cut_off, chance, share)
    instance, semantic, void, confidence = image.panoptic(owner, share)
    masks = instance == torch.arange(image.targets.num_targets, device=instance.device)[:, None, None]
    return instance, masks, image.boxes(masks), semantic, void, confidence
