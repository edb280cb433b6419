"""Spanning tree and tree filter: ours against scipy's spanning tree and two tree filters in SciPy and NumPy.

    python benchmarks/tree.py [--quick] [--threads 1] [--json results.json]

The picture is a photograph in 8 bits, theta such that the median edge keeps half of its affinity. The graph that
scipy's spanning tree reads, and the node order that the peers' filters need, are built before the clock starts;
ours starts from the picture. Every row first checks equal tree weights and equal filtered maps.

The filters of the peers work in float64, as SciPy's solver does: "solve" as two triangular systems, "levels" with
NumPy, one level of the tree after the other. Their backward pass would be the same filter once more.

Peak memory is what a fresh process needs beyond its inputs (Linux only).
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Timing, interleaved, write_json
from scipy import sparse
from scipy.sparse.csgraph import depth_first_order
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_spanning_tree
from scipy.sparse.linalg import spsolve_triangular
from skimage import data, transform

from point2mask_ot.losses._tree_cpu import colour_distances, spanning_edges
from point2mask_ot.losses.tree import SpanningTree, minimum_spanning_tree, tree_affinity_loss, tree_filter


def photograph(side: int) -> np.ndarray:
    """(3, side, side) uint8."""
    image = transform.resize(data.astronaut(), (side, side), anti_aliasing=True)
    return np.ascontiguousarray((255 * image).round().astype(np.uint8).transpose(2, 0, 1))


def picture_graph(image: np.ndarray) -> sparse.csr_array:
    """What scipy's spanning tree reads; it takes a weight of zero for no edge, so every weight is one more."""
    pixel = np.arange(image[0].size, dtype=np.int32).reshape(image.shape[1:])
    a = np.concatenate([pixel[:, :-1].ravel(), pixel[:-1].ravel()])
    b = np.concatenate([pixel[:, 1:].ravel(), pixel[1:].ravel()])
    colours = image.reshape(3, -1).astype(float)
    weight = ((colours[:, a] - colours[:, b]) ** 2).sum(0) + 1
    return sparse.coo_array((weight, (a, b)), shape=(pixel.size, pixel.size)).tocsr()


class PeerFilter:
    """The normalised tree filter without compiled code of one's own, in two ways."""

    def __init__(self, tree: SpanningTree, theta: float) -> None:
        size = tree.order.size
        position = np.empty(size, np.int64)
        position[tree.order] = np.arange(size)
        parent = position[tree.parent]
        depth = np.zeros(size, np.int64)
        for node in range(1, size):
            depth[node] = depth[parent[node]] + 1
        by_depth = np.argsort(depth, kind="stable")
        rank = np.empty_like(by_depth)
        rank[by_depth] = np.arange(size)
        self.pixels = tree.order[by_depth]
        self.parent = rank[parent[by_depth]]
        self.affinity = np.exp(-tree.distance[by_depth].astype(float) / theta)
        self.affinity[0] = 0
        self.starts = np.searchsorted(depth[by_depth], np.arange(1, depth.max() + 2))
        lower = sparse.coo_array((-self.affinity[1:], (np.arange(1, size), self.parent[1:])), shape=(size, size))
        self.from_root = (sparse.eye_array(size) + lower).tocsc()
        self.to_root = self.from_root.T.tocsc()

    def __call__(self, values: np.ndarray, way: str) -> np.ndarray:
        rows = np.concatenate([values.reshape(len(values), -1), np.ones((1, self.pixels.size))]).T[self.pixels]
        total = self.solve(rows) if way == "solve" else self.levels(rows)
        out = np.empty((len(values), self.pixels.size))
        out[:, self.pixels] = (total[:, :-1] / total[:, -1:]).T
        return out.reshape(values.shape)

    def solve(self, rows: np.ndarray) -> np.ndarray:
        up = spsolve_triangular(self.to_root, rows, lower=False, unit_diagonal=True)
        own = 1 - self.affinity[:, None] ** 2
        return spsolve_triangular(self.from_root, own * up, lower=True, unit_diagonal=True)

    def levels(self, rows: np.ndarray) -> np.ndarray:
        x = rows.copy()
        levels = [slice(a, b) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]
        for level in reversed(levels):
            # Nodes of a level are sorted by their parents.
            parents, first = np.unique(self.parent[level], return_index=True)
            x[parents] += np.add.reduceat(self.affinity[level, None] * x[level], first, axis=0)
        for level in levels:
            w = self.affinity[level, None]
            x[level] = w * x[self.parent[level]] + (1 - w * w) * x[level]
        return x


def edges_only(image: np.ndarray) -> np.ndarray:
    """What scipy's spanning tree does, and no more: the kernels without the order of the nodes."""
    distances = np.zeros((2, *image.shape[1:]), np.float32)
    colour_distances(image, np.ones(image.shape[1:], bool), distances)
    return spanning_edges(distances, distances.view(np.uint32))


