"""Samples, what becomes of them on the way to the network, and batches that any number of processes can share."""

from __future__ import annotations

import math
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

from point2mask_ot import Category, PanopticImage, PointTargets, read_coco_panoptic, read_picture, sample_points
from point2mask_ot.panoptic import PicturePoints, read_point_set

from . import synthetic
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
    """

    picture: np.ndarray
    points: PointTargets
    image_id: int | str
    masks: np.ndarray | None = None


class Samples(Protocol):
    """Pictures with points, and where there is truth, the masks that score what is made of them."""

    categories: Sequence[Category]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def truth(self, index: int) -> PanopticImage | None: ...

    def size(self, index: int) -> tuple[int, int]: ...


class SyntheticSamples:
    """Scenes of :mod:`.synthetic`, one random point in each shape and on the ground."""

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
        points: file of :func:`point2mask_ot.panoptic.read_point_set`; None for pictures that are only predicted on.
        truth: COCO panoptic JSON, masks in the folder of its name, of some or all of the pictures.
    """

    def __init__(self, pictures: Path, points: Path | None, truth: Path | None) -> None:
        self.pictures = pictures
        self.masks = None if truth is None else read_coco_panoptic(truth, truth.with_suffix(""))
        self.entries: list[PicturePoints] = []
        if points is not None:
            found = read_point_set(points)
            self.categories = found.categories
            self.entries = [picture for picture in found.pictures if picture.targets.is_thing.any()]
        elif self.masks is not None:
            self.categories = tuple(sorted(self.masks.categories, key=lambda category: not category.is_thing))
            self.entries = [PicturePoints(entry.file_name, entry.id, NO_POINTS) for entry in self.masks.images]
        self._truth_of = {} if self.masks is None else {e.file_name: i for i, e in enumerate(self.masks.images)}
        self._sizes = [self._size(entry.file_name) for entry in self.entries]
        if points is not None:  # a picture that small teaches nothing, as one without things
            large = [index for index, size in enumerate(self._sizes) if min(size) >= LEAST_SIDE]
            self.entries, self._sizes = [self.entries[i] for i in large], [self._sizes[i] for i in large]
            if left_out := len(found.pictures) - len(large):
                warnings.warn(
                    f"data.points: {left_out} of {len(found.pictures)} pictures are not trained on: without a point "
                    f"on a thing, or with a side below {LEAST_SIDE} pixels",
                    stacklevel=2,
                )

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        return Sample(read_picture(self.pictures / entry.file_name), entry.targets, entry.image_id)

    def truth(self, index: int) -> PanopticImage | None:
        entry = self.entries[index]
        position = self._truth_of.get(entry.file_name)
        return None if position is None else replace(self.masks[position], image_id=entry.image_id)

    def size(self, index: int) -> tuple[int, int]:
        return self._sizes[index]

    def _size(self, file_name: str) -> tuple[int, int]:
        with Image.open(self.pictures / file_name) as picture:
            size = picture.height, picture.width
            # A picture on its side is read upright; of a TIFF, Pillow says the size that it will have.
            on_side = picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5 and picture.format != "TIFF"
        return size[::-1] if on_side else size


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
    points = sample.points
    mirrored = points.points_yx * [1, -1] + [0, sample.picture.shape[1] - 1]
    return replace(
        sample,
        picture=sample.picture[:, ::-1].copy(),
        points=replace(points, points_yx=mirrored),
        masks=None if sample.masks is None else sample.masks[:, ::-1].copy(),
    )


def resized(sample: Sample, min_side: int, max_side: int) -> Sample:
    """Shorter side ``min_side`` unless the longer one would pass ``max_side``; points move as coordinates."""
    height, width = sample.picture.shape[:2]
    scale = min(min_side / min(height, width), max_side / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if size == (height, width):
        return sample
    pixels = torch.from_numpy(sample.picture).permute(2, 0, 1)[None].float()
    pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0].round().clamp(0, 255)
    masks = sample.masks
    if masks is not None:
        masks = nearest(torch.from_numpy(masks)[None], size)[0].numpy()
    ratio = np.array(size) / (height, width)
    points = replace(sample.points, points_yx=(sample.points.points_yx + 0.5) * ratio - 0.5)
    return replace(sample, picture=pixels.permute(1, 2, 0).byte().numpy(), points=points, masks=masks)


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad on the right and below to the largest height and width, with what is at the border."""
    sizes = [sample.picture.shape[:2] for sample in samples]
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    pictures = torch.empty(len(samples), 3, height, width)
    inside = torch.zeros(len(samples), height, width, dtype=torch.bool)
    masks = torch.full((len(samples), height, width), -1) if samples[0].masks is not None else None
    for index, (sample, (h, w)) in enumerate(zip(samples, sizes, strict=True)):
        padded = np.pad(sample.picture, ((0, height - h), (0, width - w), (0, 0)), mode="edge")
        pictures[index] = torch.from_numpy(padded).permute(2, 0, 1) / 255
        inside[index, :h, :w] = True
        if masks is not None:
            masks[index, :h, :w] = torch.from_numpy(sample.masks)
    return Batch(pictures, inside, sizes, [s.points for s in samples], [s.image_id for s in samples], masks)


class GroupedBatches:
    """Random batches of pictures that are all wide or all tall, and this process's part of each.

    Every picture is in every epoch. Where the wide or the tall ones end within a batch, those that the epoch began with
    fill it, as in mmdet. Global batch number k holds the same pictures however many processes share it.

    Args:
        is_wide: of each picture.
        batch_size: over all processes.
        seed: of the order.
        rank: of this process.
        processes: how many share a batch.
    """

    def __init__(self, is_wide: Sequence[bool], batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        if batch_size < 1 or batch_size % processes:
            raise ValueError(
                f"optimiser.batch_size: got {batch_size}, expected a positive multiple of the {processes} processes"
            )
        self.is_wide, self.batch_size, self.seed = np.asarray(is_wide, bool), batch_size, seed
        if not self.is_wide.size:
            raise ValueError("data: got no pictures, expected at least one to learn from")
        self.part = slice(rank * batch_size // processes, (rank + 1) * batch_size // processes)
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return sum(math.ceil(count / self.batch_size) for count in np.bincount(self.is_wide, minlength=2))

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        batches: list[np.ndarray] = []
        for wide in (False, True):
            members = rng.permutation(np.flatnonzero(self.is_wide == wide))
            count = math.ceil(len(members) / self.batch_size)
            batches += list(np.resize(members, (count, self.batch_size)))  # begins again with the first where they end
        for position in rng.permutation(len(batches))[self.start :]:
            yield batches[position][self.part].tolist()


def loader(prepared: PreparedSamples, batches: GroupedBatches, workers: int) -> DataLoader:
    """Batches of one epoch."""
    # A generator of its own: a loader draws from it once, also when it starts in the middle of an epoch.
    own = torch.Generator()
    return DataLoader(prepared, batch_sampler=batches, num_workers=workers, collate_fn=collate, generator=own)
