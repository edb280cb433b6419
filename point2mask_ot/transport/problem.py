"""What a solver is given and what it gives back: one checked problem, the numbers of the call, one solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

Method = Literal["sinkhorn", "newton", "exact"]


@dataclass(frozen=True)
class Options:
    """Numbers of a solver call, already checked; ``tol`` is negative where none was asked for."""

    method: Method
    reg: float
    tau: float
    tol: float
    max_iter: int
    marginal_floor: float
    normalize: bool
    backend: str


@dataclass(frozen=True)
class Problem:
    """One problem after validation.

    Attributes:
        a: (K,) float64 capacities, scaled to the total of the demand.
        b: (N,) float64 demand.
        M: (K, N) float32 or float64 costs.
        span: range of the finite costs.
        magnitude: largest absolute value among them.
        masked: M holds +inf.
        resolution: relative rounding error of the marginals as they were given.
    """

    a: np.ndarray
    b: np.ndarray
    M: torch.Tensor
    span: float
    magnitude: float
    masked: bool
    resolution: float


@dataclass(frozen=True)
class Solution:
    """What every method returns.

    Attributes:
        f: (K,) supplier potentials.
        g: (N,) pixel potentials, -inf without demand.
        labels: (N,) int64.
        cost: ``<P, M>``.
        masses: (K,) row sums of the plan.
        pixel_error: L1 error of its column sums.
        iterations: rounds or passes made.
        flow: (supplier * N + pixel, mass) of the entries of an unregularised plan.
        finished: False where the plan may be feasible and yet not optimal.
        error: L1 error of both marginals over the mass; filled in last.
    """

    f: np.ndarray
    g: Any
    labels: Any
    cost: float
    masses: np.ndarray
    pixel_error: float
    iterations: int
    flow: tuple[np.ndarray, np.ndarray] | None = None
    finished: bool = True
    error: float = math.inf
