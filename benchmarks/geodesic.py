"""Geodesic distances: ours against scipy's Dijkstra (same graph) and scikit-image's MCP (node costs: another model).

    python benchmarks/geodesic.py [--quick] [--json results.json]

Graphs are built before the clock starts for scipy and scikit-image; ours starts from the (4, H, W) edges each time.
Rows "with edges" start from 21 maps for both; scipy's graph keeps its structure and gets its costs from shifted maps in
torch, the fastest way to build them without compiled code of one's own. Every row first checks that our distances
are those of a plain float32 Dijkstra (our radix heap) to the bit, and scipy's to float32 rounding.

The full product of maps, sizes and K would take hours: PLAN says what is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from harness import Timing, interleaved, isolated, write_json
from maps import ADVERSARIAL, MAPS, TYPICAL, CsrGraph, make_edges, random_points
from scipy.sparse.csgraph import dijkstra
from skimage.graph import MCP

from point2mask_ot import edge_costs, geodesic_distances, nearest_partition
from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices

SCIPY = "scipy dijkstra"
ALL = (*TYPICAL, *ADVERSARIAL)
PLAN: list[tuple[str, Sequence[int], Sequence[str]]] = [
    ("38x50", (10,), ALL),
    ("38x50", (5, 20, 50), ("blobs",)),
    ("128x128", (20,), ALL),
    ("256x256", (20,), TYPICAL),
    ("512x512", (20,), ALL),
    ("512x512", (5, 50), ("blobs",)),
    ("600x800", (20,), ("blobs", "photograph")),
]
QUICK = [("38x50", (5,), ("blobs", "noise", "maze"))]
WITH_EDGES = {"38x50": ("blobs", "upsampled"), "512x512": ("blobs", "upsampled")}
"""Sizes and 21-channel maps that are also timed with building the edges."""


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


def check_equal(ours: np.ndarray, theirs: np.ndarray, name: str) -> float:
    """Largest deviation over the largest distance; raises beyond rounding."""
    finite = np.isfinite(theirs)
    if not np.array_equal(finite, np.isfinite(ours)):
        raise AssertionError(f"{name}: not the same pixels are reachable")
    scale = theirs[finite].max(initial=0) or 1.0
    error = float(np.abs(ours[finite] - theirs[finite]).max(initial=0) / scale)
    if error > 1e-4:
        raise AssertionError(f"{name}: off by {error:.1e} of the largest distance")
    return error


def shifted_edges(semantic: torch.Tensor, boundary: torch.Tensor) -> np.ndarray:
    """(4, H, W) costs of Eq. 2 by whole shifted maps; pairs that leave the image are left at zero."""
    edges = semantic.new_zeros((4, *semantic.shape[1:]))
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        difference = (semantic[:, *here] - semantic[:, *there]).abs_().sum(0)
        edges[channel][here] = difference.add_(torch.maximum(boundary[here], boundary[there]), alpha=0.1)
    return edges.numpy()


def measure(family: str, size: str, seeds: int, repeats: int) -> dict[str, Any]:
    """One row: from edges to distances."""
    height, width = map(int, size.split("x"))
    edges = make_edges(family, height, width)
    points = random_points(edges, seeds)
    graph = CsrGraph(np.isfinite(edges))(edges)
    flat = points @ (width, 1)
    distances = geodesic_distances(edges, points)
    nearest_partition(edges, points)  # compiles
    if not np.array_equal(distances, geodesic_distances(edges, points, backend="heap")):
        raise AssertionError(f"{family} {size}: not the bits of Dijkstra's algorithm in float32")
    error = check_equal(distances, dijkstra(graph, indices=flat).reshape(distances.shape), f"{family} {size}")
    node_cost = np.maximum(np.where(np.isfinite(edges), edges, 0).mean(0), 1e-9)

    def mcp() -> None:
        for point in points:
            MCP(node_cost, fully_connected=True).find_costs([point])

    calls = {
        "ours, 1 thread": on_threads(1, lambda: geodesic_distances(edges, points)),
        "ours, 2 threads": on_threads(2, lambda: geodesic_distances(edges, points)),
        "ours, radix heap, 1 thread": on_threads(1, lambda: geodesic_distances(edges, points, backend="heap")),
        "ours, nearest_partition, 1 thread": on_threads(1, lambda: nearest_partition(edges, points)),
        SCIPY: lambda: dijkstra(graph, indices=flat),
    }
    if family in TYPICAL:
        calls["skimage MCP (another model)"] = mcp
    return row("distances", family, (height, width), seeds, error, interleaved(calls, repeats, budget=6))


def measure_with_edges(family: str, size: str, seeds: int, repeats: int) -> dict[str, Any]:
    """One row: from 21 maps to distances."""
    height, width = map(int, size.split("x"))
    semantic, boundary = MAPS[family](np.random.default_rng(0), height, width)
    maps = torch.from_numpy(semantic), torch.from_numpy(boundary)
    points = random_points(edge_costs(semantic, boundary[None]), seeds)
    fill, flat = CsrGraph(np.isfinite(edge_costs(semantic, boundary[None]))), points @ (width, 1)

    def ours() -> np.ndarray:
        return geodesic_distances(edge_costs(semantic, boundary[None]), points)

    def scipys() -> np.ndarray:
        return dijkstra(fill(shifted_edges(*maps)), indices=flat).reshape(seeds, height, width)

    error = check_equal(ours(), scipys(), f"{family} {size} with edges")
    calls = {
        "ours, 1 thread": on_threads(1, ours),
        "ours, 2 threads": on_threads(2, ours),
        "ours, edges alone, 1 thread": on_threads(1, lambda: edge_costs(semantic, boundary[None])),
        "torch shifts, edges alone, 1 thread": on_threads(1, lambda: shifted_edges(*maps)),
        SCIPY: on_threads(1, scipys),
    }
    return row("with edges", family, (height, width), seeds, error, interleaved(calls, repeats, budget=6))


def row(
    task: str, family: str, size: tuple[int, int], seeds: int, error: float, timings: dict[str, Timing]
) -> dict[str, Any]:
    """Seconds, nanoseconds per pixel and seed, and how many times faster than scipy."""
    work = size[0] * size[1] * seeds
    result = {
        "task": task,
        "family": family,
        "size": list(size),
        "seeds": seeds,
        "error": error,
        "seconds": {name: vars(timing) for name, timing in timings.items()},
        "ns_per_pixel_and_seed": {name: 1e9 * timing.median / work for name, timing in timings.items()},
        "scipy_over_ours": {
            name: timings[SCIPY].median / timings[name].median for name in ("ours, 1 thread", "ours, 2 threads")
        },
    }
    ratios = ", ".join(f"{ratio:.1f}x" for ratio in result["scipy_over_ours"].values())
    parts = [f"{name} {1e3 * t.median:.2f} [{1e3 * t.low:.2f}, {1e3 * t.high:.2f}]" for name, t in timings.items()]
    print(f"{task} {family} {size[0]}x{size[1]} K={seeds}: {ratios} | ms: {'; '.join(parts)}", flush=True)
    return result


def run(plan: list[tuple[str, Sequence[int], Sequence[str]]], repeats: int) -> list[dict[str, Any]]:
    """All rows of a plan."""
    rows = []
    for size, counts, families in plan:
        here = []
        for family in families:
            here += [measure(family, size, seeds, repeats) for seeds in counts]
            if len(families) > 1 and family in WITH_EDGES.get(size, ()):
                here.append(measure_with_edges(family, size, counts[0], repeats))
        for task in ("distances", "with edges"):
            ratios = [row["scipy_over_ours"] for row in here if row["task"] == task and row["family"] in TYPICAL]
            if ratios:
                means = (f"{name}: {geometric_mean([r[name] for r in ratios]):.1f}x" for name in ratios[0])
                print(f"{task} {size}, geometric mean over {len(ratios)} maps, times faster: {', '.join(means)}")
        rows += here
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a few seconds: one small size, 2 repeats")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args(arguments)
    rows = isolated(options.quick)(
        run, QUICK if options.quick else PLAN, 2 if options.quick else options.repeats, threads=1
    )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
