"""The points of a whole data set in one file, read picture by picture."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..files.io import Origin, reason_of
from ..files.json_stream import stream_json
from ..files.results import PICTURE
from ..panoptic import Category
from ..panoptic.clicks import Click, Clicks, clicked_targets, in_channel_order, paint_of
from ..panoptic.paint import Paint, json_paint
from ..panoptic.points import is_json
from ..panoptic.points_csv import csv_click, csv_rows
from ..panoptic.points_json import clicked_on, json_categories, json_picture, refuse_masks
from ..types import PointTargets
from .table import Table, build_table

Found = TypeVar("Found")

_NAMED = '"images": [{"file_name": "a.jpg", "points": [...]}, ...], as write_points writes it with the name as `image`'


def index_file(origin: Origin, path: Path, source: str) -> Table:
    """Check every point of a file and keep them, picture by picture, in a table.

    Args:
        origin: the file, see :func:`~point2mask_ot.labelling.label_dataset`.
        path: the table to write.
        source: digest of the file.

    Raises:
        FileError: naming the picture and the point, or the line.
    """
    if is_json(origin):
        return _index_json(origin, path, source)
    with closing(sqlite3.connect("")) as clicks:  # a private temporary file, gone with its connection
        try:
            return _index_csv(origin, path, source, clicks)
        except sqlite3.Error as error:
            origin.fail(f"{error}", "room for a temporary copy of the points", error)


def category_list(categories: Sequence[Category]) -> list[list[Any]]:
    """As JSON values."""
    return [[c.id, c.name, c.is_thing, c.color] for c in categories]


def categories_of(table: Table) -> tuple[Category, ...]:
    """The categories of a table, all things before all stuff: their order is the order of the channels."""
    return tuple(Category(i, n, t, tuple(color) if color else None) for i, n, t, color in table.about["categories"])


def targets_of(body: Any, categories: Sequence[Category]) -> PointTargets:
    """The targets of a row."""
    points, target, category = body["targets"]
    is_thing = np.array([categories[c].is_thing for c in category], bool)
    return PointTargets(points, target, category, is_thing, **body.get("sizes", {}))


def body_of(targets: PointTargets, shape: tuple[int, int] | None = None, paint: Paint | None = None) -> dict[str, Any]:
    """What :func:`targets_of` and :func:`paint_in` read, as JSON values, and (H, W), where the points tell."""
    body: dict[str, Any] = {} if shape is None else {"shape": list(shape)}
    body |= {"targets": [targets.points_yx.tolist(), targets.target.tolist(), targets.category.tolist()]}
    sizes = {"size": targets.size.tolist(), "size_error": targets.size_error.tolist()}
    told = {"sizes": sizes} if targets.has_sizes else {}
    return {**body, **told, **({"paint": paint.to_json()} if paint else {})}


def paint_in(origin: Origin, body: Any) -> Paint | None:
    """What is painted on the picture of a row."""
    if not isinstance(body, dict) or "paint" not in body:
        return None
    numbers = {str(number): number for number in body["targets"][1]}
    return json_paint(origin, body["paint"], numbers, "")


def _index_json(origin: Origin, path: Path, source: str) -> Table:
    # Categories may follow the pictures, and reading twice is cheaper than keeping all pictures until then.
    noted: dict[str, str] = {}
    categories = in_channel_order(json_categories(origin, _json_categories(origin, noted)))
    rows = _json_rows(origin, categories, noted)
    return build_table(origin, path, source, {"categories": category_list(categories)}, rows)


def _json_categories(origin: Origin, noted: dict[str, str]) -> Iterator[Any]:
    for key, entry in stream_json(origin):
        if key == "annotations":
            refuse_masks(origin, {key: entry})
        if key == "categories":
            yield entry
        if key == "info" and (digest := clicked_on(entry)):
            noted[PICTURE] = digest


def _json_rows(
    origin: Origin, categories: Sequence[Category], noted: Mapping[str, str]
) -> Iterator[tuple[int | str | None, str, Any]]:
    pictures, noted = noted_of_one(json_pictures(origin), noted)
    for name, image_id, clicks in pictures:
        yield image_id, name, {**clicks_body(origin, clicks, categories), **noted}


def noted_of_one(pictures: Iterator[Found], noted: Mapping[str, str]) -> tuple[Iterator[Found], Mapping[str, str]]:
    """What a file notes of its picture; where it has several, nobody knows of which."""
    first = list(islice(pictures, 2))
    return chain(first, pictures), noted if len(first) == 1 else {}


def clicks_body(origin: Origin, clicks: Sequence[Click], categories: Sequence[Category]) -> dict[str, Any]:
    """The body of a row with all that a file says of a picture."""
    size = clicks.size if isinstance(clicks, Clicks) else None
    return body_of(clicked_targets(origin, clicks, categories), size, paint_of(clicks))


def json_pictures(origin: Origin) -> Iterator[tuple[str, int | str | None, list[Click]]]:
    """Name, id (None where it has none) and clicks of each picture."""
    index = -1
    for key, entry in stream_json(origin):
        if key == "images":
            index += 1
            yield json_picture(origin, entry, index)
        elif key == "points":
            origin.fail('"points" of a picture that has no name', _NAMED)
    if index < 0:
        origin.fail("no pictures", 'at least one picture in the list "images"')


def _index_csv(origin: Origin, path: Path, source: str, clicks: sqlite3.Connection) -> Table:
    """The rows of a picture may lie anywhere in the file; pictures are numbered as they appear."""
    clicks.executescript(
        "CREATE TABLE picture (position INTEGER PRIMARY KEY, name TEXT UNIQUE);"
        "CREATE TABLE click (picture INTEGER, fields TEXT)"
    )
    categories: dict[str, Category] = {}
    for name, click in csv_clicks(origin, categories):
        clicks.execute("INSERT OR IGNORE INTO picture (name) VALUES (?)", (name,))
        fields = json.dumps(list(vars(click).values()))
        clicks.execute("INSERT INTO click SELECT position, ? FROM picture WHERE name = ?", (fields, name))
    if not categories:
        origin.fail("no points", "at least one point")
    ordered = in_channel_order(list(categories.values()))
    return build_table(
        origin, path, source, {"categories": category_list(ordered)}, _csv_pictures(origin, clicks, ordered)
    )


def csv_clicks(origin: Origin, categories: dict[str, Category]) -> Iterator[tuple[str, Click]]:
    """Picture and point of each row of a file; categories that are new join ``categories``."""
    try:
        with open(origin.path, encoding="utf-8-sig", newline="") as file:
            for where, row in csv_rows(origin, file):
                if "image" not in row:
                    origin.fail("no column 'image'", "the picture of each point")
                yield row["image"], csv_click(origin, where, row, categories)
    except (OSError, UnicodeDecodeError) as error:
        origin.fail(reason_of(error), "a readable CSV file in UTF-8", error)


def _csv_pictures(
    origin: Origin, clicks: sqlite3.Connection, categories: Sequence[Category]
) -> Iterator[tuple[None, str, Any]]:
    rows = clicks.execute(
        "SELECT name, fields FROM click JOIN picture ON picture = position ORDER BY position, click.rowid"
    )
    for name, group in groupby(rows, key=lambda row: row[0]):
        yield None, name, body_of(clicked_targets(origin, [Click(*json.loads(f)) for _, f in group], categories))
