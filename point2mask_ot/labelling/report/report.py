"""``report.html``: what a job has made, for the eye."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import ArgumentError
from ...files.io import atomic_write
from ...masks.masker import NO_BACKGROUND
from ..job_settings import JobSettings
from ..reader import Reader
from ..results import RecordOf, Statistics
from ..settings import BACKGROUND_HINT
from ..table import Table
from .cards import Card, Cards
from .charts import Histogram, histogram
from .pages import environment, legend
from .summary import percent
from .thumbnails import Painter

_NAME = "label_dataset"
_NEXT = 6
_SHOWN = 3
_LISTED = 200


def write_report(
    root: Path,
    settings: JobSettings,
    summary: Mapping[str, Any],
    times: Mapping[str, Any],
    statistics: Statistics,
    table: Table,
    record_of: RecordOf,
    **doubtful: Any,
) -> None:
    """Write the report.

    Args:
        root: folder of the results.
        settings: of the job.
        summary: see ``summary.summarize``.
        times: see ``summary.timing``.
        statistics: of the job.
        table: the pictures.
        record_of: record of a picture.
        doubtful: see :class:`.doubtful.WayBack`, and how many pictures are ``listed`` in ``doubtful.txt``.

    Raises:
        FileError: a disk that cannot take the file.
    """
    scores = summary["scores"]
    shown = _Shown(settings, root, table, record_of)
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=f"Pseudo-masks of {summary['labelled']:,} pictures",
            tiles=_tiles(summary),
            labelled=summary["labelled"],
            scored=scores is not None,
            background=summary["pictures_without_background"],
            no_background=NO_BACKGROUND,
            background_hint=BACKGROUND_HINT,
            fifths=[percent(share) for share in (scores or {}).get("miou_by_fifth_of_confidence", ())],
            legend=legend(settings.shown_categories),
            groups=[(title, [shown(int(p)) for p in positions]) for title, positions in _groups(statistics)],
            finished=any(statistics.finished),
            thumbnails=settings.thumbnails,
            charts=_charts(summary),
            categories=_categories(settings, summary),
            aside_count=summary["set_aside"],
            aside=[(entry["picture"], entry["reason"]) for entry in summary["set_aside_first"][:_LISTED]],
            aside_more=max(0, summary["set_aside"] - _LISTED),
            stages=_stages(times),
            settings=summary["settings"].items(),
            run=_flat(times["last_run"]).items(),
            **doubtful,
        )
    )
    atomic_write(root / "report.html", page.encode("utf-8", "replace"), function=_NAME, argument="out")


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    quartiles = summary["confidence"]["minimum_quartiles_maximum"]
    shown = [
        ("labelled", f"{summary['labelled']:,} of {summary['pictures']:,}"),
        ("set aside", f"{summary['set_aside']:,}"),
        ("segments", f"{summary['segments']:,}"),
        ("median confidence", "-" if quartiles is None else f"{quartiles[2]:.3f}"),
    ]
    scores = summary["scores"]
    if scores:
        shown += [("PQ", percent(scores["pq"])), ("mIoU", percent(scores["miou"]))]
        if scores["scored"] != summary["labelled"]:
            shown.append(("scored", f"{scores['scored']:,}"))
    sizes = summary.get("sizes", {})
    notes = [
        ("sizes told", sizes.get("told", 0)),
        ("typical sizes", sizes.get("typical", 0)),
        ("hints overruled by the picture", sizes.get("hints_overruled", 0)),
        ("counts overruled by a hint", sizes.get("counts_overruled", 0)),
        ("things without a pixel", summary["things_without_pixels"]),
        ("transport stopped early", summary["transport_not_converged"]),
        ("pictures without points", summary["pictures_without_points"]),
        ("pictures not asked for", summary["pictures_not_asked_for"]),
    ]
    return shown + [(name, f"{count:,}") for name, count in notes if count]


def _groups(statistics: Statistics) -> list[tuple[str, np.ndarray]]:
    """Positions of the pictures to show, each once: those to mend, and some to compare them with."""
    worst = statistics.label_next()[:_NEXT]
    order = statistics.most_doubtful()
    others = order[~np.isin(order, worst)]
    between = others[:-_SHOWN]
    middle = max(0, (len(between) - _SHOWN) // 2)
    groups = [
        ("Most doubtful: label these next", worst),
        ("Median", between[middle:][:_SHOWN]),
        ("Most certain", others[-_SHOWN:]),
    ]
    return [(title, positions) for title, positions in groups if len(positions)]


class _Shown:
    """Cards with their pictures; where the job draws no thumbnails, these few are drawn for the page itself."""

    def __init__(self, settings: JobSettings, root: Path, table: Table, record_of: RecordOf) -> None:
        self.reader = Reader(settings, root)
        self.table, self.record_of, self.cards = table, record_of, Cards(settings)
        self.painter = Painter(settings.shown_categories)

    def __call__(self, position: int) -> Card:
        row = self.table.at(position)
        record = self.record_of(row)
        assert record is not None
        card = self.cards(row, record)
        if card.labels:
            return card
        try:
            picture, labels = self.reader.picture(row), self.reader.labels(record, row)
            drawn = self.painter.labels(picture, self.reader.targets(row, picture.shape[:2]), labels)
        except ArgumentError as error:  # a picture that was there a moment ago
            return replace(card, trouble=str(error))
        return replace(card, labels=f"data:image/jpeg;base64,{base64.b64encode(drawn).decode()}")


def _charts(summary: Mapping[str, Any]) -> list[Histogram]:
    return [
        histogram(summary["confidence"]["pictures"], "Confidence of the pictures", "confidence", "pictures"),
        histogram(summary["confidence"]["segments"], "Confidence of the segments", "confidence", "segments"),
        histogram(summary["void_share_bins"], "Share of the picture that is void", "void share", "pictures"),
    ]


def _categories(settings: JobSettings, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the labels have of each category, its colour, and its scores where there is a truth."""
    scores = {one["name"]: one for one in (summary["scores"] or {}).get("categories", ())}
    shades = {one["id"]: one["shades"] for one in legend(settings.shown_categories)}
    return [
        {**category, "shades": shades[category["id"]], "score": scores.get(category["name"])}
        for category in summary["categories"]
    ]


def _stages(times: Mapping[str, Any]) -> list[dict[str, Any]]:
    seconds, pictures = times["seconds_by_stage"], max(times["pictures"], 1)
    total = sum(seconds.values()) or 1.0
    return [{"name": stage, "share": spent / total, "ms": 1000 * spent / pictures} for stage, spent in seconds.items()]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
