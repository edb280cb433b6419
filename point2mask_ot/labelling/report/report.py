"""``report.html``: what a job has made, for the eye, in one file that needs nothing else."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from ...checks import ArgumentError
from ...masks.masker import NO_BACKGROUND
from ...panoptic import atomic_write
from ...panoptic.evaluator import mean_iou
from ...viz import draw_points, fit, partition_map
from ...viz.canvas import enlarge
from ...viz.colors import target_colors
from ..reader import Reader
from ..results import RecordOf, Statistics
from ..settings import BACKGROUND_HINT
from ..table import Row, Table
from .summary import percent
from .svg import histogram

_NAME = "label_dataset"
_SHOWN = 3
_SIZE = 440
_LISTED = 200
_QUALITY = 82


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    times: Mapping[str, Any],
    statistics: Statistics,
    table: Table,
    record_of: RecordOf,
    reader: Reader,
) -> None:
    """Write the report.

    Args:
        path: the file.
        summary: see ``_summary.summarize``.
        times: see ``_summary.timing``.
        statistics: of the job.
        table: the pictures.
        record_of: record of the picture at a position.
        reader: of the job's pictures and labels.

    Raises:
        FileError: a disk that cannot take the file.
    """
    template = Template(resources.files(__package__).joinpath("report.html").read_text("utf-8"))
    page = template.substitute(
        title=escape(f"Pseudo-masks of {summary['labelled']:,} pictures"),
        tiles=_tiles(summary),
        trust=_background(summary) + _trust(summary),
        gallery=_gallery(statistics, table, record_of, reader),
        charts=_charts(summary),
        categories=_category_table(summary),
        stages=_stages(times),
        aside=_aside(summary),
        settings=_rows(summary["settings"].items()),
        run=_rows(_flat(times["last_run"]).items()),
    )
    atomic_write(path, page.encode("utf-8", "replace"), function=_NAME, argument="out")


def _tiles(summary: Mapping[str, Any]) -> str:
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
    shown += [(name, f"{count:,}") for name, count in notes if count]
    return "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in shown)


def _background(summary: Mapping[str, Any]) -> str:
    count = summary["pictures_without_background"]
    if not count:
        return ""
    return f"<p>In <b>{count:,}</b> of the labelled pictures {NO_BACKGROUND}. {escape(BACKGROUND_HINT)}</p>"


def _trust(summary: Mapping[str, Any]) -> str:
    """Whether the doubtful pictures are the bad ones, where a truth can say so."""
    fifths = (summary["scores"] or {}).get("miou_by_fifth_of_confidence")
    if not fifths:
        return ""
    shares = " &middot; ".join(percent(share) for share in fifths)
    return f"<p>Mean IoU with the truth, by fifths of the pictures from the most doubtful: <b>{shares}</b>.</p>"


def _gallery(statistics: Statistics, table: Table, record_of: RecordOf, reader: Reader) -> str:
    order = statistics.most_doubtful()
    middle = max(0, len(order) // 2 - _SHOWN // 2)
    groups = [
        ("Most doubtful: label these next", order[:_SHOWN]),
        ("Median", order[_SHOWN:][max(0, middle - _SHOWN) :][:_SHOWN]),
        ("Most certain", order[2 * _SHOWN :][-_SHOWN:]),
    ]
    parts = []
    for title, positions in groups:
        figures = "".join(_figure(int(p), table, record_of, reader) for p in positions)
        if figures:
            parts.append(f"<h3>{title}</h3><div class='figures'>{figures}</div>")
    return "".join(parts) or "<p>No picture was labelled.</p>"


def _figure(position: int, table: Table, record_of: RecordOf, reader: Reader) -> str:
    row, record = table.at(position), record_of(position)
    assert record is not None
    try:
        photo, overlay = panels(reader, row, record)
    except ArgumentError as error:  # a picture that was there a moment ago
        return f"<figure><figcaption>{escape(row.name)}: {escape(str(error))}</figcaption></figure>"
    caption = (
        f"{escape(row.name)} &middot; confidence {record['confidence']:.3f} &middot; {len(record['segments'])} segments"
    )
    if "score" in record:
        caption += f" &middot; mIoU&nbsp;{percent(mean_iou(np.array(record['score']['counts'])))}"
    pictures = "".join(
        f'<img src="data:image/jpeg;base64,{_jpeg(pixels)}" alt="{escape(what)} of {escape(row.name)}" loading="lazy">'
        for what, pixels in (("points", photo), ("pseudo-masks", overlay))
    )
    return f"<figure><div class='pair'>{pictures}</div><figcaption>{caption}</figcaption></figure>"


def panels(reader: Reader, row: Row, record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The photograph with its points, and with its pseudo-masks."""
    image, targets = reader.picture(row), reader.targets(row)
    photo = fit(image, _SIZE)
    labels = enlarge(reader.labels(record, row).id_map - 1, photo.shape[:2])
    overlay = partition_map(photo, labels, colors=target_colors(targets))
    height, width = photo.shape[:2]
    room = math.sqrt(height * width / max(1, len(targets.points_yx)))
    radius = min(max(height, width) / 75, max(1.5, room / 8))  # smaller where points are many
    return draw_points(photo, targets, grid=image.shape[:2], radius=radius), overlay


