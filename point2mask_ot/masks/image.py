"""One image of Algorithm 1: its graph, its suppliers, and the steps that concern it alone.

Nothing here makes a GPU wait, but for the boxes of components, which are found on the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from .. import checks
from ..arrays import to_device
from ..checks import fail
from ..geodesic import nearest_partition
from ..graph.edges import MapTerm, Summand, check_values, sum_costs
from ..graph.grid import FORWARD_OFFSETS, pair_slices
from ..graph.regions import first_largest, first_smallest, look_up, median_where
from ..points import pixel_indices
from ..types import PointTargets, TransportResult
from .boxes import components_with_points, mask_boxes, replace_empty
from .classes import class_maps, first_targets
from .config import PseudoMaskConfig
from .raster import Raster

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


class Image:
    """What the steps of one image share: the switches, the checked maps, the graph and the suppliers."""

    def __init__(self, config: PseudoMaskConfig, maps: Maps, targets: PointTargets) -> None:
        self.config, self.targets = config, targets
        self.raster = _make_raster(config, maps.first)
        size = (self.raster.height, self.raster.width)
        self.pixels = pixel_indices("PseudoMasker", targets.points_yx, *size)
        if config.on_conflict == "error":
            _refuse_shared_pixels(self.pixels, targets.target)
        _check_values(maps)
        _check_semantic(config, maps.semantic, targets)
        given = maps.semantic
        self.classes = None if given is None else class_maps(config, given, targets, self.pixels)
        self.edges = self._open_edges = self._edges(maps)
        if config.within_class and self.classes is not None:
            self.edges = _walled(self._open_edges, self.classes.category)
        supplies = targets.is_thing if config.stuff == "exclude" else np.ones(targets.num_targets, bool)
        self.chosen = np.flatnonzero(supplies)
        self.suppliers = targets.select(self.chosen)
        self.walks = config.cost == "walk" or (config.cost == "auto" and bool(self.suppliers.is_thing.all()))

    def _edges(self, maps: Maps) -> torch.Tensor:
        """Eq. 2-3 on the grid, from values that have been checked at full size."""
        config, shrink = self.config, self.raster.shrink
        terms = [(f"terms[{i}]", cast(torch.Tensor, t.map), t.kind, t.weight) for i, t in enumerate(maps.terms)]
        summands = [
            Summand(name, shrink(image, peaks=kind == "max" and name != "boundary")[None], kind, weight)
            for name, image, kind, weight in (
                ("semantic", None if self.classes is None else self.classes.probability, "l1", 1.0),
                ("boundary", maps.boundary, "max", config.beta),
                ("features", maps.features, "cosine", config.feature_weight),
                *terms,
            )
            if image is not None
        ]
        return sum_costs(summands, config.step_cost, config.edge_power, check=False)[0]

    def islands(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(H, W) supplier of each pixel's class that is nearest by paths that may leave the class, -1 for none, and
        float32 how much of the choice that leaves: one over the suppliers of the class."""
        assert self.classes is not None
        owner = torch.full_like(self.classes.category, -1)
        share = torch.zeros_like(owner, dtype=torch.float32)
        for category in np.unique(self.suppliers.category):
            own = np.flatnonzero(self.suppliers.category == category)
            points = self.suppliers.select(own)
            labels = nearest_partition(self._open_edges, points.points_yx, points.target).labels
            here = self.classes.category == int(category)
            owner = torch.where(here, look_up(own, cast(torch.Tensor, labels), nobody=-1), owner)
            share.masked_fill_(here, 1 / len(own))
        return owner, share

    def demand(self, nearest: torch.Tensor) -> torch.Tensor:
        """(H, W) bool: reachable, and of a thing's class where stuff is left out."""
        if self.classes is None or self.config.stuff == "supply" or self.config.demand == "all":
            return nearest >= 0
        return (nearest >= 0) & self.classes.of_a_thing

    def partition(self, cost: torch.Tensor) -> torch.Tensor:
        """(H, W) supplier that each pixel falls to when regions are counted; ``cost`` may be of moved points."""
        return self._most_likely(cost) if self.config.assign == "likelihood" else cheapest(cost)

    def _most_likely(self, cost: torch.Tensor) -> torch.Tensor:
        """argmax_i (1 - c_i / max c) (P[class of i] + sum of the present stuff P), as the released code assigns."""
        assert self.classes is not None
        if not len(cost):
            return cheapest(cost)
        finite = torch.isfinite(cost)
        closeness = 1 - cost / (torch.where(finite, cost, 0).max() + 1e-5)
        stuff = np.unique(self.targets.category[~self.targets.is_thing])
        likelihood = self.classes.of(self.suppliers.category) + self.classes.of(stuff).sum(0)
        score, label = first_largest(torch.where(finite, closeness * likelihood, -torch.inf))
        return torch.where(torch.isfinite(score), label, -1)

    def scaled(self, cost: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        """Costs of paths in units in which the median over pixels of the largest finite one is ``typical_cost``."""
        typical = self.config.typical_cost
        if typical is None or self.walks or not len(cost):
            return cost
        far = median_where(demand, _largest_finite(cost))
        usable = (far > torch.finfo(cost.dtype).tiny) & (far < torch.inf)
        one = torch.ones_like(far)
        return (cost / torch.where(usable, far, one)).mul_(torch.where(usable, typical, one))

    def owners(
        self, supplier: torch.Tensor, cost: torch.Tensor, demand: torch.Tensor, transport: TransportResult | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(H, W) the supplier that owns each pixel, -1 where none may, and float32 the share of the pixel that the
        plan gives to it; 1 where the plan is not entropic, and at claimed points."""
        if not len(cost):
            return torch.where(demand, supplier, -1), torch.zeros_like(supplier, dtype=torch.float32)
        known = supplier.clamp(min=0)
        least = cost.gather(0, known[None])[0]
        # An estimate of the user's own may send a supplier where no path leads.
        able = demand & (least < torch.inf)
        if self.classes is not None and self.config.stuff == "exclude":
            able = able & self.classes.of_a_thing
        owner = torch.where(able, supplier, -1)
        claimed, claimants = (to_device(each, owner.device) for each in self._claims())
        owner.view(-1).index_copy_(0, claimed, claimants)
        owned = owner >= 0
        if transport is None or self.config.method == "exact":
            return owner, owned.to(torch.float32)
        f, g = cast(torch.Tensor, transport.f), cast(torch.Tensor, transport.g)
        price = f.index_select(0, known.flatten()) + g
        exponent = (price.view(owner.shape) - least) / self.config.reg
        share = torch.where(owned, exponent.exp().clamp(max=1), 0).to(torch.float32)
        share.view(-1).index_fill_(0, claimed, 1)
        return owner, share

    def _claims(self) -> tuple[np.ndarray, np.ndarray]:
        """Flat indices of the pixels where the first target with a point is a supplier's, and that supplier."""
        rows, columns = self.pixels.T
        pixels, point = np.unique(rows * self.raster.width + columns, return_index=True)
        claimants = first_targets(self.pixels, self.targets.target)[point]
        owns = np.isin(claimants, self.chosen) & self.config.claim_points
        return pixels[owns], np.searchsorted(self.chosen, claimants[owns])

    def panoptic(self, owner: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(instance, semantic, void, confidence), each (H, W), from the supplier that owns each pixel."""
        targets, classes, outside = self.targets, self.classes, owner < 0
        everyone = len(self.chosen) == targets.num_targets
        instance = owner if everyone else look_up(self.chosen, owner, nobody=-1)
        category = look_up(targets.category, instance)
        if classes is None:
            return instance, category, outside, share
        category = torch.where(outside, classes.category, category)
        # A pixel of a thing's class that nobody owns lies beyond a wall: void, like undecided stuff.
        void = outside & ((classes.certainty < self.config.min_probability) | classes.of_a_thing)
        confidence = torch.where(outside, classes.certainty.to(torch.float32).clamp(0, 1), share)
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


def _walled(edges: torch.Tensor, category: torch.Tensor) -> torch.Tensor:
    """A copy of (4, H, W) edges with walls between the classes."""
    walled = edges.clone()
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        walled[index, *here].masked_fill_(category[here] != category[there], torch.inf)
    return walled


def cheapest(cost: torch.Tensor) -> torch.Tensor:
    """(S, H, W) -> (H, W) supplier of least cost, the first of equals; -1 where none is finite."""
    if not len(cost):
        return torch.full(cost.shape[1:], -1, dtype=torch.int64, device=cost.device)
    least, supplier = first_smallest(cost)
    return torch.where(least < torch.inf, supplier, -1)


def _largest_finite(cost: torch.Tensor) -> torch.Tensor:
    largest = cost.amax(0)
    if checks.values_at_hand(cost) and bool((largest < torch.inf).all()):  # looking is free there, a copy is not
        return largest
    return torch.where(cost < torch.inf, cost, 0).amax(0)


def _check_values(maps: Maps) -> None:
    """Refuse bad values on the full maps: a coarse grid and the squares around points may hide them later."""
    named = [("semantic", maps.semantic, "l1"), ("boundary", maps.boundary, "max")]
    for name, image, kind in [*named, ("features", maps.features, "cosine")]:
        if image is not None:
            check_values("PseudoMasker", name, image[None], kind)
    for index, term in enumerate(maps.terms):
        if isinstance(term.kind, str):
            check_values("PseudoMasker", f"terms[{index}]", cast(torch.Tensor, term.map)[None], term.kind)


def _check_semantic(config: PseudoMaskConfig, semantic: torch.Tensor | None, targets: PointTargets) -> None:
    """Refuse a map without a channel for each category, and settings that cannot do without a map."""
    if semantic is None:
        if config.within_class:
            fail("PseudoMasker", "semantic", "None", "a semantic map, since within_class=True")
        if config.stuff == "exclude" and not targets.is_thing.all():
            fail("PseudoMasker", "semantic", "None", "a semantic map, or stuff='supply' in the configuration")
        if config.assign == "likelihood":
            fail("PseudoMasker", "semantic", "None", "a semantic map, since assign='likelihood'")
    elif targets.num_targets and targets.category.max() >= len(semantic):
        got, expected = f"category {targets.category.max()}", f"a channel of {len(semantic)}, from 0"
        fail("PseudoMasker", "targets", got, expected)


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
