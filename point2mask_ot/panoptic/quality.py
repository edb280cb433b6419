"""Panoptic quality (Kirillov et al., CVPR 2019), with void and crowd as in panopticapi."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from ..checks import fail
from .images import Category, PanopticImage, check_categories, check_segments, runs

_NAME = "panoptic_quality"
_SHIFT = 24  # bits of a segment id
_END: Any = object()


@dataclass(frozen=True)
class ClassQuality:
    """The counts of one category, and what follows from them.

    Attributes:
        tp: matched pairs: IoU above 0.5, which makes the match unique.
        fp: predicted segments without match.
        fn: true segments without match.
        iou_sum: sum of IoU over the matched pairs.
    """

    tp: int
    fp: int
    fn: int
    iou_sum: float

    @property
    def pq(self) -> float:
        """``iou_sum / (tp + fp/2 + fn/2)``; 0 where the category does not occur."""
        return self.iou_sum / max(self.tp + (self.fp + self.fn) / 2, 0.5)

    @property
    def sq(self) -> float:
        """Segmentation quality, the mean IoU of the matched pairs; 0 where there is none."""
        return self.iou_sum / max(self.tp, 1)

    @property
    def rq(self) -> float:
        """Recognition quality, ``tp / (tp + fp/2 + fn/2)``; 0 where the category does not occur."""
        return self.tp / max(self.tp + (self.fp + self.fn) / 2, 0.5)


@dataclass(frozen=True)
class MeanQuality:
    """Means over the ``count`` categories that occur in truth or prediction; 0 where none does."""

    pq: float
    sq: float
    rq: float
    count: int


@dataclass(frozen=True)
class PanopticQuality:
    """Panoptic quality of a set of images, all values in [0, 1].

    Attributes:
        all: mean over all categories.
        things: mean over the things.
        stuff: mean over the stuff.
        per_class: the counts of each category, by category id.
    """

    all: MeanQuality
    things: MeanQuality
    stuff: MeanQuality
    per_class: Mapping[int, ClassQuality]

    @property
    def pq(self) -> float:
        """PQ over all categories."""
        return self.all.pq

    @property
    def sq(self) -> float:
        """SQ over all categories."""
        return self.all.sq

    @property
    def rq(self) -> float:
        """RQ over all categories."""
        return self.all.rq


def panoptic_quality(
    predictions: Iterable[PanopticImage], truths: Iterable[PanopticImage], categories: Iterable[Category]
) -> PanopticQuality:
    """Score predicted panoptic segmentations against true ones.

    A predicted and a true segment of one category match where their IoU, without the prediction's void pixels in
    the union, is above 0.5. A predicted segment more than half in void, or in the crowd region of its category, is
    not held against the prediction; crowd segments are neither matched nor missed. Where a picture has several
    crowd segments of a category the last one counts, as in panopticapi.

    Args:
        predictions: predicted images; crowd flags mean nothing here.
        truths: true images, in the same order; the two are taken pair by pair, so data sets of any size fit.
        categories: the categories to score.

    Returns:
        :class:`~point2mask_ot.panoptic.PanopticQuality`: means over all categories, things and stuff, and the counts
        of each category.

    Raises:
        ArgumentError: a pair with different image ids or sizes, more of the one than of the other, or a segment of
            no category listed.

    Example:
        >>> from point2mask_ot.panoptic import Category, PanopticImage, Segment
        >>> truth = PanopticImage([[1, 1, 1, 2]], (Segment(1, 7, True), Segment(2, 0, False)))
        >>> guess = PanopticImage([[5, 5, 6, 6]], (Segment(5, 7, True), Segment(6, 0, False)))
        >>> quality = panoptic_quality([guess], [truth], [Category(7, "coin", True), Category(0, "table", False)])
        >>> round(quality.things.pq, 3), quality.stuff.pq
        (0.667, 0.0)
    """
    by_id = check_categories(_NAME, categories)
    order = np.array(sorted(by_id))
    counts = np.zeros((4, len(order)))
    for prediction, truth in panoptic_pairs(_NAME, predictions, truths, by_id):
        counts += segment_counts(prediction, truth, order)
    return quality_of_counts(counts, by_id)


def quality_of_counts(counts: np.ndarray, categories: Mapping[int, Category]) -> PanopticQuality:
    """Panoptic quality from the sum of :func:`segment_counts` over images; the columns are the sorted ids."""
    order = np.array(sorted(categories))
    per_class = {
        category_id: ClassQuality(int(tp), int(fp), int(fn), float(iou))
        for category_id, (tp, fp, fn, iou) in zip(order.tolist(), counts.T, strict=True)
    }
    things = {i: quality for i, quality in per_class.items() if categories[i].is_thing}
    stuff = {i: quality for i, quality in per_class.items() if not categories[i].is_thing}
    return PanopticQuality(_mean(per_class), _mean(things), _mean(stuff), per_class)


def panoptic_pairs(
    function: str,
    predictions: Iterable[PanopticImage],
    truths: Iterable[PanopticImage],
    categories: Mapping[int, Category],
) -> Iterator[tuple[PanopticImage, PanopticImage]]:
    """The pairs, each checked; zip(strict=True) with errors in the name of a public function."""
    for position, pair in enumerate(zip_longest(predictions, truths, fillvalue=_END)):
        for argument, image in zip(("predictions", "truths"), pair, strict=True):
            if image is _END:
                fail(function, argument, f"{position} images", "as many predictions as truths")
            check_segments(function, argument, image, categories)
        prediction, truth = pair
        if prediction.image_id != truth.image_id or prediction.size != truth.size:
            got = f"image {prediction.image_id!r} of size {prediction.size} at position {position}"
            fail(function, "predictions", got, f"image {truth.image_id!r} of size {truth.size} as in truths")
        yield prediction, truth


def _mean(per_class: Mapping[int, ClassQuality]) -> MeanQuality:
    seen = [quality for quality in per_class.values() if quality.tp + quality.fp + quality.fn]
    count = max(len(seen), 1)
    return MeanQuality(
        sum(quality.pq for quality in seen) / count,
        sum(quality.sq for quality in seen) / count,
        sum(quality.rq for quality in seen) / count,
        len(seen),
    )


def segment_counts(prediction: PanopticImage, truth: PanopticImage, categories: np.ndarray) -> np.ndarray:
    """(4, C): tp, fp, fn and the sum of IoU of one image for each of the sorted category ids."""
    true_ids, true_class = _table(truth, categories)
    predicted_ids, predicted_class = _table(prediction, categories)
    # Every pair of ids that meet in some pixel, and how many pixels they share. Index 0 is void.
    codes, _, lengths = runs((truth.id_map << _SHIFT | prediction.id_map).ravel())
    pairs, inverse = np.unique(codes, return_inverse=True)
    shared = np.bincount(inverse, lengths)
    t = np.searchsorted(true_ids, pairs >> _SHIFT)
    p = np.searchsorted(predicted_ids, pairs & (1 << _SHIFT) - 1)
    true_area = np.bincount(t, shared, len(true_ids))
    predicted_area = np.bincount(p, shared, len(predicted_ids))
    in_void = np.bincount(p, shared * (t == 0), len(predicted_ids))
    crowd, crowd_of_class = _crowds(truth, true_ids, true_class, len(categories))
    in_crowd = np.bincount(p, shared * (t == crowd_of_class[predicted_class[p]]), len(predicted_ids))

    match = (true_class[t] == predicted_class[p]) & (t > 0) & (p > 0) & ~crowd[t]
    t, p, shared = t[match], p[match], shared[match]
    iou = shared / (true_area[t] + predicted_area[p] - shared - in_void[p])
    t, p, iou = t[iou > 0.5], p[iou > 0.5], iou[iou > 0.5]
    missed, invented = ~crowd, in_void + in_crowd <= 0.5 * predicted_area
    missed[0] = missed[t] = invented[0] = invented[p] = False
    C = len(categories)
    return np.stack(
        [
            np.bincount(true_class[t], minlength=C),
            np.bincount(predicted_class[invented], minlength=C),
            np.bincount(true_class[missed], minlength=C),
            np.bincount(true_class[t], iou, C),
        ]
    )


def _crowds(
    truth: PanopticImage, ids: np.ndarray, classes: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the ``ids`` are crowds, and each class's crowd as an index into them, -1 for none."""
    crowd = np.zeros(len(ids), bool)
    crowd_of_class = np.full(num_classes, -1)
    for segment in truth.segments:
        if segment.is_crowd:
            index = np.searchsorted(ids, segment.id)
            crowd[index] = True
            crowd_of_class[classes[index]] = index
    return crowd, crowd_of_class


def _table(image: PanopticImage, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted segment ids after a leading 0 for void, and the index of each one's category (0 for void's)."""
    segments = sorted(image.segments, key=lambda segment: segment.id)
    ids = np.array([0, *(segment.id for segment in segments)])
    index = np.searchsorted(categories, [segment.category_id for segment in segments])
    return ids, np.concatenate([[0], index]).astype(np.int64)
