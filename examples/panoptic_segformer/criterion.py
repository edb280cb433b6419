"""The losses, their normalisers and their sum; every one on valid pixels only. Not to be run in autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

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

from .config import Config
from .network import IMAGENET_DEVIATION, Outputs, PanopticSegformer, nearest, resize
from .targets import UNKNOWN, Batch, PictureTargets, point_labels

SEMANTIC = {"semantic_class", "partial", "lab", "tree"}
ON_THINGS = {"location_class", "location_l1", "location_giou", "thing_dice"}
ON_STUFF = {"stuff_dice", "stuff_class"}


class Rules(NamedTuple):
    """Names of the losses that are weighed beside their weights of :class:`.config.Losses`.

    Attributes:
        things: by r, the part of things among the segments of the batch.
        stuff: by 1 - r.
        ramp: by what grows from 0 to 1 over the warm-up.
    """

    things: set[str]
    stuff: set[str]
    ramp: set[str]


# What trusts pseudo-masks grows; the semantic and manifold losses look at the points.
RULES = Rules(ON_THINGS, ON_STUFF, ON_THINGS | ON_STUFF | {"boundary"})
# The released code tells losses apart by pieces of their names, which also hits others: r weighs semantic losses, the
# warm-up takes in the tree loss and leaves out the class of the location decoder.
OFFICIAL_RULES = Rules(ON_THINGS | SEMANTIC, ON_STUFF, RULES.ramp - {"location_class"} | {"tree"})


class Criterion:
    """Weighs what the network says against points and pseudo-masks.

    Args:
        network: decodes the masks of matched queries.
        config: weights and warm-up, the latter in steps; with the preset ``official`` the options of the losses, and
            what is weighed by r and warmed up, are those of the released code.
        total: sums a tensor over the processes.
        processes: how many there are. Gradients are averaged over them, so sums are multiplied by their number.
    """

    def __init__(
        self,
        network: PanopticSegformer,
        config: Config,
        *,
        total: Callable[[Tensor], Tensor] = lambda counts: counts,
        processes: int = 1,
    ) -> None:
        self.network, self.config = network, config
        self.total, self.processes = total, processes
        official = config.labels.preset == "official"
        self.rules = OFFICIAL_RULES if official else RULES
        if config.optimiser.ramp_affinity:
            self.rules = self.rules._replace(ramp=self.rules.ramp | {"lab", "tree"})
        self.boundary_options = {"scale": 0.5, "border": "zero", "eps": 1e-5} if official else {}
        self.tree_options = {"norm": "unlabelled"} if official else {}
        self.matcher = DeformableDetrHungarianMatcher(class_cost=2, bbox_cost=5, giou_cost=2)

    def __call__(
        self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets], step: int
    ) -> dict[str, Tensor]:
        """The weighted losses by name; their sum is what to minimise."""
        device = batch.pictures.device
        present = self._presence(batch).to(device)
        labels = point_labels(batch, self.config.labels.window, outputs.memory.shapes[0])
        labelled = labels.flatten().bincount(minlength=UNKNOWN + 1)[: present.shape[1]]
        # Counted over all processes, so that the same global batch gives the same losses however it is split.
        segments = [sum(len(t.classes) for t in targets), sum(len(t.stuff) for t in targets)]
        counts = torch.cat([present.sum()[None], torch.tensor(segments, device=device), labelled])
        total = self.total(counts).float()
        classes, things, stuff = total[:3].clamp(min=1) / self.processes
        any_stuff = total[2] > 0
        values = {
            "semantic_class": _focal(outputs.semantic_class, present) / classes,
            **self._semantic(outputs, batch, labels, labelled, total[3:] / self.processes),
            **{name: value / things for name, value in self.of_things(outputs, batch, targets).items()},
            **{name: value * any_stuff / stuff for name, value in self.of_stuff(outputs, batch, targets).items()},
            "manifold": self._manifold(outputs, batch, targets),
            "boundary": self._boundary(outputs, batch, targets),
        }
        weights, rules, warmup = self.config.losses, self.rules, self.config.optimiser.warmup_steps
        growth = min(step / warmup, 1.0) if warmup else 1.0
        # Plain form of Eq. 8: L = L_full + L_sem + L_bou, the sum of what is returned here.
        ratio = things / (things + stuff * any_stuff)
        shares = dict.fromkeys(rules.things, ratio) | dict.fromkeys(rules.stuff, 1 - ratio) if weights.ratio else {}
        return {
            name: value * getattr(weights, name) * shares.get(name, 1.0) * (growth if name in rules.ramp else 1.0)
            for name, value in values.items()
        }

    def _presence(self, batch: Batch) -> Tensor:
        """(B, C): 1 for the classes that have a point."""
        present = torch.zeros(len(batch.points), self.network.things + self.network.stuff)
        for row, points in zip(present, batch.points, strict=True):
            row[points.category.tolist()] = 1
        return present

    def _semantic(
        self, outputs: Outputs, batch: Batch, labels: Tensor, here: Tensor, everywhere: Tensor
    ) -> dict[str, Tensor]:
        """Eq. 5 on the semantic map of every layer, with (C,) labelled pixels here and in the mean over processes."""
        size = outputs.memory.shapes[0]
        valid = nearest(batch.inside, size)
        picture = resize(batch.pictures, size)
        tree = minimum_spanning_tree(picture / picture.new_tensor(IMAGENET_DEVIATION)[:, None, None], valid=valid)
        layers = outputs.semantic.float()
        known = {"labels": labels, "valid": valid}
        parts = [(labels, here.sum() / everywhere.sum().clamp(min=1e-6))]
        if self.config.optimiser.balanced:
            seen = everywhere.nonzero()[:, 0].tolist()
            parts = [(labels.where(labels == c, UNKNOWN), here[c] / everywhere[c] / len(seen)) for c in seen]
        return {
            "partial": outputs.semantic.sum() * 0
            + sum(
                partial_cross_entropy(scores, part, valid=valid) * share for part, share in parts for scores in layers
            ),
            "lab": sum(lab_affinity_loss(scores, picture, valid=valid) for scores in layers),
            "tree": sum(tree_affinity_loss(scores, tree, **known, **self.tree_options) for scores in layers),
        }

    def of_things(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> dict[str, Tensor]:
        """Sums over the pseudo-masks of things: class and box of every layer's match, masks of the last one's."""
        wanted = [{"class_labels": t.classes, "boxes": t.boxes} for t in targets]
        true_boxes = torch.cat([t.boxes for t in targets])
        focal = l1 = giou = outputs.class_logits.sum() * 0
        for logits, boxes in zip(outputs.class_logits.float(), outputs.boxes.float(), strict=True):
            matches = self.matcher({"logits": logits, "pred_boxes": boxes}, wanted)
            image, query, target = _flat(matches, [len(t.classes) for t in targets])
            classes = torch.zeros_like(logits)
            classes[image, query, torch.cat([t.classes for t in targets])[target]] = 1
            focal = focal + _focal(logits[None], classes)
            found, expected = boxes[image, query], true_boxes[target]
            l1 = l1 + functional.l1_loss(found, expected, reduction="sum")
            overlap = generalized_box_iou(center_to_corners_format(found), center_to_corners_format(expected))
            giou = giou + (1 - overlap.diagonal()).sum()
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
        present = torch.zeros_like(outputs.stuff_logits[0])
        dice = outputs.stuff_masks.sum() * 0
        for image, given in enumerate(targets):
            present[image, given.stuff] = 1
            if len(given.stuff):
                dice = dice + _dice(outputs.stuff_masks[:, image, given.stuff], given.stuff_masks, batch.inside[image])
        return {"stuff_dice": dice, "stuff_class": _focal(outputs.stuff_logits, present)}

    def _manifold(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> Tensor:
        """Each point among the mean embeddings of the picture's things and of all stuff classes."""
        size, stuff = outputs.memory.shapes[0], self.network.stuff
        losses = []
        for image, (points, given) in enumerate(zip(batch.points, targets, strict=True)):
            is_thing = torch.from_numpy(points.is_thing.copy())
            count = int(is_thing.sum())
            stuff_channel = torch.from_numpy(points.category - self.network.things) + count
            column = torch.where(is_thing, is_thing.cumsum(0) - 1, stuff_channel).to(given.instance.device)
            # Stuff owns its class's pixels, present or not; things own what the transport gave them.
            of_stuff = (given.semantic >= self.network.things) & (given.semantic != UNKNOWN)
            owner = torch.where(of_stuff, given.semantic - self.network.things + count, -1)
            if len(column):
                of_thing = (given.instance >= 0) & is_thing.to(column.device)[given.instance]
                owner = torch.where(of_thing, column[given.instance], owner)
            owner = nearest(owner[None], size)[0]
            scale = torch.tensor([length / full for length, full in zip(size, batch.inside.shape[1:], strict=True)])
            at = ((torch.from_numpy(points.points_yx.copy()) + 0.5) * scale).floor().to(column.device)
            losses.append(
                manifold_contrastive_loss(
                    outputs.embeddings[image].float(), owner, at.long(), column[torch.from_numpy(points.target.copy())],
                    num_targets=max(1, count + stuff),
                )
            )  # fmt: skip
        return torch.stack(losses).mean()

    def _boundary(self, outputs: Outputs, batch: Batch, targets: Sequence[PictureTargets]) -> Tensor:
        """Eq. 6-7 at the size of the pictures."""
        size = batch.inside.shape[1:]
        scores = resize(outputs.boundary.float(), size)
        is_thing = torch.arange(self.network.things + self.network.stuff, device=scores.device) < self.network.things
        return boundary_affinity_loss(
            scores,
            torch.stack([t.instance for t in targets]),
            torch.stack([t.semantic for t in targets]),
            is_thing,
            valid=batch.inside,
            **self.boundary_options,
        )


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


def _flat(matches: Sequence[tuple[Tensor, Tensor]], sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Image, query and target of all matched pairs, targets numbered through the batch."""
    image = torch.cat([torch.full_like(query, index) for index, (query, _) in enumerate(matches)])
    before = [sum(sizes[:index]) for index in range(len(sizes))]
    target = torch.cat([target + start for (_, target), start in zip(matches, before, strict=True)])
    return image, torch.cat([query for query, _ in matches]), target
