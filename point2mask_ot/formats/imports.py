"""Points out of other tools' files."""

from __future__ import annotations

import os
import posixpath
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..checks import FileError, InputWarning, check_choice, fail, fail_type, suggestion
from ..files.io import Origin, origin_of
from ..panoptic import Category, PicturePoints, PointSet
from ..panoptic.clicks import clicked_targets, in_channel_order
from ..panoptic.points_csv import CSV_COLUMNS
from ..types import PointTargets
from . import coco, cvat, label_studio, labelme, qupath, tables
from .guess import head, told_format
from .marks import Drawn, Names
from .photos import Photos

ImportFormat = Literal["labelme", "label-studio", "cvat", "coco", "qupath", "napari", "csv"]
IMPORTS: tuple[str, ...] = get_args(ImportFormat)
_READERS: dict[str, Callable[[Origin, Names], Iterator[Drawn]]] = {
    "labelme": labelme.read,
    "label-studio": label_studio.read,
    "cvat": cvat.read,
    "coco": coco.read,
    "qupath": qupath.read,
}
_TABLES = {"napari": tables.read_napari, "csv": tables.read}
_SUFFIXES = {"qupath": (".geojson", ".json"), "cvat": (".xml",), "napari": (".csv",), "csv": (".csv",)}
_JSON = (".json",)
_MOST = 2.0**62
_TELLING = ('"shapes"', '"imagePath"', '"FeatureCollection"', '"annotations"', '"completions"')
_ANY = (".json", ".geojson", ".xml", ".csv")
_UNTOLD = "content that is of no known format", "file"
_NAME = "import_points"


class Picture(NamedTuple):
    """One picture of the files that were read.

    Attributes:
        origin: its file.
        name: what that calls it; None where it does not say.
        image_id: its id, where the file says.
        shape: (H, W), where the file says.
        targets: their categories are indices into those of :class:`Imported`.
    """

    origin: Origin
    name: str | None
    image_id: int | str | None
    shape: tuple[int, int] | None
    targets: PointTargets

    @property
    def file_name(self) -> str:
        """The picture's, or that of its file without the suffix."""
        return self.origin.path.stem if self.name is None else self.name


@dataclass(frozen=True)
class Imported:
    """What was read.

    Attributes:
        categories: all things, then all stuff.
        pictures: those that have a point.
        formats: of the files.
    """

    categories: tuple[Category, ...]
    pictures: list[Picture]
    formats: list[str]


def import_points(
    path: str | os.PathLike[str],
    *,
    format: ImportFormat | None = None,
    columns: Mapping[str, str] | None = None,
    category: str = "object",
    stuff: Sequence[str] = (),
    images: str | os.PathLike[str] | None = None,
) -> PointSet:
    """Read what someone drew in another tool: points, and boxes, circles and outlines as rough sizes.

    What is a point, what is a size, and what is lost, for each format: :doc:`the page of formats </formats>`.
    Pictures without a point are left out. To write them as a points file, with ``found`` for the result:
    ``point2mask_ot.panoptic.write_point_set(path, found.pictures, found.categories, found.info)``.

    Args:
        path: a file, or a folder that has such files in it or in its folders; what is of no known format is passed by.
        format: of the files; default: each as its content says. ``"csv"`` is any with a header.
        columns: for ``"csv"`` and ``"napari"``, what the file calls ours: ``{"x": "cx", "category": "label"}``.
            Coordinates are in pixels, 0, 0 the centre of the top left one, in columns ``x`` and ``y``; ``image``,
            ``category``, ``target``, ``isthing``, ``size``, ``radius``, ``diameter`` and ``size_error`` are read, too.
        category: of what has none.
        stuff: names of the categories that are stuff. "background" is, and what is written ``NAME:stuff``.
        images: folder of the pictures. It is needed where a file does not name its picture (QuPath, napari) and its
            own name is not the picture's; names are then looked up, and points must lie inside.

    Returns:
        Categories, pictures in the order of the files, and points in pixels with the centre of the top left one at
        0, 0. What lies in several files is numbered anew.

    Warns:
        InputWarning: an outline that crosses itself, whose size is then that of what it goes around; an area of 0; a
            class of QuPath that is to be ignored, whose objects are left out.

    Raises:
        FileError: naming the entry: a file that is missing, damaged or of another format; a shape of an unknown kind;
            a number that is none; a point outside its picture; a picture twice; no point at all.
        ArgumentError: an unknown format, column or category of ``stuff``.

    Example:
        >>> import json, tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.json"
        >>> dot = {"label": "coin", "shape_type": "point", "points": [[31.5, 12.5]]}
        >>> ring = {"label": "coin", "shape_type": "circle", "points": [[60, 40], [60, 50]]}
        >>> _ = path.write_text(json.dumps({"imagePath": "a.jpg", "shapes": [dot, ring]}))
        >>> picture = import_points(path).pictures[0]
        >>> picture.file_name, picture.targets.points_yx.tolist(), picture.targets.size.round().tolist()
        ('a.jpg', [[12.0, 31.0], [39.5, 59.5]], [nan, 314.0])
    """
    if format is not None:
        check_choice(_NAME, "format", format, IMPORTS)
    called = _columns(columns, format)
    if not isinstance(category, str) or not category.strip():
        fail(_NAME, "category", repr(category), "a name")
    if isinstance(stuff, str) or not all(isinstance(name, str) for name in stuff):
        fail_type(_NAME, "stuff", stuff, "a list of names")
    names = Names(frozenset(stuff), category.strip())
    photos = None if images is None else Photos(_NAME, images)
    origin = origin_of(_NAME, "path", path)
    found = read_marks(origin, names, format=format, called=called, photos=photos)
    # Only now is it known what there is.
    unknown = [name for name in stuff if name not in names.found]
    if unknown:
        fail(_NAME, "stuff", repr(unknown[0]), f"one of {sorted(names.found)}{suggestion(unknown[0], names.found)}")
    pictures = tuple(
        PicturePoints(picture.file_name, number if picture.image_id is None else picture.image_id, picture.targets)
        for number, picture in enumerate(found.pictures, start=1)
    )
    return PointSet(found.categories, pictures, {"from": ", ".join(found.formats)})


