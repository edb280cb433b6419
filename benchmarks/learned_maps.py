"""Labels of photographs from maps that are learnt from the points themselves, against colours alone.

Pictures and true masks of a folder in VOC's layout are scaled down, one random pixel of each segment is its point;
``examples/learn_maps.py`` learns from those of ``train`` alone, and both splits are labelled. The masks are looked at
to draw points and to score, no more.

    export OMP_NUM_THREADS=1
    python benchmarks/learned_maps.py --data ../shared/data --keep learned --set stride=2
    python benchmarks/learned_maps.py --data ../shared/data --keep learned --maps learned --set stride=2 point_radius=4

The first learns and labels, in about 7 minutes of one core; the second labels with what the first has learnt.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import write_json
from PIL import Image

from point2mask_ot import label_dataset, read_coco_panoptic, read_voc, sample_points, write_coco_panoptic
from point2mask_ot.panoptic import PanopticImage, PicturePoints, read_point_set, write_point_set

EXAMPLES = Path(__file__).parents[1] / "examples"


def prepare(
    voc: Path, split: str, folder: Path, side: int, seed: int, limit: int | None = None, size_error: float | None = None
) -> None:
    """``images/``, ``truth.json`` and ``points.json`` of a split, with the longer side of each picture ``side``."""
    dataset = read_voc(voc, split)
    categories = sorted(dataset.categories, key=lambda category: not category.is_thing)
    (folder / "images").mkdir(parents=True)

    def scaled() -> Iterator[PanopticImage]:
        for index, image in enumerate(islice(dataset, limit)):
            name = f"{Path(image.file_name).stem}.png"
            scale = side / max(image.size)
            size = [max(1, round(length * scale)) for length in image.size]
            picture = Image.fromarray(dataset.picture(index))
            picture.resize(size[::-1], Image.Resampling.LANCZOS).save(folder / "images" / name)
            rows, columns = ((np.arange(n) + 0.5) * old // n for n, old in zip(size, image.size, strict=True))
            ids = image.id_map[np.ix_(rows.astype(int), columns.astype(int))]
            left = tuple(segment for segment in image.segments if (ids == segment.id).any())
            yield replace(image, id_map=ids, segments=left, file_name=name)

    write_coco_panoptic(scaled(), folder / "truth.json", folder / "truth", categories)
    truths = read_coco_panoptic(folder / "truth.json", folder / "truth")
    how: dict[str, Any] = {"seed": seed, "stuff": True, "size_error": size_error}
    drawn = (PicturePoints(t.file_name, t.image_id, sample_points(t, categories, **how).targets) for t in truths)
    write_point_set(folder / "points.json", drawn, categories, {"seed": seed})


def object_ious(folder: Path, labels: Path) -> np.ndarray:
    """IoU of each thing's mask with the segment that its point was drawn from; 0 where it has none."""
    points = {entry.file_name: entry.targets for entry in read_point_set(folder / "points.json").pictures}
    truths = {truth.file_name: truth for truth in read_coco_panoptic(folder / "truth.json", folder / "truth")}
    found = []
    for image in read_coco_panoptic(labels / "panoptic.json", labels / "panoptic"):
        targets, true_ids = points[image.file_name], truths[image.file_name].id_map
        for k in np.flatnonzero(targets.is_thing):
            row, column = targets.points_yx[targets.target == k][0]
            mine, its = image.id_map == k + 1, true_ids == true_ids[row, column]
            found.append((mine & its).sum() / (mine | its).sum())
    return np.array(found)


def labelled(folder: Path, out: Path, maps: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Scores of the labels that one call makes."""
    start = time.perf_counter()
    beside = {} if maps is None else {"maps": maps, "add_colors": True}
    settings = {**beside, **changes, "truth": folder / "truth.json", "workers": 0, "progress": False}
    made = label_dataset(folder / "images", folder / "points.json", out, **settings)
    if made.set_aside:
        raise SystemExit(f"{made.set_aside} pictures set aside, see {out / 'set_aside.csv'}")
    ious = object_ious(folder, out)
    scores = {name: made.scores[name] for name in ("pq_things", "pq_stuff", "miou")}
    return {"pictures": made.labelled, "objects": len(ious), "mean_iou": float(ious.mean()), **scores} | {
        "seconds": round(time.perf_counter() - start, 1)
    }


def setting(text: str) -> tuple[str, Any]:
    """``name=value`` of a setting of ``label_dataset``, the value as JSON or a word."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc_layout")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], choices=["train", "val"])
    parser.add_argument("--maps", nargs="+", default=["colours", "learned"], choices=["colours", "learned"])
    parser.add_argument("--side", type=int, default=512, help="longer side of the pictures")
    parser.add_argument("--limit", type=int, help="pictures of each split (default: all)")
    parser.add_argument("--size-error", type=float, help="points come with sizes, off by this factor")
    parser.add_argument("--seed", type=int, default=0, help="of points and weights")
    parser.add_argument("--set", nargs="+", default=[], type=setting, metavar="NAME=VALUE", help="for the labels")
    parser.add_argument("--learn", nargs=argparse.REMAINDER, default=[], help="options of learn_maps.py; come last")
    parser.add_argument("--keep", type=Path, help="folder for pictures, maps and labels, of which later runs make use")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(EXAMPLES))
    torch.set_num_threads(1)
    changes, rows = dict(options.set), []
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        for split in {"train", *options.splits}:
            if not (root / split / "points.json").exists():
                voc, how = options.data / "voc_layout/VOCdevkit/VOC2012", (options.side, options.seed, options.limit)
                prepare(voc, split, root / split, *how, options.size_error)
        weights, train = root / "maps.pt", root / "train"
        if "learned" in options.maps and not weights.exists():
            given = ["--images", train / "images", "--points", train / "points.json", "--out", weights]
            words = [sys.executable, EXAMPLES / "learn_maps.py", *given, "--seed", options.seed, *options.learn]
            subprocess.run([str(word) for word in words], check=True)
        for split in options.splits:
            for name in options.maps:
                maps = f"learn_maps:LearnedMaps:{weights}" if name == "learned" else None
                number = len(list(root.glob(f"labels-{split}-*")))
                scores = labelled(root / split, root / f"labels-{split}-{number}", maps, changes)
                rows.append({"split": split, "maps": name, "set": changes, **scores})
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
