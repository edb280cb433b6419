"""Pascal VOC: palette PNGs of classes and of objects, and lists of names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..checks import fail
from ..files.io import Origin, atomic_write, make_folder, origin_of, read_bytes, safe_join
from ..files.pictures import MAX_PIXELS, encode_png, read_label_png
from .images import Category, ImageEntry, PanopticDataset, PanopticImage, Segment, check_categories, check_segments

_READ, _WRITE = "read_voc", "write_voc"
_VOID = 255
_MAX_LIST_BYTES = 2**26
_CLASSES, _OBJECTS, _PICTURES = "SegmentationClass", "SegmentationObject", "JPEGImages"


def voc_palette() -> np.ndarray:
    """The (256, 3) uint8 colours of VOC's label PNGs.

    Bits 0, 3, 6 of the index are red's three highest bits, from the top down; 1, 4, 7 green's; 2, 5 blue's.
    """
    index = np.arange(256)[:, None]
    palette = np.zeros((256, 3), np.int64)
    for bit in range(8):
        palette |= (index >> (3 * bit + np.arange(3)) & 1) << (7 - bit)
    return palette.astype(np.uint8)


# fmt: off
_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor", "background",
)
# fmt: on
_COLORS = [tuple(color) for color in voc_palette().tolist()]
VOC_CATEGORIES: tuple[Category, ...] = tuple(
    Category(index % 21, name, index < 21, _COLORS[index % 21]) for index, name in enumerate(_NAMES, start=1)
)
"""The 20 things, then the background; the id is the palette index, so the background's is 0."""


@dataclass(frozen=True, eq=False, repr=False)
class VocPanoptic(PanopticDataset):
    """A data set in VOC's layout, see :func:`read_voc`."""

    root: str | os.PathLike[str] = ""

    def __getitem__(self, index: int) -> PanopticImage:
        entry = self.images[index]
        where, class_map = self._labels(_CLASSES, entry)
        _, object_map = self._labels(_OBJECTS, entry)
        if class_map.shape != object_map.shape:
            where.fail(f"{class_map.shape}", f"the size {object_map.shape} of the map in {_OBJECTS}")
        by_id = {category.id: category for category in self.categories}
        return _to_panoptic(where, class_map, object_map, by_id, entry)

    def _labels(self, folder: str, entry: ImageEntry) -> tuple[Origin, np.ndarray]:
        follow, name = self.follow_links, f"{folder}/{entry.mask_file}"
        path = safe_join(self.root, name, follow_links=follow, function=_READ, argument="root")
        where = Origin(_READ, "root", path)
        return where, read_label_png(where, "P", self.max_pixels)

    def _size(self, entry: ImageEntry) -> tuple[int, int]:
        height, width = self._labels(_CLASSES, entry)[1].shape
        return height, width


def read_voc(
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    categories: Iterable[Category] = VOC_CATEGORIES,
    max_pixels: int = MAX_PIXELS,
    follow_links: bool = False,
) -> VocPanoptic:
    """Open a data set in VOC's layout: the list is read now, the label maps when they are asked for.

    Every object index is one thing, of the class that most of its pixels have; its segment id is the object index.
    Pixels without object become one segment for each stuff class, with the next ids; the background (class 0) is
    stuff. Index 255 in either map is void, and so is a pixel of a thing class without object.

    Args:
        root: the folder (``VOC2012``) with JPEGImages, SegmentationClass, SegmentationObject and ImageSets.
        split: name of the list ``ImageSets/Segmentation/SPLIT.txt``; an image's id is its name in the list.
        categories: the classes; ``id`` is the palette index, at most 254.
        max_pixels: pixel limit of each file, checked before decoding.
        follow_links: read files and folders that are symbolic links out of ``root``.

    Returns:
        A sequence of :class:`PanopticImage`; its ``picture(i)`` reads ``JPEGImages/NAME.jpg``.

    Raises:
        FileError: at once, where the list is missing, empty or has a name twice. On reading an image, where a file
            is missing, damaged, no palette PNG, of another size than its fellow, leaves ``root``, or has a class
            that is unknown or, under an object, no thing.
        ArgumentError: a category id above 254.

    Example:
        >>> import tempfile
        >>> from point2mask_ot import PanopticImage, Segment, write_voc
        >>> folder = tempfile.mkdtemp()
        >>> write_voc([PanopticImage([[1, 1, 2]], (Segment(1, 15, True), Segment(2, 0, False)), "me")], folder)
        >>> found = read_voc(folder)
        >>> len(found), [(segment.category_id, segment.is_thing) for segment in found[0].segments]
        (1, [(15, True), (0, False)])
    """
    by_id = _palette_categories(_READ, categories)
    origin_of(_READ, "root", root)
    name = f"ImageSets/Segmentation/{split}.txt"
    path = safe_join(root, name, follow_links=follow_links, function=_READ, argument="split")
    origin = Origin(_READ, "split", path)
    try:
        names = read_bytes(origin, _MAX_LIST_BYTES).decode().split()
    except UnicodeDecodeError as error:
        origin.fail(error, "a list of names in UTF-8", error)
    if len(set(names)) < len(names) or not names:
        origin.fail("a name twice" if names else "no names", "a list of different names")
    entries = tuple(ImageEntry(name, f"{name}.jpg", None, f"{name}.png") for name in names)
    listed, photographs = tuple(by_id.values()), Path(root) / _PICTURES
    return VocPanoptic(listed, entries, origin, photographs, max_pixels, root, follow_links=follow_links)


