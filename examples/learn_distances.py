"""Learn a distance between pixels from ten points a target, and label other pictures from one point with it.

    python examples/learn_distances.py --data ../shared/data --kind nuclei --learn features --out learned

The loss is -log of the share of a label's pixel that the transport gives to its target, once from random walks among
the things and once from paths with the background. Learned are the numbers of the metric, or these and a small network.
Masks of `train` are looked at to draw points, those of `val` also to score. benchmarks/README.md has what came of it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from known_masks import Scene, as_targets, click, compare, scenes, sheet, summary
from torch import Tensor, nn

import point2mask_ot as p2m

CROP, BATCH, POINTS = 128, 4, 10
SOFTNESS, DOUBT = 5.0, 0.02  # counts are not to be believed while costs are learned, and labels may be wrong


class Metric(nn.Module):
    """Weights of L, a and b at two smoothings, of their gradient and of a step, and the power; first those of best."""

    def __init__(self) -> None:
        super().__init__()
        self.log_colours = nn.Parameter(torch.tensor([1.0] * 3 + [0.05] * 3).log().view(6, 1, 1))
        self.log_gradient, self.log_step = (nn.Parameter(torch.tensor(w).log()) for w in (0.1, 1e-3))
        self.power, self.log_heat = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.zeros(2))

    def steps(self, seen: Tensor) -> Tensor:
        """(1, H, W), of what :func:`look` sees."""
        return seen[6:] * self.log_gradient.exp() + self.log_step.exp()

    def terms(self, seen: Tensor) -> list[p2m.MapTerm]:
        return [p2m.MapTerm(seen[:6] * self.log_colours.exp()), p2m.MapTerm(self.steps(seen), kind="max")]

    def costs(self, picture: Tensor) -> tuple[list[p2m.MapTerm], float]:
        return self.terms(look(picture)), self.power.item()

    def numbers(self) -> dict[str, Any]:
        """Those that have a name."""
        own = {n: v.detach() for n, v in self.named_parameters() if "network" not in n}
        return {n.removeprefix("log_"): (v.exp() if "log_" in n else v).flatten().tolist() for n, v in own.items()}


class Boundary(Metric):
    """The same, and what three layers of convolutions, 17 pixels wide, see as a boundary."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        wide = [{"padding": d, "dilation": d, "padding_mode": "replicate"} for d in (1, 2, 4)]
        convolutions = [nn.Conv2d(old, width, 3, **how) for old, how in zip((4, width, width), wide, strict=True)]
        layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
        self.network = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))
        nn.init.constant_(self.network[-1].bias, -4)  # almost none at first
        self.log_weight = nn.Parameter(torch.tensor(0.3).log())

    def found(self, seen: Tensor) -> Tensor:
        lab = seen[:3] - seen[:3].mean((1, 2), keepdim=True)
        return self.network(5 * torch.cat([lab, seen[6:]])[None])[0].sigmoid()

    def steps(self, seen: Tensor) -> Tensor:
        return super().steps(seen) + self.log_weight.exp() * self.found(seen)


class Features(Boundary):
    """No boundary but maps that differ between things and what is around them: an outline costs once, and is thin."""

    def __init__(self) -> None:
        super().__init__()
        self.network[-1] = nn.Conv2d(16, 4, 1)
        self.log_weight.data -= 2

    def terms(self, seen: Tensor) -> list[p2m.MapTerm]:
        found = torch.cat([seen[:6] * self.log_colours.exp(), self.log_weight.exp() * self.found(seen)])
        return [p2m.MapTerm(found), p2m.MapTerm(Metric.steps(self, seen), kind="max")]


MODELS = {"metric": Metric, "boundary": Boundary, "features": Features}


def best(picture: Tensor) -> tuple[list[p2m.MapTerm], float]:
    """What edges cost by the preset, on colours."""
    boundary = 0.1 * p2m.lab_gradient(picture) + 1e-3
    return [p2m.MapTerm(p2m.smooth_lab(picture)), p2m.MapTerm(boundary, kind="max")], 2.0


def look(picture: Tensor) -> Tensor:
    """(7, H, W): CIELAB smoothed little and more, and its gradient."""
    return torch.cat([p2m.smooth_lab(picture), p2m.smooth_lab(picture, 2.5), p2m.lab_gradient(picture)])


