"""Mean IoU of pseudo-masks on real pictures, against other ways to use the same points and the same maps.

For each group of touching instances of one class, the union of their true masks is given, one uniformly random
pixel of each instance is its point, and the method splits the union. What is judged is the split alone: no network,
maps from the picture's colours.

    python benchmarks/quality.py --data ../shared/data --seeds 5 --json benchmarks/results/quality.json
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from harness import machine, write_json
from scipy import ndimage
from skimage import segmentation, transform

from point2mask_ot import ConvergenceWarning, MapTerm, PointTargets, PseudoMasker, lab_gradient, smooth_lab
from point2mask_ot.panoptic import PanopticDataset, read_coco_panoptic, read_voc

LONGEST_SIDE = {"photographs": 200, "nuclei": 256}


@dataclass(frozen=True, eq=False)
class Group:
    """Touching instances of one class, cropped: ``truth`` is -1 outside their union."""

    name: str
    lab: np.ndarray
    gradient: np.ndarray
    truth: np.ndarray

    @property
    def count(self) -> int:
        return int(self.truth.max()) + 1

    def points(self, seed: int) -> np.ndarray:
        """(K, 2): one uniformly random pixel of each instance."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return np.array([rng.choice(np.argwhere(self.truth == k)) for k in range(self.count)])


def groups(name: str, picture: np.ndarray, id_map: np.ndarray, category: dict[int, int], side: int) -> Iterator[Group]:
    """All groups of a picture after scaling its longer side down to ``side``."""
    scale = min(1.0, side / max(id_map.shape))
    height, width = (max(1, round(length * scale)) for length in id_map.shape)
    picture = transform.resize(picture, (height, width), anti_aliasing=scale < 1).astype(np.float32)
    rows = ((np.arange(height) + 0.5) * id_map.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * id_map.shape[1] / width).astype(int)
    ids = id_map[np.ix_(rows, columns)]
    lab, gradient = smooth_lab(picture), lab_gradient(picture)
    classes = np.vectorize(lambda i: category.get(i, -1), otypes=[int])(ids)
    for wanted in sorted(set(category.values())):
        parts, number = ndimage.label(classes == wanted, structure=np.ones((3, 3)))
        for part in range(1, number + 1):
            members = [i for i in np.unique(ids[parts == part]) if (ids[parts == part] == i).sum() >= 10]
            if len(members) < 2:
                continue
            truth = np.full(ids.shape, -1)
            for k, member in enumerate(members):
                truth[(ids == member) & (parts == part)] = k
            box = ndimage.find_objects((truth >= 0).astype(int))[0]
            yield Group(f"{name}/{wanted}/{part}", lab[:, *box], gradient[:, *box], truth[box])


def load(dataset: PanopticDataset, kind: str, limit: int | None) -> list[Group]:
    found: list[Group] = []
    for index, truth in enumerate(dataset):
        things = {s.id: s.category_id for s in truth.segments if s.is_thing and not s.is_crowd}
        found += groups(str(truth.image_id), dataset.picture(index), truth.id_map, things, LONGEST_SIDE[kind])
        if limit and len(found) >= limit:
            break
    return found[:limit]


# ------------------------------------------------------------------------------------------------- the methods


def euclidean(group: Group, points: np.ndarray) -> np.ndarray:
    pixels = np.indices(group.truth.shape).transpose(1, 2, 0)
    return ((pixels[None] - points[:, None, None]) ** 2).sum(-1).argmin(0)


def markers(group: Group, points: np.ndarray) -> np.ndarray:
    marks = np.zeros(group.truth.shape, int)
    marks[tuple(points.T)] = np.arange(1, len(points) + 1)
    return marks


def watershed(group: Group, points: np.ndarray) -> np.ndarray:
    return segmentation.watershed(group.gradient[0], markers(group, points), mask=group.truth >= 0) - 1


def random_walker(group: Group, points: np.ndarray, beta: float) -> np.ndarray:
    marks = np.where(group.truth >= 0, markers(group, points), -1)
    # skimage refuses to start where a marker leaves nothing to decide; then the markers are the answer.
    if not (marks == 0).any():
        return marks - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on islands without a marker, which are scored as misses
        data = group.lab.transpose(1, 2, 0).astype(np.float64)
        return segmentation.random_walker(data, marks, beta=beta, mode="cg_j", channel_axis=-1) - 1


