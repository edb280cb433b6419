"""Which of the pictures that the points name a call asks for: all of them, some by name, or the first few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ..checks import fail, suggestion
from ..files.io import read_json
from ..files.results import LEFT_ALONE, SKIPPED, PictureResults, state_of
from .table import Row, Table

_NAME = "label_dataset"
_COMPARED = 1000


def positions_named(table: Table, names: Sequence[str], points: Any) -> frozenset[int]:
    """Where these pictures stand in the table; their suffix may be left out.

    Those that were skipped on the page since the list was made, or lost all points, are left out. ``points`` is where
    the table is from.

    Raises:
        ArgumentError: a name that the points lack, or nothing but skipped ones.
    """
    positions = set()
    for name in names:
        row = table.find(name) or table.find(f"{name}.*")
        if row is None and _state(points, name) in LEFT_ALONE:
            continue
        if row is None:
            known = [row.name for row in islice(table, _COMPARED)]
            fail(
                _NAME,
                "only",
                f"{name!r}, which the points do not name",
                f"pictures with points{suggestion(name, known)}",
            )
        positions.add(row.position)
    if not positions:
        fail(
            _NAME,
            "only",
            f"names ({len(names)}) of pictures that were all skipped, or have no points any more",
            "pictures to label",
        )
    return frozenset(positions)


def is_skipped(points: Any, name: str) -> bool:
    """Whether a person has said so on the page of ``annotate``, in the file of the picture's points."""
    return _state(points, name) == SKIPPED


def _state(points: Any, name: str) -> str | None:
    if not isinstance(points, (str, os.PathLike)):
        return None
    path = PictureResults.of(Path(points), name, "").points
    try:
        return state_of(read_json(path)) if path.is_file() else None
    except (OSError, ValueError):  # a file of something else
        return None


def first_positions(rows: Iterable[Row], count: int, is_there: Callable[[Row], Any]) -> frozenset[int]:
    """Of the first ``count`` pictures that are there: the points may be those of a larger set."""
    return frozenset(row.position for row in islice(filter(is_there, rows), count))
