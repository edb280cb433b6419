"""Rough sizes in a job: those typical of categories, given or learned, and what became of the hints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..checks import fail, suggestion
from ..panoptic import Category
from ..types import Diagnostics, PointTargets
from ..typical import LEAST_HINTS, Typical, as_typical, typical_sizes

Sizes: TypeAlias = tuple[str, ...] | Sequence[str] | Mapping[str, float | tuple[float, float]]
"""``"nucleus=300"``, ``"nucleus=300/1.6"`` or ``"learned"``, one or several; or sizes by category."""
LEARNED = "learned"
OVERRULED = 2.0
"""Hint and count that are more than this factor apart contradict each other."""
_FORM = re.compile(r"\s*(?P<name>.*?)\s*=\s*(?P<size>[^=/]+?)\s*(/\s*(?P<spread>[^=/]+?)\s*)?", re.DOTALL)


def named_sizes(function: str, sizes: Any) -> tuple[dict[str, Typical], bool]:
    """Size and spread of the categories that are named, and whether those of others are to be learned.

    Raises:
        ArgumentError: another form, a category twice, a size that is not positive, a factor below 1.
    """
    if isinstance(sizes, Mapping):
        return {str(name): as_typical(function, "sizes", told, repr(name)) for name, told in sizes.items()}, False
    named: dict[str, Typical] = {}
    texts = [sizes] if isinstance(sizes, str) else list(sizes)
    for text in texts:
        if text == LEARNED:
            continue
        form = _FORM.fullmatch(text) if isinstance(text, str) else None
        try:
            told = [float(number) for number in (form["size"], form["spread"]) if number] if form else []
        except ValueError:
            told = []
        if not form or not told or not form["name"] or form["name"] in named:
            fail(function, "sizes", repr(text), f"'{LEARNED}', or once for each category 'NAME=PIXELS[/FACTOR]'")
        size = told[0] if len(told) == 1 else (told[0], told[1])
        named[form["name"]] = as_typical(function, "sizes", size, repr(text))
    return named, LEARNED in texts


def typical_of(
    function: str, sizes: Any, categories: Sequence[Category], pictures: Callable[[], Iterable[PointTargets]]
) -> dict[int, Typical]:
    """Size and spread by category, as an index; what is given of one counts, and what can be learned of the others.

    Args:
        function: public function named in errors.
        sizes: see :data:`Sizes`.
        categories: of the points, things first.
        pictures: the targets of all pictures, from which sizes are learned.

    Raises:
        ArgumentError: an unknown category, one of stuff, or nothing that is given or can be learned.
    """
    named, learned = named_sizes(function, sizes)
    index = {category.name: channel for channel, category in enumerate(categories)}
    things = [category.name for category in categories if category.is_thing]
    for name in named:
        if name not in things:
            got = f"{name!r}, which is stuff" if name in index else f"category {name!r}"
            fail(function, "sizes", got, f"one of the things {things}{suggestion(name, things)}")
    found = typical_sizes(pictures()) if learned else {}
    if learned and not found and not named:
        got = f"'{LEARNED}', from points that tell fewer than {LEAST_HINTS} sizes of each category"
        fail(function, "sizes", got, "more of them, or sizes of categories, 'NAME=PIXELS'")
    return found | {index[name]: told for name, told in named.items()}


def size_notes(told: PointTargets, filled: PointTargets, diagnostics: Diagnostics) -> dict[str, int]:
    """How many targets had a size told, and a typical one; how many hints the picture overruled, and hints a count.

    A hint and a count that are more than a factor of :data:`OVERRULED` apart contradict each other. The capacity that
    came of them is nearer to one of the two, and has overruled the other.

    Args:
        told: the targets with the sizes of the points.
        filled: with typical sizes, too.
        diagnostics: of their masks.
    """
    own, suppliers = np.isfinite(told.size), np.asarray(diagnostics.suppliers)
    hint, capacity = filled.size[suppliers], np.asarray(diagnostics.capacities, np.float64)
    counted = np.asarray(capacity if diagnostics.counted is None else diagnostics.counted, np.float64)
    if np.isfinite(hint).all():  # then only their proportions counted
        hint = hint * (counted.sum() / hint.sum())
    with np.errstate(invalid="ignore"):
        seen, made, said = (np.log(np.maximum(pixels, 1)) for pixels in (counted, capacity, hint))
        apart = own[suppliers] & (np.abs(seen - said) > np.log(OVERRULED))
        picture_won = np.abs(made - seen) < np.abs(made - said)
    return {
        "told": int(own.sum()),
        "typical": int(np.isfinite(filled.size).sum() - own.sum()),
        "hints_overruled": int((apart & picture_won).sum()),
        "counts_overruled": int((apart & ~picture_won).sum()),
    }
