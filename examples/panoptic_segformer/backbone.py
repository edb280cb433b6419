"""Backbones that give maps at three strides."""

from __future__ import annotations

import re

from efficientnet import EfficientNetLite
from transformers import DeformableDetrModel, PretrainedConfig, ResNetConfig, SwinConfig
from transformers.models.deformable_detr.modeling_deformable_detr import replace_batch_norm

from .config import Network

_RESNET_DEPTHS = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}
_LITE_CHANNELS = [24, 40, 112, 320]
_FROZEN = re.compile(r"embedder\.|encoder\.stages\.0\.|body\._conv_stem|body\._blocks\.[0-2]\.")
"""What is not trained of a ResNet and of EfficientNet-Lite: the layers of stride 4 and finer."""
_UNUSED = re.compile(r"swin\.layernorm\.")
"""What no map comes through: processes that share a batch would wait for its gradient."""


def backbone_config(settings: Network) -> PretrainedConfig:
    """Configuration of the backbone's maps: strides 8, 16, 32 (tiny: 4, 8, 16)."""
    name, later = settings.backbone, ["stage2", "stage3", "stage4"]
    if name in _RESNET_DEPTHS:
        return ResNetConfig(depths=_RESNET_DEPTHS[name], out_features=later)
    if name == "swin_large":
        shape = {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "window_size": 7}
        return SwinConfig(**shape, drop_path_rate=0.3, out_features=later)
    small = {"tiny": [16, 32, 64], "efficientnet_lite0": _LITE_CHANNELS}  # a stand-in, until make_backbone
    if name not in small:
        expected = f"{sorted(_RESNET_DEPTHS)}, swin_large, efficientnet_lite0 or tiny"
        raise ValueError(f"network.backbone: got {name!r}, expected {expected}")
    channels = small[name]
    return ResNetConfig(
        embedding_size=channels[0], hidden_sizes=channels, depths=[1] * len(channels), layer_type="basic",
        out_features=later if name != "tiny" else ["stage1", "stage2", "stage3"],
    )  # fmt: skip


def finest_stride(settings: Network) -> int:
    """Pixels between two cells of the finest map; a picture of n pixels has ceil(n / stride) of them."""
    return 4 if settings.backbone == "tiny" else 8


def make_backbone(detr: DeformableDetrModel, settings: Network) -> None:
    """Give the model its backbone, with what the paper freezes frozen."""
    if settings.backbone == "efficientnet_lite0":
        detr.backbone.model = EfficientNetLite()
        replace_batch_norm(detr.backbone.model)
    # transformers looks for names that its own ResNet does not have and freezes all of it.
    for name, parameter in detr.backbone.model.named_parameters():
        frozen = _FROZEN.match(name) and settings.backbone not in ("swin_large", "tiny")
        parameter.requires_grad_(not frozen and not _UNUSED.match(name))
