"""Transport against POT, geomloss and the paper's rounds in plain torch: equal problems, equal accuracy.

    python benchmarks/transport.py [--quick] [--json results.json]

Costs are geodesic distances on a synthetic picture with about a third of the pixels taken out, capacities are random,
which is the hard case. Errors are the L1 distance of both marginals over the mass. Three tasks:

- "to 1e-04": the time to that marginal error. A peer is told the number of rounds that it needs where our own rounds
  find it first, and gets half as many again until it is there; so its time holds no test of convergence. It stops at
  a limit of 50 times what `solve` took, but no less than 1 s and no more than 15 s: "not reached" then.
- "80 rounds": what the paper does, with the error that is reached after them; and `solve`, converged to 1e-7.
- "exact": without regularisation, `ot.emd` in a process that is stopped after two minutes.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import Timing, interleaved, isolated, version, write_json
from peers import Plan, Problem, as_torch, entropic, geodesic_problem, marginal_error, ot, without_empty

from point2mask_ot import sinkhorn, solve

GOAL = 1e-4
REACHED = 1.02 * GOAL
"""What counts as there: solvers test their error on float32 sums, the benchmark on float64 ones."""
SIZES = [
    *((20, (38, 50)), (20, (128, 128)), (50, (128, 128)), (20, (256, 256))),
    *((50, (256, 256)), (20, (512, 512)), (50, (512, 512))),
]
TWO_THREADS = [(20, (38, 50)), (50, (256, 256))]
QUICK_SIZE = (5, (16, 20))
REGS = (1e-3, 1e-2, 1e-1)
EIGHTY_ROUNDS_REGS = (1e-3, 1e-1)
LARGE = 2_000_000
"""Entries of M beyond which ``ot.emd`` runs once."""
MOST_ENTRIES = {
    "ot.solve, numpy float64": 100_000,
    "ot.solve_batch, torch float32": 2_000_000,
    "geomloss.ot.solve, torch float32": 2_000_000,
}
"""Entries of M beyond which a peer that does the same as another, or is slower by far, is left out."""
EMD_LIMIT = 120.0


class Table:
    """Rows of one problem, printed as they come."""

    def __init__(self, problem: Problem, repeats: int, quick: bool) -> None:
        self.problem, self.repeats, self.quick = problem, repeats, quick
        self.numpys = without_empty(problem)
        self.torches = as_torch(self.numpys)
        self.large = problem.M.size > LARGE
        self.rows: list[dict[str, Any]] = []

    def peers(self, reg: float) -> dict[str, tuple[Plan, Problem]]:
        """Those that run at this size."""
        found = entropic(self.numpys, self.torches, reg)
        size = self.problem.M.size
        return {name: peer for name, peer in found.items() if size <= MOST_ENTRIES.get(name, size)}

    def add(
        self, task: str, reg: float, solver: str, timing: Timing, reference: Timing, error: float, status: str,
        rounds: int | None = None,
    ) -> None:  # fmt: skip
        """The ratio is to the converged solver of this package in the same task; an error of NaN means no plan."""
        suppliers, pixels = self.problem.M.shape
        reached = error if math.isfinite(error) else None
        self.rows.append(
            {"task": task, "suppliers": suppliers, "pixels": pixels, "reg": reg, "threads": torch.get_num_threads()}
            | {"solver": solver, "seconds": vars(timing), "ratio": timing.median / reference.median}
            | {"marginal_error": reached, "rounds": rounds, "status": "failed" if error == math.inf else status}
        )
        print(
            f"{task:10} {suppliers:>3} x {pixels:<7} {reg:<6g} {torch.get_num_threads()} {solver:38} "
            f"{1e3 * timing.median:10.2f} ms [{1e3 * timing.low:.2f}, {1e3 * timing.high:.2f}] x{timing.runs} "
            f"{self.rows[-1]['ratio']:8.1f}x  error {error:.1e}  {self.rows[-1]['status']}",
            flush=True,
        )

    def eighty_rounds(self, reg: float) -> None:
        """The paper's number of rounds, and beside them the converged solver."""
        a, b, M = self.problem
        double = M.astype(np.float64)
        ours: dict[str, Callable[[], Any]] = {
            "solve, converged, float32": lambda: solve(a, b, M, reg=reg),
            "sinkhorn, float32": lambda: sinkhorn(a, b, M, reg),
            "sinkhorn, float64": lambda: sinkhorn(a, b, double, reg),
        }
        errors: dict[str, float] = {}

        def recorded(name: str, plan: Plan, given: Problem) -> Callable[[], None]:
            def run() -> None:
                found = plan(80)
                if name not in errors:  # in the first call, which is timed only where it is the only one
                    errors[name] = marginal_error(found, given)

            return run

        calls = ours | {name: recorded(name, *peer) for name, peer in self.peers(reg).items()}
        timings = interleaved(calls, self.repeats, budget=6)
        errors |= {name: float(call().marginal_error) for name, call in ours.items()}
        reference = timings["solve, converged, float32"]
        for name, timing in timings.items():
            converged = name in ours and errors[name] <= 1e-7
            status, rounds = ("reached", None) if converged else ("as it stands", 80)
            self.add("80 rounds", reg, name, timing, reference, errors[name], status, rounds)

    def to_goal(self, reg: float) -> None:
        """Everyone's time to the same marginal error."""
        a, b, M = self.problem
        task = f"to {GOAL:.0e}"
        call = {"ours": lambda: solve(a, b, M, reg=reg, tol=GOAL)}
        reference = interleaved(call, self.repeats, budget=6)["ours"]
        self.add(task, reg, "solve, float32", reference, reference, float(call["ours"]().marginal_error), "reached")
        precise = call | {"ours": lambda: solve(a, b, M, reg=reg, tol=1e-10)}
        timing, error = interleaved(precise, self.repeats, budget=6)["ours"], precise["ours"]().marginal_error
        self.add("to 1e-10", reg, "solve, float32", timing, timing, float(error), "reached")
        limit = min(15.0, max(0.1 if self.quick else 1.0, 50 * reference.median))
        needed = self.rounds_needed(task, reg, reference, limit)
        for name, (plan, given) in self.peers(reg).items():
            guess = needed if needed and not name.startswith("geomloss") else 10
            seconds, error, rounds = run_to_goal(plan, given, guess, limit)
            status = "reached" if error <= REACHED else "not reached"
            self.add(task, reg, name, Timing.of(seconds), reference, error, status, rounds)

    def rounds_needed(self, task: str, reg: float, reference: Timing, limit: float) -> int | None:
        """What our own rounds take, and how many they are; None where they do not get there in the time."""
        a, b, M = self.problem
        eighty = interleaved({"ours": lambda: sinkhorn(a, b, M, reg)}, 1)["ours"].median
        most = max(80, int(80 * min(limit, 5.0) / eighty))
        start = time.perf_counter()
        result = sinkhorn(a, b, M, reg, tol=GOAL, max_iter=most)
        timing = Timing.of([time.perf_counter() - start])
        error = float(result.marginal_error)
        status = "reached" if error <= REACHED else "not reached"
        self.add(task, reg, "sinkhorn, float32", timing, reference, error, status, int(result.iterations))
        return int(result.iterations) if error <= REACHED else None

    def exact(self) -> None:
        """Without regularisation; several runs of a small ``ot.emd``, one bounded run of a large one."""
        a, b, M = self.problem
        call = {"ours": lambda: solve(a, b, M)}
        reference = interleaved(call, self.repeats, budget=6)["ours"]
        result = call["ours"]()
        self.add("exact", 0.0, "solve, exact", reference, reference, float(result.marginal_error), "reached")
        dual = float(result.f[a > 0] @ a[a > 0] + result.g[b > 0] @ b[b > 0])
        self.rows[-1]["duality_gap"] = abs(float(result.cost) - dual) / abs(dual)
        if ot is None or (self.large and M.shape[0] > 20 and M.shape[1] > 100_000):
            return
        repeats = 1 if self.large else self.repeats
        try:
            seconds, cost, error = isolated(self.quick)(emd, self.numpys, repeats, timeout=EMD_LIMIT)
        except TimeoutError:
            self.add("exact", 0.0, "ot.emd", Timing.of([EMD_LIMIT]), reference, math.nan, "not reached")
            return
        if abs(cost - float(result.cost)) > 1e-6 * abs(cost):
            raise AssertionError(f"exact: ot.emd finds a cost of {cost}, ours is {float(result.cost)}")
        self.add("exact", 0.0, "ot.emd", Timing.of(seconds), reference, error, "reached")


