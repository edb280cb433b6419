"""Numbers out of files from outside, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..files.io import Origin
from ..files.pictures import MAX_PIXELS

_FAR = 2.0**31


def numbers(origin: Origin, where: str, values: object) -> np.ndarray:
    """(N,) float64 of a list of numbers."""
    return _array(origin, where, values, 1, "a list of numbers")


def pairs(origin: Origin, where: str, values: object) -> np.ndarray:
    """(N, 2) float64 of a list of x and y, N >= 1."""
    array = _array(origin, where, values, 2, "a list of [x, y]")
    if not len(array) or array.shape[1] != 2:
        origin.fail(f"{where}: {values!r:.80}", "at least one [x, y]")
    return array


def ring(origin: Origin, where: str, values: object) -> np.ndarray:
    """(N, 2) float64 of the x and y of an outline, N >= 3."""
    return _closed(origin, where, pairs(origin, where, values))


def flat_ring(origin: Origin, where: str, values: object) -> np.ndarray:
    """(N, 2) float64 of a list x, y, x, y, ... around an object; N >= 3."""
    return _closed(origin, where, flat_pairs(origin, where, values))


def _closed(origin: Origin, where: str, vertices: np.ndarray) -> np.ndarray:
    closed = len(vertices) > 1 and bool((vertices[0] == vertices[-1]).all())  # GeoJSON says the first one twice
    if len(vertices) - closed < 3:
        got = f"{where}: an outline of {len(vertices) - closed} vertices"
        origin.fail(got, "three at least (a line is another shape)")
    return vertices


def lengths(origin: Origin, where: str, **values: float) -> None:
    """Refuse what is below 0."""
    for name, value in values.items():
        if value < 0:
            origin.fail(f"{where}: {name} {value:g}", "0 or more")


def flat_pairs(origin: Origin, where: str, values: object) -> np.ndarray:
    """(N, 2) float64 of a list x, y, x, y, ...; N >= 1."""
    array = numbers(origin, where, values)
    if not len(array) or len(array) % 2:
        origin.fail(f"{where}: {len(array)} numbers", "x and y of each point")
    return array.reshape(-1, 2)


def named_numbers(origin: Origin, entry: Any, where: str, *names: str) -> list[float]:
    """The values of fields that are numbers."""
    return numbers(origin, where, [origin.field(entry, name, (int, float), where) for name in names]).tolist()


def picture_size(origin: Origin, entry: Any, where: str, height: str, width: str) -> tuple[int, int]:
    """(H, W) out of two fields."""
    size = [origin.field(entry, name, (int, float), where) for name in (height, width)]
    if any(side < 1 or side != int(side) or side > MAX_PIXELS for side in size):
        origin.fail(f"{where}: {height} {size[0]!r:.20}, {width} {size[1]!r:.20}", "the height and width of a picture")
    return int(size[0]), int(size[1])


def unpacked(origin: Origin, where: str, counts: object, size: tuple[int, int], order: str) -> np.ndarray:
    """(H, W) booleans from lengths of runs, False first, along columns (``order="F"``) or rows (``"C"``)."""
    lengths = numbers(origin, where, counts)
    pixels = size[0] * size[1]
    if (lengths < 0).any() or (lengths != np.floor(lengths)).any() or lengths.sum() != pixels or pixels > MAX_PIXELS:
        got = f"{where}: run lengths of {lengths.sum():.12g} pixels in all"
        origin.fail(got, f"the {pixels} of {size[0]}x{size[1]}, {MAX_PIXELS} at most")
    runs = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths.astype(np.int64))
    return runs.reshape(size, order=order)  # type: ignore[call-overload]


def _array(origin: Origin, where: str, values: object, ndim: int, expected: str) -> np.ndarray:
    try:
        array = np.array(values if isinstance(values, list) else None)
    except (ValueError, TypeError, OverflowError):  # a ragged list
        array = np.array(None)
    if array.size == 0:
        array = np.zeros((0,) * ndim)
    if array.ndim != ndim or array.dtype.kind not in "iuf" or not (np.abs(array) < _FAR).all():
        origin.fail(f"{where}: {values!r:.80}", f"{expected} below {_FAR:.0f}")
    return array.astype(np.float64)
