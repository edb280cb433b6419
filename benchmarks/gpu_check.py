"""Correctness and speed on a CUDA GPU, in under 8 minutes, from a bare checkout.

    python benchmarks/gpu_check.py --json benchmarks/results/gpu.json
    python benchmarks/gpu_check.py --interpret    # correctness alone, tiny, Triton's interpreter on the CPU

Each check runs on its own, so that one failure hides no other; the exit status is 0 only if all passed. Nothing but
torch, Triton, numba, NumPy, SciPy and scikit-image is needed; POT is timed where it is there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any

from harness import version, write_json


def run_checks(only: str) -> list[dict[str, Any]]:
    """One row for each check and backend."""
    from gpu_checks import CHECKS

    rows = []
    for name, (check, backends) in CHECKS.items():
        for backend in backends:
            if only not in f"{name} {backend}":
                continue
            start, problem = time.perf_counter(), ""
            try:
                check(backend)
            except Exception as error:  # whatever it is, the next check runs
                problem = f"{type(error).__name__}: {str(error).strip()[:500]}"
                traceback.print_exc()
            seconds = time.perf_counter() - start
            row = {"task": "check", "check": name, "backend": backend, "passed": not problem, "problem": problem}
            rows.append(row | {"seconds": seconds})
            print(
                f"{'FAILED' if problem else 'passed':7} {name}, {backend}: {seconds:.1f} s  {problem[:200]}", flush=True
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interpret", action="store_true", help="tiny, without a GPU: correctness alone")
    parser.add_argument("--only", default="", help="checks whose name and backend contain this; no timings")
    parser.add_argument("--seconds", type=float, default=240, help="for the timings; what does not fit is left out")
    parser.add_argument("--json", help="write checks and timings to this file")
    options = parser.parse_args()
    if options.interpret:
        os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
    import torch

    from point2mask_ot import ConvergenceWarning

    if not options.interpret and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --interpret checks the kernels in Triton's interpreter")
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = run_checks(options.only)
    if not options.interpret and not options.only:
        import gpu_timings

        rows += gpu_timings.run(options.seconds)
    if options.json:
        write_json(options.json, rows, **card(options.interpret), triton=version("triton"))
    sys.exit(int(not all(row["passed"] for row in rows if row["task"] == "check")))


def card(interpret: bool) -> dict[str, str]:
    """Name and driver of the GPU."""
    if interpret:
        return {"gpu": "none: Triton's interpreter"}
    import torch

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"gpu": torch.cuda.get_device_name(), "driver": done.stdout.split("\n")[0].strip() or "unknown"}


if __name__ == "__main__":
    main()
