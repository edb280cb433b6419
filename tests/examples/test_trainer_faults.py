"""Where the trainer looked beside the right pixel, or left pictures out: one test for each fault."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import predict
import pytest
import torch
from panoptic_segformer.data import Sample, collate, grouped_batches, resized
from panoptic_segformer.evaluation import as_panoptic
from panoptic_segformer.mask_decoder import nearest
from panoptic_segformer.targets import UNKNOWN, PictureTargets, point_labels
from PIL import ExifTags, Image
from samples import FileSamples, SyntheticSamples
from torch.nn import functional
from trainer_cases import STUFF, THINGS, TINY, criterion_for, one_picture

from point2mask_ot import PointTargets, PseudoMasks, write_coco_panoptic
from point2mask_ot.panoptic import PicturePoints, write_point_set


class TestFaultA8:
    """What is resized to cells of several pixels takes the pixel at the centre of each."""

    @pytest.mark.parametrize(
        ("length", "cells", "expected"),
        [
            (16, 4, [2, 6, 10, 14]),
            (15, 3, [2, 7, 12]),
            (18, 5, [1, 5, 9, 12, 16]),
            (3, 4, [0, 1, 1, 2]),
            (2, 6, [0, 0, 0, 1, 1, 1]),
        ],
    )
    def test_fault_a8_the_centre_of_each_cell(self, length, cells, expected):
        pixels = torch.arange(length).expand(1, 7, length)
        assert nearest(pixels, (7, cells))[0].tolist() == [expected] * 7
        assert nearest(pixels.mT, (cells, 7))[0].mT.tolist() == [expected] * 7
        flags = pixels % 2 == 1
        assert nearest(flags, (7, cells)).dtype == torch.bool
        assert nearest(flags, (7, cells))[0, 0].tolist() == [pixel % 2 == 1 for pixel in expected]

    def test_fault_a8_labels_around_points(self):
        """Of the cells of four pixels, a square of five around pixel (10, 9) has one centre in it: that of its own."""
        labels = point_labels(one_picture(PointTargets([(10, 9)], category=[1]), (24, 24)), 5, (6, 6))[0]
        assert (labels != UNKNOWN).nonzero().tolist() == [[2, 2]]
        assert labels[2, 2] == 1

    @pytest.mark.parametrize(("start", "expected"), [(1, [True, True, False]), (3, [False, True, True])])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_fault_a8_true_masks_shrink_with_their_picture(self, start, expected, axis):
        """A stripe of eight pixels owns the cells of four that it has most of."""
        stripe = np.zeros((12, 12), np.int64)
        stripe[:, start : start + 8] = 1
        masks = stripe if axis else stripe.T
        sample = Sample(np.repeat(255 * masks[..., None], 3, 2).astype(np.uint8), PointTargets([(6, 6)]), 0, masks)
        small = resized(sample, 3, 3)
        found = small.masks if axis else small.masks.T
        assert found.tolist() == [[int(owned) for owned in expected]] * 3
        np.testing.assert_array_equal(small.masks == 1, small.picture[..., 0] > 127)

    def test_fault_a8_the_manifold_loss_sees_masks_where_they_are(self, network):
        """Against a loop over the points, with the owners of the cells' centres written out."""
        points = PointTargets([(8, 4), (8, 30), (2, 30)], category=[0, 1, THINGS], is_thing=[True, True, False])
        batch = one_picture(points, (12, 32))
        instance = torch.zeros(12, 32, dtype=torch.int64)
        instance[:, 18:] = 1  # the border lies between the corner and the centre of a cell, as the next one does
        instance[:6] = 2
        semantic = torch.tensor([0, 1, THINGS])[instance]
        owner = np.array([[2] * 8, [0] * 4 + [1] * 4, [0] * 4 + [1] * 4])
        torch.manual_seed(0)
        embeddings = functional.normalize(torch.randn(1, 128, 3, 8, dtype=torch.float64), dim=1)
        none = torch.zeros(0)
        targets = [PictureTargets(none, none, none, none, none, instance, semantic)]
        outputs = SimpleNamespace(memory=SimpleNamespace(shapes=[(3, 8)]), embeddings=embeddings)
        found = criterion_for(network)._manifold(outputs, batch, targets)

        f = embeddings[0].numpy()
        means = np.array([f[:, owner == k].mean(1) for k in range(3)])
        cells = [(2, 1), (2, 7), (0, 7)]
        scores = np.array([means @ f[:, y, x] / 0.07 for y, x in cells])
        expected = np.mean([np.log(np.exp(row).sum()) - row[k] for k, row in enumerate(scores)])
        np.testing.assert_allclose(found.item(), expected, rtol=1e-5)

    def test_fault_a8_cells_in_the_padding_have_no_affinity(self, network):
        """A picture 17 pixels wide beside one of 20: the centre of its last cell, pixel 18, is padding."""
        points = PointTargets([(2, 2)], category=[0])
        batch = collate([Sample(np.zeros((20, width, 3), np.uint8), points, width) for width in (17, 20)])
        torch.manual_seed(0)
        semantic = torch.randn(1, 2, THINGS + STUFF, 5, 5, requires_grad=True)
        outputs = SimpleNamespace(memory=SimpleNamespace(shapes=[(5, 5)]), semantic=semantic)
        criterion = criterion_for(network)
        losses = criterion._affinity(outputs, batch)
        (losses["lab"] + losses["tree"]).backward()
        learns = semantic.grad[0].abs().amax((1, 2)) > 0  # (picture, column)
        assert learns.tolist() == [[True] * 4 + [False], [True] * 5]

    def test_fault_a8_pseudo_masks_at_the_size_of_the_picture(self):
        """Owners of three columns as four: both outer ones keep one, the middle one has two."""
        points = PointTargets([(0, 0), (0, 1), (0, 2)], category=[0, 1, THINGS], is_thing=[True, True, False])
        owner = torch.tensor([[0, 1, 2]] * 3)
        masks = PseudoMasks(owner, None, torch.tensor([0, 1, THINGS])[owner], owner < 0, None, None, None)
        sample = Sample(np.zeros((3, 4, 3), np.uint8), points, 0)
        found = as_panoptic(masks, sample, one_picture(points, (3, 3)), SyntheticSamples.categories)
        assert found.id_map.tolist() == [[1, 2, 2, 3]] * 3


