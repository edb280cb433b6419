"""Point files as CSV: a header by whose names the columns are known."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from ..checks import suggestion
from ..files.io import Origin, read_bytes
from .clicks import Click
from .images import Category
from .kinds import kind_of
from .point_sizes import ELSEWHERE, SIZE_FIELDS, size_fields

_REQUIRED = ("x", "y", "category")
_WRITTEN = ("image", *_REQUIRED, "target", "isthing")
CSV_COLUMNS = (*_WRITTEN, *SIZE_FIELDS)
_AS_THEY_ARE: Mapping[str, str] = {}
_SURELY_MISSPELT = 0.8
"""What likeness to the name of a column of sizes takes, lest a column "slice" be refused for "size"."""


def from_csv(origin: Origin, max_bytes: int) -> tuple[list[Category], dict[str | None, list[Click]]]:
    """Categories, and the clicks on each picture; what lies under None is of a picture without a name."""
    try:
        text = read_bytes(origin, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        origin.fail(error, "CSV in UTF-8", error)
    categories: dict[str, Category] = {}
    pictures: dict[str | None, list[Click]] = {}
    for where, row in csv_rows(origin, io.StringIO(text, newline="")):
        pictures.setdefault(row.get("image"), []).append(csv_click(origin, where, row, categories))
    return list(categories.values()), pictures or {None: []}


def csv_click(origin: Origin, where: str, row: dict[str, str], categories: dict[str, Category]) -> Click:
    """The point in a row; a category that is new joins ``categories``."""
    if row.get("image") == "":
        origin.fail(f"{where}: no image", "a picture's file name")
    if not row["category"]:
        origin.fail(f"{where}: no category", "a category's name")
    name, thing = kind_of(origin, where, row["category"], row.get("isthing"))
    category = categories.setdefault(name, Category(len(categories) + 1, name, thing))
    if category.is_thing != thing:
        origin.fail(f"{where}: category {name!r} as thing and as stuff", "one or the other")
    sizes = size_fields({column: cell for column, cell in row.items() if cell})
    return Click(where, row["x"], row["y"], name, row.get("target") or None, sizes)


def csv_rows(
    origin: Origin, lines: Iterable[str], called: Mapping[str, str] = _AS_THEY_ARE, required: Sequence[str] = _REQUIRED
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows below the header, stripped, by the known columns, with the line that each ends on.

    Args:
        origin: the file, named in errors.
        lines: its lines.
        called: what the file calls a column that it does not call by our name.
        required: columns that must be there.

    Raises:
        FileError: no CSV, another number of values than in the header, a column that is missing, twice, or probably
            misspelt.
    """
    called = {column: name.strip().lower() for column, name in called.items()}
    header: list[str] | None = None
    begun = 0  # line on which the last row begins
    try:
        rest = iter(lines)
        first = list(_until_words(rest))
        reader = csv.reader(chain(first, rest), delimiter=_delimiter(first, called), strict=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            where, begun = f"line {reader.line_num}", reader.line_num
            if not any(cells):
                continue
            if header is None:
                header = _renamed(origin, where, [cell.lower() for cell in cells], called)
                _check_header(origin, where, header, required)
            elif len(cells) != len(header):
                origin.fail(f"{where}: {len(cells)} values", f"{len(header)} values, as in the header")
            else:
                row = dict(zip(header, cells, strict=True))
                yield where, {column: row[column] for column in CSV_COLUMNS if column in row}
    except UnicodeDecodeError as error:
        origin.fail(error, "CSV in UTF-8", error)
    except csv.Error as error:
        origin.fail(f"line {begun + 1}: {error}", "CSV, whose every quote is closed", error)


def _until_words(lines: Iterator[str]) -> Iterator[str]:
    """Lines up to the first one that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _delimiter(lines: Sequence[str], called: Mapping[str, str]) -> str:
    """What divides the header into the most known columns."""
    header = lines[-1].lower() if lines else ""
    names = {*CSV_COLUMNS, *called.values()}

    def known(delimiter: str) -> int:
        return len(names & {cell.strip().strip('"') for cell in header.split(delimiter)})

    return max(",;\t", key=known)


def _renamed(origin: Origin, where: str, header: list[str], called: Mapping[str, str]) -> list[str]:
    """The header in our names; what has one of ours, but is called otherwise here, is a column of somebody's own."""
    for column, name in called.items():
        if header.count(name) != 1:
            problem = "two columns" if name in header else "no column"
            origin.fail(f"{where}: {problem} {name!r} among {header}", f"one for {column}{suggestion(name, header)}")
    ours = {name: column for column, name in called.items()}
    return [ours.get(name, "" if name in called else name) for name in header]


def _check_header(origin: Origin, where: str, header: Sequence[str], required: Sequence[str]) -> None:
    """Columns of somebody's own pass; one that is nearly a known one that is missing is probably misspelt."""
    missing = [column for column in CSV_COLUMNS if column not in header]
    for column in header:
        meant = ELSEWHERE.get(column, column)
        hint = suggestion(meant, [name for name in missing if name in _WRITTEN])
        hint = hint or suggestion(meant, [name for name in missing if name in SIZE_FIELDS], likeness=_SURELY_MISSPELT)
        if column not in CSV_COLUMNS and hint:
            origin.fail(f"{where}: column {column!r:.80}", f"columns out of {', '.join(CSV_COLUMNS)}{hint}")
    absent = [column for column in required if column in missing]
    twice = [column for column in CSV_COLUMNS if header.count(column) > 1]
    if absent or twice:
        problem = f"no column {absent[0]!r} among {header}" if absent else f"a column twice, {twice[0]!r}"
        origin.fail(f"{where}: {problem}", f"the columns {', '.join(required)}, each once")


def to_csv(points: list[dict[str, Any]], categories: Sequence[Category], image: str | None) -> str:
    is_thing = {category.name: int(category.is_thing) for category in categories}
    buffer = io.StringIO()
    columns = [*_WRITTEN[image is None :], *(name for name in SIZE_FIELDS if any(name in point for point in points))]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    named = {} if image is None else {"image": image}
    writer.writerows({**named, **point, "isthing": is_thing[point["category"]]} for point in points)
    return buffer.getvalue()
