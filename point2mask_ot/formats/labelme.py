"""labelme: a JSON file beside each picture; shapes with a label, and a group_id where several are one object."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ..files.io import Origin, read_json
from ..files.pictures import MAX_PIXELS
from ..panoptic import PanopticImage
from . import shapes
from .fields import pairs, picture_size, ring
from .marks import Drawn, Mark, Names, Shape, clicks_of
from .segments import cuts

_VERSION = "5.5.0"
_KNOWN = ("point", "points", "line", "linestrip", "polygon", "rectangle", "circle", "mask")


def read(origin: Origin, names: Names) -> Iterator[Drawn]:
    """The picture of a file."""
    document = read_json(origin.path, function=origin.function, argument=origin.argument)
    listed = origin.field(document, "shapes", list, "the file")
    name = _name(origin, origin.field(document, "imagePath", str, "the file"))
    told = {key: value for key, value in document.items() if value is not None} if isinstance(document, dict) else {}
    known = "imageHeight" in told or "imageWidth" in told
    size = picture_size(origin, told, "the file", "imageHeight", "imageWidth") if known else None
    marks = [_mark(origin, entry, f"shapes[{index}]", size, names) for index, entry in enumerate(listed)]
    yield Drawn(name, clicks_of(marks, names), size)


def _name(origin: Origin, written: str) -> str:
    """Windows writes folders with a backslash; elsewhere that is a letter of a file's name."""
    try:
        beside = (origin.path.parent / written).is_file()
    except (OSError, ValueError):  # a NUL byte
        beside = False
    return written if beside else written.replace("\\", "/")


def _mark(origin: Origin, entry: Any, where: str, size: shapes.Size, names: Names) -> Mark:
    label = names.add(origin, where, origin.field(entry, "label", str, where))
    group = entry.get("group_id")
    if group is not None:
        group = f"group {origin.field(entry, 'group_id', (int, str), where)}"
    return Mark(where, label, _shape(origin, entry, where, size), group)


def _shape(origin: Origin, entry: Any, where: str, size: shapes.Size) -> Shape:
    kind = entry.get("shape_type") or "polygon"  # which is what files of old versions hold
    xy = (ring if kind == "polygon" else pairs)(origin, f"{where}: points", entry.get("points"))
    match kind, [*xy]:
        case (("point" | "points" | "line" | "linestrip"), _):
            return shapes.points(xy, size)
        case "polygon", _:
            return shapes.polygon(xy, size)
        case "rectangle", [first, last]:
            return shapes.box(*first, *(last - first), size=size)
        case "circle", [centre, rim]:
            radius = float(np.hypot(*(rim - centre)))
            return shapes.ellipse(float(centre[0]), float(centre[1]), radius, radius, size=size)
        case "mask", [first, _]:
            return _mask(origin, entry, where, first)
    expected = f"one of {', '.join(_KNOWN)}; rectangle, circle and mask with two points"
    return origin.fail(f"{where}: shape_type {kind!r:.40} with {len(xy)} points", expected)


def _mask(origin: Origin, entry: Any, where: str, first: np.ndarray) -> Shape:
    """A PNG in base64 of the mask's own box."""
    try:
        data = base64.b64decode(origin.field(entry, "mask", str, where), validate=True)
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels")
        pixels = np.array(image)
    except Exception as error:  # decoders of hostile bytes raise anything
        origin.fail(f"{where}: mask: {error}", f"a PNG in base64, of at most {MAX_PIXELS} pixels", error)
    left, top = np.rint(first).astype(int).tolist()
    found = shapes.region(np.not_equal(pixels, 0).reshape(*pixels.shape[:2], -1).any(-1), left, top)
    return found or origin.fail(f"{where}: an empty mask", "at least one pixel")


def text(image: PanopticImage, names: Mapping[int, str], *, stuff: bool) -> bytes:
    """The file of a picture: a polygon for each part of an object, those of one object with its id as ``group_id``.

    Args:
        image: the picture, which the file expects beside it.
        names: of each category id.
        stuff: with the polygons of stuff.
    """
    drawn = [
        {
            "label": names[cut.segment.category_id],
            "points": outline.astype(float).tolist(),
            "group_id": cut.segment.id,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for cut in cuts(image, stuff=stuff)
        for outline in cut.polygons()
    ]
    document: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": drawn,
        "imagePath": PurePosixPath(image.file_name).name,
        "imageData": None,
        "imageHeight": image.size[0],
        "imageWidth": image.size[1],
    }
    return json.dumps(document, separators=(",", ":")).encode()
