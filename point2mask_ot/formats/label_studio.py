"""Label Studio's JSON export: a list of tasks, each with annotations, in percent of the picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ..files.io import Origin
from ..files.json_stream import stream_list
from ..files.pictures import PICTURE_SUFFIXES
from . import shapes
from .fields import lengths, named_numbers, picture_size, ring
from .marks import Drawn, Mark, Names, Shape, clicks_of

_SHAPES = ("keypoint", "polygon", "rectangle", "ellipse")
_WITHOUT_PLACE = ("choices", "textarea", "rating", "number", "taxonomy", "relation", "labels", "pairwise", "datetime")
_PREFIX = 8
"""Letters that an upload gets before its name, and a hyphen."""


def read(origin: Origin, names: Names) -> Iterator[Drawn]:
    """The pictures of a file."""
    for index, task in enumerate(stream_list(origin)):
        where = f"[{index}]"
        name = _name(origin, where, origin.field(task, "data", dict, where))
        size: shapes.Size = None
        marks = []
        results = _results(origin, task, where)
        labels = _labels_apart(results)
        for number, result in enumerate(results):
            at = f"{where}: result[{number}]"
            kind = origin.field(result, "type", str, at).removesuffix("labels")
            if kind in _WITHOUT_PLACE or not kind:
                continue
            if kind not in _SHAPES:
                origin.fail(f"{at}: type {result['type']!r:.40}", f"one of {', '.join(_SHAPES)}, and their labels")
            if result.get("image_rotation"):
                origin.fail(f"{at}: image_rotation {result['image_rotation']!r:.20}", "a picture that is not turned")
            size = picture_size(origin, result, at, "original_height", "original_width")
            value = origin.field(result, "value", dict, at)
            label = names.add(origin, at, _label(origin, at, result, labels))
            marks.append(Mark(at, label, _shape(origin, value, at, kind, size)))
        yield Drawn(name, clicks_of(marks, names), size)


def _results(origin: Origin, task: Any, where: str) -> list[Any]:
    """Of the newest annotation that was not cancelled; none where nobody annotated."""
    key = "completions" if "completions" in task else "annotations"
    made = origin.field({"annotations": [], **task}, key, list, where)
    for index, annotation in enumerate(made):
        origin.field(annotation, "result", list, f"{where}: {key}[{index}]")
    kept = [annotation for annotation in made if not (annotation.get("was_cancelled") or annotation.get("skipped"))]
    if not kept:
        return []
    newest: Any = max(kept, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
    return list(newest["result"])


def _name(origin: Origin, where: str, data: dict[str, Any]) -> str:
    """The picture's file, out of the address that the task shows it by."""
    found = {key: path for key, value in data.items() if (path := _path(value))}
    if len(found) > 1 and "image" in found:
        found = {"image": found["image"]}
    if len(found) != 1:
        origin.fail(f"{where}: data of {len(found)} pictures", f"one address of a {', '.join(PICTURE_SUFFIXES)} file")
    return next(iter(found.values()))


def _path(value: object) -> str:
    """``/data/upload/1/1a2b3c4d-cat.jpg`` is cat.jpg, ``/data/local-files/?d=pets/cat.jpg`` pets/cat.jpg."""
    if not isinstance(value, str):
        return ""
    try:
        address = urlsplit(value)
    except ValueError:
        return ""
    local = parse_qs(address.query).get("d", [""])[0]
    path = PurePosixPath(local or unquote(address.path).replace("\\", "/"))
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return ""
    name = path.name
    if "/upload/" in address.path and name[_PREFIX : _PREFIX + 1] == "-":
        name = name[_PREFIX + 1 :]
    return str(path).lstrip("/") if local else name


def _labels_apart(results: list[Any]) -> dict[object, Any]:
    """By the id of a region: what a control of labels alone, beside one of shapes, gave it."""
    apart = [result for result in results if isinstance(result, dict) and result.get("type") == "labels"]
    return {result.get("id"): result for result in apart if isinstance(result.get("id"), str)}


def _label(origin: Origin, where: str, result: Any, apart: dict[object, Any]) -> str | None:
    given = result["value"].get(result["type"])
    if given is None and isinstance(result.get("id"), str) and result["id"] in apart:
        other = apart[result["id"]].get("value")
        given = other.get("labels") if isinstance(other, dict) else None
    if not given:
        return None
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], str):
        origin.fail(f"{where}: labels {given!r:.80}", "one label")
    return given[0]


def _shape(origin: Origin, value: dict[str, Any], where: str, kind: str, size: tuple[int, int]) -> Shape:
    scale = np.array([size[1], size[0]]) / 100
    if kind == "polygon":
        return shapes.polygon(ring(origin, f"{where}: points", value.get("points")) * scale, size)
    at = np.array(named_numbers(origin, value, where, "x", "y")) * scale
    if kind == "keypoint":
        return shapes.points(at[None], size)
    sides = ("radiusX", "radiusY") if kind == "ellipse" else ("width", "height")
    told = named_numbers(origin, value, where, *sides)
    lengths(origin, where, **dict(zip(sides, told, strict=True)))
    extent = np.array(told) * scale
    if kind == "ellipse":
        return shapes.ellipse(*at, *extent, size=size)
    angle = named_numbers(origin, {"rotation": 0, **value}, where, "rotation")[0]
    return shapes.box(*at, *extent, size=size, angle=angle)
