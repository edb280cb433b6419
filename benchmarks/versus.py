"""This checkout against another one, call by call: did a change make anything slower?

    git worktree add /tmp/before COMMIT && python benchmarks/versus.py /tmp/before [--quick] [--json results.json]

Two processes import the package from the two checkouts and take turns, so that a slow spell of the machine meets both;
a few such pairs, because where memory comes to lie makes a process up to a tenth slower than the next one. Each call
counts by the CPU time of its process on one thread; the ratio is the median over the turns of new over old.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

HERE = Path(__file__).parents[1]


def calls(quick: bool) -> dict[str, Callable[[], Any]]:
    """Names that both checkouts have, on inputs that are the same to the bit."""
    import torch

    import point2mask_ot as p2m

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    found: dict[str, Callable[[], Any]] = {}
    for height, width, count in (
        ((38, 50, 10), (128, 128, 20)) if quick else ((38, 50, 10), (128, 128, 20), (512, 512, 20))
    ):
        semantic, boundary = scene(rng, height, width)
        edges = p2m.edge_costs(semantic, boundary[None])
        points = np.stack(np.divmod(rng.choice(height * width, count, replace=False), width), 1)
        targets = p2m.PointTargets(points, category=semantic[:, *points.T].argmax(0))
        size = f"{height}x{width}, {count}"
        found |= {
            f"edges {size}": lambda s=semantic, b=boundary: p2m.edge_costs(s, b[None]),
            f"distances {size}": lambda e=edges, p=points: p2m.geodesic_distances(e, p),
            f"partition {size}": lambda e=edges, p=points: p2m.nearest_partition(e, p),
            f"walks {size}": lambda e=edges, p=points: p2m.random_walk_costs(e, p),
            f"capacities {size}": lambda e=edges, t=targets: p2m.capacities(e, t),
        }
        for preset in ("best", "paper"):
            masker = p2m.PseudoMasker(preset)
            found[f"{preset} {size}"] = lambda m=masker, s=semantic, b=boundary, t=targets: m(s, b[None], t)
    for K, N in ((7, 900), (20, 1900)) if quick else ((7, 900), (20, 1900), (50, 65_536)):
        M = rng.random((K, N)).astype(np.float32)
        a, b = np.bincount(rng.integers(0, K, N), minlength=K).astype(float), np.ones(N)
        found |= {
            f"80 rounds {K}x{N}": lambda a=a, b=b, M=M: p2m.sinkhorn(a, b, M, 0.01),
            f"newton {K}x{N}": lambda a=a, b=b, M=M: p2m.solve(a, b, M, reg=0.01),
            f"exact {K}x{N}": lambda a=a, b=b, M=M: p2m.solve(a, b, M),
        }
    image = torch.tensor(rng.random((1, 3, 96, 96)), dtype=torch.float32)
    labels = torch.tensor(np.where(rng.random((1, 96, 96)) < 0.01, 1, 255))
    logits = torch.tensor(rng.normal(size=(1, 21, 96, 96)), dtype=torch.float32, requires_grad=True)
    found["semantic loss and gradient 96x96"] = lambda: p2m.semantic_loss(logits, labels, image).backward()
    picture = (255 * rng.random((120, 160, 3))).astype(np.uint8)
    few = p2m.PointTargets([(20, 30), (90, 40), (60, 130)])
    found["label_picture 120x160"] = lambda: p2m.label_picture(picture, few)
    return found


def real(data: Path) -> dict[str, Callable[[], Any]]:
    """Pictures of nuclei with a point in each, as ``label-dataset`` labels them: every tenth of ``val``."""
    from PIL import Image

    import point2mask_ot as p2m
    from point2mask_ot import panoptic

    folder = data / "coco_panoptic_layout"
    truth = folder / "annotations" / "panoptic_val"
    dataset = panoptic.read_coco_panoptic(truth.with_suffix(".json"), truth, folder / "val")
    jobs = []
    for index in range(0, len(dataset), 10):
        entry, image = dataset.images[index], dataset[index]
        picture = np.asarray(Image.open(folder / "val" / entry.file_name).convert("RGB"))
        jobs.append((picture, panoptic.sample_points(image, dataset.categories).targets))

    def label() -> None:
        for picture, targets in jobs:
            p2m.label_picture(picture, targets)

    return {f"label_picture, {len(jobs)} pictures of {sum(t.num_targets for _, t in jobs)} nuclei": label}


def scene(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 21 classes and a boundary, smooth with some noise; of nothing that either checkout has."""
    scores = 25 * gaussian_filter(rng.normal(size=(21, height, width)), (0, 6, 6)) + rng.normal(
        0, 0.2, (21, height, width)
    )
    probability = np.exp(scores) / np.exp(scores).sum(0)
    edge = np.hypot(*np.gradient(gaussian_filter(probability.max(0), 1)))
    return probability.astype(np.float32), (edge / edge.max()).astype(np.float32)


