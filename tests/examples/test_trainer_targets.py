"""The reference trainer: from maps and points to targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from panoptic_segformer.data import Sample, collate
from panoptic_segformer.evaluation import predict
from panoptic_segformer.network import Outputs, PanopticSegformer
from panoptic_segformer.targets import UNKNOWN, Labeller, point_labels
from samples import SyntheticSamples
from torch.nn import functional
from trainer_cases import THINGS, TINY, criterion_for, one_picture

from point2mask_ot import PointTargets


class TestTargets:
    def test_boxes(self):
        """Over the size of the picture, whatever it is padded to."""
        batch = collate(
            [Sample(np.zeros((*size, 3), np.uint8), PointTargets([(3, 5)]), 0) for size in ((8, 16), (10, 20))]
        )
        mask = torch.full((2, 10, 20), -1)
        mask[0, 2:5, 4:12] = 0
        labeller = Labeller(replace(TINY.labels, supervision="masks"), THINGS)
        boxes = labeller(None, replace(batch, masks=mask), 0)[0].boxes
        np.testing.assert_allclose(boxes.numpy(), [[8 / 16, 3.5 / 8, 8 / 16, 3 / 8]])

    def test_padding_enters_nothing(self, network, batch):
        """A picture alone, and beside a larger one, is labelled alike from the same maps."""
        network.eval()
        labeller = Labeller(TINY.labels, THINGS)
        with torch.no_grad():
            outputs = network(batch.pictures, batch.inside)
        height, width = batch.sizes[2]
        maps = [
            functional.interpolate(given, batch.inside.shape[1:], mode="bilinear")[2:, :, :height, :width]
            for given in (outputs.semantic[-1], outputs.boundary, outputs.embeddings)
        ]
        alone = labeller.masker(
            maps[0].softmax(1), maps[1].sigmoid(), batch.points[2:], functional.normalize(maps[2], dim=1)
        )
        together = labeller.pseudo_masks(outputs, batch, epoch=TINY.labels.centroid_epoch)[2]
        assert torch.equal(together.instance[:height, :width], alone[0].instance)
        assert together.void[height:].all()
        assert together.void[:, width:].all()

    def test_true_masks(self, batch, network):
        labeller = Labeller(replace(TINY.labels, supervision="masks"), THINGS)
        targets = labeller(None, batch, 0)
        for index, given in enumerate(targets):
            assert torch.equal(given.instance, batch.masks[index])
            assert int(given.masks.sum() + given.stuff_masks.sum()) == int((given.instance >= 0).sum())

    @pytest.mark.parametrize("preset", ["paper", "official"])
    def test_empty_masks(self, preset):
        """A thing without pixels is left out; the released code teaches the central half of the picture."""
        points = PointTargets([(20, 30), (20, 30)], category=[1, 2])  # of two on one pixel the first has it
        picture, labels = one_picture(points), replace(TINY.labels, preset=preset, boundary="none")
        semantic = torch.zeros(1, 1, 4, 40, 56).index_fill(2, torch.tensor([1]), 30.0)
        maps = {"boundary": torch.zeros(1, 1, 40, 56), "embeddings": torch.ones(1, 128, 40, 56)}
        outputs = Outputs(None, None, None, None, None, None, semantic, **maps, memory=None)
        labeller = Labeller(replace(labels, overrides={"capacity": lambda *_: torch.tensor([1.0, 0.0])}), THINGS)
        (targets,) = labeller(outputs, picture, 10)
        found = dict(zip(targets.classes.tolist(), targets.boxes.tolist(), strict=True))
        whole = {1: [0.5, 0.5, 1.0, 1.0]}
        assert found == (whole | {2: [0.5, 0.5, 0.5, 0.5]} if preset == "official" else whole)
        assert targets.masks.flatten(1).any(1).sum() == 1

    @pytest.mark.parametrize(
        "points",
        [
            PointTargets(np.zeros((0, 2), np.int64)),
            PointTargets([(5, 5)], category=[THINGS], is_thing=[False]),
            PointTargets([(5, 5), (20, 30)], category=[0, 1]),
            PointTargets([(0, 0), (39, 55), (0.4, 0.2)], category=[0, 2, 0]),  # corners, two on one pixel
        ],
        ids=["no points", "no things", "no stuff", "corners"],
    )
    @pytest.mark.parametrize("preset", ["best", "paper", "official"])
    def test_lean_pictures(self, network, points, preset):
        """No image crashes the step, and every loss is finite with a gradient."""
        self.step(network, one_picture(points), preset)

    @pytest.mark.parametrize("size", [(1, 40), (13, 9), (33, 1)])
    def test_thin_pictures(self, network, size):
        last = np.subtract(size, 1)
        points = PointTargets([(0, 0), last], category=[1, THINGS], is_thing=[True, False])
        self.step(network, one_picture(points, size), "paper")

    def test_thin_picture_beside_a_large_one(self, network):
        points = PointTargets([(0, 2), (0, 7)], category=[1, THINGS], is_thing=[True, False])
        samples = [
            Sample(np.zeros((height, width, 3), np.uint8), points, height) for height, width in ((1, 9), (90, 70))
        ]
        self.step(network, collate(samples), "best")

    def test_no_stuff_class(self, batch):
        """A data set of things alone, as nuclei are."""
        network = PanopticSegformer(TINY.network, THINGS, 0)
        self.step(network, one_picture(PointTargets([(5, 5), (20, 30)], category=[0, 1])), "best")
        network.eval()
        categories = SyntheticSamples.categories[:THINGS]
        assert len(predict(network, batch, categories, batch.sizes, threshold=0.0)) == 3

    def step(self, network, picture, preset):
        network.train()
        labels = replace(TINY.labels, preset=preset)
        for epoch in (0, 10_000):
            outputs = network(picture.pictures, picture.inside)
            targets = Labeller(labels, THINGS)(outputs, picture, epoch)
            criterion = criterion_for(network, preset=preset)
            losses = criterion(outputs, picture, targets, epoch, criterion.totals(picture))
            assert all(torch.isfinite(value) for value in losses.values())
            sum(losses.values()).backward()
        network.zero_grad()

    def test_point_labels(self):
        picture = one_picture(PointTargets([(10, 10), (12, 10)], category=[2, 1]))
        labels = point_labels(picture, 5, (40, 56))[0]
        assert (labels == 1).sum() == 25  # the lower class has the overlap
        assert (labels == 2).sum() == 10
        assert (labels == UNKNOWN).sum() == 40 * 56 - 35

    def test_padding_has_neither_labels_nor_colours(self):
        samples = [
            Sample(np.full((size, size, 3), value, np.uint8), PointTargets([(size - 1, size - 1)]), size)
            for size, value in ((24, 200), (48, 100))
        ]
        both = collate(samples)
        assert not (point_labels(both, 17, (48, 48)) != UNKNOWN)[~both.inside].any()
        # Resized, the last pixels of the small picture take in none that is darker.
        small = functional.interpolate(both.pictures, (7, 7), mode="bilinear")[0]
        np.testing.assert_allclose(small.numpy(), 200 / 255, rtol=1e-6)
