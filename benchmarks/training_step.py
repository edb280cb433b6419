"""What the pseudo-mask branch adds to a training step of the reference trainer: time and peak memory.

    python benchmarks/training_step.py [--quick] [--backbone resnet50] [--json results.json]

One picture of 600 x 800, ResNet-50 from random weights, the preset ``voc_r50``: forward, losses, backward. "panoptic"
is a step of the network that is kept (things, stuff, their losses against given masks); "with the branch" adds the
semantic, boundary and manifold heads with their losses, and Algorithm 1, which is also timed by itself. Seconds are
those of the processor, on one thread, so that other work on the machine counts little. Each step runs in a process of
its own, but for --quick; memory is the peak of the resident set beyond that before the first step. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Timing, isolated, memory, reset_peak_memory, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from panoptic_segformer.config import Config, Network, Optimiser, PseudoLabels
from panoptic_segformer.criterion import Criterion
from panoptic_segformer.data import Sample, collate
from panoptic_segformer.network import PanopticSegformer
from panoptic_segformer.presets import PRESETS
from panoptic_segformer.targets import Batch, Labeller

from point2mask_ot import PointTargets

THINGS, STUFF, TARGETS = 20, 1, 8


def settings(backbone: str) -> Network:
    """The paper's sizes, or those of the tiny preset."""
    return PRESETS["tiny"][1].network if backbone == "tiny" else Network(backbone=backbone)


def one_picture(size: tuple[int, int]) -> Batch:
    """A picture of smooth noise with points of eight things and of the background."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 12, 16), np.float32))
    picture = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1) * 255
    points = PointTargets(
        rng.integers(0, size, (TARGETS + 1, 2)),
        category=[*rng.integers(0, THINGS, TARGETS), THINGS],
        is_thing=[True] * TARGETS + [False],
    )
    return collate([Sample(picture.permute(1, 2, 0).byte().numpy(), points, 0)])


def processor_seconds(function: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Of each of some calls."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return vars(Timing.of(seconds))


def measured(branch: bool, backbone: str, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Seconds of the steps and mebibytes of their peak."""
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    network, batch = PanopticSegformer(settings(backbone), THINGS, STUFF).train(), one_picture(size)
    labeller = Labeller(PseudoLabels(), THINGS)
    criterion = Criterion(network, Config(network=settings(backbone), optimiser=Optimiser(warmup_epochs=0)))
    totals = criterion.totals(batch)
    with torch.no_grad():
        targets = labeller(network(batch.pictures, batch.inside), batch, 0)

    def step() -> None:
        outputs = network(batch.pictures, batch.inside, label=branch)
        if branch:
            losses = criterion(outputs, batch, labeller(outputs, batch, 0), 0, totals)
        else:
            losses = criterion.of_things(outputs, batch, targets) | criterion.of_stuff(outputs, batch, targets)
        sum(losses.values()).backward()
        network.zero_grad()

    before = memory("VmRSS")
    reset_peak_memory()
    step()
    peak = memory("VmHWM") - before
    return {"seconds": processor_seconds(step, repeats), "peak_mib": peak / 2**20}


def algorithm(backbone: str, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Seconds of Algorithm 1 in each preset, on the maps of one network; "all pixels" is the first phase."""
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    batch = one_picture(size)
    with torch.no_grad():
        outputs = PanopticSegformer(settings(backbone), THINGS, STUFF)(batch.pictures, batch.inside)
    seconds = {}
    for preset in ("paper", "best"):
        labeller = Labeller(PseudoLabels(preset=preset), THINGS)
        for phase, at in (("all pixels", 0), ("things", labeller.settings.centroid_epoch)):
            labeller(outputs, batch, at)  # compiles
            seconds[f"{preset}, {phase}"] = processor_seconds(
                lambda run=labeller, at=at: run(outputs, batch, at), repeats
            )
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the tiny network on a small picture")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    backbone, size = ("tiny", (96, 128)) if options.quick else (options.backbone, (600, 800))
    shared = (backbone, size, 1 if options.quick else options.repeats)
    alone = isolated(options.quick)  # a process of its own imports the trainer anew
    rows = []
    for name, branch in (("panoptic", False), ("with the branch", True)):
        found = alone(measured, branch, *shared)
        rows.append({"task": "step", "what": name} | found)
        print(f"{name:24} {found['seconds']['median']:8.3f} s  {found['peak_mib']:8.0f} MiB", flush=True)
    for name, seconds in alone(algorithm, *shared).items():
        rows.append({"task": "algorithm 1", "what": name, "seconds": seconds})
        print(f"Algorithm 1 {name:18} {seconds['median']:8.3f} s", flush=True)
    if options.json:
        write_json(options.json, rows, backbone=backbone, size=size)


if __name__ == "__main__":
    main()
