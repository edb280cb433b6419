"""What a large job's report and a large folder's page take: seconds and memory by the number of pictures.

    python benchmarks/report.py [--quick] [--pictures 1000 10000 100000] [--json results.json]

``report``: the final files of a job (annotations, summary, report, the page of all pictures) out of records that are
made up: 20 segments each of 80 categories, a score, thumbnails. Peak memory is that beyond the process as it was
before. ``annotate``: the page's server in a process of its own, on a folder in which every picture has points; seconds
from its start until the list is there, and its resident memory then. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from harness import isolated, memory, reset_peak_memory, write_json
from PIL import Image

from point2mask_ot import Category, PseudoMaskConfig
from point2mask_ot.files.io import Origin
from point2mask_ot.labelling.finish import write_results
from point2mask_ot.labelling.folder import JobFolder
from point2mask_ot.labelling.job_settings import JobSettings
from point2mask_ot.labelling.points_file import category_list
from point2mask_ot.labelling.report.thumbnails import thumbnail_names
from point2mask_ot.labelling.table import Table, build_table
from point2mask_ot.labelling.truth import Truth

sys.path.append(str(Path(__file__).parents[1] / "tests" / "annotate"))
from page_process import page_process

CATEGORIES = tuple(Category(number, f"category {number}", number <= 60) for number in range(1, 81))
SEGMENTS = 20
ASIDE = 50
"""One picture of so many was set aside."""


def name_of(position: int) -> str:
    """As they lie in folders of a thousand."""
    return f"folder {position // 1000}/picture {position}.jpg"


def made_up(name: str) -> dict[str, Any]:
    """The record of a picture."""
    position = int(Path(name).stem.split()[-1])
    if position % ASIDE == ASIDE - 1:
        return {"name": name, "error": f"label_dataset: argument 'images': got {name}: damaged"}
    rng = np.random.default_rng(position)
    sure = rng.random(SEGMENTS).round(6).tolist()
    segments = [
        {"id": k + 1, "category_id": int(c), "area": 900, "bbox": [k, k, 30, 30], "iscrowd": 0}
        for k, c in enumerate(rng.integers(1, 81, SEGMENTS))
    ]
    counts = np.zeros((7, len(CATEGORIES)))
    counts[:, [segment["category_id"] - 1 for segment in segments]] = 1
    return {
        "name": name,
        "size": [480, 640],
        "targets": SEGMENTS,
        "segments": segments,
        "confidences": sure,
        "confidence": round(float(np.mean(sure)), 6),
        "lost": 0,
        "void": 0.01,
        "converged": True,
        "no_background": False,
        "files": {},
        "thumbnails": list(thumbnail_names(name)),
        "score": {"truth": "made up", "counts": counts.tolist()},
        "seconds": {"transport": round(float(rng.random()), 6), "write": 0.01},
    }


def of_a_report(pictures: int) -> dict[str, float]:
    """Seconds and memory of the final files."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "out"
        folder = JobFolder(root)
        folder.job.mkdir(parents=True)
        settings = JobSettings(
            images=place,
            out=str(root),
            config=PseudoMaskConfig(),
            categories=CATEGORIES,
            truth=Truth(Path("made up.json"), "train", "truth"),
            truth_digest="made up",
            truth_categories=CATEGORIES,
        )
        folder.read_record = made_up  # type: ignore[method-assign]
        table, few = (table_of(folder, count) for count in (pictures, 10))
        write_results(settings, folder, few, {}, {"engine": "local"}, place)  # loads everything
        reset_peak_memory()
        before, start = memory("VmRSS"), time.perf_counter()
        write_results(settings, folder, table, {}, {"engine": "local"}, place)
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "peak_mib": max(0, memory("VmHWM") - before) / 2**20,
            "page_mib": (root / "report" / "pictures.html").stat().st_size / 2**20,
        }


def table_of(folder: JobFolder, pictures: int) -> Table:
    """The pictures, without points."""
    rows = ((None, name_of(position), {}) for position in range(pictures))
    about = {"categories": category_list(CATEGORIES)}
    return build_table(Origin("benchmark", "points", folder.root), folder.job / f"{pictures}.sqlite", "", about, rows)


def of_a_page(pictures: int) -> dict[str, float]:
    """Seconds until the list of a folder is there, and the memory of the server then."""
    with tempfile.TemporaryDirectory() as place:
        photos, clicks = Path(place, "photos"), Path(place, "clicks")
        photos.mkdir()
        clicks.mkdir()
        Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(photos / "0.png")
        listed = [{"id": 1, "name": "cup", "isthing": 1}]
        for number in range(pictures):
            if number:
                os.link(photos / "0.png", photos / f"{number}.png")
            images = [{"file_name": f"{number}.png", "points": [{"x": 5, "y": 5, "category": "cup"}]}]
            document = {"info": {"state": "begun"}, "categories": listed, "images": images}
            (clicks / f"{number}_points.json").write_text(json.dumps(document))
        start = time.perf_counter()
        with page_process([sys.executable, "-m", "point2mask_ot"], photos, "--out", clicks) as (address, process):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            told = json.loads(opener.open(f"{address}folder", timeout=300).read())
            seconds = time.perf_counter() - start
            assert len(told["states"]) == pictures
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return {"seconds": seconds, "resident_mib": resident / 2**10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[1000, 10_000, 100_000], help="of the report")
    parser.add_argument("--folder", type=int, nargs="*", default=[1, 10_000], help="pictures of the page's folder")
    parser.add_argument("--quick", action="store_true", help="a second: a small report, no page")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    run, rows = isolated(options.quick), []
    for pictures in [200] if options.quick else options.pictures:
        rows.append({"task": "report", "pictures": pictures, **run(of_a_report, pictures)})
        print(
            "{pictures:,} pictures: {seconds:.1f} s, {peak_mib:.0f} MiB more, page of {page_mib:.1f} MiB".format(
                **rows[-1]
            )
        )
    for pictures in [] if options.quick else options.folder:
        rows.append({"task": "annotate", "pictures": pictures, **of_a_page(pictures)})
        print(
            "{pictures:,} pictures in the folder: {seconds:.1f} s, {resident_mib:.0f} MiB".format(**rows[-1]),
            flush=True,
        )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
