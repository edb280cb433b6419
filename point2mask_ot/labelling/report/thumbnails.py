"""The small pictures of a report: points beside pseudo-masks, and the truth, in files that the pages show."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...panoptic import Category, PanopticImage
from ...types import PointTargets
from ...viz import draw_points, fit, partition_map
from ...viz.canvas import enlarge
from ...viz.colors import category_colors, segment_colors
from ..table import key_of

FOLDER = "report"
"""In the folder of the results: all that the report needs beside itself."""
SIZE = 256
"""Longer side of a panel in pixels."""
_GAP = 4
_MANY = 40
"""Segments, from which on white borders of the usual width would cover small ones."""
_QUALITY = 80


def thumbnail_names(name: str) -> tuple[str, str]:
    """The files of a picture, relative to the folder of the results: points and pseudo-masks; the truth."""
    stem = f"{FOLDER}/thumbnails/{key_of(name)}"
    return f"{stem}.jpg", f"{stem}_truth.jpg"


class Painter:
    """Draws panels in the colours of a job's categories.

    Args:
        categories: those of the labels in the order of their channels, then further ones of the truth.

    Attributes:
        colors: (C, 3) uint8, of the categories.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self.colors = category_colors(categories)
        self._row = {category.id: row for row, category in enumerate(categories)}

    def labels(self, picture: np.ndarray, targets: PointTargets, labels: PanopticImage) -> bytes:
        """JPEG of the photograph with its points beside the photograph with its pseudo-masks.

        Args:
            picture: (H, W, 3) uint8.
            targets: the points.
            labels: of the picture; segment id k + 1 is target k.
        """
        photo = _fitted(picture, SIZE)
        height, width = photo.shape[:2]
        colors = segment_colors(targets.category, self.colors)
        room = math.sqrt(height * width / max(1, len(targets.points_yx)))
        radius = min(SIZE / 60, max(1.5, room / 8))  # smaller where points are many
        left = draw_points(photo, targets, grid=picture.shape[:2], radius=radius, colors=colors)
        right = _tinted(picture, photo, labels.id_map - 1, colors)
        return _jpeg(np.hstack([left, np.full((height, _GAP, 3), 255, np.uint8), right]))

    def truth(self, picture: np.ndarray, truth: PanopticImage) -> bytes:
        """JPEG of the photograph with its true segments."""
        photo = _fitted(picture, SIZE)
        category = np.array([self._row[segment.category_id] for segment in truth.segments], int)
        ids = np.array([segment.id for segment in truth.segments], int)
        return _jpeg(_tinted(picture, photo, _index_of(ids, truth.id_map), segment_colors(category, self.colors)))


def _index_of(ids: np.ndarray, id_map: np.ndarray) -> np.ndarray:
    """Where each pixel's id stands among ``ids``; -1 in void."""
    order = np.argsort(ids)
    index = np.append(order, -1)[np.searchsorted(ids[order], id_map)]
    return np.where(id_map > 0, index, -1)


def _tinted(picture: np.ndarray, photo: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """A panel, as large as ``photo``, with the regions of a label map, which is negative in void."""
    many = len(colors) > _MANY
    canvas = _fitted(picture, 2 * SIZE) if many else photo
    drawn = partition_map(canvas, enlarge(labels, canvas.shape[:2]), colors=colors)
    return np.asarray(Image.fromarray(drawn).resize(photo.shape[1::-1])) if many else drawn


def _fitted(picture: np.ndarray, size: int) -> np.ndarray:
    """Resized, in blocks as far as that does not show, which is quick."""
    factor = max(picture.shape[:2]) // (2 * size)
    return fit(picture if factor < 2 else np.asarray(Image.fromarray(picture).reduce(factor)), size)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
