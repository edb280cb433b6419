"""Geodesic distances: ours against scipy's Dijkstra (same graph) and scikit-image's MCP (node costs: another model).

    python benchmarks/geodesic.py [--quick] [--json results.json]

Graphs are built before the clock starts for scipy and scikit-image; ours starts from the (4, H, W) edges each time.
Every row first checks that our distances equal scipy's to float32 rounding.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from harness import Timing, interleaved, write_json
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from skimage import data, filters, transform
from skimage.graph import MCP

from point2mask_ot import edge_costs, geodesic_distances, nearest_partition
from point2mask_ot.grid import FORWARD_OFFSETS, pair_slices

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
    picture = transform.resize(data.astronaut(), (height, width), anti_aliasing=True).astype(np.float32)
    gradient = filters.sobel(picture.mean(-1))
    return picture.transpose(2, 0, 1).copy(), (gradient / gradient.max()).astype(np.float32)


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
    if family in ("blobs", "upsampled", "photograph"):
        semantic, boundary = globals()[family](rng, height, width)
        return edge_costs(semantic, boundary[None])
    edges = np.zeros((4, height, width), np.float32)
    if family in ("noise", "corridors"):
        edges = rng.random(edges.shape, np.float32)
    elif family == "lognormal":
        edges = np.exp(4 * rng.standard_normal(edges.shape)).astype(np.float32)
    elif family in ("maze", "spiral"):
        edges = 0.002 * rng.random(edges.shape, np.float32)
    wall = lines(height, width, "maze" if family == "corridors" else family)
    wall_cost = {"maze": 100, "spiral": 100, "corridors": np.inf}.get(family, 0)
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        edges[channel][here] += np.where(wall[here] | wall[there], wall_cost, 0)
        inside = np.zeros((height, width), bool)
        inside[here] = True
        edges[channel][~inside] = np.inf
    return edges


def csr_graph(edges: np.ndarray) -> sparse.csr_matrix:
    """Both directions of every open edge, with costs of zero kept (scipy's constructors drop them)."""
    _, height, width = edges.shape
    index = np.arange(height * width).reshape(height, width)
    rows, columns, costs = [], [], []
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        is_open = edges[channel][here] < np.inf
        for start, end in ((here, there), (there, here)):
            rows.append(index[start][is_open])
            columns.append(index[end][is_open])
            costs.append(edges[channel][here][is_open])
    row, column, cost = map(np.concatenate, (rows, columns, costs))
    order = np.lexsort((column, row))
    starts = np.searchsorted(row[order], np.arange(height * width + 1))
    return sparse.csr_matrix((cost[order].astype(np.float64), column[order], starts), shape=(height * width,) * 2)


def on_threads(count: int, function: Callable[[], Any]) -> Callable[[], Any]:
    """The function run with that many torch threads."""

    def run() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            return function()
        finally:
            torch.set_num_threads(before)

    return run


def largest_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest deviation over the largest distance; raises where one is reachable and the other is not."""
    finite = np.isfinite(theirs)
    if not np.array_equal(finite, np.isfinite(ours)):
        raise AssertionError("not the same pixels are reachable")
    scale = theirs[finite].max(initial=0) or 1.0
    return float(np.abs(ours[finite] - theirs[finite]).max(initial=0) / scale)


def measure(family: str, height: int, width: int, seeds: int, repeats: int) -> dict[str, Any]:
    """One row of results: seconds, nanoseconds per pixel and seed, ratios to ours on one thread."""
    edges = make_edges(family, height, width)
    rng = np.random.default_rng(1)
    reachable = np.argwhere(np.isfinite(edges).any(0))
    points = reachable[rng.integers(0, len(reachable), seeds)]
    graph = csr_graph(edges)
    flat = points @ (width, 1)
    node_cost = np.maximum(np.where(np.isfinite(edges), edges, 0).mean(0), 1e-9)

    def mcp() -> None:
        for point in points:
            MCP(node_cost, fully_connected=True).find_costs([point])

    distances = geodesic_distances(edges, points)
    error = largest_error(distances, dijkstra(graph, indices=flat).reshape(distances.shape))
    if error > 1e-4:
        raise AssertionError(f"{family} {height}x{width}: off by {error:.1e} of the largest distance")
    calls = {
        "ours, 1 thread": on_threads(1, lambda: geodesic_distances(edges, points)),
        "ours, 2 threads": on_threads(2, lambda: geodesic_distances(edges, points)),
        "ours, radix heap, 1 thread": on_threads(1, lambda: geodesic_distances(edges, points, backend="heap")),
        "ours, nearest_partition, 1 thread": on_threads(1, lambda: nearest_partition(edges, points)),
        "scipy dijkstra": lambda: dijkstra(graph, indices=flat),
    }
    if family in TYPICAL:
        calls["skimage MCP (another model)"] = mcp
    timings = interleaved(calls, repeats)
    return {
        "family": family,
        "size": [height, width],
        "seeds": seeds,
        "error": error,
        "seconds": {name: vars(timing) for name, timing in timings.items()},
        "ns_per_pixel_and_seed": {n: 1e9 * t.median / (height * width * seeds) for n, t in timings.items()},
        "scipy_over_ours": {name: timings["scipy dijkstra"].median / timings[name].median for name in list(calls)[:2]},
    }


def print_row(row: dict[str, Any]) -> None:
    """One line: medians with quartiles, and how many times faster than scipy."""
    height, width = row["size"]
    parts = []
    for name, seconds in row["seconds"].items():
        timing = Timing(**seconds)
        parts.append(f"{name} {1e3 * timing.median:.2f} [{1e3 * timing.low:.2f}, {1e3 * timing.high:.2f}]")
    ratios = ", ".join(f"{ratio:.1f}x" for ratio in row["scipy_over_ours"].values())
    print(f"{row['family']:10} {height}x{width} K={row['seeds']}: {ratios} | ms: {'; '.join(parts)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=[*TYPICAL, *ADVERSARIAL], choices=[*TYPICAL, *ADVERSARIAL])
    parser.add_argument("--sizes", nargs="+", default=["38x50", "128x128", "512x512"], help="HxW, each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 20, 20], help="K for each size")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="under 30 s: small sizes, 3 repeats")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.seeds, options.repeats = ["38x50", "128x128"], [10, 5], 3
    if len(options.sizes) != len(options.seeds):
        parser.error("--seeds needs one number for each of --sizes")
    rows = []
    for size, seeds in zip(options.sizes, options.seeds, strict=True):
        height, width = map(int, size.split("x"))
        for family in options.families:
            rows.append(measure(family, height, width, seeds, options.repeats))
            print_row(rows[-1])
        typical = [
            row["scipy_over_ours"] for row in rows if row["family"] in TYPICAL and row["size"] == [height, width]
        ]
        if typical:
            means = {name: np.exp(np.mean([np.log(row[name]) for row in typical])) for name in typical[0]}
            print(f"{size}, geometric mean over {len(typical)} maps, times faster than scipy:", end=" ")
            print(", ".join(f"{name}: {mean:.1f}" for name, mean in means.items()))
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