def emd(problem: Problem, repeats: int) -> tuple[list[float], float, float]:
    """Seconds of each run, cost and marginal error."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        plan = ot.emd(*problem, numItermax=1_000_000_000)
        seconds.append(time.perf_counter() - start)
    return seconds, float((plan * problem.M).sum()), marginal_error(plan, problem)


def run_to_goal(plan: Plan, problem: Problem, guess: int, limit: float) -> tuple[list[float], float, int]:
    """Seconds of the run that got there, or of the last within the limit; its error; its number of rounds."""
    start = time.perf_counter()
    plan(5)
    per_round = (time.perf_counter() - start) / 5
    rounds = min(guess, max(5, int(limit / per_round)))
    while True:
        start = time.perf_counter()
        found = plan(rounds)
        seconds = time.perf_counter() - start
        error = marginal_error(found, problem)
        if error <= REACHED or error == math.inf or 1.5 * seconds > limit:
            break
        rounds = int(1.5 * rounds) + 1
    timed = [seconds]
    while error <= REACHED and len(timed) < 3 and sum(timed) < 2:
        start = time.perf_counter()
        plan(rounds)
        timed.append(time.perf_counter() - start)
    return timed, error, rounds


def compile_kernels() -> None:
    """Call everything of ours once."""
    a, b, M = geodesic_problem((8, 10), 3)
    for costs in (M, M.astype(np.float64)):
        for reg in REGS:
            solve(a, b, costs, reg=reg), sinkhorn(a, b, costs, reg)
    solve(a, b, M)


def run(suppliers: int, shape: tuple[int, int], threads: int, repeats: int, quick: bool) -> list[dict[str, Any]]:
    """All rows of one size."""
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")  # 80 rounds do not converge; the rows say how far they are
    compile_kernels()
    table = Table(geodesic_problem(shape, suppliers), repeats, quick)
    for reg in REGS[-1:] if quick else REGS:
        table.to_goal(reg)
    for reg in REGS[-1:] if quick else EIGHTY_ROUNDS_REGS:
        table.eighty_rounds(reg)
    table.exact()
    return table.rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds: one small size, few repeats")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each solver, at most")
    parser.add_argument("--json", help="write the rows, with machine and versions, to this file")
    options = parser.parse_args()
    sizes = [(1, size) for size in SIZES] + [(2, size) for size in TWO_THREADS]
    repeats = 2 if options.quick else options.repeats
    rows: list[dict[str, Any]] = []
    for threads, (suppliers, shape) in [(1, QUICK_SIZE)] if options.quick else sizes:
        rows += isolated(options.quick)(run, suppliers, shape, threads, repeats, options.quick, threads=threads)
        if options.json:
            write_json(options.json, rows, geomloss=version("geomloss"), goal=GOAL)


if __name__ == "__main__":
    main()
