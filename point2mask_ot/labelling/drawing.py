"""The thumbnails of a picture, drawn where it is labelled: by as many workers, and once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .job_settings import JobSettings
from .reader import Reader
from .report.thumbnails import Painter, thumbnail_names
from .scoring import Scorer
from .stopping import write_file
from .table import Row

_DIGITS = 6


class Drawer:
    """Draws pictures whose labels are there, small.

    Args:
        settings: of the job.
        reader: of its pictures and labels.
        scorer: knows the truth.
    """

    def __init__(self, settings: JobSettings, reader: Reader, scorer: Scorer) -> None:
        self.settings, self.reader, self.scorer = settings, reader, scorer
        self.painter = Painter(settings.shown_categories)

    def __call__(self, record: dict[str, Any], row: Row, true_row: Row | None, *, kept: bool, scored: bool) -> bool:
        """Draw what is wanted and not there, or of what has changed.

        Args:
            record: of the picture.
            row, true_row: as :class:`.scoring.Scorer` takes them.
            kept: the labels are those of an earlier run.
            scored: the score is new.

        Returns:
            Whether the record has changed.

        Raises:
            JobStopped: a file cannot be written.
        """
        if not self.settings.thumbnails:
            return False
        known = record.get("thumbnails", ())
        labels_name, truth_name = thumbnail_names(row.name)
        has_truth = true_row is not None and record.get("score", {}).get("truth") == self.settings.truth_digest != ""
        draws_labels = not kept or not self._has(labels_name, known)
        draws_truth = has_truth and (scored or not kept or not self._has(truth_name, known))
        if not draws_labels and not draws_truth:
            return False
        start = time.perf_counter()
        picture, labels = self.reader.picture(row), self.reader.labels(record, row)
        if draws_labels:
            targets = self.reader.targets(row, picture.shape[:2])
            write_file(self.reader.root, labels_name, self.painter.labels(picture, targets, labels))
        if draws_truth:
            assert true_row is not None
            truth = self.scorer.truth_of(row, true_row, labels.size)
            assert truth is not None  # there is a score
            write_file(self.reader.root, truth_name, self.painter.truth(picture, truth))
        record["thumbnails"] = [labels_name, *([truth_name] if has_truth else [])]
        record["seconds"]["thumbnails"] = round(time.perf_counter() - start, _DIGITS)
        return True

    def _has(self, name: str, known: Sequence[str]) -> bool:
        return name in known and (self.reader.root / name).is_file()
