"""Mean IoU of pseudo-masks on real pictures, against other ways to use the same points and the same maps.

What is judged is the labelling alone: no network, maps from the picture's colours. A method may see the picture, the
points and what the protocol gives (see protocols.py), never the masks. Intervals are 95 %, from resampling pictures;
differences are paired: the same pictures, seeds and points.

    python benchmarks/quality --data ../shared/data --seeds 5 --json benchmarks/results/quality.json
    python benchmarks/quality --data ../shared/data --table capacity        # the paper's Table 5 on these pictures
    python benchmarks/quality --data ../shared/data --table confidence      # whether confidence knows what is right
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # harness.py

import numpy as np
from experiments import BASELINES, TABLES
from harness import machine, write_json
from hints import learn_typical
from methods import BASELINE
from protocols import PROTOCOLS, Problem, problems
from runs import Run, run_problem
from scenes import KINDS, scenes
from scores import confidence_curve, interval, panoptic_quality, rank_correlation, rejection_area


def row(run: Run, baseline: Run, seeds: int) -> dict[str, object]:
    """The numbers of one method."""
    iou, seed, picture = np.array(run.iou), np.array(run.seed), np.array(run.picture)
    touching, gain = np.array(run.touching), np.array(run.iou) - np.array(baseline.iou)
    by_seed = [float(iou[seed == s].mean()) for s in range(seeds)]
    found: dict[str, object] = {
        "mean_iou": float(iou.mean()),
        "std_over_seeds": float(np.std(by_seed, ddof=1)) if seeds > 1 else 0.0,
        "by_seed": by_seed,
        "interval": interval(iou, picture),
        "pq": panoptic_quality(iou),
        "gain": float(gain.mean()),
        "gain_interval": interval(gain, picture),
        "seconds": run.seconds,
        "times_baseline": float(np.median(np.array(run.calls) / np.array(baseline.calls))),
    }
    if touching.any():
        found["touching_iou"] = float(iou[touching].mean())
        found["touching_gain"] = float(gain[touching].mean())
        found["touching_gain_interval"] = interval(gain[touching], picture[touching])
    for name in ("confidence", "plan_share"):
        if sure := getattr(run, name):
            found |= trust(iou, np.array(sure), name)
    return found


def trust(iou: np.ndarray, sure: np.ndarray, name: str) -> dict[str, object]:
    """Whether what a method is sure of is what it got right."""
    return {
        f"iou_by_{name}": confidence_curve(iou, sure),
        f"rank_correlation_of_{name}": rank_correlation(iou, sure),
        f"rejection_area_of_{name}": rejection_area(iou, sure),
    }


def print_trust(numbers: dict[str, object]) -> None:
    """The lines below a method: its confidence, the plan's mean share beside it, and its time."""
    for name in ("confidence", "plan_share"):
        fifths = " ".join(f"{iou:.3f}" for iou in numbers[f"iou_by_{name}"])
        correlation, area = numbers[f"rank_correlation_of_{name}"], numbers[f"rejection_area_of_{name}"]
        print(f"    {name:<12} IoU by fifths {fifths}   rank correlation {correlation:.3f}   area {area:.3f}")
    print(f"    {numbers['times_baseline']:.2f} times the seconds of the first row (median of paired calls)")


def mapped(work: Callable[[Problem], dict[str, Run]], posed: list[Problem], workers: int) -> Iterator[dict[str, Run]]:
    """The runs of each problem, in order; without workers in this process."""
    if not workers:
        yield from map(work, posed)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, posed, chunksize=4)


def evaluate(posed: list[Problem], options: argparse.Namespace, head: dict[str, object]) -> list[dict[str, object]]:
    """All rows of one data set under one protocol; prints them."""
    work = partial(
        run_problem, table=options.table, seeds=options.seeds, points=options.points, sampler=options.sampler
    )
    totals: dict[str, Run] = {name: Run() for name in TABLES[options.table]}
    start = time.perf_counter()
    for runs in mapped(work, posed, options.workers):
        for name, run in runs.items():
            totals[name].extend(run)
    instances = sum(int(p.is_thing.sum()) for p in posed)
    head = {**head, "instances": instances, "groups": len(posed), "seeds": options.seeds}
    print(f"\n{head['data']}, {head['protocol']}: {instances} instances in {len(posed)} problems,", end=" ")
    print(f"{options.seeds} seeds, {time.perf_counter() - start:.0f} s")
    baseline = BASELINES.get(options.table, BASELINE)
    print(f"  {'':<42}{'IoU':>6}{'PQ':>7}{'gain over ' + baseline:>30}{'touching':>10}{'gain':>24}{'ms':>7}")
    rows = []
    for name, run in totals.items():
        numbers = row(run, totals[baseline], options.seeds)
        gains = [
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(
                numbers.get(gain, np.nan), *numbers.get(f"{gain}_interval", [np.nan] * 2)
            )
            for gain in ("gain", "touching_gain")
        ]
        print(
            f"  {name:<42}{numbers['mean_iou']:6.3f}{numbers['pq']:7.3f}{gains[0]:>30}"
            f"{numbers.get('touching_iou', np.nan):10.3f}{gains[1]:>24}"
            f"{1e3 * run.seconds / len(posed) / options.seeds:7.1f}",
            flush=True,
        )
        if options.table == "confidence" and run.confidence:
            print_trust(numbers)
        rows.append({**head, "method": name, **numbers})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", default="val", choices=["train", "val"], help="train: to choose; val: to report")
    parser.add_argument("--kinds", nargs="+", default=["photographs", "nuclei"], choices=KINDS)
    parser.add_argument("--protocols", nargs="+", default=["union"], choices=PROTOCOLS)
    parser.add_argument("--table", default="peers", choices=TABLES, help="which methods, or which of the ablations")
    parser.add_argument("--points", type=int, default=1, help="points of each instance")
    parser.add_argument("--sampler", default="uniform", choices=["uniform", "center", "border"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--side", type=int, help="length of the longer side (default: 200 and 256)")
    parser.add_argument("--limit", type=int, help="problems of each data set and protocol")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="0: in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for kind in options.kinds:
        sizes = {}
        if options.table == "sizes":
            others = scenes(kind, "train", options.data, options.side)
            sizes = learn_typical(problem for scene in others for problem in problems(scene, "points"))
        for protocol in options.protocols:
            pictures = scenes(kind, options.split, options.data, options.side)
            asked = islice((problem for scene in pictures for problem in problems(scene, protocol)), options.limit)
            posed = [replace(problem, typical=sizes) for problem in asked]
            head = {"data": kind, "split": options.split, "protocol": protocol, "table": options.table}
            head |= {"points": options.points, "sampler": options.sampler}
            rows += evaluate(posed, options, head)
    if options.json:
        write_json(options.json, rows)
        print(f"wrote {options.json} ({machine()['processor']})")


if __name__ == "__main__":
    main()
