"""Point files: what people clicked on one picture or on many, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ..checks import fail, suggestion
from ..files.io import Origin, atomic_write, origin_of, read_bytes, read_json
from ..types import PointTargets
from .images import Category, category_channels, check_categories
from .paint import Paint, json_paint
from .point_sizes import SIZE_FIELDS, number_of, size_entries, size_fields, told_sizes

_READ, _WRITE = "read_points", "write_points"
_MAX_BYTES = 2**26
_REQUIRED = ("x", "y", "category")
_WRITTEN = ("image", *_REQUIRED, "target", "isthing")
CSV_COLUMNS = (*_WRITTEN, *SIZE_FIELDS)
_SURELY_MISSPELT = 0.8
"""What likeness to the name of a column of sizes takes, lest a column "slice" be refused for "size"."""
_ELSEWHERE = {"area": "size"}
"""What other tools call a field, which by its letters is nearer to another one."""
_BACKGROUND = "background"
_KINDS = ("thing", "stuff")
_FAR = 2**31


@dataclass(frozen=True, eq=False)
class LabelledPoints:
    """The content of a point file.

    Attributes:
        targets: the points; a target's category is an index into ``categories``.
        categories: all things, then all stuff.
        paint: what a person has painted on the picture, which its masks have to keep.
    """

    targets: PointTargets
    categories: tuple[Category, ...]
    paint: Paint | None = None


@dataclass(frozen=True)
class Click:
    """One point as it stands in the file; ``where`` is its line or position, ``sizes`` what it says of its target's."""

    where: str
    x: Any
    y: Any
    category: Any
    target: Any = None
    sizes: Mapping[str, Any] = field(default_factory=dict)


class Clicks(list[Click]):
    """The points of one picture, with what is painted on it, if anything; targets are numbered as they appear."""

    paint: Paint | None = None


def paint_of(clicks: Sequence[Click]) -> Paint | None:
    """What is painted on the picture of these points."""
    return clicks.paint if isinstance(clicks, Clicks) else None


def read_points(
    path: str | os.PathLike[str], *, image: str | None = None, shape: tuple[int, int] | None = None
) -> LabelledPoints:
    """Read the points that someone clicked on one picture, from a file of one picture or of many.

    JSON::

        {"categories": [{"name": "coin", "isthing": 1}, {"name": "table", "isthing": 0}],
         "images": [{"file_name": "a.jpg",
                     "points": [{"x": 31, "y": 12, "category": "coin", "target": 0}, ...]}, ...]}

    or, of one picture that need not be named, ``"points": [...]`` in place of ``"images"``. A category may have an
    ``id`` (default: its position, from 1), a ``color`` and a ``supercategory``; a point may name its category by that
    id. CSV has a header with the columns x, y, category and, if wanted, image, target, isthing and those of sizes,
    between commas, semicolons or tabs; others are not read::

        image,x,y,category,target,isthing,diameter
        a.jpg,31,12,coin,0,1,40

    Without ``isthing``, every category but "background" is a thing; ``table:stuff`` or ``coin:thing`` as the category
    says it too. What the file is, its content tells.

    x is the column and y the row, in pixels: 0, 0 is the centre of the top left pixel. Points with the same
    ``target`` (a number or a name) belong to one target. Without it, each point of a thing is a target of its own,
    and all points of a stuff category are one. Targets are numbered as they appear.

    A picture may have a field ``paint``, which the page of ``annotate`` writes (:attr:`LabelledPoints.paint`).

    A point may say roughly how large its target is (:attr:`PointTargets.size`), in either format: by a ``size`` in
    pixels, or by the ``radius`` or ``diameter`` in pixels of a disc as large; and by what factor, >= 1, that is
    typically off (``size_error``, default 1.35). What is empty, null or absent is not known. One of a target's points
    is enough; where several say it, they agree, to within 5 % for what was rounded.

    Args:
        path: the file, UTF-8.
        image: the picture's file name, where the file has several; its folders may be left out if that is clear.
        shape: (H, W) of the picture; where given, points outside are refused.

    Raises:
        FileError: naming the line or the entry: the file is missing, damaged or has unknown fields; a coordinate is
            no finite number or lies outside the picture; a category is unknown, named twice, or both thing and
            stuff; one target has points of two categories, or of two sizes; a size is no positive number; there is no
            point, or several pictures have some and ``image`` does not say which.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("x,y,category\\n31,12,coin\\n5,6,background\\n7,6,background\\n")
        >>> points = read_points(path)
        >>> points.targets.points_yx[0].tolist(), points.targets.target.tolist()
        ([12, 31], [0, 1, 1])
    """
    origin = origin_of(_READ, "path", path)
    categories, pictures = _from_json(origin) if is_json(origin) else _from_csv(origin)
    clicks = _of_picture(origin, pictures, image)
    if not clicks:
        origin.fail("no points", "at least one point")
    ordered = in_channel_order(categories)
    return LabelledPoints(clicked_targets(origin, clicks, ordered, shape), ordered, paint_of(clicks))


