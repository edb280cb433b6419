"""The picture's border as background: points that nobody has to click."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..checks import fail
from ..types import PointTargets

SPACING = 0.04
"""Between such points, of the picture's longer side."""
CLEARANCE = 0.1
"""None lies closer to a point of a thing than this, of the longer side."""


def with_border(targets: PointTargets, pixels: np.ndarray, height: int, width: int) -> tuple[PointTargets, np.ndarray]:
    """The targets and their points' pixels, with more points of the first stuff target along the picture's border.

    Raises:
        ArgumentError: no stuff target.
    """
    background = np.flatnonzero(~targets.is_thing)
    if not background.size:
        got = "'background' without a point on a background"
        fail("PseudoMasker", "config.border", got, "a point of a stuff target, or border='free'")
    rim = _rim(height, width, max(1, round(SPACING * max(height, width))))
    apart = np.hypot(*(rim[:, None] - pixels[None]).transpose(2, 0, 1))
    of_a_thing = targets.is_thing[targets.target]
    far = (apart[:, of_a_thing] > CLEARANCE * max(height, width)).all(1) & (apart > 0).all(1)
    added = rim[far]
    target = np.concatenate([targets.target, np.full(len(added), background[0])])
    more = replace(targets, points_yx=np.concatenate([targets.points_yx, added]), target=target)
    return more, np.concatenate([pixels, added])


def _rim(height: int, width: int, spacing: int) -> np.ndarray:
    """(R, 2) pixels of the four borders, ``spacing`` apart along each."""
    along_x = np.array([(y, x) for y in (0, height - 1) for x in range(0, width, spacing)])
    along_y = np.array([(y, x) for y in range(0, height, spacing) for x in (0, width - 1)])
    return np.unique(np.concatenate([along_x, along_y]), axis=0)
