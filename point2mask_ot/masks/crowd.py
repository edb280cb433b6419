"""Algorithm 1 up to the transport for an image of many suppliers, without a map of the image for any of them.

A pixel has few rivals, however many targets the image has. Regions come from searches for labels alone; costs are found
for the suppliers that matter at the prices that the transport comes to, and for nobody else
(:class:`~point2mask_ot.NearestCosts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..capacity import Estimate, estimate_capacities, rivals_in_parts
from ..checks import values_at_hand
from ..geodesic import geodesic_distances
from ..geodesic.arguments import check_costs
from ..nearest.costs import NearestCosts, Search
from ..nearest.searches import CompactSearch, ScaledSearch
from ..points import pixel_indices
from ..types import Diagnostics, TransportResult
from ..walks.costs import random_walk_costs
from .assignment import transport
from .clock import Clock
from .extent import compactness_weights
from .partition import regions
from .scene import Scene
from .unit import MANY, typical_farthest_of_crowd

if TYPE_CHECKING:
    from ..geodesic.cpu.pointed import PointedTiles

FEWEST = MANY
"""Suppliers beyond which this takes less time than a map for each."""
_FIRST_WINDOW = 10.0
"""Times ``reg``: who is looked at before there are prices. With a narrower one prices run out of it twice before they
are found; what a much wider one holds takes longer to find than that. Not below ``agreement.SWAY``."""
_FIRST_WINDOW_OF_WALKS, _PRICES_OF_WALKS = 20.0, 2.0
"""The same, and by how much prices of walks may differ on top: beyond that, targets matter that no search knows."""
_MOST_TIMES_MEDIAN = 25.0
"""Pixels of the largest region over those of the median one."""
_EVEN_RULES = ("centroid", "nearest")
"""Capacities that are what regions are."""


def is_crowded(scene: Scene) -> bool:
    """Whether an image goes this way."""
    return len(scene.chosen) > FEWEST and not needs_all_maps(scene)


def needs_all_maps(scene: Scene) -> str:
    """The setting for which each supplier needs a map of the whole image, in the words of who set it; or nothing."""
    config = scene.config
    settings = {
        f"stride={config.stride}": config.stride > 1,
        f"assign={config.assign!r}": config.assign != "cost",
        f"unary_weight={config.unary_weight:g}": config.unary_weight > 0,
        f"reach={config.reach}": config.reach is not None and scene.suppliers.has_sizes,
        f"method={config.method!r}": config.method not in ("newton", "minimum"),
        f"capacity={config.capacity!r}": scene.walks and config.capacity not in _EVEN_RULES,
        "walls": scene.walks and scene.walled,
        f"backend={config.backend!r}": config.backend not in ("auto", "numba"),
        f"maps on {scene.edges.device.type}": not values_at_hand(scene.edges),
        "maps in float64": scene.edges.dtype != torch.float32,
    }
    return next((setting for setting, needs in settings.items() if needs), "")


def maps_of_crowd(scene: Scene, clock: Clock) -> Diagnostics | None:
    """What the masks of one crowded image are made from, up to the transport's result.

    None where walks to many targets cannot be told apart: these know their neighbours alone, which is enough where
    targets are spread about evenly and prices differ little.
    """
    config, own = scene.config, scene.suppliers
    with clock("geodesic"):
        walks, tiles = (_walks(scene), None) if scene.walks else (None, _tiles(scene))
        nearest = _nearest(scene, walks, tiles)
        demand = scene.demand(nearest)
    with clock("capacities"):
        estimate = _capacities(scene, tiles, nearest, demand)
    if scene.walks and not _spread_evenly(estimate):
        return None
    with clock("geodesic"):
        costs = _at_even_prices(scene, walks, tiles, demand, estimate)
    with clock("transport"):
        (plan,) = transport(config, [estimate.capacities], [demand], [costs])
    if scene.walks and plan is not None and not _differ_little(plan):
        return None
    return Diagnostics(
        suppliers=scene.chosen,
        edges=scene.edges,
        raw_distances=_Distances(scene.edges, own.points_yx, own.target, config.spacing_cost if scene.walks else None),
        costs=costs if plan is None else plan.costs,
        nearest=nearest,
        demand=demand,
        capacities=estimate.capacities,
        counted=estimate.counted,
        transport=plan,
        seconds=clock.seconds,
        walks=scene.walks,
        no_background=scene.no_background,
    )


def _tiles(scene: Scene) -> PointedTiles:
    """The graph as all searches for paths read it: checked and made once."""
    from ..geodesic.cpu.pointed import PointedTiles  # imports numba: only where it is used

    check_costs("PseudoMasker", scene.edges)
    own, edges = scene.suppliers, scene.edges.contiguous().numpy()
    pixels = pixel_indices("PseudoMasker", own.points_yx, *edges.shape[1:])
    return PointedTiles.of(edges, pixels, own.target, own.num_targets)


def _capacities(scene: Scene, tiles: PointedTiles | None, nearest: torch.Tensor, demand: torch.Tensor) -> Estimate:
    """How many pixels each supplier should own (Eq. 4)."""
    config = scene.config

    def parts(chosen: Sequence[int], points_yx: Any, unit: Any, owner: Any) -> list[torch.Tensor]:
        if tiles is None:
            return regions([scene for _ in chosen], points_yx, unit, owner)
        return [_partition(scene, tiles, *each) for each in zip(points_yx, unit, strict=True)]

    (estimate,) = estimate_capacities(
        parts,
        [scene.suppliers],
        [demand],
        group=lambda _: rivals_in_parts(scene.edges.numpy(), scene.suppliers, (0, 2) if scene.walks else range(4)),
        first=[nearest],
        method=config.capacity,
        iterations=config.centroid_rounds,
        centroid_of=config.centroid_of,
        keep_points=config.keep_points,
    )
    return estimate


def _spread_evenly(estimate: Estimate) -> bool:
    """Whether no target counts so much more pixels than others that these are his neighbours' neighbours there."""
    counted = estimate.counted[estimate.counted > 0]
    return bool(counted.max() <= _MOST_TIMES_MEDIAN * counted.median()) if len(counted) else True


