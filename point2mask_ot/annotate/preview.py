"""Labels of one picture, quickly enough to click on it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ..checks import fail
from ..masks.paint import mend
from ..masks.picture import ColorMasker
from ..panoptic.images import runs
from ..panoptic.paint import Paint
from ..points import pixel_indices
from ..types import PointTargets, PseudoMasks
from .settings import NAME

SENT_PIXELS = 2**22


class Preview:
    """Labels one picture from any points, in blocks of pixels where that is quicker.

    Args:
        picture: (H, W, 3) uint8.
        factor: blocks of factor x factor pixels are averaged before.
        masker: the settings.
    """

    def __init__(self, picture: np.ndarray, factor: int, masker: ColorMasker) -> None:
        self.factor = factor
        self.whole = picture.shape[0], picture.shape[1]
        self.strict = masker.config.on_conflict == "error"
        if factor > 1:
            picture = np.asarray(Image.fromarray(picture).reduce(factor)).copy()
            # Two targets may lie in one block though not on one pixel.
            masker = ColorMasker(masker.config, masker.colors, function=masker.function, on_conflict="first")
        self.size = picture.shape[:2]
        self.masker = masker
        self.terms = masker.terms(picture)

    def __call__(self, targets: PointTargets, paint: Paint | None = None) -> PseudoMasks:
        """The masks at ``size``, of points in pixels of the whole picture, and what is painted on it."""
        points_yx = (targets.points_yx + 0.5) / self.factor - 0.5
        moved = replace(targets, points_yx=points_yx, size=targets.size / self.factor**2)
        masks = self.masker(self.terms, moved)
        return masks if paint is None else mend(masks, moved, paint.marks)

    def labels(
        self, names: Sequence[str], targets: PointTargets, paint: Paint | None = None
    ) -> tuple[dict[str, Any], np.ndarray]:
        """What the page is told of the masks, see :meth:`Session.label`, and the label map."""
        if self.strict:
            _refuse_shared_pixels(names, targets, self.whole)
        start = time.perf_counter()
        masks = self(targets, paint)
        seconds = time.perf_counter() - start
        owner = np.where(masks.void, -1, masks.instance)
        thin = shrink_factor(self.size, SENT_PIXELS)
        sent = owner[np.ix_(*(_centres(length, thin) for length in self.size))]
        values, _, lengths = runs(sent.ravel())
        measured = []
        for k, name in enumerate(names):
            mask = owner == k
            confidence = float(masks.target_confidence[k])
            pixels = int(mask.sum()) * self.factor**2
            measured.append({"target": name, "pixels": pixels, "confidence": round(confidence, 3)})
        return {
            "values": values.tolist(),
            "lengths": lengths.tolist(),
            "height": sent.shape[0],
            "width": sent.shape[1],
            "factor": self.factor * thin,
            "targets": measured,
            "seconds": round(seconds, 4),
            "converged": masks.diagnostics.reached(self.masker.config.tol),
            "no_background": masks.diagnostics.no_background,
        }, owner


def _refuse_shared_pixels(names: Sequence[str], targets: PointTargets, size: tuple[int, int]) -> None:
    """In the picture's own pixels, whatever blocks it is labelled in; targets are counted from 1, as the page does."""
    owner: dict[tuple[int, int], int] = {}
    for (y, x), target in zip(pixel_indices(NAME, targets.points_yx, *size).tolist(), targets.target, strict=True):
        if (first := owner.setdefault((y, x), target)) != target:
            one, other = (int(names[k]) + 1 if names[k].isdecimal() else names[k] for k in (first, target))
            fail(NAME, "points", f"targets {one} and {other} both at (y, x) = ({y}, {x})", "one target a pixel")


def _centres(length: int, factor: int) -> np.ndarray:
    """The middle pixel of each block of ``factor`` along an axis, the last block's within the picture."""
    return np.minimum(np.arange(0, length, factor) + factor // 2, length - 1)


def shrink_factor(size: Sequence[int], limit: int) -> int:
    """The least factor that brings a picture below ``limit`` pixels."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / limit)))
