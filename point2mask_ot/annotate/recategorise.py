"""Changes to the categories of a folder, in its list and in every points file that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checks import check_choice, fail
from ..files.io import Origin, parse_json
from ..panoptic import Category
from ..panoptic.kinds import named_kind
from ..panoptic.point_sizes import SIZE_FIELDS
from .settings import NAME
from .store import Store
from .typed import typed_category

_PAGE = Origin(NAME, "categories", Path("this page"))
Listed = Sequence[Category]


def changed(store: Store, listed: Listed, paths: Iterable[Path], body: bytes) -> list[Category]:
    """Do what a page asks for, and give the new list; files first, so that a power cut leaves too many names at most.

    Args:
        store: locked by the caller.
        listed: the categories.
        paths: of the points files that may be there.
        body: JSON: ``do``, one of add, rename, merge, delete, recolor; the ``name``; beside add ``isthing``, beside
            rename and merge ``to``, beside recolor a ``color``, null for none.

    Raises:
        ArgumentError: a name that is not there, or is there already; categories of two kinds to merge; one to delete
            that has points, or is the last one.
    """
    entry = parse_json(_PAGE, body)
    what = _PAGE.field(entry, "do", str, "the change")
    check_choice(NAME, "do", what, _CHANGES)
    name = _PAGE.field(entry, "name", str, "the change").strip()  # maybe with its kind, where it is to be added
    if what != "add" and name not in (category.name for category in listed):
        fail(NAME, "categories", f"no category {name!r}", "one of the folder's")
    return _CHANGES[what](store, listed, paths, name, entry)


def _add(store: Store, listed: Listed, paths: Iterable[Path], name: str, entry: Any) -> list[Category]:
    name, said = typed_category(name)
    _refuse_taken(listed, name)
    number = 1 + max((category.id for category in listed), default=0)
    chosen = _PAGE.flag(entry, "isthing", "the change", default=1)
    return [*listed, Category(number, name, chosen if said is None else said)]


def _rename(store: Store, listed: Listed, paths: Iterable[Path], name: str, entry: Any) -> list[Category]:
    written = _PAGE.field(entry, "to", str, "the change")
    new, _ = typed_category(written)
    (thing,) = (category.is_thing for category in listed if category.name == name)
    if named_kind(written)[1] not in (None, thing):
        got = f"{written!r:.80} for {name!r:.80}, which is {'a thing' if thing else 'stuff'}"
        fail(NAME, "categories", got, "a name alone: what is a thing, and what stuff, is said when it is added")
    _refuse_taken(listed, new)
    store.rewrite(paths, lambda document: _renamed(document, name, new))
    return [replace(category, name=new) if category.name == name else category for category in listed]


def _merge(store: Store, listed: Listed, paths: Iterable[Path], name: str, entry: Any) -> list[Category]:
    into = _PAGE.field(entry, "to", str, "the change")
    kinds = [category.is_thing for category in listed if category.name in (name, into)]
    if name == into or len(kinds) != 2 or kinds[0] != kinds[1]:
        fail(NAME, "categories", f"{name!r} into {into!r}", "two categories that are both things, or both stuff")
    store.rewrite(paths, lambda document: _renamed(document, name, into, one_region=not kinds[0]))
    return [category for category in listed if category.name != name]


def _delete(store: Store, listed: Listed, paths: Iterable[Path], name: str, entry: Any) -> list[Category]:
    if len(listed) < 2:
        fail(NAME, "categories", f"no category but {name!r}", "another one before it goes")
    there = [path for path in paths if path.is_file()]
    for path in there:
        if any(point.get("category") == name for point in _points(store.document(path))):
            fail(
                NAME,
                "categories",
                f"{name!r}, which has points in {path.name}",
                "one without a point: merge it instead",
            )
    store.rewrite(there, lambda document: _without(document, name))
    return [category for category in listed if category.name != name]


def _recolor(store: Store, listed: Listed, paths: Iterable[Path], name: str, entry: Any) -> list[Category]:
    color = _PAGE.color(entry, "the change")
    return [replace(category, color=color) if category.name == name else category for category in listed]


_CHANGES: dict[str, Callable[[Store, Listed, Iterable[Path], str, Any], list[Category]]] = {
    "add": _add,
    "rename": _rename,
    "merge": _merge,
    "delete": _delete,
    "recolor": _recolor,
}


def uses(store: Store, paths: Iterable[Path], name: str) -> dict[str, int]:
    """How many ``points`` a category has, in how many ``pictures``."""
    counts = [
        sum(point.get("category") == name for point in _points(store.document(path)))
        for path in paths
        if path.is_file()
    ]
    return {"points": sum(counts), "pictures": sum(count > 0 for count in counts)}


def _refuse_taken(listed: Listed, name: str) -> None:
    if any(category.name == name for category in listed):
        fail(NAME, "categories", f"the name {name!r}", "a new name")


def _points(document: Any) -> list[dict[str, Any]]:
    return [*document.get("points", ()), *(p for image in document.get("images", ()) for p in image["points"])]


def _without(document: Any, name: str) -> bool:
    """Take a category out of a points file; whether it had it."""
    kept = [category for category in document["categories"] if category["name"] != name]
    found = len(kept) < len(document["categories"])
    if kept:  # a file has one at least
        document["categories"] = kept
    return found


def _renamed(document: Any, name: str, new: str, *, one_region: bool = False) -> bool:
    """Give a category of a points file another name, which may be there already; whether it had it.

    All stuff of a category is one region, whose size nobody has told where it was two.
    """
    entry = next((category for category in document["categories"] if category["name"] == name), None)
    if entry is None:
        return False
    if any(category["name"] == new for category in document["categories"]):
        document["categories"].remove(entry)
    entry["name"] = new
    of_it = []
    for point in _points(document):
        if point["category"] in (name, entry.get("id")):
            point["category"] = new
        if point["category"] == new:
            of_it.append(point)
    regions = {point.get("target") for point in of_it}
    if one_region and len(regions) > 1:
        for image in (document, *document.get("images", ())):
            for stroke in (image.get("paint") or {}).get("targets", ()):
                if stroke["target"] in regions:
                    stroke["target"] = of_it[0]["target"]
        for point in of_it:
            point["target"] = of_it[0]["target"]
            for field in SIZE_FIELDS:
                point.pop(field, None)
    return True
