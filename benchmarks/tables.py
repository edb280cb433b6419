"""Tables in Markdown from the JSON in ``results``: short ones for pages of the site, whole ones for the benchmarks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

RESULTS = Path(__file__).parent / "results"
TYPICAL = ("blobs", "upsampled", "photograph", "noise")
ONE, TWO = "ours, 1 thread", "ours, 2 threads"
SCIPY = "scipy dijkstra"

Row = dict[str, Any]


def load(name: str) -> list[Row]:
    """The rows of one result file."""
    rows: list[Row] = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
    return rows


def chosen(name: str, **values: Any) -> list[Row]:
    """The rows of a file with these values."""
    return [row for row in load(name) if all(row.get(key) == value for key, value in values.items())]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def milliseconds(seconds: Row, spread: bool = False) -> str:
    """The median, with quartiles if wanted, in three digits."""
    median, low, high = (_digits(1e3 * seconds[key]) for key in ("median", "low", "high"))
    return f"{median} [{low}, {high}] x{seconds['runs']}" if spread else median


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


# For the pages of quality and speed


QUALITY = ("quality", "quality_classes", "quality_classes_nuclei", "quality_points", "quality_points_nuclei")
SIZES = tuple(f"quality_sizes_{name}" for name in ("points", "points_nuclei", "union", "union_nuclei"))
HINTED = {
    "sizes x/ 1.35": "best, sizes told, off by a factor of 1.35",
    "sizes x/ 2, told": "best, sizes off by 2, and told so (`size_error=2`)",
    "sizes x/ 2": "best, sizes off by 2, and not told so",
    "typical size of the class": "best, a typical size for each class, learned from five",
    "border": "best, the border is background",
    "border, sizes x/ 1.35": "both: the border, and sizes off by 1.35",
}
OURS = ("minimum cost", "best")
"""What hints are compared with, also where no peer was run."""
GIVEN = {"union": "union given", "classes": "classes given", "points": "points alone"}
THINGS = {"nuclei": "nuclei", "photographs": "objects in photographs", "shapes": "drawn ellipses"}


def quality() -> str:
    """Mean IoU by method, a column for each protocol and data set."""
    rows = [row for name in QUALITY for row in load(name)]
    sized = [row for name in SIZES for row in load(name)]
    compared = {(row["protocol"], row["data"]) for row in rows}
    rows += [row for row in sized if row["method"] in OURS and (row["protocol"], row["data"]) not in compared]
    columns = {
        (row["protocol"], row["data"]): row for row in sorted(rows, key=lambda row: [*GIVEN].index(row["protocol"]))
    }
    hinted = [row for row in sized if row["method"] in HINTED and _has_a_say(row)]
    rows += [
        {**row, "method": HINTED[row["method"]]}
        for row in sorted(hinted, key=lambda row: [*HINTED].index(row["method"]))
    ]
    header = [f"{row['instances']} {THINGS[data]}, {GIVEN[protocol]}" for (protocol, data), row in columns.items()]
    score = {
        (row["method"], row["protocol"], row["data"]): f"{row['mean_iou']:.3f} ± {row['std_over_seeds']:.3f}"
        for row in rows
    }
    methods = dict.fromkeys(row["method"] for row in rows)
    return table(["", *header], [[method, *(score.get((method, *at), "") for at in columns)] for method in methods])


def _has_a_say(row: dict[str, Any]) -> bool:
    """A union has no background, for the border to belong to."""
    return row["protocol"] == "points" or "border" not in row["method"]


def geodesics() -> str:
    """Times faster than SciPy by size: typical maps in geometric mean, the worst of the adversarial ones."""
    lines = []
    for size, seeds in (((38, 50), 10), ((128, 128), 20), ((512, 512), 20), ((600, 800), 20)):
        here = chosen("geodesic", task="distances", size=list(size), seeds=seeds)
        if not here:
            continue
        typical = [row["scipy_over_ours"] for row in here if row["family"] in TYPICAL]
        worst = [(row["scipy_over_ours"][ONE], row["family"]) for row in here if row["family"] not in TYPICAL]
        of_typical = [row["ns_per_pixel_and_seed"] for row in here if row["family"] in TYPICAL]
        nanoseconds = {name: geometric_mean([row[name] for row in of_typical]) for name in (SCIPY, ONE)}
        lines.append(
            [
                f"{size[0]} x {size[1]}, {seeds} targets",
                f"{nanoseconds[SCIPY]:.0f}",
                f"{nanoseconds[ONE]:.1f}",
                *(times(geometric_mean([row[name] for row in typical])) for name in (ONE, TWO)),
                f"{times(min(worst)[0])} ({min(worst)[1]})" if worst else "",
            ]
        )
    header = ["", "SciPy, ns per pixel and target", "ours", "faster, 1 thread", "2 threads", "worst adversarial map"]
    return table(header, lines)


PEERS = {
    "ot.sinkhorn log, torch float32": "POT log, torch",
    "ot.sinkhorn log, numpy float64": "POT log, NumPy",
    "ot.sinkhorn stabilized, numpy float64": "POT stabilised",
    "geomloss.ot.solve, torch float32": "geomloss",
    "paper's rounds, torch float32": "paper's rounds, torch",
}


def transport() -> str:
    """Time of ``solve`` to an error, and how much longer others take to the same error."""
    rows = [row for row in chosen("transport", threads=1) if row["task"] == "to 1e-04"]
    lines = []
    for suppliers, pixels in ((20, 1_900), (50, 65_536), (20, 262_144)):
        for reg in (1e-3, 1e-2, 1e-1):
            here = {row["solver"]: row for row in rows if _problem(row) == (suppliers, pixels, reg)}
            if here:
                ours = milliseconds(here["solve, float32"]["seconds"])
                cells = [against(here.get(name)) for name in PEERS]
                lines.append([f"{suppliers} x {pixels:,}, reg {reg:g}", ours, *cells])
    return table(["K x N", "`solve`, ms", *PEERS.values()], lines)


def exact() -> str:
    """Unregularised problems against ``ot.emd``."""
    lines = []
    for ours in chosen("transport", task="exact", threads=1, solver="solve, exact"):
        emds = chosen("transport", task="exact", threads=1, solver="ot.emd")
        emd = next((row for row in emds if _problem(row) == _problem(ours)), None)
        lines.append(
            [
                f"{ours['suppliers']} x {ours['pixels']:,}",
                milliseconds(ours["seconds"]),
                ("> " if emd["status"] == "not reached" else "") + milliseconds(emd["seconds"]) if emd else "",
                against(emd),
            ]
        )
    return table(["K x N, exact", "`solve`, ms", "`ot.emd`, ms", "ratio"], lines)


def _problem(row: Row) -> tuple[int, int, float]:
    return row["suppliers"], row["pixels"], row["reg"]


def against(row: Row | None) -> str:
    """How much longer a peer took; or that it was not there when it was stopped, and how far it was."""
    if row is None:
        return ""
    if row["status"] == "failed":
        return "fails"
    if row["status"] == "not reached":
        at = "" if row["marginal_error"] is None else f", at {row['marginal_error']:.0e}"
        return f"> {times(row['ratio'])}{at}"
    return times(row["ratio"])


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


def crowds() -> str:
    """Time and memory of pictures of many targets, a row for each size and number."""
    rows = load("dense_scenes")
    lines = []
    for row in (row for row in rows if row["sparse"] and row["ground"]):
        alone, dense = (
            next((other for other in rows if _scene(other) == _scene(row) | change), None)
            for change in ({"ground": False}, {"sparse": False})
        )
        lines.append(
            [
                f"{row['side']:,} x {row['side']:,}, {row['targets']:,} targets",
                *_time_and_memory(row),
                *_time_and_memory(alone),
                *_time_and_memory(dense),
            ]
        )
    kinds = ("paths", "walks", "paths, a map for each target")
    return table(["", *(f"{kind}, {unit}" for kind in kinds for unit in ("s", "MiB"))], lines)


def _scene(row: Row) -> Row:
    return {key: row[key] for key in ("side", "targets", "ground", "sparse")}


def _time_and_memory(row: Row | None) -> list[str]:
    return ["", ""] if row is None else [f"{row['seconds']['median']:.2f}", f"{row['peak_mib']:,.0f}"]


def walks() -> str:
    """Random walks beside scikit-image's, at their accuracy."""
    lines = []
    for row in load("walks"):
        for name, ratio in row["theirs_over_ours"].items():
            lines.append(
                [
                    f"{row['size'][0]} x {row['size'][1]}, {row['points']} points, {name}",
                    f"{1e3 * row['seconds']['ours']['median']:.0f}",
                    f"{1e3 * row['seconds'][name]['median']:,.0f}",
                    times(ratio),
                    f"{row['mean_error']['ours']:.0e} / {row['mean_error'][name]:.0e}",
                ]
            )
    return table(["", "ours, ms", "theirs, ms", "ratio", "mean error, ours / theirs"], lines)


