"""From masks to numbers: IoU, panoptic quality, intervals over pictures, the curve of confidence."""

from __future__ import annotations

import numpy as np
from scipy import stats

RESAMPLES = 2000


def instance_ious(labels: np.ndarray, truth: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """(K,) IoU of each target, where a mask is cut off at what is known to be no instance."""
    pairs = np.zeros((count + 1, count + 1), np.int64)
    allowed = known >= 0
    np.add.at(pairs, (np.where(allowed, labels, -1).ravel(), truth.ravel()), 1)  # -1 counts in the last row or column
    both = np.diag(pairs)[:count]
    either = pairs.sum(0)[:count] + pairs.sum(1)[:count] - both
    return both / np.maximum(either, 1)


def panoptic_quality(ious: np.ndarray) -> float:
    """PQ of instances of which each has its own mask: a match is an IoU above 1/2."""
    return float(ious[ious > 0.5].sum() / max(len(ious), 1))


def interval(values: np.ndarray, pictures: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of all values, by resampling whole pictures with all their instances and seeds."""
    _, index = np.unique(pictures, return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def confidence_curve(ious: np.ndarray, confidence: np.ndarray, bins: int = 5) -> list[float]:
    """Mean IoU of equal parts of the instances, from the least to the most confident."""
    return [float(part.mean()) for part in np.array_split(_by_confidence(ious, confidence), bins) if len(part)]


def rejection_area(ious: np.ndarray, confidence: np.ndarray) -> float:
    """Area under the curve of the mean IoU of those that are left when the least confident are left out, one by one;
    the mean IoU itself if confidence says nothing."""
    surest_first = _by_confidence(ious, confidence)[::-1]
    return float((surest_first.cumsum() / np.arange(1, len(ious) + 1)).mean())


def rank_correlation(ious: np.ndarray, confidence: np.ndarray) -> float:
    """Spearman's, 0 where one of both is constant."""
    if np.ptp(ious) == 0 or np.ptp(confidence) == 0:
        return 0.0
    return float(stats.spearmanr(ious, confidence).statistic)


def _by_confidence(ious: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """IoUs from the least to the most confident; those of equal confidence at their mean, since none comes first."""
    _, same, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    means = np.bincount(same, weights=ious) / counts
    return np.repeat(means, counts)
