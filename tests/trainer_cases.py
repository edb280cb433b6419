"""A tiny network and pictures for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from panoptic_segformer import config as settings
from panoptic_segformer.backbone import backbone_config
from panoptic_segformer.criterion import Criterion
from panoptic_segformer.data import PreparedSamples, Sample, collate, resized
from panoptic_segformer.network import PanopticSegformer
from panoptic_segformer.presets import PRESETS
from panoptic_segformer.targets import Batch
from samples import SyntheticSamples

from point2mask_ot import PointTargets

TINY = PRESETS["tiny"][1]
THINGS, STUFF = 3, 1


def tiny_network() -> PanopticSegformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PanopticSegformer(TINY.network, THINGS, STUFF)


def three_pictures() -> Batch:
    samples = PreparedSamples(SyntheticSamples(0, 3, 96), (96,), 96, None, "masks")
    # The third picture is smaller, and of sides that no stride divides.
    return collate([samples[0], samples[1], resized(samples[2], 71, 71)])


def criterion_for(network: PanopticSegformer, *, preset: str = "best", losses=None, **changes) -> Criterion:
    """Of the tiny preset, with a warm-up of ten epochs."""
    optimiser = replace(TINY.optimiser, **{"warmup_epochs": 10, "ramp_affinity": False, **changes})
    labels = replace(TINY.labels, preset=preset)
    return Criterion(network, replace(TINY, optimiser=optimiser, labels=labels, losses=losses or settings.Losses()))


def one_picture(points: PointTargets, size: tuple[int, int] = (40, 56)) -> Batch:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return collate([Sample(picture, points, 0)])


def shrunken(network: settings.Network):
    """The configuration of a backbone with one layer in a stage and few channels."""
    config = backbone_config(network).to_dict()
    few = {"depths": [1, 1, 1, 1]}
    if config["model_type"] == "swin":
        few |= {"embed_dim": 8, "num_heads": [1, 1, 2, 2], "drop_path_rate": 0.0}
    elif network.backbone in ("resnet50", "resnet101"):
        few |= {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24]}
    elif network.backbone == "tiny":
        return backbone_config(network)
    config.pop("out_indices", None)
    return type(backbone_config(network))(**{**config, **few})


FEW_LAYERS = (
    "--network.dim 64 --network.heads 2 --network.ffn-dim 32 --network.queries 6 --network.encoder-layers 1 "
    "--network.decoder-layers 1 --network.mask-layers 1 --network.thing-layers 1 --data.workers 0 --data.min-side 64 "
    "--data.max-side 64 --data.synthetic-train 4 --data.synthetic-val 1 --data.scored 1 --optimiser.batch-size 2"
)
"""Of a preset whose backbone is :func:`shrunken`, on synthetic pictures."""
