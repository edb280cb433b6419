"""What it costs to come from points to pixels, and which pixels are cheapest from which: paths and walks, by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..geodesic import geodesic_distances, nearest_partition
from ..walks.costs import random_walk_costs, random_walk_partition
from .scene import Scene


def distances(
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


def regions(
    scenes: Sequence[Scene], points_yx: Sequence[np.ndarray], unit: Sequence[np.ndarray], owner: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """(H, W) unit of the points that each pixel falls to for each image, -1 where none can; ``owner`` says whose."""
    config = scenes[0].config
    if config.assign == "likelihood" or config.stride > 1 or config.unary_weight:
        found = zip(scenes, distances(scenes, points_yx, unit), owner, strict=True)
        return [scene.assigned(scene.with_classes(scene.raster.enlarge(own), whose)) for scene, own, whose in found]
    return _search(  # labels alone, without a cost for each target
        scenes,
        points_yx,
        unit,
        walk=lambda *images: random_walk_partition(*images, spacing_cost=config.spacing_cost),
        path=lambda *images: [part.labels for part in nearest_partition(*images, backend=config.backend)],
    )


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