def read_all_targets(path: str | os.PathLike[str]) -> list[PointTargets]:
    """The targets of every picture in a point file, with the categories that :func:`read_points` gives them."""
    origin = origin_of(_READ, "path", path)
    categories, pictures = _from_json(origin) if is_json(origin) else _from_csv(origin)
    ordered = in_channel_order(categories)
    return [clicked_targets(origin, clicks, ordered) for clicks in pictures.values()]


def picture_names(path: str | os.PathLike[str]) -> list[str | None]:
    """The pictures that a point file names; None is one without a name."""
    origin = origin_of(_READ, "path", path)
    return list((_from_json(origin) if is_json(origin) else _from_csv(origin))[1])


def _of_picture(origin: Origin, pictures: dict[str | None, list[Click]], image: str | None) -> list[Click]:
    """The clicks on one picture; what lies under None is of a picture without a name, which is any."""
    if len(pictures) == 1 and (None in pictures or image is None):
        return next(iter(pictures.values()))
    names = [name for name in pictures if name is not None]
    listed = f"one of {names[:5]}{' and others' if len(names) > 5 else ''}"
    if image is None:
        origin.fail(f"points of {len(pictures)} pictures", f"those of one picture, or image=, {listed}")
    if image in pictures:
        return pictures[image]
    found = [name for name in names if PurePosixPath(name).name == PurePosixPath(image).name]
    if len(found) != 1:
        origin.fail(f"{'no' if not found else 'several'} pictures {image!r}", listed + suggestion(image, names))
    return pictures[found[0]]


