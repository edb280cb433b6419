"""Transport problems for the tests: feasible, and degenerate unless asked otherwise."""

from __future__ import annotations

import numpy as np


def problem(rng, suppliers=6, pixels=90, *, unit=False, degenerate=True, dtype=np.float64):
    """(a, b, M) whose masked entries leave a feasible plan.

    Degenerate problems have a supplier without capacity, pixels without demand (one of them out of everyone's
    reach), forbidden pairs and a tie. ``unit`` makes demands 1 and capacities whole.
    """
    M = rng.random((suppliers, pixels)) * 2
    owner = np.concatenate([np.arange(suppliers), rng.integers(0, suppliers, pixels - suppliers)])
    b = np.ones(pixels) if unit else rng.uniform(0.5, 2, pixels)
    if degenerate:
        owner[owner == 1] = 0
        b[3:9] = 0
        allowed = rng.random(M.shape) < 0.7
        allowed[owner, np.arange(pixels)] = True
        M[~allowed] = np.inf
        M[:, 4] = np.inf
        M[:, 10] = 0.5
    plan = np.zeros_like(M)
    plan[owner, np.arange(pixels)] = b
    if not unit:  # a mixture of feasible plans, so that the optimum is interior
        shares = np.where(np.isfinite(M), rng.random(M.shape), 0)
        shares[1 if degenerate else slice(0, 0)] = 0
        shares[:, b == 0] = 0
        plan = 0.5 * plan + 0.5 * b * shares / np.maximum(shares.sum(axis=0), 1e-300)
        b = plan.sum(axis=0)
    return plan.sum(axis=1), b, M.astype(dtype)


def rounds(a, b, M, reg, count, floor=0.0):
    """Eq. 10-11 written down: ``count`` rounds from equal potentials, pixels first, suppliers last."""
    M = M.astype(np.float64)
    reached = np.isfinite(M).any(axis=0)
    with np.errstate(divide="ignore"):
        log_a, log_b = np.log(a + floor), np.log(np.where(reached, b + floor, 0))
    f = np.where(log_a > -np.inf, 0.0, -np.inf)
    for _ in range(count):
        g = reg * (log_b - np.where(reached, _log_sum_exp((f[:, None] - M) / reg, 0), 0))
        f = reg * (log_a - _log_sum_exp((g - M) / reg, 1))
    return f, g


def _log_sum_exp(x, axis):
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