def tree_row(side: int, repeats: int) -> dict[str, Any]:
    image = photograph(side)
    picture, real = torch.from_numpy(image), torch.from_numpy(image).float() / 255
    graph = picture_graph(image)
    scipy_weight = scipy_spanning_tree(graph).sum() - (image[0].size - 1)
    assert float(minimum_spanning_tree(picture).total_weight) == scipy_weight
    return row(
        {"what": "spanning tree", "side": side},
        {
            "ours edges": lambda: edges_only(image),
            "scipy edges": lambda: scipy_spanning_tree(graph),
            "ours 8-bit": lambda: minimum_spanning_tree(picture),
            "ours float": lambda: minimum_spanning_tree(real),
            "scipy + order": lambda: depth_first_order(scipy_spanning_tree(graph), 0, directed=False),
        },
        repeats,
    )


def filter_row(side: int, channels: int, repeats: int) -> dict[str, Any]:
    image = photograph(side)
    tree = minimum_spanning_tree(image)
    theta = max(float(np.median(tree.distance)), 1.0) / np.log(2)
    peer = PeerFilter(tree, theta)
    values = np.random.default_rng(0).random((channels, side, side))
    x, moved = torch.from_numpy(values).float().requires_grad_(), tree.to("cpu")
    filtered = tree_filter(x, moved, theta=theta)
    upstream = torch.randn_like(filtered)
    for way in ("solve", "levels"):
        assert np.abs(peer(values, way) - filtered.detach().numpy()).max() < 1e-5
    picture = torch.from_numpy(image)
    return row(
        {"what": "filter", "side": side, "channels": channels},
        {
            "ours": lambda: tree_filter(x.detach(), moved, theta=theta),
            "ours backward": lambda: torch.autograd.grad(filtered, x, upstream, retain_graph=True),
            "ours tree + filter": lambda: tree_filter(x.detach(), minimum_spanning_tree(picture), theta=theta),
            "solve": lambda: peer(values, "solve"),
            "levels": lambda: peer(values, "levels"),
        },
        repeats,
    )


def loss_row(side: int, channels: int, repeats: int, memory: bool) -> dict[str, Any]:
    logits, image = loss_arguments(side, channels)
    loss = tree_affinity_loss(logits, image)
    result = row(
        {"what": "loss", "side": side, "channels": channels},
        {
            "forward": lambda: tree_affinity_loss(logits.detach(), image),
            "backward": lambda: torch.autograd.grad(loss, logits, retain_graph=True),
        },
        repeats,
    )
    if memory:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            result["peak_mib"] = fresh.submit(loss_peak, side, channels).result()
        result["logits_mib"] = logits.nbytes / 2**20
    return result


def loss_arguments(side: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, channels, side, side, generator=generator, requires_grad=True)
    return logits, torch.from_numpy(photograph(side))[None].float() / 255


def loss_peak(side: int, channels: int) -> float | None:
    """MiB that one forward and backward pass adds to the resident memory of this process at its peak."""
    counters = Path("/proc/self/status")
    if not counters.exists():
        return None
    tree_affinity_loss(*loss_arguments(8, 2)).backward()  # compiles and loads
    logits, image = loss_arguments(side, channels)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here

    def kib(name: str) -> int:
        return next(int(line.split()[1]) for line in counters.read_text().splitlines() if line.startswith(name))

    before = kib("VmRSS")
    tree_affinity_loss(logits, image).backward()
    return (kib("VmHWM") - before) / 1024


def row(keys: dict[str, Any], callables: dict[str, Any], repeats: int) -> dict[str, Any]:
    timings = interleaved(callables, repeats)
    return keys | {"ms": {name: milliseconds(timing) for name, timing in timings.items()}}


def milliseconds(timing: Timing) -> dict[str, float]:
    return {"median": 1e3 * timing.median, "low": 1e3 * timing.low, "high": 1e3 * timing.high, "runs": timing.runs}


def show(result: dict[str, Any]) -> None:
    print("  ".join(f"{key}={value}" for key, value in result.items() if key != "ms" and not isinstance(value, float)))
    first = next(iter(result["ms"].values()))["median"]
    for name, ms in result["ms"].items():
        ratio = f"{ms['median'] / first:7.2f} x"
        print(f"    {name:20} {ms['median']:9.3f} ms  [{ms['low']:.3f}, {ms['high']:.3f}]  {ratio}")
    if result.get("peak_mib"):
        print(f"    peak memory {result['peak_mib']:.1f} MiB beyond logits of {result['logits_mib']:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--channels", type=int, nargs="+", default=[21, 133])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of ours; the peers have one")
    parser.add_argument("--quick", action="store_true", help="a few seconds: 64 pixels, 21 channels, 2 repeats")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    if options.quick:
        options.sides, options.channels, options.repeats = [64], [21], 2
    torch.set_num_threads(options.threads)
    rows = []
    for side in options.sides:
        rows.append(tree_row(side, options.repeats))
        show(rows[-1])
        for channels in options.channels:
            rows.append(filter_row(side, channels, options.repeats))
            show(rows[-1])
            rows.append(loss_row(side, channels, options.repeats, memory=not options.quick))
            show(rows[-1])
    if options.json:
        write_json(options.json, [{"threads": options.threads} | result for result in rows])


if __name__ == "__main__":
    main()
