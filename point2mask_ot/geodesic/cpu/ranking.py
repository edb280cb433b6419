"""The k nearest targets of every pixel on tiles: each is searched for only where it may be among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...compiled.jit import helper, njit
from . import joint_search
from .bounded_search import Found
from .neighbours import kth_reach
from .pointed import PointedTiles
from .tight import flood
from .tiles import AREA, EAST, SIDE, STATE, WEST

_NOBODY = np.iinfo(np.int32).max


def nearest(
    edges: np.ndarray, pixels: np.ndarray, target: np.ndarray, num_targets: int, offset: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """(k, H, W) int64 targets, -1 for none, and float32 distances; arguments are already checked.

    A target that is among the k nearest of a pixel is so along its whole cheapest path there. So an upper bound on the
    k-th of every pixel, which one search from all points gives, is the limit to search within; as targets are found it
    comes down to the k-th of these.
    """
    tiles = PointedTiles.of(edges, pixels, target, num_targets)
    starts_at = offset.min(initial=np.inf)
    starts = offset - starts_at
    limits = _kth_at_most(edges, tiles, tiles.of_points(starts), k)
    wider = tiles.widen(limits, 0, np.abs(offset).max(initial=0))
    search = tiles.bounded(limits, starts)
    found = Found.room(tiles.num_tiles, num_targets)
    ranked = _Ranked.of(tiles.num_tiles, k, bool(offset.any()))
    while True:
        wanted = search.advance(found)
        _merge(*found, offset.astype(np.float32), tiles.across, *ranked)
        _tighten(found.tile[: search.used], ranked.key, tiles.across, starts_at, *wider, limits)
        found.ranges.fill(0)
        search.start_over()
        if not wanted:
            return ranked.images(tiles)


def _kth_at_most(edges: np.ndarray, tiles: PointedTiles, starts: np.ndarray, k: int) -> np.ndarray:
    """An upper bound on the k-th smallest start + distance of every pixel, in records as of joint_search."""
    records = tiles.least(starts)
    distance = joint_search.image(records, tiles.across, *tiles.shape)
    seen = np.flatnonzero(distance[tuple(tiles.pixels.T)] == starts)  # others are nearest to no pixel
    cells = np.full(tiles.shape, -1, np.int64)
    flood(edges, distance, tiles.pixels[seen], seen, cells)
    owner = np.repeat(np.arange(len(tiles.bounds) - 1), np.diff(tiles.bounds))
    return tiles.least(kth_reach(edges, distance, cells, starts, owner, k))


class _Ranked(NamedTuple):
    """The best so far of each pixel, by tile and rank, those of a pixel in ascending order.

    Attributes:
        key: (tiles, k, 64) float32, start + distance.
        label: (tiles, k, 64) int32.
        distance: (tiles, k, 64) float32; without offsets, when it equals the key, there are no tiles.
    """

    key: np.ndarray
    label: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(cls, tiles: int, k: int, with_offsets: bool) -> _Ranked:
        key = np.full((tiles, k, AREA), np.inf, np.float32)
        label = np.full((tiles, k, AREA), _NOBODY, np.int32)
        return cls(key, label, np.full_like(key[: tiles * with_offsets], np.inf))

    def images(self, tiles: PointedTiles) -> tuple[np.ndarray, np.ndarray]:
        """(k, H, W) int64 labels, -1 where nobody comes, and float32 distances."""
        self.label[self.key == np.inf] = -1
        distance = self.distance if len(self.distance) else self.key
        return _image(self.label, tiles, np.int64), _image(distance, tiles, np.float32)


def _image(ranked: np.ndarray, tiles: PointedTiles, dtype: type) -> np.ndarray:
    """(tiles, k, 64) -> (k, H, W)."""
    height, width = tiles.shape
    across, k = tiles.across - 2, ranked.shape[1]
    result: np.ndarray = np.empty((k, height, width), dtype)
    for rank in range(k):  # one after the other: a copy of all would be as large as the result
        rows = ranked[:, rank].reshape(-1, across, SIDE, SIDE).swapaxes(1, 2)
        result[rank] = rows.reshape(-1, across * SIDE)[:height, :width]
    return result


@njit()
def _merge(
    cost: np.ndarray,
    tile: np.ndarray,
    ranges: np.ndarray,
    offset: np.ndarray,
    across: int,
    key: np.ndarray,
    label: np.ndarray,
    distance: np.ndarray,
) -> None:
    """Let the entries of :class:`.bounded_search.Found` take their ranks among those of :class:`_Ranked`."""
    for own in range(len(ranges)):
        for entry in range(ranges[own, 0], ranges[own, 1]):
            block = (tile[entry] // across - 1) * (across - 2) + tile[entry] % across - 1
            pushed, whose = cost[entry] + offset[own], np.full(AREA, own, np.int32)
            if len(distance) > 0:
                _insert_with(key[block], label[block], distance[block], pushed, whose, cost[entry])
            else:
                for rank in range(key.shape[1]):
                    _exchange(key[block, rank], label[block, rank], pushed, whose)


@njit()
def _tighten(
    tile: np.ndarray,
    key: np.ndarray,
    across: int,
    least: float,
    factor: float,
    more: float,
    limits: np.ndarray,
) -> None:
    """Lower the limits of some tiles to the last rank there, made wider as limits are; keys are more by ``least``."""
    for number in tile:
        block = (number // across - 1) * (across - 2) + number % across - 1
        last, own = key[block, -1], limits[number * STATE : (number + 1) * STATE]
        for pixel in range(AREA):
            limit = np.float32((last[pixel] - least) * factor + more)
            own[pixel] = limit if limit < own[pixel] else own[pixel]
        for row in range(SIDE):
            own[WEST + row], own[EAST + row] = own[row * SIDE], own[row * SIDE + SIDE - 1]


@helper()
def _exchange(key: np.ndarray, label: np.ndarray, pushed: np.ndarray, whose: np.ndarray) -> None:
    """Let a target have a rank of a tile's pixels where its key is smaller; of equal keys the smaller target's is.

    Who had the rank takes the target's place, to be pushed on to the next.
    """
    for pixel in range(AREA):
        there, name, new, own = key[pixel], label[pixel], pushed[pixel], whose[pixel]
        first = (new < there) | ((new == there) & (own < name))
        key[pixel] = new if first else there
        label[pixel] = own if first else name
        pushed[pixel] = there if first else new
        whose[pixel] = name if first else own


@helper()
def _insert_with(
    key: np.ndarray,
    label: np.ndarray,
    distance: np.ndarray,
    pushed: np.ndarray,
    whose: np.ndarray,
    cost: np.ndarray,
) -> None:
    """As :func:`_exchange` in one rank after the other, with distances that are not the keys."""
    far = cost.copy()
    for rank in range(len(key)):
        for pixel in range(AREA):
            there, name, new, own = key[rank, pixel], label[rank, pixel], pushed[pixel], whose[pixel]
            first = (new < there) | ((new == there) & (own < name))
            # Both are read before either is written: numba 0.68 compiles an exchange that reads between writes wrongly.
            reached, reach = distance[rank, pixel], far[pixel]
            distance[rank, pixel] = reach if first else reached
            far[pixel] = reached if first else reach
        _exchange(key[rank], label[rank], pushed, whose)
