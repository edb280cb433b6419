"""Make what training from points reads: VOC and SBD masks as COCO panoptic, and points drawn from masks, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..checks import check_number
from ..files.io import Origin, origin_of, read_bytes, safe_join
from ..files.pictures import read_label_png
from ..types import PointTargets
from .clicks import in_channel_order
from .coco import CocoPanoptic, decode_ids, write_coco_panoptic
from .images import PanopticDataset, PanopticImage, Segment, category_channels
from .point_set import PicturePoints, PointSet, refuse_to_replace, write_point_set
from .sampling import SampledPoints, sample_points
from .voc import VOC_CATEGORIES, read_voc

_VOC, _POINTS, _PSPS = "prepare_voc", "prepare_points", "import_psps"
_BACKGROUND = VOC_CATEGORIES[-1].id


def prepare_voc(
    voc: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    sbd: str | os.PathLike[str] | None = None,
    follow_links: bool = False,
) -> dict[str, int]:
    """Pascal VOC 2012 as COCO panoptic: every object a thing, the background one stuff segment, borders void.

    Args:
        voc: the folder ``VOCdevkit/VOC2012``.
        out: folder for ``voc_panoptic_train.json`` and ``voc_panoptic_val.json`` with masks in folders of those
            names; with ``sbd`` the former is ``voc_panoptic_train_aug``.
        sbd: the folder ``benchmark_RELEASE/dataset`` of SBD. Its pictures join VOC's for training; where VOC has a
            mask of its own that one is taken, and VOC's validation pictures are left out: 10,582 pictures.
        follow_links: read VOC's files and folders that are symbolic links out of it.

    Returns:
        Number of pictures written, by file name.

    Raises:
        FileError: a list, mask or ``.mat`` file that is missing, damaged or of another kind.
    """
    val, train = (read_voc(voc, split, follow_links=follow_links) for split in ("val", "train"))
    images: dict[str, Any] = {"voc_panoptic_val": val, "voc_panoptic_train": train}
    if sbd is not None:
        del images["voc_panoptic_train"]
        own = {str(entry.id) for entry in (*train.images, *val.images)}
        names = [name for name in _sbd_names(sbd) if name not in own]
        images["voc_panoptic_train_aug"] = _ThenSbd(train, Path(sbd), names)
    counts = {}
    for name, given in images.items():
        path = Path(out) / f"{name}.json"
        write_coco_panoptic(given, path, path.with_suffix(""), VOC_CATEGORIES)
        counts[path.name] = len(given)
    return counts


@dataclass(frozen=True)
class _ThenSbd:
    """VOC's training pictures, then SBD's."""

    voc: PanopticDataset
    sbd: Path
    names: list[str]

    def __len__(self) -> int:
        return len(self.voc) + len(self.names)

    def __iter__(self) -> Iterator[PanopticImage]:
        yield from self.voc
        for name in self.names:
            yield _read_sbd(self.sbd, name)


def _sbd_names(sbd: str | os.PathLike[str]) -> list[str]:
    names = []
    for split in ("train", "val"):
        origin = Origin(_VOC, "sbd", safe_join(sbd, f"{split}.txt", function=_VOC, argument="sbd"))
        names += read_bytes(origin, 2**26).decode(errors="replace").split()
    return sorted(set(names))


def _read_sbd(sbd: Path, name: str) -> PanopticImage:
    """Objects 1, 2, ... of ``inst/NAME.mat``; all else is background."""
    from scipy.io import loadmat  # slow to import, and only SBD needs it

    origin = Origin(_VOC, "sbd", safe_join(sbd, f"inst/{name}.mat", function=_VOC, argument="sbd"))
    try:
        record = loadmat(origin.path, struct_as_record=False, squeeze_me=True)["GTinst"]
        ids = np.asarray(record.Segmentation).astype(np.int64)
        classes = np.atleast_1d(record.Categories).astype(np.int64)
    except Exception as error:  # a damaged file makes scipy raise almost anything
        origin.fail(error, "GTinst with Segmentation and Categories", error)
    present = np.unique(ids)
    present = present[present > 0]
    known = np.isin(classes, range(1, 21)).all()
    if ids.ndim != 2 or ids.min() < 0 or present.max(initial=0) > len(classes) or not known:
        origin.fail(f"ids {present.tolist()} of classes {classes.tolist()}", "an object of classes 1..20 for each id")
    segments = [Segment(int(number), int(classes[number - 1]), is_thing=True) for number in present]
    if (ids == 0).any():
        background = int(present.max(initial=0)) + 1
        ids = np.where(ids == 0, background, ids)
        segments.append(Segment(background, _BACKGROUND, is_thing=False))
    return PanopticImage(ids, tuple(segments), name, f"{name}.jpg")


def prepare_points(
    dataset: PanopticDataset,
    path: str | os.PathLike[str],
    *,
    n: int = 1,
    seed: int = 0,
    sampler: str = "uniform",
    stuff: bool = True,
    size_error: float | None = None,
    write_png: bool = False,
) -> int:
    """Draw points from every mask of a data set and write them, for training and labelling to read.

    Args:
        dataset: COCO panoptic or VOC, see :func:`read_coco_panoptic` and :func:`read_voc`.
        path: the JSON file, see :func:`read_point_set`.
        n, seed, sampler, stuff, size_error: as in :func:`sample_points`. The file depends on these and on the masks
            alone, not on the order of pictures.
        write_png: also write them as PSPS and Point2Mask read them, for comparison: beside ``points.json`` a COCO
            panoptic data set ``points_png.json`` with PNGs in ``points_png`` that are zero but for the pixels that
            are points. Its boxes and areas are those of the points. The masks are read twice.

    Returns:
        Number of pictures.

    Raises:
        ArgumentError, FileError: as :func:`sample_points` and :func:`write_point_set`; another suffix than .json; a
            file that is there and holds anything but points that were drawn or imported.
    """
    refuse_to_replace(path, function=_POINTS, argument="path")
    png_dir = Path(path).with_name(f"{Path(path).stem}_png")
    if write_png:
        refuse_to_replace(f"{png_dir}.json", function=_POINTS, argument="path", masks=True)
        if png_dir.is_dir() and any(png_dir.iterdir()) and not os.path.lexists(f"{png_dir}.json"):
            origin_of(_POINTS, "path", png_dir).fail(
                "a folder that is there, without its JSON", "a new one (what a killed run has left may go)"
            )
    how: dict[str, Any] = {"n": n, "seed": seed, "sampler": sampler, "stuff": stuff}
    if size_error is not None:
        how["size_error"] = check_number(_POINTS, "size_error", size_error, minimum=1)
    categories = in_channel_order(dataset.categories)
    channels = category_channels(categories)
    info = {**how, "version": __version__}

    def drawn() -> Iterator[tuple[PanopticImage, SampledPoints]]:
        return ((image, sample_points(image, categories, channels=channels, **how)) for image in dataset)

    pictures = (PicturePoints(image.file_name, image.image_id, points.targets, image.size) for image, points in drawn())
    count = write_point_set(path, pictures, [replace(c, color=None) for c in categories], info)
    if write_png:
        marked = (_marked(image, points) for image, points in drawn())
        write_coco_panoptic(marked, f"{png_dir}.json", png_dir, categories, info=info)
    return count


def _marked(image: PanopticImage, points: SampledPoints) -> PanopticImage:
    """The picture's segments, each no more than its points."""
    ids = np.zeros(image.size, np.int64)
    y, x = points.targets.points_yx.T
    ids[y, x] = points.segment_ids[points.targets.target]
    drawn = set(points.segment_ids.tolist())
    segments = tuple(segment for segment in image.segments if segment.id in drawn)
    return PanopticImage(ids, segments, image.image_id, image.file_name)


