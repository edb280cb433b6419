"""Point files: what people clicked on one picture or on many, as JSON or CSV."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ..checks import fail, suggestion
from ..files.io import Origin, atomic_write, origin_of
from ..types import PointTargets
from .clicks import Click, Clicks, clicked_targets, in_channel_order, point_entries
from .images import Category, category_channels, check_categories
from .kinds import ONE_LINE, has_odd_letters
from .paint import Paint
from .points_csv import from_csv, to_csv
from .points_json import from_json, to_json

_READ, _WRITE = "read_points", "write_points"
_MAX_BYTES = 2**26

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class LabelledPoints:
    """The content of a point file.

    Attributes:
        targets: the points; a target's category is an index into ``categories``.
        categories: all things, then all stuff.
        paint: what a person has painted on the picture, which its masks have to keep.
        picture_sha256: of the picture's file that they were clicked on, where the page of ``annotate`` noted it.
    """

    targets: PointTargets
    categories: tuple[Category, ...]
    paint: Paint | None = None
    picture_sha256: str | None = None


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

    A picture may have a field ``paint``, which the page of ``annotate`` writes
    (:attr:`~point2mask_ot.panoptic.LabelledPoints.paint`).

    A point may say roughly how large its target is (``PointTargets.size``), in either format: by a ``size`` in
    pixels, or by the ``radius`` or ``diameter`` in pixels of a disc as large; and by what factor, >= 1, that is
    typically off (``size_error``, default 1.35). What is empty, null or absent is not known. One of a target's points
    is enough; where several say it, they agree, to within 5 % for what was rounded.

    Other tools' files are what :func:`~point2mask_ot.import_points` reads.

    Args:
        path: the file, UTF-8.
        image: the picture's file name or path, where the file has several. Folders that one of them does not have may
            be left out if that is clear: of two names that the path ends in, the longer is meant.
        shape: (H, W) of the picture; where given, points outside are refused, and another size than the file says.

    Returns:
        :class:`~point2mask_ot.panoptic.LabelledPoints`: the targets, their categories, things first, and what was
        painted.

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
    categories, pictures = _content(origin)
    clicks = of_picture(origin, pictures, image)
    if not clicks:
        origin.fail("no points", "at least one point")
    return _labelled(origin, clicks, in_channel_order(categories), shape)


def _labelled(
    origin: Origin, clicks: Sequence[Click], categories: tuple[Category, ...], shape: tuple[int, int] | None
) -> LabelledPoints:
    """The points on a picture of this (H, W), where it is known."""
    told = clicks if isinstance(clicks, Clicks) else Clicks()
    if shape is not None and told.size not in (None, tuple(shape)):
        hint = " (x and y swapped would fit)" if told.size == tuple(shape)[::-1] else ""  # as `explaining_turns` knows
        origin.fail(f"points on a picture of HxW {told.size}", f"those of the picture, {shape}{hint}")
    return LabelledPoints(clicked_targets(origin, clicks, categories, shape), categories, told.paint, told.sha256)


def read_all_targets(path: str | os.PathLike[str]) -> list[PointTargets]:
    """The targets of every picture in a point file, with the categories that :func:`read_points` gives them."""
    origin = origin_of(_READ, "path", path)
    categories, pictures = _content(origin)
    ordered = in_channel_order(categories)
    return [clicked_targets(origin, clicks, ordered) for clicks in pictures.values()]


def read_each(
    path: str | os.PathLike[str], shape_of: Callable[[str | None], tuple[int, int] | None] = lambda name: None
) -> tuple[tuple[Category, ...], list[str | None], Iterator[tuple[str | None, LabelledPoints]]]:
    """The categories of a point file, and names and points of its pictures with a point; None is one without a name.

    Where ``shape_of`` knows a picture's (H, W), points outside are refused, and another size than the file says.
    """
    origin = origin_of(_READ, "path", path)
    categories, pictures = _content(origin)
    ordered = in_channel_order(categories) if categories else ()
    pictures = {name: clicks for name, clicks in pictures.items() if clicks}
    each = ((name, _labelled(origin, clicks, ordered, shape_of(name))) for name, clicks in pictures.items())
    return ordered, list(pictures), each


def _content(origin: Origin) -> tuple[list[Category], Mapping[str | None, list[Click]]]:
    """Categories, and the clicks on each picture."""
    return from_json(origin, _MAX_BYTES) if is_json(origin) else from_csv(origin, _MAX_BYTES)


def of_picture(origin: Origin, pictures: Mapping[str | None, Found], image: str | None) -> Found:
    """What was found on one picture; what lies under None is of a picture without a name, which is any.

    Raises:
        FileError: several pictures have something, and ``image`` is not clearly one of them.
    """
    if len(pictures) == 1 and (None in pictures or image is None):
        return next(iter(pictures.values()))
    names = [name for name in pictures if name is not None]
    listed = f"one of {names[:5]}{' and others' if len(names) > 5 else ''}"
    if image is None:
        origin.fail(f"points of {len(pictures)} pictures", f"those of one picture, or image=, {listed}")
    if image in pictures:
        return pictures[image]
    asked, parts = _parts(image), {name: _parts(name) for name in names}
    ends = [name for name in names if asked[-len(parts[name]) :] == parts[name]]
    longest = max((len(parts[name]) for name in ends), default=0)
    found = [name for name in ends if len(parts[name]) == longest]
    found = found or [name for name in names if parts[name][-1:] == asked[-1:]]
    file = PurePosixPath(image).name
    if len(found) > 1:
        origin.fail(f"several pictures {file!r:.80}", f"one of {found[:5]}, in whose folder the picture would lie")
    if not found:
        origin.fail(f"no picture {file!r:.80}", listed + suggestion(file, names))
    return pictures[found[0]]


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file; of the ways that Unicode has for a letter like é, of which disks and tables take any, one."""
    return PurePosixPath(unicodedata.normalize("NFC", name)).parts


