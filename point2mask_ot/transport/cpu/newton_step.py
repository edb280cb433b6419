"""Newton's step within a box, compiled: linear algebra of K by K, on the calling thread alone.

LAPACK wakes a pool of threads for a few hundred rows, and on a busy machine waits for them for longer than it works.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiled.jit import helper, njit
from .blocks import ANY_ORDER

_DAMPING = 1e-14
"""Smallest pivot, over the diagonal that it started from: far below what a step depends on."""
_ROUNDS = 12
"""Guesses of which suppliers the box holds back; most steps take one to seven."""


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _cholesky(matrix: Any, size: int, smallest: Any) -> None:
    """Factor the lower triangle in place; inverses of the pivots on the diagonal, which ``smallest`` bounds."""
    for i in range(np.uint64(size)):
        for j in range(i):
            total = matrix[i, j]
            for t in range(j):
                total -= matrix[i, t] * matrix[j, t]
            matrix[i, j] = total * matrix[j, j]
        total = matrix[i, i]
        for t in range(i):
            total -= matrix[i, t] * matrix[i, t]
        matrix[i, i] = 1 / math.sqrt(max(total, smallest[i]))


@helper(fastmath=ANY_ORDER, error_model="numpy")
def _substitute(factor: Any, size: int, target: Any) -> None:
    """Solve with both triangles, in place."""
    rows = np.uint64(size)
    for i in range(rows):
        total = target[i]
        for t in range(i):
            total -= factor[i, t] * target[t]
        target[i] = total * factor[i, i]
    for r in range(rows):
        i = rows - np.uint64(1) - r
        target[i] *= factor[i, i]
        for t in range(i):
            target[t] -= factor[i, t] * target[i]


@helper(error_model="numpy")
def _solve_free(hessian: Any, gradient: Any, floor: Any, free: Any, size: int, step: Any, factor: Any) -> None:
    """Set ``step`` of ``free[:size]`` to where the gradient of the model vanishes, given the step of the others."""
    K = len(gradient)
    target, smallest = np.empty(size), np.empty(size)
    for p in range(size):
        step[free[p]] = 0.0
    for p in range(size):
        i = free[p]
        target[p] = gradient[i]
        for k in range(K):
            target[p] -= hessian[i, k] * step[k]
        for q in range(p + 1):
            factor[p, q] = hessian[i, free[q]]
        smallest[p] = _DAMPING * max(hessian[i, i], floor[i])
    _cholesky(factor, size, smallest)
    _substitute(factor, size, target)
    for p in range(size):
        step[free[p]] = target[p]


@helper(error_model="numpy")
def _update_sides(hessian: Any, gradient: Any, cap: Any, step: Any, side: Any) -> bool:
    """Hold back who went beyond the box, let go whom the model draws inside; whether anything changed."""
    changed = False
    for i in range(len(step)):
        if side[i] == 0:
            if abs(step[i]) > cap[i]:
                side[i] = 1 if step[i] > 0 else -1
                changed = True
        else:
            pull = gradient[i]
            for k in range(len(step)):
                pull -= hessian[i, k] * step[k]
            if side[i] * pull < 0:
                side[i] = 0
                changed = True
    return changed


@helper(error_model="numpy")
def _center(hessian: Any, floor: Any, step: Any) -> None:
    """Take out the mean, in which those on a plateau, who may be far off, count for little."""
    stiffness, moved = 0.0, 0.0
    for i in range(len(step)):
        weight = max(hessian[i, i], floor[i])
        stiffness += weight
        moved += weight * step[i]
    for i in range(len(step)):
        step[i] -= moved / stiffness


@njit(error_model="numpy")
def boxed_step(hessian: Any, gradient: Any, floor: Any, cap: Any, pinned: int, step: Any) -> None:
    """Fill ``step`` with the maximum of ``gradient . s - s . hessian s / 2`` over ``|s| <= cap``.

    A primal-dual active set: suppliers are held at a face of the box or free, the free ones solved for, and both
    lists corrected until they stay. For the Hessian at hand, an M-matrix, that takes a few rounds.

    Args:
        hessian: (K, K) positive semi-definite.
        gradient: (K,).
        floor: (K,) smallest diagonal that pivots are measured by.
        cap: (K,) largest move of each price.
        pinned: supplier that keeps its price in the solution without a box, which is then centred; -1 for none.
        step: (K,) out.
    """
    K = len(step)
    factor, side, free = np.empty((K, K)), np.zeros(K, np.int64), np.empty(K, np.int64)
    number = 0
    for i in range(K):
        step[i] = 0.0
        if i != pinned:
            free[number] = i
            number += 1
    _solve_free(hessian, gradient, floor, free, number, step, factor)
    if pinned >= 0:
        _center(hessian, floor, step)
    for _ in range(_ROUNDS):
        if not _update_sides(hessian, gradient, cap, step, side):
            break
        number = 0
        for i in range(K):
            if side[i] == 0:
                free[number] = i
                number += 1
        if number == K:  # along constants there was a solution within the box, and this is it
            break
        for i in range(K):
            step[i] = side[i] * cap[i]
        _solve_free(hessian, gradient, floor, free, number, step, factor)
    for i in range(K):
        step[i] = min(max(step[i], -cap[i]), cap[i])
