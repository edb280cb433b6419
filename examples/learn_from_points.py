"""Learn a semantic map from ten points a class, and see what each loss adds (the order of the paper's Table 4).

A small convolutional network is fitted to one photograph. It sees colours and points, never a mask; the masks only
score it. Partial cross-entropy alone learns the points; the LAB loss (Eq. 12-13) spreads them to near pixels of like
colour, the tree loss (Eq. 14-15) to far ones.

    python examples/learn_from_points.py                        # a picture shipped with scikit-image, under a minute
    python examples/learn_from_points.py --seeds 8              # eight draws of points and weights
    python examples/learn_from_points.py --voc VOCdevkit/VOC2012 --limit 10

Points and weights are all that a seed changes. Pairwise losses of full weight from the first step on would pull the
whole picture into one class, as one class everywhere pleases them best: they are ramped up once the points are learnt.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from skimage import color, data, draw
from torch import Tensor, nn
from torch.nn import functional

import point2mask_ot as p2m

TERMS = {"partial CE": (0, 0), "+ LAB": (3, 0), "+ tree": (0, 3), "+ LAB + tree": (3, 3)}
"""Weights of the LAB and of the tree loss (alpha1 and alpha2 of Eq. 5)."""

LONGEST_SIDE = 150
STEPS, FIRST_STEP, RAMP = 240, 40, 120
DILATION = 5
VOID = 255


@dataclass(frozen=True, eq=False)
class Scene:
    """A photograph, (3, H, W) in [0, 1], and its (H, W) true classes 0..C-1, ``VOID`` where nobody knows."""

    name: str
    image: Tensor
    truth: np.ndarray

    @property
    def classes(self) -> int:
        return int(self.truth[self.truth != VOID].max()) + 1


def coffee() -> Scene:
    """A cup of espresso: wood, red dishes, white porcelain, coffee, spoon, and the dark floor, outlined by hand."""
    picture = data.coffee()
    truth = np.zeros(picture.shape[:2], np.uint8)
    wood, dishes, porcelain, espresso, spoon, floor = range(6)

    def polygon(label: int, *corners_xy: tuple[float, float]) -> None:
        columns, rows = zip(*corners_xy, strict=True)
        truth[draw.polygon(rows, columns, truth.shape)] = label

    def ellipse(label: int, x: float, y: float, half_width: float, half_height: float) -> None:
        truth[draw.ellipse(y, x, half_height, half_width, truth.shape)] = label

    truth[:] = wood
    polygon(floor, (0, 0), (165, 0), (0, 107))
    ellipse(dishes, 278, 222, 201, 167)
    polygon(spoon, (397, 72), (405, 67), (420, 70), (424, 78), (416, 106), (408, 125), (400, 110))
    ellipse(porcelain, 290.5, 113, 117.5, 95)
    ellipse(espresso, 287, 144.5, 83, 49.5)
    ellipse(spoon, 366, 281, 40, 44)
    polygon(spoon, (372, 236), (380, 215), (392, 194), (388, 200), (384, 235))
    polygon(spoon, (318, 251), (325, 242), (352, 240), (354, 244), (330, 257), (320, 259))
    return _scaled("coffee", picture, truth)


def voc_scenes(root: Path, limit: int) -> Iterator[Scene]:
    """The first validation photographs of a folder in the layout of Pascal VOC 2012, at least two classes in each."""
    names = (root / "ImageSets/Segmentation/val.txt").read_text().split()
    found = 0
    for name in names:
        with Image.open(root / f"SegmentationClass/{name}.png") as mask:
            given = np.asarray(mask)
        present = np.unique(given[given != VOID])
        if len(present) < 2 or found == limit:
            continue
        found += 1
        number = np.full(256, VOID, np.uint8)
        number[present] = np.arange(len(present))
        with Image.open(root / f"JPEGImages/{name}.jpg") as photograph:
            yield _scaled(name, np.asarray(photograph.convert("RGB")), number[given])


def _scaled(name: str, picture: np.ndarray, truth: np.ndarray) -> Scene:
    scale = LONGEST_SIDE / max(truth.shape)
    size = tuple(max(1, round(side * scale)) for side in truth.shape)
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
    image = functional.interpolate(image, size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    return Scene(name, image, np.asarray(Image.fromarray(truth).resize(size[::-1], Image.Resampling.NEAREST)))


def draw_points(scene: Scene, count: int, seed: int) -> Tensor:
    """(H, W) labels: ``count`` uniformly random pixels of each class, VOID elsewhere."""
    rng = np.random.default_rng(seed)
    labels = np.full(scene.truth.shape, VOID, np.int64)
    for label in range(scene.classes):
        rows, columns = np.nonzero(scene.truth == label)
        if len(rows):
            chosen = rng.choice(len(rows), min(count, len(rows)), replace=False)
            labels[rows[chosen], columns[chosen]] = label
    return torch.from_numpy(labels)


def learn(
    scene: Scene, labels: Tensor, lab_weight: float, tree_weight: float, seed: int, steps: int = STEPS
) -> np.ndarray:
    """Fit the network to the points; the (H, W) classes it ends with."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network(scene.classes)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    image, labels = scene.image[None], labels[None]
    for step in range(steps):
        ramp = min(1.0, max(0, step - FIRST_STEP) / RAMP)
        loss = p2m.semantic_loss(
            network(4 * image - 2),
            labels,
            image,
            lab_weight=ramp * lab_weight,
            tree_weight=ramp * tree_weight,
            partial_options={"dilation": DILATION},
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(4 * image - 2)[0].argmax(0).numpy()


def _network(classes: int, width: int = 24) -> nn.Module:
    """Colours within 8 pixels -> scores; it is not told where a pixel lies."""
    layers: list[nn.Module] = []
    for channels, reach in ((3, 1), (width, 2), (width, 4)):
        layers += [nn.Conv2d(channels, width, 3, padding=reach, dilation=reach), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, classes, 1))


