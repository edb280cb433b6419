"""A tiny network and pictures for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from panoptic_segformer import config as settings
from panoptic_segformer.criterion import Criterion
from panoptic_segformer.data import PreparedSamples, Sample, SyntheticSamples, collate, resized
from panoptic_segformer.network import PanopticSegformer
from panoptic_segformer.targets import Batch

from point2mask_ot import PointTargets

TINY = settings.PRESETS["tiny"][1]
THINGS, STUFF = 3, 1


def tiny_network() -> PanopticSegformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PanopticSegformer(TINY.network, THINGS, STUFF)


def three_pictures() -> Batch:
    samples = PreparedSamples(SyntheticSamples(0, 3, 96), (96,), 96, None, "masks")
    # The third picture is smaller, and of sides that no stride divides.
    return collate([samples[0], samples[1], resized(samples[2], 71, 71)])


def criterion_for(network: PanopticSegformer, *, preset: str = "best", losses=None, total=None, processes=1, **changes):
    optimiser = replace(TINY.optimiser, **{"warmup_steps": 10, "ramp_affinity": False, **changes})
    config = replace(
        TINY, optimiser=optimiser, labels=replace(TINY.labels, preset=preset), losses=losses or settings.Losses()
    )
    return Criterion(network, config, total=total or (lambda counts: counts), processes=processes)


def one_picture(points: PointTargets, size: tuple[int, int] = (40, 56)) -> Batch:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return collate([Sample(picture, points, 0)])
