"""Panoptic segmentations, at the size of the picture, from the network's outputs or from pseudo-masks; scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple

import numpy as np
import torch
from torch import Tensor

from point2mask_ot import Category, PanopticImage, PseudoMasks, panoptic_quality
from point2mask_ot.panoptic import ClassQuality

from .network import Outputs, PanopticSegformer, nearest, resize
from .targets import Batch

MOST_THINGS = 100
MOST_COVERED = {True: 0.4, False: 0.2}
"""Part of a thing, and of stuff, that surer segments may cover; a segment covered more is left out."""


def predict(
    network: PanopticSegformer,
    batch: Batch,
    categories: Sequence[Category],
    sizes: Sequence[tuple[int, int]],
    threshold: float,
) -> list[PanopticImage]:
    """Segment pictures.

    Args:
        network: in evaluation mode.
        batch: its points are not looked at.
        categories: things first, by channel.
        sizes: (height, width) of the results.
        threshold: segments of a lower score are left out.
    """
    with torch.no_grad():
        outputs = network(batch.pictures, batch.inside, label=False)
        return [
            _merge(candidates, categories, size, threshold, image_id)
            for candidates, size, image_id in zip(
                _candidates(network, outputs, batch, sizes), sizes, batch.image_ids, strict=True
            )
        ]


def _candidates(
    network: PanopticSegformer, outputs: Outputs, batch: Batch, sizes: Sequence[tuple[int, int]]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Class channel (n,), score (n,) and mask (n, H, W) of each picture's best things and of all stuff."""
    scores = outputs.class_logits[-1].sigmoid().flatten(1)
    best = scores.topk(min(MOST_THINGS, scores.shape[1]), dim=1)
    query, channel = best.indices // network.things, best.indices % network.things
    chosen = outputs.queries.gather(1, query[..., None].expand(-1, -1, outputs.queries.shape[2]))
    things = network.thing_masks(chosen, outputs.memory)[-1]
    stuff_channel = torch.arange(network.stuff, device=channel.device) + network.things
    for index, (valid, size) in enumerate(zip(batch.sizes, sizes, strict=True)):
        small = torch.cat([things[index], outputs.stuff_masks[-1, index]])[None]
        masks = resize(resize(small.float(), batch.inside.shape[1:])[..., : valid[0], : valid[1]], size)[0]
        sure = torch.cat([best.values[index], outputs.stuff_logits[-1, index].sigmoid()])
        solid = masks > 0.5
        inner = (masks * solid).sum((1, 2)) / (solid.sum((1, 2)) + 1)
        yield torch.cat([channel[index], stuff_channel]), sure * inner**2, solid


def _merge(
    candidates: tuple[Tensor, Tensor, Tensor],
    categories: Sequence[Category],
    size: tuple[int, int],
    threshold: float,
    image_id: int | str,
) -> PanopticImage:
    """Paint the candidates, surest first, on the pixels that are still free."""
    channels, scores, masks = (values.cpu().numpy() for values in candidates)
    free, painted, chosen = np.ones(size, bool), [], []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < threshold:
            break
        category, mask = categories[channels[index]], masks[index]
        visible = mask & free
        if mask.any() and (mask & ~free).sum() <= MOST_COVERED[category.is_thing] * mask.sum():
            painted.append(visible)
            chosen.append(category)
            free &= ~visible
    masks = np.array(painted, bool).reshape(-1, *size)
    return PanopticImage.from_masks(masks, [c.id for c in chosen], [c.is_thing for c in chosen], image_id)


def as_panoptic(
    masks: PseudoMasks, categories: Sequence[Category], batch: Batch, index: int, size: tuple[int, int]
) -> PanopticImage:
    """Pseudo-masks of picture ``index`` as segments at ``size``: things by owner, stuff by class.

    Args:
        masks: of the padded picture.
        categories: things first, by channel.
        batch: that the picture is part of.
        index: of the picture.
        size: (height, width) of the result.
    """
    height, width = batch.sizes[index]
    points = batch.points[index]
    maps = torch.stack([masks.instance, masks.semantic.masked_fill(masks.void, -1)])[:, :height, :width]
    owner, channel = nearest(maps, size).cpu().numpy()
    things, stuff = np.flatnonzero(points.is_thing), np.unique(points.category[~points.is_thing])
    solid = np.concatenate([owner == things[:, None, None], channel == stuff[:, None, None]])
    chosen = [categories[c] for c in (*points.category[things], *stuff)]
    return PanopticImage.from_masks(solid, [c.id for c in chosen], [c.is_thing for c in chosen], batch.image_ids[index])


class Tally:
    """Panoptic quality of pictures that come one by one, in several processes.

    Attributes:
        counts: (C, 4) tp, fp, fn and sum of IoU of each category; those of several tallies may be added.
    """

    def __init__(self, categories: Sequence[Category], counts: np.ndarray | None = None) -> None:
        self.categories = categories
        self.counts = np.zeros((len(categories), 4)) if counts is None else counts

    def add(self, found: PanopticImage, truth: PanopticImage) -> None:
        """Count one picture."""
        per_class = panoptic_quality([found], [truth], self.categories).per_class
        self.counts += [astuple(per_class[category.id]) for category in self.categories]

    def scores(self) -> dict[str, dict[str, float]]:
        """PQ, SQ, RQ of all, things and stuff: means over the categories that occur, and how many those are."""
        seen = [
            (c.is_thing, ClassQuality(*row)) for c, row in zip(self.categories, self.counts, strict=True) if row.any()
        ]
        kinds = {"all": (True, False), "things": (True,), "stuff": (False,)}
        chosen = {name: [quality for thing, quality in seen if thing in kind] for name, kind in kinds.items()}
        return {
            name: {key: sum(getattr(q, key) for q in of) / max(len(of), 1) for key in ("pq", "sq", "rq")}
            | {"count": len(of)}
            for name, of in chosen.items()
        }
