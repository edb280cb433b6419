"""What the report tells of one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..job_settings import JobSettings
from ..results import state_of
from ..table import Row
from ..truth import quality
from .thumbnails import thumbnail_names


@dataclass(frozen=True)
class Card:
    """One labelled picture.

    Attributes:
        name: of the picture.
        confidence, targets, segments: see the record.
        void: share of its pixels that belong to none.
        seconds: that its labels took.
        pq, miou: against the truth, in [0, 1]; None where that does not say.
        state: what a person has said of its points; "" where nothing is known.
        labels, truth: files of the thumbnails, relative to the results; "" where there is none.
        trouble: why it cannot be shown.
    """

    name: str
    confidence: float
    targets: int
    segments: int
    void: float
    seconds: float
    pq: float | None
    miou: float | None
    state: str
    labels: str
    truth: str
    trouble: str = ""


class Cards:
    """Makes them out of records.

    Args:
        settings: of the job.
    """

    def __init__(self, settings: JobSettings) -> None:
        self._digest = settings.truth_digest
        self._categories = sorted(settings.truth_categories, key=lambda category: category.id)

    def __call__(self, row: Row, record: Mapping[str, Any]) -> Card:
        """What the record of a picture tells."""
        score = record.get("score", {})
        scored = score.get("truth", "") == self._digest != ""
        pq, miou = self._quality(np.array(score["counts"])) if scored else (None, None)
        drawn = record.get("thumbnails", ())
        labels, truth = (name if name in drawn else "" for name in thumbnail_names(row.name))
        return Card(
            name=row.name,
            confidence=record["confidence"],
            targets=record["targets"],
            segments=len(record["segments"]),
            void=record["void"],
            seconds=round(sum(record["seconds"].values()), 3),
            pq=pq,
            miou=miou,
            state=state_of(row),
            labels=labels,
            truth=truth if scored else "",
        )

    def _quality(self, counts: np.ndarray) -> tuple[float | None, float | None]:
        """PQ and mIoU of one picture; of many categories it has few."""
        there = np.flatnonzero(counts.any(axis=0))
        panoptic, miou = quality(counts[:, there], {self._categories[c].id: self._categories[c] for c in there})
        return _share(panoptic.pq), _share(miou)


def _share(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
