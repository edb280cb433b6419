"""Masks into other tools' files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from ..checks import check_choice, fail
from ..files.io import atomic_file, atomic_write, make_folder, safe_join
from ..panoptic import Category, PanopticDataset, PanopticImage
from ..panoptic.images import check_segments
from . import coco, label_maps, labelme, yolo

ExportFormat = Literal["coco-instances", "yolo", "labelme", "labels-tiff", "labels-png"]
EXPORTS: tuple[str, ...] = get_args(ExportFormat)
_NAME = "export_masks"


def export_masks(
    dataset: PanopticDataset,
    to: ExportFormat,
    out: str | os.PathLike[str],
    *,
    stuff: bool = False,
    polygons: bool = False,
) -> int:
    """Write masks for another tool; what each format holds and loses: :doc:`the page of formats </formats>`.

    Polygons run along the edges of pixels, so that their area is that of the mask. What has holes is one polygon that
    goes into them and back on the same way. Files appear whole or not at all, and pictures are taken one at a time.

    Args:
        dataset: masks, see :func:`~point2mask_ot.read_coco_panoptic`, which opens what ``label``, ``annotate`` and
            ``label-dataset`` write.
        to: ``"coco-instances"``: ``instances.json``, as run lengths (packed by pycocotools, of the extra ``formats``)
            or polygons. ``"yolo"``: ``labels/NAME.txt`` and ``data.yaml``, all parts of an object in one polygon.
            ``"labelme"``: ``NAME.json``, parts of an object with one ``group_id``. ``"labels-tiff"``,
            ``"labels-png"``: ``NAME.tif`` or ``.png`` of 16 bits, 0 for background and a number for each object.
        out: folder for the files, created where missing.
        stuff: stuff, too, as if each kind in a picture were an object.
        polygons: in ``"coco-instances"``, polygons instead of run lengths.

    Returns:
        Number of pictures.

    Raises:
        ArgumentError: an unknown format; a file that is there already; two pictures whose names differ in the suffix
            only; more than 65,535 objects in a label picture; pycocotools missing where it is needed.
        FileError: a mask that cannot be read, a name that leads out of ``out``, or a disk that cannot take a file.

    Example:
        >>> import pathlib, tempfile
        >>> from point2mask_ot import Category, PanopticImage, Segment, read_coco_panoptic, write_coco_panoptic
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> image = PanopticImage([[0, 5], [0, 5]], (Segment(5, 1, True),), 1, "a.jpg")
        >>> write_coco_panoptic([image], folder / "m.json", folder / "m", [Category(1, "coin", True)])
        >>> export_masks(read_coco_panoptic(folder / "m.json", folder / "m"), "yolo", folder / "out")
        1
        >>> (folder / "out" / "labels" / "a.txt").read_text()
        '0 0.5 0 0.5 1 1 1 1 0\\n'
    """
    check_choice(_NAME, "to", to, EXPORTS)
    if polygons and to != "coco-instances":
        fail(_NAME, "polygons", f"True for {to!r}", "to='coco-instances' with it")
    folder = make_folder(out, function=_NAME, argument="out")
    kept = [category for category in dataset.categories if stuff or category.is_thing]
    if to == "coco-instances":
        _refuse_there(folder / "instances.json")
        with atomic_file(folder / "instances.json", function=_NAME, argument="out") as file:
            file.writelines(coco.text(_images(dataset), kept, stuff=stuff, polygons=polygons))
        return len(dataset)
    place, suffix, content = _file_a_picture(kept, to, stuff=stuff)
    paths = _paths(dataset, folder / place, suffix, to)
    if to == "yolo":
        _refuse_there(folder / "data.yaml")
        atomic_write(folder / "data.yaml", yolo.about(kept), function=_NAME, argument="out")
    for image, path in zip(_images(dataset), paths, strict=True):
        make_folder(path.parent, function=_NAME, argument="out")
        atomic_write(path, content(image), function=_NAME, argument="out")
    return len(paths)


def _refuse_there(path: Path) -> None:
    """The folder may be that of the masks, or of the pictures."""
    if path.exists():
        fail(_NAME, "out", f"{path}, which is there", "a folder for these files alone")


def _paths(dataset: PanopticDataset, folder: Path, suffix: str, to: str) -> list[Path]:
    """The file of each picture: all of them are known to be free before the first is written."""
    names = [PurePosixPath(entry.file_name) for entry in dataset.images]
    paths: dict[Path, str] = {}
    for name in names:
        if name.name in ("", ".."):
            fail(_NAME, "dataset", f"a picture named {str(name)!r:.80}", "a file name")
        if to == "labelme" and "\\" in str(name):
            fail(
                _NAME, "dataset", f"a picture named {str(name)!r:.80}", "no backslash, which labelme reads as a folder"
            )
        path = safe_join(folder, name.with_suffix(suffix).as_posix(), function=_NAME, argument="dataset")
        if path in paths:
            got = f"{paths[path]!r:.80} and {str(name)!r:.80}"
            fail(_NAME, "dataset", got, "names that differ in more than the suffix")
        _refuse_there(path)
        paths[path] = str(name)
    return list(paths)


def _images(dataset: PanopticDataset) -> Iterator[PanopticImage]:
    by_id = {category.id: category for category in dataset.categories}
    for image in dataset:
        check_segments(_NAME, "dataset", image, by_id)
        yield image


def _file_a_picture(
    categories: Sequence[Category], to: str, *, stuff: bool
) -> tuple[str, str, Callable[[PanopticImage], bytes]]:
    """Folder and suffix of the files, and what makes the content of one."""
    if to == "yolo":
        number = {category.id: k for k, category in enumerate(categories)}
        return "labels", ".txt", lambda image: yolo.text(image, number, stuff=stuff)
    if to == "labelme":
        names = {category.id: category.name for category in categories}
        return "", ".json", lambda image: labelme.text(image, names, stuff=stuff)
    make, suffix = {"labels-tiff": (label_maps.tiff, ".tif"), "labels-png": (label_maps.png, ".png")}[to]
    return "", suffix, lambda image: make(image, stuff=stuff)
