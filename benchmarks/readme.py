"""The README's tables, made from the JSON in benchmarks/results, so that no figure is typed by hand.

python benchmarks/readme.py           # rewrites the tables between their markers
python benchmarks/readme.py --check   # exits 1 if the README says something else
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
TYPICAL = ("blobs", "upsampled", "photograph", "noise")


def load(name: str) -> list[dict[str, Any]]:
    """The rows of one result file."""
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def quality() -> str:
    """Mean IoU by method, a column for each data set."""
    rows = load("quality")
    kinds = list(dict.fromkeys(row["data"] for row in rows))
    first = {row["data"]: row for row in rows}
    header = [
        f"{first[kind]['instances']} {kind}" if kind == "nuclei" else f"{first[kind]['instances']} objects in {kind}"
        for kind in kinds
    ]
    score = {(row["method"], row["data"]): f"{row['mean_iou']:.3f} ± {row['std_over_seeds']:.3f}" for row in rows}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return table(["", *header], [[method, *(score[method, kind] for kind in kinds)] for method in methods])


def geodesics() -> str:
    """Times faster than SciPy by size: typical maps in geometric mean, the worst of the adversarial ones."""
    rows = load("geodesic")
    lines = []
    for size in dict.fromkeys(tuple(row["size"]) for row in rows):
        here = [row for row in rows if tuple(row["size"]) == size]
        names = list(here[0]["scipy_over_ours"])
        typical = [row["scipy_over_ours"] for row in here if row["family"] in TYPICAL]
        means = [math.exp(sum(math.log(row[name]) for row in typical) / len(typical)) for name in names]
        worst = min((row["scipy_over_ours"][names[0]], row["family"]) for row in here if row["family"] not in TYPICAL)
        nanoseconds = next(row["ns_per_pixel_and_seed"] for row in here if row["family"] == "blobs")
        lines.append(
            [
                f"{size[0]} x {size[1]}, {here[0]['seeds']} targets",
                f"{nanoseconds['scipy dijkstra']:.0f}",
                f"{nanoseconds[names[0]]:.1f}",
                *(f"{mean:.0f}x" for mean in means),
                f"{worst[0]:.0f}x ({worst[1]})",
            ]
        )
    header = [
        "",
        "SciPy, ns per pixel and target",
        "ours, 1 thread",
        "faster, 1 thread",
        "2 threads",
        "worst adversarial map",
    ]
    return table(header, lines)


def transport() -> str:
    """Milliseconds and the marginal error that was reached."""
    rows = load("transport")
    solvers = {
        "solve newton, converged, float32": "`solve`, converged",
        "sinkhorn, 80 rounds, float32": "`sinkhorn`, 80 rounds",
        "ot.sinkhorn log, 80 rounds, torch float32": "POT log, 80 rounds, torch",
        "ot.sinkhorn log, 80 rounds, numpy float64": "POT log, 80 rounds, NumPy",
    }
    lines = []
    for key in dict.fromkeys((row["suppliers"], row["pixels"], row["reg"]) for row in rows):
        here = {row["solver"]: row for row in rows if (row["suppliers"], row["pixels"], row["reg"]) == key}
        names = solvers if key[2] > 0 else {"solve exact": "", "": "", "ot.emd": "", " ": ""}
        cells = [
            f"{here[name]['milliseconds']:,.1f} ms, {here[name]['marginal_error']:.0e}" if name in here else ""
            for name in names
        ]
        if key[2] == 0:
            cells = [cells[0], "", "", f"`ot.emd` {cells[2]}" if cells[2] else ""]
        lines.append([f"{key[0]} x {key[1]:,}, {f'reg {key[2]:g}' if key[2] else 'exact'}", *cells])
    return table(["K x N", *solvers.values()], lines)


def pipeline() -> str:
    """Time of each stage of Algorithm 1."""
    rows = load("pipeline")
    stages = list(rows[0]["stages"])
    lines = [
        [
            f"`{row['preset']}`, stride {row['stride']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}",
            *(f"{1e3 * row['stages'][stage]:.0f}" for stage in stages),
            f"{1e3 * row['seconds']['median']:.0f}",
        ]
        for row in rows
    ]
    return table(["ms", *stages, "in all"], lines)


def losses() -> str:
    """Time and peak memory of each loss at 133 classes, the unfolded LAB loss beside ours."""
    rows = [row for row in load("losses") if row["classes"] == 133 and row["size"] == 128]
    lines = [[row["loss"], f"{row['forward_backward_ms']:.1f}", f"{row['peak_mib']:.0f}"] for row in rows]
    return table(["133 classes, 128 x 128", "forward and backward, ms", "peak memory beside the logits, MiB"], lines)


def environment() -> str:
    """Every machine that a result was measured on."""
    machines = [json.loads(path.read_text())["machine"] for path in sorted(RESULTS.glob("*.json"))]
    described = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        for machine in machines
    ]
    return "Measured on: " + "; ".join(dict.fromkeys(described)) + "."


TABLES: dict[str, Callable[[], str]] = {
    "quality": quality,
    "geodesics": geodesics,
    "transport": transport,
    "pipeline": pipeline,
    "losses": losses,
    "environment": environment,
}


def filled(text: str) -> str:
    """The README with every table replaced."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in text or end not in text:
            raise SystemExit(f"README.md has no place for the table '{name}'")
        text = f"{text[: text.index(start)]}{start}\n{make()}\n{text[text.index(end) :]}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the README differs")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text()
    new = filled(text)
    if options.check:
        sys.exit(int(new != text))
    readme.write_text(new)


if __name__ == "__main__":
    main()
