"""Lean, thin, tied and unreachable input of Algorithm 1: it must simply work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pseudo_mask_cases import PRESETS, iou, scene

from point2mask_ot import MapTerm, PointTargets, PseudoMasker


class TestMustSimplyWork:
    def run(self, semantic, boundary, targets, preset="best", **overrides):
        result = PseudoMasker(preset, **overrides)(semantic, boundary, targets)
        assert np.isfinite(result.confidence).all()
        return result

    @pytest.mark.parametrize("preset", PRESETS)
    def test_no_things(self, preset):
        _, semantic, boundary, targets = scene()
        alone = targets.select([3])
        result = self.run(semantic, boundary, alone, preset, point_radius=2)
        assert result.masks[0].all(), "where one class is present, it is everywhere (FAULTS C13)"

    @pytest.mark.parametrize("preset", PRESETS)
    def test_no_stuff(self, preset):
        _, semantic, boundary, targets = scene()
        result = self.run(semantic, boundary, targets.select([0, 1, 2]), preset)
        assert result.masks.any((1, 2)).all()

    @pytest.mark.parametrize("preset", PRESETS)
    def test_no_target_at_all(self, preset):
        _, semantic, boundary, _ = scene()
        result = self.run(semantic, boundary, PointTargets(np.zeros((0, 2))), preset)
        assert result.masks.shape == (0, 48, 64)
        assert result.boxes.shape == (0, 4)
        assert result.void.all()

    @pytest.mark.parametrize("preset", PRESETS)
    def test_one_target(self, preset):
        _, semantic, boundary, targets = scene()
        self.run(semantic, boundary, targets.select([1]), preset)

    @pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1), (5, 40), (33, 47)])
    @pytest.mark.parametrize("preset", PRESETS)
    def test_thin_small_and_odd_sizes(self, size, preset):
        height, width = size
        semantic = np.full((2, height, width), 0.5, np.float32)
        targets = (
            PointTargets([(0, 0)], category=[1])
            if size == (1, 1)
            else PointTargets([(0, 0), (height - 1, width - 1)], category=[1, 1])
        )
        result = self.run(
            semantic,
            np.zeros((1, height, width), np.float32),
            targets,
            preset,
            **({"stride": 1} if size == (1, 1) else {}),
        )
        assert (result.instance >= 0).all()

    @pytest.mark.parametrize("preset", PRESETS)
    def test_constant_maps_and_ties(self, preset):
        semantic = np.full((1, 32, 48), 1.0, np.float32)
        result = self.run(semantic, None, PointTargets([(4, 4), (4, 40), (28, 24)]), preset)
        assert (result.instance >= 0).all()

    @pytest.mark.parametrize("preset", ["paper", "official"])
    def test_two_targets_in_one_cell(self, preset):
        _, semantic, boundary, _ = scene()
        close = PointTargets([(15, 12), (16, 13), (2, 2)], None, [1, 1, 3], [True, True, False])
        self.run(semantic, boundary, close, preset)

    def test_unreachable_pixels_are_void(self):
        wall = np.zeros((1, 9, 20), np.float32)
        wall[0, :, 10] = 1
        term = MapTerm(wall, 1.0, lambda here, there: torch.where(torch.maximum(here, there)[:, 0] > 0, torch.inf, 0))
        targets = PointTargets([(0, 0), (8, 5)])
        result = PseudoMasker("best", stuff="supply")(None, np.zeros_like(wall), targets, terms=[term])
        assert result.void[:, 10:].all()
        assert not result.void[:, :10].any()
        assert (result.instance[:, 10:] == -1).all()
        assert (result.confidence[:, 10:] == 0).all()

    @pytest.mark.parametrize("method", ["sinkhorn", "minimum"])
    def test_nobody_owns_what_no_path_reaches(self, method):
        wall = np.zeros((1, 9, 20), np.float32)
        wall[0, :, 10] = 1
        term = MapTerm(wall, 1.0, lambda here, there: torch.where(torch.maximum(here, there)[:, 0] > 0, torch.inf, 0))
        masker = PseudoMasker(
            "best", stuff="supply", method=method, tol=None, capacity=lambda p, t, d: torch.tensor([171.0, 0.0])
        )
        result = masker(None, np.zeros_like(wall), PointTargets([(0, 0), (0, 19)]), terms=[term])
        owner = result.instance
        finite = np.isfinite(result.diagnostics.cost)
        assert all(finite[owner[y, x], y, x] for y, x in np.argwhere(owner >= 0))
        assert result.void[owner < 0].all()

    @pytest.mark.parametrize("preset", ["paper", "official"])
    def test_an_image_smaller_than_the_stride(self, preset):
        semantic = np.full((1, 12, 9), 1.0, np.float32)
        result = self.run(semantic, None, PointTargets([(2, 2), (9, 6)]), preset)
        assert (result.instance >= 0).all()

    def test_a_very_sure_boundary(self):
        boundary = np.full((1, 9, 9), 1e-40, np.float32)
        self.run(None, boundary, PointTargets([(0, 0), (8, 8)]), stuff="supply", method="sinkhorn", tol=None)

    def test_duplicate_points_of_one_target(self):
        _, semantic, boundary, targets = scene()
        twice = PointTargets(
            np.vstack([targets.points_yx, targets.points_yx[:1]]),
            [*targets.target, 0],
            targets.category,
            targets.is_thing,
        )
        once = PseudoMasker()(semantic, boundary, targets)
        np.testing.assert_array_equal(PseudoMasker()(semantic, boundary, twice).instance, once.instance)

    def test_ten_points_a_target(self, rng):
        truth, semantic, boundary, targets = scene()
        points = np.concatenate([rng.permutation(np.argwhere(truth == k))[:10] for k in (0, 1, 2, -1)])
        ten = PointTargets(points, np.repeat(np.arange(4), 10), targets.category, targets.is_thing)
        result = PseudoMasker(point_radius=0)(semantic, boundary, ten)
        assert all(iou(result.masks[k], truth == k) > 0.95 for k in range(3))

    def test_float_points_belong_to_the_nearest_pixel(self):
        _, semantic, boundary, targets = scene()
        moved = dataclasses.replace(targets, points_yx=targets.points_yx + 0.4)
        np.testing.assert_array_equal(
            PseudoMasker()(semantic, boundary, moved).instance, PseudoMasker()(semantic, boundary, targets).instance
        )