def is_json(origin: Origin) -> bool:
    """Whether a point file is JSON rather than CSV: named so, or beginning with a brace."""
    if origin.path.suffix.lower() == ".json":
        return True
    try:
        with open(origin.path, "rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    except (OSError, ValueError):
        return False  # whoever reads it will say why it cannot be read


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

    Example:
        >>> import pathlib, tempfile
        >>> from point2mask_ot import Category, PointTargets
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "points.csv"
        >>> write_points(path, PointTargets([(12, 31)], category=[0]), [Category(1, "coin", True)])
        >>> path.read_text().splitlines()
        ['x,y,category,target,isthing', '31,12,coin,0,1']
    """
    origin = origin_of(_WRITE, "path", path)
    listed = writable_categories(_WRITE, categories)
    if not targets.num_targets:
        fail(_WRITE, "targets", "no points", "at least one point")
    points = point_entries(_WRITE, "targets", targets, listed)
    if origin.path.suffix.lower() == ".json":
        text = to_json(points, listed, image, info)
    else:
        text = to_csv(points, listed, image)
    atomic_write(origin.path, text.encode(), function=_WRITE, argument="path")


def writable_categories(function: str, categories: Iterable[Category]) -> list[Category]:
    """The categories as a list; refuse names that a reader would confuse and stuff before things."""
    listed = list(check_categories(function, categories).values())
    names = [category.name for category in listed]
    if len(set(names)) < len(names) or any(name != name.strip() or not name for name in names):
        fail(function, "categories", f"names {names}", "unique names without white space around them")
    if any(has_odd_letters(name) for name in names):
        fail(function, "categories", f"names {names}", ONE_LINE)
    if list(category_channels(listed)) != [category.id for category in listed]:
        fail(function, "categories", "stuff before things", "all things, then all stuff")
    return listed
