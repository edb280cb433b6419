"""What every benchmark shares: interleaved timing, a description of the machine, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "torch", "scikit-image", "pot")


@dataclass(frozen=True)
class Timing:
    """Wall seconds of one call: median, lower and upper quartile, number of runs."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summarise the measured ``seconds``."""
        if len(seconds) < 2:
            return cls(seconds[0], seconds[0], seconds[0], 1)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))


def interleaved(callables: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Timing]:
    """Time each callable ``repeats`` times, taking turns, so that a slow spell of the machine meets all.

    The first calls are untimed: they compile kernels and touch the memory. A turn of a short function is several
    calls in a row, about 10 ms together, and counts as their mean.
    """
    calls = {}
    for name, function in callables.items():
        function()
        calls[name] = max(1, min(1000, int(0.01 / _seconds(function, 1))))
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    for _ in range(repeats):
        for name, function in callables.items():
            seconds[name].append(_seconds(function, calls[name]))
    return {name: Timing.of(values) for name, values in seconds.items()}


def _seconds(function: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def machine() -> dict[str, Any]:
    """Processor, cores, versions and commit that a result belongs to."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write_json(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``{"machine": ..., "rows": [...]}``."""
    Path(path).write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
