"""Point files as JSON: entries checked field by field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..checks import suggestion
from ..files.io import Origin, read_json
from ..files.results import PICTURE
from .clicks import Click, Clicks
from .images import Category
from .kinds import ONE_LINE, has_odd_letters
from .paint import Paint, json_paint
from .point_sizes import ELSEWHERE, SIZE_FIELDS, size_fields


def from_json(origin: Origin, max_bytes: int) -> tuple[list[Category], dict[str | None, Clicks]]:
    """See :func:`content`."""
    document = read_json(origin.path, max_bytes=max_bytes, function=origin.function, argument=origin.argument)
    return content(origin, document)


def content(origin: Origin, document: Any) -> tuple[list[Category], dict[str | None, Clicks]]:
    """Categories, and the clicks on each picture; what lies under None is of a picture without a name."""
    refuse_masks(origin, document)
    categories = json_categories(origin, origin.field(document, "categories", list, "the file"))
    if "images" not in document:
        clicks = Clicks(json_clicks(origin, origin.field(document, "points", list, "the file")))
        clicks.paint, clicks.sha256 = painted(origin, document, clicks), clicked_on(document.get("info"))
        return categories, {None: clicks}
    pictures: dict[str | None, Clicks] = {}
    for index, entry in enumerate(origin.field(document, "images", list, "the file")):
        name, _, clicks = json_picture(origin, entry, index)
        if name in pictures:
            origin.fail(f"images[{index}]: {name!r:.80} again", "each picture once")
        pictures[name] = clicks
    if len(pictures) == 1:
        clicks.sha256 = clicked_on(document.get("info"))
    return categories, pictures


def clicked_on(info: Any) -> str | None:
    """SHA-256 of the picture that the points of a file are on, as the page of ``annotate`` notes it."""
    told = info.get(PICTURE) if isinstance(info, dict) else None
    return told if isinstance(told, str) else None


def refuse_masks(origin: Origin, document: Any) -> None:
    """COCO's files of masks have images and categories, too."""
    if isinstance(document, dict) and "annotations" in document:
        expected = '"points" of each entry of "images" (from masks, sample_points and `point2mask prepare` draw them)'
        origin.fail("masks in COCO's format", expected)


def json_picture(origin: Origin, entry: Any, index: int) -> tuple[str, int | str | None, Clicks]:
    """Name, id (None where it has none) and clicks of an entry of the list ``images``."""
    where = f"images[{index}]"
    _only(origin, entry, ("id", "file_name", "points", "paint", "height", "width"), where)
    name = origin.field(entry, "file_name", str, where)
    image_id = origin.field(entry, "id", (int, str), where) if "id" in entry else None
    clicks = Clicks(json_clicks(origin, origin.field(entry, "points", list, where), f"{name}: "))
    clicks.paint, clicks.size = painted(origin, entry, clicks, f"{name}: "), _size(origin, entry, where)
    return name, image_id, clicks


def _size(origin: Origin, entry: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    if entry.get("height") is None and entry.get("width") is None:
        return None
    height, width = (origin.field(entry, side, int, where) for side in ("height", "width"))
    if min(height, width) < 1:
        origin.fail(f"{where}: {height}x{width}", "a height and a width of at least 1")
    return height, width


def painted(origin: Origin, entry: Any, clicks: Sequence[Click], of: str = "") -> Paint | None:
    """The field ``paint`` of a picture with these clicks."""
    if entry.get("paint") is None:
        return None
    names = dict.fromkeys(str(click.target) for click in clicks if click.target is not None)
    return json_paint(origin, entry["paint"], {name: number for number, name in enumerate(names)}, of)


def json_categories(origin: Origin, entries: Iterable[Any]) -> list[Category]:
    """The list ``categories`` of a point file."""
    categories: list[Category] = []
    for index, entry in enumerate(entries):
        where = f"categories[{index}]"
        _only(origin, entry, ("id", "name", "isthing", "color", "supercategory"), where)
        name = origin.field(entry, "name", str, where)
        number = origin.field({"id": index + 1, **entry}, "id", int, where)
        if has_odd_letters(name):
            origin.fail(f"{where}: name {name!r:.80}", ONE_LINE)
        if number < 0 or any(number == other.id or name == other.name for other in categories):
            origin.fail(f"{where}: id {number}, name {name!r:.80}", "unique names and unique, non-negative ids")
        categories.append(Category(number, name, origin.flag(entry, "isthing", where), origin.color(entry, where)))
    if not categories:
        origin.fail("no categories", "at least one category")
    return categories


def json_clicks(origin: Origin, entries: Iterable[Any], of: str = "") -> list[Click]:
    """A list ``points`` of a point file; ``of`` says in errors whose it is."""
    clicks = []
    for index, entry in enumerate(entries):
        where = f"{of}points[{index}]"
        _only(origin, entry, ("x", "y", "category", "target", *SIZE_FIELDS), where)
        for key in ("x", "y"):
            origin.field(entry, key, (int, float), where)
        origin.field(entry, "category", (str, int), where)
        if entry.get("target") is not None:
            origin.field(entry, "target", (int, str), where)
        sizes = size_fields(entry)
        for key in sizes:
            origin.field(entry, key, (int, float), where)
        clicks.append(Click(where, entry["x"], entry["y"], entry["category"], entry.get("target"), sizes))
    return clicks


def _only(origin: Origin, entry: Any, known: Sequence[str], where: str) -> None:
    """Refuse fields that would be ignored; they are probably misspelt."""
    for key in entry if isinstance(entry, dict) else ():
        if key not in known:
            hint = suggestion(ELSEWHERE.get(key, key), known)
            origin.fail(f"{where}: field {key!r:.80}", f"only {', '.join(known)}{hint}")


def listed_categories(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """The categories as they stand in a JSON file."""
    return [
        {"id": c.id, "name": c.name, "isthing": int(c.is_thing)} | ({"color": list(c.color)} if c.color else {})
        for c in categories
    ]


def to_json(
    points: Sequence[dict[str, Any]],
    categories: Sequence[Category],
    image: str | None,
    info: Mapping[str, Any] | None,
    paint: Paint | None = None,
) -> str:
    """A points file of one picture, which may have no point."""
    told = {} if info is None else {"info": dict(info)}
    of_picture: dict[str, Any] = {"points": points} if image is None else {"file_name": image, "points": points}
    if paint is not None:
        of_picture["paint"] = paint.to_json()
    of_picture = of_picture if image is None else {"images": [of_picture]}
    document = {**told, "categories": listed_categories(categories), **of_picture}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
