"""Every figure of the README and the site measured anew, in one go on one commit: the JSON in ``results``.

    python benchmarks/run_all.py --data ../shared/data [--only walks quality ...]

Takes over two hours of a machine with two cores that does nothing else. What is scored needs real pictures and goes
first, two scripts side by side with a core each; what is timed goes alone. `make bench` installs the peers before it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
QUALITY = "quality --data {data} --seeds 5 --workers 1"
LABELLING = "labelling.py --data {data} --stride 4"
# The long ones first. Peers take seconds for a picture of nuclei: sixteen of them where pictures are whole.
SCORED = {
    "learned_distances": "learned_distances.py --data {data}",
    "labelling": LABELLING,
    "faults": "faults.py",
    "quality_points_nuclei": f"{QUALITY} --kinds nuclei --protocols points --limit 16",
    "quality_sizes_union_nuclei": f"{QUALITY} --table sizes --kinds nuclei",
    "quality_points": f"{QUALITY} --kinds photographs shapes --protocols points",
    "quality_sizes_points": f"{QUALITY} --table sizes --kinds photographs shapes --protocols points",
    "quality_sizes_union": f"{QUALITY} --table sizes --kinds photographs shapes",
    "quality_sizes_points_nuclei": f"{QUALITY} --table sizes --kinds nuclei --protocols points --limit 16",
    "quality": f"{QUALITY} --kinds photographs nuclei",
    "quality_classes": f"{QUALITY} --kinds photographs --protocols classes",
    "quality_classes_nuclei": f"{QUALITY} --kinds nuclei --protocols classes --limit 16",
}
TIMED = {
    "pipeline": "pipeline.py",
    "geodesic": "geodesic.py",
    "transport": "transport.py",
    "walks": "walks.py",
    "gradients": "gradients.py",
    "dense_scenes": "dense_scenes.py --largest 2048 --repeats 2",
    "footprint": "footprint.py",
    "report": "report.py",
    "losses": "losses.py",
    "tree": "tree.py",
    "training_step": "training_step.py",
    "annotate_latency": "annotate_latency.py",
    "labelling_throughput": f"{LABELLING} --parts throughput",
}


def measure(name: str, data: Path, results: Path, threads: int | None = None) -> bool:
    """Run one script; what it printed comes when it has ended, as one piece. Whether it ended well."""
    script, *words = (SCORED | TIMED)[name].split()
    command = [sys.executable, FOLDER / script, *(str(data) if word == "{data}" else word for word in words)]
    limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--json", results / f"{name}.json"],
        env=os.environ | limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    end = "" if done.returncode == 0 else f", exit status {done.returncode}"
    print(f"\n== {name}: {time.perf_counter() - start:.0f} s{end}\n{done.stdout}", flush=True)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the real pictures")
    parser.add_argument("--only", nargs="+", choices=[*SCORED, *TIMED], default=[*SCORED, *TIMED])
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder for the JSON")
    options = parser.parse_args()
    asked = [name for name in [*SCORED, *TIMED] if name in options.only]
    if not options.data.is_dir():
        lacking = [name for name in asked if "{data}" in (SCORED | TIMED)[name]]
        asked = [name for name in asked if name not in lacking]
        print(f"{options.data} is not there: no new figures of {', '.join(lacking)}")
    with ThreadPoolExecutor(2) as lanes:
        scored = [name for name in asked if name in SCORED]
        well = dict(
            zip(scored, lanes.map(lambda name: measure(name, options.data, options.results, 1), scored), strict=True)
        )
    well |= {name: measure(name, options.data, options.results) for name in asked if name in TIMED}
    if failed := [name for name, good in well.items() if not good]:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
