"""The points of a whole data set in one file: all that training from points reads beside the pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..checks import FileError, fail
from ..files.io import Origin, atomic_file, origin_of, read_json
from ..files.json_stream import stream_json
from ..types import PointTargets
from .clicks import clicked_targets, in_channel_order, point_entries
from .images import Category
from .points import writable_categories
from .points_json import json_categories, json_picture, listed_categories, refuse_masks

_READ, _WRITE = "read_point_set", "write_point_set"
_MAX_BYTES = 2**31


@dataclass(frozen=True, eq=False)
class PicturePoints:
    """The points of one picture of a data set.

    Attributes:
        file_name: the picture, relative to the folder of pictures.
        image_id: its id in the data set, an integer or a string; its position in the file, from 1, where it has none.
        targets: the points; a target's category is an index into the data set's categories, things first.
        size: (H, W) of the picture, or None where the file does not say it.
    """

    file_name: str
    image_id: int | str
    targets: PointTargets
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class PointSet:
    """The content of a data set's point file.

    Attributes:
        categories: all things, then all stuff.
        pictures: in the order of the file.
        info: how the points were made; whatever the file says.
    """

    categories: tuple[Category, ...]
    pictures: tuple[PicturePoints, ...]
    info: Mapping[str, Any]


def read_point_set(path: str | os.PathLike[str]) -> PointSet:
    """Read the points of many pictures::

        {"categories": [{"id": 1, "name": "cat", "isthing": 1}, ...],
         "images": [{"id": 7, "file_name": "a.jpg", "points": [{"x": 31, "y": 12, "category": 1, "target": 0}, ...]}],
         "info": {...}}

    Categories, points and targets are as in :func:`~point2mask_ot.read_points`; a picture may have no points.
    Without ``id`` it has its position in the list, from 1. It may have a ``height`` and a ``width``, as in COCO.

    Args:
        path: the JSON file, UTF-8, up to 2 GiB. All of it is held in memory.

    Raises:
        FileError: naming the picture and the point: what :func:`~point2mask_ot.read_points` refuses, or a picture or
            an id twice.
    """
    origin = origin_of(_READ, "path", path)
    document = read_json(origin.path, max_bytes=_MAX_BYTES, function=_READ, argument="path")
    refuse_masks(origin, document)
    categories = in_channel_order(json_categories(origin, origin.field(document, "categories", list, "the file")))
    pictures: dict[str, PicturePoints] = {}
    ids: set[int | str] = set()
    for index, entry in enumerate(origin.field(document, "images", list, "the file")):
        where = f"images[{index}]"
        name, given, clicks = json_picture(origin, entry, index)
        if name in pictures:
            origin.fail(f"{where}: {name!r:.80} again", "each picture once")
        image_id = index + 1 if given is None else given
        if image_id in ids:
            origin.fail(f"{where}: id {image_id!r:.80} again", "unique ids (without one, a picture's position from 1)")
        ids.add(image_id)
        pictures[name] = PicturePoints(name, image_id, clicked_targets(origin, clicks, categories), clicks.size)
    info = origin.field({"info": {}, **document}, "info", dict, "the file")
    return PointSet(categories, tuple(pictures.values()), info)


def refuse_to_replace(path: str | os.PathLike[str], *, function: str, argument: str, masks: bool = False) -> None:
    """Refuse a file that is there, unless points that were drawn or imported stand in it: clicks and masks are work.

    Args:
        path: the JSON file that is to be written.
        function, argument: for the error.
        masks: of points as masks, in COCO's format.

    Raises:
        FileError: another suffix, or what is not to be lost.
    """
    origin = origin_of(function, argument, path)
    if origin.path.suffix.lower() != ".json":
        origin.fail("not called .json", "a name that ends in .json")
    if os.path.lexists(origin.path) and not _made_here(origin, masks):
        origin.fail("a file that is there", "a new one, or one that was made in this way before")


def _made_here(origin: Origin, masks: bool) -> bool:
    made = has_masks = False
    try:
        for key, value in stream_json(origin):
            made |= key == "info" and isinstance(value, dict) and ("from" in value or "sampler" in value)
            has_masks |= key == "annotations"
            if has_masks and not masks:
                return False
    except FileError:
        return False
    return made and has_masks == masks


def write_point_set(
    path: str | os.PathLike[str],
    pictures: Iterable[PicturePoints],
    categories: Iterable[Category],
    info: Mapping[str, Any] | None = None,
) -> int:
    """Write points so that :func:`read_point_set` gives them back; the file appears whole or not at all.

    Args:
        path: the JSON file. Pictures are written as they come: memory does not grow with their number.
        pictures: a target's category is an index into ``categories``.
        categories: all things, then all stuff.
        info: how the points were made, for whoever reads the file.

    Returns:
        Number of pictures written.

    Raises:
        ArgumentError: as :func:`~point2mask_ot.write_points`, except that a picture may have no points; no
            picture at all.
        FileError: a disk that cannot take the file.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "points.json"
        >>> points = PicturePoints("a.jpg", 1, PointTargets([(12, 31)]))
        >>> write_point_set(path, [points], [Category(7, "coin", True)])
        1
        >>> read_point_set(path).pictures[0].targets.points_yx.tolist()
        [[12, 31]]
    """
    listed = writable_categories(_WRITE, categories)
    head = {"info": dict(info or {}), "categories": listed_categories(listed)}
    count = 0
    with atomic_file(path, function=_WRITE, argument="path") as file:
        file.write(json.dumps(head, indent=1, allow_nan=False)[:-2].encode() + b',\n "images": [')
        for line in _lines(pictures, listed):
            file.write(b"\n" if count == 0 else b",\n")
            file.write(line)
            count += 1
        if not count:
            fail(_WRITE, "pictures", "none", "at least one picture")
        file.write(b"\n ]\n}\n")
    return count


def _lines(pictures: Iterable[PicturePoints], categories: list[Category]) -> Iterator[bytes]:
    for picture in pictures:
        points = point_entries(_WRITE, "pictures", picture.targets, categories)
        size = {} if picture.size is None else dict(zip(("height", "width"), picture.size, strict=True))
        entry = {"id": picture.image_id, "file_name": picture.file_name, **size, "points": points}
        yield json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
