"""Costs from random walks where each pixel knows only those targets that may serve it, however many there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import NamedTuple, cast

import numpy as np
import torch

from ..geodesic.arguments import PointedGraph
from ..geodesic.cpu.blocks import block_pixels
from ..geodesic.cpu.tiles import SIDE
from ..nearest.costs import BLOCK, NearestCosts, Search
from . import entries
from .colours import Colours, coloured
from .parts import Part, find_parts
from .solvers import solve_groups
from .walk import LEAST_PROBABILITY, Walk

_LEFT_OUT = -1
"""The key of an entry that is beaten everywhere, and its place."""


class _Found(NamedTuple):
    """Entries in any order: (E,) blocks and targets, and (E, 64) probabilities, 0 where the target is left out."""

    block: np.ndarray
    target: np.ndarray
    probability: np.ndarray


def near_walks(
    edges: torch.Tensor,
    points_yx: np.ndarray,
    target: np.ndarray,
    count: int,
    price: np.ndarray,
    window: float,
    *,
    spacing_cost: float,
    cycles: int = 2,
) -> NearestCosts:
    """The entries of :func:`.costs.random_walk_costs` that may matter at some prices.

    Targets share solves, see :mod:`.colours`: costs are off by up to 0.03, the more the higher they are, and a
    pixel is not told of targets more than four rings of others away.

    Args:
        edges: (4, H, W) costs >= 0, on the host.
        points_yx, target: (N, 2) int64 rows and columns and (N,) their targets.
        count: K.
        price: (K,) float64.
        window: a target is listed where its ``cost - price`` is at most the pixel's smallest plus that.
        spacing_cost, cycles: as for the dense costs.

    Returns:
        Costs over 8 x 8 blocks of the picture, row by row. Costs are at most 13.9: smaller probabilities than 1e-6 are
        lost. +inf where no walk leads.
    """
    image = PointedGraph(edges, points_yx, target, count)
    top = float(price.max(initial=-np.inf))
    worth = np.exp(np.minimum(price - top, 0)).astype(np.float32) if count else np.zeros(0, np.float32)
    best = np.zeros(edges.shape[1:], np.float32)
    found: list[_Found] = []
    parts = find_parts(image)
    step = spacing_cost * (count / max(sum(int(part.pixels.sum()) for part in parts), 1)) ** 0.5
    for part in parts:
        walk = Walk(part.cut(image), part.pixels, torch.tensor(step, dtype=edges.dtype, device="cpu"))
        found += _entries(coloured(walk), part, worth, np.exp(-window), cycles, best[part.box])

    search = WalkSearch(edges, points_yx, target, count, spacing_cost, cycles)
    costs = _as_costs(found, best, worth, top, price, window, search)
    return replace(costs, search=NarrowSearch(costs))


@dataclass(frozen=True, eq=False)
class WalkSearch:
    """The same at other prices; every call solves all walks again."""

    edges: torch.Tensor
    points_yx: np.ndarray
    target: np.ndarray
    count: int
    spacing_cost: float
    cycles: int

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """See :attr:`~point2mask_ot.NearestCosts.search`."""
        graph = self.edges, self.points_yx, self.target, self.count
        return near_walks(*graph, price, window, spacing_cost=self.spacing_cost, cycles=self.cycles)


@dataclass(frozen=True, eq=False)
class NarrowSearch:
    """The same from entries that are there, where they hold what is asked for: nothing is solved again."""

    wide: NearestCosts

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """See :attr:`~point2mask_ot.NearestCosts.search`; what it finds does not keep the entries that it drops."""
        search = cast(Search, self.wide.search)
        return self.wide.narrowed(price, window) or search(price, window)


def _entries(
    colours: Colours, part: Part, worth: np.ndarray, least: float, cycles: int, best: np.ndarray
) -> list[_Found]:
    """Of one part; ``best`` (h, w) becomes the largest of worth times probability."""
    value = np.where(colours.owner >= 0, worth[part.targets][colours.owner], 0).astype(np.float32)
    corner = np.array([side.start for side in part.box])
    one_at_a_time = Lock()
    found: list[_Found] = []

    def keep(x: np.ndarray, group: range) -> None:
        owner, own = (np.ascontiguousarray(table[:, group.start : group.stop]) for table in (colours.owner, value))
        place = entries.Place(colours.cell, owner, own, corner, np.float32(least), np.float32(LEAST_PROBABILITY))
        with one_at_a_time:
            blocks, of_part, size = entries.count(x, place, best)
            rows = np.empty((size, BLOCK), np.float32)
            entries.fill(x, place, blocks[:size], of_part[:size], rows)
            found.append(_Found(blocks[:size], part.targets[of_part[:size]], rows))

    solve_groups(colours.walk, cycles, keep)
    return found


def _as_costs(
    found: list[_Found],
    best: np.ndarray,
    worth: np.ndarray,
    top: float,
    price: np.ndarray,
    window: float,
    search: Search,
) -> NearestCosts:
    """Sort the entries, and leave out those that later ones beat everywhere.

    ``found`` is emptied: entries take most of the memory, and each should be there once.
    """
    height, width = best.shape
    across, count = -(-width // SIDE), len(price)
    pixel = block_pixels(height, width)
    highest = np.where(pixel >= 0, best.ravel()[pixel], 0)
    least = highest * np.float32(np.exp(-window))

    def key(each: _Found) -> np.ndarray:
        block = each.block[:, 0] * across + each.block[:, 1]
        matters = entries.matter(each.probability, each.target, block, worth, least)
        return np.where(matters, block * count + each.target, _LEFT_OUT)

    place, slots = _slots([key(each) for each in found])
    probability = np.zeros((len(place), BLOCK), np.float32)
    while found:
        entries.merge(found.pop().probability, slots.pop(), probability)
    with np.errstate(divide="ignore"):
        cost = np.negative(np.log(probability, out=probability), out=probability)
        floor = np.where(highest > 0, window - top - np.log(highest), np.float32(np.inf))
    return NearestCosts(
        num_suppliers=count,
        num_pixels=height * width,
        pixel=pixel,
        first=np.searchsorted(place, np.arange(len(pixel) + 1) * count),
        supplier=(place % max(count, 1)).astype(np.int32),
        cost=cost,
        price=np.asarray(price, np.float64),
        floor=floor.astype(np.float32),
        search=search,
    )


def _slots(keys: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The keys that are kept, ascending, and the place in them of each that was given.

    Where parts meet in a block, both may list a supplier: the two have one place.
    """
    every = np.concatenate([np.zeros(0, np.int64), *keys])
    order = np.argsort(every)
    ascending = every[order]
    kept = ascending > _LEFT_OUT
    is_new = kept & (np.diff(ascending, prepend=_LEFT_OUT) > 0)
    slot = np.empty(len(order), np.int64)
    slot[order] = np.where(kept, np.cumsum(is_new) - 1, _LEFT_OUT)
    return ascending[is_new], np.split(slot, np.cumsum([len(key) for key in keys])[:-1])
