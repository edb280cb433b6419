"""A picture whose masks are known."""

from __future__ import annotations

import numpy as np

from point2mask_ot import PointTargets

PRESETS = ("best", "paper", "official")


def scene(height=48, width=64, blur=0.0):
    """Two things of class 1 and one of class 2 on a background of class 3 (stuff); channel 0 is absent."""
    truth = np.full((height, width), -1)
    truth[8:28, 6:26] = 0
    truth[8:28, 26:46] = 1
    truth[32:44, 10:50] = 2
    category = np.array([1, 1, 2, 3])
    semantic = np.full((5, height, width), 0.02, np.float32)
    np.put_along_axis(semantic, category[truth][None], 0.92, 0)
    boundary = np.zeros((1, height, width), np.float32)
    boundary[0, 8:28, 25:27] = 1
    targets = PointTargets(
        [(15, 12), (20, 40), (38, 30), (2, 2), (46, 60)],
        target=[0, 1, 2, 3, 3],
        category=category,
        is_thing=[True, True, True, False],
    )
    return truth, semantic, boundary, targets


def iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()
