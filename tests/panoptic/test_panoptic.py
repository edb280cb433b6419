"""Panoptic images, and the channels of categories."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from panoptic_cases import CATEGORIES, COIN

from point2mask_ot import PointTargets
from point2mask_ot.checks import ArgumentError
from point2mask_ot.panoptic import VOC_CATEGORIES, Category, PanopticImage, Segment, category_channels


class TestPanopticImage:
    def test_keeps_a_read_only_copy(self):
        source = np.array([[1, 0]], np.uint8)
        image = PanopticImage(source, [Segment(1, 3, True)])
        source[:] = 9
        assert image.id_map.tolist() == [[1, 0]]
        assert image.id_map.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            image.id_map[0, 0] = 2

    @pytest.mark.parametrize(
        ("id_map", "segments", "argument", "reason"),
        [
            ([1, 2], (), "id_map", "(H, W) integers"),
            (np.zeros((0, 3), int), (), "id_map", "(0, 3)"),
            ([[0.5]], (), "id_map", "float64"),
            ([[-1]], (), "id_map", "-1"),
            ([[2**24]], (), "id_map", "16777215"),
            ([[4]], (), "segments", "id 4 in the map without a segment"),
            ([[0]], (Segment(4, 3, True),), "segments", "id 4 without a pixel"),
            ([[4]], (Segment(4, 3, True), Segment(4, 3, True)), "segments", "id 4 twice"),
        ],
    )
    def test_refuses(self, id_map, segments, argument, reason):
        with pytest.raises(ArgumentError, match=f"^PanopticImage: argument '{argument}': got") as refusal:
            PanopticImage(id_map, segments)
        assert reason in str(refusal.value)

    def test_from_masks(self):
        masks = np.zeros((4, 2, 3), bool)
        masks[0, 0], masks[2, 1, :2], masks[3, 1, 2] = True, True, True
        image = PanopticImage.from_masks(masks, [3, 3, 12, 0], [1, 1, 0, 0], "id", "a.jpg")
        assert image.id_map.tolist() == [[1, 1, 1], [3, 3, 4]]
        assert image.segments == (Segment(1, 3, True), Segment(3, 12, False), Segment(4, 0, False))
        assert PanopticImage.from_masks(np.zeros((0, 2, 3), bool), [], []).id_map.tolist() == [[0] * 3] * 2

    @pytest.mark.parametrize(
        ("masks", "category_ids", "argument", "reason"),
        [
            ([[[1, 1]], [[0, 1]]], [1, 1], "masks", "1 pixels in more than one mask"),
            ([[[2, 0]]], [1], "masks", "binary"),
            ([[[-1, 0]]], [1], "masks", "binary"),
            ([[[0.5, 0]]], [1], "masks", "float64"),
            ([[1, 0]], [1], "masks", "(K, H, W)"),
            ([[[1, 0]]], [1, 2], "category_ids", "one for each mask"),
        ],
    )
    def test_from_masks_refuses(self, masks, category_ids, argument, reason):
        with pytest.raises(ArgumentError, match=f"^from_masks: argument '{argument}': got") as refusal:
            PanopticImage.from_masks(masks, category_ids, [True] * len(category_ids))
        assert reason in str(refusal.value)

    def test_from_targets(self):
        category, is_thing = [1, 0, 2, 2, 1], [True, True, False, False, True]
        targets = PointTargets(np.eye(5, 2), category=category, is_thing=is_thing)
        kinds = [Category(7, "cat", True), Category(3, "dog", True), Category(12, "sky", False)]
        image = PanopticImage.from_targets(np.array([[0, 3, 2], [-1, 3, 4]], np.int32), targets, kinds, "id", "a.jpg")
        assert image.id_map.tolist() == [[1, 3, 3], [0, 3, 5]], "stuff is one segment"
        assert image.segments == (Segment(1, 3, True), Segment(3, 12, False), Segment(5, 3, True))
        assert (image.image_id, image.file_name) == ("id", "a.jpg")
        nobody = PanopticImage.from_targets(np.full((2, 3), -1), PointTargets(np.zeros((0, 2))), [])
        assert nobody.id_map.tolist() == [[0] * 3] * 2

    @pytest.mark.parametrize(
        ("instance", "kinds", "argument"),
        [
            ([0, 1], 1, "instance"),
            ([[0.0, 1.0]], 1, "instance"),
            ([[0, 2]], 1, "instance"),
            ([[0, -2]], 1, "instance"),
            ([[0, 1]], 0, "categories"),
        ],
    )
    def test_from_targets_refuses(self, instance, kinds, argument):
        targets = PointTargets([(0, 0), (0, 1)])
        with pytest.raises(ArgumentError, match=f"^from_targets: argument '{argument}': got"):
            PanopticImage.from_targets(np.array(instance), targets, [Category(1, "cat", True)] * kinds)


def test_channels_put_things_first():
    assert category_channels(CATEGORIES) == {3: 0, 0: 1, 12: 2}
    assert list(category_channels(VOC_CATEGORIES)) == [*range(1, 21), 0]
    with pytest.raises(ArgumentError, match="category id 3 twice"):
        category_channels([COIN, COIN])


def test_needs_neither_torch_nor_numba():
    code = "import sys, point2mask_ot.panoptic; print({'torch', 'numba', 'scipy', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
