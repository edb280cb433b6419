"""The stages of Algorithm 1 for one image, in the order in which they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch

from ._boxes import components_with_points, mask_boxes, replace_empty
from ._raster import Raster, paint_squares
from .arrays import compute_dtype
from .capacity import estimate_capacities
from .checks import fail
from .edges import MapTerm, check_values, edge_costs
from .geodesic import geodesic_distances, nearest_partition
from .points import pixel_indices
from .presets import PseudoMaskConfig
from .transport import sinkhorn, solve
from .types import Diagnostics, PointTargets, PseudoMasks, TransportResult

COARSEST_STRIDE = 64
"""Networks have feature maps this coarse; a larger stride than both the image and this is a mistake."""


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of one image, (C, H, W) each, without padding; at least one is given."""

    semantic: torch.Tensor | None
    boundary: torch.Tensor | None
    features: torch.Tensor | None
    terms: tuple[MapTerm, ...]

    @property
    def first(self) -> torch.Tensor:
        """Any of the maps."""
        given = [self.semantic, self.boundary, self.features, *(term.map for term in self.terms)]
        return next(value for value in given if isinstance(value, torch.Tensor))


def label_image(config: PseudoMaskConfig, maps: Maps, targets: PointTargets) -> PseudoMasks:
    """Algorithm 1 from maps and points to pseudo-masks.

    Args:
        config: the switches.
        maps: of one image.
        targets: its K targets, possibly none.

    Returns:
        Pseudo-masks with every intermediate map among their diagnostics.

    Raises:
        ArgumentError: see :class:`~point2mask_ot.PseudoMasker`.
    """
    seconds: dict[str, float] = {}
    with _clock(seconds, "edges"):
        stage = _Stages(config, maps, targets)
    with _clock(seconds, "geodesic"):
        distances = stage.distances(stage.suppliers.points_yx, stage.suppliers.target)
        cost = stage.raster.enlarge(distances)
        nearest = _cheapest(cost)
    with _clock(seconds, "capacities"):
        demand = stage.demand(nearest)
        counts = stage.capacities(cost, nearest, demand)
    with _clock(seconds, "transport"):
        cost = stage.scaled(cost, demand)
        transport = stage.transport(counts, demand, cost)
    with _clock(seconds, "masks"):
        owner = nearest if transport is None else cast(torch.Tensor, transport.labels).view(nearest.shape)
        owner = torch.where(stage.ownable(owner, cost, demand), owner, -1)
        instance, semantic, void, confidence = stage.panoptic(owner, stage.share(owner, cost, transport))
        masks = instance == torch.arange(targets.num_targets, device=instance.device)[:, None, None]
        boxes = stage.boxes(masks)
    diagnostics = Diagnostics(
        stage.chosen, stage.edges, distances, cost, nearest, demand, counts, transport, seconds=seconds
    )
    return PseudoMasks(instance, masks, boxes, semantic, void, confidence, diagnostics)


