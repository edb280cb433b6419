"""Learn a semantic map of photographs from their points, in minutes on one core, and label them with it.

    python examples/learn_maps.py --images photos/ --points points.json --out maps.pt
    PYTHONPATH=examples point2mask label-dataset --images photos/ --points points.json --out labels \\
        --maps learn_maps:LearnedMaps:maps.pt --add-colors

What it learns is background, from the points of stuff, and rough regions of photographs, in cells 1/64 of a picture
wide. It does not part objects that touch, and it is not for microscopy: on nuclei colours alone do better.

EfficientNet-Lite0 with ImageNet's weights looks at each picture and its mirror image once. Its last stage and a head
are trained, from points and from colours, which spread them (Eq. 5), then also from what Algorithm 1 makes of the maps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import tyro
from efficientnet import EfficientNetLite
from torch import Tensor, nn
from torch.nn import functional

import point2mask_ot as p2m
from point2mask_ot.panoptic import LabelledPoints, read_point_set

WIDTH, BATCH = 64, 4
PRESENCE_WEIGHT, LABEL_WEIGHT = 0.1, 0.5
RAMP = (1, 4)  # epochs between which the affinity losses grow: at once, they would make each picture one class
POINT_RADIUS = 4  # pixels that are sure around a point, where pictures are relabelled: at half the size


class Network(nn.Module):
    """EfficientNet-Lite0 as far as stride 16, and a head at stride 8."""

    def __init__(self, categories: tuple[p2m.Category, ...], *, pretrained: bool) -> None:
        super().__init__()
        body = EfficientNetLite(pretrained).body
        self.fine = nn.Sequential(body._conv_stem, body._bn0, body._swish, *body._blocks[:5]).requires_grad_(False)
        self.coarse = nn.Sequential(*body._blocks[5:8]).requires_grad_(False)
        self.last = nn.Sequential(*body._blocks[8:11])
        self.from_fine, self.from_coarse = nn.Conv2d(40, WIDTH, 1), nn.Conv2d(112, WIDTH, 1)
        self.norm, self.mix = nn.GroupNorm(8, WIDTH), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.score = nn.Conv2d(WIDTH, len(categories) + 1, 1)
        self.things = sum(category.is_thing for category in categories)
        self.eval()  # also in training: ImageNet's statistics are better than those of one picture

    @torch.no_grad()
    def look(self, picture: np.ndarray, side: int) -> tuple[Tensor, Tensor]:
        """What is not trained, of (H, W, 3) uint8: maps of strides 8 and 16, (40, h, w) and (80, h/2, w/2)."""
        size = [16 * max(1, round(length * side / max(picture.shape) / 16)) for length in picture.shape[:2]]
        fine = self.fine((255 * resized(picture, size) - 127) / 128)
        return fine[0], self.coarse(fine)[0]

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(C, h, w) scores at stride 8; the last of the layer, of being a thing at all, is part of every thing's."""
        deep = resized(self.from_coarse(self.last(coarse[None].float())), fine.shape[1:])
        values = self.norm(self.from_fine(fine[None].float()) + deep).relu()
        scores = self.score(values + self.mix(values).relu())[0]
        return torch.cat([scores[: self.things] + scores[-1:], scores[self.things : -1]])

    @torch.no_grad()
    def probabilities(self, seen: tuple[Tensor, ...], size: tuple[int, ...], targets: p2m.PointTargets) -> Tensor:
        """(C, H, W) class probabilities, where all classes that are there have a point."""
        scores, present = resized(self(*seen)[None], size)[0], torch.from_numpy(np.unique(targets.category))
        return torch.zeros_like(scores).index_copy(0, present, scores[present].softmax(0))


class View:
    """What is learnt from of a picture or its mirror image, in cells of stride 8; labels come later."""

    def __init__(self, network: Network, picture: np.ndarray, targets: p2m.PointTargets, side: int) -> None:
        self.seen = tuple(maps.half() for maps in network.look(picture, side))
        size = tuple(self.seen[0].shape[1:])
        self.cells = torch.from_numpy(targets.resize(picture.shape[:2], size).points_yx.round().astype(int).T)
        self.classes = torch.from_numpy(targets.category[targets.target])
        self.colours = resized(picture, size)[0]
        self.labels: Tensor | None = None  # and confidence, (2, h, w)

    def loss(self, network: Network, affinity: float) -> Tensor:
        """The points, things and stuff half each, told from the classes that are there; that these are there; Eq. 5's
        affinities; labels, if any.
        """
        scores = network(*self.seen)
        there, rank = self.classes.unique(return_inverse=True)
        present = scores[there]
        surprise = functional.cross_entropy(present[:, *self.cells].T, rank, reduction="none")
        is_thing = self.classes < network.things
        loss = torch.stack([surprise[kind].mean() for kind in (is_thing, ~is_thing) if kind.any()]).mean()
        loss = loss + PRESENCE_WEIGHT * (scores.logsumexp(0) - present.logsumexp(0)).mean()
        if affinity:
            spread = p2m.lab_affinity_loss(present, self.colours) + p2m.tree_affinity_loss(present, self.colours)
            loss = loss + affinity * spread
        if self.labels is not None:
            rank = torch.searchsorted(there, self.labels[0].long()).clamp(max=len(there) - 1)  # any class in void
            surprise = functional.cross_entropy(present[None], rank[None], reduction="none")[0]
            loss = loss + LABEL_WEIGHT * (self.labels[1] * surprise).mean()
        return loss


