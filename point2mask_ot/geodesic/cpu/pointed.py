"""A picture in tiles with its points: what several searches on it share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import joint_search
from .bounded_search import BoundedSearch, Sources
from .tight import flooded
from .tiles import SIDE, pack_costs

_FAR = SIDE**2
"""Pixels along each axis of the squares by which targets are ordered."""


@dataclass(frozen=True, eq=False)
class PointedTiles:
    """The edges of a picture and the points of its targets.

    Attributes:
        costs: what :func:`.tiles.pack_costs` made.
        shape: (H, W).
        pixels: (N, 2) int64 points, by target.
        bounds: (K + 1,) int64: those of target k are ``pixels[bounds[k]:bounds[k + 1]]``.
        order: (K,) int64 targets, so that neighbours are searched for one after the other.
    """

    costs: np.ndarray
    shape: tuple[int, int]
    pixels: np.ndarray
    bounds: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, edges: np.ndarray, pixels: np.ndarray, target: np.ndarray, num_targets: int) -> PointedTiles:
        """Of (4, H, W) float32 edges, (N, 2) points and the target of each."""
        if edges.dtype != np.float32:
            raise TypeError(f"tiles hold float32, not {edges.dtype}")
        by_target = np.argsort(target, kind="stable")
        pixels, bounds = pixels[by_target], np.searchsorted(target[by_target], np.arange(num_targets + 1))
        first = pixels[bounds[:-1]] // _FAR
        order = np.lexsort((first[:, 1], first[:, 0]))
        return cls(pack_costs(edges), (edges.shape[1], edges.shape[2]), pixels, bounds, order)

    @property
    def across(self) -> int:
        """Tiles in a row, the rim included."""
        return self.costs.shape[1]

    @property
    def num_tiles(self) -> int:
        """Tiles that hold pixels."""
        return (self.costs.shape[0] - 2) * (self.across - 2)

    def distances(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W) cost from the nearest of (n, 2) pixels."""
        records = joint_search.search(self.costs, pixels, np.zeros(len(pixels), np.float32))
        return joint_search.image(records, self.across, *self.shape)

    def partition(self, edges: np.ndarray, pixels: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(H, W) int64 nearest target, as :func:`..distances.nearest_partition` finds it; (n, 2) pixels may be others.

        ``edges`` are those that the tiles were made of, contiguous.
        """
        return flooded(edges, self.distances(pixels), pixels, target)

    def of_points(self, values: np.ndarray) -> np.ndarray:
        """Values of targets as float32 values of their points."""
        return np.repeat(values.astype(np.float32), np.diff(self.bounds))

    def least(self, starts: np.ndarray) -> np.ndarray:
        """The least of start + distance over all points, in records of :func:`.joint_search.search`; starts: (N,)."""
        return joint_search.search(self.costs, self.pixels, starts)

    def bounded(self, limits: np.ndarray, starts: np.ndarray) -> BoundedSearch:
        """A search for ``start + distance <= limit``, where starts are those of the targets, (K,)."""
        return BoundedSearch(
            self.costs, Sources(self.pixels, self.bounds, -starts.astype(np.float32), self.order), limits
        )

    def widen(self, limits: np.ndarray, window: float, largest: float = 0) -> tuple[float, float]:
        """Add a window to least costs, in place, and some more for how sums along a path are rounded.

        The distances of two targets to a pixel are added up along the same last edges, but from other values, so each
        step may round them apart by a unit in the last place of the larger. Some units of the largest value there is
        are for few steps between large values; paths of many steps are allowed more, of what the pixel itself has.

        Args:
            limits: records.
            window: at least 0.
            largest: as large as other values that are rounded beside these.

        Returns:
            What they were multiplied by, and what was added then.
        """
        height, width = self.shape
        steps = min(height * width, 16 * (height + width))
        largest = max(limits.max(where=limits < np.inf, initial=0), window, largest)
        factor = 1 + steps * 2.0**-23
        more = float(window * factor + largest * 2.0**-20)
        limits *= np.float32(factor)
        limits += np.float32(more)
        return factor, more
