"""Regions as label maps: who is first of the best, how large regions are and where they lie.

Nothing here makes a GPU wait, and whole numbers are counted as such: the same on every device. Each function says what
is meant, for any device; where values are at hand, its twin before it takes less time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from .. import checks
from ..arrays import to_device

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _on_host(twin: Callable[Arguments, Result]) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Let the twin do the function's work where looking at values, those of the first argument, makes nobody wait."""

    def pair(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @wraps(function)
        def choose(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            at_hand = checks.values_at_hand(arguments[0])  # type: ignore[arg-type]
            return (twin if at_hand else function)(*arguments, **options)

        return choose

    return pair


def _first_extreme(values: torch.Tensor, *, largest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    from .region_kernels import first_extreme

    best = values.new_empty(values.shape[1:])
    label = values.new_empty(values.shape[1:], dtype=torch.int64)
    first_extreme(values.contiguous().flatten(1).numpy(), largest, best.flatten().numpy(), label.flatten().numpy())
    return best, label


@_on_host(partial(_first_extreme, largest=False))
def first_smallest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(K, H, W), K >= 1 -> (H, W) smallest value and its int64 index, the first of equals."""
    return values.min(0)


@_on_host(partial(_first_extreme, largest=True))
def first_largest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(K, H, W), K >= 1 -> (H, W) largest value and its int64 index, the first of equals."""
    return values.max(0)


def _areas(labels: torch.Tensor, count: int) -> torch.Tensor:
    from .region_kernels import areas as add

    found = torch.zeros(count, dtype=torch.int64, device="cpu")
    add(labels.long().flatten().numpy(), found.numpy())
    return found


@_on_host(_areas)
def areas(labels: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) int64 pixels of each of the labels 0..count-1; -1 is nobody's."""
    return _members(labels, count).sum((1, 2))


def _moments(labels: torch.Tensor, count: int) -> torch.Tensor:
    from .region_kernels import moments as add

    found = np.zeros((3, count), np.int64)
    add(labels.long().contiguous().numpy(), found)
    return torch.from_numpy(found)


@_on_host(_moments)
def moments(labels: torch.Tensor, count: int) -> torch.Tensor:
    """(3, count) int64: pixels of each label 0..count-1, and the sums of their rows and of their columns."""
    members = _members(labels, count)
    profiles = members.sum(2), members.sum(1)
    sums = [(profile * torch.arange(profile.shape[1], device=labels.device)).sum(1) for profile in profiles]
    return torch.stack([profiles[0].sum(1), *sums])


def _extents(labels: torch.Tensor, count: int) -> torch.Tensor:
    from .region_kernels import extents as found

    bounds = np.empty((count, 4), np.int64)
    found(labels.contiguous().numpy(), bounds)
    return torch.from_numpy(bounds)


@_on_host(_extents)
def extents(labels: torch.Tensor, count: int) -> torch.Tensor:
    """(count, 4) int64 first row and column, last row and column of each label; the last before the first for none."""
    height, width = labels.shape
    of = (labels + 1).flatten()
    bounds = []
    for rule, start in (("amin", max(height, width)), ("amax", -1)):
        for axis, side in ((1, height), (0, width)):
            place = torch.arange(side, device=labels.device).unsqueeze(axis).expand(height, width).flatten()
            bounds.append(place.new_full((count + 1,), start).scatter_reduce(0, of, place, rule)[1:])
    return torch.stack(bounds, 1)


def _weights(labels: torch.Tensor, weight: torch.Tensor, count: int) -> torch.Tensor:
    return torch.bincount((labels + 1).flatten(), weights=weight.double().flatten(), minlength=count + 1)[1:]


@_on_host(_weights)
def weights(labels: torch.Tensor, weight: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) float64 sum of the (H, W) weights of each label's pixels, always in the same order."""
    weight = weight.double()
    sums = [torch.where(labels == k, weight, 0).sum() for k in range(count)]
    return torch.stack(sums) if sums else weight.new_zeros(0)


def _median_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return values[mask].median()


@_on_host(_median_where)
def median_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Lower median of the values under the mask, 0-d; not finite where the mask is empty."""
    ordered = torch.where(mask, values, torch.inf).flatten().sort().values
    middle = (mask.sum() - 1).clamp(min=0) // 2
    return ordered.gather(0, middle[None])[0]


def _contenders(
    cost: torch.Tensor, price: torch.Tensor, sway: float, labels: torch.Tensor, demand: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    from .region_kernels import contenders as count

    wanted, kept = torch.zeros(2, len(cost), dtype=torch.int64, device="cpu")
    planes = cost.contiguous().flatten(1).numpy()
    own, counts = (each.contiguous().flatten().numpy() for each in (labels, demand))
    count(planes, price.numpy(), planes.dtype.type(sway), own, counts, wanted.numpy(), kept.numpy())
    return wanted, kept


@_on_host(_contenders)
def contenders(
    cost: torch.Tensor, price: torch.Tensor, sway: float, labels: torch.Tensor, demand: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Who wants a pixel while prices may be off by ``sway``, and who is alone in that.

    Args:
        cost: (K, H, W), K >= 1.
        price: (K,) of that dtype.
        sway: a label contends for a pixel where its price - cost is at most this below that of the pixel's own.
        labels: (H, W) int64 own label of each pixel, -1 for none.
        demand: (H, W) bool, pixels that count.

    Returns:
        (K,) int64 pixels that each contends for, and (K,) int64 those of each for which nobody else does.
    """
    known = labels.clamp(min=0)
    worth = price.index_select(0, known.flatten()).view(known.shape) - cost.gather(0, known[None])[0]
    least = torch.where(demand, worth - sway, torch.inf)
    rivals, wants_of_each = torch.zeros_like(labels, dtype=torch.int32), []
    for offered, own in zip(price, cost, strict=True):  # a plane at a time stays in cache
        wants = offered - own >= least
        rivals += wants
        wants_of_each.append(wants.sum())
    return torch.stack(wants_of_each), areas(torch.where(rivals == 1, labels, -1), len(cost))


def _members(labels: torch.Tensor, count: int) -> torch.Tensor:
    return labels == torch.arange(count, device=labels.device)[:, None, None]


def look_up(table: np.ndarray, labels: torch.Tensor, nobody: int | bool = 0) -> torch.Tensor:
    """``table[labels]``, and ``nobody`` where a label is -1."""
    entries = to_device(np.append(np.array([nobody], table.dtype), table), labels.device)
    return entries.index_select(0, (labels + 1).flatten()).view(labels.shape)


def centroids(labels: torch.Tensor, count: int) -> torch.Tensor:
    """(count, 2) int64 pixel at the centroid of each label's pixels, row and column; (0, 0) for a label of none."""
    area, rows, columns = moments(labels, count)
    return (torch.stack([rows, columns], 1).double() / area.clamp(min=1)[:, None]).add(0.5).floor().long()