class TestFaultA9:
    """Every picture is in every epoch."""

    @pytest.mark.parametrize(("wide", "tall", "batch_size"), [(19, 5, 8), (5, 19, 8), (3, 0, 8), (1, 1, 4), (16, 8, 8)])
    def test_fault_a9_all_pictures_are_seen(self, wide, tall, batch_size):
        is_wide = np.random.default_rng(0).permutation([True] * wide + [False] * tall)
        count = -(-wide // batch_size) + -(-tall // batch_size)
        for epoch in range(3):
            batches = grouped_batches(is_wide, batch_size, 1, epoch)
            assert [len(batch) for batch in batches] == [batch_size] * count
            assert all(len(set(is_wide[batch])) == 1 for batch in batches)
            seen = np.bincount(np.concatenate(batches), minlength=wide + tall)
            for group in (seen[is_wide], seen[~is_wide]):
                assert not group.size or group.min() >= 1, "of no orientation is a picture left out"
                assert not group.size or group.max() <= group.min() + 1, "what is repeated is shared out evenly"

    def test_fault_a9_what_is_repeated_changes_with_the_epoch(self):
        repeated: set[int] = set()
        for epoch in range(20):
            whole = grouped_batches([True] * 5, 4, 1, epoch)
            repeated |= set(np.flatnonzero(np.bincount(np.concatenate(whole)) == 2).tolist())
        assert repeated == set(range(5))

    def test_fault_a9_nothing_to_learn_from(self, tmp_path):
        with pytest.raises(ValueError, match="got no pictures, expected at least one"):
            FileSamples(tmp_path, None, None)

    def test_fault_a9_pictures_that_are_not_trained_on_are_counted(self, tmp_path):
        thing = PointTargets([(3, 3)], category=[0])
        ground = PointTargets([(3, 3)], category=[THINGS], is_thing=[False])
        entries = []
        for name, side, points in (("a.png", 32, thing), ("tiny.png", 31, thing), ("ground.png", 32, ground)):
            Image.new("RGB", (50, side)).save(tmp_path / name)
            entries.append(PicturePoints(name, len(entries), points))
        for kept in (entries, entries[:1]):
            write_point_set(tmp_path / "points.json", kept, SyntheticSamples.categories)
            match = (
                r"data\.points: 2 of 3 pictures are not trained on: without a point on a thing, or with a side below"
            )
            with pytest.warns(UserWarning, match=match) if len(kept) == 3 else nullcontext():  # else a warning fails
                samples = FileSamples(tmp_path, tmp_path / "points.json", None)
            assert [entry.file_name for entry in samples.entries] == ["a.png"]

    def test_masks_of_other_pictures_are_no_truth(self, tmp_path):
        Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
        entry = PicturePoints("a.png", 1, PointTargets([(3, 3)], category=[0]))
        write_point_set(tmp_path / "points.json", [entry], SyntheticSamples.categories)
        truth = SyntheticSamples(0, 1, 32).truth(0)
        masks = [replace(truth, file_name="b.png")]
        write_coco_panoptic(masks, tmp_path / "t.json", tmp_path / "t", SyntheticSamples.categories)
        with pytest.raises(ValueError, match="got masks of none of the 1 pictures"):
            FileSamples(tmp_path, tmp_path / "points.json", tmp_path / "t.json")

    def test_fault_a9_all_kinds_of_pictures_are_predicted_on(self, tmp_path):
        names = [f"a{suffix}" for suffix in (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")]
        for name in names:
            Image.new("RGB", (9, 7)).save(tmp_path / name)
        found = predict.samples_of(predict.Options(tmp_path, tmp_path, pictures=tmp_path), TINY)
        assert [found[index].image_id for index in range(len(found))] == names


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_fault_c2_the_size_of_a_turned_picture_is_that_of_what_is_read(orientation, suffix, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (50, 40)).save(tmp_path / f"a.{suffix}", exif=exif)
    entry = PicturePoints(f"a.{suffix}", 1, PointTargets([(3, 3)], category=[0]))
    write_point_set(tmp_path / "points.json", [entry], SyntheticSamples.categories)
    samples = FileSamples(tmp_path, tmp_path / "points.json", None)
    assert samples.size(0) == samples[0].picture.shape[:2] == ((50, 40) if orientation >= 5 else (40, 50))
