"""Pictures as people have them: grey, with an alpha channel, or deeper than 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import fail, fail_type

DARK, BRIGHT = 1.0, 99.8
"""Percentiles of a deep picture that become black and white: sensors leave most of their range empty, and a few hot
pixels would darken all others."""


def without_alpha(function: str, argument: str, pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) pixels of a picture that may be grey, (H, W) or (H, W, 1), or have an alpha channel.

    Args:
        function, argument: named in the error.
        pixels: (H, W), or (H, W, C) with 1 grey channel, 2 (grey and alpha), 3 or 4 (RGB and alpha); alpha is opaque at
            the largest value of an integer dtype, at 1 of a float.

    Raises:
        ArgumentError: transparent pixels, for which no colour is right; another number of channels.
    """
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    if planes.ndim != 3 or planes.shape[2] not in (1, 2, 3, 4):
        fail(function, argument, f"shape {pixels.shape}", "(H, W) or (H, W, C) with C = 1, 2, 3 or 4")
    if planes.shape[2] in (2, 4):
        opaque = 1 if planes.dtype.kind == "f" else np.iinfo(planes.dtype).max
        if (planes[..., -1] < opaque).any():
            fail(function, argument, "transparent pixels", "an opaque picture")
        planes = planes[..., :-1]
    return planes.repeat(3, axis=2) if planes.shape[2] == 1 else planes


def to_8_bits(
    function: str, argument: str, pixels: np.ndarray, levels: tuple[float, float] | None = None
) -> np.ndarray:
    """uint8 pixels of a deeper picture, linear between two levels and clipped beyond; the levels hold for all channels.

    Args:
        function, argument: named in the error.
        pixels: any shape, integers or floats.
        levels: the values that become 0 and 255; default the percentiles 1 and 99.8 of the picture, or where these are
            one its smallest and largest value. A picture of one value becomes black.

    Raises:
        ArgumentError: NaN or infinity, or levels that do not rise.
    """
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        fail(function, argument, "NaN or infinite pixels", "finite pixels")
    low, high = np.percentile(values, (DARK, BRIGHT)) if levels is None else check_levels(function, levels)
    if levels is None and low == high:
        low, high = values.min(), values.max()
    if low == high:
        return np.zeros(pixels.shape, np.uint8)
    return np.rint(((values - low) * (255 / (high - low))).clip(0, 255)).astype(np.uint8)


def check_levels(function: str, levels: Any) -> tuple[float, float]:
    """Refuse what is not two rising finite numbers."""
    try:
        low, high = (float(level) for level in levels)
    except (TypeError, ValueError):
        fail_type(function, "levels", levels, "two numbers, black and white")
    if not (np.isfinite([low, high]).all() and low < high):
        fail(function, "levels", f"({low:g}, {high:g})", "two finite numbers, the first smaller")
    return low, high
