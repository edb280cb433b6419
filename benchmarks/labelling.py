"""Label real data sets as a user would, and measure: pictures a second, memory, and what an interruption changes.

Points are drawn from the true masks, maps come from the pictures' colours.

    python benchmarks/labelling.py --data ../shared/data --json labelling.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import write_json

from point2mask_ot import sample_points
from point2mask_ot.panoptic import PicturePoints, read_coco_panoptic, write_point_set

COMMAND = [sys.executable, "-c", "import sys; from point2mask_ot.cli import main; sys.exit(main())", "label-dataset"]
VARYING = ("timing.json", "report.html")
COCO_TRAIN = 118_287
REPEATED = 20


def data_sets(data: Path) -> dict[str, list[str]]:
    """The words on the command line that name each data set."""
    voc, nuclei = data / "voc_layout/VOCdevkit/VOC2012", data / "coco_panoptic_layout"
    sets = {}
    for split in ("val", "train"):
        words = ["--sample", str(voc), "--truth", str(voc), "--split", split, "--images", str(voc / "JPEGImages")]
        sets[f"photographs {split}"] = words
        truth = str(nuclei / f"annotations/panoptic_{split}.json")
        sets[f"nuclei {split}"] = ["--sample", truth, "--truth", truth, "--images", str(nuclei / split)]
    return sets


def label(words: list[str], out: Path, workers: int, *, stop_after: int | None = None) -> int:
    """Run the command; with ``stop_after`` it gets SIGTERM once that many pictures are done. Gives its status."""
    process = subprocess.Popen([*COMMAND, *words, "--out", str(out), "--workers", str(workers)], stdout=sys.stderr)
    if stop_after is not None:
        while process.poll() is None and len(list((out / ".job/records").glob("*/*.json"))) < stop_after:
            time.sleep(0.05)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    return process.wait()


def results(out: Path) -> dict[str, bytes]:
    """Every file of a job that must not depend on how it ran."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {n: path.read_bytes() for n, path in sorted(files.items()) if not n.startswith(".job/") and n not in VARYING}


def whole_sets(data: Path, folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Each data set with one command, with one worker and with two; the latter interrupted half way and resumed."""
    for name in names:
        words = data_sets(data)[name]
        alone, stopped = folder / f"{name} 1", folder / f"{name} 2"
        assert label(words, alone, 1) == 0
        summary = read(alone, "summary.json")
        status = label(words, stopped, 2, stop_after=summary["pictures"] // 2)
        done = len(list((stopped / ".job/records").glob("*/*.json")))
        assert label(words, stopped, 2) == 0
        yield {
            "task": "whole set",
            "data": name,
            "pictures": summary["pictures"],
            "set_aside": summary["set_aside"],
            "interrupted_after": done,
            "status_of_the_interrupted": status,
            "identical": results(alone) == results(stopped),
            "pq": summary["scores"]["pq"],
            "miou": summary["scores"]["miou"],
            "milliseconds_by_stage": {
                stage: round(1000 * seconds / summary["labelled"], 2)
                for stage, seconds in read(alone, "timing.json")["seconds_by_stage"].items()
            },
        }


def throughput(data: Path, folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Pictures a second by number of workers, from the second half of each job: compilers and imports are over."""
    for name in names:
        for workers in (1, 2):
            out = folder / f"throughput {name} {workers}"
            assert label(data_sets(data)[name], out, workers) == 0
            ends = sorted(path.stat().st_mtime for path in (out / ".job/records").glob("*/*.json"))
            half = len(ends) // 2
            rate = (len(ends) - 1 - half) / (ends[-1] - ends[half])
            yield {
                "task": "throughput",
                "data": name,
                "workers": workers,
                "pictures_a_second": rate,
                "hours_for_coco_train": COCO_TRAIN / rate / 3600,
            }


def memory(data: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Peak memory of the job and of its worker over 100 and over 500 pictures: the same ones under new names."""
    root = data / "coco_panoptic_layout"
    dataset = read_coco_panoptic(root / "annotations/panoptic_val.json", root / "annotations/panoptic_val")
    for count in (100, 500):
        images = folder / f"images{count}"
        images.mkdir()
        pictures = []
        for index in range(count):
            truth = dataset[index % REPEATED]
            name = f"{index:04}{Path(truth.file_name).suffix}"
            shutil.copyfile(root / "val" / truth.file_name, images / name)
            targets = sample_points(truth, dataset.categories, stuff=True).targets
            pictures.append(PicturePoints(name, index + 1, targets))
        points = folder / f"points{count}.json"
        write_point_set(points, pictures, sorted(dataset.categories, key=lambda category: not category.is_thing))
        out = folder / f"memory{count}"
        assert label(["--images", str(images), "--points", str(points), "--stride", "2"], out, 1) == 0
        yield {"task": "memory", "pictures": count, **read(out, "timing.json")["last_run"]["peak_mib"]}


def read(out: Path, name: str) -> Any:
    return json.loads((out / name).read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc_layout and coco_panoptic_layout")
    parser.add_argument("--quick", action="store_true", help="the smaller sets only")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a new folder for the results, to look at the reports")
    options = parser.parse_args()
    small = ["photographs val", "nuclei val"]
    names = small if options.quick else list(data_sets(options.data))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        os.makedirs(folder, exist_ok=True)
        for part in (memory(options.data, folder), whole_sets(options.data, folder, names)):
            rows += [show(row) for row in part]
        rows += [show(row) for row in throughput(options.data, folder, small)]
    if options.json:
        write_json(options.json, rows)


def show(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
