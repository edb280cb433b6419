"""Which of the pictures that the points name a call asks for: all of them, some by name, or the first few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from ..checks import fail, fail_type, suggestion
from ..files.io import origin_of, read_bytes
from .table import Row, Table

_NAME = "label_dataset"
_MAX_BYTES = 2**28
_COMPARED = 1000


def names_asked(only: str | os.PathLike[str] | Sequence[str] | None) -> list[str] | None:
    """The names in a text file, one a line, or in a list; None where nothing is said.

    Raises:
        FileError: a file that cannot be read or is not UTF-8.
        ArgumentError: no name.
    """
    if only is None:
        return None
    if isinstance(only, (str, os.PathLike)):
        origin = origin_of(_NAME, "only", only)
        try:
            lines = read_bytes(origin, _MAX_BYTES).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            origin.fail(error, "names of pictures in UTF-8, one a line", error)
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = list(only) if isinstance(only, Iterable) else fail_type(_NAME, "only", only, "a file, or names")
        for name in names:
            if not isinstance(name, str):
                fail_type(_NAME, "only", name, "names of pictures")
    if not names:
        fail(_NAME, "only", "no name", "at least one picture's")
    return names


def positions_named(table: Table, names: Sequence[str]) -> frozenset[int]:
    """Where these pictures stand in the table; their suffix may be left out.

    Raises:
        ArgumentError: a name that the points lack.
    """
    positions = set()
    for name in names:
        row = table.find(name) or table.find(f"{name}.*")
        if row is None:
            known = [row.name for row in islice(table, _COMPARED)]
            fail(
                _NAME,
                "only",
                f"{name!r}, which the points do not name",
                f"pictures with points{suggestion(name, known)}",
            )
        positions.add(row.position)
    return frozenset(positions)


def first_positions(rows: Iterable[Row], count: int, is_there: Callable[[Row], Any]) -> frozenset[int]:
    """Of the first ``count`` pictures that are there: the points may be those of a larger set."""
    return frozenset(row.position for row in islice(filter(is_there, rows), count))
