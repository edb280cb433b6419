"""Panoptic images of any kind, and their categories."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from point2mask_ot.panoptic import Category, PanopticImage, Segment

COIN, TABLE, CLOTH = Category(3, "coin", True, (9, 8, 7)), Category(0, "table", False), Category(12, "cloth", False)
CATEGORIES = (TABLE, COIN, CLOTH)

per_example_folder = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(a: PanopticImage, b: PanopticImage) -> bool:
    return np.array_equal(a.id_map, b.id_map) and a.segments == b.segments


@st.composite
def panoptic_images(draw, image_id=7, crowd=True):
    """Any picture: void, crowds, ids up to 2^24-1, one-pixel-wide sizes, no segment at all."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=1, max_size=5, unique=True))
    cells = st.lists(st.sampled_from([0, *ids]), min_size=height * width, max_size=height * width)
    id_map = np.array(draw(cells)).reshape(height, width)
    present = [i for i in ids if (id_map == i).any()]
    segments = []
    for number in present:
        category = draw(st.sampled_from(CATEGORIES))
        segments.append(Segment(number, category.id, category.is_thing, crowd and draw(st.booleans())))
    return PanopticImage(id_map, tuple(segments), image_id, f"folder/{image_id}.jpg")


ONE = PanopticImage([[1]], (Segment(1, 3, True),), 1, "a.jpg")
