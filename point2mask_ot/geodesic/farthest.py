"""How far the farthest targets are, without a map for each of them.

As eccentricities of graphs are bounded (Takes & Kosters 2013; IFECC, Li et al. 2022): a pixel's largest cost is at
least that of any map there is, and a target without a map is no farther than by way of a pivot, a pixel with a map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .cpu import joint_search
from .cpu.pointed import PointedTiles

_CELLS = 64
"""Squares along the longer side of a picture that share a bound."""
_ROUNDED = np.float32(1 + 1e-5)
"""By how much two sums of the same edges may differ."""


class FarthestMedian(NamedTuple):
    """What the median of the largest costs is, or between what it lies."""

    at_least: float
    """It, if the other equals it; else a lower bound, which on pictures is met after a few maps."""
    at_most: float


def median_of_farthest(
    edges: np.ndarray,
    pixels: np.ndarray,
    target: np.ndarray,
    num_targets: int,
    demand: np.ndarray,
    *,
    most_maps: int = 64,
    exact: bool = True,
) -> FarthestMedian:
    """Lower median, over the pixels with demand, of the largest finite cost from any target.

    Args:
        edges: (4, H, W) float32 costs >= 0.
        pixels: (N, 2) int64 points.
        target: (N,) int64, the target of each: 0..K-1.
        num_targets: K, at least 1.
        demand: (H, W) bool.
        most_maps: after how many, of targets and of pixels that bound others, bounds are given up; they are not tried
            for as few targets.
        exact: every target gets a map then, one at a time; else the bounds are what is returned.

    Returns:
        Values of float32. The median over all K maps, to the bit, where both are equal; a pixel that no target
        reaches counts as 0. NaN without demand.
    """
    if not demand.any():
        return FarthestMedian(float("nan"), float("nan"))
    bounds = _Bounds(PointedTiles.of(edges, pixels, target, num_targets), demand)
    median = bounds.medians()
    while bounds.maps < most_maps < num_targets and median.at_least < median.at_most:
        bounds.improve(median)
        median = bounds.medians()
    if median.at_least < median.at_most and (exact or num_targets <= most_maps):
        bounds.add_all()
        median = bounds.medians()
    return median


class _Bounds:
    """Between what the largest costs lie.

    Attributes:
        maps: how many have been made.
    """

    def __init__(self, tiles: PointedTiles, demand: np.ndarray) -> None:
        self.maps = 0
        self._tiles, self._demand = tiles, demand
        self._side = -(-max(tiles.shape) // _CELLS)
        self._at_least = np.zeros(tiles.shape, np.float32)
        self._rank = (int(demand.sum()) - 1) // 2
        self._missing = np.ones(len(tiles.bounds) - 1, bool)
        wanted = np.argwhere(demand)
        centre = self._map(wanted[len(wanted) // 2][None])
        # Where all is connected the nearest point of a target counts; else a target's points may be in several parts.
        connected = bool((centre < np.inf).all())
        self._nodes = (
            np.arange(len(self._missing))
            if connected
            else np.repeat(np.arange(len(self._missing)), np.diff(tiles.bounds))
        )
        self._firsts = tiles.bounds[:-1] if connected else np.arange(len(tiles.pixels))
        self._most = np.full((len(self._nodes), self._cells(demand, np.logical_or).size), np.inf, np.float32)
        self._pivot(centre)

    def medians(self) -> FarthestMedian:
        """Of both bounds."""
        return FarthestMedian(self._middle(self._at_least), self._middle(self._at_most()))

    def improve(self, median: FarthestMedian) -> None:
        """Two maps, for the pair of target and square that is least certain: from the target, and from the square."""
        node, cell = self._widest(median)
        self._add(int(self._nodes[node]))
        if not self._missing.any():
            return
        row, column = np.divmod(cell, -(-self._tiles.shape[1] // self._side))
        middle = np.array([row, column]) * self._side + self._side // 2
        self._pivot(self._map(np.minimum(middle, np.array(self._tiles.shape) - 1)[None]))

    def add_all(self) -> None:
        """The maps of all targets that have none."""
        for target in np.flatnonzero(self._missing).tolist():
            self._raise(self._map(self._points(target)))
        self._missing[:] = False

    def _widest(self, median: FarthestMedian) -> tuple[int, int]:
        """The node and the square whose bound lies highest above the least that is known, where it may matter."""
        least = np.where(self._demand, self._at_least, np.inf)
        floor = self._cells(least, np.minimum).ravel()
        most = self._most[self._missing[self._nodes]]
        may_matter = (most > median.at_least) & (floor <= median.at_most) & (floor < np.inf)
        gap = np.subtract(most, floor, out=np.full_like(most, -np.inf), where=may_matter)
        index = int(np.argmax(gap))
        node, cell = np.divmod(index, gap.shape[1])
        return int(np.flatnonzero(self._missing[self._nodes])[node]), int(cell)

    def _at_most(self) -> np.ndarray:
        missing = self._missing[self._nodes]
        if not missing.any():
            return self._at_least
        shape = -(-self._tiles.shape[0] // self._side), -(-self._tiles.shape[1] // self._side)
        cells = self._most[missing].max(0).reshape(shape)
        return np.maximum(self._at_least, self._spread(cells))

    def _add(self, target: int) -> None:
        points = self._points(target)
        found = self._map(points)
        self._missing[target] = False
        self._raise(found)
        if len(points) == 1:
            self._pivot(found)

    def _raise(self, found: np.ndarray) -> None:
        np.maximum(self._at_least, found, out=self._at_least, where=found < np.inf)

    def _pivot(self, found: np.ndarray) -> None:
        """Lower the bounds by what a map from one pixel says."""
        reach = np.minimum.reduceat(found[tuple(self._tiles.pixels.T)], self._firsts)
        finite = found < np.inf
        farthest = self._cells(np.where(finite, found, -np.inf), np.maximum).ravel()
        none_left = np.where(self._cells(finite, np.logical_and).ravel(), np.float32(0), np.float32(np.inf))
        for node in range(len(reach)):
            way = (farthest + reach[node]) * _ROUNDED if reach[node] < np.inf else none_left
            np.minimum(self._most[node], way, out=self._most[node])

    def _map(self, points: np.ndarray) -> np.ndarray:
        self.maps += 1
        records = joint_search.search(self._tiles.costs, points, np.zeros(len(points), np.float32))
        return joint_search.image(records, self._tiles.across, *self._tiles.shape)

    def _points(self, target: int) -> np.ndarray:
        return self._tiles.pixels[self._tiles.bounds[target] : self._tiles.bounds[target + 1]]

    def _middle(self, values: np.ndarray) -> float:
        return float(np.partition(values[self._demand], self._rank)[self._rank])

    def _cells(self, values: np.ndarray, reduce: np.ufunc) -> np.ndarray:
        """A value for each square, of those of its pixels."""
        rows, columns = (np.arange(0, size, self._side) for size in values.shape)
        return reduce.reduceat(reduce.reduceat(values, rows, 0), columns, 1)

    def _spread(self, cells: np.ndarray) -> np.ndarray:
        """The value of its square for each pixel."""
        height, width = self._tiles.shape
        return cells.repeat(self._side, 0).repeat(self._side, 1)[:height, :width]
