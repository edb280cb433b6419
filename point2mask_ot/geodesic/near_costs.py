"""Costs of the targets that may serve a pixel, without a map of the picture for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nearest_costs import NearestCosts
from .cpu import bounded_search, joint_search
from .cpu.blocks import arrange, block_pixels, keep_near
from .cpu.tiles import AREA, SIDE, pack_costs


def near_costs(
    edges: np.ndarray,
    pixels: np.ndarray,
    target: np.ndarray,
    num_targets: int,
    price: np.ndarray,
    window: float,
    *,
    most_entries: int | None = None,
) -> NearestCosts:
    """All pairs whose ``distance - price`` is at most the pixel's smallest plus ``window``.

    A pixel on a target's cheapest path to such a pixel is one itself, since the smallest grows along an edge by no
    more than its cost. So each target is searched for within that limit alone, which one search from all points gives.

    Args:
        edges: (4, H, W) float32 costs >= 0, as for :func:`point2mask_ot.geodesic_distances`.
        pixels: (N, 2) int64 rows and columns of the points, inside the picture.
        target: (N,) int64, the target of each point: 0..K-1.
        num_targets: K.
        price: (K,) finite.
        window: at least 0; +inf leaves out nothing.
        most_entries: the most pairs of target and block to make room for, 256 bytes each.

    Returns:
        Costs equal to those of :func:`point2mask_ot.geodesic_distances`, to the bit; +inf elsewhere. Blocks are the
        picture's tiles of 8 x 8 pixels, in raster order.

    Raises:
        MemoryError: more than ``most_entries`` would be needed.
    """
    return NearSearch.of(edges, pixels, target, num_targets, most_entries)(price, window)


@dataclass(frozen=True, eq=False)
class NearSearch:
    """The picture and the points of a search that may be repeated at other prices: what NearestCosts calls ``search``.

    Attributes:
        costs: the edges, by tile.
        height, width: of the picture.
        pixels: (N, 2) int64 points, by target.
        bounds: (K + 1,) int64: those of target k are ``pixels[bounds[k]:bounds[k + 1]]``.
        order: (K,) int64 targets, neighbours close to one another.
        most_entries: the most pairs of target and block to make room for.
    """

    costs: np.ndarray
    height: int
    width: int
    pixels: np.ndarray
    bounds: np.ndarray
    order: np.ndarray
    most_entries: int | None = None

    @classmethod
    def of(
        cls, edges: np.ndarray, pixels: np.ndarray, target: np.ndarray, num_targets: int, most_entries: int | None
    ) -> NearSearch:
        by_target = np.argsort(target, kind="stable")
        pixels, bounds = pixels[by_target], np.searchsorted(target[by_target], np.arange(num_targets + 1))
        first = pixels[bounds[:-1]] // SIDE**2
        order = np.lexsort((first[:, 1], first[:, 0]))
        return cls(pack_costs(edges), *edges.shape[1:], pixels, bounds, order, most_entries)

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """The costs at other prices: (K,), and for another window."""
        price = np.asarray(price, np.float64)
        starts = price.max(initial=-np.inf) - price
        limits = joint_search.search(self.costs, self.pixels, self._of_points(starts))
        self._widen(limits, window)
        sources = bounded_search.Sources(self.pixels, self.bounds, -starts.astype(np.float32), self.order)
        cost, tile, ranges = self._all(bounded_search.BoundedSearch(self.costs, sources, limits))
        del limits
        pixel = block_pixels(self.height, self.width)
        first, supplier = arrange(cost, tile, ranges, self.costs.shape[1], len(pixel))
        floor = np.empty((len(pixel), AREA))
        keep_near(cost, first, supplier, price, window, floor)
        cost.resize((first[-1], AREA), refcheck=False)
        return NearestCosts(
            num_suppliers=len(price),
            num_pixels=self.height * self.width,
            pixel=pixel,
            first=first,
            supplier=supplier[: first[-1]].copy(),
            cost=cost,
            price=price,
            floor=_rounded_down(floor),
            search=self,
        )

    def _of_points(self, values: np.ndarray) -> np.ndarray:
        """Values of targets as float32 values of their points."""
        return np.repeat(values.astype(np.float32), np.diff(self.bounds))

    def _widen(self, limits: np.ndarray, window: float) -> None:
        """Make limits of the least reduced costs, in place, wide enough for how sums along a path are rounded.

        The distances of two targets to a pixel are added up along the same last edges, but from other values, so each
        step may round them apart by a unit in the last place of the larger. Some units of the largest value there is
        are for few steps between large values; paths of many steps are allowed more, of what the pixel itself has.
        """
        if window == np.inf:
            limits.fill(np.inf)
            return
        steps = min(self.height * self.width, 16 * (self.height + self.width))
        largest = max(limits.max(where=limits < np.inf, initial=0), window)
        limits *= np.float32(1 + steps * 2.0**-23)
        limits += np.float32(window * (1 + steps * 2.0**-23) + largest * 2.0**-20)

    def _all(self, search: bounded_search.BoundedSearch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entries of all targets: cost, tile and ranges of :class:`.bounded_search.Found`."""
        tiles = (self.costs.shape[0] - 2) * (self.costs.shape[1] - 2)
        ranges = np.zeros((len(self.order), 2), np.int64)
        cost, tile = np.empty((4 * tiles, AREA), np.float32), np.empty(4 * tiles, np.int32)
        while wanted := search.advance(bounded_search.Found(cost, tile, ranges)):
            room = max(search.used + wanted, len(cost) * 5 // 4)
            if self.most_entries is not None:
                room = min(room, self.most_entries)
                if room < search.used + wanted:
                    raise MemoryError(f"more than {self.most_entries} pairs of target and block lie within the window")
            cost.resize((room, AREA), refcheck=False)  # moves pages, not what is on them
            tile.resize(room, refcheck=False)
        cost.resize((search.used, AREA), refcheck=False)
        return cost, tile[: search.used], ranges


def _rounded_down(values: np.ndarray) -> np.ndarray:
    """As float32, at most the value, +inf as it is."""
    narrow = values.astype(np.float32)
    return np.where(narrow > values, np.nextafter(narrow, np.float32(-np.inf)), narrow)
