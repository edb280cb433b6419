"""Which tool a file is of, as far as its content says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..checks import FileError
from ..files.io import Origin
from ..files.json_stream import stream_json, stream_list

_HEAD = 2**12


def format_of(origin: Origin) -> str | None:
    """Name of the format of a file; None for our own points files, masks, and what cannot be told.

    Whoever reads it then says what is wrong with it.
    """
    try:
        return told_format(origin)
    except FileError:
        return None


def told_format(origin: Origin) -> str | None:
    """As :func:`format_of`.

    Raises:
        FileError: JSON that is damaged before it tells what it is.
    """
    match head(origin)[:1]:
        case "<":
            return "cvat"
        case "[":
            return _of_list(next(stream_list(origin), None))
        case "{":
            return _of_object(stream_json(origin))
    return "napari" if {"axis-0", "axis-1"} <= set(header(origin)) else None


def head(origin: Origin) -> str:
    """How a file begins, without the white space before it; nothing where it cannot be read."""
    try:
        with open(origin.path, "rb") as file:
            return file.read(_HEAD).decode("utf-8-sig", errors="replace").lstrip()
    except (OSError, ValueError):
        return ""


def header(origin: Origin) -> list[str]:
    """The columns that the first line names, whatever is between them."""
    line = head(origin).partition("\n")[0].lower()
    return [name.strip(' \t\r"') for name in line.replace(";", ",").replace("\t", ",").split(",")]


def _of_list(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("type") == "Feature":
        return "qupath"
    return "label-studio" if "data" in entry and {"annotations", "completions"} & set(entry) else None


def _of_object(members: Iterator[tuple[str, Any]]) -> str | None:
    for key, value in members:
        match key, value:
            case "shapes" | "imagePath", _:
                return "labelme"
            case ("features", _) | ("type", "FeatureCollection" | "Feature"):
                return "qupath"
            case "annotations", _:
                return None if isinstance(value, dict) and "segments_info" in value else "coco"
            case ("points", _) | ("images", {"points": _}):
                return None
    return None
