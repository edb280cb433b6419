"""Sizes that are told and sizes that are counted: two measurements of one number, put together.

The hint of an annotator is off by some factor. The count (Eq. 4) is either right or badly wrong, so that no normal law
fits it and its mean with the hint loses both ways; a mixture of a narrow and a wide one does fit. Which of the two it
is shows in how much the count changed when its point moved to the centroid, and in whether counts and hints agree on
the other targets of the picture: in some pictures nearly all counts are right, in others nearly none.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from .arrays import to_device
from .types import SIZE_ERROR, PointTargets

COUNT_ERROR = 0.03
"""Standard deviation of the logarithm of a count that is right and that no centroid changed."""
UNKNOWN_CHANGE = 0.1
"""What stands for the change where the rule counts once."""
WRONG_ERROR = 1.6
"""Standard deviation of the logarithm of a count that is wrong."""
RIGHT = 0.9
"""The part of a picture's counts that are right, as far as is known before; it weighs as much as one target whose hint
is as good as a glance, and the rougher hints are, the less they say of that part."""
_ROUNDS = 6
"""Of expectation and maximisation, for that part."""
LEAST_REST = 0.1
"""Of its count: what the background keeps however large the others are said to be."""
_LEAST_ERROR = 0.01


def with_hints(
    counted: torch.Tensor, first: torch.Tensor | None, targets: PointTargets, group: np.ndarray | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Capacities from counts and hints; the counts themselves where there is no hint.

    Targets without a hint keep their count, but for stuff, which takes the rest, in proportion to its counts. Where
    there is none, all are scaled to the sum of the counts.

    Args:
        counted: (K,) float64 pixels of each target by the rule; their sum is kept.
        first: (K,) the same before any centroid moved; None if there is no such count.
        targets: K of them.
        group: (K,) int64, equal for targets that compete for the same pixels; each group keeps its own sum. Default:
            all do.

    Returns:
        (K,) float64 capacities, and () float64 the part of the picture's counts that hints say are wrong; 0 without.
    """
    if not targets.has_sizes:
        return counted, counted.new_zeros(())
    hinted = np.isfinite(targets.size)
    group = np.zeros(targets.num_targets, np.int64) if group is None else group
    of = to_device(group, counted.device)
    known, rest = (to_device(mask, counted.device) for mask in (hinted, targets.takes_rest))
    error = to_device(np.log(targets.size_error).clip(_LEAST_ERROR), counted.device)
    total = _sums(counted, of)
    told = to_device(np.log(np.where(hinted, targets.size, 1.0)), counted.device)
    # Where all have a hint, they share out what there is, whatever unit it was guessed in.
    top = told.amax()
    part_of_all = total.clamp(min=1).log() + (told - top) - _sums((told - top).exp(), of).clamp(min=1e-300).log()
    told = torch.where(_sums(~known, of) == 0, part_of_all, told.minimum(total.clamp(min=1).log()))
    changed = torch.full_like(counted, UNKNOWN_CHANGE) if first is None else _log_ratio(counted, first).abs()
    posterior, right = _posterior(counted, changed, told, error, known)
    sizes = torch.where(known, posterior, counted)
    return torch.where(_sums(rest, of) > 0, _with_rest(sizes, counted, rest, of), _scaled(sizes, total, of)), 1 - right


def _sums(values: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """(K,) float64, for each target the sum over its group."""
    return torch.zeros_like(values, dtype=torch.float64).index_add(0, group, values.double())[group]


def _scaled(sizes: torch.Tensor, total: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Sizes in proportion, that sum to the total of their group."""
    return sizes * (total / _sums(sizes, group).clamp(min=torch.finfo(sizes.dtype).tiny))


def _with_rest(sizes: torch.Tensor, counted: torch.Tensor, rest: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Sizes of which those of ``rest`` are what others leave, which they make room for if they must."""
    others, background = torch.where(rest, 0, sizes), torch.where(rest, counted, 0)
    total, counted_rest = _sums(counted, group), _sums(background, group)
    room = total - LEAST_REST * counted_rest
    others = torch.where(_sums(others, group) > room, _scaled(others, room, group), others)
    even = rest.double() / _sums(rest, group).clamp(min=1)
    tiny = torch.finfo(background.dtype).tiny
    share = torch.where(counted_rest > tiny, background / counted_rest.clamp(min=tiny), even)
    return others + share * (total - _sums(others, group)).clamp(min=0)


def _posterior(
    count: torch.Tensor, changed: torch.Tensor, told: torch.Tensor, error: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """exp of the expected logarithm of a size that is told and counted, and the part of counts that are right.

    Before either, all logarithms are equally probable.

    Args:
        count, changed: what was counted, and by how much that had changed, in logarithms.
        told, error: the logarithm of what was told, and its standard deviation.
        known: bool, where a hint was given; the others mean nothing.
    """
    seen = count.clamp(min=1).log()
    spread = torch.stack([COUNT_ERROR + changed, torch.full_like(changed, WRONG_ERROR)])
    variance = spread**2 + error**2  # of the difference of the two
    likelihood = -((told - seen) ** 2) / (2 * variance) - variance.log() / 2
    testimony = torch.where(known, (math.log(SIZE_ERROR) / error) ** 2, 0).clamp(max=1)
    part = torch.full_like(error[:1], RIGHT)[0]
    for _ in range(_ROUNDS):
        is_right, is_wrong = (likelihood + torch.stack([part, 1 - part]).log()[:, None]).softmax(0)
        part = (RIGHT + (testimony * is_right).sum()) / (1 + testimony.sum())
    right, wrong = (told * spread**2 + seen * error**2) / variance
    return (is_right * right + is_wrong * wrong).exp(), part


def _log_ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.clamp(min=1).log() - b.clamp(min=1).log()