def losses() -> str:
    """Time and peak memory of each loss at 133 classes, the unfolded LAB loss beside ours."""
    rows = [row for row in load("losses") if row["classes"] == 133 and row["size"] == 128]
    lines = [[row["loss"], f"{row['forward_backward_ms']:.1f}", f"{row['peak_mib']:.0f}"] for row in rows]
    return table(["133 classes, 128 x 128", "forward and backward, ms", "peak memory beside the logits, MiB"], lines)


def environment() -> str:
    """Every machine that a time was measured on, with the load before each run; what is only counted aside."""
    loads: dict[str, list[str]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem in ("faults", "labelling"):
            continue
        machine = json.loads(path.read_text())["machine"]
        described = (
            f"{machine.get('gpu') or machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
            + ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version != "absent")
        )
        loads.setdefault(described, []).append(f"{path.stem} {machine.get('load', 0):.1f}")
    return "Measured on: " + "; ".join(f"{name} (load before: {', '.join(runs)})" for name, runs in loads.items()) + "."


# For benchmarks/README


def all_geodesics() -> str:
    """Every row, in milliseconds with quartiles and runs."""
    rows = load("geodesic")
    names = {
        ONE: "1 thread",
        TWO: "2 threads",
        "ours, radix heap, 1 thread": "radix heap",
        "ours, nearest_partition, 1 thread": "`nearest_partition`",
        SCIPY: "SciPy",
        "skimage MCP (another model)": "skimage MCP (node costs: another model)",
    }
    lines = [
        [
            f"{row['size'][0]} x {row['size'][1]}, K={row['seeds']}, {row['family']}",
            "edges + distances" if row["task"] == "with edges" else "distances",
            *(milliseconds(row["seconds"][name], spread=True) if name in row["seconds"] else "" for name in names),
            " / ".join(times(ratio) for ratio in row["scipy_over_ours"].values()),
        ]
        for row in rows
    ]
    return table(["", "ms", *names.values(), "SciPy / ours"], lines)


