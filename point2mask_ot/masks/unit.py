"""What is typical of the costs of a picture's paths: the unit in which transport weighs them against its entropy.

It is the median over pixels of the cost of the farthest supplier. Of many suppliers as many as lie far apart stand for
all: nearly always one of them is the farthest, or costs as much to the third digit, and nobody has to know the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..arrays import to_device
from ..checks import surely_all
from ..graph.parts import connected_parts
from ..graph.regions import median_where
from ..points import pixel_indices
from ..types import PointTargets

if TYPE_CHECKING:
    from ..geodesic.cpu.pointed import PointedTiles

FAR_APART = 16
"""So many stand for all."""
MANY = 32
"""Suppliers beyond which they do."""


def typical_farthest(cost: torch.Tensor, demand: torch.Tensor, among: np.ndarray | None = None) -> torch.Tensor:
    """0-d median over the pixels of demand of the largest finite cost; not finite without demand.

    Args:
        cost: (S, H, W), S >= 1.
        demand: (H, W) bool.
        among: suppliers that stand for all; None for all themselves.
    """
    known = cost if among is None else cost.index_select(0, to_device(among, cost.device))
    return median_where(demand, _largest_finite(known))


def typical_farthest_of_crowd(
    edges: np.ndarray, tiles: PointedTiles, suppliers: PointTargets, demand: torch.Tensor, *, walled: bool
) -> float:
    """The same of paths, without the costs of all suppliers.

    Args:
        edges: (4, H, W).
        tiles: the same, with the points.
        suppliers: S >= 1 of them.
        demand: (H, W) bool.
        walled: walls may surround parts of the picture. Then ``FAR_APART`` suppliers of each part stand for its own.
    """
    pixels = pixel_indices("PseudoMasker", suppliers.points_yx, *tiles.shape)
    part = connected_parts(edges)[tuple(pixels.T)] if walled else np.zeros(len(pixels), int)
    turn, largest = _turns(suppliers, part), np.zeros(tiles.shape, np.float32)
    for number in range(turn.max() + 1):
        found = tiles.distances(pixels[turn == number])
        np.maximum(largest, found, out=largest, where=found < np.inf)
    return float(median_where(demand, torch.from_numpy(largest)))


def far_apart(suppliers: PointTargets, count: int = FAR_APART) -> np.ndarray:
    """(min(count, S),) suppliers by farthest-point sampling (Gonzalez 1985), those at a picture's rim first.

    Args:
        suppliers: S >= 1 of them; the first is taken, then each time the one that is farthest from those taken, by the
            Euclidean distance between points.
    """
    taken, near = [0], np.full(suppliers.num_targets, np.inf)
    while len(taken) < min(count, suppliers.num_targets):
        own = suppliers.points_yx[suppliers.target == taken[-1]].astype(np.float64)
        apart = ((suppliers.points_yx[:, None] - own) ** 2).sum(2).min(1)
        np.minimum.at(near, suppliers.target, apart)
        near[taken] = -1
        taken.append(int(near.argmax()))
    return np.array(taken)


def _turns(suppliers: PointTargets, part: np.ndarray) -> np.ndarray:
    """(N,) when the supplier of each point has its turn in its part, those far apart first; -1 for never."""
    turn = np.full(len(part), -1)
    for number in np.unique(part):
        points = np.flatnonzero(part == number)
        inside, own = np.unique(suppliers.target[points], return_inverse=True)
        chosen = far_apart(PointTargets(suppliers.points_yx[points], own))
        turn_of = np.full(len(inside), -1)
        turn_of[chosen] = np.arange(len(chosen))
        turn[points] = turn_of[own]
    return turn


def _largest_finite(cost: torch.Tensor) -> torch.Tensor:
    largest = cost.amax(0)
    if surely_all(largest < torch.inf):  # looking is free, a copy is not
        return largest
    return torch.where(cost < torch.inf, cost, 0).amax(0)
