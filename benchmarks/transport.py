"""Transport against POT: the same problems, the accuracy that each solver reached beside its time.

Costs are geodesic distances on a synthetic picture with about a third of the pixels taken out, capacities are
random, which is the hard case. Every row names the L1 error of the marginals over the mass of the plan it timed, so
that a fast plan of poor accuracy shows as such.

    python benchmarks/transport.py                  # all sizes, some minutes
    python benchmarks/transport.py --quick          # under 40 s
    python benchmarks/transport.py --json out.json
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import ot
import torch
from harness import interleaved, write_json
from scipy.ndimage import gaussian_filter
from skimage.graph import MCP_Geometric

from point2mask_ot import sinkhorn, solve

SIZES = [((38, 50), 20), ((128, 128), 20), ((256, 256), 50), ((512, 512), 20)]
QUICK_SIZES = [((38, 50), 20), ((64, 64), 20)]
REGS = (1e-3, 1e-1)
CONVERGING_ENTRIES = 90_000
"""Entries of M beyond which POT's rounds take minutes to the tolerance of ``solve``."""
EMD_ENTRIES = 700_000
"""Entries of M beyond which ``ot.emd`` takes longer than the rest together."""


class Problem(NamedTuple):
    """Marginals and costs."""

    a: np.ndarray
    b: np.ndarray
    M: np.ndarray


def geodesic_problem(shape: tuple[int, int], suppliers: int, seed: int = 0) -> Problem:
    """Random seeds on smooth random terrain; costs from 0 to about 10, float32."""
    rng = np.random.default_rng(seed)
    terrain = gaussian_filter(rng.standard_normal(shape), max(shape) / 25)
    speed = np.hypot(*np.gradient(terrain / terrain.std())) + 0.02
    seeds = np.stack([rng.integers(0, side, suppliers) for side in shape], axis=1)
    costs = np.stack([MCP_Geometric(speed).find_costs([tuple(seed)])[0].ravel() for seed in seeds])
    background = gaussian_filter(rng.standard_normal(shape), max(shape) / 10).ravel()
    b = (background < np.quantile(background, 0.65)).astype(np.float64)
    a = rng.multinomial(int(b.sum()), rng.dirichlet(np.ones(suppliers))).astype(np.float64)
    return Problem(a, b, (costs * (10 / costs.max())).astype(np.float32))


def for_pot(problem: Problem) -> Problem:
    """Float64 without empty rows and columns, which POT's solvers do not all survive."""
    rows, pixels = problem.a > 0, problem.b > 0
    return Problem(problem.a[rows], problem.b[pixels], problem.M[np.ix_(rows, pixels)].astype(np.float64))


def marginal_error(plan: Any, problem: Problem) -> float:
    """L1 distance of both marginals over the mass, of a plan of POT's."""
    plan = np.asarray(plan, dtype=np.float64)
    missed = np.abs(plan.sum(1) - problem.a).sum() + np.abs(plan.sum(0) - problem.b).sum()
    return float(missed / problem.b.sum())


