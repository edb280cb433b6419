"""Samples, what becomes of them on the way to the network, and batches that any number of processes can share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import ExifTags, Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from point2mask_ot import (
    Category,
    PanopticImage,
    PointTargets,
    read_coco_panoptic,
    read_picture,
    sample_points,
    structured_edges,
)
from point2mask_ot.files.pictures import PICTURE_SUFFIXES
from point2mask_ot.panoptic import PicturePoints, read_point_set

from .network import nearest
from .targets import Batch

LEAST_SIDE = 32
"""A picture with a shorter side, in pixels, is not trained on."""
NO_POINTS = PointTargets(np.zeros((0, 2), np.int64))


@dataclass(frozen=True)
class Sample:
    """A picture with its point labels.

    Attributes:
        picture: (H, W, 3) uint8 sRGB.
        points: their categories are channels: things first, then stuff.
        image_id: of the data set.
        masks: (H, W) int64 true target of each pixel, -1 for none; None where training may not know.
        low: (H, W) uint8 low-level boundary, or None.
    """

    picture: np.ndarray
    points: PointTargets
    image_id: int | str
    masks: np.ndarray | None = None
    low: np.ndarray | None = None


class Samples(Protocol):
    """Pictures with points, and where there is truth, the masks that score what is made of them."""

    categories: Sequence[Category]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def truth(self, index: int) -> PanopticImage | None: ...

    def size(self, index: int) -> tuple[int, int]: ...


class FileSamples:
    """Pictures with points from a file, and their masks if there are any to score with.

    Args:
        pictures: folder of pictures.
        points: file of :func:`point2mask_ot.panoptic.read_point_set`; None for pictures that are only predicted on:
            those of ``truth``, or without it all of the folder.
        truth: COCO panoptic JSON, masks in the folder of its name, of some or all of the pictures.
        low: see :class:`.config.Data`.
    """

    categories: Sequence[Category] = ()

    def __init__(self, pictures: Path, points: Path | None, truth: Path | None, low: Path | None = None) -> None:
        self.pictures, self.low = pictures, low
        self.masks = None if truth is None else read_coco_panoptic(truth, truth.with_suffix(""))
        masks = [] if self.masks is None else self.masks.images
        self._truth_of = {entry.file_name: index for index, entry in enumerate(masks)}
        if points is not None:
            found = read_point_set(points)
            self.categories, self.entries = found.categories, self._worth_training(found.pictures)
        elif self.masks is not None:
            self.categories = tuple(sorted(self.masks.categories, key=lambda category: not category.is_thing))
            self.entries = [PicturePoints(entry.file_name, entry.id, NO_POINTS, entry.size) for entry in masks]
        else:
            names = sorted(path.name for path in pictures.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            self.entries = [PicturePoints(name, name, NO_POINTS) for name in names]
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
        """True segments of a picture, or None."""
        entry = self.entries[index]
        position = self._truth_of.get(entry.file_name)
        return None if position is None else replace(self.masks[position], image_id=entry.image_id)

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) as the files of points or masks say, or the picture itself."""
        return self._size(self.entries[index])

    def _size(self, entry: PicturePoints) -> tuple[int, int]:
        position = self._truth_of.get(entry.file_name)
        if size := entry.size or (self.masks.images[position].size if position is not None else None):
            return size
        with Image.open(self.pictures / entry.file_name) as picture:
            size = picture.height, picture.width
            # A picture on its side is read upright; of a TIFF, Pillow says the size that it will have.
            on_side = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5 and picture.format != "TIFF"
        return size[::-1] if on_side else size

    def _worth_training(self, pictures: Sequence[PicturePoints]) -> list[PicturePoints]:
        kept = [p for p in pictures if p.targets.is_thing.any() and min(self._size(p)) >= LEAST_SIDE]
        if left_out := len(pictures) - len(kept):
            reason = f"without a point on a thing, or with a side below {LEAST_SIDE} pixels"
            what = f"data.points: {left_out} of {len(pictures)} pictures are not trained on: {reason}"
            warnings.warn(what, stacklevel=3)
        return kept


