"""The reference trainer: samples, batches and inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from panoptic_segformer.data import PreparedSamples, Sample, collate, flipped, grouped_batches, resized
from panoptic_segformer.evaluation import as_panoptic, predict
from samples import SyntheticSamples

from point2mask_ot import PointTargets, panoptic_quality


class TestData:
    def test_points_follow_the_picture(self):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[10:14, 50:54] = 255
        sample = Sample(picture, PointTargets([(11.5, 51.5)]), 0)
        for changed in (flipped(sample), resized(sample, 100, 1000), resized(flipped(sample), 23, 30)):
            y, x = np.floor(changed.points.points_yx[0] + 0.5).astype(int)
            assert changed.picture[y, x].min() > 100
        assert resized(sample, 100, 120).picture.shape == (80, 120, 3)

    def test_samples_depend_on_seed_and_epoch_only(self):
        prepared = [PreparedSamples(SyntheticSamples(0, 8, 96), (64, 80, 96), 96, 3) for _ in range(2)]
        for data in prepared:
            data.epoch = 5
        assert all(np.array_equal(prepared[0][i].picture, prepared[1][i].picture) for i in (4, 1))
        sizes = {prepared[0][i].picture.shape for i in range(8)}
        assert len(sizes) > 1

    def test_batches_are_of_one_orientation(self):
        wide = [index % 3 == 0 for index in range(40)]
        batches = grouped_batches(wide, 8, 1, 0)
        assert batches == grouped_batches(wide, 8, 1, 0)
        assert batches != grouped_batches(wide, 8, 1, 1)
        assert len(batches) == 6
        for batch in batches:
            assert len({wide[index] for index in batch}) == 1

    def test_a_low_boundary_follows_its_picture(self):
        picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        sample = Sample(picture, PointTargets([(1, 1)]), 0, low=picture[..., 0])
        for changed in (flipped(sample), resized(sample, 20, 99), resized(flipped(sample), 77, 99)):
            assert np.array_equal(changed.low, changed.picture[..., 0])
        batch = collate([resized(sample, 20, 99), sample])
        assert batch.low.shape == (2, 1, 40, 60)
        assert torch.equal(batch.low[1, 0], batch.pictures[1, 0])
        assert not batch.low[0, 0][~batch.inside[0]].any()


class TestInference:
    def test_true_masks_come_back(self, batch):
        from point2mask_ot import PseudoMasks

        samples = SyntheticSamples(0, 3, 96)
        points = batch.points[0]
        category = torch.as_tensor(points.category.copy())
        owner = batch.masks[0]
        masks = PseudoMasks(owner, None, category[owner], owner < 0, None, None, None)
        found = as_panoptic(masks, replace(samples[0], points=batch.points[0]), batch, samples.categories)
        assert panoptic_quality([found], [samples.truth(0)], samples.categories).pq == 1

    def test_covered_segments_are_left_out(self):
        """A thing may be covered by 40 %, stuff by 20 %, and a segment without pixels is none."""
        from panoptic_segformer.evaluation import _merge

        masks = torch.zeros(5, 1, 30, dtype=torch.bool)
        masks[0, 0, :10] = True  # the surest
        masks[1, 0, 5:15] = True  # covered by 50 %
        masks[2, 0, 7:17] = True  # covered by 30 %
        masks[3, 0, 14:24] = True  # stuff, covered by 30 %
        scores, channels = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), torch.tensor([0, 1, 2, 3, 0])
        found = _merge((channels, scores, masks), SyntheticSamples.categories, (1, 30), 0.25, 0)
        assert found.id_map.tolist() == [[1] * 10 + [2] * 7 + [0] * 13]
        assert [segment.category_id for segment in found.segments] == [1, 3]

    def test_segments_do_not_overlap_and_are_sure(self, network, batch):
        network.eval()
        sizes = [(50, 61), (96, 96), (7, 9)]
        found = predict(network, batch, SyntheticSamples.categories, sizes, threshold=0.0)
        assert [image.size for image in found] == sizes
        assert all(
            not predict(network, batch, SyntheticSamples.categories, sizes, threshold=2.0)[i].segments for i in range(3)
        )
