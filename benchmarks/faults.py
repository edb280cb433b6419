"""Break a data-set job in every way it must survive, again and again, and count.

Each row says how often a fault was tried, how often it struck while the job was at work, and what it cost: label files
that were there and are damaged or gone, and whether the results of the job that went on are, byte for byte, those of a
job that nothing interrupted.

    python benchmarks/faults.py --rounds 100 --json faults.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import write_json
from PIL import Image

COMMAND = [sys.executable, "-c", "import sys; from point2mask_ot.cli import main; sys.exit(main())", "label-dataset"]
VARYING = ("timing.json", "report.html", "report/pictures.html")
PICTURES = 120


@dataclass
class Row:
    """What a fault did in all its rounds."""

    fault: str
    rounds: int = 0
    struck: int = 0
    damaged: int = 0
    jobs: int = 0
    identical: int = 0


class Bench:
    """A small data set, the results of a calm job, and a folder for each further one."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng, self.jobs = folder, rng, 0
        self.images = folder / "images"
        self.images.mkdir()
        entries = []
        noise = np.random.default_rng(0)
        for index in range(PICTURES):
            pixels = np.full((24, 32, 3), 30 + index)
            pixels[:, int(noise.integers(8, 24)) :] = 220
            pixels = np.clip(pixels + noise.integers(-9, 9, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(self.images / f"p{index:03}.png")
            points = [{"x": 2, "y": 12, "category": "left"}, {"x": 29, "y": 12, "category": "right"}]
            entries.append({"file_name": f"p{index:03}.png", "points": points})
        categories = [{"name": "left", "isthing": 1}, {"name": "right", "isthing": 0}]
        self.points = folder / "points.json"
        self.points.write_text(json.dumps({"categories": categories, "images": entries}))
        calm = self.new_folder()
        assert self.finish(calm, workers=0) == 0
        self.calm = results(calm)

    def new_folder(self) -> Path:
        self.jobs += 1
        return self.folder / f"job{self.jobs}"

    def start(self, out: Path, workers: int, *more: str, **options: Any) -> subprocess.Popen[str]:
        words = ["--images", str(self.images), "--points", str(self.points), "--out", str(out), "--quiet"]
        words += ["--workers", str(workers), *more]
        pipe = subprocess.PIPE
        return subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, text=True, **options)

    def finish(self, out: Path, workers: int) -> int:
        process = self.start(out, workers)
        process.communicate()
        return process.returncode

    def check(self, row: Row, out: Path, workers: int) -> None:
        """Let the job end, and compare."""
        row.jobs += 1
        row.identical += self.finish(out, workers) == 0 and results(out) == self.calm

    def damaged(self, out: Path, since: set[str]) -> int:
        """Label files that are not what the calm job made, or were there and are gone."""
        now = labels(out)
        wrong = sum(data != self.calm[f"panoptic/{name}"] for name, data in now.items())
        return wrong + len(since - now.keys())


def labels(out: Path) -> dict[str, bytes]:
    """The label files under their final names."""
    return {path.name: path.read_bytes() for path in (out / "panoptic").glob("p*.png")}


def results(out: Path) -> dict[str, bytes]:
    """Every file of a job that must not depend on how it ran."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {n: path.read_bytes() for n, path in sorted(files.items()) if not n.startswith(".job/") and n not in VARYING}


def done(out: Path) -> int:
    return len(list((out / ".job" / "records").glob("*/*.json")))


def until_at_work(process: subprocess.Popen[str], out: Path, before: int) -> bool:
    """Wait until the job has done something; False where it ended first."""
    while process.poll() is None:
        if done(out) > before:
            return True
        time.sleep(0.005)
    return False


def stopped_by(
    bench: Bench, row: Row, rounds: int, workers: int, stop: Callable[[subprocess.Popen[str]], None]
) -> None:
    """Stop jobs at random moments; each goes on in the next round, until it ends."""
    out = bench.new_folder()
    for _ in range(rounds):
        before, there = done(out), set(labels(out))
        process = bench.start(out, workers, start_new_session=True)
        struck = until_at_work(process, out, before)
        time.sleep(bench.rng.expovariate(1 / 0.15))
        struck = struck and process.poll() is None
        stop(process)
        process.communicate()
        row.rounds += 1
        row.struck += struck
        row.damaged += bench.damaged(out, there)
        if done(out) == PICTURES:
            bench.check(row, out, workers)
            out = bench.new_folder()
    bench.check(row, out, workers)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()


def terminate(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)


def kill_workers(bench: Bench, row: Row, rounds: int) -> None:
    """Kill workers of a running job at random. A picture that meets two of them is set aside until the next call."""
    out = bench.new_folder()
    while row.rounds < rounds:
        there = set(labels(out))
        process = bench.start(out, 2)
        while process.poll() is None:
            time.sleep(bench.rng.uniform(0.2, 1.0))
            children = list(spawned(process.pid))
            if children and done(out) and row.rounds < rounds:
                row.rounds += 1
                row.struck += end(bench.rng.choice(children))
        process.communicate()
        row.damaged += bench.damaged(out, there)
        bench.check(row, out, 2)
        out = bench.new_folder()


def spawned(parent: int) -> Iterator[int]:
    """The workers of a job: children that are no resource tracker."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ancestor = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if ancestor == parent and b"spawn_main" in (path / "cmdline").read_bytes():
                yield int(path.name)
        except (OSError, ValueError):
            continue


def end(process_id: int) -> bool:
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def begun(bench: Bench, out: Path) -> set[str]:
    """Start a job, kill it at work, and say which labels are there."""
    process = bench.start(out, 0)
    until_at_work(process, out, 0)
    process.kill()
    process.communicate()
    return set(labels(out))


def full_disk(bench: Bench, row: Row, rounds: int) -> None:
    """Files may not grow beyond a random size: a write fails in its middle, as on a full disk."""
    largest = max(len(data) for data in bench.calm.values())
    for _ in range(rounds):
        out = bench.new_folder()
        # The table of points, larger than most that follows, is there when the disk fills up.
        there = begun(bench, out)
        limit = int(largest * bench.rng.random())
        process = bench.start(out, 0, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)))
        _, complaints = process.communicate()
        row.rounds += 1
        row.struck += process.returncode == 2 and "File too large" in complaints
        row.damaged += bench.damaged(out, there)
        bench.check(row, out, 0)


