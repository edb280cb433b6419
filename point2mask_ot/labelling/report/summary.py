"""What a job has made, in numbers."""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...panoptic import atomic_write
from ..job_settings import JobSettings
from ..results import BINS, Statistics
from ..truth import quality

_NAME = "label_dataset"
_FIFTHS = 5


@dataclass(frozen=True)
class LabelSummary:
    """What a job has made.

    Attributes:
        out: folder of the results.
        pictures: number in the points file, or in this part of it.
        labelled: with labels, from this run or an earlier one.
        set_aside: without labels, for reasons that ``set_aside.csv`` lists.
        kept: those of the labelled whose labels an earlier run made.
        dropped: whose labels were deleted, since points that have changed do not name them any more.
        scores: ``pq``, ``pq_things``, ``pq_stuff``, ``sq``, ``rq``, ``miou`` of the labels against the truth, and the
            number ``scored`` of pictures; None where no truth was given.
        seconds: wall time of this run.
        no_background: labelled pictures in which things alone had to share every pixel, see
            :class:`~point2mask_ot.BackgroundWarning`; 0 for a part of a job.
    """

    out: Path
    pictures: int
    labelled: int
    set_aside: int
    scores: Mapping[str, float] | None
    seconds: float
    no_background: int = 0
    kept: int = 0
    dropped: int = 0


def scores_of(settings: JobSettings, statistics: Statistics) -> dict[str, Any] | None:
    """The scores, overall and by category."""
    if settings.truth is None:
        return None
    categories = {category.id: category for category in settings.truth_categories}
    counts = np.zeros((7, len(categories))) if statistics.score is None else statistics.score
    panoptic, miou = quality(counts, categories)
    per_class = [
        {"name": categories[i].name, "pq": one.pq, "sq": one.sq, "rq": one.rq, "true": one.tp + one.fn}
        for i, one in panoptic.per_class.items()
        if one.tp + one.fp + one.fn
    ]
    return {
        "scored": statistics.scored,
        "pq": panoptic.pq,
        "pq_things": panoptic.things.pq,
        "pq_stuff": panoptic.stuff.pq,
        "sq": panoptic.sq,
        "rq": panoptic.rq,
        "miou": miou,
        "categories": per_class,
        "miou_by_fifth_of_confidence": _iou_by_confidence(statistics),
    }


def _iou_by_confidence(statistics: Statistics) -> list[float]:
    """The pictures' mean IoU in each fifth of them, the most doubtful first; empty where fewer were scored."""
    order = np.argsort(np.array(statistics.scored_confidences), kind="stable")
    if len(order) < _FIFTHS:
        return []
    parts = np.array_split(np.array(statistics.scored_ious)[order], _FIFTHS)
    return [round(float(part.mean()), 6) for part in parts]


def summarize(
    settings: JobSettings,
    fingerprint: Mapping[str, Any],
    pictures: int,
    statistics: Statistics,
    without_points: tuple[int, list[str]],
) -> dict[str, Any]:
    """``summary.json``: it depends on the pictures, the points and the settings alone, not on how the job ran."""
    names = {category.id: category for category in settings.categories}
    values = np.array(statistics.confidences)
    quartiles = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).round(6).tolist() if len(values) else None
    return {
        "pictures": pictures,
        "labelled": statistics.labelled,
        "set_aside": statistics.set_aside,
        "set_aside_first": [{"picture": name, "reason": reason} for name, reason in statistics.reasons],
        "pictures_without_points": without_points[0],
        "pictures_without_points_first": without_points[1],
        "segments": statistics.segments,
        "things_without_pixels": statistics.lost,
        "transport_not_converged": statistics.unconverged,
        "pictures_without_background": statistics.no_background,
        **({"sizes": _sizes(settings, statistics)} if statistics.sizes else {}),
        "confidence": {
            "minimum_quartiles_maximum": quartiles,
            "bin_width": 1 / BINS,
            "pictures": statistics.picture_bins,
            "segments": statistics.segment_bins,
        },
        "void_share_bins": statistics.void_bins,
        "categories": [
            {
                "id": number,
                "name": category.name,
                "isthing": int(category.is_thing),
                "segments": count.segments,
                "pixels": count.pixels,
                "confidence": round(count.confidence / count.segments, 6) if count.segments else None,
            }
            for number, category in names.items()
            if (count := statistics.categories.get(number)) is not None
        ],
        "scores": scores_of(settings, statistics),
        "settings": {name: value for name, value in fingerprint.items() if name != "shard"},
    }


def _sizes(settings: JobSettings, statistics: Statistics) -> dict[str, Any]:
    """How many targets had a size, what became of it, and the typical sizes by category with their spread."""
    typical = {settings.categories[c].name: [round(value, 3) for value in told] for c, told in settings.typical.items()}
    return {**statistics.sizes, "typical_sizes": typical}


def timing(statistics: Statistics, run: Mapping[str, Any]) -> dict[str, Any]:
    """``timing.json``: CPU-bound seconds of each stage over all pictures, and what the last run was like."""
    stages = {stage: round(seconds, 3) for stage, seconds in statistics.seconds.items()}
    return {"seconds_by_stage": stages, "pictures": statistics.labelled, "last_run": dict(run)}


def peak_memory(*, workers: bool) -> dict[str, float]:
    """MiB that this process ever held, and the largest of its workers where those are processes of its own."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    asked = {"job": resource.RUSAGE_SELF} | ({"largest_worker": resource.RUSAGE_CHILDREN} if workers else {})
    return {name: round(resource.getrusage(who).ru_maxrss / unit, 1) for name, who in asked.items()}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Indented, so that a person can read it."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    atomic_write(path, text.encode(), function=_NAME, argument="out")


def percent(share: float) -> str:
    """One decimal, as in the papers' tables."""
    return f"{100 * share:.1f}" if math.isfinite(share) else "-"
