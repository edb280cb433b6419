"""Paint on float canvases: discs, lines, hatching, region borders, text. Anti-aliased, and the same bits each time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WHITE, INK = (255, 255, 255), (32, 32, 32)

_HATCH_DARK, _HATCH_LIGHT, _HATCH_PERIOD = 96, 176, 8
_SUPERSAMPLING = 4


def onto(shape: tuple[int, ...], points_yx: np.ndarray, grid: tuple[int, ...] | None) -> np.ndarray:
    """Coordinates on a grid of another size -> on a canvas: pixel centres lie half a pixel from the corner."""
    scale = np.array(shape) / np.array(grid or shape)
    return (points_yx + 0.5) * scale - 0.5


def enlarge(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map at another size, each pixel taking the nearest value: labels and infinities survive."""
    rows, columns = ((np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(shape, values.shape, strict=True))
    return values[rows[:, None], columns]


def fill_disc(canvas: np.ndarray, centre: np.ndarray, radius: float, color: Sequence[int]) -> None:
    """Paint an anti-aliased disc on a float canvas, in place."""
    top, left = (max(0, math.floor(c - radius - 1)) for c in centre)
    bottom, right = (max(0, math.ceil(c + radius + 2)) for c in centre)
    window = canvas[top:bottom, left:right]
    rows, columns = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
    coverage = np.clip(radius + 0.5 - np.hypot(rows - centre[0], columns - centre[1]), 0, 1)
    blend(window, coverage, color)


def line_coverage(shape: tuple[int, ...], paths: Iterable[np.ndarray], width: float) -> np.ndarray:
    """(H, W) share of each pixel that lies under the lines through the (L, 2) vertices of each path."""
    factor = _SUPERSAMPLING
    mask = Image.new("L", (shape[1] * factor, shape[0] * factor))
    pen = ImageDraw.Draw(mask)
    for path in paths:
        if len(path) < 2:
            continue
        corners = [(float((x + 0.5) * factor), float((y + 0.5) * factor)) for y, x in path]
        pen.line(corners, fill=255, width=max(1, round(width * factor)), joint="curve")
    return np.asarray(mask.resize((shape[1], shape[0]), Image.Resampling.BOX)) / 255


def blend(canvas: np.ndarray, coverage: np.ndarray, color: Sequence[int]) -> None:
    """Mix a colour into a float canvas by its (H, W) coverage, in place."""
    canvas += coverage[..., None] * (np.asarray(color, dtype=np.float64) - canvas)


def to_bytes(canvas: np.ndarray) -> np.ndarray:
    """A float canvas as a uint8 picture."""
    return np.rint(canvas).clip(0, 255).astype(np.uint8)


def hatching(shape: tuple[int, ...]) -> np.ndarray:
    """A float canvas of grey diagonal stripes."""
    rows, columns = np.indices(shape)
    stripe = (rows + columns) % _HATCH_PERIOD < _HATCH_PERIOD // 2
    return np.repeat(np.where(stripe, _HATCH_DARK, _HATCH_LIGHT)[..., None], 3, axis=-1).astype(np.float64)


def borders(labels: np.ndarray) -> np.ndarray:
    """Both pixels of each horizontal or vertical pair with different labels."""
    border = np.zeros(labels.shape, bool)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def fit_text(text: str, size: int, width: int) -> tuple[str, Any]:
    """Text and font (Pillow's own scalable one) no wider than ``width``: first a smaller font, then fewer letters."""
    smallest = max(6, size // 2)
    font = ImageFont.load_default(size)
    while size > smallest and font.getlength(text) > width:
        size -= 1
        font = ImageFont.load_default(size)
    while text and font.getlength(text) > width:
        text = text.rstrip("\u2026")[:-1] + ("\u2026" if len(text) > 2 else "")
    return text, font
