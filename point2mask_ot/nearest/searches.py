"""Searches for entries that change what another search finds: its units, or what far pixels cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .costs import NearestCosts, Search


@dataclass(frozen=True, eq=False)
class ScaledSearch:
    """A search whose costs are taken in other units: ``(cost / unit) * count``, in that order, as their dtype rounds.

    Attributes:
        search: makes the costs, which nobody else holds.
        unit, count: positive; so many of the new units are one of the old.
    """

    search: Search
    unit: float
    count: float

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """See :attr:`NearestCosts.search`."""
        scale = self.count / self.unit
        found = self.search(price / scale, window / scale)
        narrow = found.cost.dtype.type
        np.divide(found.cost, narrow(self.unit), out=found.cost)
        np.multiply(found.cost, narrow(self.count), out=found.cost)
        least = found.floor.astype(np.float32, copy=False)
        floor = least * np.float32(scale * (1 - 1e-6))  # for how costs are rounded
        np.minimum(floor, least * np.float32(scale * (1 + 1e-6)), out=floor)
        return replace(found, price=np.asarray(price, np.float64), floor=floor, search=self)


@dataclass(frozen=True, eq=False)
class CompactSearch:
    """A search of a picture after which far pixels are dearer: by ``weight`` times the squared distance to a point.

    Nobody that was left out gets cheaper by that, so that what it leaves out still costs its floor. But the best of a
    pixel may have become dearer; a wider window then brings in whoever comes before him now.

    Attributes:
        search: makes the costs, which nobody else holds.
        width: of the picture.
        points: (n, 2) float32 rows and columns, by supplier.
        bounds: (K + 1,) int64: those of supplier k are ``points[bounds[k]:bounds[k + 1]]``.
        weight: (K,) float32, 0 for who stays as he is.
    """

    search: Search
    width: int
    points: np.ndarray
    bounds: np.ndarray
    weight: np.ndarray

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """See :attr:`NearestCosts.search`."""
        found = self._compact(self.search(price, window))
        least, before = found.least(price), found.floor.astype(np.float64) - window
        known = np.isfinite(least) & np.isfinite(before)
        wider = window + float((least[known] - before[known]).max(initial=0))
        if wider > window * (1 + 1e-5):
            found = self._compact(self.search(price, wider))
        return found

    def _compact(self, found: NearestCosts) -> NearestCosts:
        from . import kernels

        blocks, rest = found.blocks(), (self.width, self.points, self.bounds, self.weight)
        found._over_ranges(lambda start, stop: kernels.add_squared_distances(blocks, *rest, start, stop))
        return replace(found, search=self)
