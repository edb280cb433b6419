"""How well the labels of a picture agree with its true masks."""

from __future__ import annotations

import time
from typing import Any

from ..files.pictures import read_orientation
from ..panoptic import PanopticImage
from .job_settings import JobSettings
from .reader import Reader
from .stamps import renewed, stamps_of
from .table import Row
from .truth import as_shown, score

_DIGITS = 6


class Scorer:
    """Scores pictures whose labels are there.

    Args:
        settings: of the job.
        reader: of its pictures and labels.
    """

    def __init__(self, settings: JobSettings, reader: Reader) -> None:
        self.settings, self.reader = settings, reader
        self.categories = {category.id: category for category in settings.truth_categories}

    def __call__(self, record: dict[str, Any], row: Row, true_row: Row | None) -> bool:
        """Add the score where it is wanted, can be told and is not there.

        Args:
            record: of the picture.
            row: what the source of the points says of it.
            true_row: what the true data set says of it; None where it does not know the picture.

        Returns:
            Whether the record has changed.
        """
        truth, digest = self.settings.truth, self.settings.truth_digest
        if truth is None or true_row is None:
            return False
        masks, known = truth.mask_paths(true_row.body), record.get("score", {})
        before = known.get("inputs", ())
        if known.get("truth") == digest and (now := renewed(before, masks)) is not None:
            known["inputs"] = now
            return bool(now != before)
        start = time.perf_counter()
        stamps = stamps_of(masks)
        prediction = self.reader.labels(record, row)
        true_image = self.truth_of(row, true_row, prediction.size)
        if true_image is None:
            return False
        counts = score(prediction, true_image, self.categories)
        record["score"] = {"truth": digest, "inputs": stamps, "counts": counts.tolist()}
        record["seconds"]["score"] = round(time.perf_counter() - start, _DIGITS)
        return True

    def truth_of(self, row: Row, true_row: Row, size: tuple[int, int]) -> PanopticImage | None:
        """The true segments of a picture as it is shown, (H, W) in size, where that can be told."""
        truth = self.settings.truth
        assert truth is not None
        image = truth.read(true_row.body, self.settings.truth_categories)
        if self.settings.exif is not None:
            return image
        return as_shown(image, read_orientation(self.reader.path(row)), size)
