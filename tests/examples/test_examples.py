"""The examples, and the benchmark that needs real pictures, run in their shortest form."""

from __future__ import annotations

import json
from pathlib import Path

import processes
import pytest

from point2mask_ot import read_picture

ROOT = Path(__file__).parents[2]


def run(*command: str) -> str:
    done = processes.run(*command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_learn_from_points(tmp_path):
    printed = run("examples/learn_from_points.py", "--steps", "2", "--out", str(tmp_path / "strip.png"))
    assert "+ LAB + tree" in printed
    assert read_picture(tmp_path / "strip.png").std() > 10


@pytest.mark.shared
def test_quality_on_a_few_groups(shared_data, tmp_path):
    out = tmp_path / "quality.json"
    words = ["--data", str(shared_data), "--limit", "2", "--seeds", "2", "--workers", "0", "--json", str(out)]
    assert "best, given the true capacities" in run("benchmarks/quality", *words)
    assert out.is_file()


@pytest.mark.shared
def test_learned_maps_of_a_few_photographs(shared_data, tmp_path):
    """From random weights: what is learnt in a moment is nothing, and each step is taken."""
    pytest.importorskip("efficientnet_lite_pytorch")
    words = ["--data", str(shared_data), "--limit", "3", "--side", "96", "--set", "point_radius=2", "--maps", "learned"]
    printed = run("benchmarks/learned_maps.py", *words, "--learn", "--random", "--side", "64", "--epochs", "1", "1")
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert [(row["split"], row["pictures"], row["set"]) for row in rows] == [
        ("train", 3, {"point_radius": 2}),
        ("val", 3, {"point_radius": 2}),
    ]
    assert all(0 < row["mean_iou"] < 1 for row in rows)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("kind", "learn", "power"), [("photographs", "boundary", "learned"), ("nuclei", "features", "held")]
)
def test_learned_distances_of_a_few_pictures(kind, learn, power, shared_data, tmp_path):
    out, result = tmp_path / "learned", tmp_path / "rows.json"
    words = ["--data", str(shared_data), "--kinds", kind, "--learn", learn, "--power", power, "--limit", "4"]
    run("benchmarks/learned_distances.py", *words, "--seeds", "1", "--keep", str(out), "--json", str(result))
    rows = json.loads(result.read_text())["rows"]
    assert {row["protocol"] for row in rows} == {"union", "points"}
    assert all(0 < row["best"] < 1 and 0 < row["learned"] < 1 for row in rows)
    assert all(row["gain_interval"][0] <= row["gain"] <= row["gain_interval"][1] for row in rows)
    assert (rows[0]["numbers"]["power"] == [2.0]) == (power == "held")
    out /= f"power-{power}"
    assert read_picture(out / f"{kind}-{learn}.png").std() > 10
    assert (out / f"{kind}-{learn}-0.pt").is_file()