def surprise(model: Metric, seen: Tensor, points: np.ndarray, owner: np.ndarray, sources: int) -> list[Tensor]:
    """-log of the shares of labels: among things alone by walks, and of things and background by paths."""
    losses = []
    place = np.array([(owner[:i] == own).sum() for i, own in enumerate(owner)])  # in its target
    for least in (0, -1):
        at, who, rank = (each[owner >= least] for each in (points, owner, place))
        start, label = rank < sources, (rank >= sources) & np.isin(who, who[rank < sources])
        if len(np.unique(who[start])) < 2 or not label.any():
            continue
        targets, right = as_targets(at[start], who[start]), np.searchsorted(np.unique(who[start]), who[label])
        edges = p2m.edge_costs(terms=model.terms(seen))
        outside = edges == torch.inf  # whose power has no gradient
        edges = edges.masked_fill(outside, 1).pow(model.power).masked_fill(outside, torch.inf)
        M = (p2m.geodesic_distances if least else p2m.random_walk_costs)(edges, targets).flatten(1)
        M = model.log_heat[-least].exp() * (M * 30 / M.amax(0).median() if least else M)
        counts = torch.bincount(M.detach().argmin(0), minlength=len(M)).clamp(min=1)
        plan = p2m.solve(counts, torch.ones(M.shape[1]), M, reg=1, tau=SOFTNESS, tol=1e-5, normalize=True)
        if plan.converged:
            pixels = torch.from_numpy(at[label] @ (seen.shape[2], 1))
            lost = -torch.log((1 - DOUBT) * plan.log_share(pixels, torch.from_numpy(right)).exp() + DOUBT)
            thing = torch.from_numpy(who[label] >= 0)
            losses.append(torch.stack([lost[kind].mean() for kind in (thing, ~thing) if kind.any()]).mean())
    return losses


def train(model: Metric, pictures: list[Scene], epochs: int, sources: int, random: np.random.Generator) -> None:
    clicks = [click(scene.truth, POINTS, random) for scene in pictures]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    steps = epochs * len(pictures)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, max(1, steps // BATCH))
    for epoch in range(epochs):
        heard: list[float] = []
        for count, index in enumerate(random.permutation(len(pictures)), 1 + epoch * len(pictures)):
            picture, (points, owner) = pictures[index].picture, clicks[index]
            corner = [random.integers(max(1, n - CROP + 1)) for n in picture.shape[1:]] if len(points) > 200 else (0, 0)
            side = CROP if len(points) > 200 else max(picture.shape)
            inside = np.flatnonzero(((points >= corner) & (points < np.add(corner, side))).all(1))
            inside = random.permutation(inside)
            part = picture[:, corner[0] : corner[0] + side, corner[1] : corner[1] + side].contiguous()
            losses = surprise(model, look(part), points[inside] - corner, owner[inside], sources)
            if losses:
                (torch.stack(losses).sum() / BATCH).backward()
                heard.append(sum(loss.item() for loss in losses))
            if count % BATCH == 0:
                optimizer.step()
                optimizer.zero_grad()
                decay.step()
                model.power.data.clamp_(1, 6)
        print(f"epoch {epoch + 1}: loss {np.mean(heard):.3f}", flush=True)


def learn(
    data: Path, out: Path, *, kind: Literal["photographs", "nuclei"] = "nuclei",
    learn: Literal["metric", "boundary", "features"] = "features", power: bool = False,
    epochs: int = 2, sources: int = 1, seeds: int = 2, limit: int | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Learn a distance from ten points a target of `train`, and label `val` from one with it.

    Args:
        data: folder with voc_layout and coco_panoptic_layout.
        out: folder for weights, scores, and a picture: photograph, masks of best, learned costs, masks with them.
        kind: of pictures.
        learn: what of the distance.
        power: learn the power of the costs, too.
        epochs: times through the pictures.
        sources: points of each target that costs start from; the others are labels.
        seeds: draws of points and weights.
        limit: pictures of each split, for tests.

    Returns:
        The scores of each protocol, beside those of best on the same points.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    pictures, others = (list(scenes(data, kind, split, limit)) for split in ("train", "val"))
    found, seconds = [], 0.0
    for seed in range(seeds):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = MODELS[learn]()
        model.power.requires_grad_(power)
        start = time.process_time()
        train(model, pictures, epochs, sources, np.random.default_rng([seed, 1]))
        seconds += (time.process_time() - start) / seeds
        torch.save(model.state_dict(), out / f"{kind}-{learn}-{seed}.pt")
        found.append(compare({"best": best, "learned": model.costs}, others, np.random.default_rng([seed, 2])))
        print(json.dumps(model.numbers()), flush=True)
    if found[0].panels:
        sheet(found[0].panels).save(out / f"{kind}-{learn}.png")
    how = {"data": kind, "learn": learn, "power": power, "sources": sources, "epochs": epochs, "seeds": seeds}
    how["seconds"] = round(seconds, 1)
    scores = [{**how, **score} for score in summary(found)]
    (out / f"{kind}-{learn}.json").write_text(json.dumps({"scores": scores, "numbers": model.numbers()}, indent=1))
    return scores


if __name__ == "__main__":
    tyro.cli(learn)