def _jpeg(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _charts(summary: Mapping[str, Any]) -> str:
    charts = [
        ("Confidence of the pictures", summary["confidence"]["pictures"], "confidence", "pictures"),
        ("Confidence of the segments", summary["confidence"]["segments"], "confidence", "segments"),
        ("Share of the picture that is void", summary["void_share_bins"], "void share", "pictures"),
    ]
    return "".join(
        f"<figure>{histogram(counts, label=title, axis=axis, unit=unit)}<figcaption>{title}</figcaption></figure>"
        for title, counts, axis, unit in charts
    )


def _category_table(summary: Mapping[str, Any]) -> str:
    scores = {one["name"]: one for one in (summary["scores"] or {}).get("categories", ())}
    head = ["category", "kind", "segments", "mean confidence"] + (["PQ", "SQ", "RQ"] if scores else [])
    rows = []
    for category in summary["categories"]:
        cells = [
            category["name"],
            "thing" if category["isthing"] else "stuff",
            f"{category['segments']:,}",
            "-" if category["confidence"] is None else f"{category['confidence']:.3f}",
        ]
        if scores:
            one = scores.get(category["name"])
            cells += [percent(one[key]) if one else "-" for key in ("pq", "sq", "rq")]
        rows.append(cells)
    return _table(head, rows)


def _stages(times: Mapping[str, Any]) -> str:
    seconds, pictures = times["seconds_by_stage"], max(times["pictures"], 1)
    total = sum(seconds.values()) or 1.0
    rows = "".join(
        f"<tr><th>{escape(stage)}</th><td class='bar'><i style='width:{100 * spent / total:.1f}%'></i></td>"
        f"<td>{1000 * spent / pictures:.1f} ms</td><td>{100 * spent / total:.0f} %</td></tr>"
        for stage, spent in seconds.items()
    )
    return f"<table>{rows}<tr><th>together</th><td></td><td>{1000 * total / pictures:.1f} ms</td><td></td></tr></table>"


def _aside(summary: Mapping[str, Any]) -> str:
    if not summary["set_aside"]:
        return "<p>None.</p>"
    listed = summary["set_aside_first"][:_LISTED]
    more = summary["set_aside"] - len(listed)
    tail = f"<p>{more:,} more are in <code>set_aside.csv</code>.</p>" if more else ""
    return _table(["picture", "reason"], [[entry["picture"], entry["reason"]] for entry in listed]) + tail


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _rows(pairs: Any) -> str:
    cells = "".join(f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in pairs)
    return f"<div class='scroll'><table>{cells}</table></div>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
