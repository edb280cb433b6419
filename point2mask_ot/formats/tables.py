"""CSV: with columns of anybody's names, and as napari saves a layer of points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..files.io import Origin, reason_of
from ..panoptic.clicks import Click
from ..panoptic.points_csv import csv_click, csv_rows
from . import napari_shapes
from .guess import header
from .marks import Drawn, Names

NAPARI = {"y": "axis-0", "x": "axis-1"}


def read(origin: Origin, names: Names, called: Mapping[str, str]) -> Iterator[Drawn]:
    """The pictures of a file, in the order in which they turn up.

    Args:
        origin: the file.
        names: categories.
        called: what the file calls our columns, where it is not as we do.
    """
    pictures: dict[str | None, list[Click]] = {}
    try:
        with open(origin.path, encoding="utf-8-sig", newline="") as file:
            for where, row in csv_rows(origin, file, called, required=("x", "y")):
                row.setdefault("category", names.missing)
                if row["category"] in names.stuff and not row.get("isthing"):
                    row["category"] += ":stuff"
                click = csv_click(origin, where, row, names.found)
                pictures.setdefault(row.get("image"), []).append(click)
    except (OSError, UnicodeDecodeError) as error:
        origin.fail(reason_of(error), "a readable CSV file in UTF-8", error)
    for name, clicks in pictures.items():
        yield Drawn(name, clicks)


def read_napari(origin: Origin, names: Names, called: Mapping[str, str]) -> Iterator[Drawn]:
    """The one picture of a layer that was saved, which does not name it."""
    columns = header(origin)
    if "axis-2" in columns:
        origin.fail("points of more than two axes", "axis-0 and axis-1, of one picture (not of a stack)")
    if "shape-type" in columns:
        return napari_shapes.read(origin, names, called)
    return read(origin, names, {**NAPARI, **called})
