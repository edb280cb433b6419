"""Exact transport between real-valued marginals, by POT's network simplex."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Flow:
    """An optimal plan with few entries.

    Attributes:
        f: (K,) optimal prices; 0 for suppliers without capacity.
        supplier, pixel, mass: the entries of the plan, forbidden pairs left out.
        finished: the simplex reached the optimum.
    """

    f: np.ndarray
    supplier: np.ndarray
    pixel: np.ndarray
    mass: np.ndarray
    finished: bool


def network_simplex(a: np.ndarray, b: np.ndarray, M: np.ndarray, span: float, max_iter: int) -> Flow:
    """Plain form of Eq. 1: the plan P >= 0 of least <P, M> whose rows sum to a and columns to b, by ``ot.emd``.

    Args:
        a: (K,) capacities.
        b: (N,) demand of the same total.
        M: (K, N) costs; +inf forbids a pair.
        span: range of the finite costs.
        max_iter: pivots to make at most.
    """
    import ot  # heavy, and needed for this method alone

    rows, pixels = np.flatnonzero(a > 0), np.flatnonzero(b > 0)
    costs = M[np.ix_(rows, pixels)].astype(np.float64)
    allowed = np.isfinite(costs)
    # ot.emd calls problems with negative costs or a large total infeasible.
    mass = b.sum()
    costs -= costs.min()
    # No cycle of a basis passes through a supplier twice, so a detour around a forbidden pair gains less.
    costs[~allowed] = 2 * (len(rows) + 1) * (span + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the log says the same
        plan, log = ot.emd(a[rows] / mass, b[pixels] / mass, costs, numItermax=max_iter, log=True)
    plan *= mass
    supplier, pixel = np.nonzero(plan * allowed)
    f = np.zeros(len(a))
    f[rows] = log["u"]
    return Flow(f, rows[supplier], pixels[pixel], plan[supplier, pixel], log["warning"] is None)