def leaves_union(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """A wall around the union, whose shape is given."""
    return torch.where((here != there)[:, 0], torch.inf, 0.0)


def point2mask(group: Group, points: np.ndarray, preset: str = "best", **overrides: object) -> np.ndarray:
    union = (group.truth >= 0)[None].astype(np.float32)
    terms = [MapTerm(group.lab), MapTerm(union, kind=leaves_union)]
    stride = min(PseudoMasker(preset, **overrides).config.stride, *group.truth.shape)
    masker = PseudoMasker(preset, **{"stuff": "supply", "step_cost": 1e-3, **overrides, "stride": stride})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return masker(None, group.gradient, PointTargets(points), terms=terms).instance


def true_capacities(group: Group, points: np.ndarray) -> np.ndarray:
    """Not a method: the room above, if the number of pixels of each target were known."""
    sizes = torch.bincount(torch.from_numpy(group.truth[group.truth >= 0])).double()
    return point2mask(group, points, capacity=lambda partition, targets, demand: sizes)


METHODS: dict[str, Callable[[Group, np.ndarray], np.ndarray]] = {
    "nearest point (Euclidean)": euclidean,
    "watershed (scikit-image)": watershed,
    "random walker, beta 100 (scikit-image)": partial(random_walker, beta=100),
    "random walker, beta 1000 (scikit-image)": partial(random_walker, beta=1000),
    "minimum cost": partial(point2mask, method="minimum"),
    "paper, stride 16": partial(point2mask, preset="paper"),
    "paper, full resolution": partial(point2mask, preset="paper", stride=1),
    "best": point2mask,
    "best, given the true capacities": true_capacities,
}


# ---------------------------------------------------------------------------------------------------- the score


def score(labels: np.ndarray, truth: np.ndarray) -> list[float]:
    """IoU of each instance."""
    found = []
    for k in range(int(truth.max()) + 1):
        mask, true = (labels == k) & (truth >= 0), truth == k
        found.append(float((mask & true).sum() / (mask | true).sum()))
    return found


def run_group(group: Group, seeds: int) -> dict[str, list[list[float]]]:
    torch.set_num_threads(1)
    results: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(seeds):
        points = group.points(seed)
        for name, method in METHODS.items():
            results[name].append(score(method(group, points), group.truth))
    return dict(results)


def evaluate(kind: str, found: list[Group], seeds: int, workers: int) -> list[dict[str, object]]:
    start = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        runs = list(pool.map(partial(run_group, seeds=seeds), found, chunksize=1))
    instances = sum(group.count for group in found)
    seconds = time.perf_counter() - start
    print(f"\n{kind}: {instances} instances in {len(found)} groups, {seeds} seeds, {seconds:.0f} s")
    rows = []
    for name in METHODS:
        by_seed = [float(np.mean([iou for run in runs for iou in run[name][seed]])) for seed in range(seeds)]
        mean, spread = float(np.mean(by_seed)), float(np.std(by_seed, ddof=1)) if seeds > 1 else 0.0
        rows.append({"data": kind, "method": name, "mean_iou": mean, "std_over_seeds": spread, "by_seed": by_seed})
        print(f"  {name:<42}{mean:.3f} +- {spread:.3f}")
    return [{**row, "instances": instances, "groups": len(found), "seeds": seeds} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", default="val", choices=["train", "val"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="groups of each data set")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    voc = read_voc(options.data / "voc_layout/VOCdevkit/VOC2012", options.split)
    folder = options.data / "coco_panoptic_layout"
    nuclei = read_coco_panoptic(
        folder / f"annotations/panoptic_{options.split}.json",
        folder / f"annotations/panoptic_{options.split}",
        folder / options.split,
    )
    rows: list[dict[str, object]] = []
    for kind, dataset in (("photographs", voc), ("nuclei", nuclei)):
        rows += evaluate(kind, load(dataset, kind, options.limit), options.seeds, options.workers)
    if options.json:
        write_json(options.json, rows)
        print(f"wrote {options.json} ({machine()['processor']})")


if __name__ == "__main__":
    main()
