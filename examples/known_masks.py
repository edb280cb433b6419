"""Pictures whose masks are known: points drawn from them, labels from one each, and scores, for learn_distances.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

import point2mask_ot as p2m
from point2mask_ot.viz import draw_points, heat_map, overlay_masks

SIDE = {"photographs": 200, "nuclei": 256}  # of the pictures, as in benchmarks/quality
SMALLEST, RESAMPLES = 10, 2000
Costs = Callable[[Tensor], tuple[list[p2m.MapTerm], float]]
"""From a picture to what edges cost, and the power of their sum."""


class Scene(NamedTuple):
    """A picture (3, H, W), the target of each pixel (-1: background), the class of each target."""

    picture: Tensor
    truth: np.ndarray
    category: np.ndarray


def scenes(data: Path, kind: str, split: str, limit: int | None) -> Iterator[Scene]:
    if kind == "photographs":
        dataset = p2m.read_voc(data / "voc_layout/VOCdevkit/VOC2012", split)
    else:
        masks = data / f"coco_panoptic_layout/annotations/panoptic_{split}"
        dataset = p2m.read_coco_panoptic(masks.with_suffix(".json"), masks, data / "coco_panoptic_layout" / split)
    for index, image in enumerate(islice(dataset, limit)):
        size = [max(1, round(n * min(1, SIDE[kind] / max(image.size)))) for n in image.size]
        pixels = torch.tensor(dataset.picture(index)).permute(2, 0, 1)[None] / 255
        picture = functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0].clamp(0, 1)
        rows, columns = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(size, image.size, strict=True))
        ids = image.id_map[np.ix_(rows, columns)]
        things = [s for s in image.segments if s.is_thing and not s.is_crowd and (ids == s.id).sum() >= SMALLEST]
        truth = np.full(ids.shape, -1)
        for k, segment in enumerate(things):
            truth[ids == segment.id] = k
        if things:
            yield Scene(picture, truth, np.array([s.category_id for s in things]))


def click(truth: np.ndarray, number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) random pixels of each target and of the background, and (N,) whose they are, -1 for the background."""
    pixels = [random.permutation(np.argwhere(truth == k))[:number] for k in range(-1, truth.max() + 1)]
    return np.concatenate(pixels), np.repeat(np.arange(-1, len(pixels) - 1), [len(own) for own in pixels])


def as_targets(points: np.ndarray, owner: np.ndarray) -> p2m.PointTargets:
    """The background, if there, comes first, and is stuff."""
    who, target = np.unique(owner, return_inverse=True)
    return p2m.PointTargets(points, target, (who < 0).astype(int), who >= 0)


