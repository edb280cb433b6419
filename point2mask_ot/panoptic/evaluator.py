"""Panoptic quality and mean IoU of pictures that come one by one, in one process or many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .images import Category, PanopticImage, check_categories, runs
from .quality import PanopticQuality, panoptic_pairs, quality_of_counts, segment_counts

_NAME = "PanopticEvaluator"


class PanopticEvaluator:
    """Counts picture after picture; counts of several processes add up to those of all pictures.

    Args:
        categories: the categories to score, in any order.

    Attributes:
        counts: (7, C) float64, the columns by ascending category id: tp, fp, fn and the sum of IoU of the segments;
            then, in pixels that are neither void nor crowd in the truth, how many of the category are right, true, and
            predicted. May be set, to the sum of several evaluators' counts.

    Example:
        >>> from point2mask_ot.panoptic import Segment
        >>> truth = PanopticImage([[1, 1, 1, 2]], (Segment(1, 7, True), Segment(2, 0, False)))
        >>> guess = PanopticImage([[5, 5, 6, 6]], (Segment(5, 7, True), Segment(6, 0, False)))
        >>> evaluator = PanopticEvaluator([Category(7, "coin", True), Category(0, "table", False)])
        >>> evaluator.add(guess, truth)
        >>> round(evaluator.quality.things.pq, 3), round(evaluator.miou, 3)
        (0.667, 0.583)
    """

    def __init__(self, categories: Iterable[Category]) -> None:
        self._by_id = check_categories(_NAME, categories)
        self.counts = np.zeros((7, len(self._by_id)))

    def add(self, prediction: PanopticImage, truth: PanopticImage) -> None:
        """Count one picture.

        Raises:
            ArgumentError: another id or size than the truth's, or a segment of no category listed.
        """
        for pair in panoptic_pairs(_NAME, [prediction], [truth], self._by_id):
            self.counts = self.counts + picture_counts(*pair, np.array(sorted(self._by_id)))

    @property
    def quality(self) -> PanopticQuality:
        """Of all pictures so far, see :func:`~point2mask_ot.panoptic_quality`."""
        return quality_of_counts(self.counts[:4], self._by_id)

    @property
    def miou(self) -> float:
        """Mean IoU of the categories' pixels, over the categories that the truth has; 0 where it has none."""
        return mean_iou(self.counts)


def picture_counts(prediction: PanopticImage, truth: PanopticImage, order: np.ndarray) -> np.ndarray:
    """(7, C) counts of one picture, see :class:`PanopticEvaluator`, for the sorted category ids."""
    true_class, guess = (_classes(image, order) for image in (truth, prediction))
    # Counting pairs of classes run by run: label maps have far fewer runs than pixels.
    codes, _, lengths = runs((true_class * (len(order) + 1) + guess).ravel())
    counts = np.bincount(codes, lengths, (len(order) + 1) ** 2).reshape(len(order) + 1, -1)[1:]
    pixels = np.stack([np.diagonal(counts[:, 1:]), counts.sum(axis=1), counts[:, 1:].sum(axis=0)])
    return np.concatenate([segment_counts(prediction, truth, order), pixels])


def mean_iou(counts: np.ndarray) -> float:
    """Mean over the categories that the truth has, 0 where it has none; of (7, C) counts."""
    right, true, predicted = counts[4:]
    seen = true > 0
    return float((right[seen] / (true + predicted - right)[seen]).mean()) if seen.any() else 0.0


def _classes(image: PanopticImage, order: np.ndarray) -> np.ndarray:
    """(H, W) 1 + index of the category, 0 in void and crowds."""
    solid = sorted((segment.id, segment.category_id) for segment in image.segments if not segment.is_crowd)
    ids = np.array([0, *(number for number, _ in solid)])
    index = np.array([0, *(np.searchsorted(order, category) + 1 for _, category in solid)])
    position = np.searchsorted(ids, image.id_map).clip(max=len(ids) - 1)
    return np.where(ids[position] == image.id_map, index[position], 0)
