"""Rough sizes of targets as they stand in point files: in pixels, or as the radius or the diameter of a disc."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..files.io import Origin
from ..types import SIZE_ERROR, PointTargets

SIZE_FIELDS = ("size", "radius", "diameter", "size_error")
ELSEWHERE = {"area": "size"}
"""What other tools call a field, which by its letters is nearer to another one."""
_PIXELS: Mapping[str, Callable[[float], float]] = {
    "size": lambda pixels: pixels,
    "radius": lambda radius: math.pi * radius * radius,
    "diameter": lambda diameter: math.pi * diameter * diameter / 4,
}
_ROUNDED = 0.05
"""Numbers that differ by less, in proportion, are one number that was rounded."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number_of(value: Any) -> float:
    """NaN for what is no number; Python would take 2_0 for one."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def decimal_hint(*values: Any) -> str:
    """Of what would be a number with a point in the place of its comma."""
    texts = [value for value in values if isinstance(value, str) and "," in value]
    commas = any(not math.isnan(number_of(text.replace(",", "."))) for text in texts)
    return " (with a decimal point, not a comma)" if commas else ""


def size_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry of a file says of a size."""
    return {name: entry[name] for name in SIZE_FIELDS if entry.get(name) is not None}


def told_sizes(
    origin: Origin, told: Iterable[tuple[int, str, Mapping[str, Any]]], count: int, shape: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """(K,) the size of each target in pixels, NaN where no point says, and (K,) by what factor it may be off.

    Args:
        told: for each point of a picture its target, where it stands, and its fields, see :func:`size_fields`.
        count: K.
        shape: (H, W) of the picture, if known.

    Raises:
        FileError: what is no positive number, or more than the picture has pixels; sizes of one target that disagree;
            an error of a size that is not there.
    """
    size, error = np.full(count, np.nan), np.full(count, np.nan)
    error_at: dict[int, str] = {}
    for target, where, fields in told:
        for name, given in fields.items():
            if name == "size_error":
                error_at.setdefault(target, where)
            known = error if name == "size_error" else size
            known[target] = _told(origin, where, name, given, known[target])
            if shape is not None and size[target] > shape[0] * shape[1]:
                expected = f"at most the {shape[0] * shape[1]} pixels of the picture"
                origin.fail(f"{where}: {name} {given!r:.40}, which makes {size[target]:.6g} pixels", expected)
    for target, where in error_at.items():
        if np.isnan(size[target]):
            got = f"{where}: size_error {error[target]:g} without a size"
            origin.fail(got, "a size, radius or diameter beside it")
    return size, np.where(np.isnan(error), SIZE_ERROR, error)


def _told(origin: Origin, where: str, name: str, given: Any, known: float) -> float:
    """The value of a field; ``known`` is what the target's other points and fields say of it, NaN for nothing."""
    number, least = number_of(given), 1.0 if name == "size_error" else 0.0
    value = _PIXELS.get(name, float)(number)
    if not (number > 0 and number >= least and 0 < value < math.inf):
        expected = (
            f"a finite number {'>= 1' if least else '> 0'}, or nothing where it is not known{decimal_hint(given)}"
        )
        origin.fail(f"{where}: {name} {given!r:.40}", expected)
    if math.isnan(known):
        return value
    if not math.isclose(known, value, rel_tol=_ROUNDED):
        got = f"{where}: {name} {given!r:.40} of a target of {known:.6g}{'' if least else ' pixels'}"
        origin.fail(got, f"one {'size_error' if least else 'size'} for each target")
    return known


def size_entries(targets: PointTargets) -> list[dict[str, float]]:
    """What the points of each target say of its size in a file; nothing where it is not known."""
    entries: list[dict[str, float]] = []
    for size, error in zip(targets.size.tolist(), targets.size_error.tolist(), strict=True):
        told = {} if math.isnan(size) else {"size": _plain(size)}
        entries.append(told | ({"size_error": _plain(error)} if told and error != SIZE_ERROR else {}))
    return entries


def _plain(value: float) -> float:
    """300 rather than 300.0."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