def hostile_pictures(bench: Bench, row: Row, rounds: int) -> None:
    """Pictures cut short or with wrong bytes are labelled or set aside, and the whole ones labelled as ever."""
    broken = {path.name for path in bench.rng.sample(sorted(bench.images.iterdir()), min(rounds, PICTURES - 1))}
    whole = {name: (bench.images / name).read_bytes() for name in broken}
    for name, data in whole.items():
        bad = bytearray(data)
        if bench.rng.random() < 0.5:
            bad = bad[: bench.rng.randrange(len(bad))]
        else:
            for _ in range(5):
                bad[bench.rng.randrange(len(bad))] = bench.rng.randrange(256)
        (bench.images / name).write_bytes(bad)
    out = bench.new_folder()
    bench.finish(out, 2)
    summary = json.loads((out / "summary.json").read_text())
    row.rounds, row.struck = len(broken), summary["set_aside"]
    made = labels(out)
    row.damaged += summary["labelled"] + summary["set_aside"] != PICTURES
    row.damaged += sum(
        made.get(name.removeprefix("panoptic/")) != data
        for name, data in bench.calm.items()
        if name.startswith("panoptic/") and name.removeprefix("panoptic/") not in broken
    )
    for name, data in whole.items():
        (bench.images / name).write_bytes(data)
    bench.check(row, out, 2)


def second_jobs(bench: Bench, row: Row, rounds: int) -> None:
    """While a job works, others try to begin, with the same settings and with other ones."""
    out = bench.new_folder()
    first = bench.start(out, 1)
    for index in range(rounds):
        if not until_at_work(first, out, 0):
            first.communicate()
            bench.check(row, out, 1)
            out = bench.new_folder()
            first = bench.start(out, 1)
            until_at_work(first, out, 0)
        first.send_signal(signal.SIGSTOP)  # it keeps its lock while it sleeps, and cannot end meanwhile
        second = bench.start(out, 0, *(["--fresh", "--beta", "0.3"] if index % 2 else []))
        _, complaints = second.communicate()
        first.send_signal(signal.SIGCONT)
        row.rounds += 1
        row.struck += second.returncode == 2 and "works on it" in complaints
    first.communicate()
    bench.check(row, out, 1)


def changed_settings(bench: Bench, row: Row, rounds: int) -> None:
    """Another weight, stride, format or smoothing on a job that is half done."""
    out = bench.new_folder()
    there = begun(bench, out)
    changes = [("--beta", "0.2", "config.beta"), ("--stride", "2", "config.stride"), ("--output", "voc", "output")]
    changes += [("--sigma", "2", "sigma"), ("--preset", "paper", "config.method"), ("--exif", "apply", "exif")]
    for index in range(rounds):
        option, value, name = changes[index % len(changes)]
        process = bench.start(out, 0, option, value)
        _, complaints = process.communicate()
        row.rounds += 1
        row.struck += process.returncode == 2 and f"{name}: " in complaints
    row.damaged += bench.damaged(out, there)
    bench.check(row, out, 0)


def measure(rounds: int, folder: Path, seed: int) -> Iterator[Row]:
    bench = Bench(folder, random.Random(seed))
    few = max(1, rounds // 10)
    for workers, share in ((0, 0.4), (1, 0.3), (2, 0.3)):
        row = Row(f"kill -9, {workers} workers")
        stopped_by(bench, row, max(1, round(rounds * share)), workers, kill)
        yield row
    row = Row("SIGTERM to all processes")
    stopped_by(bench, row, few, 2, terminate)
    yield row
    for name, fault, count in (
        ("kill -9 of a worker", kill_workers, few),
        ("full disk", full_disk, few),
        ("damaged pictures", hostile_pictures, rounds),
        ("a second job", second_jobs, few),
        ("changed settings", changed_settings, few),
    ):
        row = Row(name)
        fault(bench, row, count)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few rounds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'fault':<26}{'rounds':>8}{'struck':>8}{'damaged':>9}{'identical results':>19}")
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(4 if options.quick else options.rounds, Path(folder), options.seed):
            rows.append(asdict(row))
            print(
                f"{row.fault:<26}{row.rounds:>8}{row.struck:>8}{row.damaged:>9}{f'{row.identical} of {row.jobs}':>19}"
            )
            sys.stdout.flush()
    if options.json:
        write_json(options.json, rows)
    sys.exit(any(row["damaged"] or row["identical"] < row["jobs"] for row in rows))


if __name__ == "__main__":
    main()