def _palette_categories(function: str, categories: Iterable[Category]) -> dict[int, Category]:
    by_id = check_categories(function, categories)
    if max(by_id) >= _VOID:
        fail(function, "categories", f"category id {max(by_id)}", "palette indices within 0..254 (255 is void)")
    return by_id


def _to_panoptic(
    where: Origin,
    class_map: np.ndarray,
    object_map: np.ndarray,
    categories: Mapping[int, Category],
    entry: ImageEntry,
) -> PanopticImage:
    void = (class_map == _VOID) | (object_map == _VOID)
    # Row o, column c: how many pixels of object o have class c.
    pair = object_map.astype(np.int64) * 256 + class_map
    counts = np.bincount(pair[~void], minlength=256 * 256).reshape(256, 256)
    unknown = set(np.flatnonzero(counts.any(axis=0)).tolist()) - set(categories)
    if unknown:
        where.fail(f"class {min(unknown)}", f"classes out of {sorted(categories)}")
    id_map = np.where(void, 0, object_map.astype(np.int64))
    segments = []
    for number in np.flatnonzero(counts[1:].any(axis=1)) + 1:
        category = categories[int(counts[number].argmax())]
        if not category.is_thing:
            where.fail(f"object {number} of class {category.name!r}", "objects of a thing class")
        segments.append(Segment(int(number), category.id, is_thing=True))
    next_id = max((segment.id for segment in segments), default=0) + 1
    for category in categories.values():
        if not category.is_thing and counts[0, category.id]:
            id_map[~void & (object_map == 0) & (class_map == category.id)] = next_id
            segments.append(Segment(next_id, category.id, is_thing=False))
            next_id += 1
    return PanopticImage(id_map, tuple(segments), entry.id, entry.file_name)


def write_voc(
    images: Iterable[PanopticImage],
    root: str | os.PathLike[str],
    split: str = "train",
    *,
    categories: Iterable[Category] = VOC_CATEGORIES,
) -> None:
    """Write label maps in VOC's layout, as :func:`read_voc` reads them (the photographs are not touched).

    Things are numbered 1, 2, ... in the order of the image's segments. Void and crowd pixels become 255. Every
    file appears whole or not at all, the list last, and the same input gives the same bytes.

    Args:
        images: label maps; a file is named by the stem of ``file_name``, else by ``image_id``.
        root: folder to write to, created where missing.
        split: name of the list to write.
        categories: the classes; ``id`` is the palette index, at most 254.

    Raises:
        ArgumentError: a name twice or with white space, more than 254 things in an image, a segment of no category
            listed, a category id above 254, or two stuff segments of one category.
        FileError: a name that leads out of ``root``, or a disk that cannot take the file.

    Example:
        >>> import tempfile
        >>> from point2mask_ot import PanopticImage, Segment, read_voc
        >>> folder = tempfile.mkdtemp()
        >>> write_voc([PanopticImage([[1, 0, 2]], (Segment(1, 15, True), Segment(2, 0, False)), "me")], folder)
        >>> read_voc(folder)[0].id_map.tolist()
        [[1, 0, 2]]
    """
    by_id = _palette_categories(_WRITE, categories)
    folder = make_folder(root, function=_WRITE, argument="root")
    list_file = safe_join(folder, f"ImageSets/Segmentation/{split}.txt", function=_WRITE, argument="split")
    palette = voc_palette()
    names: dict[str, None] = {}
    for image in images:
        check_segments(_WRITE, "images", image, by_id)
        name = PurePosixPath(image.file_name).stem if image.file_name else str(image.image_id)
        if name in names or name.split() != [name]:
            fail(_WRITE, "images", f"the name {name!r}", "unique names without white space")
        names[name] = None
        for kind, labels in zip((_CLASSES, _OBJECTS), to_voc(image), strict=True):
            path = safe_join(folder, f"{kind}/{name}.png", function=_WRITE, argument="images")
            make_folder(path.parent, function=_WRITE, argument="root")
            atomic_write(path, encode_png(labels, palette), function=_WRITE, argument="root")
    if not names:
        fail(_WRITE, "images", "none", "at least one image")
    make_folder(list_file.parent, function=_WRITE, argument="root")
    atomic_write(list_file, "".join(f"{name}\n" for name in names).encode(), function=_WRITE, argument="root")


def to_voc(image: PanopticImage) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 classes and objects."""
    solid = [segment for segment in image.segments if not segment.is_crowd]
    stuff = [segment.category_id for segment in solid if not segment.is_thing]
    things = [segment.id for segment in solid if segment.is_thing]
    if len(things) >= _VOID or len(set(stuff)) < len(stuff):
        got = f"{len(things)} things" if len(things) >= _VOID else "two stuff segments of one category"
        fail(_WRITE, "images", f"image {image.image_id!r} with {got}", "at most 254 things, one segment a stuff class")
    ids = np.array([0, *sorted(segment.id for segment in image.segments)])
    classes, objects = np.full(len(ids), _VOID, np.uint8), np.full(len(ids), _VOID, np.uint8)
    for segment in solid:
        position = np.searchsorted(ids, segment.id)
        classes[position] = segment.category_id
        objects[position] = things.index(segment.id) + 1 if segment.is_thing else 0
    index = np.searchsorted(ids, image.id_map)
    return classes[index], objects[index]