def import_psps(
    dataset: CocoPanoptic, png_dir: str | os.PathLike[str], path: str | os.PathLike[str]
) -> tuple[int, int]:
    """Take over the point labels of PSPS and Point2Mask: PNGs that are zero but for the pixels that are points.

    Args:
        dataset: the COCO panoptic JSON that goes with them; its boxes and areas are not looked at.
        png_dir: folder of the PNGs, named as in the JSON.
        path: the JSON file to write, see :func:`read_point_set`.

    Returns:
        Number of pictures, and of segments that no pixel marks (they are left out).

    Raises:
        FileError: a PNG that is missing, damaged, or has an id that the JSON does not know; another suffix than
            .json; a file that is there and holds anything but points that were drawn or imported.
    """
    refuse_to_replace(path, function=_PSPS, argument="path")
    categories = in_channel_order(dataset.categories)
    channels = category_channels(categories)
    lost = 0

    def found() -> Iterator[PicturePoints]:
        nonlocal lost
        for entry in dataset.images:
            follow = dataset.follow_links
            path = safe_join(png_dir, entry.mask_file, follow_links=follow, function=_PSPS, argument="png_dir")
            origin = Origin(_PSPS, "png_dir", path)
            ids = decode_ids(read_label_png(origin, "RGB", dataset.max_pixels))
            if entry.size is not None and ids.shape != entry.size:
                origin.fail(f"{ids.shape[0]}x{ids.shape[1]}", f"HxW = {entry.size[0]}x{entry.size[1]}")
            listed = {segment.id: segment for segment in entry.segments if not segment.is_crowd}
            rows, columns = np.nonzero(ids)
            marked = ids[rows, columns]
            unknown = set(marked.tolist()) - {segment.id for segment in entry.segments}
            if unknown:
                origin.fail(f"id {min(unknown)}", "ids that the JSON lists")
            solid = np.isin(marked, list(listed))
            order, target = np.unique(marked[solid], return_inverse=True)
            lost += len(listed) - len(order)
            chosen = [listed[number] for number in order.tolist()]
            targets = PointTargets(
                np.stack([rows[solid], columns[solid]], 1),
                target.reshape(-1),
                np.array([channels[segment.category_id] for segment in chosen], np.int64),
                np.array([segment.is_thing for segment in chosen], bool),
            )
            yield PicturePoints(entry.file_name, entry.id, targets, ids.shape)

    count = write_point_set(path, found(), [replace(c, color=None) for c in categories], {"from": "PSPS point PNGs"})
    return count, lost


