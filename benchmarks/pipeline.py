"""The whole of Algorithm 1 on one picture: time per stage, at full resolution and at the paper's grid.

    python benchmarks/pipeline.py [--json results.json]

Maps of 21 channels at 600x800 with 10 targets, one point each; probabilities like a network's.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from typing import Any

import numpy as np
import torch
from geodesic import blobs
from harness import Timing, write_json

from point2mask_ot import ConvergenceWarning, PointTargets, PseudoMasker, PseudoMasks

SIZE, TARGETS = (600, 800), 10


def problem() -> tuple[np.ndarray, np.ndarray, PointTargets]:
    """Maps, and points each of the class that is most probable there."""
    rng = np.random.default_rng(0)
    semantic, boundary = blobs(rng, *SIZE)
    points = np.stack([rng.integers(0, side, TARGETS) for side in SIZE], axis=1)
    return semantic, boundary[None], PointTargets(points, category=semantic[:, *points.T].argmax(0))


def measure(preset: str, threads: int, repeats: int) -> dict[str, Any]:
    """Median seconds of each stage and of the whole call."""
    torch.set_num_threads(threads)
    semantic, boundary, targets = problem()
    masker = PseudoMasker(preset)
    result: PseudoMasks = masker(semantic, boundary, targets)  # compiles
    whole: list[float] = []
    stages: dict[str, list[float]] = {stage: [] for stage in result.diagnostics.seconds}
    for _ in range(repeats):
        start = time.perf_counter()
        result = masker(semantic, boundary, targets)
        whole.append(time.perf_counter() - start)
        for stage, seconds in result.diagnostics.seconds.items():
            stages[stage].append(seconds)
    transport = result.diagnostics.transport
    assert transport is not None
    return {
        "preset": preset,
        "stride": masker.config.stride,
        "threads": threads,
        "seconds": vars(Timing.of(whole)),
        "stages": {stage: statistics.median(seconds) for stage, seconds in stages.items()},
        "marginal_error": float(transport.marginal_error),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [measure(preset, threads, options.repeats) for preset in ("best", "paper") for threads in (1, 2)]
    for row in rows:
        stages = ", ".join(f"{stage} {1e3 * seconds:.0f}" for stage, seconds in row["stages"].items())
        name = f"{row['preset']}, stride {row['stride']}, {row['threads']} threads"
        print(f"{name}: {1e3 * row['seconds']['median']:.0f} ms ({stages})")
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