def is_json(origin: Origin) -> bool:
    """Whether a point file is JSON rather than CSV: named so, or beginning with a brace."""
    if origin.path.suffix.lower() == ".json":
        return True
    try:
        with open(origin.path, "rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    except (OSError, ValueError):
        return False  # whoever reads it will say why it cannot be read


def in_channel_order(categories: Sequence[Category]) -> tuple[Category, ...]:
    """All things, then all stuff."""
    channels = category_channels(categories)
    return tuple(sorted(categories, key=lambda category: channels[category.id]))


def clicked_targets(
    origin: Origin, clicks: Sequence[Click], categories: Sequence[Category], shape: tuple[int, int] | None = None
) -> PointTargets:
    """The targets of one picture's clicks; their category is an index into ``categories``."""
    points_yx = np.array([_coordinates(origin, click, shape) for click in clicks]).reshape(-1, 2)
    if (points_yx == np.rint(points_yx)).all():
        points_yx = points_yx.astype(np.int64)
    target, channel = _targets(origin, clicks, categories)
    is_thing = [categories[c].is_thing for c in channel]
    told = ((k, click.where, click.sizes) for k, click in zip(target, clicks, strict=True))
    of_targets = np.array(channel, np.int64), np.array(is_thing, bool), *told_sizes(origin, told, len(channel), shape)
    return PointTargets(points_yx, np.array(target, np.int64), *of_targets)


def _targets(origin: Origin, clicks: Sequence[Click], categories: Sequence[Category]) -> tuple[list[int], list[int]]:
    """The target of each click, and the category of each target as an index."""
    number: dict[Any, int] = {}
    target_channel: list[int] = []
    targets = []
    for position, click in enumerate(clicks):
        channel = _channel(origin, click, categories)
        key: Any = ("target", str(click.target))
        if click.target is None:
            key = ("point", position) if categories[channel].is_thing else ("stuff", channel)
        target = number.setdefault(key, len(number))
        if target == len(target_channel):
            target_channel.append(channel)
        elif target_channel[target] != channel:
            names = sorted((categories[channel].name, categories[target_channel[target]].name))
            origin.fail(f"{click.where}: target {click.target!r} in {names}", "one category for each target")
        targets.append(target)
    return targets, target_channel


def _coordinates(origin: Origin, click: Click, shape: tuple[int, int] | None) -> tuple[float, float]:
    """(row, column)."""
    x, y = (number_of(value) for value in (click.x, click.y))
    if not (abs(x) < _FAR and abs(y) < _FAR):
        origin.fail(f"{click.where}: x={click.x!r:.40}, y={click.y!r:.40}", f"two numbers below {_FAR} in size")
    if shape is not None and not _inside(y, x, shape):
        hint = " (x and y swapped?)" if _inside(x, y, shape) else ""
        origin.fail(f"{click.where}: x={x:g}, y={y:g}", f"a point inside HxW = {shape[0]}x{shape[1]}{hint}")
    return y, x


def _inside(row: float, column: float, shape: tuple[int, int]) -> bool:
    """The nearest pixel centre lies in the picture."""
    return -0.5 <= row < shape[0] - 0.5 and -0.5 <= column < shape[1] - 0.5


def _channel(origin: Origin, click: Click, categories: Sequence[Category]) -> int:
    for channel, category in enumerate(categories):
        if click.category == (category.id if type(click.category) is int else category.name):
            return channel
    known = [category.name for category in categories]
    hint = suggestion(click.category, known)
    origin.fail(f"{click.where}: category {click.category!r:.80}", f"one of {known}{hint}")


def _from_json(origin: Origin) -> tuple[list[Category], dict[str | None, list[Click]]]:
    document = read_json(origin.path, max_bytes=_MAX_BYTES, function=origin.function, argument=origin.argument)
    refuse_masks(origin, document)
    categories = json_categories(origin, origin.field(document, "categories", list, "the file"))
    if "images" not in document:
        return categories, {None: json_clicks(origin, origin.field(document, "points", list, "the file"))}
    pictures: dict[str | None, list[Click]] = {}
    for index, entry in enumerate(origin.field(document, "images", list, "the file")):
        name, _, clicks = json_picture(origin, entry, index)
        if name in pictures:
            origin.fail(f"images[{index}]: {name!r:.80} again", "each picture once")
        pictures[name] = clicks
    return categories, pictures


def refuse_masks(origin: Origin, document: Any) -> None:
    """COCO's files of masks have images and categories, too."""
    if isinstance(document, dict) and "annotations" in document:
        expected = '"points" of each entry of "images" (from masks, sample_points and `point2mask prepare` draw them)'
        origin.fail("masks in COCO's format", expected)


def json_picture(origin: Origin, entry: Any, index: int) -> tuple[str, int | str | None, Clicks]:
    """Name, id (None where it has none) and clicks of an entry of the list ``images``."""
    where = f"images[{index}]"
    only(origin, entry, ("id", "file_name", "points", "paint", "height", "width"), where)
    name = origin.field(entry, "file_name", str, where)
    image_id = origin.field(entry, "id", (int, str), where) if "id" in entry else None
    clicks = Clicks(json_clicks(origin, origin.field(entry, "points", list, where), f"{name}: "))
    clicks.paint = painted(origin, entry, clicks, f"{name}: ")
    return name, image_id, clicks


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
        only(origin, entry, ("id", "name", "isthing", "color", "supercategory"), where)
        name = origin.field(entry, "name", str, where)
        number = origin.field({"id": index + 1, **entry}, "id", int, where)
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
        only(origin, entry, ("x", "y", "category", "target", *SIZE_FIELDS), where)
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


def only(origin: Origin, entry: Any, known: Sequence[str], where: str) -> None:
    """Refuse fields that would be ignored; they are probably misspelt."""
    for key in entry if isinstance(entry, dict) else ():
        if key not in known:
            hint = suggestion(_ELSEWHERE.get(key, key), known)
            origin.fail(f"{where}: field {key!r:.80}", f"only {', '.join(known)}{hint}")


def _from_csv(origin: Origin) -> tuple[list[Category], dict[str | None, list[Click]]]:
    try:
        text = read_bytes(origin, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        origin.fail(error, "CSV in UTF-8", error)
    categories: dict[str, Category] = {}
    pictures: dict[str | None, list[Click]] = {}
    for where, row in csv_rows(origin, io.StringIO(text, newline="")):
        pictures.setdefault(row.get("image"), []).append(csv_click(origin, where, row, categories))
    return list(categories.values()), pictures or {None: []}


def csv_click(origin: Origin, where: str, row: dict[str, str], categories: dict[str, Category]) -> Click:
    """The point in a row; a category that is new joins ``categories``."""
    if row.get("image") == "":
        origin.fail(f"{where}: no image", "a picture's file name")
    name, said = named_kind(row["category"])
    if not name:
        origin.fail(f"{where}: no category", "a category's name")
    if said is None and not row.get("isthing"):
        _refuse_near_kind(origin, where, name)
    thing = _csv_flag(origin, where, name, row.get("isthing"), said)
    category = categories.setdefault(name, Category(len(categories) + 1, name, thing))
    if category.is_thing != thing:
        origin.fail(f"{where}: category {name!r} as thing and as stuff", "one or the other")
    sizes = size_fields({column: cell for column, cell in row.items() if cell})
    return Click(where, row["x"], row["y"], name, row.get("target") or None, sizes)


def _refuse_near_kind(origin: Origin, where: str, name: str) -> None:
    """``table:stuf`` would be a thing of that name."""
    near = suggestion(name.rpartition(":")[2].strip().lower(), _KINDS) if ":" in name else ""
    if near:
        expected = f":thing or :stuff behind the colon{near}, or {name}:thing for a thing of that name"
        origin.fail(f"{where}: category {name!r:.80}", expected)


def named_kind(text: str) -> tuple[str, bool | None]:
    """``wall:stuff`` and ``coin:thing`` as a name and whether it is a thing; None where the name alone stands there."""
    name, _, kind = (part.strip() for part in text.rpartition(":"))
    return (name, kind == "thing") if kind in _KINDS and name else (text, None)


def csv_rows(origin: Origin, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows below the header, stripped, by the known columns, with the line that each ends on."""
    header: list[str] | None = None
    try:
        rest = iter(lines)
        first = list(_until_words(rest))
        reader = csv.reader(chain(first, rest), delimiter=_delimiter(first), strict=True)
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            where = f"line {reader.line_num}"
            if not any(cells):
                continue
            if header is None:
                header = [cell.lower() for cell in cells]
                _check_header(origin, where, header)
            elif len(cells) != len(header):
                origin.fail(f"{where}: {len(cells)} values", f"{len(header)} values, as in the header")
            else:
                row = dict(zip(header, cells, strict=True))
                yield where, {column: row[column] for column in CSV_COLUMNS if column in row}
    except (UnicodeDecodeError, csv.Error) as error:
        origin.fail(error, "CSV in UTF-8", error)


def _until_words(lines: Iterator[str]) -> Iterator[str]:
    """Lines up to the first one that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _delimiter(lines: Sequence[str]) -> str:
    """What divides the header into the most known columns."""
    header = lines[-1].lower() if lines else ""

    def known(delimiter: str) -> int:
        return len(set(CSV_COLUMNS) & {cell.strip().strip('"') for cell in header.split(delimiter)})

    return max(",;\t", key=known)


def _check_header(origin: Origin, where: str, header: Sequence[str]) -> None:
    """Columns of somebody's own pass; one that is nearly a known one that is missing is probably misspelt."""
    missing = [column for column in CSV_COLUMNS if column not in header]
    for column in header:
        meant = _ELSEWHERE.get(column, column)
        hint = suggestion(meant, [name for name in missing if name in _WRITTEN])
        hint = hint or suggestion(meant, [name for name in missing if name in SIZE_FIELDS], likeness=_SURELY_MISSPELT)
        if column not in CSV_COLUMNS and hint:
            origin.fail(f"{where}: column {column!r:.80}", f"columns out of {', '.join(CSV_COLUMNS)}{hint}")
    absent = [column for column in _REQUIRED if column in missing]
    twice = [column for column in CSV_COLUMNS if header.count(column) > 1]
    if absent or twice:
        problem = f"no column {absent[0]!r} among {header}" if absent else f"a column twice, {twice[0]!r}"
        origin.fail(f"{where}: {problem}", f"the columns {', '.join(_REQUIRED)}, each once")


def _csv_flag(origin: Origin, where: str, name: str, text: str | None, said: bool | None) -> bool:
    if not text:
        return name.lower() != _BACKGROUND if said is None else said
    if text.lower() not in ("0", "1", "false", "true"):
        origin.fail(f"{where}: isthing {text!r:.80}", "0, 1, false or true")
    flag = text.lower() in ("1", "true")
    if said not in (None, flag):
        origin.fail(f"{where}: isthing {text!r} of a category that says otherwise", "one or the other")
    return flag


def write_points(
    path: str | os.PathLike[str],
    targets: PointTargets,
    categories: Iterable[Category],
    *,
    image: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write points so that :func:`read_points` gives them back, with the points of a target side by side.

    Args:
        path: a ``.json`` file; with any other name CSV is written, which keeps neither the categories' ids nor
            categories without a point nor ``info``.
        targets: the points.
        categories: category c of the targets is ``categories[c]``; as :func:`read_points` numbers them, all things
            come before all stuff.
        image: the picture's file name, with which the file may also stand for a data set of one picture.
        info: goes into the JSON as it is, for whoever asks where the points come from; no reader here does.

    Raises:
        ArgumentError: no point, a category that is not listed, a thing where its category is stuff or the other
            way round, stuff listed before things, or a name twice or empty.
        FileError: a disk that cannot take the file.
    """
    origin = origin_of(_WRITE, "path", path)
    listed = writable_categories(_WRITE, categories)
    if not targets.num_targets:
        fail(_WRITE, "targets", "no points", "at least one point")
    points = point_entries(_WRITE, "targets", targets, listed)
    if origin.path.suffix.lower() == ".json":
        text = points_json(points, listed, image, info)
    else:
        text = _to_csv(points, listed, image)
    atomic_write(origin.path, text.encode(), function=_WRITE, argument="path")


def writable_categories(function: str, categories: Iterable[Category]) -> list[Category]:
    """The categories as a list; refuse names that a reader would confuse and stuff before things."""
    listed = list(check_categories(function, categories).values())
    names = [category.name for category in listed]
    if len(set(names)) < len(names) or any(name != name.strip() or not name for name in names):
        fail(function, "categories", f"names {names}", "unique names without white space around them")
    if list(category_channels(listed)) != [category.id for category in listed]:
        fail(function, "categories", "stuff before things", "all things, then all stuff")
    return listed


def point_entries(
    function: str, argument: str, targets: PointTargets, categories: Sequence[Category]
) -> list[dict[str, Any]]:
    """The points as they stand in a file, those of a target side by side."""
    for category, thing in zip(targets.category.tolist(), targets.is_thing.tolist(), strict=True):
        if category >= len(categories) or categories[category].is_thing != thing:
            got = f"a {'thing' if thing else 'stuff'} target of category {category}"
            fail(function, argument, got, "indices into categories, things and stuff as they say")
    told = size_entries(targets)
    order = np.argsort(targets.target, kind="stable")
    clicked = zip(targets.points_yx[order].tolist(), targets.target[order].tolist(), strict=True)
    return [
        {"x": x, "y": y, "category": categories[targets.category[target]].name, "target": target} | told[target]
        for (y, x), target in clicked
    ]


def listed_categories(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """The categories as they stand in a JSON file."""
    return [
        {"id": c.id, "name": c.name, "isthing": int(c.is_thing)} | ({"color": list(c.color)} if c.color else {})
        for c in categories
    ]


def points_json(
    points: Sequence[dict[str, Any]],
    categories: Sequence[Category],
    image: str | None,
    info: Mapping[str, Any] | None,
    paint: Paint | None = None,
) -> str:
    """A points file of one picture, which may have none."""
    told = {} if info is None else {"info": dict(info)}
    of_picture: dict[str, Any] = {"points": points} if image is None else {"file_name": image, "points": points}
    if paint is not None:
        of_picture["paint"] = paint.to_json()
    of_picture = of_picture if image is None else {"images": [of_picture]}
    document = {**told, "categories": listed_categories(categories), **of_picture}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _to_csv(points: list[dict[str, Any]], categories: Sequence[Category], image: str | None) -> str:
    is_thing = {category.name: int(category.is_thing) for category in categories}
    buffer = io.StringIO()
    columns = [*_WRITTEN[image is None :], *(name for name in SIZE_FIELDS if any(name in point for point in points))]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    named = {} if image is None else {"image": image}
    writer.writerows({**named, **point, "isthing": is_thing[point["category"]]} for point in points)
    return buffer.getvalue()
