"""A job whose points have changed: what of it holds, and what is labelled again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..checks import fail
from ..files.results import STATE
from .folder import JobFolder, label_names
from .job_settings import JobSettings
from .points_file import category_list
from .report.doubtful import DOUBTFUL
from .report.thumbnails import thumbnail_names
from .table import Row, Table

_NAME = "label_dataset"


class Change(NamedTuple):
    """What became of the labels of a job whose points have changed.

    Attributes:
        kept: pictures of which the points say what they said.
        again: those of which they say something else.
        dropped: those that they name no more.
    """

    kept: int = 0
    again: int = 0
    dropped: int = 0

    def __str__(self) -> str:
        return f"changed points: {self.kept} pictures kept, {self.again} to label again, {self.dropped} dropped"


def told_of(row: Row, settings: JobSettings) -> str:
    """Digest of what the points say that the labels of a picture, or its thumbnails, depend on.

    Its id and its place among the others are in no label, nor is what a person says of its state.
    """
    body = {key: value for key, value in row.body.items() if key != STATE}
    typical = [[channel, *known] for channel, known in sorted(settings.typical.items())]
    told = [row.name, body, category_list(settings.categories), typical]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def drop_changed(folder: JobFolder, before: Mapping[str, Any], table: Table, settings: JobSettings) -> Change:
    """Delete what a job has made of other points than these, so that it may go on with these.

    A kill at any moment leaves a job of its old points with fewer labels, each of which still holds for both.

    Args:
        folder: of the job, which is locked.
        before: fingerprint of the job.
        table: the points that it goes on with.
        settings: with their categories and typical sizes.

    Raises:
        ArgumentError: points that share no picture with the job: somebody took the wrong folder.
    """
    known = folder.table(before)
    if not any(table.find(row.name) for row in known or ()):
        got = f"{table.size} pictures, none of which the job in {folder.root} has"
        fail(_NAME, "points", got, "points of its pictures, another `out`, or fresh=True to start over")
    # They would name labels that are not there. The call may be one `only` for the list, and come again.
    folder.delete_summaries(but=DOUBTFUL)
    kept = again = dropped = 0
    for path, record in folder.records():
        row = table.find(record.get("name", ""))
        if row is not None and record.get("told") == told_of(row, settings):
            kept += 1
            continue
        folder.forget(path, record)
        again += row is not None and "files" in record
        dropped += row is None and "files" in record
    for row in known or ():
        if not folder.record_path(row.name).exists():  # a kill leaves labels without one
            folder.delete([*label_names(row.name, settings.output), *thumbnail_names(row.name)])
    return Change(kept, again, dropped)