def all_transport() -> str:
    """Every row."""
    lines = [
        [
            row["task"],
            f"{row['suppliers']} x {row['pixels']:,}",
            f"{row['reg']:g}",
            str(row["threads"]),
            row["solver"],
            milliseconds(row["seconds"], spread=True),
            times(row["ratio"]),
            "" if row["marginal_error"] is None else f"{row['marginal_error']:.0e}",
            "" if row["rounds"] is None else f"{row['rounds']:,}",
            row["status"],
        ]
        for row in load("transport")
    ]
    header = ["task", "K x N", "reg", "threads", "solver", "ms", "over `solve`", "marginal error", "rounds", "status"]
    return table(header, lines)


def footprint() -> str:
    """Compile time and peak memory."""
    lines = [
        [f"{row['what']}: first call, cache {row['cache']}", f"{row['compile_seconds']:.2f} s"]
        for row in chosen("footprint", task="compile")
    ]
    lines += [
        [
            f"`solve(...).labels`, {row['suppliers']} x {row['pixels']:,}, "
            + (f"reg {row['reg']:g}" if row["reg"] else "exact")
            + f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}: peak memory",
            f"{row['ratio']:.2f} of M",
        ]
        for row in chosen("footprint", task="memory")
    ]
    return table(["", ""], lines)