def _differ_little(plan: TransportResult) -> bool:
    """Whether prices are those of neighbours, and the transport converged with them."""
    price = np.asarray(plan.f)[np.isfinite(np.asarray(plan.f))]
    return plan.converged and float(np.ptp(price)) <= _PRICES_OF_WALKS


def _nearest(scene: Scene, walks: NearestCosts | None, tiles: PointedTiles | None) -> torch.Tensor:
    """(H, W) supplier of least cost, the first of equals; -1 where none is finite."""
    own, shape = scene.suppliers, scene.edges.shape[1:]
    if walks is not None:
        return torch.from_numpy(walks.label_and_cost(np.zeros(own.num_targets))[0]).view(shape)
    assert tiles is not None
    return _partition(scene, tiles, own.points_yx, own.target)


def _partition(scene: Scene, tiles: PointedTiles, points_yx: np.ndarray, unit: np.ndarray) -> torch.Tensor:
    """(H, W) unit of the points whose paths to each pixel cost least."""
    edges = scene.edges.contiguous().numpy()
    return torch.from_numpy(tiles.partition(edges, pixel_indices("PseudoMasker", points_yx, *edges.shape[1:]), unit))


def _walks(scene: Scene) -> NearestCosts:
    """Costs of the suppliers that matter while prices are about equal."""
    from ..walks.near import near_walks  # imports numba: only where it is used

    config, own = scene.config, scene.suppliers
    pixels = pixel_indices("PseudoMasker", own.points_yx, *scene.edges.shape[1:])
    window = _FIRST_WINDOW_OF_WALKS * config.reg + _PRICES_OF_WALKS
    graph = scene.edges, pixels, own.target, own.num_targets
    return near_walks(*graph, np.zeros(own.num_targets), window, spacing_cost=config.spacing_cost)


def _at_even_prices(
    scene: Scene, walks: NearestCosts | None, tiles: PointedTiles | None, demand: torch.Tensor, estimate: Estimate
) -> NearestCosts:
    """What the transport begins with; far pixels are dearer for things whose size was told, see :mod:`.extent`."""
    own, weights = scene.suppliers, compactness_weights(scene.config, estimate, scene.suppliers)
    if walks is not None and not weights.any():
        return walks
    search = _search_for_paths(scene, tiles, demand) if walks is None else walks.search
    assert search is not None
    if weights.any():
        order = np.argsort(own.target, kind="stable")
        bounds = np.searchsorted(own.target[order], np.arange(len(weights) + 1))
        points = own.points_yx[order].astype(np.float32)
        search = CompactSearch(search, scene.raster.width, points, bounds, weights)
    return search(np.zeros(own.num_targets), _FIRST_WINDOW * scene.config.reg)


def _search_for_paths(scene: Scene, tiles: PointedTiles | None, demand: torch.Tensor) -> Search:
    """In the units of the transport."""
    from ..geodesic.near_costs import NearSearch

    assert tiles is not None
    config, search = scene.config, NearSearch(tiles)
    if config.typical_cost is None:
        return search
    far = typical_farthest_of_crowd(scene.edges.numpy(), tiles, scene.suppliers, demand, walled=scene.walled)
    usable = torch.finfo(scene.edges.dtype).tiny < far < float("inf")
    return ScaledSearch(search, far, config.typical_cost) if usable else search


@dataclass(frozen=True)
class _Distances:
    """What :attr:`Diagnostics.distances` is made from when it is asked for."""

    edges: torch.Tensor
    points_yx: np.ndarray
    target: np.ndarray
    spacing_cost: float | None
    """Of walks; None for paths."""

    def __call__(self) -> np.ndarray:
        graph = np.asarray(self.edges), self.points_yx, self.target
        if self.spacing_cost is None:
            return np.asarray(geodesic_distances(*graph))
        return np.asarray(random_walk_costs(*graph, spacing_cost=self.spacing_cost))
