"""One step of Newton's method on the semi-dual: K-by-K algebra, no pixels."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

_DAMPING = 1e-14
"""Added to the scaled Hessian, whose diagonal is 1: far below what a step depends on."""


def laplacian(links: np.ndarray, reg: float) -> np.ndarray:
    """Negative Hessian of the semi-dual from ``links[i, k] = sum_j b_j p_ij p_kj``.

    The diagonal is the sum of the off-diagonal entries: as ``r - sum_j b_j p_ij^2`` it would cancel.
    """
    hessian = -links / reg
    np.fill_diagonal(hessian, 0.0)
    np.fill_diagonal(hessian, -hessian.sum(axis=1))
    return hessian


def capped_step(
    hessian: np.ndarray, gradient: np.ndarray, floor: np.ndarray, cap: float, pinned: int | None
) -> np.ndarray:
    """Solve ``hessian @ step = gradient``; where that moves a price beyond ``cap``, shorten what is long.

    Clipping single components would not be an ascent direction; each eigenmode is shortened on its own instead.

    Args:
        hessian: (K, K) positive semi-definite.
        gradient: (K,).
        floor: (K,) smallest diagonal to scale by, so that suppliers without links stay bounded.
        cap: largest move of a price.
        pinned: index of the supplier that keeps its price where the Hessian is singular along constants; the
            step is then centred. None where it is regular (soft capacities).
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), floor))
    scaled = hessian * scale[:, None] * scale
    step = _solve(scaled, scale * gradient, pinned)
    if step is not None:
        step = _centered(step * scale, pinned)
        if np.abs(step).max(initial=0.0) <= cap and gradient @ step >= 0:
            return step
    return _by_modes(scaled, scale, gradient, cap, pinned)


def _solve(matrix: np.ndarray, target: np.ndarray, pinned: int | None) -> np.ndarray | None:
    """Cholesky; None where rounding left the matrix indefinite."""
    free = np.arange(len(target)) != (-1 if pinned is None else pinned)
    step = np.zeros(len(target))
    if free.any():
        reduced = matrix[free][:, free]
        np.fill_diagonal(reduced, reduced.diagonal() + _DAMPING)
        _, step[free], failed = dposv(reduced, target[free])  # numpy.linalg.solve wakes threads for 20 x 20
        if failed:
            return None
    return step if np.isfinite(step).all() else None


def _by_modes(
    scaled: np.ndarray, scale: np.ndarray, gradient: np.ndarray, cap: float, pinned: int | None
) -> np.ndarray:
    curvatures, modes = np.linalg.eigh(scaled)
    moves = modes * scale[:, None]
    slopes = gradient @ moves
    longest = cap / np.maximum(np.abs(moves).max(axis=0), 1e-300)
    lengths = np.clip(slopes / np.maximum(curvatures, 1e-16), -longest, longest)
    step = _centered(moves @ lengths, pinned)
    return step * min(1.0, 2 * cap / max(np.abs(step).max(), 1e-300))


def _centered(step: np.ndarray, pinned: int | None) -> np.ndarray:
    return step if pinned is None or not len(step) else step - (step.max() + step.min()) / 2
