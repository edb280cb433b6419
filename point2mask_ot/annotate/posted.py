"""What a page sends of a picture: its whole state, as the document of a point file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..checks import check_choice
from ..files.io import Origin, parse_json
from ..files.results import BEGUN, SKIPPED, STATES
from ..panoptic import Category
from ..panoptic.clicks import clicked_targets, in_channel_order
from ..panoptic.paint import Paint
from ..panoptic.points import writable_categories
from ..panoptic.points_json import json_categories, json_clicks, painted
from ..types import PointTargets
from .settings import NAME
from .store import Basis

MAX_TARGETS = 400
_PAGE = Origin(NAME, "points", Path("this page"))


@dataclass(frozen=True)
class Posted:
    """The state of a picture on a page.

    Attributes:
        names: the page's names of the targets.
        targets: the points; a target's category is an index into ``categories``.
        categories: all things, then all stuff.
        paint: what is painted on the picture.
        state: what becomes of the picture, where the page says it.
        basis: what the page has seen.
    """

    names: Sequence[str]
    targets: PointTargets
    categories: tuple[Category, ...]
    paint: Paint | None
    state: str | None
    basis: Basis

    @property
    def used(self) -> list[Category]:
        """The categories that have a point."""
        return [self.categories[channel] for channel in sorted(set(self.targets.category.tolist()))]

    def targets_of(self, categories: Sequence[Category]) -> PointTargets:
        """The targets with their categories as indices into another list, which has the same names and more."""
        place = {category.name: index for index, category in enumerate(categories)}
        moved = np.array([place.get(category.name, -1) for category in self.categories], np.int64)
        return replace(self.targets, category=moved[self.targets.category])


def read_state(body: bytes) -> str:
    """What becomes of a picture that the page cannot show.

    Raises:
        ArgumentError: another state than skipped and begun.
    """
    state = _PAGE.field(parse_json(_PAGE, body), "state", str, "the picture")
    check_choice(NAME, "state", state, (SKIPPED, BEGUN))
    return state


def read_posted(body: bytes, size: tuple[int, int]) -> Posted:
    """Check what a page sends.

    Args:
        body: JSON.
        size: (H, W) of the picture.

    Raises:
        ArgumentError: a state that no picture can have.
    """
    document = parse_json(_PAGE, body)
    categories = in_channel_order(json_categories(_PAGE, _PAGE.field(document, "categories", list, "the state")))
    writable_categories(NAME, categories)
    clicks = json_clicks(_PAGE, _PAGE.field(document, "points", list, "the state"))
    for click in clicks:
        if click.target is None:
            _PAGE.fail(f"{click.where}: no target", "a target for each point")
    names = list(dict.fromkeys(str(click.target) for click in clicks))
    if len(names) > MAX_TARGETS:
        _PAGE.fail(f"{len(names)} targets", f"at most {MAX_TARGETS}")
    state = document.get("state")
    if state is not None:
        check_choice(NAME, "state", state, STATES)
    page, edit = document.get("page", ""), document.get("edit", 0)
    if not isinstance(page, str) or type(edit) is not int or len(page) > 100:
        _PAGE.fail(f"the page {page!r:.40}, edit {edit!r:.40}", "a name and a number")
    targets = clicked_targets(_PAGE, clicks, categories, size)
    paint = painted(_PAGE, document, clicks)
    return Posted(names, targets, categories, paint, state, Basis(document.get("version", ""), page, edit))
