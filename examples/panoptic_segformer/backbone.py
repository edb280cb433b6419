"""Backbones that give maps at three strides, and their ImageNet weights from a user's file."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers import DeformableDetrModel, PretrainedConfig, ResNetConfig, SwinConfig
from transformers.models.deformable_detr.modeling_deformable_detr import replace_batch_norm

from .config import Network
from .efficientnet import EfficientNetLite

_RESNET_DEPTHS = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}
_LITE_CHANNELS = [24, 40, 112, 320]
_FROZEN = re.compile(r"embedder\.|encoder\.stages\.0\.|body\._conv_stem|body\._blocks\.[0-2]\.")
"""What is not trained of a ResNet and of EfficientNet-Lite: the layers of stride 4 and finer."""
_UNUSED = re.compile(r"swin\.layernorm\.")
"""What no map comes through: processes that share a batch would wait for its gradient."""


def backbone_config(settings: Network) -> PretrainedConfig:
    """Configuration of the backbone's maps: strides 8, 16, 32 (tiny: 4, 8, 16)."""
    name = settings.backbone
    later = ["stage2", "stage3", "stage4"]
    if name in _RESNET_DEPTHS:
        return ResNetConfig(depths=_RESNET_DEPTHS[name], out_features=later)
    if name == "swin_large":
        return SwinConfig(
            embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], window_size=7, drop_path_rate=0.3,
            out_features=later,
        )  # fmt: skip
    if name == "tiny":
        return _small_resnet([16, 32, 64], ["stage1", "stage2", "stage3"])
    if name == "efficientnet_lite0":
        return _small_resnet(_LITE_CHANNELS, later)  # stands in until make_backbone puts the real one there
    raise ValueError(
        f"network.backbone: got {name!r}, expected {sorted(_RESNET_DEPTHS)}, swin_large, efficientnet_lite0 or tiny"
    )


def make_backbone(detr: DeformableDetrModel, settings: Network) -> None:
    """Give the model its backbone, with what the paper freezes frozen."""
    if settings.backbone == "efficientnet_lite0":
        detr.backbone.model = EfficientNetLite()
        replace_batch_norm(detr.backbone.model)
    # transformers looks for names that its own ResNet does not have and freezes all of it.
    for name, parameter in detr.backbone.model.named_parameters():
        frozen = _FROZEN.match(name) and settings.backbone not in ("swin_large", "tiny")
        parameter.requires_grad_(not frozen and not _UNUSED.match(name))


def load_imagenet(model: nn.Module, settings: Network) -> None:
    """Give a backbone the user's weights; where none are named and it needs some, say so."""
    if settings.weights is not None:
        load_weights(model, settings.weights)
    elif settings.backbone not in ("tiny", "efficientnet_lite0"):
        warnings.warn(f"{settings.backbone} starts from random weights; network.weights takes ImageNet's", stacklevel=2)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load ImageNet weights, in torchvision's or transformers' names; a missing tensor is an error."""
    if path.is_dir():
        loaded, info = type(model).from_pretrained(str(path), output_loading_info=True)
        given = {name: value for name, value in loaded.state_dict().items() if name not in info["missing_keys"]}
    else:
        if path.suffix == ".safetensors":
            given = load_file(path)
        else:
            given = torch.load(path, map_location="cpu", weights_only=True)
        given = {_transformers_name(name): value for name, value in given.get("state_dict", given).items()}
    own = model.state_dict()
    for name, table in given.items():
        # Swin-L's weights are those of window 12; its position biases, (2 w - 1)^2 offsets by heads, are resized.
        if name.endswith("relative_position_bias_table") and name in own and table.shape != own[name].shape:
            old, new = math.isqrt(len(table)), math.isqrt(len(own[name]))
            square = functional.interpolate(table.T.view(1, -1, old, old), (new, new), mode="bicubic")
            given[name] = square.flatten(2)[0].T
    missing, _ = model.load_state_dict(given, strict=False)
    missing = [name for name in missing if not name.startswith("hidden_states_norms")]  # these are not ImageNet's
    if missing:
        raise ValueError(f"network.weights: {path} lacks {len(missing)} tensors, among them {missing[0]!r}")


def _transformers_name(name: str) -> str:
    """torchvision's names of a ResNet's tensors in transformers'; other names stay."""
    if match := re.match(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))\.(.+)", name):
        stage, layer, kind, number, shortcut, rest = match.groups()
        place = f"encoder.stages.{int(stage) - 1}.layers.{layer}"
        if shortcut is not None:
            return f"{place}.shortcut.{('convolution', 'normalization')[int(shortcut)]}.{rest}"
        part = "convolution" if kind == "conv" else "normalization"
        return f"{place}.layer.{int(number) - 1}.{part}.{rest}"
    if match := re.match(r"(conv|bn)1\.(.+)", name):
        return f"embedder.embedder.{'convolution' if match[1] == 'conv' else 'normalization'}.{match[2]}"
    return re.sub(r"^(backbone\.|model\.|resnet\.)", "", name)


def _small_resnet(channels: list[int], out_features: list[str]) -> ResNetConfig:
    return ResNetConfig(
        embedding_size=channels[0],
        hidden_sizes=channels,
        depths=[1] * len(channels),
        layer_type="basic",
        out_features=out_features,
    )
