"""Published figures: every result says where it was measured, and the README shows nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def test_there_are_results():
    assert {path.stem for path in RESULTS} >= {"geodesic", "losses", "pipeline", "quality", "transport", "tree"}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_name_their_machine(path):
    content = json.loads(path.read_text())
    assert set(content["machine"]) >= {"processor", "cores", "python", "versions", "commit", "date"}
    assert all(version != "absent" for version in content["machine"]["versions"].values())
    assert content["rows"]
    assert all(isinstance(row, dict) and row.keys() for row in content["rows"])


def test_readme_tables_are_the_results():
    command = [sys.executable, str(BENCHMARKS / "readme.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run python benchmarks/readme.py ({done.stderr})"
