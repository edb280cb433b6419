"""Where the reference trainer's pictures come from: files, or drawings that need none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import synthetic
from panoptic_segformer.data import NO_POINTS, Sample

from point2mask_ot import Category, PanopticImage, read_coco_panoptic, read_picture, sample_points, structured_edges
from point2mask_ot.files.pictures import PICTURE_SUFFIXES, read_size
from point2mask_ot.panoptic import PicturePoints, read_point_set

LEAST_SIDE = 32
"""A picture with a shorter side, in pixels, is not trained on."""


class SyntheticSamples:
    """Scenes of :mod:`synthetic`, one random point in each shape and on the ground."""

    categories = synthetic.CATEGORIES

    def __init__(self, seed: int, count: int, side: int) -> None:
        self.seed, self.count, self.side = seed, count, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        picture, truth = synthetic.draw_scene(self.seed, index, self.side)
        return Sample(picture, sample_points(truth, self.categories, seed=self.seed, stuff=True).targets, index)

    def truth(self, index: int) -> PanopticImage:
        return synthetic.draw_scene(self.seed, index, self.side)[1]

    def size(self, index: int) -> tuple[int, int]:
        return self.side, self.side


class FileSamples:
    """Pictures with points from a file, and their masks if there are any to score with.

    Args:
        pictures: folder of pictures.
        points: file of :func:`point2mask_ot.panoptic.read_point_set`; None for pictures that are only predicted on:
            those of ``truth``, or without it all of the folder.
        truth: COCO panoptic JSON, masks in the folder of its name, of some or all of the pictures.
        low: OpenCV's model of boundaries, or a folder of grey PNGs that are named as the pictures; or None.
    """

    categories: Sequence[Category] = ()

    def __init__(self, pictures: Path, points: Path | None, truth: Path | None, low: Path | None = None) -> None:
        self.pictures, self.low = pictures, low
        self.masks = None if truth is None else read_coco_panoptic(truth, truth.with_suffix(""))
        images = [] if self.masks is None else self.masks.images
        self._truth_of = {entry.file_name: index for index, entry in enumerate(images)}
        if points is not None:
            found = read_point_set(points)
            self.categories, self.entries = found.categories, self._worth_training(found.pictures)
        elif self.masks is not None:
            self.categories = tuple(sorted(self.masks.categories, key=lambda category: not category.is_thing))
            self.entries = [PicturePoints(entry.file_name, entry.id, NO_POINTS, entry.size) for entry in images]
        else:
            names = sorted(path.name for path in pictures.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            self.entries = [PicturePoints(name, name, NO_POINTS) for name in names]
        if images and not any(entry.file_name in self._truth_of for entry in self.entries):
            raise ValueError(f"{truth}: got masks of none of the {len(self.entries)} pictures, expected theirs")
        if not self.entries:
            raise ValueError(f"{points or truth or pictures}: got no pictures, expected at least one")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        picture = read_picture(self.pictures / entry.file_name)
        low = None
        if self.low is not None and self.low.is_dir():
            low = read_picture(self.low / Path(entry.file_name).with_suffix(".png"))[..., 0]
            if low.shape != picture.shape[:2]:
                raise ValueError(f"data.low_boundary: {entry.file_name}: got {low.shape}, expected {picture.shape[:2]}")
        elif self.low is not None:
            low = (255 * structured_edges(picture, self.low)[0]).round().astype(np.uint8)
        return Sample(picture, entry.targets, entry.image_id, low=low)

    def truth(self, index: int) -> PanopticImage | None:
        entry = self.entries[index]
        position = self._truth_of.get(entry.file_name)
        return None if position is None else replace(self.masks[position], image_id=entry.image_id)

    def size(self, index: int) -> tuple[int, int]:
        return self._size(self.entries[index])

    def _size(self, entry: PicturePoints) -> tuple[int, int]:
        """As the file of points or of masks says, or the picture itself."""
        position = self._truth_of.get(entry.file_name)
        told = entry.size or (None if position is None else self.masks.images[position].size)
        return told or read_size(self.pictures / entry.file_name)

    def _worth_training(self, pictures: Sequence[PicturePoints]) -> list[PicturePoints]:
        kept = [p for p in pictures if p.targets.is_thing.any() and min(self._size(p)) >= LEAST_SIDE]
        if left_out := len(pictures) - len(kept):
            reason = f"without a point on a thing, or with a side below {LEAST_SIDE} pixels"
            what = f"data.points: {left_out} of {len(pictures)} pictures are not trained on: {reason}"
            warnings.warn(what, stacklevel=3)
        return kept
