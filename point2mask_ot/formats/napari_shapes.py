"""napari's CSV of a layer of shapes: a row for each vertex. Points of pixels lie on their centres."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby

from ..files.io import Origin, reason_of
from ..panoptic.point_sizes import number_of
from . import shapes
from .fields import pairs, ring
from .marks import Drawn, Mark, Names, Shape, clicks_of

_COLUMNS = ("index", "shape-type", "axis-0", "axis-1")
_KNOWN = ("rectangle", "ellipse", "polygon", "line", "path")


def read(origin: Origin, names: Names, called: Mapping[str, str]) -> Iterator[Drawn]:
    """The one picture of a layer, which does not name it.

    Args:
        origin: the file.
        names: categories.
        called: of our columns, ``category`` alone may be named.
    """
    if set(called) - {"category"}:
        origin.fail(f"shapes with columns {sorted(called)}", "none named but that of the category")
    column = called.get("category")
    try:
        with open(origin.path, encoding="utf-8-sig", newline="") as file:
            marks = list(_marks(origin, names, csv.DictReader(file, strict=True), column))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        origin.fail(reason_of(error), "a readable CSV file in UTF-8", error)
    yield Drawn(None, clicks_of(marks, names))


def _marks(origin: Origin, names: Names, rows: csv.DictReader[str], column: str | None) -> Iterator[Mark]:
    missing = [
        name for name in (*_COLUMNS, *([] if column is None else [column])) if name not in (rows.fieldnames or ())
    ]
    if missing:
        origin.fail(f"no column {missing[0]!r:.80}", f"the columns {', '.join(_COLUMNS)}")
    for index, group in groupby(rows, key=lambda row: row["index"]):
        vertices = list(group)
        where, kind = f"shape {index!s:.20}", vertices[0]["shape-type"]
        label = names.add(origin, where, None if column is None else vertices[0][column])
        yx = [[number_of((row["axis-0"] or "").strip()), number_of((row["axis-1"] or "").strip())] for row in vertices]
        xy = [[x + 0.5, y + 0.5] for y, x in yx]
        yield Mark(where, label, _shape(origin, where, kind, xy))


def _shape(origin: Origin, where: str, kind: str | None, xy: list[list[float]]) -> Shape:
    match kind:
        case "line" | "path":
            return shapes.points(pairs(origin, where, xy))
        case "polygon":
            return shapes.polygon(ring(origin, where, xy))
        case "rectangle" | "ellipse" if len(xy) == 4:  # the corners of both, which may be turned
            corners = ring(origin, where, xy)
            share = math.pi / 4 if kind == "ellipse" else shapes.BOX_FILL
            return replace(shapes.points(corners.mean(0, keepdims=True)), size=share * shapes.area(corners))
    expected = f"one of {', '.join(_KNOWN)}; rectangle and ellipse with four"
    return origin.fail(f"{where}: shape-type {kind!r:.40} with {len(xy)} vertices", expected)