def entropic_solvers(problem: Problem, reg: float) -> dict[str, tuple[Callable[[], Any], Callable[[Any], float]]]:
    """Name -> (call, accuracy of what it returned)."""
    pots = for_pot(problem)
    single = [torch.as_tensor(x).float() for x in pots]

    def rounds(problem: Problem | list[torch.Tensor]) -> Any:
        return ot.sinkhorn(*problem, reg, method="sinkhorn_log", numItermax=80, stopThr=0, warn=False)

    def own_error(result: Any) -> float:
        return float(result.marginal_error)

    def pot_error(plan: Any) -> float:
        return marginal_error(plan, pots)

    def modern() -> Any:
        return ot.solve(pots.M, pots.a, pots.b, reg=reg, reg_type="entropy", max_iter=80, tol=0).plan

    def to_tolerance() -> Any:
        # stopThr bounds the L2 norm of what pixels miss, which the L1 norm exceeds by sqrt(N) at most.
        goal = 1e-7 * pots.b.sum() / np.sqrt(pots.b.size)
        return ot.sinkhorn(*pots, reg, method="sinkhorn_log", numItermax=100_000, stopThr=goal, warn=False)

    double = problem._replace(M=problem.M.astype(np.float64))
    solvers: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {
        "sinkhorn, 80 rounds, float32": (lambda: sinkhorn(*problem, reg), own_error),
        "sinkhorn, 80 rounds, float64": (lambda: sinkhorn(*double, reg), own_error),
        "solve newton, converged, float32": (lambda: solve(*problem, reg=reg), own_error),
        "ot.sinkhorn log, 80 rounds, numpy float64": (lambda: rounds(pots), pot_error),
        "ot.sinkhorn log, 80 rounds, torch float32": (lambda: rounds(single), pot_error),
        "ot.solve, 80 rounds, numpy float64": (modern, pot_error),
    }
    if reg >= 0.1 and problem.M.size <= CONVERGING_ENTRIES:
        solvers["ot.sinkhorn log, converged, numpy float64"] = (to_tolerance, pot_error)
    return solvers


def exact_solvers(problem: Problem) -> dict[str, tuple[Callable[[], Any], Callable[[Any], float]]]:
    """The same without regularisation."""
    pots = for_pot(problem)
    solvers: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {
        "solve exact": (lambda: solve(*problem), lambda result: float(result.marginal_error)),
    }
    if problem.M.size <= EMD_ENTRIES:
        solvers["ot.emd"] = (
            lambda: ot.emd(*pots, numItermax=100_000_000),
            lambda plan: marginal_error(plan, pots),
        )
    return solvers


def measure(problem: Problem, reg: float, repeats: int) -> list[dict[str, Any]]:
    """Interleaved timings of all solvers of one problem, and how much longer each takes than the converged one."""
    solvers = exact_solvers(problem) if reg == 0 else entropic_solvers(problem, reg)
    timings = interleaved({name: call for name, (call, _) in solvers.items()}, repeats)
    reference = timings["solve exact" if reg == 0 else "solve newton, converged, float32"].median
    return [
        {
            "suppliers": problem.M.shape[0],
            "pixels": problem.M.shape[1],
            "reg": reg,
            "threads": torch.get_num_threads(),
            "solver": name,
            "milliseconds": timings[name].median * 1e3,
            "low": timings[name].low * 1e3,
            "high": timings[name].high * 1e3,
            "runs": timings[name].runs,
            "ratio": timings[name].median / reference,
            "marginal_error": error(call()),
        }
        for name, (call, error) in solvers.items()
    ]


def print_header() -> None:
    """The ratio is to the converged solver of this package in the same run."""
    print(f"{'K x N':>12} {'reg':>6}  {'solver':<44} {'ms':>10} {'quartiles':>19} {'ratio':>8} {'error':>8}")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """One line a solver."""
    for row in rows:
        spread = f"{row['low']:.2f}-{row['high']:.2f}"
        print(
            f"{row['suppliers']:>4} x {row['pixels']:<6}{row['reg']:>6g}  {row['solver']:<44} "
            f"{row['milliseconds']:>10.2f} {spread:>19} {row['ratio']:>8.2f} {row['marginal_error']:>8.1e}"
        )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats")
    parser.add_argument("--threads", type=int, default=1, help="threads for this package and torch (default 1)")
    parser.add_argument("--repeats", type=int, default=None, help="timed runs of each solver")
    parser.add_argument("--json", default=None, help="write the rows, with machine and versions, to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # 80 rounds do not converge; the table says how far they are
    rows: list[dict[str, Any]] = []
    print_header()
    for shape, suppliers in QUICK_SIZES if options.quick else SIZES:
        problem = geodesic_problem(shape, suppliers)
        for reg in (*REGS, 0.0):
            found = measure(problem, reg, options.repeats or (3 if options.quick else 5))
            print_rows(found)
            rows += found
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
