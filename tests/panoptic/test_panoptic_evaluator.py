"""Panoptic quality and mean IoU that are counted picture by picture."""

from __future__ import annotations

import numpy as np
import pytest

from point2mask_ot import Category, PanopticImage, Segment, panoptic_quality
from point2mask_ot.panoptic import PanopticEvaluator

CATEGORIES = [Category(3, "a", True), Category(1, "b", True), Category(2, "c", False)]
KINDS = (Segment(1, 1, True), Segment(2, 2, False), Segment(3, 3, True))


def random_pairs(count: int) -> list[list[PanopticImage]]:
    rng = np.random.default_rng(0)
    pairs = []
    for image in range(count):
        truth = np.concatenate([[1, 2, 3], np.sort(rng.integers(1, 4, 27))])
        guess = np.where(rng.random(30) < 0.2, 3, truth)
        pairs.append([PanopticImage(ids[None], KINDS, image) for ids in (np.r_[1:4, guess[3:]], truth)])
    return pairs


def test_shares_add_up_to_the_quality_of_all():
    pairs = random_pairs(4)
    evaluators = [PanopticEvaluator(CATEGORIES), PanopticEvaluator(CATEGORIES)]
    for index, pair in enumerate(pairs):
        evaluators[index % 2].add(*pair)
    evaluators[0].counts = evaluators[0].counts + evaluators[1].counts
    assert evaluators[0].quality == panoptic_quality(*zip(*pairs, strict=True), CATEGORIES)
    guesses, truths = (np.concatenate([pair[side].id_map.ravel() for pair in pairs]) for side in (0, 1))
    ious = [((guesses == k) & (truths == k)).sum() / ((guesses == k) | (truths == k)).sum() for k in (1, 2, 3)]
    assert evaluators[0].miou == pytest.approx(np.mean(ious))


def test_nothing_counted_is_zero_and_another_picture_is_refused():
    evaluator = PanopticEvaluator(CATEGORIES)
    assert (evaluator.quality.pq, evaluator.miou) == (0, 0)
    (guess, _), (_, truth) = random_pairs(2)
    with pytest.raises(ValueError, match="PanopticEvaluator: argument 'predictions': got image 0"):
        evaluator.add(guess, truth)
    assert not evaluator.counts.any()
