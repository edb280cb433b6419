"""The categories of a folder: one list, in a file beside the points."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..checks import fail
from ..files.io import Origin, atomic_write, make_folder, read_json
from ..panoptic import Category
from ..panoptic.clicks import in_channel_order
from ..panoptic.points import writable_categories
from ..panoptic.points_json import json_categories, listed_categories
from .settings import NAME

DEFAULT = (Category(1, "object", True), Category(2, "background", False))


class Categories:
    """What the pictures of a folder are annotated with, in the order of their keys.

    They lie in ``categories.json``; until that is written, in what the folder was opened with.

    Args:
        out: folder of the results.
        found: in the points files that are there.
        asked: to begin with, after those.

    Raises:
        ArgumentError: one as thing and as stuff.
        FileError: a damaged file.
    """

    def __init__(self, out: Path, found: Iterable[Category], asked: Sequence[Category]) -> None:
        self.path = out / "categories.json"
        self._more = joined((), () if self.path.exists() else found, "out", self.path)
        self._more = joined(self._more, asked, "categories", self.path)
        joined(self._written(), asked, "categories", self.path)

    def listed(self) -> tuple[Category, ...]:
        """All things, then all stuff; what another server of the folder has written counts, too."""
        return joined(self._written(), self._more, "out", self.path) or DEFAULT

    def _written(self) -> tuple[Category, ...]:
        if not self.path.exists():
            return ()
        origin = Origin(NAME, "out", self.path)
        document = read_json(self.path, function=NAME, argument="out")
        return in_channel_order(json_categories(origin, origin.field(document, "categories", list, "the file")))

    def write(self, categories: Iterable[Category]) -> tuple[Category, ...]:
        """Replace the list.

        Raises:
            ArgumentError: names that are empty, twice, or have white space around them.
            FileError: a disk that cannot take the file.
        """
        ordered = in_channel_order(list(categories))
        writable_categories(NAME, ordered)
        self._more = ()
        make_folder(self.path.parent, function=NAME, argument="out")
        text = json.dumps({"categories": listed_categories(ordered)}, indent=1)
        if not self.path.exists() or self.path.read_text("utf-8") != text:
            atomic_write(self.path, text.encode(), function=NAME, argument="out")
        return ordered

    def bring(self, found: Iterable[Category], path: Path) -> None:
        """Have those of a points file that the folder is begun with, too.

        Raises:
            ArgumentError: one as thing and as stuff.
        """
        added = list(found)
        joined(self._written(), added, "points", path)
        self._more = joined(self._more, added, "points", path)

    def adopt(self, found: Iterable[Category]) -> tuple[Category, ...]:
        """The list with what a picture has beside it, such as another page has just taken away."""
        return joined(self.listed(), found, "out", self.path)

    @property
    def is_default(self) -> bool:
        """Nobody has said anything of categories yet."""
        return not self._more and not self.path.exists()


def joined(listed: Sequence[Category], more: Iterable[Category], argument: str, path: Path) -> tuple[Category, ...]:
    """Categories of two sources by name, with the ids of the first; new ones are numbered behind its own.

    Raises:
        ArgumentError: one as thing and as stuff.
    """
    known = {category.name: category for category in listed}
    for category in more:
        same = known.get(category.name)
        if same is None:
            taken = {one.id for one in known.values()}
            number = category.id if category.id not in taken else 1 + max(taken)
            known[category.name] = Category(number, category.name, category.is_thing, category.color)
        elif same.is_thing != category.is_thing:
            fail(NAME, argument, f"{category.name!r} as thing and as stuff", f"one or the other ({path.parent})")
    return in_channel_order(list(known.values())) if known else ()