@contextmanager
def _clock(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Wall time of a stage. On a GPU that is the time to launch it, since nothing waits for the device."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


class _Stages:
    """What the stages of one image share: the switches, the checked maps, the graph and the suppliers."""

    def __init__(self, config: PseudoMaskConfig, maps: Maps, targets: PointTargets) -> None:
        self.config, self.targets = config, targets
        self.raster = _make_raster(config, maps.first)
        size = (self.raster.height, self.raster.width)
        self.pixels = pixel_indices("PseudoMasker", targets.points_yx, *size)
        if config.on_conflict == "error":
            _refuse_shared_pixels(self.pixels, targets.target)
        self._check_values(maps)
        self.semantic, self.category = self._class_maps(maps.semantic)
        self.of_a_thing = None if self.category is None else self._of_a_thing(self.category)
        self.edges = self._edges(replace(maps, semantic=self.semantic))
        supplies = targets.is_thing if config.stuff == "exclude" else np.ones(targets.num_targets, bool)
        self.chosen = np.flatnonzero(supplies)
        self.suppliers = targets.select(self.chosen)

    def _class_maps(self, semantic: torch.Tensor | None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(C, H, W) P with what the points tell, and (H, W) its most probable class; None without a semantic map.

        Absent classes have probability 0, the neighbourhood of a point has probability 1 for its class.
        """
        config, targets = self.config, self.targets
        if semantic is None:
            if config.stuff == "exclude" and not targets.is_thing.all():
                fail("PseudoMasker", "semantic", "None", "a semantic map, or stuff='supply' in the configuration")
            if config.assign == "likelihood":
                fail("PseudoMasker", "semantic", "None", "a semantic map, since assign='likelihood'")
            return None, None
        channels = semantic.shape[0]
        if targets.num_targets and targets.category.max() >= channels:
            fail("PseudoMasker", "targets", f"category {targets.category.max()}", f"a channel of {channels}, from 0")
        told = semantic.to(compute_dtype(semantic)).clone()
        if config.presence:
            told[np.setdiff1d(np.arange(channels), targets.category).tolist()] = 0
        categories = targets.category[targets.target]
        if config.point_overlap == "all":
            r = config.point_radius
            for (y, x), category in zip(self.pixels.tolist(), categories.tolist(), strict=True):
                told[category, max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] = 1
            return told, told.argmax(0)
        painted = torch.from_numpy(paint_squares(self.pixels, categories, config.point_radius, told.shape[1:]))
        painted = painted.to(told.device)
        for category in np.unique(categories).tolist():
            told[category][painted == category] = 1
        # A network may be as sure of another class: around a point the point is right.
        return told, torch.where(painted >= 0, painted, told.argmax(0))

    def _check_values(self, maps: Maps) -> None:
        """Refuse bad values on the full maps: a coarse grid and the squares around points may hide them later."""
        named = [("semantic", maps.semantic, "l1"), ("boundary", maps.boundary, "max")]
        for name, image, kind in [*named, ("features", maps.features, "cosine")]:
            if image is not None:
                check_values("PseudoMasker", name, image[None], kind)
        for index, term in enumerate(maps.terms):
            if isinstance(term.kind, str):
                check_values("PseudoMasker", f"terms[{index}]", cast(torch.Tensor, term.map)[None], term.kind)

    def _edges(self, maps: Maps) -> torch.Tensor:
        """Eq. 2-3 on the grid."""
        shrink = self.raster.shrink
        semantic, boundary, features = (
            None if m is None else shrink(m) for m in (maps.semantic, maps.boundary, maps.features)
        )
        terms = [replace(t, map=shrink(t.map, peaks=t.kind == "max")) for t in maps.terms]  # type: ignore[arg-type]
        weights = {name: getattr(self.config, name) for name in ("beta", "feature_weight", "step_cost")}
        return cast(torch.Tensor, edge_costs(semantic, boundary, features=features, terms=terms, **weights))

    def distances(self, points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
        """(S, h, w) geodesic cost from points given in pixels of the picture."""
        cells = self.raster.cells(points_yx)
        return cast(torch.Tensor, geodesic_distances(self.edges, cells, target, backend=self.config.backend))

    def demand(self, nearest: torch.Tensor) -> torch.Tensor:
        """(H, W) bool: reachable, and of a thing's class where stuff is left out."""
        if self.of_a_thing is None or self.config.stuff == "supply" or self.config.demand == "all":
            return nearest >= 0
        return (nearest >= 0) & self.of_a_thing

    def _of_a_thing(self, category: torch.Tensor) -> torch.Tensor:
        things = np.unique(self.targets.category[self.targets.is_thing])
        return torch.isin(category, torch.from_numpy(things).to(category.device))

    def capacities(self, cost: torch.Tensor, nearest: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        """(S,) pixels for each supplier (Eq. 4); ``cost`` and ``nearest`` belong to the suppliers' own points."""
        config, raster = self.config, self.raster

        def partition(points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
            own = points_yx is self.suppliers.points_yx and target is self.suppliers.target
            if config.assign == "likelihood":
                moved = cost if own else raster.enlarge(self.distances(points_yx, target))
                return self._most_likely(moved)
            if own:
                return nearest
            if raster.stride == 1:
                nearer = nearest_partition(self.edges, points_yx, target, backend=config.backend)
                return cast(torch.Tensor, nearer.labels)
            return _cheapest(raster.enlarge(self.distances(points_yx, target)))

        return estimate_capacities(
            partition,
            self.suppliers,
            demand,
            method=config.capacity,
            iterations=config.centroid_rounds,
            centroid_of=config.centroid_of,
        )

    def _most_likely(self, cost: torch.Tensor) -> torch.Tensor:
        """argmax_i (1 - c_i / max c) (P[class of i] + sum of the present stuff P), as the released code assigns."""
        assert self.semantic is not None
        if not len(cost):
            return _cheapest(cost)
        finite = torch.isfinite(cost)
        closeness = 1 - cost / (torch.where(finite, cost, 0).max() + 1e-5)
        stuff = np.unique(self.targets.category[~self.targets.is_thing])
        likelihood = self.semantic[self.suppliers.category.tolist()] + self.semantic[stuff.tolist()].sum(0)
        score, label = torch.where(finite, closeness * likelihood, -torch.inf).max(0)
        return torch.where(torch.isfinite(score), label, -1)

    def scaled(self, cost: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        """Costs in units in which the median over pixels of the largest finite cost is ``typical_cost``."""
        typical = self.config.typical_cost
        if typical is None or not bool(demand.any()):
            return cost
        far = torch.where(torch.isfinite(cost), cost, 0).amax(0)[demand].median()
        return cost / far * typical if bool(far > torch.finfo(cost.dtype).tiny) else cost

    def transport(self, counts: torch.Tensor, demand: torch.Tensor, cost: torch.Tensor) -> TransportResult | None:
        """From the capacities to one label for each pixel of demand (Eq. 9-11); None where there is nothing to do."""
        config = self.config
        if config.method == "minimum" or not bool(counts.sum() > 0):
            return None
        problem = (counts, demand.flatten().to(counts.dtype), cost.flatten(1))
        normalize = callable(config.capacity)  # an estimate of the user's own need not sum to the demand
        if config.method == "sinkhorn":
            return sinkhorn(
                *problem,
                config.reg,
                max_iter=config.max_iter or (80 if config.tol is None else 10_000),
                tol=config.tol,
                tau=config.tau,
                marginal_floor=config.marginal_floor,
                normalize=normalize,
            )
        return solve(
            *problem,
            reg=0.0 if config.method == "exact" else config.reg,
            method=config.method,
            tau=config.tau,
            tol=1e-7 if config.tol is None else config.tol,
            max_iter=config.max_iter,
            normalize=normalize,
        )

    def ownable(self, owner: torch.Tensor, cost: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        """(H, W) bool: where the supplier that transport chose may own the pixel."""
        if not len(cost):
            return demand
        # An estimate of the user's own may send a supplier where no path leads.
        able = demand & torch.isfinite(cost.gather(0, owner.clamp(min=0)[None])[0])
        return able if self.of_a_thing is None or self.config.stuff == "supply" else able & self.of_a_thing

    def share(self, owner: torch.Tensor, cost: torch.Tensor, transport: TransportResult | None) -> torch.Tensor:
        """(H, W) float32 share of each pixel that the plan gives to its owner; 1 where the plan is not entropic."""
        owned = owner >= 0
        if transport is None or self.config.method == "exact":
            return owned.to(torch.float32)
        supplier = owner.clamp(min=0)
        least = cost.gather(0, supplier[None])[0]
        f, g = cast(torch.Tensor, transport.f), cast(torch.Tensor, transport.g)
        exponent = (f[supplier] + g.view(owner.shape) - least) / self.config.reg
        return torch.where(owned, exponent.exp().clamp(max=1), 0).to(torch.float32)

    def panoptic(self, owner: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(instance, semantic, void, confidence), each (H, W), from the supplier that owns each pixel."""
        targets, device = self.targets, owner.device
        outside = owner < 0
        instance = torch.from_numpy(np.append(self.chosen, -1)).to(device)[owner]  # -1 picks the last entry
        category = torch.from_numpy(np.append(targets.category, 0)).to(device)[instance]
        if self.semantic is None or self.category is None or self.of_a_thing is None:
            return instance, category, outside, share
        probability = self.semantic.gather(0, self.category[None])[0]
        category = torch.where(outside, self.category, category)
        # A pixel of a thing's class that nobody owns lies beyond a wall: void, like undecided stuff.
        void = outside & ((probability < self.config.min_probability) | self.of_a_thing)
        confidence = torch.where(outside, probability.to(torch.float32).clamp(0, 1), share)
        if self.config.stuff == "exclude":
            for k in np.flatnonzero(~targets.is_thing)[::-1].tolist():  # the first target of a category prevails
                instance = torch.where(outside & ~void & (category == int(targets.category[k])), k, instance)
        return instance, category, void, torch.where(void, 0, confidence)

    def boxes(self, masks: torch.Tensor) -> torch.Tensor:
        """(K, 4) boxes of the masks, by the configured rules."""
        if self.config.box_from == "component":
            masks = components_with_points(masks, self.pixels, self.targets.target)
        size = (self.raster.height, self.raster.width)
        return replace_empty(mask_boxes(masks), self.config.empty_box, self.pixels, self.targets.target, size)


def _make_raster(config: PseudoMaskConfig, image: torch.Tensor) -> Raster:
    height, width = image.shape[-2:]
    if config.stride > max(height, width, COARSEST_STRIDE):
        got = f"{config.stride} for an image of {height}x{width}"
        expected = f"a stride no larger than the image (up to {COARSEST_STRIDE}, a smaller image becomes one cell)"
        fail("PseudoMasker", "config.stride", got, expected)
    return Raster(height, width, config.stride, config.floor_points)


def _refuse_shared_pixels(pixels: np.ndarray, target: np.ndarray) -> None:
    order = np.lexsort((target, pixels[:, 1], pixels[:, 0]))
    pixels, target = pixels[order], target[order]
    clash = np.flatnonzero((pixels[1:] == pixels[:-1]).all(1) & (target[1:] != target[:-1]))
    if clash.size:
        i = clash[0]
        got = f"targets {target[i]} and {target[i + 1]} both at (y, x) = ({pixels[i, 0]}, {pixels[i, 1]})"
        fail("PseudoMasker", "targets", got, "one target a pixel (on_conflict='first' lets the first have it)")


def _cheapest(cost: torch.Tensor) -> torch.Tensor:
    """(S, H, W) -> (H, W) supplier of least cost, the first of equals; -1 where none is finite."""
    if not len(cost):
        return torch.full(cost.shape[1:], -1, dtype=torch.int64, device=cost.device)
    least, supplier = cost.min(0)
    return torch.where(torch.isfinite(least), supplier, -1)