def check_points(
    points: PointSet, dataset: PanopticDataset, images_dir: str | os.PathLike[str] | None = None
) -> tuple[dict[str, int], list[str]]:
    """Compare a point file with the masks that it should have come from.

    Args:
        points: see :func:`read_point_set`.
        dataset: the masks.
        images_dir: folder of the pictures; where given, missing pictures are reported.

    Returns:
        Counts (pictures, targets, points, pictures without things), and a line for each problem: a picture that
        only one of the two knows, a category that they name differently, a point outside its picture or on a
        segment of another category, two targets on one segment, a missing picture.
    """
    problems = _category_problems(points, dataset)
    known = {entry.file_name: index for index, entry in enumerate(dataset.images)}
    names = {picture.file_name for picture in points.pictures}
    problems += [f"{name}: in the masks, not in the points" for name in sorted(set(known) - names)]
    counts = {"pictures": len(points.pictures), "targets": 0, "points": 0, "pictures without things": 0}
    for picture in points.pictures:
        name, targets = picture.file_name, picture.targets
        counts["targets"] += targets.num_targets
        counts["points"] += len(targets.points_yx)
        counts["pictures without things"] += not targets.is_thing.any()
        if images_dir is not None and not (Path(images_dir) / name).is_file():
            problems.append(f"{name}: no such picture in {images_dir}")
        if name not in known:
            problems.append(f"{name}: in the points, not in the masks")
        else:
            problems += [f"{name}: {problem}" for problem in _point_problems(points, targets, dataset[known[name]])]
    return counts, problems


def _category_problems(points: PointSet, dataset: PanopticDataset) -> list[str]:
    ours = {(c.id, c.name, c.is_thing) for c in points.categories}
    theirs = {(c.id, c.name, c.is_thing) for c in dataset.categories}
    return [f"category {c[1]!r} (id {c[0]}): in one of the two files only" for c in sorted(ours ^ theirs)]


def _point_problems(points: PointSet, targets: PointTargets, image: PanopticImage) -> Iterator[str]:
    category_of = {segment.id: segment.category_id for segment in image.segments}
    owner: dict[int, int] = {}
    for (y, x), target in zip(np.floor(targets.points_yx + 0.5).astype(int), targets.target.tolist(), strict=True):
        where = f"point x={x}, y={y} of target {target}"
        if not (0 <= y < image.size[0] and 0 <= x < image.size[1]):
            yield f"{where}: outside the picture of {image.size[0]}x{image.size[1]}"
            continue
        segment = int(image.id_map[y, x])
        category = points.categories[targets.category[target]]
        if category_of.get(segment) != category.id:
            yield f"{where}: on segment {segment}, which is no {category.name!r}"
        elif category.is_thing and owner.setdefault(segment, target) != target:
            yield f"{where}: segment {segment} is target {owner[segment]} already"
