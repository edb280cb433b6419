"""The whole of Algorithm 1 on one picture: time per stage, at full resolution and at the paper's grid.

    python benchmarks/pipeline.py [--quick] [--json results.json]

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
from harness import Timing, isolated, write_json
from maps import blobs

from point2mask_ot import ConvergenceWarning, PointTargets, PseudoMasker, PseudoMasks

SIZE, QUICK_SIZE, TARGETS = (600, 800), (48, 64), 10


def problem(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, PointTargets]:
    """Maps, and points each of the class that is most probable there."""
    rng = np.random.default_rng(0)
    semantic, boundary = blobs(rng, *size)
    points = np.stack([rng.integers(0, side, TARGETS) for side in size], axis=1)
    return semantic, boundary[None], PointTargets(points, category=semantic[:, *points.T].argmax(0))


def measure(preset: str, size: tuple[int, int], threads: int, repeats: int) -> dict[str, Any]:
    """Median seconds of each stage and of the whole call."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    semantic, boundary, targets = problem(size)
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
        "size": list(size),
        "stride": masker.config.stride,
        "threads": threads,
        "seconds": vars(Timing.of(whole)),
        "stages": {stage: statistics.median(seconds) for stage, seconds in stages.items()},
        "marginal_error": float(transport.marginal_error),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a few seconds: a small picture, one thread")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    size, repeats, counts = (QUICK_SIZE, 2, (1,)) if options.quick else (SIZE, options.repeats, (1, 2))
    settings = [(preset, threads) for preset in ("best", "paper") for threads in counts]
    measured = isolated(options.quick)
    rows = [measured(measure, preset, size, threads, repeats, threads=threads) for preset, threads in settings]
    for row in rows:
        stages = ", ".join(f"{stage} {1e3 * seconds:.0f}" for stage, seconds in row["stages"].items())
        name = f"{row['preset']}, stride {row['stride']}, {row['threads']} threads"
        print(f"{name}: {1e3 * row['seconds']['median']:.0f} ms ({stages})")
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
