"""The semantic map of Algorithm 1 once the points are known: absent classes silenced, points certain of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..arrays import compute_dtype, to_device
from ..graph.regions import first_largest, look_up
from ..types import PointTargets
from .config import PseudoMaskConfig


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """Class probabilities of one image and what follows from them.

    Attributes:
        channels: (C',) the classes that are told apart, ascending.
        probability: (C', H, W) theirs.
        category: (H, W) int64, the most probable class.
        certainty: (H, W) its probability among those that presence leaves.
        of_a_thing: (H, W) bool: that class is one of the image's things.
    """

    channels: np.ndarray
    probability: torch.Tensor
    category: torch.Tensor
    certainty: torch.Tensor
    of_a_thing: torch.Tensor

    def of(self, categories: np.ndarray) -> torch.Tensor:
        """(len(categories), H, W) probabilities of classes that are told apart."""
        index = to_device(np.searchsorted(self.channels, categories), self.probability.device)
        return self.probability.index_select(0, index)


def class_maps(
    config: PseudoMaskConfig, semantic: torch.Tensor, targets: PointTargets, pixels: np.ndarray
) -> ClassMaps:
    """What the network says and the points know better.

    Args:
        config: ``presence``, ``point_radius`` and ``point_overlap`` matter.
        semantic: (C, H, W) probabilities.
        targets: K targets, whose categories are below C.
        pixels: (N, 2) their points' pixels.
    """
    device, (height, width) = semantic.device, semantic.shape[1:]
    channels = np.arange(len(semantic))
    if config.presence:
        absent = np.setdiff1d(channels, targets.category)[:1]
        # The first of the absent classes, which all have probability 0, stands for them.
        channels = np.union1d(targets.category, absent)
    told = semantic.index_select(0, to_device(channels, device)).to(compute_dtype(semantic))
    if config.presence and len(absent):
        told[int(np.searchsorted(channels, absent[0]))] = 0
    left = told.sum(0)

    square, point = _squares(pixels, config.point_radius, (height, width))
    target = targets.target
    if config.point_overlap == "nearest":
        square, first = np.unique(square, return_index=True)  # they come nearest first
        point, target = point[first], _first_targets(pixels, target)
    own = np.searchsorted(channels, targets.category[target[point]])
    told.view(-1).index_fill_(0, to_device(own * height * width + square, device), 1)

    certainty, label = first_largest(told)
    if config.presence and len(absent):  # what surely is of a class without a target is of none of the others
        label = torch.where(certainty > 0, label, int(np.searchsorted(channels, absent[0])))
        certainty = _among_present(certainty, left, semantic)
    if config.point_overlap == "nearest":
        # A network may be as sure of another class: around a point the point is right.
        at = to_device(square, device)
        label.view(-1).index_put_((at,), to_device(own, device))
        certainty.view(-1).index_fill_(0, at, 1)
    things = np.isin(channels, targets.category[targets.is_thing])
    return ClassMaps(channels, told, look_up(channels, label), certainty, look_up(things, label))


def _among_present(certainty: torch.Tensor, left: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
    """Probabilities in proportion to those ``left``, which sum to what all classes did (1 at most); none smaller.

    Edges keep those of all classes: what matters to them is where probabilities change. Where nothing is left, nothing
    is made up.
    """
    total = semantic.sum(0, dtype=left.dtype).clamp(max=1)
    return (certainty * torch.where(left > 0, total / left, 1).clamp(min=1)).clamp(max=1)


def _first_targets(pixels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) the first of the targets that have a point on each point's pixel."""
    _, place = np.unique(pixels, axis=0, return_inverse=True)
    first = np.full_like(target, np.iinfo(target.dtype).max)
    np.minimum.at(first, place.ravel(), target)
    return first[place.ravel()]


def _squares(pixels: np.ndarray, radius: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(M,) raster indices of the pixels within Chebyshev distance ``radius`` of a point, and (M,) that point.

    Sorted by pixel, then by Euclidean distance, then by point: a point's own pixel is always its own.
    """
    reach = np.arange(-radius, radius + 1)
    rows = pixels[:, 0, None, None] + reach[:, None]
    columns = pixels[:, 1, None, None] + reach
    within = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    point, y, x = np.nonzero(within)
    square = (rows * size[1] + columns)[within]
    order = np.lexsort((point, reach[y] ** 2 + reach[x] ** 2, square))
    return square[order], point[order]
