"""Fixed palettes: one colour for each target, and a heat scale."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from ..panoptic import Category
from ..types import PointTargets

# Okabe and Ito's colours, told apart by all common kinds of colour vision; ordered so that neighbours differ in
# lightness as well as in hue.
_THING_COLORS = (
    (230, 159, 0),
    (0, 114, 178),
    (240, 228, 66),
    (213, 94, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
)
_STUFF_COLORS = ((58, 62, 78), (96, 84, 66), (62, 86, 72), (92, 66, 88))

# Each further round through the things' colours is mixed with (color, share).
_TINTS = (((255, 255, 255), 0.0), ((255, 255, 255), 0.55), ((32, 32, 32), 0.35))

# Nine knots of matplotlib's magma (CC0): lightness rises evenly from black to pale yellow.
_HEAT = (
    (0, 0, 4),
    (28, 16, 68),
    (79, 18, 123),
    (129, 37, 129),
    (181, 54, 122),
    (229, 80, 100),
    (251, 135, 97),
    (254, 194, 135),
    (252, 253, 191),
)
UNREACHABLE = (128, 128, 128)


def target_colors(targets: PointTargets | int) -> np.ndarray:
    """Give each target its colour: bright and alternating for things, dark and muted for stuff.

    Args:
        targets: the targets, or only their number (all things).

    Returns:
        (K, 3) uint8 RGB, fixed by the index: the palette repeats after 21 things or 4 kinds of stuff.

    Example:
        >>> target_colors(2).tolist()
        [[230, 159, 0], [0, 114, 178]]
    """
    is_thing = np.ones(targets, bool) if isinstance(targets, int) else targets.is_thing
    colors = np.zeros((len(is_thing), 3), np.uint8)
    for rank, index in enumerate(np.flatnonzero(is_thing)):
        base = np.array(_THING_COLORS[rank % len(_THING_COLORS)])
        tint, share = _TINTS[rank // len(_THING_COLORS) % len(_TINTS)]
        colors[index] = np.rint(base + share * (np.array(tint) - base))
    for rank, index in enumerate(np.flatnonzero(~is_thing)):
        colors[index] = _STUFF_COLORS[rank % len(_STUFF_COLORS)]
    return colors


def category_colors(categories: Sequence[Category]) -> np.ndarray:
    """(C, 3) uint8: the colour of each category that has one; else bright for things, dark and muted for stuff.

    Beyond the palette hues go on round the circle, so that all differ, though not for every eye.

    Example:
        >>> category_colors([Category(1, "cat", True), Category(2, "dog", True, (1, 2, 3))]).tolist()
        [[230, 159, 0], [1, 2, 3]]
    """
    colors, ranks = [], {True: 0, False: 0}
    for category in categories:
        rank, listed = ranks[category.is_thing], _THING_COLORS if category.is_thing else _STUFF_COLORS
        ranks[category.is_thing] += category.color is None
        if category.color is not None:
            colors.append(category.color)
        else:
            colors.append(listed[rank] if rank < len(listed) else _further_color(rank, category.is_thing))
    return np.array(colors, np.uint8).reshape(-1, 3)


def _further_color(rank: int, is_thing: bool) -> tuple[int, int, int]:
    """Hues a golden angle apart never come close to those just before."""
    saturation, value = (0.7, 0.9) if is_thing else (0.4, 0.38)
    red, green, blue = colorsys.hsv_to_rgb(rank * 0.618034 % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def segment_colors(category: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """(K, 3) uint8: the colour of each segment's category, by turns plain, lighter and darker within one.

    Args:
        category: (K,) index into ``colors``.
        colors: (C, 3) uint8, see :func:`category_colors`.

    Example:
        >>> segment_colors(np.array([0, 1, 0]), np.array([[200, 0, 0], [0, 0, 90]], np.uint8)).tolist()
        [[200, 0, 0], [0, 0, 90], [230, 140, 140]]
    """
    seen, turn = [0] * len(colors), np.zeros(len(category), int)
    for k, c in enumerate(category):
        turn[k] = seen[c] % len(_TINTS)
        seen[c] += 1
    base, tint = colors[category].astype(float), np.array([tint for tint, _ in _TINTS])[turn]
    share = np.array([share for _, share in _TINTS])[turn, None]
    return np.rint(base + share * (tint - base)).astype(np.uint8)


def heat_colors(level: np.ndarray) -> np.ndarray:
    """Levels in [0, 1] -> (..., 3) float RGB in [0, 255], linear between the knots."""
    knots = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(level, knots, channel) for channel in zip(*_HEAT, strict=True)], axis=-1)
