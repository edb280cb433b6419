"""Panoptic segmentations at the size of the picture, from the network's outputs or from pseudo-masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from point2mask_ot import Category, PanopticImage, PseudoMasks
from point2mask_ot.panoptic import PanopticEvaluator

from .data import Sample
from .mask_decoder import nearest, resize
from .network import Outputs, PanopticSegformer
from .targets import Batch

MOST_THINGS = 100
MOST_COVERED = {True: 0.4, False: 0.2}
"""Part of a thing, and of stuff, that surer segments may cover; a segment covered more is left out."""
Size = tuple[int, int]


def predict(
    network: PanopticSegformer, batch: Batch, categories: Sequence[Category], sizes: Sequence[Size], threshold: float
) -> list[PanopticImage]:
    """Segment pictures, each at one of ``sizes``, without what is less sure than ``threshold``; points are not used."""
    with torch.no_grad():
        outputs = network(batch.pictures, batch.inside, label=False)
        found = zip(_candidates(network, outputs, batch, sizes), sizes, batch.image_ids, strict=True)
        return [_merge(candidates, categories, size, threshold, name) for candidates, size, name in found]


def _candidates(
    network: PanopticSegformer, outputs: Outputs, batch: Batch, sizes: Sequence[Size]
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
    candidates: tuple[Tensor, Tensor, Tensor], categories: Sequence[Category], size: Size, threshold: float,
    image_id: int | str,
) -> PanopticImage:  # fmt: skip
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


def as_panoptic(masks: PseudoMasks, sample: Sample, batch: Batch, categories: Sequence[Category]) -> PanopticImage:
    """Pseudo-masks of a batch's one picture as segments at the size of its sample."""
    height, width = batch.sizes[0]
    owner = nearest(masks.instance[None, :height, :width], sample.picture.shape[:2])[0].cpu().numpy()
    return PanopticImage.from_targets(owner, sample.points, categories, sample.image_id)


def semantic_classes(outputs: Outputs, sample: Sample, batch: Batch, categories: Sequence[Category]) -> PanopticImage:
    """The most probable class of each pixel, as segments: what mean IoU looks at."""
    height, width = batch.sizes[0]
    maps = resize(outputs.semantic[-1].float(), batch.inside.shape[1:])[..., :height, :width]
    classes = resize(maps, sample.picture.shape[:2])[0].argmax(0).cpu().numpy()
    masks = classes == np.arange(len(categories))[:, None, None]
    return PanopticImage.from_masks(
        masks, [c.id for c in categories], [c.is_thing for c in categories], sample.image_id
    )


def summary(evaluator: PanopticEvaluator) -> dict[str, float]:
    """PQ, SQ and RQ, PQ of things and of stuff, and mean IoU."""
    found = evaluator.quality
    parts = {"things": found.things.pq, "stuff": found.stuff.pq, "miou": evaluator.miou}
    return {"pq": found.pq, "sq": found.sq, "rq": found.rq, **parts}
