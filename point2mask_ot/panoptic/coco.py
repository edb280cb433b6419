"""COCO panoptic: one JSON file and a folder of RGB PNGs, id = R + 256 G + 65536 B."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..checks import fail
from ..files.io import (
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    Origin,
    atomic_write,
    make_folder,
    origin_of,
    read_json,
    safe_join,
)
from ..files.pictures import MAX_PIXELS, encode_png, read_label_png
from .images import (
    MAX_SEGMENT_ID,
    Category,
    ImageEntry,
    PanopticDataset,
    PanopticImage,
    Segment,
    check_categories,
    check_segments,
    extents,
    ids_at_odds,
)

_READ, _WRITE = "read_coco_panoptic", "write_coco_panoptic"


@dataclass(frozen=True, eq=False, repr=False)
class CocoPanoptic(PanopticDataset):
    """A COCO panoptic data set, see :func:`read_coco_panoptic`."""

    png_dir: str | os.PathLike[str] = ""

    def __getitem__(self, index: int) -> PanopticImage:
        entry = self.images[index]
        follow = self.follow_links
        path = safe_join(self.png_dir, entry.mask_file, follow_links=follow, function=_READ, argument="png_dir")
        where = Origin(_READ, "png_dir", path)
        rgb = read_label_png(where, "RGB", self.max_pixels)
        if rgb.shape[:2] != entry.size:
            where.fail(f"{rgb.shape[0]}x{rgb.shape[1]}", f"the HxW {entry.size} of image {entry.id!r} in the JSON")
        id_map = decode_ids(rgb)
        odds = ids_at_odds(id_map, entry.segments)
        if odds:
            where.fail(odds, f"the segments that the JSON lists for image {entry.id!r}")
        return PanopticImage(id_map, entry.segments, entry.id, entry.file_name)

    def _size(self, entry: ImageEntry) -> tuple[int, int]:
        assert entry.size is not None
        return entry.size


def read_coco_panoptic(
    json_path: str | os.PathLike[str],
    png_dir: str | os.PathLike[str],
    images_dir: str | os.PathLike[str] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_JSON_BYTES,
    max_depth: int = MAX_JSON_DEPTH,
    follow_links: bool = False,
) -> CocoPanoptic:
    """Open a COCO panoptic data set: the JSON is read and checked now, each PNG when it is asked for.

    Annotations are joined to images on ``image_id``. Areas and boxes in the JSON are not used.

    Args:
        json_path: the annotations: images, annotations, categories.
        png_dir: folder of the RGB PNGs that the annotations name.
        images_dir: folder of the photographs, for :meth:`~point2mask_ot.panoptic.PanopticDataset.picture`.
        max_pixels: pixel limit of each file, checked before decoding.
        max_bytes: size limit of the JSON.
        max_depth: nesting limit of the JSON.
        follow_links: read PNGs and photographs that are symbolic links out of their folder.

    Returns:
        A sequence of :class:`PanopticImage`.

    Raises:
        FileError: at once, where the JSON is missing, too large, nested too deep, has NaN or Infinity, lacks a
            field, has an id twice, an unknown category or image, or an image without annotation. On reading an
            image, where its PNG is missing, damaged, not 8-bit RGB, of another size than the JSON says, has other
            ids than the JSON, or lies outside ``png_dir``, be it through a symbolic link (unless these are followed).

    Example:
        >>> import tempfile
        >>> from point2mask_ot import Category, PanopticImage, Segment, write_coco_panoptic
        >>> folder = tempfile.mkdtemp()
        >>> cats = [Category(1, "coin", True), Category(2, "table", False)]
        >>> truth = PanopticImage([[1, 300]], (Segment(1, 1, True), Segment(300, 2, False)), 42, "coins.jpg")
        >>> write_coco_panoptic([truth], f"{folder}/truth.json", f"{folder}/truth", cats)
        >>> read_coco_panoptic(f"{folder}/truth.json", f"{folder}/truth").by_id(42).id_map.tolist()
        [[1, 300]]
    """
    origin = origin_of(_READ, "json_path", json_path)
    origin_of(_READ, "png_dir", png_dir)
    document = read_json(json_path, max_bytes=max_bytes, max_depth=max_depth, function=_READ, argument="json_path")
    _refuse_instances(origin, document)
    categories = _categories(origin, document)
    annotations: dict[int | str, tuple[str, tuple[Segment, ...]]] = {}
    for index, entry in enumerate(origin.field(document, "annotations", list, "the file")):
        where = f"annotations[{index}]"
        image_id = origin.field(entry, "image_id", (int, str), where)
        if image_id in annotations:
            origin.fail(f"{where}: image id {image_id!r} twice", "one annotation for each image")
        mask_file = origin.field(entry, "file_name", str, where)
        annotations[image_id] = mask_file, _segments(origin, entry, where, categories)
    images = _images(origin, document, annotations)
    if len(images) < len(annotations):
        unknown = sorted(set(annotations) - {image.id for image in images}, key=str)
        origin.fail(f"annotation of unknown image id {unknown[0]!r}", "an entry in images for each annotation")
    listed = tuple(categories.values())
    return CocoPanoptic(listed, images, origin, images_dir, max_pixels, png_dir, follow_links=follow_links)


def _refuse_instances(origin: Origin, document: Any) -> None:
    """COCO has two formats with the same heads; the one of instances has masks that may overlap, and no stuff."""
    entries = document.get("annotations") if isinstance(document, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    if isinstance(first, dict) and "segmentation" in first and "segments_info" not in first:
        expected = "COCO panoptic: for each image one RGB PNG of segment ids, and its 'segments_info'"
        origin.fail("COCO instances: each annotation is one object, as polygons or run lengths", expected)


def _categories(origin: Origin, document: Any) -> dict[int, Category]:
    categories: dict[int, Category] = {}
    for index, entry in enumerate(origin.field(document, "categories", list, "the file")):
        where = f"categories[{index}]"
        number = origin.field(entry, "id", int, where)
        if number in categories or number < 0:
            origin.fail(f"{where}: category id {number}", "unique, non-negative category ids")
        name, thing = origin.field(entry, "name", str, where), origin.flag(entry, "isthing", where)
        categories[number] = Category(number, name, thing, origin.color(entry, where))
    if not categories:
        origin.fail("no categories", "at least one category")
    return categories


def _segments(origin: Origin, annotation: Any, where: str, categories: Mapping[int, Category]) -> tuple[Segment, ...]:
    segments: dict[int, Segment] = {}
    for entry in origin.field(annotation, "segments_info", list, where):
        number = origin.field(entry, "id", int, f"{where}.segments_info")
        if not 1 <= number <= MAX_SEGMENT_ID or number in segments:
            problem = "twice" if number in segments else "out of range"
            origin.fail(f"{where}: segment id {number} {problem}", f"unique ids within 1..{MAX_SEGMENT_ID}")
        category = categories.get(origin.field(entry, "category_id", int, f"{where}: segment {number}"))
        if category is None:
            origin.fail(f"{where}: segment {number} of unknown category {entry['category_id']}", "a known category")
        crowd = origin.flag(entry, "iscrowd", f"{where}: segment {number}", default=0)
        segments[number] = Segment(number, category.id, category.is_thing, crowd)
    return tuple(segments.values())


def _images(
    origin: Origin, document: Any, annotations: Mapping[int | str, tuple[str, tuple[Segment, ...]]]
) -> tuple[ImageEntry, ...]:
    images: dict[int | str, ImageEntry] = {}
    for index, entry in enumerate(origin.field(document, "images", list, "the file")):
        where = f"images[{index}]"
        image_id = origin.field(entry, "id", (int, str), where)
        if image_id in images:
            origin.fail(f"{where}: image id {image_id!r} twice", "unique image ids")
        if image_id not in annotations:
            origin.fail(f"{where}: image id {image_id!r} without annotation", "one annotation for each image")
        size = origin.field(entry, "height", int, where), origin.field(entry, "width", int, where)
        if min(size) < 1:
            origin.fail(f"{where}: height and width {size}", "positive sizes")
        images[image_id] = ImageEntry(
            image_id, origin.field(entry, "file_name", str, where), size, *annotations[image_id]
        )
    return tuple(images.values())


def write_coco_panoptic(
    images: Iterable[PanopticImage],
    json_path: str | os.PathLike[str],
    png_dir: str | os.PathLike[str],
    categories: Iterable[Category],
    *,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write a COCO panoptic data set, with areas and boxes (x, y, width, height) computed from the id maps.

    The PNG of ``sub/name.jpg`` is ``sub/name.png``. Every file appears whole or not at all, the JSON last, and
    the same input gives the same bytes. Images are taken one at a time from ``images``.

    Args:
        images: label maps with unique ids and file names; :meth:`PanopticImage.from_masks` makes them of masks.
        json_path: the annotations to write; an existing file is replaced.
        png_dir: folder for the PNGs, created where missing.
        categories: the categories, of which every segment must be.
        info: goes into the JSON as it is.

    Raises:
        ArgumentError: an id or name twice, an image without file name, or a segment of no category listed.
        FileError: a name that leads out of ``png_dir``, or a disk that cannot take the file.

    Example:
        >>> import json, pathlib, tempfile
        >>> from point2mask_ot import Category, PanopticImage, Segment
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "masks.json"
        >>> image = PanopticImage([[3, 3, 0]], (Segment(3, 1, True),), image_id=1, file_name="a.jpg")
        >>> write_coco_panoptic([image], path, path.with_suffix(""), [Category(1, "coin", True)])
        >>> json.loads(path.read_text())["annotations"][0]["segments_info"][0]["bbox"]
        [0, 0, 2, 1]
    """
    by_id = check_categories(_WRITE, categories)
    origin_of(_WRITE, "json_path", json_path)
    try:
        json.dumps(info, allow_nan=False)
    except (TypeError, ValueError) as error:
        fail(_WRITE, "info", error, "a JSON object with finite numbers")
    folder = make_folder(png_dir, function=_WRITE, argument="png_dir")
    index: dict[int | str, dict[str, Any]] = {}
    masks: dict[str, dict[str, Any]] = {}
    for image in images:
        check_segments(_WRITE, "images", image, by_id)
        mask_file = _mask_file(folder, image)
        if image.image_id in index or mask_file in masks:
            fail(_WRITE, "images", f"{image.image_id!r}, {image.file_name!r} twice", "unique ids and file names")
        _write_mask(folder, mask_file, image.id_map)
        index[image.image_id] = image_entry(image.image_id, image.file_name, image.size)
        masks[mask_file] = {
            "image_id": image.image_id,
            "file_name": mask_file,
            "segments_info": segments_info(image),
        }
    document = {
        "info": dict(info or {}),
        "images": list(index.values()),
        "annotations": list(masks.values()),
        "categories": [category_entry(category) for category in by_id.values()],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    make_folder(Path(json_path).parent, function=_WRITE, argument="json_path")
    atomic_write(json_path, text.encode(), function=_WRITE, argument="json_path")


def _mask_file(folder: Path, image: PanopticImage) -> str:
    if not image.file_name:
        fail(_WRITE, "images", f"image {image.image_id!r} without file_name", "the picture's name")
    safe_join(folder, image.file_name, function=_WRITE, argument="images")
    return PurePosixPath(image.file_name).with_suffix(".png").as_posix()


def _write_mask(folder: Path, mask_file: str, id_map: np.ndarray) -> None:
    path = safe_join(folder, mask_file, function=_WRITE, argument="images")
    make_folder(path.parent, function=_WRITE, argument="png_dir")
    atomic_write(path, encode_png(encode_ids(id_map)), function=_WRITE, argument="png_dir")


def decode_ids(rgb: np.ndarray) -> np.ndarray:
    """(H, W) int64 from (H, W, 3) uint8: id = R + 256 G + 65536 B."""
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    return red | green << 8 | blue << 16


def encode_ids(id_map: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 from (H, W) ids."""
    return (id_map[..., None] >> (0, 8, 16)).astype(np.uint8)


def image_entry(image_id: int | str, file_name: str, size: tuple[int, int]) -> dict[str, Any]:
    """What the JSON says of a picture."""
    return {"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]}


def segments_info(image: PanopticImage) -> list[dict[str, Any]]:
    """What the JSON says of each segment."""
    measured = extents(image.id_map)
    return [
        {
            "id": segment.id,
            "category_id": segment.category_id,
            "area": measured[segment.id][0],
            "bbox": list(measured[segment.id][1]),
            "iscrowd": int(segment.is_crowd),
        }
        for segment in image.segments
    ]


def category_entry(category: Category) -> dict[str, Any]:
    """What the JSON says of a category."""
    entry = {"id": category.id, "name": category.name, "isthing": int(category.is_thing)}
    return entry if category.color is None else {**entry, "color": list(category.color)}
