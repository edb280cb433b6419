"""The segments of a picture one by one, as files of masks have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..panoptic import PanopticImage, Segment
from ..panoptic.images import extents
from .outlines import outlines


class Cut(NamedTuple):
    """A segment with its surroundings cut off.

    Attributes:
        segment: of the picture.
        mask: (h, w) booleans, its box.
        left, top: column and row of that box in the picture.
        area: its pixels.
    """

    segment: Segment
    mask: np.ndarray
    left: int
    top: int
    area: int

    @property
    def box(self) -> list[int]:
        """x, y, width, height."""
        return [self.left, self.top, self.mask.shape[1], self.mask.shape[0]]

    def polygons(self) -> list[np.ndarray]:
        """As :func:`.outlines.outlines` has them, in the picture."""
        return [ring + np.array([self.left, self.top]) for ring in outlines(self.mask)]


def cuts(image: PanopticImage, *, stuff: bool, crowds: bool = False) -> Iterator[Cut]:
    """The things of a picture, and its stuff and its crowds where they are wanted, in the order of their ids."""
    measured = extents(image.id_map)
    for segment in sorted(image.segments, key=lambda segment: segment.id):
        if (stuff or segment.is_thing) and (crowds or not segment.is_crowd):
            area, (left, top, width, height) = measured[segment.id]
            mask = image.id_map[top : top + height, left : left + width] == segment.id
            yield Cut(segment, mask, left, top, area)
