"""Label real data sets as a user would, and measure: pictures a second, memory, and what an interruption changes.

Points are drawn from the true masks, maps come from the pictures' colours.

    python benchmarks/labelling.py --data ../shared/data --stride 4 --json labelling.json
    python benchmarks/labelling.py --data ../shared/data --stride 4 --parts throughput --json labelling_throughput.json

The first (memory and whole sets) takes about 20 minutes on two cores and may share them; the second takes about 4
and needs an idle machine.
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
VARYING = ("timing.json", "report.html", "report/pictures.html")
COCO_TRAIN = 118_287
REPEATED = 20
WARM_UP = 3


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


def label(words: list[str], out: Path, workers: int, *, end: tuple[int, int] | None = None) -> int:
    """Run the command; with ``end`` = (signal, pictures) it is sent once so many are done. Gives the exit status."""
    process = subprocess.Popen([*COMMAND, *words, "--out", str(out), "--workers", str(workers)], stdout=sys.stderr)
    if end is not None:
        number, pictures = end
        while process.poll() is None and done(out) < pictures:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(number)
    status = process.wait()
    return status if status >= 0 else 128 - status  # as a shell says it


def done(out: Path) -> int:
    """How many pictures have their record."""
    return len(list((out / ".job/records").glob("*/*.json")))


def in_time(out: Path) -> list[Path]:
    """The records, as they came."""
    return sorted((out / ".job/records").glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)


def results(out: Path) -> dict[str, bytes]:
    """Every file of a job that must not depend on how it ran."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {n: path.read_bytes() for n, path in sorted(files.items()) if not n.startswith(".job/") and n not in VARYING}


def whole_sets(data: Path, folder: Path, names: list[str], how: list[str]) -> Iterator[dict[str, Any]]:
    """Each data set with one command and one worker; and with two, killed and terminated on the way, and resumed."""
    for name in names:
        words = [*data_sets(data)[name], *how]
        alone, stopped = folder / f"{name} 1", folder / f"{name} 2"
        assert label(words, alone, 1) == 0
        summary = read(alone, "summary.json")
        ends = []
        for number, share in ((signal.SIGKILL, 3), (signal.SIGTERM, 1.5)):
            status = label(words, stopped, 2, end=(number, int(summary["pictures"] / share)))
            ends.append({"signal": number, "status": status, "pictures_done": done(stopped)})
        assert label(words, stopped, 2) == 0
        yield {
            "task": "whole set",
            "data": name,
            **labelled_by(alone, how),
            "pictures": summary["pictures"],
            "set_aside": summary["set_aside"],
            "ended_by": ends,
            "identical": results(alone) == results(stopped),
            "pq": summary["scores"]["pq"],
            "miou": summary["scores"]["miou"],
            "milliseconds_by_stage": milliseconds(alone),
        }


def throughput(data: Path, folder: Path, names: list[str], how: list[str]) -> Iterator[dict[str, Any]]:
    """Pictures a second by number of workers, without the first few of each, when compilers and imports are over.

    Photographs, whose few targets leave time for it, also at the preset's own stride.
    """
    for name in names:
        for settings in [how, how[:2]] if "photographs" in name and len(how) > 2 else [how]:
            for workers in (1, 2):
                out = folder / f"throughput {name} {len(settings)} {workers}"
                assert label([*data_sets(data)[name], *settings], out, workers) == 0
                ends = [path.stat().st_mtime for path in in_time(out)]
                first = WARM_UP * workers
                rate = (len(ends) - first) / (ends[-1] - ends[first - 1])
                yield {
                    "task": "throughput",
                    "data": name,
                    **labelled_by(out, settings),
                    "workers": workers,
                    "pictures": len(ends) - first,
                    "pictures_a_second": rate,
                    "hours_for_coco_train": COCO_TRAIN / rate / 3600,
                    "milliseconds_by_stage": milliseconds(out),
                }


def labelled_by(out: Path, how: list[str]) -> dict[str, Any]:
    """The words on the command line, and what they meant that day."""
    settings = read(out, "summary.json")["settings"]
    config = {name.removeprefix("config."): value for name, value in settings.items() if name.startswith("config.")}
    return {"settings": " ".join(how), "config": config}


def milliseconds(out: Path) -> dict[str, float]:
    """Of each stage, a picture's mean, without the first few."""
    spent = [json.loads(path.read_text())["seconds"] for path in in_time(out)[WARM_UP:]]
    return {stage: round(1000 * sum(one[stage] for one in spent) / len(spent), 2) for stage in spent[0]}


def memory(data: Path, folder: Path, names: list[str], how: list[str]) -> Iterator[dict[str, Any]]:
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
        words = ["--images", str(images), "--points", str(points), *how]
        assert label(words, out, 1) == 0
        peak = read(out, "timing.json")["last_run"]["peak_mib"]
        yield {"task": "memory", "data": "nuclei val", **labelled_by(out, how), "pictures": count, "peak_mib": peak}


def read(out: Path, name: str) -> Any:
    return json.loads((out / name).read_text())


PARTS = {"memory": memory, "sets": whole_sets, "throughput": throughput}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc_layout and coco_panoptic_layout")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["memory", "sets"])
    parser.add_argument("--preset", default="best")
    parser.add_argument("--stride", type=int, help="instead of the preset's: larger ones take less time")
    parser.add_argument("--quick", action="store_true", help="the smaller sets only")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a new folder for the results, to look at the reports")
    options = parser.parse_args()
    small = options.quick or options.parts == ["throughput"]
    how = ["--preset", options.preset] + (["--stride", str(options.stride)] if options.stride else [])
    names = [name for name in data_sets(options.data) if name.endswith("val") or not small]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        os.makedirs(folder, exist_ok=True)
        rows = [show(row) for part in options.parts for row in PARTS[part](options.data, folder, names, how)]
    if options.json:
        write_json(options.json, rows)


def show(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
