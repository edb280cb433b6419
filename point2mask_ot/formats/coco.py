"""COCO keypoints and instances: annotations of all pictures in one JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checks import fail
from ..files.io import Origin, read_json
from ..panoptic import Category, PanopticImage
from ..panoptic.coco import category_entry, image_entry
from . import shapes
from .fields import flat_ring, lengths, named_numbers, numbers, picture_size, unpacked
from .marks import Drawn, Mark, Names, Shape, clicks_of
from .segments import Cut, cuts

_EXTRA = "pip install 'point2mask-ot[formats]' first"
_VISIBLE = 0.0
"""Flags above it are of keypoints that someone set: 1 hidden, 2 in sight."""


def read(origin: Origin, names: Names) -> Iterator[Drawn]:
    """The pictures of a file that have an annotation."""
    document = read_json(origin.path, function=origin.function, argument=origin.argument)
    categories = _categories(origin, document, names)
    pictures: dict[int | str, tuple[str, shapes.Size, list[Mark]]] = {}
    for index, entry in enumerate(origin.field(document, "images", list, "the file")):
        where = f"images[{index}]"
        number, name = (origin.field(entry, key, kind, where) for key, kind in (("id", (int, str)), ("file_name", str)))
        if number in pictures:
            origin.fail(f"{where}: id {number!r:.80} again", "unique ids")
        known = entry.get("height") is not None or entry.get("width") is not None
        size = picture_size(origin, entry, where, "height", "width") if known else None
        pictures[number] = name, size, []
    for index, entry in enumerate(origin.field(document, "annotations", list, "the file")):
        where = f"annotations[{index}]"
        number = origin.field(entry, "image_id", (int, str), where)
        category = categories.get(origin.field(entry, "category_id", int, where))
        if number not in pictures or category is None:
            got = f"{where}: image_id {number!r:.80}, category_id {entry['category_id']}"
            origin.fail(got, "ids that images and categories list")
        if not origin.flag(entry, "iscrowd", where, default=0):  # several objects that nobody told apart
            size, marks = pictures[number][1:]
            marks.append(Mark(where, category, _shape(origin, entry, where, size)))
    for number, (name, size, marks) in pictures.items():
        yield Drawn(name, clicks_of(marks, names), size, number)


def _categories(origin: Origin, document: Any, names: Names) -> dict[int, str]:
    """Names by id; a category that is listed is found, whether or not it has an object."""
    by_id: dict[int, str] = {}
    for index, entry in enumerate(origin.field(document, "categories", list, "the file")):
        where = f"categories[{index}]"
        number, name = origin.field(entry, "id", int, where), origin.field(entry, "name", str, where)
        thing = origin.flag(entry, "isthing", where, default=1)
        if number in by_id or number < 0:
            origin.fail(f"{where}: id {number}", "unique, non-negative ids")
        if name.strip() in by_id.values():
            origin.fail(f"{where}: {name!r:.80} under a second id, {number}", "a name for each category")
        by_id[number] = names.add(origin, where, name, number, thing)
    return by_id


def _shape(origin: Origin, entry: Any, where: str, size: shapes.Size) -> Shape:
    """Keypoints are points; else one inside the segmentation, else the middle of the box. The size is of the latter."""
    keypoints = _keypoints(origin, entry, where)
    body = _segmentation(origin, entry, where, size)
    if body is None and entry.get("bbox") is not None:
        x, y, width, height = _box(origin, entry, where)
        body = shapes.box(x, y, width, height, size=size)
    if keypoints is not None:
        return Shape(keypoints.points, None if body is None else body.size)
    return body or origin.fail(f"{where}: neither keypoints, segmentation nor bbox", "one of them")


def _box(origin: Origin, entry: Any, where: str) -> list[float]:
    box = numbers(origin, f"{where}: bbox", entry["bbox"])
    if len(box) != 4:
        origin.fail(f"{where}: bbox of {len(box)} numbers", "x, y, width and height")
    lengths(origin, f"{where}: bbox", width=box[2], height=box[3])
    return box.tolist()


def _keypoints(origin: Origin, entry: Any, where: str) -> Shape | None:
    """Those that are set. They name pixels, from 0 on, while boxes and outlines lie between them."""
    values = numbers(origin, f"{where}: keypoints", entry.get("keypoints") or [])
    if len(values) % 3:
        origin.fail(f"{where}: keypoints of {len(values)} numbers", "x, y and a flag for each")
    triples = values.reshape(-1, 3)
    found = triples[triples[:, 2] > _VISIBLE, :2]
    return shapes.points(found + 0.5) if len(found) else None


def _segmentation(origin: Origin, entry: Any, where: str, size: shapes.Size) -> Shape | None:
    """Polygons, or run lengths down the columns, as numbers or packed into a string; None where there is none."""
    found = entry.get("segmentation")
    told = named_numbers(origin, entry, where, "area")[0] if entry.get("area") is not None else None
    lengths(origin, where, area=told or 0)
    made = _outlined(origin, found, where, size, told or None)
    if made is not None and told == 0 and not made.odd:
        return replace(made, odd="an area of 0; its size is that of its segmentation")
    return made


def _outlined(origin: Origin, found: Any, where: str, size: shapes.Size, told: float | None) -> Shape | None:
    if isinstance(found, dict):
        counts = found.get("counts")
        runs = _counts(origin, where, counts) if isinstance(counts, str) else counts
        inner = shapes.region(unpacked(origin, f"{where}: counts", runs, _rle_size(origin, found, where, size), "F"))
        return inner and Shape(inner.points, inner.size if told is None else told)
    if not found:
        return None
    if not isinstance(found, list):
        origin.fail(f"{where}: segmentation {found!r:.80}", "polygons or run lengths")
    rings = [flat_ring(origin, f"{where}: segmentation[{index}]", ring) for index, ring in enumerate(found)]
    return shapes.outline(rings, size, told=told)


def _rle_size(origin: Origin, found: Any, where: str, size: shapes.Size) -> tuple[int, int]:
    told = numbers(origin, f"{where}: size", found.get("size"))
    if len(told) != 2 or (told < 1).any() or (size is not None and tuple(told) != size):
        origin.fail(
            f"{where}: run lengths of size {found.get('size')!r:.40}", f"the picture's height and width, {size}"
        )
    return int(told[0]), int(told[1])


def _counts(origin: Origin, where: str, text: str) -> list[int]:
    """Run lengths out of a string: five bits a character, the third on as differences to the last but one.

    Not by pycocotools, which writes beyond its memory where a string says more than the picture holds.
    """
    counts: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits > 40:
            break
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (code >> 4 & 1) << bits
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = bits = 0
    else:
        if not bits:
            return counts
    return origin.fail(f"{where}: counts {text!r:.40}", "run lengths as pycocotools packs them")


def text(
    images: Iterable[PanopticImage], categories: Sequence[Category], *, stuff: bool, polygons: bool
) -> Iterator[bytes]:
    """The file of instances, piece by piece; of a picture no more is kept than its name.

    Args:
        images: the pictures.
        categories: of their segments.
        stuff: with the segments of stuff.
        polygons: rather than run lengths; crowds are run lengths all the same.
    """
    entries = []
    number = 0
    yield b'{"annotations":['
    for image in images:
        entries.append(image_entry(image.image_id, image.file_name, image.size))
        for cut in cuts(image, stuff=stuff, crowds=True):
            number += 1
            crowd = int(cut.segment.is_crowd)
            entry = {
                "id": number,
                "image_id": image.image_id,
                "category_id": cut.segment.category_id,
                "segmentation": _rings(cut) if polygons and not crowd else _runs(cut, image.size),
                "area": cut.area,
                "bbox": cut.box,
                "iscrowd": crowd,
            }
            yield (b",\n" if number > 1 else b"\n") + json.dumps(entry, separators=(",", ":")).encode()
    listed = [category_entry(category) for category in categories]
    tail = json.dumps({"images": entries, "categories": listed}, separators=(",", ":"))
    yield b"\n]," + tail[1:].encode() + b"\n"


def _rings(cut: Cut) -> list[list[float]]:
    return [ring.ravel().astype(float).tolist() for ring in cut.polygons()]


def _runs(cut: Cut, size: tuple[int, int]) -> dict[str, Any]:
    """Packed run lengths of the whole picture."""
    try:
        from pycocotools import mask as rle
    except ImportError:
        fail("export_masks", "to", "'coco-instances' without pycocotools", f"{_EXTRA}, or polygons=True")
    whole = np.zeros(size, np.uint8, order="F")
    whole[cut.top : cut.top + cut.mask.shape[0], cut.left : cut.left + cut.mask.shape[1]] = cut.mask
    packed = rle.encode(whole)
    return {"size": list(size), "counts": packed["counts"].decode()}
