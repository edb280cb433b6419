"""From maps and points to training targets: where a trainer of one's own would call point2mask_ot.

Everything runs per picture on its valid region, without gradients; padding enters nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from point2mask_ot import PointTargets, PseudoMaskConfig, PseudoMasker, PseudoMasks
from point2mask_ot.losses import dilate_labels

from .config import PseudoLabels
from .network import Outputs, nearest

UNKNOWN = 255
"""The class of pixels that nobody knows."""


@dataclass(frozen=True)
class Batch:
    """Pictures of several sizes, padded to the largest of them on the right and below.

    Attributes:
        pictures: (B, 3, H, W) sRGB in [0, 1]; the padding repeats the border, so that no colour of its own enters
            what is resized.
        inside: (B, H, W) bool.
        sizes: (height, width) of each picture.
        points: the point labels of each picture.
        image_ids: of the data set.
        masks: (B, H, W) int64 true target of each pixel, -1 for none, for the ceiling that trains on masks; or None.
    """

    pictures: Tensor
    inside: Tensor
    sizes: Sequence[tuple[int, int]]
    points: Sequence[PointTargets]
    image_ids: Sequence[int | str]
    masks: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The tensors on the device; points stay on the host, where the library wants them."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class PictureTargets:
    """What one picture teaches, at its padded size.

    Attributes:
        classes: (T,) class of each thing that has a mask; with the preset ``official`` of every thing.
        boxes: (T, 4) centre, width and height over the size of the valid picture.
        masks: (T, H, W) bool.
        stuff: (P,) channels of the stuff classes present, from 0.
        stuff_masks: (P, H, W) bool.
        instance: (H, W) int64 target that owns the pixel, -1 for none.
        semantic: (H, W) int64 class, UNKNOWN where undecided or outside.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor
    stuff: Tensor
    stuff_masks: Tensor
    instance: Tensor
    semantic: Tensor


class Labeller:
    """Turns the network's maps and the points into targets, as Algorithm 1 says.

    Args:
        settings: the preset and what differs from it.
        things: number of thing classes.
    """

    def __init__(self, settings: PseudoLabels, things: int) -> None:
        changes = {key: value for key in ("method", "capacity", "stride") if (value := getattr(settings, key))}
        if changes.get("method") == "newton":
            changes |= {"max_iter": None, "tol": 1e-7}
        config = PseudoMaskConfig.preset(
            settings.preset, point_radius=settings.window // 2, on_conflict="first", **changes
        )
        self.settings, self.things = settings, things
        self.masker = PseudoMasker(config)
        # Before the semantic map is worth anything, every pixel takes part and goes to its nearest point.
        self.early_masker = PseudoMasker(config.changed(capacity="nearest", assign="cost", demand="all"))

    def pseudo_masks(self, outputs: Outputs, batch: Batch, step: int) -> list[PseudoMasks]:
        """Algorithm 1 on the last semantic map, the boundary map and the manifold features."""
        semantic, boundary, features = outputs.maps(batch.pictures.shape[-2:])
        masker = self.masker if step >= self.settings.centroid_start else self.early_masker
        boundary = boundary if self.settings.boundary else None
        return masker(semantic, boundary, batch.points, features, sizes=batch.sizes)

    def __call__(self, outputs: Outputs, batch: Batch, step: int) -> list[PictureTargets]:
        """Targets of each picture; from the true masks where the settings say so."""
        if self.settings.supervision == "masks":
            return [self._from_truth(batch, index) for index in range(len(batch.points))]
        labelled = self.pseudo_masks(outputs, batch, step)
        return [
            self._targets(masks.instance, masks.semantic.masked_fill(masks.void, UNKNOWN), points, size)
            for masks, points, size in zip(labelled, batch.points, batch.sizes, strict=True)
        ]

    def _from_truth(self, batch: Batch, index: int) -> PictureTargets:
        instance, points = batch.masks[index], batch.points[index]
        category = torch.as_tensor([*points.category, UNKNOWN], device=instance.device)
        return self._targets(instance, category[instance], points, batch.sizes[index])

    def _targets(
        self, instance: Tensor, semantic: Tensor, points: PointTargets, size: tuple[int, int]
    ) -> PictureTargets:
        device = instance.device
        category = torch.from_numpy(points.category.copy()).to(device)
        things = torch.from_numpy(points.is_thing.copy()).to(device).nonzero()[:, 0]
        masks = instance == things[:, None, None]
        boxes, solid = boxes_of(masks, size), masks.any((1, 2))
        if self.masker.config.empty_box == "centre":
            boxes[~solid] = 0.5  # the central half of the picture, as in the released code
        else:  # an empty mask teaches nothing
            things, masks, boxes = things[solid], masks[solid], boxes[solid]
        stuff = category[torch.from_numpy(~points.is_thing).to(device)].unique()
        return PictureTargets(
            category[things], boxes, masks, stuff - self.things, semantic == stuff[:, None, None], instance, semantic,
        )  # fmt: skip


def boxes_of(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """(T, 4) tight boxes of (T, H, W) masks: centre, width and height over ``size``; an empty mask's means nothing."""
    spans = []
    for axis, length in ((1, size[1]), (2, size[0])):
        covered = masks.any(axis).float()
        start = covered.argmax(1)
        stop = covered.shape[1] - covered.flip(1).argmax(1)
        spans.append(((start + stop) / 2 / length, (stop - start) / length))
    (x, width), (y, height) = spans
    return torch.stack([x, y, width, height], 1)


def point_labels(batch: Batch, window: int, size: tuple[int, int]) -> Tensor:
    """(B, *size) int64 class of the ``window`` x ``window`` square around each point, UNKNOWN elsewhere.

    A cell has the label of the pixel at its centre; in the released code, of the one at its corner.
    """
    labels = np.full(batch.inside.shape, UNKNOWN)
    for image, points in enumerate(batch.points):
        y, x = np.floor(points.points_yx + 0.5).astype(int).T
        category = points.category[points.target]
        order = np.argsort(-category)  # the lowest class, written last, wins a pixel as it wins where squares meet
        labels[image, y[order], x[order]] = category[order]
    grown = dilate_labels(torch.from_numpy(labels).to(batch.inside.device), window, ignore_index=UNKNOWN)
    return nearest(grown.masked_fill(~batch.inside, UNKNOWN), size)