def mean_iou(predicted: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """Mean over the classes of intersection over union, void pixels left out."""
    known = truth != VOID
    scores = []
    for label in range(classes):
        ours, theirs = (predicted == label) & known, (truth == label) & known
        if theirs.any():
            scores.append((ours & theirs).sum() / (ours | theirs).sum())
    return float(np.mean(scores))


def strip(scene: Scene, labels: Tensor, predictions: dict[str, np.ndarray], scores: dict[str, float]) -> Image.Image:
    """Photograph with its points, true mask, and what each sum of losses learnt, side by side in two rows."""
    zoom = 2
    photograph = scene.image.permute(1, 2, 0).numpy()
    panels = [("photograph and points", _panel(photograph, None, labels.numpy(), zoom))]
    panels.append(("true mask", _panel(photograph, scene.truth, None, zoom)))
    for name, predicted in predictions.items():
        panels.append((f"{name}: mIoU {scores[name]:.2f}", _panel(photograph, predicted, None, zoom)))
    panels = [panels[0], *panels[2:4], panels[1], *panels[4:]]
    width, height = panels[0][1].size
    margin, title = 6, 18
    sheet = Image.new("RGB", (3 * (width + margin) + margin, 2 * (height + title + margin)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (text, panel) in enumerate(panels):
        x, y = margin + i % 3 * (width + margin), i // 3 * (height + title + margin)
        pen.text((x, y + 3), text, fill="black", font_size=13)
        sheet.paste(panel, (x, y + title))
    return sheet


def _panel(photograph: np.ndarray, classes: np.ndarray | None, points: np.ndarray | None, zoom: int) -> Image.Image:
    if classes is not None:
        shown = np.where(classes == VOID, -1, classes.astype(int))
        photograph = color.label2rgb(shown, photograph, colors=_COLORS, alpha=0.65, bg_label=-1, saturation=0.4)
    pixels = (255 * photograph).astype(np.uint8)
    panel = Image.fromarray(pixels).resize((zoom * pixels.shape[1], zoom * pixels.shape[0]), Image.Resampling.NEAREST)
    if points is not None:
        pen = ImageDraw.Draw(panel)
        for y, x in zip(*np.nonzero(points != VOID), strict=True):
            fill = tuple(int(255 * c) for c in _COLORS[points[y, x] % len(_COLORS)])
            pen.ellipse([zoom * x - 3, zoom * y - 3, zoom * x + 4, zoom * y + 4], fill=fill, outline="black")
    return panel


# Okabe and Ito's palette, told apart by all kinds of eyes.
_COLORS = [
    tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    for code in ("e69f00", "cc79a7", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "999999")
]


def main() -> None:
    """Learn from each draw of points with each sum of losses; print the mIoU, draw the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the optimiser")
    parser.add_argument("--points", type=int, default=10, help="points a class")
    parser.add_argument("--voc", type=Path, help="folder in the layout of Pascal VOC 2012, instead of the coffee")
    parser.add_argument("--limit", type=int, default=10, help="photographs of --voc")
    parser.add_argument("--out", type=Path, default=Path("learn_from_points.png"))
    options = parser.parse_args()

    start = time.perf_counter()
    scores: dict[str, list[float]] = {name: [] for name in TERMS}
    print("| picture | seed |", " | ".join(TERMS), "|\n|---|---|" + "---|" * len(TERMS))
    for scene in voc_scenes(options.voc, options.limit) if options.voc else [coffee()]:
        for seed in range(options.seeds):
            labels = draw_points(scene, options.points, seed)
            predictions = {name: learn(scene, labels, *weights, seed, options.steps) for name, weights in TERMS.items()}
            latest = {name: mean_iou(p, scene.truth, scene.classes) for name, p in predictions.items()}
            if not any(scores.values()):
                strip(scene, labels, predictions, latest).save(options.out)
            for name, score in latest.items():
                scores[name].append(score)
            print(
                f"| {scene.name} | {seed} |", " | ".join(f"{score:.3f}" for score in latest.values()), "|", flush=True
            )
    print("| mean (spread) | |", " | ".join(f"{np.mean(s):.3f} ({np.std(s):.3f})" for s in scores.values()), "|")
    gains = np.array(list(scores.values())) - np.array(scores["partial CE"])
    print("| better than partial CE | |", " | ".join(f"{(gain > 0).sum()} of {gain.size}" for gain in gains), "|")
    print(f"\n{time.perf_counter() - start:.0f} s; picture in {options.out}")


if __name__ == "__main__":
    main()