def train(network: Network, pairs: list[list[View]], epochs: int, rate: float, *, ramp: bool) -> None:
    parts = network.last, network.from_fine, network.from_coarse, network.norm, network.mix, network.score
    rates = dict.fromkeys(parts, rate) | {network.last: rate / 10}
    optimizer = torch.optim.AdamW([{"params": part.parameters(), "lr": lr} for part, lr in rates.items()])
    for epoch in range(epochs):
        total = 0.0
        for step, batch in enumerate(torch.randperm(len(pairs)).split(BATCH)):
            affinity = float(np.interp(epoch + step * BATCH / len(pairs), RAMP, (0, 1))) if ramp else 1.0
            for index in batch.tolist():  # sizes differ, so that one comes after the other; their gradients add up
                loss = pairs[index][int(torch.randint(2, ()))].loss(network, affinity) / len(batch)
                loss.backward()
                total += loss.item() * len(batch)
            optimizer.step()
            optimizer.zero_grad()
        print(f"epoch {epoch + 1}: loss {total / len(pairs):.3f}", flush=True)


def relabel(network: Network, pair: list[View], picture: np.ndarray, targets: p2m.PointTargets, side: int) -> None:
    """Give both views the labels that Algorithm 1 makes of the map learnt so far and of colours."""
    size = tuple(max(1, round(length * side / 2 / max(picture.shape))) for length in picture.shape[:2])
    small, points = resized(picture, size)[0], targets.resize(picture.shape[:2], size)
    classes = network.probabilities(pair[0].seen, size, targets)
    made = p2m.label_picture(small, points, semantic=classes, point_radius=POINT_RADIUS, on_conflict="first")
    both = torch.stack([made.semantic.float(), made.confidence])[None]  # the confidence of void is 0
    labels = functional.interpolate(both, pair[0].seen[0].shape[1:], mode="nearest-exact")[0]
    pair[0].labels, pair[1].labels = labels, labels.flip(-1)


def learn(
    images: Path, points: Path, out: Path, *, side: int = 512, epochs: tuple[int, int] = (8, 5), seed: int = 0,
    random: bool = False,
) -> None:  # fmt: skip
    """Learn a semantic map of photographs from points: background and rough regions, not nuclei.

    Args:
        images: folder of the pictures.
        points: JSON file of their points, as `point2mask prepare points` writes it.
        out: file for the weights, which `--maps learn_maps:LearnedMaps:OUT` takes.
        side: longer side of a picture, as the network sees it.
        epochs: times through the pictures, from points alone and then from labels, too.
        seed: of weights and order.
        random: start from random weights in place of ImageNet's, for tests.
    """
    known = read_point_set(points)
    given = [entry for entry in known.pictures if entry.targets.num_targets]
    if not given:
        raise ValueError(f"got no points in {points}; expected those of at least one picture")
    print(f"{len(given)} pictures with points, {len(known.pictures) - len(given)} without, which are left out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(known.categories, pretrained=not random)
        pairs = []
        for entry in given:
            picture, targets = p2m.read_picture(images / entry.file_name), entry.targets
            mirrored = picture[:, ::-1].copy(), targets.flip(picture.shape[:2])
            pairs.append([View(network, picture, targets, side), View(network, *mirrored, side)])
        train(network, pairs, epochs[0], 2e-3, ramp=True)
        for entry, pair in zip(given, pairs, strict=True):
            relabel(network, pair, p2m.read_picture(images / entry.file_name), entry.targets, side)
        train(network, pairs, epochs[1], 1e-3, ramp=False)
    categories = [(category.id, category.name, category.is_thing) for category in known.categories]
    torch.save({"network": network.state_dict(), "categories": categories, "side": side}, out)
    print(f"wrote {out}")


class LearnedMaps:
    """``--maps learn_maps:LearnedMaps:FILE``: from an (H, W, 3) uint8 picture to ``semantic`` (C, H, W)."""

    def __init__(self, file: str) -> None:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        self.categories = tuple(p2m.Category(*category) for category in saved["categories"])  # those of the channels
        self.network, self.side = Network(self.categories, pretrained=False), saved["side"]
        self.network.load_state_dict(saved["network"])

    def __call__(self, picture: np.ndarray, points: LabelledPoints) -> dict[str, Tensor]:
        seen = self.network.look(picture, self.side)
        return {"semantic": self.network.probabilities(seen, picture.shape[:2], points.targets)}


def resized(maps: Tensor | np.ndarray, size: tuple[int, ...] | list[int]) -> Tensor:
    """(B, C, H, W) maps, or an (H, W, 3) uint8 picture as such a map in [0, 1]."""
    if isinstance(maps, np.ndarray):
        maps = torch.from_numpy(maps).permute(2, 0, 1)[None] / 255
    return functional.interpolate(maps, tuple(size), mode="bilinear", antialias=True)


if __name__ == "__main__":
    try:
        tyro.cli(learn)
    except (ImportError, ValueError) as error:
        raise SystemExit(f"learn_maps: {error}") from error
