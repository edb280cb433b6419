"""Pictures whose true instances are known: photographs, nuclei, and drawings of touching ellipses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from skimage import transform

from point2mask_ot import lab_gradient, smooth_lab
from point2mask_ot.panoptic import PanopticDataset, read_coco_panoptic, read_voc

KINDS = ("photographs", "nuclei", "shapes")
LONGEST_SIDE = {"photographs": 200, "nuclei": 256}
SMALLEST = 10
"""Pixels of the smallest instance that is scored."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its instances.

    Attributes:
        name: unique within the kind.
        picture: (H, W, 3) float32 sRGB in [0, 1].
        truth: (H, W) index of the instance of each pixel, -1 for none.
        category: (K,) class of each instance.
    """

    name: str
    picture: np.ndarray
    truth: np.ndarray
    category: np.ndarray

    @cached_property
    def lab(self) -> np.ndarray:
        return smooth_lab(self.picture)

    @cached_property
    def gradient(self) -> np.ndarray:
        return lab_gradient(self.picture)


def scenes(kind: str, split: str, data: Path, side: int | None = None) -> Iterator[Scene]:
    """All pictures of a kind; ``side`` is the length to which the longer side is scaled down."""
    if kind == "shapes":
        first = 0 if split == "train" else 10_000
        yield from (draw_shapes(first + index) for index in range(40))
        return
    for index, image in enumerate(dataset := _read(kind, split, data)):
        ids = {s.id: s.category_id for s in image.segments if s.is_thing and not s.is_crowd}
        picture = dataset.picture(index)
        yield _scaled(str(image.image_id), picture, image.id_map, ids, side or LONGEST_SIDE[kind])


def _read(kind: str, split: str, data: Path) -> PanopticDataset:
    if kind == "photographs":
        return read_voc(data / "voc_layout/VOCdevkit/VOC2012", split)
    folder = data / "coco_panoptic_layout"
    annotations = folder / "annotations"
    return read_coco_panoptic(annotations / f"panoptic_{split}.json", annotations / f"panoptic_{split}", folder / split)


def _scaled(name: str, picture: np.ndarray, id_map: np.ndarray, category: dict[int, int], side: int) -> Scene:
    scale = min(1.0, side / max(id_map.shape))
    height, width = (max(1, round(length * scale)) for length in id_map.shape)
    picture = transform.resize(picture, (height, width), anti_aliasing=scale < 1).astype(np.float32)
    rows = ((np.arange(height) + 0.5) * id_map.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * id_map.shape[1] / width).astype(int)
    ids = id_map[np.ix_(rows, columns)]
    kept = [i for i in sorted(category) if (ids == i).sum() >= SMALLEST]
    truth = np.full(ids.shape, -1)
    for index, segment in enumerate(kept):
        truth[ids == segment] = index
    return Scene(name, picture.clip(0, 1), truth, np.array([category[i] for i in kept], int))


def draw_shapes(seed: int) -> Scene:
    """Overlapping ellipses of almost one colour, each with a thin rim, under noise: only outlines tell them apart."""
    rng = np.random.default_rng([seed, 7])
    height, width = 96, 128
    y, x = np.indices((height, width))
    truth = np.full((height, width), -1)
    ground, ink = rng.uniform(0.2, 0.8, (2, 3))
    picture = np.broadcast_to(ground, (height, width, 3)).copy()
    for index in range(int(rng.integers(4, 9))):
        cy, cx, angle = rng.uniform(20, height - 20), rng.uniform(20, width - 20), rng.uniform(0, np.pi)
        long, short = np.sort(rng.uniform(8, 26, 2))[::-1]
        along = (np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)) / long
        across = (-np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)) / short
        depth = 1 - np.hypot(along, across)
        truth[depth > 0] = index
        colour = ink + rng.normal(0, 0.03, 3)
        picture[depth > 0] = colour
        picture[(depth > 0) & (depth < 0.1)] = colour + rng.uniform(-0.25, 0.25)
    picture = (picture + rng.normal(0, 0.04, picture.shape)).clip(0, 1).astype(np.float32)
    sizes = np.bincount(truth[truth >= 0], minlength=truth.max() + 1)
    kept = np.flatnonzero(sizes >= SMALLEST)
    renamed = np.full(truth.max() + 2, -1)
    renamed[kept] = np.arange(len(kept))
    return Scene(f"shapes-{seed}", picture, renamed[truth], np.zeros(len(kept), int))
