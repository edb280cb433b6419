"""The losses, weighed; every one on valid pixels only, in float32. Not to be run in autocast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.image_transforms import center_to_corners_format
from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher
from transformers.loss.loss_for_object_detection import generalized_box_iou, sigmoid_focal_loss

from point2mask_ot import (
    boundary_affinity_loss,
    lab_affinity_loss,
    manifold_contrastive_loss,
    minimum_spanning_tree,
    partial_cross_entropy,
    tree_affinity_loss,
)

from .backbone import finest_stride
from .config import Config
from .mask_decoder import nearest, resize
from .network import IMAGENET_DEVIATION, Outputs, PanopticSegformer
from .targets import UNKNOWN, Batch, PictureTargets, point_labels


class Totals(NamedTuple):
    """What losses are divided by, of a whole batch: known from its points, and added up over processes."""

    pictures: Tensor
    things: Tensor
    stuff: Tensor  # classes of stuff in each picture
    classes: Tensor  # all of them
    labelled: Tensor  # (C,) cells of the finest map that have a label


class Criterion:
    """Weighs what the network says against points and pseudo-masks.

    Every loss is a part's contribution to that of a whole batch: over the parts that a batch is split into, by
    accumulation or over processes, losses and gradients add up to those of the whole.
    """

    def __init__(self, network: PanopticSegformer, config: Config) -> None:
        self.network, self.config, self.recipe = network, config, config.recipe
        self.matcher = DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)

    def totals(self, batch: Batch) -> Tensor:
        """(4 + C,) counts of a batch, to be added up and named by :class:`Totals`."""
        present = self._presence(batch)
        size = [-(-length // finest_stride(self.config.network)) for length in batch.inside.shape[1:]]
        labels = point_labels(batch, self.config.labels.window, size)
        labelled = labels.flatten().bincount(minlength=UNKNOWN + 1)[: present.shape[1]]
        things = sum(int(points.is_thing.sum()) for points in batch.points)
        counts = [len(present), things, int(present[:, self.network.things :].sum()), int(present.sum())]
        return torch.cat([torch.tensor(counts, device=labelled.device), labelled])

    def __call__(
        self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets], epoch: float, totals: Tensor
    ) -> dict[str, Tensor]:
        """The weighted losses by name; their sum is what to minimise."""
        total = Totals(*totals[:4].float().unbind(), totals[4:].float())
        # Without stuff in the batch, that none is there is not learnt either, as in the released code.
        per_thing, per_stuff = 1 / total.things.clamp(min=1), (total.stuff > 0) / total.stuff.clamp(min=1)
        per_picture = len(targets) / total.pictures  # of what is a mean over the pictures here
        values = {
            "semantic_class": _focal(outputs.semantic_class, self._presence(batch)) / total.classes.clamp(min=1),
            "partial": self._partial(outputs, batch, total),
            **_times(per_picture, self._affinity(outputs, batch)),
            **_times(per_thing, self.of_things(outputs, batch, targets)),
            **_times(per_stuff, self.of_stuff(outputs, batch, targets)),
            "manifold": per_picture * self._manifold(outputs, batch, targets),
            "boundary": per_picture * self._boundary(outputs, batch, targets),
        }
        weights, recipe, warmup = self.config.losses, self.recipe, self.config.optimiser.warmup_epochs
        growth = min(epoch / warmup, 1.0) if warmup else 1.0
        # Plain form of Eq. 8: L = L_full + L_sem + L_bou, the sum of what is returned here.
        ratio = total.things.clamp(min=1) / (total.things.clamp(min=1) + total.stuff)
        shares = dict.fromkeys(recipe.things, ratio) | dict.fromkeys(recipe.stuff, 1 - ratio) if weights.ratio else {}
        return {
            name: value * getattr(weights, name) * shares.get(name, 1.0) * (growth if name in recipe.ramp else 1.0)
            for name, value in values.items()
        }

    def _presence(self, batch: Batch) -> Tensor:
        """(B, C): 1 for the classes that have a point."""
        present = batch.pictures.new_zeros(len(batch.points), self.network.things + self.network.stuff)
        for row, points in zip(present, batch.points, strict=True):
            row[points.category.tolist()] = 1
        return present

    def _partial(self, outputs: Outputs, batch: Batch, total: Totals) -> Tensor:
        """First term of Eq. 5 on the semantic map of every layer."""
        size, seen = outputs.memory.shapes[0], total.labelled > 0
        cells = total.labelled * seen.sum() if self.config.optimiser.balanced else total.labelled.sum()
        mean = {"weight": seen / cells.clamp(min=1), "reduction": "sum", "valid": nearest(batch.inside, size)}
        labels = point_labels(batch, self.config.labels.window, size)
        return sum(partial_cross_entropy(scores, labels, **mean) for scores in outputs.semantic.float())

    def _affinity(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The other terms of Eq. 5: classes are alike where colours are, near by (LAB) and along the tree."""
        size, layers = outputs.memory.shapes[0], outputs.semantic.float()
        valid, picture = nearest(batch.inside, size), resize(batch.pictures, size)
        tree = minimum_spanning_tree(picture / picture.new_tensor(IMAGENET_DEVIATION)[:, None, None], valid=valid)
        how = {"labels": point_labels(batch, self.config.labels.window, size), **self.recipe.tree}
        return {
            "lab": sum(lab_affinity_loss(scores, picture, valid=valid) for scores in layers),
            "tree": sum(tree_affinity_loss(scores, tree, valid=valid, **how) for scores in layers),
        }

    def of_things(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> dict[str, Tensor]:
        """Sums over the pseudo-masks of things: class and box of every layer's match, masks of the last one's."""
        wanted = [{"class_labels": t.classes, "boxes": t.boxes} for t in targets]
        focal = l1 = giou = outputs.class_logits.sum() * 0
        for logits, boxes in zip(outputs.class_logits.float(), outputs.boxes.float(), strict=True):
            matches = self.matcher({"logits": logits, "pred_boxes": boxes}, wanted)
            classes = torch.zeros_like(logits)
            for image, (query, target) in enumerate(matches):
                classes[image, query, targets[image].classes[target]] = 1
                found, expected = boxes[image, query], targets[image].boxes[target]
                l1 = l1 + functional.l1_loss(found, expected, reduction="sum")
                overlap = generalized_box_iou(center_to_corners_format(found), center_to_corners_format(expected))
                giou = giou + (1 - overlap.diagonal()).sum()
            focal = focal + _focal(logits[None], classes)
        dice = self._thing_dice(outputs, batch, targets, matches)
        return {"location_class": focal, "location_l1": l1, "location_giou": giou, "thing_dice": dice}

    def _thing_dice(
        self,
        outputs: Outputs,
        batch: Batch,
        targets: Sequence[PictureTargets],
        matches: Sequence[tuple[Tensor, Tensor]],
    ) -> Tensor:
        # Every picture gets as many queries as the one with the most, at least one: the decoder always runs.
        most = max(1, *(len(query) for query, _ in matches))
        chosen = outputs.queries.new_zeros(len(matches), most, outputs.queries.shape[2])
        for image, (query, _) in enumerate(matches):
            chosen[image, : len(query)] = outputs.queries[image, query.to(chosen.device)]
        masks = self.network.thing_masks(chosen, outputs.memory)
        total = masks.sum() * 0
        for image, (query, target) in enumerate(matches):
            if len(query):
                found = masks[:, image, : len(query)]
                total = total + _dice(found, targets[image].masks[target], batch.inside[image])
        return total

    def of_stuff(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> dict[str, Tensor]:
        """Sums over the classes of stuff: masks of those present, and whether each is."""
        present = torch.zeros_like(outputs.stuff_logits[0])
        dice = outputs.stuff_masks.sum() * 0
        for image, given in enumerate(targets):
            present[image, given.stuff] = 1
            if len(given.stuff):
                dice = dice + _dice(outputs.stuff_masks[:, image, given.stuff], given.stuff_masks, batch.inside[image])
        return {"stuff_dice": dice, "stuff_class": _focal(outputs.stuff_logits, present)}

    def _manifold(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> Tensor:
        """Each point among the mean embeddings of the picture's things and of all stuff classes, present or not."""
        size, losses = outputs.memory.shapes[0], []
        for embeddings, points, given in zip(outputs.embeddings.float(), batch.points, targets, strict=True):
            things, channel = int(points.is_thing.sum()), points.category - self.network.things
            column = np.where(points.is_thing, points.is_thing.cumsum() - 1, things + channel)
            at = points.resize(tuple(given.instance.shape), size).points_yx
            arrays = np.append(column, -1), at, points.target  # what is nobody's, -1, takes the last column
            column, at, target = (torch.tensor(array, device=embeddings.device) for array in arrays)
            owner, count = nearest(column[given.instance][None], size)[0], max(1, things + self.network.stuff)
            losses.append(manifold_contrastive_loss(embeddings, owner, at, column[target], num_targets=count))
        return torch.stack(losses).mean()

    def _boundary(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> Tensor:
        """Eq. 6-7 at the size of the pictures."""
        scores = resize(outputs.boundary.float(), batch.inside.shape[1:])
        is_thing = torch.arange(self.network.things + self.network.stuff, device=scores.device) < self.network.things
        instance, semantic = (torch.stack([getattr(t, name) for t in targets]) for name in ("instance", "semantic"))
        return boundary_affinity_loss(scores, instance, semantic, is_thing, valid=batch.inside, **self.recipe.boundary)


def _times(factor: Tensor, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: factor * value for name, value in losses.items()}


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the sigmoid focal loss (alpha .25, gamma 2) over layers and entries."""
    pairs = logits.float().flatten()[:, None], target.expand_as(logits).flatten()[:, None]
    return sigmoid_focal_loss(*pairs, num_boxes=1)


def _dice(masks: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """Sum over layers and masks of 1 - 2 <m, t> / (<m, m> + <t, t> + 0.002), (L, T, h, w) against (T, H, W)."""
    full = resize(masks.float(), target.shape[1:]) * inside
    given = (target & inside).float()
    both = (full * given).sum((2, 3))
    return (1 - 2 * both / (full.square().sum((2, 3)) + given.sum((1, 2)) + 2e-3)).sum()
