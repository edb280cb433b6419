"""Where the trainer looked beside the right pixel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from panoptic_segformer.data import Sample, SyntheticSamples, collate, resized
from panoptic_segformer.inference import as_panoptic
from panoptic_segformer.network import nearest
from panoptic_segformer.targets import UNKNOWN, PictureTargets, point_labels
from torch.nn import functional
from trainer_cases import STUFF, THINGS, criterion_for, one_picture

from point2mask_ot import PointTargets, PseudoMasks


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
        labels = point_labels(batch, 5, (5, 5))
        counts = labels.flatten().bincount(minlength=UNKNOWN + 1)[: THINGS + STUFF]
        losses = criterion_for(network)._semantic(outputs, batch, labels, counts, counts)
        (losses["lab"] + losses["tree"]).backward()
        learns = semantic.grad[0].abs().amax((1, 2)) > 0  # (picture, column)
        assert learns.tolist() == [[True] * 4 + [False], [True] * 5]

    def test_fault_a8_pseudo_masks_at_the_size_of_the_picture(self):
        """Owners of three columns as four: both outer ones keep one, the middle one has two."""
        points = PointTargets([(0, 0), (0, 1), (0, 2)], category=[0, 1, THINGS], is_thing=[True, True, False])
        owner = torch.tensor([[0, 1, 2]] * 3)
        masks = PseudoMasks(owner, None, None, torch.tensor([0, 1, THINGS])[owner], owner < 0, None, None)
        found = as_panoptic(masks, SyntheticSamples.categories, one_picture(points, (3, 3)), 0, (3, 4))
        assert found.id_map.tolist() == [[1, 2, 2, 3]] * 3
