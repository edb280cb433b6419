"""What someone drew on a picture, whatever tool it was: the one record that every reader here makes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ..files.io import Origin
from ..panoptic import Category
from ..panoptic.clicks import Click
from ..panoptic.kinds import kind_of

Point = tuple[float, float]
"""x and y in pixels; 0, 0 is the centre of the top left pixel."""


@dataclass(frozen=True)
class Shape:
    """What a shape says of its target.

    Attributes:
        points: pixels of the target, at least one.
        size: its rough size in pixels; None where the shape does not tell, 0 for a shape without extent.
        odd: what a person should know of how it was taken; empty for nothing.
    """

    points: Sequence[Point]
    size: float | None = None
    odd: str = ""


@dataclass(frozen=True)
class Mark:
    """A shape, of a category.

    Attributes:
        where: it stands in its file.
        category: name as :class:`Names` gives it.
        shape: see :class:`Shape`.
        target: marks of one category with the same are one target; None for a target of its own.
    """

    where: str
    category: str
    shape: Shape
    target: object = None


@dataclass(frozen=True)
class Drawn:
    """What was drawn on one picture.

    Attributes:
        name: the picture's file name; None where the file does not say.
        clicks: of all marks.
        shape: (H, W) of the picture, where the file says.
        image_id: its id, where the file says.
    """

    name: str | None
    clicks: list[Click]
    shape: tuple[int, int] | None = None
    image_id: int | str | None = None


@dataclass
class Names:
    """Categories as they turn up.

    Attributes:
        stuff: names of those that are stuff; "background" and ``NAME:stuff`` are, too.
        missing: the category of what has none.
        found: what turned up, by name.
        odd: what a person should know of how a file was taken, since it was last told.
    """

    stuff: Collection[str] = ()
    missing: str = "object"
    found: dict[str, Category] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def add(self, origin: Origin, where: str, text: object, number: int | None = None, thing: bool = True) -> str:
        """The name of a category as someone wrote it; one that is new is found.

        Args:
            origin, where: named in errors.
            text: the name, maybe with its kind; None or blank for :attr:`missing`.
            number: its id, where the file says.
            thing: what the file says of its kind.

        Raises:
            FileError: no text, ``NAME:stuf``, or a name as thing and as stuff.
        """
        if text is not None and not isinstance(text, str):
            origin.fail(f"{where}: category {text!r:.80}", "a name")
        name, as_written = kind_of(origin, where, (text or "").strip() or self.missing, None)
        thing = thing and as_written and name not in self.stuff
        if name not in self.found:
            taken = {category.id for category in self.found.values()}
            free = max(taken, default=0) + 1 if number is None or number in taken else number
            self.found[name] = Category(free, name, thing)
        elif self.found[name].is_thing != thing:
            origin.fail(f"{where}: category {name!r} as thing and as stuff", "one or the other")
        return name


def clicks_of(marks: Iterable[Mark], names: Names) -> list[Click]:
    """Clicks that say the same; a target's size is the sum over its marks. Stuff has none: it takes what is left."""
    keyed: list[tuple[str | None, Mark]] = []
    sizes: dict[str | None, float] = {}
    for mark in marks:
        thing, size = names.found[mark.category].is_thing, mark.shape.size
        own = mark.where if mark.target is None else f"{mark.target}"
        target = f"{mark.category} {own}" if thing or mark.target is not None else None
        if thing and mark.shape.odd:
            names.odd.append(f"{mark.where}: {mark.shape.odd}")
        keyed.append((target, mark))
        if thing and size is not None and size > 0:
            sizes[target] = sizes.get(target, 0) + size
    clicks = []
    for target, mark in keyed:
        for x, y in mark.shape.points:
            told = {"size": sizes.pop(target)} if target in sizes else {}
            clicks.append(Click(mark.where, x, y, mark.category, target, told))
    return clicks