def groups(scene: Scene) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Boxes around touching things of one class, and the truth in them, where all that is not of the group is -1."""
    classes = np.where(scene.truth < 0, -1, np.append(scene.category, -1)[scene.truth])
    for category in np.unique(scene.category):
        parts, number = ndimage.label(classes == category, structure=np.ones((3, 3)))
        for part in range(1, number + 1):
            members, sizes = np.unique(scene.truth[parts == part], return_counts=True)
            members = members[sizes >= SMALLEST]
            if len(members) > 1:
                inside = (parts == part) & np.isin(scene.truth, members)
                box = ndimage.find_objects(inside.astype(int))[0]
                yield box, np.where(inside, np.searchsorted(members, scene.truth), -1)[box]


def ious(labels: np.ndarray, truth: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """(K,), of what is inside."""
    labels = labels if inside is None else np.where(inside, labels, -1)
    pairs = [(labels == k, truth == k) for k in range(truth.max() + 1)]
    return np.array([(own & its).sum() / (own | its).sum() for own, its in pairs])


def label(terms: list[p2m.MapTerm], targets: p2m.PointTargets, inside: np.ndarray | None, power: float) -> np.ndarray:
    """(H, W) targets by preset best, in what is ``inside`` alone where that is known."""
    if inside is not None and not inside.all():
        terms = [*terms, p2m.MapTerm(torch.from_numpy(inside[None]).float(), kind=wall)]
    masker = p2m.PseudoMasker(stuff="supply", edge_power=power)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a union that fills its box, and of islands without a point
        return masker(None, None, targets, terms=terms).instance.numpy()


def wall(here: Tensor, there: Tensor) -> Tensor:
    return torch.where((here != there)[:, 0], torch.inf, 0.0)


class Comparison(NamedTuple):
    """IoU of each thing, and its picture, in the order of the models; panels of two pictures."""

    ious: dict[str, dict[str, np.ndarray]]
    picture: dict[str, np.ndarray]
    panels: list[np.ndarray]


@torch.no_grad()
def compare(models: dict[str, Costs], pictures: list[Scene], random: np.random.Generator) -> Comparison:
    """Models of edge costs on the same points, one a target: given the union of what touches, and points alone."""
    found: dict[str, dict[str, list[np.ndarray]]] = {each: {n: [] for n in models} for each in ("union", "points")}
    whose: dict[str, list[np.ndarray]] = {each: [] for each in found}
    panels = []
    for index, scene in enumerate(pictures):
        known = {name: costs(scene.picture) for name, costs in models.items()}
        union = [(*group, 0) for group in groups(scene)]
        for box, truth, least in [*union, ((slice(None), slice(None)), scene.truth, -1)]:
            points, owner = click(truth, 1, random)
            targets = as_targets(points[owner >= least], owner[owner >= least])
            protocol, inside = ("points", None) if least else ("union", truth >= 0)
            row = [draw_points(scene.picture, targets)]
            for name, (terms, power) in known.items():
                cut = [p2m.MapTerm(term.map[:, *box], kind=term.kind) for term in terms]
                labels = label(cut, targets, inside, power) + min(0, owner[owner >= least].min())
                found[protocol][name].append(ious(labels, truth, inside))
                if least and len(panels) < 2:
                    if name != "best":
                        edges = p2m.edge_costs(terms=terms)[::2].amax(0).nan_to_num(posinf=0)
                        row.append(heat_map(edges.numpy()))
                    row.append(overlay_masks(scene.picture, labels == np.arange(truth.max() + 1)[:, None, None]))
            whose[protocol].append(np.full(truth.max() + 1, index))
            if least and len(panels) < 2 and truth.max() > 1:
                panels.append(np.concatenate(row, 1))
    joined = {each: {n: np.concatenate([*own, []]) for n, own in by.items()} for each, by in found.items()}
    return Comparison(joined, {each: np.concatenate([*own, []]).astype(int) for each, own in whose.items()}, panels)


def interval(values: np.ndarray, picture: np.ndarray) -> tuple[float, float]:
    """95 % of the mean, by drawing pictures anew, with all that is in them."""
    sums, counts = np.bincount(picture, weights=values), np.bincount(picture)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / np.maximum(counts[drawn].sum(1), 1), [0.025, 0.975])
    return float(low), float(high)


def summary(found: list[Comparison]) -> list[dict[str, Any]]:
    """Mean IoU of both, over all seeds, and the gain; printed, too."""
    rows = []
    for protocol in found[0].ious:
        picture = np.concatenate([each.picture[protocol] for each in found])
        before, after = (np.concatenate([each.ious[protocol][n] for each in found]) for n in ("best", "learned"))
        if len(picture):
            gain, (low, high) = float((after - before).mean()), interval(after - before, picture)
            means = {"best": float(before.mean()), "learned": float(after.mean())}
            told = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            print(f"{protocol}: {told}, {gain:+.3f} [{low:+.3f}, {high:+.3f}]", flush=True)
            row = {"protocol": protocol, "instances": len(picture) // len(found), **means}
            rows.append({**row, "gain": gain, "gain_interval": [low, high]})
    return rows


def sheet(panels: list[np.ndarray]) -> Image.Image:
    """One below the other."""
    width = max(own.shape[1] for own in panels)
    rows = [np.pad(own, ((0, 4), (0, width - own.shape[1]), (0, 0)), constant_values=255) for own in panels]
    return Image.fromarray(np.concatenate(rows))
