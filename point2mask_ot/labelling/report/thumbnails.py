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

FOLDER = "report"
"""In the folder of the results: all that the report needs beside itself."""
SIZE = 256
"""Longer side of a panel in pixels."""
_GAP = 4
_QUALITY = 80


def thumbnail_names(position: int) -> tuple[str, str]:
    """The files of a picture, relative to the folder of the results: points and pseudo-masks; the truth."""
    name = f"{FOLDER}/thumbnails/{position // 1000:04d}/{position:08d}"  # a thousand pictures to a folder
    return f"{name}.jpg", f"{name}_truth.jpg"


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
        photo = _small(picture)
        height, width = photo.shape[:2]
        colors = segment_colors(targets.category, self.colors)
        room = math.sqrt(height * width / max(1, len(targets.points_yx)))
        radius = min(SIZE / 60, max(1.5, room / 8))  # smaller where points are many
        left = draw_points(photo, targets, grid=picture.shape[:2], radius=radius, colors=colors)
        right = partition_map(photo, enlarge(labels.id_map - 1, (height, width)), colors=colors)
        return _jpeg(np.hstack([left, np.full((height, _GAP, 3), 255, np.uint8), right]))

    def truth(self, picture: np.ndarray, truth: PanopticImage) -> bytes:
        """JPEG of the photograph with its true segments."""
        photo = _small(picture)
        category = np.array([self._row[segment.category_id] for segment in truth.segments], int)
        ids = np.array([segment.id for segment in truth.segments], int)
        return _jpeg(
            partition_map(
                photo,
                _index_of(ids, enlarge(truth.id_map, photo.shape[:2])),
                colors=segment_colors(category, self.colors),
            )
        )


def _index_of(ids: np.ndarray, id_map: np.ndarray) -> np.ndarray:
    """Where each pixel's id stands among ``ids``; -1 in void."""
    order = np.argsort(ids)
    index = np.append(order, -1)[np.searchsorted(ids[order], id_map)]
    return np.where(id_map > 0, index, -1)


def _small(picture: np.ndarray) -> np.ndarray:
    """Of the size of a panel: in blocks as far as that does not show, which is quick."""
    factor = max(picture.shape[:2]) // (2 * SIZE)
    return fit(picture if factor < 2 else np.asarray(Image.fromarray(picture).reduce(factor)), SIZE)


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