def _columns(columns: Mapping[str, str] | None, format: str | None) -> Mapping[str, str]:
    if columns is None:
        return {}
    if format not in _TABLES:
        fail(_NAME, "columns", f"{dict(columns)} for {format or 'whatever format'}", "format='csv' or 'napari' with it")
    for ours, theirs in columns.items():
        check_choice(_NAME, "columns", ours, CSV_COLUMNS)
        if not isinstance(theirs, str):
            fail_type(_NAME, "columns", theirs, f"the name of a column for {ours!r}")
    return columns


def read_marks(
    origin: Origin,
    names: Names,
    *,
    format: str | None = None,
    called: Mapping[str, str] | None = None,
    photos: Photos | None = None,
) -> Imported:
    """Read a file or a folder, see :func:`import_points`; categories join ``names``."""
    if not origin.path.exists():
        origin.fail("no such file", "a file or a folder")
    files = files_of(origin, format)
    if not files:
        got, kind = ("no file of a known format", "folder with files") if origin.path.is_dir() else _UNTOLD
        origin.fail(got, f"a {kind} of {', '.join(IMPORTS[:-1])}, or format='csv' with its columns")
    pictures: list[Picture] = []
    odd: list[str] = []
    for file, of in files:
        # What labelme says is relative to its own file.
        folder = file.path.parent.relative_to(origin.path).as_posix() if of == "labelme" and file != origin else ""
        drawn = _TABLES[of](file, names, called or {}) if of in _TABLES else _READERS[of](file, names)
        pictures += _pictures(file, folder, drawn, names, photos)
        odd += [f"{file.path}: {each}" for each in names.odd]
        names.odd.clear()
    if odd:
        more = f" (and {len(odd) - 1} like it)" if len(odd) > 1 else ""
        warnings.warn(f"{odd[0]}{more}", InputWarning, stacklevel=3)
    if not pictures:
        origin.fail("no points", "at least one point")
    seen: set[str] = set()
    for picture in pictures:
        if picture.file_name in seen:
            picture.origin.fail(f"picture {picture.file_name!r:.80} again", "all points of a picture in one place")
        seen.add(picture.file_name)
    categories = in_channel_order(list(names.found.values()))
    channel = np.array([categories.index(category) for category in names.found.values()])
    moved = [p._replace(targets=replace(p.targets, category=channel[p.targets.category])) for p in pictures]
    if len(files) > 1:
        moved = [picture._replace(image_id=None) for picture in moved]
    return Imported(categories, moved, sorted({of for _, of in files}))


def files_of(origin: Origin, format: str | None = None) -> list[tuple[Origin, str]]:
    """The file, or those in a folder and its folders, that are of another tool, by name, and of which."""
    if origin.path.is_dir():
        suffixes = _ANY if format is None else _SUFFIXES.get(format, _JSON)
        paths = sorted(path for path in origin.path.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        files = [Origin(origin.function, origin.argument, path) for path in paths]
        told = [(file, format or _told_among_others(file)) for file in files]
    else:
        told = [(origin, format or told_format(origin))]
    return [(file, of) for file, of in told if of is not None]


def _told_among_others(file: Origin) -> str | None:
    """A folder may have files of anything, but one that is of a tool and damaged is not passed by."""
    try:
        return told_format(file)
    except FileError:
        if any(word in head(file) for word in _TELLING):
            raise
        return None


def _pictures(
    file: Origin, folder: str, drawn: Iterable[Drawn], names: Names, photos: Photos | None
) -> Iterator[Picture]:
    """As they were drawn, without those that nothing was drawn on."""
    for each in drawn:
        if not each.clicks:
            continue
        name, shape = None if each.name is None else _below(folder, each.name), each.shape
        if photos is not None:
            name = photos.find(file.path.stem if name is None else name)
            size = photos.size(name)
            if shape not in (None, size):
                file.fail(f"points on {name!r:.80} of HxW {shape}", f"those of the picture, {size}")
            shape = size
        targets = clicked_targets(file, each.clicks, list(names.found.values()), shape)
        if (targets.size > _MOST).any():
            file.fail(
                f"a size of {np.nanmax(targets.size):.6g} pixels", f"at most {_MOST:.3g}, as there are coordinates"
            )
        yield Picture(file, name, each.image_id, shape, targets)


def _below(folder: str, name: str) -> str:
    """Relative to the folder that was read, if the picture lies there; else its name alone."""
    path = posixpath.normpath(posixpath.join(folder, name))
    return PurePosixPath(name).name if path.startswith(("..", "/")) or PureWindowsPath(name).drive else path
