"""A transport problem, solvers of it that others wrote, and the paper's rounds in plain torch.

Each solver is a function of the number of rounds that returns its plan, so that solvers can be compared at equal
accuracy. All get float64 or float32 copies of the problem without empty rows and pixels, which not all of them
survive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

try:
    import ot
except ImportError:  # a machine with a GPU may bring only torch
    ot = None
try:
    from geomloss import ot as geomloss
except ImportError:
    geomloss = None

Plan = Callable[[int], Any]
"""Number of rounds -> (K, N) plan."""


class Problem(NamedTuple):
    """Marginals and costs."""

    a: Any
    b: Any
    M: Any


def geodesic_problem(shape: tuple[int, int], suppliers: int, seed: int = 0) -> Problem:
    """Random seeds on smooth random terrain; costs from 0 to about 10, float32."""
    from skimage.graph import MCP_Geometric

    rng = np.random.default_rng(seed)
    terrain = gaussian_filter(rng.standard_normal(shape), max(shape) / 25)
    speed = np.hypot(*np.gradient(terrain / terrain.std())) + 0.02
    seeds = np.stack([rng.integers(0, side, suppliers) for side in shape], axis=1)
    costs = np.empty((suppliers, speed.size), np.float32)
    for row, point in zip(costs, seeds, strict=True):
        row[:] = MCP_Geometric(speed).find_costs([tuple(point)])[0].ravel()
    background = gaussian_filter(rng.standard_normal(shape), max(shape) / 10).ravel()
    b = (background < np.quantile(background, 0.65)).astype(np.float64)
    a = rng.multinomial(int(b.sum()), rng.dirichlet(np.ones(suppliers))).astype(np.float64)
    costs *= 10 / costs.max()
    return Problem(a, b, costs)


def without_empty(problem: Problem) -> Problem:
    """Float64, without suppliers and pixels of no mass."""
    rows, pixels = problem.a > 0, problem.b > 0
    return Problem(problem.a[rows], problem.b[pixels], problem.M[np.ix_(rows, pixels)].astype(np.float64))


def as_torch(problem: Problem, device: str = "cpu") -> Problem:
    """Float32 tensors."""
    return Problem(*(torch.as_tensor(array).float().to(device) for array in problem))


def marginal_error(plan: Any, problem: Problem) -> float:
    """L1 distance of both marginals over the mass; inf for a plan that is not finite. Sums are in float64."""
    if isinstance(plan, torch.Tensor):
        rows, pixels = (plan.sum(axis, dtype=torch.float64).cpu().numpy() for axis in (1, 0))
    else:
        rows, pixels = plan.sum(1), plan.sum(0)
    a, b = (np.asarray(torch.as_tensor(x).cpu(), dtype=np.float64) for x in (problem.a, problem.b))
    error = float((np.abs(rows - a).sum() + np.abs(pixels - b).sum()) / b.sum())
    return error if np.isfinite(error) else float("inf")


def paper_rounds(problem: Problem, reg: float, rounds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 10-11 as they stand, in the log domain: potentials (f, g) after some rounds, pixels first."""
    a, b, M = problem
    log_a, log_b = a.log(), b.log()
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(rounds):
        g = reg * (log_b - torch.logsumexp((f[:, None] - M) / reg, 0))
        f = reg * (log_a - torch.logsumexp((g - M) / reg, 1))
    return f, g


def paper_plan(problem: Problem, reg: float, rounds: int) -> torch.Tensor:
    """The plan of Eq. 9 that belongs to the potentials."""
    f, g = paper_rounds(problem, reg, rounds)
    return ((f[:, None] + g - problem.M) / reg).exp()


def entropic(numpys: Problem, torches: Problem, reg: float) -> dict[str, tuple[Plan, Problem]]:
    """Name -> (solver, the problem that it was given). Those of packages that are absent are left out."""
    solvers: dict[str, tuple[Plan, Problem]] = {
        "paper's rounds, torch float32": (lambda rounds: paper_plan(torches, reg, rounds), torches)
    }
    if ot is not None:

        def sinkhorn(problem: Problem, method: str) -> Plan:
            options = {"method": method, "stopThr": 0, "warn": False}
            return lambda rounds: ot.sinkhorn(*problem, reg, numItermax=rounds, **options)

        def solve(rounds: int) -> Any:
            a, b, M = numpys
            return ot.solve(M, a, b, reg=reg, reg_type="entropy", max_iter=rounds, tol=0).plan

        def batch(rounds: int) -> Any:
            a, b, M = (x[None] for x in torches)
            return ot.solve_batch(M, reg, a, b, max_iter=rounds, tol=0, grad="detach").plan[0]

        solvers["ot.sinkhorn log, numpy float64"] = sinkhorn(numpys, "sinkhorn_log"), numpys
        solvers["ot.sinkhorn stabilized, numpy float64"] = sinkhorn(numpys, "sinkhorn_stabilized"), numpys
        solvers["ot.sinkhorn log, torch float32"] = sinkhorn(torches, "sinkhorn_log"), torches
        solvers["ot.solve, numpy float64"] = solve, numpys
        solvers["ot.solve_batch, torch float32"] = batch, torches
    if geomloss is not None:

        def annealed(rounds: int) -> Any:
            a, b, M = torches
            return geomloss.solve(M, reg=reg, a=a, b=b, max_iter=rounds).plan

        solvers["geomloss.ot.solve, torch float32"] = annealed, torches
    return solvers
