"""Algorithm 1 over all images of a batch: maps and points in, pseudo-masks out, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..checks import ArgumentError
from ..types import Diagnostics, PointTargets, PseudoMasks
from .agreement import with_border_points
from .clock import Clock
from .config import PseudoMaskConfig
from .crowd import is_crowded, maps_of_crowd
from .dense import maps_of_all
from .inputs import Maps
from .memory import refuse_what_does_not_fit
from .ownership import pseudo_masks
from .partition import regions
from .scene import Scene


def label_images(config: PseudoMaskConfig, maps: Sequence[Maps], targets: Sequence[PointTargets]) -> list[PseudoMasks]:
    """Algorithm 1 from maps and points to pseudo-masks.

    Images of many targets go one by one, without a map for each target (:mod:`.crowd`); the others together. On a GPU
    the host waits for the device once a centroid round and once before the transport, for a few numbers of the whole
    batch, and where the solver itself waits.

    Args:
        config: the switches.
        maps: of each image; sizes may differ.
        targets: K targets of each, possibly none.

    Returns:
        Pseudo-masks of each image with every intermediate map among their diagnostics.

    Raises:
        ArgumentError: see :class:`~point2mask_ot.PseudoMasker`.
    """
    clock = Clock(len(maps))
    with clock("edges"):
        scenes = _scenes(config, maps, targets)
        refuse_what_does_not_fit(scenes)
    few = [scene for scene in scenes if not is_crowded(scene)]
    together = iter(maps_of_all(config, few, clock))
    found = [_maps_of_many(scene, clock) if is_crowded(scene) else next(together) for scene in scenes]
    with clock("confidence"):
        if_border = _if_border_is_background(scenes)
    with clock("masks"):
        return [pseudo_masks(*image) for image in zip(scenes, found, if_border, strict=True)]


def _maps_of_many(scene: Scene, clock: Clock) -> Diagnostics:
    """Without a map for each supplier, where that holds."""
    found = maps_of_crowd(scene, clock)
    if found is None:
        refuse_what_does_not_fit([scene], with_all_maps=True)
        (found,) = maps_of_all(scene.config, [scene], clock)
    return found


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


def _if_border_is_background(scenes: Sequence[Scene]) -> list[torch.Tensor | None]:
    """(H, W) supplier that each pixel of each image falls to then; one search for all images that it is news for."""
    bordered = [with_border_points(scene) for scene in scenes]
    asked = [(scene, own) for scene, own in zip(scenes, bordered, strict=True) if own is not None]
    if not asked:
        return [None] * len(scenes)
    chosen, suppliers = zip(*asked, strict=True)
    points = ([own.points_yx for own in suppliers], [own.target for own in suppliers])
    found = iter(regions(chosen, *points, [np.arange(own.num_targets) for own in suppliers]))
    return [None if own is None else next(found) for own in bordered]
