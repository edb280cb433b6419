"""Sizes told about the targets, as somebody would guess them: the truth times a random factor."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from protocols import Problem

from point2mask_ot import PointTargets
from point2mask_ot.types import SIZE_ERROR

HINTED = 5
"""Targets of a class whose guessed sizes make up a typical one."""


def true_sizes(problem: Problem) -> np.ndarray:
    """(K,) pixels of each target."""
    return np.bincount(problem.truth[problem.truth >= 0], minlength=len(problem.category)).astype(float)


def told(problem: Problem, targets: PointTargets, off: float, error: float = SIZE_ERROR) -> PointTargets:
    """The targets with a guessed size of each thing; the background has none.

    Args:
        off: the typical factor, one standard deviation of a normal law of the logarithm; 1 is the truth.
        error: what the method is told of it.
    """
    seed = zlib.crc32(f"{problem.name} {targets.points_yx.tolist()}".encode())
    guessed = true_sizes(problem) * np.exp(np.random.default_rng(seed).normal(0, np.log(off), targets.num_targets))
    return replace(targets, size=np.where(targets.is_thing, guessed, np.nan), size_error=error)


def typical(problem: Problem, targets: PointTargets) -> PointTargets:
    """The targets with the typical size of their class, which is off by the spread of the class."""
    sizes, errors = (np.array([problem.typical.get(c, (np.nan, 1.0))[i] for c in problem.kind]) for i in (0, 1))
    return replace(targets, size=sizes, size_error=np.maximum(errors, 1))


def learn_typical(problems: Iterable[Problem], off: float = SIZE_ERROR) -> dict[int, tuple[float, float]]:
    """Size and spread of each class, from the guesses of the first few targets of it, one each of different pictures
    where there are enough."""
    found: dict[int, list[list[float]]] = {}
    for problem in problems:
        sizes = told(problem, problem.targets(0), off).size
        for kind in np.unique(problem.kind[problem.is_thing]).tolist():
            found.setdefault(kind, []).append(sizes[problem.is_thing & (problem.kind == kind)].tolist())
    return {kind: _law([size for row in _in_turns(rows) for size in row][:HINTED]) for kind, rows in found.items()}


def _in_turns(rows: list[list[float]]) -> list[list[float]]:
    """The first of every row, then the second, ..."""
    return [[row[i] for row in rows if i < len(row)] for i in range(max(map(len, rows)))]


def _law(sizes: list[float]) -> tuple[float, float]:
    """Geometric mean and the factor of one standard deviation."""
    logs = np.log(sizes)
    spread = logs.std(ddof=1) if len(logs) > 1 else np.log(4.0)
    return float(np.exp(logs.mean())), float(np.exp(spread))
