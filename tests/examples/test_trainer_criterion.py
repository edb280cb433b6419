"""The reference trainer: its losses, their weights and normalisers."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from panoptic_segformer import config as settings
from panoptic_segformer.config import OFFICIAL, PAPER
from panoptic_segformer.targets import UNKNOWN, Batch, Labeller, point_labels
from trainer_cases import THINGS, TINY, criterion_for

from point2mask_ot import PointTargets

NAMES = {field.name for field in fields(settings.Losses)} - {"ratio"}


def weighed(criterion, outputs, batch, targets, epoch):
    """The losses of a batch that is not split."""
    return criterion(outputs, batch, targets, epoch, criterion.totals(batch))


def without_stuff(pair: Batch) -> PointTargets:
    """The points of the second picture but those of its last target, the ground."""
    points = pair.points[1]
    kept = points.target < points.num_targets - 1
    return PointTargets(points.points_yx[kept], points.target[kept], points.category[:-1], points.is_thing[:-1])


class TestCriterion:
    def test_rules(self):
        assert NAMES - PAPER.things - PAPER.stuff == {
            "semantic_class",
            "partial",
            "lab",
            "tree",
            "manifold",
            "boundary",
        }
        assert NAMES - OFFICIAL.things - OFFICIAL.stuff == {"manifold", "boundary"}
        assert NAMES - PAPER.ramp == {"semantic_class", "partial", "lab", "tree", "manifold"}
        assert NAMES - OFFICIAL.ramp == {"semantic_class", "partial", "lab", "location_class", "manifold"}

    def test_weights_and_ratio(self, network, batch):
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        things, stuff = (sum(len(getattr(t, of)) for t in targets) for of in ("classes", "stuff"))
        r = things / (things + stuff)
        weights = {name: 0.5 + index for index, name in enumerate(NAMES)}
        ones = settings.Losses(**dict.fromkeys(NAMES, 1.0), ratio=False)
        for preset, rules in (("best", PAPER), ("official", OFFICIAL)):
            plain, shared = (
                weighed(criterion_for(network, preset=preset, losses=losses), outputs, batch, targets, 10)
                for losses in (ones, settings.Losses(**weights))
            )
            for name, loss in plain.items():
                share = r if name in rules.things else 1 - r if name in rules.stuff else 1
                torch.testing.assert_close(shared[name], loss * weights[name] * share)

    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
    def test_refused_weights(self, weight):
        with pytest.raises(ValueError, match=r"losses\.lab: got .*, expected a finite number >= 0"):
            replace(TINY, losses=settings.Losses(lab=weight)).check()

    @pytest.mark.parametrize("ramp_affinity", [False, True])
    def test_warm_up(self, network, batch, ramp_affinity):
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        criterion = criterion_for(network, ramp_affinity=ramp_affinity)
        at = {step: weighed(criterion, outputs, batch, targets, step) for step in (0, 5, 10, 99)}
        ramped = PAPER.ramp | ({"lab", "tree"} if ramp_affinity else set())
        for name in NAMES:
            expected = [0, 0.5, 1, 1] if name in ramped else [1, 1, 1, 1]
            full = at[10][name].item()
            np.testing.assert_allclose(
                [losses[name].item() for losses in at.values()], np.multiply(expected, full), rtol=1e-5
            )

    def test_balanced_classes(self, network, batch):
        """The mean over classes of the mean over their labelled pixels."""
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        found = weighed(criterion_for(network, balanced=True), outputs, batch, targets, 0)["partial"]
        labels = point_labels(batch, 5, outputs.memory.shapes[0])
        every = -outputs.semantic.log_softmax(2).permute(2, 0, 1, 3, 4)  # (C, L, B, h, w)
        means = [every[c, :, labels == c].mean(1).sum() for c in labels.unique().tolist() if c != UNKNOWN]
        torch.testing.assert_close(found, torch.stack(means).mean())

    def test_perfect_masks_have_no_dice(self, network):
        from panoptic_segformer.criterion import _dice

        target = torch.zeros(2, 16, 16, dtype=torch.bool)
        target[0, 4:9, 2:8] = target[1, 10:, 10:] = True
        inside = torch.ones(16, 16, dtype=torch.bool)
        assert float(_dice(target.float()[None], target, inside)) < 1e-3
        assert float(_dice(torch.zeros(1, 2, 16, 16), target, inside)) == 2

    def test_focal_has_the_gradient_of_its_formula(self):
        from panoptic_segformer.criterion import _focal

        logits = torch.randn(2, 3, 4, dtype=torch.float64)
        target = (torch.rand(3, 4) > 0.5).double()
        p = logits.sigmoid()
        hit = target * p + (1 - target) * (1 - p)
        expected = -((0.25 * target + 0.75 * (1 - target)) * (1 - hit) ** 2 * hit.log()).sum()
        torch.testing.assert_close(_focal(logits, target), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("balanced", [False, True])
    @pytest.mark.parametrize("stuff", ["both", "first"])
    def test_two_halves_make_the_whole(self, network, batch, stuff, balanced):
        """Losses and gradients of parts of a batch, by processes or by accumulation, add up to those of the whole."""
        network.eval()
        pair = batch[:2]
        if stuff == "first":
            pair = replace(pair, points=[pair.points[0], without_stuff(pair)], masks=pair.masks.clone())
            pair.masks[1][pair.masks[1] == pair.points[1].num_targets] = -1
        labeller = Labeller(replace(TINY.labels, supervision="masks"), THINGS)
        criterion = criterion_for(network, balanced=balanced)
        totals = criterion.totals(pair)
        torch.testing.assert_close(totals, criterion.totals(pair[:1]) + criterion.totals(pair[1:]))

        def losses(part: Batch) -> dict:
            outputs = network(part.pictures, part.inside)
            return criterion(outputs, part, labeller(outputs, part, 0), 10, totals)

        whole, *halves = (losses(part) for part in (pair, pair[:1], pair[1:]))
        for name, value in whole.items():
            torch.testing.assert_close(halves[0][name] + halves[1][name], value, rtol=2e-4, atol=1e-5, msg=name)
        if balanced:
            return
        gradients = []
        for parts in ([whole], halves):
            network.zero_grad()
            sum(sum(part.values()) for part in parts).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
        network.zero_grad()
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3 * gradients[0].std().item())
