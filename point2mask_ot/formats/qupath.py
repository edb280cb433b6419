"""QuPath's GeoJSON: the objects of one picture, with a geometry and a classification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..files.io import Origin
from ..files.json_stream import stream_json, stream_list
from . import shapes
from .fields import pairs, ring
from .guess import head
from .marks import Drawn, Mark, Names, Shape, clicks_of

_IGNORED = "*"
"""Behind the name of a class whose objects QuPath does not count, such as ``Ignore*``."""
_GEOMETRIES = ("Point", "MultiPoint", "LineString", "Polygon", "MultiPolygon")


def read(origin: Origin, names: Names) -> Iterator[Drawn]:
    """The one picture of a file, which does not name it."""
    marks: list[Mark] = []
    planes: set[tuple[object, ...]] = set()
    for index, entry in enumerate(_features(origin)):
        where = f"features[{index}]"
        geometry = origin.field(entry, "geometry", dict, where)
        written = _classification(origin, entry, where)
        if written is not None and written.endswith(_IGNORED):
            names.odd.append(f"{where}: of the class {written!r:.80}, which is to be ignored; left out")
            continue
        label = names.add(origin, where, written)
        plane = geometry.get("plane")
        planes.add(tuple(plane.get(axis, 0) for axis in "zt") if isinstance(plane, dict) else (0, 0))
        if len(planes) > 1:
            origin.fail(f"{where}: on another plane than those before", "objects of one plane")
        found = _shapes(origin, geometry, where)
        marks += [Mark(f"{where} {n}" if n else where, label, shape) for n, shape in enumerate(found)]
    yield Drawn(None, clicks_of(marks, names))


def _features(origin: Origin) -> Iterator[Any]:
    if head(origin)[:1] == "[":  # of old versions, and of scripts
        yield from stream_list(origin)
        return
    whole: dict[str, Any] = {}
    for key, value in stream_json(origin):
        if key == "features":
            yield value
        else:
            whole[key] = value
    if whole.get("type") == "Feature":  # one object alone
        yield whole


def _classification(origin: Origin, entry: Any, where: str) -> str | None:
    given = (entry.get("properties") or {}).get("classification") if isinstance(entry.get("properties"), dict) else None
    if given is None:
        return None
    names = given.get("names") if isinstance(given, dict) else None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return ": ".join(names)  # as QuPath shows a class of a class
    return str(origin.field(given, "name", str, f"{where}: classification"))


def _shapes(origin: Origin, geometry: dict[str, Any], where: str) -> list[Shape]:
    """Several where one object of QuPath is several targets: its points are what it counts."""
    kind, given = geometry.get("type"), geometry.get("coordinates")
    match kind:
        case "Point":
            return [shapes.points(pairs(origin, where, [given]))]
        case "MultiPoint":
            return [shapes.points(xy[None]) for xy in pairs(origin, where, given)]
        case "LineString":
            return [shapes.points(pairs(origin, where, given))]
        case "Polygon":
            return [_outlined(origin, [given], where)]
        case "MultiPolygon":
            return [_outlined(origin, given, where)]
    return origin.fail(f"{where}: geometry {kind!r:.40}", f"one of {', '.join(_GEOMETRIES)}")


def _outlined(origin: Origin, polygons: object, where: str) -> Shape:
    """Each polygon an outline, and holes in it."""
    rings: list[np.ndarray] = []
    holes = 0.0
    for polygon in polygons if isinstance(polygons, list) and polygons else [None]:
        if not isinstance(polygon, list) or not polygon:
            origin.fail(f"{where}: coordinates {polygon!r:.80}", "a list of rings of [x, y]")
        own = [ring(origin, where, each) for each in polygon]
        holes += 2 * sum(shapes.area(hole) for hole in own[1:])
        rings += own
    return shapes.outline(rings, holes=holes)
