"""Samples, what becomes of them on the way to the network, and batches that any number of processes can share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from point2mask_ot import Category, PanopticImage, PointTargets, sample_points

from .config import Data
from .mask_decoder import nearest
from .targets import Batch

NO_POINTS = PointTargets(np.zeros((0, 2), np.int64))


@dataclass(frozen=True)
class Sample:
    """A picture with its point labels."""

    picture: np.ndarray  # (H, W, 3) uint8 sRGB
    points: PointTargets  # whose categories are channels: things first, then stuff
    image_id: int | str
    masks: np.ndarray | None = None  # (H, W) int64 true target, -1 for none; None where training may not know
    low: np.ndarray | None = None  # (H, W) uint8 low-level boundary


class Samples(Protocol):
    """What to bring: pictures with points, and where there is truth, masks that score what is made of them."""

    categories: Sequence[Category]  # things first, then stuff

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def truth(self, index: int) -> PanopticImage | None: ...

    def size(self, index: int) -> tuple[int, int]: ...  # (height, width), to batch wide and tall ones apart


class PreparedSamples(Dataset):
    """Resized, and with a seed flipped at random; the same (seed, epoch, picture) always gives the same sample."""

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

    masks = None if sample.masks is None else nearest(torch.from_numpy(sample.masks)[None], size)[0].numpy()
    low = None if sample.low is None else bilinear(sample.low)[..., 0]
    return replace(
        sample, picture=bilinear(sample.picture), points=sample.points.resize(given, size), masks=masks, low=low
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad on the right and below to the largest height and width, pictures with what is at the border."""
    sizes = [sample.picture.shape[:2] for sample in samples]
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))

    def padded(maps: Sequence[np.ndarray | None], **how: Any) -> torch.Tensor | None:
        if maps[0] is None:
            return None
        pads = [((0, height - h), (0, width - w), (0, 0)) for h, w in sizes]
        return torch.from_numpy(np.stack([np.pad(m, pad[: m.ndim], **how) for m, pad in zip(maps, pads, strict=True)]))

    low = padded([sample.low for sample in samples])
    return Batch(
        padded([sample.picture for sample in samples], mode="edge").permute(0, 3, 1, 2) / 255,
        padded([np.ones(size, bool) for size in sizes]),
        sizes,
        [sample.points for sample in samples],
        [sample.image_id for sample in samples],
        padded([sample.masks for sample in samples], constant_values=-1),
        None if low is None else low[:, None] / 255,
    )


def batch_of(sample: Sample, data: Data) -> Batch:
    """A picture by itself, at the size that pictures are tested at."""
    return collate([resized(sample, data.min_side[-1], data.max_side)])


def grouped_batches(is_wide: Sequence[bool], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """An epoch's random batches of pictures that are all wide or all tall; every picture is in one.

    Where the wide or the tall ones end within a batch, those that the epoch began with fill it, as in mmdet.
    """
    rng = np.random.default_rng((seed, epoch))
    batches: list[np.ndarray] = []
    for wide in (False, True):
        members = rng.permutation(np.flatnonzero(np.asarray(is_wide, bool) == wide))
        count = -(-len(members) // batch_size)
        batches += list(np.resize(members, (count, batch_size)))  # begins again with the first where they end
    return [batches[position].tolist() for position in rng.permutation(len(batches))]


def loader(prepared: PreparedSamples, batches: Sequence[Sequence[int]], workers: int) -> DataLoader:
    """The batches, made by other processes."""
    # A generator of its own: a loader draws from it once, also when it starts in the middle of an epoch.
    own = torch.Generator()
    return DataLoader(prepared, batch_sampler=batches, num_workers=workers, collate_fn=collate, generator=own)
