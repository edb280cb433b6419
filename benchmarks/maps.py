"""The pixel graphs that benchmarks run on: maps like a network's, a photograph, noise, and adversarial ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage, sparse

from point2mask_ot import edge_costs
from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices

CLASSES = 21
TYPICAL = ("blobs", "upsampled", "photograph", "noise")
ADVERSARIAL = ("zero", "maze", "spiral", "lognormal", "corridors")


def softmax(logits: np.ndarray) -> np.ndarray:
    exponential = np.exp(logits - logits.max(0))
    return (exponential / exponential.sum(0)).astype(np.float32)


def regions(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Ids of 60 nearest-seed regions with wavy borders."""
    scale = max(height, width) / 50
    yx = np.mgrid[:height, :width].astype(float)
    for axis in range(2):
        wave = ndimage.gaussian_filter(rng.standard_normal((height, width)), 1.5 * scale)
        yx[axis] += wave / wave.std() * 2 * scale
    seeds = rng.random((60, 2)) * (height, width)
    return np.argmin([(yx[0] - y) ** 2 + (yx[1] - x) ** 2 for y, x in seeds], 0)


def blobs(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities like a network's: smooth noise plus regions with soft borders; and the borders."""
    scale = max(height, width) / 50
    label = regions(rng, height, width)
    logits = ndimage.gaussian_filter(rng.standard_normal((CLASSES, height, width)), (0, 3 * scale, 3 * scale))
    hot = np.eye(CLASSES)[:, rng.integers(0, CLASSES, 60)[label]]
    logits *= 0.9 / logits.std()
    logits += 7 * ndimage.gaussian_filter(hot, (0, 0.35 * scale, 0.35 * scale))
    logits += 0.15 * rng.standard_normal(logits.shape)
    border = ndimage.gaussian_filter(ndimage.morphological_gradient(label, 3).astype(bool) * 1.0, 0.3 * scale)
    return softmax(logits), (border / border.max()).astype(np.float32)


def upsampled(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What a network of stride 4 gives after bilinear upsampling: many tiny costs."""
    small = blobs(rng, max(4, height // 4), max(4, width // 4))
    large = [
        torch.nn.functional.interpolate(
            torch.from_numpy(item)[(None,) * (4 - item.ndim)], (height, width), mode="bilinear"
        )
        for item in small
    ]
    return large[0][0].numpy(), large[1][0, 0].numpy()


def photograph(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours and gradient of a picture that comes with scikit-image."""
    from skimage import data, filters, transform

    picture = transform.resize(data.astronaut(), (height, width), anti_aliasing=True).astype(np.float32)
    gradient = filters.sobel(picture.mean(-1))
    return picture.transpose(2, 0, 1).copy(), (gradient / gradient.max()).astype(np.float32)


MAPS: dict[str, Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]] = {
    "blobs": blobs,
    "upsampled": upsampled,
    "photograph": photograph,
}


def lines(height: int, width: int, family: str) -> np.ndarray:
    """The walls of a maze, or of a spiral, with corridors 3 pixels wide; True on a wall."""
    wall = np.zeros((height, width), bool)
    if family == "maze":
        wall[3::4] = True
        wall[3::8, -3:] = wall[7::8, :3] = False
        return wall
    for ring in range(3, min(height, width) // 2, 4):
        wall[ring, ring : width - ring] = wall[height - 1 - ring, ring : width - ring] = True
        wall[ring : height - ring, ring] = wall[ring : height - ring, width - 1 - ring] = True
        wall[ring + 1 : ring + 4, ring] = False
    return wall


def make_edges(family: str, height: int, width: int) -> np.ndarray:
    """(4, H, W) float32 edges of a family. Walls cost much in a maze and a spiral, and are closed in corridors."""
    rng = np.random.default_rng(0)
    if family in MAPS:
        semantic, boundary = MAPS[family](rng, height, width)
        return edge_costs(semantic, boundary[None])
    edges = np.zeros((4, height, width), np.float32)
    if family in ("noise", "corridors"):
        edges = rng.random(edges.shape, np.float32)
    elif family == "lognormal":
        edges = np.exp(4 * rng.standard_normal(edges.shape)).astype(np.float32)
    elif family in ("maze", "spiral"):
        edges = 0.002 * rng.random(edges.shape, np.float32)
    wall_cost = {"maze": 100, "spiral": 100, "corridors": np.inf}.get(family, 0)
    wall = lines(height, width, "maze" if family == "corridors" else family)
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        edges[channel][here] += np.where(wall[here] | wall[there], wall_cost, 0)
        inside = np.zeros((height, width), bool)
        inside[here] = True
        edges[channel][~inside] = np.inf
    return edges


class CsrGraph:
    """The structure of a pixel graph in scipy's format: made once, then filled with any edges of that size."""

    def __init__(self, is_open: np.ndarray) -> None:
        _, height, width = is_open.shape
        index = np.arange(height * width).reshape(height, width)
        rows, columns, places = [], [], []
        for channel, offset in enumerate(FORWARD_OFFSETS):
            here, there = pair_slices(offset)
            chosen = is_open[channel][here]
            place = (index + channel * height * width)[here][chosen]
            for start, end in ((here, there), (there, here)):
                rows.append(index[start][chosen])
                columns.append(index[end][chosen])
                places.append(place)
        row, column, place = map(np.concatenate, (rows, columns, places))
        order = np.lexsort((column, row))
        self.columns, self.places = column[order].astype(np.int32), place[order]
        self.starts = np.searchsorted(row[order], np.arange(height * width + 1)).astype(np.int32)

    def __call__(self, edges: np.ndarray) -> sparse.csr_matrix:
        """Float64; costs of zero are kept, which scipy's other constructors drop."""
        costs = edges.ravel()[self.places].astype(np.float64)
        return sparse.csr_matrix((costs, self.columns, self.starts), shape=(len(self.starts) - 1,) * 2)


def random_points(edges: np.ndarray, count: int) -> np.ndarray:
    """(count, 2) pixels with an open edge."""
    reachable = np.argwhere(np.isfinite(edges).any(0))
    return reachable[np.random.default_rng(1).integers(0, len(reachable), count)]
