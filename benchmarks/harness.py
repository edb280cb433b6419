"""What every benchmark shares: interleaved timing, fresh processes, a description of the machine, results as JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "torch", "scikit-image", "pot")
LOAD = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
"""Of the machine in the last minute, before anything here ran."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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


def interleaved(callables: Mapping[str, Callable[[], Any]], repeats: int, budget: float = 20.0) -> dict[str, Timing]:
    """Time each callable ``repeats`` times, taking turns, so that a slow spell of the machine meets all.

    The first calls are untimed: they compile kernels and touch the memory. A turn of a short function is several
    calls in a row, about 10 ms together, and counts as their mean. A callable gets about ``budget`` seconds in all:
    slow ones run less often, and one whose first call takes half of it is not run again (``runs`` is 1 then).
    """
    calls, turns = {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    for name, function in callables.items():
        first = seconds_of(function)
        if first > budget / 2:
            seconds[name].append(first)
            turns[name] = 0
            continue
        once = min(first, seconds_of(function)) if first < budget / 8 else first
        calls[name] = max(1, min(1000, int(0.01 / once)))
        turns[name] = max(1, min(repeats, int(budget / once)))
    for turn in range(repeats):
        for name, function in callables.items():
            if turn < turns[name]:
                seconds[name].append(seconds_of(function, calls[name]))
    return {name: Timing.of(values) for name, values in seconds.items()}


def seconds_of(function: Callable[[], Any], calls: int = 1) -> float:
    """Mean wall seconds of some calls in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def in_process(
    function: Callable[..., Any], *arguments: Any, threads: int = 1, timeout: float | None = None, **variables: str
) -> Any:
    """What ``function`` returns in a fresh process whose libraries all start with that many threads.

    Raises:
        TimeoutError: no answer after ``timeout`` seconds; the process is killed.
        RuntimeError: the function raised; its traceback is on standard error.
    """
    context = multiprocessing.get_context("spawn")
    answer, sender = context.Pipe(duplex=False)
    with _environment({name: str(threads) for name in THREAD_VARIABLES} | variables):
        process = context.Process(target=_answer, args=(sender, function, arguments))
        process.start()
    sender.close()
    try:
        if not answer.poll(timeout):
            raise TimeoutError(f"{function.__name__}: nothing after {timeout} s")
        return answer.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__} failed in its process") from None
    finally:
        process.kill()
        process.join()


def isolated(quick: bool) -> Callable[..., Any]:
    """:func:`in_process`; where figures mean nothing, since all goes ``quick``, a call in the process that is there."""
    return (lambda function, *arguments, **_: function(*arguments)) if quick else in_process


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(function(*arguments))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def memory(name: str) -> int:
    """Bytes of ``VmRSS`` (resident now) or ``VmHWM`` (at its peak) of this process. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def reset_peak_memory() -> None:
    """The peak counts from here."""
    Path("/proc/self/clear_refs").write_text("5")


def machine() -> dict[str, Any]:
    """Processor, cores, versions and commit that a result belongs to."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(LOAD, 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write_json(path: str | Path, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Write ``{"machine": ..., "rows": [...]}``; what ``more`` says joins the description of the machine."""
    content = {"machine": machine() | more, "rows": list(rows)}
    Path(path).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def version(package: str) -> str:
    """Version of an installed package, or "absent"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    """The one that runs, with a mark where what runs differs from it; results of the benchmarks before do not count."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results").strip()
        return git("describe", "--always").strip() + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# Benchmarks time the checkout that they lie in, installed or not.
sys.path.insert(0, str(Path(__file__).parents[1]))
