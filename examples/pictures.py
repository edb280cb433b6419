"""What a person looks at: segments laid over pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from point2mask_ot import Category, PanopticImage
from point2mask_ot.viz import fit, partition_map


def _colour(category: Category, index: int) -> np.ndarray:
    """RGB of its own; else grey for stuff and, for things, a hue far from those of the categories before."""
    if category.color is not None:
        return np.array(category.color)
    return 255 * np.array(colorsys.hsv_to_rgb(0.618 * index % 1, 0.75, 0.9) if category.is_thing else (0.6,) * 3)


def overlay(picture: np.ndarray, found: PanopticImage, categories: Sequence[Category]) -> np.ndarray:
    """(H, W, 3) uint8: things in shades of their category's colour, stuff in its own, void hatched."""
    by_category = {c.id: _colour(c, index) for index, c in enumerate(categories)}
    labels = np.full(found.size, -1)
    colours = np.zeros((len(found.segments), 3), np.uint8)
    seen: dict[int, int] = {}
    for index, segment in enumerate(found.segments):
        labels[found.id_map == segment.id] = index
        nth = seen[segment.category_id] = seen.get(segment.category_id, -1) + 1
        colour = by_category[segment.category_id]
        shade = (0, 0.35, -0.3, 0.6)[nth % 4] if segment.is_thing else 0
        colours[index] = colour + shade * (255 - colour if shade > 0 else colour)
    return partition_map(picture, labels, colors=colours)


def comparison(
    shown: Mapping[str, Sequence[tuple[np.ndarray, PanopticImage]]], categories: Sequence[Category], side: int = 192
) -> Image.Image:
    """A sheet with a row of pictures and a row of their segments for each name."""
    margin, title = 6, 18
    across = max(len(pairs) for pairs in shown.values())
    rows = 2 * len(shown)
    size = (across * (side + margin) + margin, rows * (side + margin) + len(shown) * title + margin)
    sheet = Image.new("RGB", size, "white")
    pen, y = ImageDraw.Draw(sheet), margin
    for name, pairs in shown.items():
        pen.text((margin, y), name.replace("_", " "), fill="black", font_size=13)
        y += title
        for column, (picture, found) in enumerate(pairs):
            for row, panel in enumerate((picture, overlay(picture, found, categories))):
                place = (margin + column * (side + margin), y + row * (side + margin))
                sheet.paste(Image.fromarray(fit(panel, side)), place)
        y += 2 * (side + margin)
    return sheet