def report() -> str:
    """What many pictures take: in a report, and in the list of the page."""
    lines = [
        [
            f"{row['pictures']:,} pictures in a report",
            f"{row['seconds']:.1f} s",
            f"{row['peak_mib']:.0f} MiB more than before",
            f"{row['page_mib']:.1f} MiB",
        ]
        for row in chosen("report", task="report")
    ]
    lines += [
        [
            f"{row['pictures']:,} picture{'s' if row['pictures'] > 1 else ''} in the folder of `annotate`",
            f"{row['seconds']:.1f} s until the list is there",
            f"{row['resident_mib']:.0f} MiB in all",
            "",
        ]
        for row in chosen("report", task="annotate")
    ]
    return table(["", "time", "memory", "page of all pictures"], lines)


def annotate_latency() -> str:
    """Seconds from a click to masks on the screen."""
    lines = []
    for row in load("annotate_latency"):
        first, final = (f"{row[name]['median']:.2f} s" for name in ("first", "final"))
        lines.append([f"{row['targets']}", "with a background" if row["background"] else "things alone", first, final])
    return table(["targets", "", "first masks", "final masks"], lines)


PAGES: dict[str, Callable[[], str]] = {
    "quality": quality,
    "geodesics": geodesics,
    "transport": transport,
    "exact": exact,
    "pipeline": pipeline,
    "crowds": crowds,
    "walks": walks,
    "losses": losses,
    "environment": environment,
}


def learned_distances() -> str:
    """Labels with a learned distance beside preset best, on the same points."""
    lines = []
    for row in load("learned_distances"):
        low, high = row["gain_interval"]
        gain = f"{row['gain']:+.3f} [{low:+.3f}, {high:+.3f}]"
        what = f"{row['instances']} {THINGS[row['data']]}, {GIVEN[row['protocol']]}"
        seconds = f"{row['seconds']:.0f}"
        learned = f"{row['learn']}, power {'learned' if row['power'] else 'held'}"
        lines.append([what, learned, f"{row['best']:.3f}", f"{row['learned']:.3f}", gain, seconds])
    return table(["", "learned", "`best`", "with what was learned", "gain", "seconds to learn"], lines)


def gradients() -> str:
    """What a gradient costs, beside the forward alone."""
    lines = []
    for row in chosen("gradients", task="ours"):
        ways, peaks = row["seconds"], row["peak_mib"]
        seconds = [milliseconds(ways[way]) for way in ("forward", "both")]
        memory = f"{peaks['forward']:.0f} and {peaks['both']:.0f}"
        lines.append([row["what"], *seconds, times(row["ratio"]), memory])
    return table(["512 x 512, 20 targets", "forward, ms", "with backward, ms", "", "peak MiB of both"], lines)


def gradient_peers() -> str:
    """The same gradient by others."""
    lines = [
        [row["what"], row["task"], milliseconds(row["seconds"]), times(row["ratio"]), f"{row['gradient_error']:.1e}"]
        for row in load("gradients")
        if row["task"] != "ours"
    ]
    return table(["20 x 16,384, reg .1", "", "ms", "over ours", "error of the gradient"], lines)


BENCHMARKS: dict[str, Callable[[], str]] = {
    "gradients": gradients,
    "gradient peers": gradient_peers,
    "all geodesics": all_geodesics,
    "all transport": all_transport,
    "footprint": footprint,
    "report": report,
    "annotate latency": annotate_latency,
    "learned distances": learned_distances,
}
