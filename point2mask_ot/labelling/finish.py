"""What is written once all pictures have their record."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files.pictures import PICTURE_SUFFIXES
from ..files.results import is_job, is_mask
from .asked import is_skipped
from .folder import JobFolder
from .job_settings import JobSettings
from .report.doubtful import MOST, way_back, write_doubtful
from .report.pictures import pictures_page
from .report.report import write_report
from .report.summary import peak_memory, summarize, timing, write_json
from .results import write_records
from .table import Row, Table

_LISTED = 100


def write_results(
    settings: JobSettings,
    folder: JobFolder,
    table: Table,
    fingerprint: Mapping[str, Any],
    run: Mapping[str, Any],
    points: Any,
    asked: frozenset[int] | None = None,
) -> dict[str, Any]:
    """The annotations, the summary and the report. Gives the summary.

    ``points`` are where they come from, as ``label_dataset`` takes them. Where only some pictures are ``asked`` for,
    what earlier calls labelled stays, and what they set aside is left out.

    Raises:
        FileError: a disk that cannot take them.
    """
    root = folder.root

    def counted(row: Row) -> dict[str, Any] | None:
        record = folder.read_record(row.name)
        aside = record is not None and "error" in record
        return None if aside and asked is not None and row.position not in asked else record

    way = way_back(settings, points, root)
    with pictures_page(root, settings, way.command) as show:
        statistics = write_records(
            root, settings.output, table, counted, settings.categories, settings.truth_digest, show
        )
    pictures = table.size if asked is None else statistics.labelled + statistics.set_aside
    unnamed, skipped = _unnamed(settings, root, table, points)
    summary = summarize(settings, fingerprint, pictures, statistics, unnamed)
    summary["pictures_skipped"] = skipped
    summary["pictures_not_asked_for"] = table.size - pictures
    next_names = [table.at(int(position)).name for position in statistics.label_next()[:MOST]]
    summary["label_next"] = next_names[:_LISTED]
    doubtful = {**way._asdict(), "listed": write_doubtful(root, next_names)}
    times = timing(statistics, {**run, "peak_mib": peak_memory(workers=run["engine"] == "local")})
    write_json(root / "timing.json", times)
    write_report(root, settings, summary, times, statistics, table, counted, **doubtful)
    write_json(root / "summary.json", summary)  # the last: where it is, all is there
    return summary


def _unnamed(settings: JobSettings, root: Path, table: Table, points: Any) -> tuple[tuple[int, list[str]], int]:
    """How many pictures the folder has that the points do not name, and the first; and how many were skipped."""
    if settings.sampling is not None:
        return (0, []), 0
    count = skipped = 0

    def counted(names: Iterable[str]) -> Iterator[str]:
        nonlocal count, skipped
        for name in names:
            if is_skipped(points, name):
                skipped += 1
            else:
                count += 1
                yield name

    first = heapq.nsmallest(_LISTED, counted(table.missing(_pictures(Path(settings.images), root))))
    return (count, first), skipped


def _pictures(images: Path, out: Path) -> Iterator[str]:
    """The pictures in a folder by their relative names, without hidden ones, the job's own and saved masks."""
    mine = out.resolve()
    for place, folders, files in os.walk(images):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(place, name).resolve() != mine and not is_job(Path(place, name))
        ]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(PICTURE_SUFFIXES) and not is_mask(Path(place, name)):
                yield Path(place, name).relative_to(images).as_posix()
