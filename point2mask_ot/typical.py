"""Typical sizes of categories: what may stand for a size that nobody told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from .checks import ArgumentError, check_integer, check_number, fail_type
from .types import PointTargets

SPREAD = 2.0
"""By what factor things of a category typically differ in size, where nothing is said."""
CAUTION = 2.0
"""Spreads, in logarithms, that a typical size may be off: all things of one picture may be larger than others are."""
LEAST_HINTS = 3
"""Of a category: from fewer nothing is learned."""

Typical: TypeAlias = tuple[float, float]
"""Size in pixels, and the factor by which sizes of the category typically differ from it."""


def typical_sizes(pictures: PointTargets | Iterable[PointTargets], *, least: int = LEAST_HINTS) -> dict[int, Typical]:
    """The typical size of each category of things, from the targets whose size was told.

    The size is the geometric mean of the hints, the spread the factor of one standard deviation of their logarithms,
    joined with that by which the hints themselves may be off: what a category tells of a target is never trusted
    further than a hint would be.

    Args:
        pictures: the targets of a picture, or of many; they are looked at one by one.
        least: of how many hints, >= 2, something is learned at all.

    Returns:
        Size and spread by category, without those that have fewer hints.

    Raises:
        ArgumentError: ``least < 2``.
        ArgumentTypeError: what is no :class:`PointTargets`, nor many of them.

    Example:
        >>> from point2mask_ot import PointTargets
        >>> targets = PointTargets([(1, 1), (9, 9), (5, 5), (5, 8)], size=[100, 400, 200, float("nan")])
        >>> [(round(size), round(spread, 2)) for size, spread in typical_sizes(targets).values()]
        [(200, 2.13)]
    """
    least = check_integer("typical_sizes", "least", least, minimum=2)
    if not isinstance(pictures, Iterable) and not isinstance(pictures, PointTargets):
        fail_type("typical_sizes", "pictures", pictures, "PointTargets, or many of them")
    sums: dict[int, np.ndarray] = {}
    for targets in [pictures] if isinstance(pictures, PointTargets) else pictures:
        if not isinstance(targets, PointTargets):
            fail_type("typical_sizes", "pictures", targets, "PointTargets, or many of them")
        told = np.isfinite(targets.size) & targets.is_thing
        logs, errors = np.log(targets.size[told]), np.log(targets.size_error[told])
        rows = np.stack([np.ones_like(logs), logs, logs**2, errors**2], 1)
        for category, row in zip(targets.category[told].tolist(), rows, strict=True):
            sums[category] = sums.get(category, 0) + row
    return {category: _law(*row.tolist()) for category, row in sorted(sums.items()) if row[0] >= least}


def _law(count: float, logs: float, squares: float, errors: float) -> Typical:
    mean = logs / count
    variance = max(0.0, (squares - count * mean**2) / (count - 1))
    return float(np.exp(mean)), float(np.exp(np.sqrt(variance + errors / count)))


def fill_sizes(targets: PointTargets, typical: Mapping[int, float | Typical]) -> PointTargets:
    """The targets, with typical sizes for the things whose own was not told; what was told stays, and so does stuff.

    Where the picture shows the size of things well, as with touching nuclei of a known class, a typical size may do
    harm; it helps where their count is worth little.

    Args:
        targets: of one picture.
        typical: by category a size in pixels, or a size and the factor >= 1 by which sizes of the category typically
            differ from it (default 2), as :func:`typical_sizes` gives them. Their ``size_error`` is its square, since
            things of one picture tend to be all larger, or all smaller, than those of others.

    Returns:
        New targets; those given stay as they are.

    Raises:
        ArgumentError: a size that is not positive, a factor below 1.
        ArgumentTypeError: what is no such mapping.

    Example:
        >>> from point2mask_ot import PointTargets
        >>> targets = PointTargets([(1, 1), (9, 9), (5, 5)], category=[0, 0, 1], size=[100, float("nan"), float("nan")])
        >>> filled = fill_sizes(targets, {0: (300, 1.5)})
        >>> filled.size.tolist(), filled.size_error.tolist()
        ([100.0, 300.0, nan], [1.35, 2.25, 1.35])
    """
    if not isinstance(typical, Mapping) or not all(isinstance(key, (int, np.integer)) for key in typical):
        fail_type("fill_sizes", "typical", typical, "a mapping from category indices to sizes")
    size, error = targets.size.copy(), targets.size_error.copy()
    for category, told in typical.items():
        unknown = np.isnan(targets.size) & targets.is_thing & (targets.category == category)
        size[unknown], spread = as_typical("fill_sizes", "typical", told, f"category {category}")
        error[unknown] = spread**CAUTION
    return replace(targets, size=size, size_error=error)


def as_typical(function: str, argument: str, told: float | Typical, entry: str) -> Typical:
    """Size and spread of a category, in the name of a public function.

    Raises:
        ArgumentError: naming the ``entry``: a size that is not positive, a factor below 1.
    """
    size, spread = told if isinstance(told, (tuple, list)) and len(told) == 2 else (told, SPREAD)
    try:
        return check_number(function, argument, size, above=0), check_number(function, argument, spread, minimum=1)
    except ArgumentError as error:
        got, _, expected = str(error).partition("': got ")[2].rpartition("; expected ")
        raise type(error)(function, argument, f"{got} for {entry}", expected) from None
