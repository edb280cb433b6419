"""Masks as polygons that run along the edges of pixels, so that their area is the number of pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons around the parts of a mask; pixels that touch at a corner are one part.

    Formats of polygons know no holes. A polygon here goes into its holes and back on the same way, which encloses
    nothing and leaves nothing out: who fills it by the centres of pixels, by parity or by winding, gets the mask.

    Args:
        mask: (H, W) booleans.

    Returns:
        (N, 2) integer x and y of each part; 0, 0 is the corner of the top left pixel.
    """
    import cv2  # slow to import, and only masks as polygons need it

    # OpenCV follows the centres of the outermost pixels. In a picture of twice the size these lie one to each corner of
    # each pixel of the mask, and halved and rounded up they are that corner.
    doubled = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    found, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [_corners((ring[:, 0].astype(np.int64) + 1) // 2) for ring in found]
    parents = [] if tree is None else tree[0, :, 3].tolist()
    parts = {k: [ring] for k, (ring, parent) in enumerate(zip(rings, parents, strict=True)) if parent < 0}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            parts[parent].append(ring)
    return [joined(part) for part in parts.values()]


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 2) one polygon of several: from the first to each other one and back, on the shortest way between corners."""
    whole = rings[0]
    for ring in rings[1:]:
        k, away = _nearest(whole, ring)
        turned = np.roll(ring, -away, axis=0)
        whole = np.concatenate([whole[: k + 1], turned, turned[:1], whole[k:]])
    return whole


def _nearest(whole: np.ndarray, ring: np.ndarray) -> tuple[int, int]:
    """Index into each of the two corners that are nearest."""
    from scipy.spatial import cKDTree  # slow to import

    distance, index = cKDTree(whole).query(ring)
    away = int(np.argmin(distance))
    return int(index[away]), away


def _corners(ring: np.ndarray) -> np.ndarray:
    """Without points that stand twice, or on the straight line between their neighbours."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
