"""The points of a data set in a folder of files, each of one picture, say, as one clicks them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..checks import ArgumentError
from ..files.io import Origin, read_json, reason_of
from ..files.json_stream import stream_json
from ..files.results import LEFT_ALONE, PICTURE, SKIPPED, STATE, UNTOUCHED, is_job, state_of
from ..formats.guess import format_of
from ..formats.imports import files_of, read_marks
from ..formats.marks import Names
from ..panoptic import Category
from ..panoptic.clicks import Click, in_channel_order
from ..panoptic.points import is_json
from ..panoptic.points_json import json_categories
from .points_file import body_of, category_list, clicks_body, csv_clicks, index_file, json_pictures, noted_of_one
from .table import Table, build_table, stem_of
from .truth import file_digest

_SUFFIXES = (".json", ".csv")


class _Head(NamedTuple):
    """What holds for all points of a file: their categories, and what the page has noted of the picture."""

    categories: list[Category]
    noted: Mapping[str, str] = MappingProxyType({})


def points_digest(origin: Origin) -> str:
    """SHA-256 of a points file, or of all those in a folder with their names."""
    if not origin.path.is_dir():
        return file_digest(origin)
    files = list(_points_files(origin)) or _other_files(origin)
    known = [f"{file.path.relative_to(origin.path).as_posix()} {file_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogateescape")).hexdigest()


def index_points(origin: Origin, path: Path, source: str) -> Table:
    """Check every point of a file, or of the files of a folder, and keep them, picture by picture, in a table.

    Args:
        origin: the file or folder, see :func:`~point2mask_ot.labelling.label_dataset`.
        path: the table to write.
        source: digest of it.

    Raises:
        FileError: naming the picture and the point, or the line; a folder without points, or whose files disagree on
            what is a thing.
    """
    if not origin.path.is_dir():
        return index_file(origin, path, source) if format_of(origin) is None else _index_others(origin, path, source)
    files = _points_files(origin)
    if not files:
        return _index_others(origin, path, source)
    merged = in_channel_order(_merged(files))
    return build_table(origin, path, source, {"categories": category_list(merged)}, _rows(files, merged, origin.path))


def _points_files(origin: Origin) -> dict[Origin, _Head]:
    """The files in a folder with points in our own formats, by name.

    Of sub folders, too: the page keeps those of the pictures apart. What is hidden is not looked at.
    """
    paths = sorted(_walk(origin, origin.path))
    files = {}
    for path in paths:
        file = Origin(origin.function, origin.argument, path)
        if format_of(file) is not None:
            continue
        head = _json_head(file) if is_json(file) else _Head(_read_csv(file)[0])
        if head is not None:
            files[file] = head
    return files


def _walk(origin: Origin, folder: Path) -> Iterator[Path]:
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        origin.fail(reason_of(error), "a folder that can be read", error)
    for path in found:
        if path.is_dir():
            yield from () if path.is_symlink() or is_job(path) else _walk(origin, path)
        elif path.suffix.lower() in _SUFFIXES and path.is_file():
            yield path


def _other_files(origin: Origin) -> list[Origin]:
    """The files in a folder, and in its folders, that other tools made."""
    files = [file for file, _ in files_of(origin)]
    if not files:
        states = [state for path in _walk(origin, origin.path) if (state := _state(path)) in LEFT_ALONE]
        got = f"no picture to label: {states.count(SKIPPED)} skipped, {states.count(UNTOUCHED)} without a point"
        kinds = f"files of points ({', '.join(_SUFFIXES)}), or of another tool"
        origin.fail(got if states else "no points file", f"a folder with {kinds}")
    return files


def _state(path: Path) -> str:
    try:
        return state_of(read_json(path))
    except ArgumentError:
        return ""


def _index_others(origin: Origin, path: Path, source: str) -> Table:
    """From other tools' files, whose points are held in memory until all categories are known."""
    found = read_marks(origin, Names())
    for picture in found.pictures:
        if picture.name is None:
            expected = "the picture's name (`point2mask prepare import` finds pictures in their folder, and writes it)"
            picture.origin.fail("points on a picture that is not named", expected)
    rows = ((each.image_id, each.file_name, body_of(each.targets, each.shape)) for each in found.pictures)
    return build_table(origin, path, source, {"categories": category_list(found.categories)}, rows)


def _json_head(origin: Origin) -> _Head | None:
    """That of a points file; None for another JSON, such as the masks that the page saves beside it.

    None, too, where a person has said on the page that the picture is to be skipped, or has taken all points back.
    """
    keys, entries, noted = set(), [], {}
    for key, value in stream_json(origin):
        if key == "annotations":
            return None
        if key == "info" and isinstance(value, dict):
            if value.get(STATE) in LEFT_ALONE:
                return None
            noted = {name: value[name] for name in (STATE, PICTURE) if isinstance(value.get(name), str)}
        keys.add(key)
        if key == "categories":
            entries.append(value)
    named = "categories" in keys and keys & {"images", "points"}
    return _Head(json_categories(origin, entries), noted) if named else None


def _read_csv(origin: Origin) -> tuple[list[Category], dict[str, list[Click]]]:
    """Categories, and the clicks on each picture."""
    categories: dict[str, Category] = {}
    pictures: dict[str, list[Click]] = {}
    for name, click in csv_clicks(origin, categories):
        pictures.setdefault(name, []).append(click)
    return list(categories.values()), pictures


def _pictures(origin: Origin) -> Iterator[tuple[str, int | str | None, list[Click]]]:
    """Name, id (None where it has none) and clicks of each picture in a file."""
    if is_json(origin):
        return json_pictures(origin)
    return ((name, None, clicks) for name, clicks in _read_csv(origin)[1].items())


def _merged(files: Mapping[Origin, _Head]) -> list[Category]:
    """The categories of all files by name, with their ids, or numbered as they appear where ids clash."""
    first: dict[str, tuple[Category, Origin]] = {}
    clash = False
    for file, head in files.items():
        for category in head.categories:
            known, where = first.setdefault(category.name, (category, file))
            clash |= known.id != category.id
            if known.is_thing != category.is_thing:
                kinds = ["thing" if one.is_thing else "stuff" for one in (category, known)]
                file.fail(f"category {category.name!r} as {kinds[0]}", f"{kinds[1]}, as in {where.path.name}")
    found = [category for category, _ in first.values()]
    if clash or len({category.id for category in found}) < len(found):
        return [replace(category, id=number) for number, category in enumerate(found, start=1)]
    return found


def _rows(
    files: Mapping[Origin, _Head], merged: Sequence[Category], folder: Path
) -> Iterator[tuple[int | str | None, str, Any]]:
    index = {category.name: channel for channel, category in enumerate(merged)}
    place: dict[str, str] = {}
    for file, head in files.items():
        own = in_channel_order(head.categories)
        pictures, noted = noted_of_one(_pictures(file), head.noted)
        for name, image_id, clicks in pictures:
            here = file.path.relative_to(folder).as_posix()
            first = place.setdefault(stem_of(name), here)
            if first != here:
                file.fail(
                    f"points of {name!r:.80}, whose points are in {first}, too", "all points of a picture in one file"
                )
            body = clicks_body(file, clicks, own)
            points, target, category = body["targets"]
            moved = [points, target, [index[own[channel].name] for channel in category]]
            yield image_id, name, {**body, "targets": moved, **noted}
