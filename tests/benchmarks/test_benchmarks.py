"""Published figures: every result says where it was measured, the READMEs show nothing else, every script runs."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import processes
import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))

TIMING = {"median": float, "low": float, "high": float, "runs": int}
STATUSES = {"reached", "not reached", "as it stands", "failed"}
FIELDS = {
    "geodesic": {
        "task": str, "family": str, "size": list, "seeds": int, "error": float, "seconds": dict,
        "ns_per_pixel_and_seed": dict, "scipy_over_ours": dict,
    },
    "transport": {
        "task": str, "suppliers": int, "pixels": int, "reg": float, "threads": int, "solver": str, "seconds": dict,
        "ratio": float, "marginal_error": (float, type(None)), "rounds": (int, type(None)), "status": str,
    },
    "pipeline": {
        "preset": str, "size": list, "stride": int, "threads": int, "seconds": dict, "stages": dict,
        "marginal_error": float,
    },
    "footprint": {"task": str},
    "report": {"task": str, "pictures": int, "seconds": float},
    "annotate_latency": {"targets": int, "background": bool, "first": dict, "final": dict},
    "losses": {"loss": str, "classes": int, "size": int, "forward_backward_ms": float, "runs": int},
    "tree": {"threads": int, "what": str, "side": int, "ms": dict},
    "training_step": {"task": str, "what": str, "seconds": dict},
    "dense_scenes": {
        "side": int, "targets": int, "ground": bool, "sparse": bool, "seconds": dict, "microseconds_per_pixel": float,
        "peak_mib": float, "bytes_per_pixel": float, "mean_iou": float, "marginal_error": float, "bound": float,
    },
    "walks": {
        "size": list, "points": int, "seconds": dict, "mean_error": dict, "largest_error": dict,
        "theirs_over_ours": dict,
    },
    "gradients": {"task": str, "what": str, "seconds": dict, "ratio": float},
    "labelling": {"task": str, "data": str, "settings": str, "config": dict, "pictures": int},
    "labelling_throughput": {
        "data": str, "settings": str, "config": dict, "workers": int, "pictures": int, "pictures_a_second": float,
        "hours_for_coco_train": float, "milliseconds_by_stage": dict,
    },
    "faults": {"fault": str, "rounds": int, "struck": int, "damaged": int, "jobs": int, "identical": int},
    "learned_distances": {
        "data": str, "learn": str, "power": bool, "protocol": str, "sources": int, "epochs": int, "seeds": int,
        "instances": int, "best": float, "learned": float, "gain": float, "gain_interval": list, "seconds": float,
        "numbers": dict,
    },
    "gpu": {"task": str, "seconds": (float, dict, type(None))},
}  # fmt: skip
"""The fields that every row of a file has, by type; an int counts as a float."""

QUICK = [
    "dense_scenes", "footprint", "geodesic", "gradients", "losses", "pipeline", "report", "training_step", "transport",
    "tree", "walks",
]  # fmt: skip


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return processes.run(BENCHMARKS / f"{script}.py", *words, cwd=ROOT)


def check_content(name: str, content: dict) -> None:
    machine = content["machine"]
    assert set(machine) >= {"processor", "cores", "system", "python", "versions", "commit", "date"}
    assert machine["cores"] >= 1
    assert all(machine["versions"].get(package) for package in ("numpy", "scipy", "numba", "torch"))
    assert all(isinstance(machine[key], str) and machine[key] for key in ("processor", "python", "commit", "date"))
    assert content["rows"]
    for row in content["rows"]:
        for field, kind in FIELDS.get(name, {}).items():
            kinds = kind if isinstance(kind, tuple) else (kind,)
            assert isinstance(row[field], (*kinds, int) if float in kinds else kinds), (field, row[field])
        check_numbers(row)


def check_numbers(value: object, name: str = "") -> None:
    """Finite and, but for differences, not negative; times positive, their quartiles in order."""
    if isinstance(value, dict):
        if value.keys() == TIMING.keys():
            assert 0 < value["low"] <= value["median"] <= value["high"], value
            assert value["runs"] >= 1
        for key, part in value.items():
            check_numbers(part, key)
    elif isinstance(value, list):
        for part in value:
            check_numbers(part, name)
    elif isinstance(value, (int, float)):
        assert math.isfinite(value), name
        assert value >= 0 or "gain" in name or "correlation" in name, name
        assert value > 0 or "seconds" not in name, name


def test_every_result_is_measured_anew_by_one_command():
    names = "import runpy; found = runpy.run_path('benchmarks/run_all.py'); print(*found['SCORED'], *found['TIMED'])"
    done = processes.run("-c", names, cwd=ROOT)
    assert sorted(done.stdout.split()) == [path.stem for path in RESULTS if path.stem != "gpu"]


def test_without_pictures_what_needs_them_keeps_its_figures(tmp_path):
    done = run("run_all", "--data", str(tmp_path / "none"), "--only", "quality", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no new figures of quality" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_have_their_schema(path):
    content = json.loads(path.read_text())
    check_content(path.stem, content)
    if path.stem == "transport":
        for row in content["rows"]:
            assert row["status"] in STATUSES
            no_plan = row["status"] == "failed" or (row["solver"], row["status"]) == ("ot.emd", "not reached")
            assert (row["marginal_error"] is None) == no_plan
    if path.stem == "gpu":
        assert content["machine"]["gpu"]
        assert all(row["passed"] is True for row in content["rows"] if row["task"] == "check")


def test_published_geodesics_were_exact():
    rows = json.loads((BENCHMARKS / "results" / "geodesic.json").read_text())["rows"]
    assert max(row["error"] for row in rows) < 1e-4


def test_published_jobs_survived():
    for row in json.loads((BENCHMARKS / "results" / "faults.json").read_text())["rows"]:
        assert row["damaged"] == 0
        assert row["identical"] == row["jobs"] > 0
        assert row["struck"] > 0
    rows = json.loads((BENCHMARKS / "results" / "labelling.json").read_text())["rows"]
    whole = {row["data"]: row for row in rows if row["task"] == "whole set"}
    assert set(whole) == {f"{kind} {split}" for kind in ("photographs", "nuclei") for split in ("train", "val")}
    for row in whole.values():
        assert row["identical"] is True
        assert row["set_aside"] == 0
        assert [end["status"] for end in row["ended_by"]] == [137, 143]
    few, many = (row["peak_mib"] for row in rows if row["task"] == "memory")
    assert many == pytest.approx(few, rel=0.05)


def test_published_reports_take_no_memory():
    """Of a hundred thousand pictures, a few bytes each: numbers to sort them by."""
    rows = json.loads((BENCHMARKS / "results" / "report.json").read_text())["rows"]
    most = max((row for row in rows if row["task"] == "report"), key=lambda row: row["pictures"])
    assert most["pictures"] == 100_000
    assert most["peak_mib"] < 50
    few, many = (row["resident_mib"] for row in rows if row["task"] == "annotate")
    assert many < few + 100


def test_tables_are_the_results():
    done = run("readme", "--check")
    assert done.returncode == 0, f"run python benchmarks/readme.py ({done.stderr})"


def test_every_missed_goal_has_a_reason():
    done = run("goals")
    assert done.returncode == 0, done.stderr
    missed = [line for line in done.stdout.splitlines() if "| missed:" in line]
    assert not [line for line in missed if line.endswith("| missed:  |")]


SCRIPTS = """import runpy, sys
folder, out, *names = sys.argv[1:]
sys.path.insert(0, folder)
for name in names:
    sys.argv = [name, "--quick", "--json", f"{out}/{name}.json"]
    runpy.run_path(f"{folder}/{name}.py", run_name="__main__")"""


def test_scripts_run_quickly(tmp_path):
    """All in one process: to start one takes longer than what most of them do."""
    done = processes.run("-c", SCRIPTS, BENCHMARKS, tmp_path, *QUICK, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name in QUICK:
        check_content(name, json.loads((tmp_path / f"{name}.json").read_text()))


def test_gpu_checks_run_in_the_interpreter():
    done = run("gpu_check", "--interpret", "--only", "images of different sizes torch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") == 2


def test_plot_is_drawn(tmp_path):
    path = tmp_path / "plot.svg"
    done = run("plot", str(path))
    assert done.returncode == 0, done.stderr
    assert path.read_text().count("<path") > 20
