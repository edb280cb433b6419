"""The reference trainer: samples, batches and inference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from panoptic_segformer.data import GroupedBatches, PreparedSamples, Sample, SyntheticSamples, flipped, resized
from panoptic_segformer.inference import Tally, as_panoptic, predict

from point2mask_ot import Category, PanopticImage, PointTargets, Segment, panoptic_quality


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

    @pytest.mark.parametrize("processes", [1, 2, 4])
    def test_batches_are_shared_out(self, processes):
        wide = [index % 3 == 0 for index in range(40)]
        parts = [list(GroupedBatches(wide, 8, 1, rank, processes)) for rank in range(processes)]
        whole = list(GroupedBatches(wide, 8, 1))
        assert [[i for part in parts for i in part[k]] for k in range(len(whole))] == whole
        assert len(whole) == len(GroupedBatches(wide, 8, 1)) == 6
        for batch in whole:
            assert len({wide[index] for index in batch}) == 1
        later = GroupedBatches(wide, 8, 1)
        later.start = 2
        assert list(later) == whole[2:]


class TestInference:
    def test_true_masks_come_back(self, batch):
        from point2mask_ot import PseudoMasks

        samples = SyntheticSamples(0, 3, 96)
        points = batch.points[0]
        category = torch.as_tensor(points.category.copy())
        owner = batch.masks[0]
        masks = PseudoMasks(owner, None, category[owner], owner < 0, None, None, None)
        found = as_panoptic(masks, samples.categories, batch, 0, (96, 96))
        assert panoptic_quality([found], [samples.truth(0)], samples.categories).pq == 1

    def test_covered_segments_are_left_out(self):
        """A thing may be covered by 40 %, stuff by 20 %, and a segment without pixels is none."""
        from panoptic_segformer.inference import _merge

        masks = torch.zeros(5, 1, 30, dtype=torch.bool)
        masks[0, 0, :10] = True  # the surest
        masks[1, 0, 5:15] = True  # covered by 50 %
        masks[2, 0, 7:17] = True  # covered by 30 %
        masks[3, 0, 14:24] = True  # stuff, covered by 30 %
        scores, channels = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), torch.tensor([0, 1, 2, 3, 0])
        found = _merge((channels, scores, masks), SyntheticSamples.categories, (1, 30), 0.25, 0)
        assert found.id_map.tolist() == [[1] * 10 + [2] * 7 + [0] * 13]
        assert [segment.category_id for segment in found.segments] == [1, 3]

    def test_tally_is_the_quality_of_all(self):
        rng = np.random.default_rng(0)
        categories = [Category(1, "a", True), Category(2, "b", True), Category(3, "c", False)]
        kinds = (Segment(1, 1, True), Segment(2, 2, True), Segment(3, 3, False))
        pairs = []
        for image in range(4):
            truth = np.concatenate([[1, 2, 3], np.sort(rng.integers(1, 4, 27))])
            guess = np.where(rng.random(30) < 0.2, 3, truth)
            pairs.append([PanopticImage(ids[None], kinds, image) for ids in (np.r_[1:4, guess[3:]], truth)])
        tallies = [Tally(categories), Tally(categories)]
        for index, pair in enumerate(pairs):
            tallies[index % 2].add(*pair)
        tallies[0].counts = tallies[0].counts + tallies[1].counts
        expected = panoptic_quality(*zip(*pairs, strict=True), categories)
        for kind, means in tallies[0].scores().items():
            assert means == pytest.approx(vars(getattr(expected, kind)))

    def test_segments_do_not_overlap_and_are_sure(self, network, batch):
        network.eval()
        sizes = [(50, 61), (96, 96), (7, 9)]
        found = predict(network, batch, SyntheticSamples.categories, sizes, threshold=0.0)
        assert [image.size for image in found] == sizes
        assert all(
            not predict(network, batch, SyntheticSamples.categories, sizes, threshold=2.0)[i].segments for i in range(3)
        )
