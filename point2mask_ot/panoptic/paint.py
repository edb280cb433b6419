"""What a person has painted on a picture, as it stands in a point file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..files.io import Origin
from ..files.pictures import MAX_PIXELS

_FIELDS = ("own", "not")


@dataclass(frozen=True, eq=False)
class Paint:
    """Pixels that a person has given to a target, or taken from it.

    Attributes:
        marks: (h, w) int32 on a grid of the picture's shape, which may be coarser: k + 1 for what is target k's,
            -(k + 1) for what is not, 0 for what nobody has touched.
    """

    marks: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """As runs of marked pixels in raster order, which :func:`json_paint` reads."""
        flat = self.marks.ravel()
        targets = []
        for k in np.unique(np.abs(flat[flat != 0])) - 1:
            runs = {"own": _runs(flat == k + 1), "not": _runs(flat == -(k + 1))}
            targets.append({"target": int(k), **{field: found for field, found in runs.items() if found}})
        return {"height": self.marks.shape[0], "width": self.marks.shape[1], "targets": targets}


def json_paint(origin: Origin, value: Any, targets: Mapping[str, int], where: str) -> Paint | None:
    """The field ``paint`` of a picture: ``height`` and ``width`` of its grid, and of each target runs of pixels.

    Args:
        origin: the file.
        value: of the field.
        targets: number of each target by its name in the file.
        where: the picture, for errors.

    Returns:
        None where nothing is painted.

    Raises:
        FileError: a grid that is no grid, a run that leaves it, a target without a point.
    """
    where = f"{where}paint"
    height, width = (origin.field(value, side, int, where) for side in ("height", "width"))
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        origin.fail(f"{where}: {height} x {width} pixels", f"at least one pixel and at most {MAX_PIXELS}")
    marks = np.zeros(height * width, np.int32)
    for entry in origin.field(value, "targets", list, where):
        name = str(origin.field(entry, "target", (int, str), where))
        if name not in targets:
            origin.fail(f"{where}: target {name!r:.80}", "a target that has a point")
        for field, sign in zip(_FIELDS, (1, -1), strict=True):
            for start, stop in _checked(origin, entry.get(field, []), marks.size, f"{where}: {field!r}"):
                marks[start:stop] = sign * (targets[name] + 1)
    return Paint(marks.reshape(height, width)) if marks.any() else None


def _checked(origin: Origin, runs: Any, size: int, where: str) -> list[tuple[int, int]]:
    """[start, length, start, length, ...] as (start, stop)."""
    good = isinstance(runs, list) and len(runs) % 2 == 0 and all(type(number) is int for number in runs)
    pairs = [(start, start + length) for start, length in zip(runs[::2], runs[1::2], strict=True)] if good else []
    if not good or any(not 0 <= start < stop <= size for start, stop in pairs):
        origin.fail(f"{where} {runs!r:.60}", f"starts and lengths of runs within {size} pixels")
    return pairs


def _runs(mask: np.ndarray) -> list[int]:
    steps = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    starts, stops = steps[::2], steps[1::2]
    runs: Sequence[int] = np.stack([starts, stops - starts], 1).ravel().tolist()
    return list(runs)
