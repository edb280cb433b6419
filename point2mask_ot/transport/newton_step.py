"""One step of Newton's method on the semi-dual: K-by-K algebra, no pixels."""

from __future__ import annotations

import numpy as np


def laplacian(links: np.ndarray, reg: float) -> np.ndarray:
    """Negative Hessian of the semi-dual from ``links[i, k] = sum_j b_j p_ij p_kj``.

    The diagonal is the sum of the off-diagonal entries: as ``r - sum_j b_j p_ij^2`` it would cancel.
    """
    hessian = -links / reg
    np.fill_diagonal(hessian, 0.0)
    np.fill_diagonal(hessian, -hessian.sum(axis=1))
    return hessian


def boxed_step(
    hessian: np.ndarray, gradient: np.ndarray, floor: np.ndarray, cap: np.ndarray, pinned: int
) -> np.ndarray:
    """Maximise the model ``gradient . s - s . hessian s / 2`` over ``|s| <= cap``: an ascent direction.

    Clipping the components of its top instead would not be one. The arguments are those of
    :func:`.cpu.newton_step.boxed_step`.
    """
    from .cpu import newton_step  # imports numba: only where it is used

    step = np.empty(len(gradient))
    newton_step.boxed_step(np.ascontiguousarray(hessian), gradient, floor, cap, pinned, step)
    return step
