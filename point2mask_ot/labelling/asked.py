"""Which of the pictures that the points name a call asks for: all of them, some by name, or the first few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from ..checks import fail, suggestion
from .table import Row, Table

_NAME = "label_dataset"
_COMPARED = 1000


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