def serve(quick: bool, only: str, data: Path | None) -> None:
    """Time the calls whose names come in, line by line; the first calls compile."""
    every = calls(quick) | ({} if data is None else real(data))
    found = {name: call for name, call in every.items() if only in name}
    for call in found.values():
        call()
    print("\t".join(found), flush=True)
    for name in sys.stdin:
        start, begun, times = time.process_time(), time.perf_counter(), 0
        while not times or time.perf_counter() - begun < 0.02:  # short calls several times in a row
            found[name.strip()]()
            times += 1
        print((time.process_time() - start) / times, flush=True)


def start(checkout: Path, quick: bool, only: str, data: Path | None) -> subprocess.Popen:
    """A server of a checkout; both run this file."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, str(HERE / "benchmarks" / "versus.py"), str(checkout), "--serve", f"--only={only}"]
    command += (["--quick"] if quick else []) + ([f"--data={data}"] if data else [])
    return subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, **threads, "PYTHONPATH": str(checkout)},
    )  # fmt: skip


def asked(server: subprocess.Popen, name: str) -> float:
    """Seconds of a call."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{name}\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def measure(servers: list[subprocess.Popen], repeats: int, seconds: dict[str, list[tuple[float, float]]]) -> None:
    """Add the turns of a pair of processes: seconds before and now, by call."""
    names, _ = (server.stdout.readline().strip().split("\t") for server in servers if server.stdout)
    for turn in range(repeats):
        for name in names:
            pair = [asked(server, name) for server in (servers if turn % 2 else servers[::-1])]
            seconds.setdefault(name, []).append((pair[0], pair[1]) if turn % 2 else (pair[1], pair[0]))
    for server in servers:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--repeats", type=int, default=9, help="turns of a pair of processes")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of processes")
    parser.add_argument("--quick", action="store_true", help="small sizes alone")
    parser.add_argument("--data", type=Path, help="folder with coco_panoptic_layout: real pictures, too")
    parser.add_argument("--only", default="", metavar="TEXT", help="calls whose name holds this")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.quick, options.only, options.data)
        return
    seconds: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.pairs):
        pair = [
            start(checkout, options.quick, options.only, options.data) for checkout in (options.before.resolve(), HERE)
        ]
        measure(pair, options.repeats, seconds)
    rows = []
    print(f"{'call':<36}{'before, ms':>12}{'now, ms':>12}{'ratio':>8}  quartiles")
    for name, pairs in seconds.items():
        old, new = (statistics.median(side) for side in zip(*pairs, strict=True))
        low, ratio, high = statistics.quantiles([after / before for before, after in pairs], n=4)
        rows.append({"call": name, "before": old, "now": new, "ratio": ratio, "quartiles": [low, high]})
        print(f"{name:<36}{1e3 * old:>12.3f}{1e3 * new:>12.3f}{ratio:>8.3f}  {low:.3f} to {high:.3f}")
    if options.json:
        from harness import write_json

        write_json(options.json, rows)


if __name__ == "__main__":
    main()
