"""Thousands of targets in one picture: time and peak memory of `label_picture`, per pixel, against their number.

    python benchmarks/dense_scenes.py [--quick] [--json results.json]

Pictures of cells are drawn: textured discs, no two alike, touching here and there, on a textured ground, one point in
each; with eight points on the ground, whose costs are those of paths, or without, whose costs are those of walks. Every
row is a process of its own with one thread, but for --quick; memory is the peak beyond what the process held before
the picture came. Where it fits, the path that keeps a map of the picture for each target is run beside it, and labels
are compared.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from harness import Timing, isolated, memory, reset_peak_memory, write_json
from scipy.ndimage import gaussian_filter

from point2mask_ot import BackgroundWarning, PointTargets, PseudoMasks, label_picture
from point2mask_ot.masks import crowd

SCENES = [
    (512, 20), (512, 100), (512, 400),
    (1024, 20), (1024, 100), (1024, 400), (1024, 2000),
    (2048, 20), (2048, 400), (2048, 2000), (2048, 5000),
    (4096, 5000),
    (8192, 5000),
]  # fmt: skip
QUICK = [(96, 40)]
DENSE_BYTES = 6e9
"""What the maps of all targets may take where they are run for comparison; about three of them are alive at once."""
POINTS_ON_GROUND = 8
REPEATED_PIXELS = 1024**2
"""Larger pictures are labelled once."""


class Scene(NamedTuple):
    """A picture of cells.

    Attributes:
        picture: (H, W, 3) uint8.
        targets: K cells, and the ground as one more where it has points.
        owner: (H, W) int64 cell of each pixel, -1 for the ground.
    """

    picture: np.ndarray
    targets: PointTargets
    owner: np.ndarray


def scene(side: int, cells: int, *, ground: bool, seed: int = 0) -> Scene:
    """Draw ``cells`` of them on ``side`` x ``side`` pixels, each near a place of its own in a jittered lattice."""
    rng = np.random.default_rng(seed)
    across = math.ceil(math.sqrt(cells))
    spacing = side / across
    places = rng.permutation(across**2)[:cells]
    centres = (np.stack([places // across, places % across], 1) + 0.5 + rng.normal(0, 0.1, (cells, 2))) * spacing
    radii = spacing * rng.uniform(0.25, 0.5, cells)
    colours = np.array([110.0, 70.0, 150.0]) + rng.normal(0, 18, (cells, 3))
    picture = np.full((side, side, 3), (225, 190, 215), np.float32)
    owner = np.full((side, side), -1)
    for cell, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        top, left = np.maximum(np.floor(centre - radius), 0).astype(int)
        bottom, right = np.ceil(centre + radius).astype(int) + 1
        box = np.s_[top:bottom, left:right]
        y, x = np.ogrid[box][0] - centre[0], np.ogrid[box][1] - centre[1]
        disc = (y**2 + x**2 < radius**2)[: side - top, : side - left]
        owner[box][disc], picture[box][disc] = cell, colours[cell]
    for channel in range(3):  # one at a time: the largest pictures leave little room
        plane = gaussian_filter(picture[..., channel], 1.0)
        plane += gaussian_filter(rng.standard_normal((side, side), np.float32) * 60, 1.5)
        plane += rng.standard_normal((side, side), np.float32) * 6
        picture[..., channel] = plane
    points = np.clip(np.rint(centres), 0, side - 1).astype(int)
    of, is_thing = np.arange(cells), np.ones(cells, bool)
    if ground:
        free = np.setdiff1d(np.flatnonzero(owner < 0), points @ (side, 1))
        clicks = rng.choice(free, POINTS_ON_GROUND, replace=False)
        points = np.concatenate([points, np.stack([clicks // side, clicks % side], 1)])
        of, is_thing = np.append(of, np.full(POINTS_ON_GROUND, cells)), np.append(is_thing, False)
    return Scene(picture.clip(0, 255).astype(np.uint8), PointTargets(points, of, is_thing=is_thing), owner)


def label(side: int, cells: int, ground: bool, sparse: bool, repeats: int) -> dict[str, Any]:
    """Label such a picture; the seconds, the peak and the labels themselves."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", BackgroundWarning)
    crowd.FEWEST = 32 if sparse else 1 << 30
    small = scene(min(side, 512), min(cells, 400), ground=ground)
    label_picture(small.picture, small.targets)  # compiles
    del small
    drawn = scene(side, cells, ground=ground)
    reset_peak_memory()
    before = memory("VmRSS")
    seconds, result = [], None
    for _ in range(repeats if side**2 <= REPEATED_PIXELS else 1):
        del result  # or it would count beside the next one
        start = time.perf_counter()
        result = label_picture(drawn.picture, drawn.targets)
        seconds.append(time.perf_counter() - start)
    peak = memory("VmHWM") - before
    plan = result.diagnostics.transport
    assert plan is not None
    return {
        "side": side,
        "targets": cells,
        "ground": ground,
        "sparse": sparse,
        "seconds": vars(Timing.of(seconds)),
        "stages": dict(result.diagnostics.seconds),
        "microseconds_per_pixel": 1e6 * Timing.of(seconds).median / side**2,
        "peak_mib": peak / 2**20,
        "bytes_per_pixel": peak / side**2,
        "mean_iou": mean_iou(result, drawn),
        "marginal_error": float(plan.marginal_error),
        "bound": float(plan.bound),
        "labels": np.asarray(result.instance, np.int32) if side**2 <= REPEATED_PIXELS else None,
    }


def mean_iou(result: PseudoMasks, drawn: Scene) -> float:
    """Over the cells."""
    cells = int(drawn.owner.max()) + 1
    found = np.asarray(result.instance)
    both = np.bincount(found[found == drawn.owner] + 1, minlength=cells + 1)[1:]
    areas = [
        np.bincount(labels[labels < cells].ravel() + 1, minlength=cells + 1)[1:] for labels in (found, drawn.owner)
    ]
    return float((both / np.maximum(areas[0] + areas[1] - both, 1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few seconds: one small picture of each kind")
    parser.add_argument("--largest", type=int, default=8192, help="leave out pictures with longer sides")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    alone, fewest = isolated(options.quick), crowd.FEWEST
    rows = []
    for side, cells in QUICK if options.quick else SCENES:
        for ground in (True, False):
            if side > options.largest:
                continue
            several = cells + ground > fewest
            kinds = [True] + [False] * (several and 3 * 4 * cells * side**2 < DENSE_BYTES)
            made = [alone(label, side, cells, ground, sparse, options.repeats) for sparse in kinds]
            labels = [row.pop("labels") for row in made]
            if len(made) == 2:
                made[0]["labels_that_differ"] = float((labels[0] != labels[1]).mean())
            rows += made
            for row in made:
                print(_line(row), flush=True)
    if options.json:
        write_json(options.json, rows)


def _line(row: dict[str, Any]) -> str:
    kind = ("paths" if row["ground"] else "walks") + (", sparse" if row["sparse"] else ", dense")
    differ = f", labels that differ {row['labels_that_differ']:.1e}" if "labels_that_differ" in row else ""
    return (
        f"{row['side']:5} x {row['side']:<5} {row['targets']:5} targets {kind:14} {row['seconds']['median']:7.2f} s "
        f"{row['microseconds_per_pixel']:6.2f} us/px {row['peak_mib']:7.0f} MiB {row['bytes_per_pixel']:6.0f} B/px "
        f"IoU {row['mean_iou']:.3f} error {row['marginal_error']:.0e} bound {row['bound']:.0e}{differ}"
    )


if __name__ == "__main__":
    main()
