"""Newton's step within a box where most suppliers do not meet: the sparse counterpart of :mod:`.cpu.newton_step`."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import splu

_DAMPING = 1e-14
_ROUNDS = 12


def laplacian(links: Any, reg: float, stiffness: np.ndarray | None) -> Any:
    """As :func:`.newton.laplacian`."""
    off = links / reg
    diagonal = off.sum(axis=1)
    return diags_array(diagonal if stiffness is None else diagonal + stiffness, format="csr") - off


def boxed_step(hessian: Any, gradient: np.ndarray, floor: np.ndarray, cap: np.ndarray, pinned: int) -> np.ndarray:
    """As :func:`.cpu.newton_step.boxed_step`, of a scipy.sparse.csr_array."""
    stiffness = np.maximum(hessian.diagonal(), floor)
    step, side = np.zeros(len(gradient)), np.zeros(len(gradient))
    free = np.arange(len(gradient)) != pinned
    _solve_free(hessian, gradient, stiffness, free, step)
    if pinned >= 0:  # take out the mean, in which those on a plateau count for little
        step -= (stiffness * step).sum() / stiffness.sum()
    for _ in range(_ROUNDS):
        pull = gradient - hessian @ step
        beyond, drawn = (side == 0) & (np.abs(step) > cap), side * pull < 0
        if not (beyond | drawn).any():
            break
        side[beyond] = np.sign(step[beyond])
        side[drawn] = 0
        free = side == 0
        if free.all():  # along constants there was a solution within the box, and this is it
            break
        step = side * cap
        _solve_free(hessian, gradient, stiffness, free, step)
    return np.clip(step, -cap, cap)


def _solve_free(hessian: Any, gradient: np.ndarray, stiffness: np.ndarray, free: np.ndarray, step: np.ndarray) -> None:
    """Set ``step`` of the free to where the gradient of the model vanishes, given the step of the others."""
    own = np.flatnonzero(free)
    if not own.size:
        return
    step[own] = 0.0
    target = (gradient - hessian @ step)[own]
    matrix = hessian[own][:, own] + diags_array(_DAMPING * stiffness[own], format="csr")
    step[own] = _factorised(matrix).solve(target)


def _factorised(matrix: csr_array) -> Any:
    """Sparse factors, without exchanges: the matrix is an M-matrix."""
    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
