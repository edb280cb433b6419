"""Small data sets to label, ways to run a job in a process of its own, and what its results are."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import processes
from PIL import Image

from point2mask_ot import label_dataset

CATEGORIES = [{"id": 4, "name": "left", "isthing": 1}, {"id": 9, "name": "right", "isthing": 0}]
VARYING = ("timing.json", "report.html", "report/pictures.html")
"""The results that tell the time, and so are never the same twice."""


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Two noisy halves of different grey."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 30 + seed % 100)
    pixels[:, int(rng.integers(8, width - 8)) :] = 220
    return np.clip(pixels + rng.integers(-9, 9, pixels.shape), 0, 255).astype(np.uint8)


def entry(name: str, height: int = 24, width: int = 32) -> dict:
    """A picture's place in a points file."""
    points = [
        {"x": 2, "y": height // 2, "category": "left"},
        {"x": width - 3, "y": height // 2, "category": "right"},
    ]
    return {"file_name": name, "points": points}


def write_document(path: Path, images: list, categories: list = CATEGORIES) -> Path:
    path.write_text(json.dumps({"categories": categories, "images": images}))
    return path


def make_set(folder: Path, count: int) -> tuple[Path, Path]:
    """Pictures p000.png, p001.png, ... and their points: (folder of pictures, points file)."""
    images = folder / "images"
    images.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(picture(index)).save(images / f"p{index:03}.png")
    return images, write_document(folder / "points.json", [entry(f"p{index:03}.png") for index in range(count)])


def results(out: Path) -> dict[str, bytes]:
    """Every file of a job's results that must not depend on how it ran."""
    files = (path for path in out.rglob("*") if path.is_file())
    named = {path.relative_to(out).as_posix(): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in sorted(named.items())
        if not name.startswith((".job/", "shard-")) and name not in VARYING
    }


def start(*arguments: object, **options) -> processes.Program:
    """The command in a process of its own."""
    return processes.Program("point2mask", "label-dataset", *arguments, **options)


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    return processes.run("point2mask", "label-dataset", *arguments, **options)


SLOW_PLUG = """
import os, time
def maps(picture):
    time.sleep(float(os.environ.get("SECONDS_A_PICTURE", "0")))
    return {}
"""


def slow_job(folder: Path, count: int, *words: object) -> partial:
    """A job that can be met half done: ``start`` it in a process of its own, where it takes its time, or call it.

    Args:
        folder: of everything; it must be the working folder, for the plug-in that waits.
        count: of pictures.
        words: to start it with.

    Returns:
        What labels into a folder, with ``out`` to start it for, and ``calm``, the results where nothing interrupts.
    """
    images, points = make_set(folder, count)
    (folder / "slow_plug.py").write_text(SLOW_PLUG)
    job = partial(label_dataset, images, points, maps="slow_plug:maps", workers=0, progress=False)
    job.out, job.calm = folder / "out", results(job(folder / "calm").out)
    words = ("--images", images, "--points", points, "--maps", "slow_plug:maps", "--out", job.out, *words)
    job.start = partial(start, *words, env={**os.environ, "SECONDS_A_PICTURE": "0.1"})
    return job


def records(out: Path) -> int:
    """How many pictures are done."""
    return len(list((out / ".job" / "records").glob("*/*.json")))


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)
