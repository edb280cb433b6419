"""Runs by name: ``python train_voc.py voc_r50 --optimiser.batch-size 4``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .config import Config, Data, Losses, Network, Optimiser, PseudoLabels

_SMALL: dict[str, Any] = {"encoder_layers": 2, "decoder_layers": 3, "mask_layers": 2, "thing_layers": 2, "dropout": 0.0}
_SHORT: dict[str, Any] = {"batch_size": 4, "lr": 5e-4, "clip_norm": 1.0, "ramp_affinity": True}
_TINY = Config(
    Network(backbone="tiny", dim=64, heads=4, ffn_dim=128, queries=24, **_SMALL),
    Data(min_side=(96,), max_side=96, workers=0),
    PseudoLabels(preset="best", window=5, centroid_epoch=3.125),
    optimiser=Optimiser(epochs=12, milestones=(10,), slow_factor=1.0, warmup_epochs=2, **_SHORT),
)
_LITE = Config(
    Network(backbone="efficientnet_lite0", dim=128, ffn_dim=256, queries=60, **_SMALL),
    Data(min_side=(128,), max_side=192, workers=0),
    PseudoLabels(preset="best", overrides={"stride": 4}, window=9, centroid_epoch=5),
    optimiser=Optimiser(epochs=16, milestones=(13,), warmup_epochs=5, balanced=True, **_SHORT),
)
_PHOTOGRAPHS = Config(
    _LITE.network,
    Data(min_side=(224,), max_side=320, workers=0),
    PseudoLabels(preset="best", overrides={"stride": 2}, color_weight=1.0, window=9, centroid_epoch=3),
    Losses(semantic_class=0.1, lab=1, tree=1),
    Optimiser(epochs=32, milestones=(26,), slow_factor=0.4, warmup_epochs=4, balanced=True, **_SHORT),
)
_VOC = Config()
_COCO = Config(
    data=Data(min_side=tuple(range(480, 801, 32))),
    labels=PseudoLabels(centroid_epoch=8.19),
    optimiser=Optimiser(epochs=15, milestones=(8, 12), batch_size=16, lr=2e-4, warmup_epochs=2),
)
# Half of COCO's batch, with the same number of steps before centroids count and until losses have their full weight.
_COCO_SWIN = replace(
    _COCO,
    labels=PseudoLabels(centroid_epoch=4.09),
    optimiser=replace(_COCO.optimiser, batch_size=8, lr=1e-4, warmup_epochs=1),
)
# The baseline: cheapest paths without a boundary, LAB affinity alone, and the manifold loss.
_PSPS = Config(
    labels=PseudoLabels(preset="official", overrides={"method": "minimum"}, boundary="none"),
    losses=Losses(tree=0, boundary=0),
)


def _with(base: Config, backbone: str, **changes: Any) -> Config:
    return replace(base, network=replace(base.network, backbone=backbone), **changes)


PRESETS: dict[str, tuple[str, Config]] = {
    "tiny": ("synthetic pictures on a CPU, in minutes", _TINY),
    "lite": ("small pictures on a CPU, EfficientNet-Lite0 from PyPI", _LITE),
    "photographs": ("a few hundred photographs on a CPU, in hours, EfficientNet-Lite0", _PHOTOGRAPHS),
    "voc_r50": ("Pascal VOC, ResNet-50, the paper's settings", _VOC),
    "voc_r101": ("Pascal VOC, ResNet-101", _with(_VOC, "resnet101")),
    "voc_swinl": ("Pascal VOC, Swin-L", _with(_VOC, "swin_large", score_threshold=0.3)),
    "voc_psps": ("Pascal VOC, ResNet-50, the baseline PSPS", _PSPS),
    "coco_r50": ("COCO panoptic, ResNet-50", _COCO),
    "coco_r101": ("COCO panoptic, ResNet-101", _with(_COCO, "resnet101")),
    "coco_swinl": ("COCO panoptic, Swin-L", _with(_COCO_SWIN, "swin_large")),
}
