"""Costs of the targets that may serve a pixel, without a map of the picture for each."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from ..nearest import NearestCosts
from .cpu.blocks import arrange, block_pixels, keep_near
from .cpu.bounded_search import BoundedSearch, Found
from .cpu.pointed import PointedTiles
from .cpu.tiles import AREA


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
    return NearSearch(PointedTiles.of(edges, pixels, target, num_targets), most_entries)(price, window)


@dataclass(frozen=True, eq=False)
class NearSearch:
    """A search that may be repeated at other prices: what NearestCosts calls ``search``.

    Attributes:
        tiles: the picture and its points.
        most_entries: the most pairs of target and block to make room for; None for no limit.
    """

    tiles: PointedTiles
    most_entries: int | None = None

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """The costs at other prices, (K,), and for another window."""
        price = np.asarray(price, np.float64)
        starts = price.max(initial=-np.inf) - price
        limits = self.tiles.least(self.tiles.of_points(starts))
        self.tiles.widen(limits, window)
        cost, tile, ranges = self._all(self.tiles.bounded(limits, starts))
        del limits
        pixel = block_pixels(*self.tiles.shape)
        first, supplier = arrange(cost, tile, ranges, self.tiles.across, len(pixel))
        floor = np.empty((len(pixel), AREA), np.float32)
        keep_near(cost, first, supplier, price, window, floor)
        cost.resize((first[-1], AREA), refcheck=False)
        return NearestCosts(
            num_suppliers=len(price),
            num_pixels=self.tiles.shape[0] * self.tiles.shape[1],
            pixel=pixel,
            first=first,
            supplier=supplier[: first[-1]].copy(),
            cost=cost,
            price=price,
            floor=floor,
            search=self,
        )

    def _all(self, search: BoundedSearch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entries of all targets: cost, tile and ranges of :class:`.bounded_search.Found`."""
        most = sys.maxsize if self.most_entries is None else self.most_entries
        room = min(4 * self.tiles.num_tiles, most)
        cost, tile, ranges = Found.room(room, search.num_targets)
        while wanted := search.advance(Found(cost, tile, ranges)):
            if search.used + wanted > most:
                raise MemoryError(f"more than {most} pairs of target and block lie within the window")
            room = min(max(search.used + wanted, len(cost) * 5 // 4), most)
            cost.resize((room, AREA), refcheck=False)  # moves pages, not what is on them
            tile.resize(room, refcheck=False)
        cost.resize((search.used, AREA), refcheck=False)
        return cost, tile[: search.used], ranges
