"""Sizes told about the targets, as somebody would guess them: the truth times a random factor."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from protocols import Problem

from point2mask_ot import PointTargets, fill_sizes, typical_sizes
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
    """The targets with the typical size of their class, whose spread says how far to trust it."""
    known = {k: problem.typical[kind] for k, kind in enumerate(problem.kind.tolist()) if kind in problem.typical}
    by_target = replace(targets, category=np.arange(targets.num_targets))
    return replace(fill_sizes(by_target, known), category=targets.category)


def learn_typical(problems: Iterable[Problem], off: float = SIZE_ERROR) -> dict[int, tuple[float, float]]:
    """Size and spread of each class, from the guesses of a few of its targets drawn at random."""
    found: dict[int, list[float]] = {}
    for problem in problems:
        sizes = told(problem, problem.targets(0), off).size
        for kind, size in zip(problem.kind[problem.is_thing].tolist(), sizes[problem.is_thing], strict=True):
            found.setdefault(kind, []).append(size)
    rng = np.random.default_rng(0)
    drawn = {kind: rng.choice(sizes, HINTED, replace=False) for kind, sizes in found.items() if len(sizes) >= HINTED}
    return {k: typical_sizes(PointTargets(np.zeros((HINTED, 2)), size=sizes))[0] for k, sizes in drawn.items()}