class PreparedSamples(Dataset):
    """Resized, and for training flipped at random; the same (seed, epoch, picture) always gives the same sample.

    Args:
        samples: where they come from.
        min_sides: lengths of the shorter side to draw from.
        max_side: the longer side is at most this.
        seed: of the augmentation; None for none of it.
        supervision: see :class:`.config.PseudoLabels`.
    """

    def __init__(
        self, samples: Samples, min_sides: Sequence[int], max_side: int, seed: int | None, supervision: str = "points"
    ) -> None:
        self.samples, self.min_sides, self.max_side, self.seed = samples, min_sides, max_side, seed
        self.supervision, self.epoch = supervision, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if self.supervision == "masks":
            sample = with_masks(sample, self.samples.truth(index), self.samples.categories, self.seed or 0)
        if self.seed is None:
            return resized(sample, self.min_sides[-1], self.max_side)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        side = int(rng.choice(self.min_sides))
        return resized(flipped(sample) if rng.random() < 0.5 else sample, side, self.max_side)


def with_masks(sample: Sample, truth: PanopticImage | None, categories: Sequence[Category], seed: int) -> Sample:
    """The true masks to train on (the ceiling), with a point in each, which the masks overrule."""
    if truth is None:
        raise ValueError(f"data.truth: picture {sample.image_id!r} is missing, and labels.supervision is 'masks'")
    drawn = sample_points(truth, categories, seed=seed, stuff=True)
    owner = np.full(truth.size, -1)
    for target, number in enumerate(drawn.segment_ids):
        owner[truth.id_map == number] = target
    return replace(sample, points=drawn.targets, masks=owner)


def flipped(sample: Sample) -> Sample:
    """Left is right."""
    maps = {name: getattr(sample, name) for name in ("picture", "masks", "low")}
    mirrored = {name: values[:, ::-1].copy() for name, values in maps.items() if values is not None}
    return replace(sample, points=sample.points.flip(sample.picture.shape[:2]), **mirrored)


def resized(sample: Sample, min_side: int, max_side: int) -> Sample:
    """Shorter side ``min_side`` unless the longer one would pass ``max_side``; points move as coordinates."""
    given = height, width = sample.picture.shape[:2]
    scale = min(min_side / min(given), max_side / max(given))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if size == given:
        return sample

    def bilinear(levels: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(levels).view(height, width, -1).permute(2, 0, 1)[None].float()
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255)
        return pixels.permute(1, 2, 0).byte().numpy()

    return replace(
        sample,
        picture=bilinear(sample.picture),
        points=sample.points.resize(given, size),
        masks=None if sample.masks is None else nearest(torch.from_numpy(sample.masks)[None], size)[0].numpy(),
        low=None if sample.low is None else bilinear(sample.low)[..., 0],
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad on the right and below to the largest height and width, pictures with what is at the border."""
    sizes = [sample.picture.shape[:2] for sample in samples]
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))

    def padded(name: str, **how: object) -> torch.Tensor | None:
        maps = [getattr(sample, name) for sample in samples]
        if maps[0] is None:
            return None
        pads = [((0, height - h), (0, width - w), (0, 0)) for h, w in sizes]
        return torch.from_numpy(np.stack([np.pad(m, pad[: m.ndim], **how) for m, pad in zip(maps, pads, strict=True)]))

    pictures = padded("picture", mode="edge").permute(0, 3, 1, 2) / 255
    inside = torch.zeros(len(samples), height, width, dtype=torch.bool)
    for flags, (h, w) in zip(inside, sizes, strict=True):
        flags[:h, :w] = True
    masks, low = padded("masks", constant_values=-1), padded("low")
    low = None if low is None else low[:, None] / 255
    return Batch(pictures, inside, sizes, [s.points for s in samples], [s.image_id for s in samples], masks, low)


def grouped_batches(is_wide: Sequence[bool], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Random batches of pictures that are all wide or all tall, with every picture in every epoch.

    Where the wide or the tall ones end within a batch, those that the epoch began with fill it, as in mmdet.

    Args:
        is_wide: of each picture.
        batch_size: over all processes, each of which takes a slice of every batch.
        seed: of the order.
        epoch: has an order of its own.
    """
    rng = np.random.default_rng((seed, epoch))
    batches: list[np.ndarray] = []
    for wide in (False, True):
        members = rng.permutation(np.flatnonzero(np.asarray(is_wide, bool) == wide))
        count = -(-len(members) // batch_size)
        batches += list(np.resize(members, (count, batch_size)))  # begins again with the first where they end
    return [batches[position].tolist() for position in rng.permutation(len(batches))]


def loader(prepared: PreparedSamples, batches: Sequence[Sequence[int]], workers: int) -> Iterator[Batch]:
    """The batches, made by other processes."""
    # A generator of its own: a loader draws from it once, also when it starts in the middle of an epoch.
    own = torch.Generator()
    return iter(DataLoader(prepared, batch_sampler=batches, num_workers=workers, collate_fn=collate, generator=own))
