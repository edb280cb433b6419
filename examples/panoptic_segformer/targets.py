"""From maps and points to training targets: where a trainer of one's own would call point2mask_ot.

Everything runs per picture on its valid region, without gradients; padding enters nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers.image_transforms import corners_to_center_format

from point2mask_ot import MapTerm, PointTargets, PseudoMaskConfig, PseudoMasker, PseudoMasks, smooth_lab
from point2mask_ot.losses import dilate_labels

from .config import PseudoLabels
from .mask_decoder import nearest
from .network import Outputs

UNKNOWN = 255
"""The class of pixels that nobody knows."""


@dataclass(frozen=True)
class Batch:
    """Pictures of several sizes, padded to the largest of them on the right and below.

    The padding repeats the border, so that no colour of its own enters what is resized.
    """

    pictures: Tensor  # (B, 3, H, W) sRGB in [0, 1]
    inside: Tensor  # (B, H, W) bool
    sizes: Sequence[tuple[int, int]]  # (height, width) of each picture
    points: Sequence[PointTargets]
    image_ids: Sequence[int | str]
    masks: Tensor | None = None  # (B, H, W) int64 true target of each pixel, -1 for none, for the ceiling
    low: Tensor | None = None  # (B, 1, H, W) low-level boundary in [0, 1]

    def to(self, device: torch.device | str) -> Batch:
        """The tensors on the device; points stay on the host, where the library wants them."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    def __getitem__(self, part: slice) -> Batch:
        """Some of the pictures, at the same padded size."""
        return Batch(*(value if value is None else value[part] for value in vars(self).values()))


@dataclass(frozen=True)
class PictureTargets:
    """What one picture teaches, at its padded size."""

    classes: Tensor  # (T,) class of each thing that has a box
    boxes: Tensor  # (T, 4) centre, width and height over the size of the valid picture
    masks: Tensor  # (T, H, W) bool
    stuff: Tensor  # (P,) channels of the stuff classes present, from 0
    stuff_masks: Tensor  # (P, H, W) bool
    instance: Tensor  # (H, W) int64 target that owns the pixel, -1 for none
    semantic: Tensor  # (H, W) int64 class, UNKNOWN where undecided or outside


class Labeller:
    """Turns the network's maps and the points into targets, as Algorithm 1 says.

    Args:
        settings: the preset and what differs from it.
        things: number of thing classes.
    """

    def __init__(self, settings: PseudoLabels, things: int) -> None:
        # Two points may come to lie on one pixel of a smaller picture.
        shared = {"point_radius": settings.window // 2, "on_conflict": "first"}
        if settings.overrides.get("method", "sinkhorn") != "sinkhorn":  # two presets' rounds and floor are Sinkhorn's
            shared |= {"max_iter": None, "tol": 1e-7, "marginal_floor": 0.0}
        config = PseudoMaskConfig.preset(settings.preset, **{**shared, **settings.overrides})
        self.settings, self.things = settings, things
        self.masker = PseudoMasker(config)
        # Before the semantic map is worth anything, every pixel takes part and goes to its nearest point.
        self.early_masker = PseudoMasker(config.changed(capacity="nearest", assign="cost", demand="all"))

    def pseudo_masks(self, outputs: Outputs, batch: Batch, epoch: float) -> list[PseudoMasks]:
        """Algorithm 1 on the last semantic map, the boundary maps and the manifold features."""
        semantic, boundary, features = outputs.maps(batch.pictures.shape[-2:])
        masker = self.masker if epoch >= self.settings.centroid_epoch else self.early_masker
        terms = []
        if self.settings.boundary in ("low", "both"):
            terms.append(MapTerm(batch.low, masker.config.beta, "max"))
        if self.settings.color_weight:
            terms.append(MapTerm(smooth_lab(batch.pictures), self.settings.color_weight))
        high = boundary if self.settings.boundary in ("high", "both") else None
        return masker(semantic, high, batch.points, features, terms=terms, sizes=batch.sizes)

    def __call__(self, outputs: Outputs, batch: Batch, epoch: float) -> list[PictureTargets]:
        """Targets of each picture; from the true masks where the settings say so."""
        if self.settings.supervision == "masks":
            found = [_true_masks(*pair) for pair in zip(batch.masks, batch.points, strict=True)]
        else:
            found = self.pseudo_masks(outputs, batch, epoch)
        return [self._targets(*each) for each in zip(found, batch.points, batch.sizes, strict=True)]

    def _targets(self, found: PseudoMasks, points: PointTargets, size: tuple[int, int]) -> PictureTargets:
        device = found.instance.device
        category, is_thing = (torch.tensor(of, device=device) for of in (points.category, points.is_thing))
        # An empty mask without a box teaches nothing; the released code gives it the central half of the picture.
        things = (is_thing & found.boxes.isfinite().all(1)).nonzero()[:, 0]
        stuff, (height, width) = category[~is_thing].unique(), size
        semantic = found.semantic.masked_fill(found.void, UNKNOWN)
        boxes = corners_to_center_format(found.boxes[things]) / found.boxes.new_tensor([width, height] * 2)
        masks, stuff_masks = found.instance == things[:, None, None], semantic == stuff[:, None, None]
        return PictureTargets(
            category[things], boxes, masks, stuff - self.things, stuff_masks, found.instance, semantic
        )


def _true_masks(instance: Tensor, points: PointTargets) -> PseudoMasks:
    category = torch.tensor([*points.category, UNKNOWN], device=instance.device)
    boxes = _boxes(instance, points.num_targets)
    return PseudoMasks(instance, boxes, category[instance], instance < 0, None, None, None)


def _boxes(instance: Tensor, count: int) -> Tensor:
    """(count, 4) xyxy around each target's pixels, right and bottom exclusive; NaN where it has none."""
    boxes = instance.new_full((count, 4), torch.nan, dtype=torch.float32)
    for target in range(count):
        if len(pixels := (instance == target).nonzero()):
            boxes[target] = torch.cat([pixels.amin(0).flip(0), pixels.amax(0).flip(0) + 1])
    return boxes


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
