"""CIELAB from sRGB, in differentiable torch arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arrays import check_floating, compute_dtype
from ..checks import fail, fail_type

# sRGB primaries to CIE XYZ, and the D65 white point of the 2-degree observer: scikit-image's constants.
_XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE_XYZ = (0.95047, 1.0, 1.08883)


def srgb_to_lab(image: Tensor) -> Tensor:
    """Convert sRGB pictures to CIELAB (D65 white, 2-degree observer), as :func:`skimage.color.rgb2lab` does.

    Every step is elementwise, so autocast leaves it alone; gradients are finite everywhere, at black too.
    Values are not looked at: a NaN stays a NaN.

    Args:
        image: (..., 3, H, W) floating-point sRGB in [0, 1].

    Returns:
        (..., 3, H, W) L in [0, 100], a and b in about [-110, 110]; float64 for float64, else float32.

    Raises:
        ArgumentTypeError: not a floating-point tensor.
        ArgumentError: fewer than three axes, or not three channels.

    Example:
        >>> white = torch.ones(3, 1, 1)
        >>> [f"{value:.2f}" for value in srgb_to_lab(white).flatten().tolist()]
        ['100.00', '-0.00', '0.00']
    """
    if not isinstance(image, Tensor):
        fail_type("srgb_to_lab", "image", image, "a torch tensor")
    check_floating("srgb_to_lab", "image", image)
    if image.ndim < 3 or image.shape[-3] != 3:
        fail("srgb_to_lab", "image", f"shape {tuple(image.shape)}", "(..., 3, H, W)")
    x, y, z = (_lightness_curve(channel) for channel in _white_relative_xyz(image.to(compute_dtype(image))))
    return torch.stack((116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)), dim=-3)


def _white_relative_xyz(srgb: Tensor) -> list[Tensor]:
    # Each power sees only values of its own branch: where() would otherwise pass 0 * inf back as NaN.
    power = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    red, green, blue = torch.where(srgb > 0.04045, power, srgb / 12.92).unbind(-3)
    return [
        (r / white) * red + (g / white) * green + (b / white) * blue
        for (r, g, b), white in zip(_XYZ_OF_RGB, _WHITE_XYZ, strict=True)
    ]


def _lightness_curve(t: Tensor) -> Tensor:
    return torch.where(t > 0.008856, t.clamp_min(0.008856) ** (1.0 / 3.0), 7.787 * t + 16.0 / 116.0)
