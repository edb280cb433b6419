"""One image of Algorithm 1: its graph, its suppliers, and what they cost, up to the transport.

Nothing here makes a GPU wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch

from ..checks import fail
from ..graph.edges import Summand, sum_costs
from ..graph.grid import FORWARD_OFFSETS, pair_slices
from ..graph.regions import first_largest, first_smallest
from ..types import PointTargets
from .border import with_border
from .classes import ClassMaps, class_maps
from .config import PseudoMaskConfig
from .inputs import Maps, check_inputs
from .raster import Raster
from .unit import MANY, far_apart, typical_farthest

_LEAST_PROBABILITY = 1e-6
"""What a network says of a class is never taken for more certain than this."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What the steps of one image share.

    Attributes:
        config: the switches.
        targets: all K of them.
        pixels: (N, 2) int64, of their points.
        raster: between the picture and the grid of the graph.
        classes: the class maps; None without a semantic map.
        edges: (4, h, w) costs (Eq. 2-3), with walls between the classes where pixels may not leave theirs.
        open_edges: (4, h, w) the same without those walls.
        chosen: (S,) the targets that supply labels.
        suppliers: these alone.
        walks: costs are those of random walks, not of paths.
        walled: walls may surround parts of the picture.
        no_background: one of the things has to own every pixel.
    """

    config: PseudoMaskConfig
    targets: PointTargets
    pixels: np.ndarray
    raster: Raster
    classes: ClassMaps | None
    edges: torch.Tensor
    open_edges: torch.Tensor
    chosen: np.ndarray
    suppliers: PointTargets
    walks: bool
    walled: bool
    no_background: bool

    @classmethod
    def of(cls, config: PseudoMaskConfig, maps: Maps, targets: PointTargets) -> Scene:
        """Check maps and points, and build the graph.

        Raises:
            ArgumentError: see :class:`~point2mask_ot.PseudoMasker`.
        """
        pixels = check_inputs(config, maps, targets)
        height, width = maps.first.shape[-2:]
        if config.border == "background":
            targets, pixels = with_border(targets, pixels, height, width)
        raster = Raster(height, width, config.stride, config.floor_points)
        classes = None if maps.semantic is None else class_maps(config, maps.semantic, targets, pixels)
        edges = open_edges = _edges(config, maps, classes, raster)
        if config.within_class and classes is not None:
            edges = _walled(open_edges, classes.category)
        chosen = np.flatnonzero(targets.is_thing | (config.stuff == "supply"))
        suppliers = targets.select(chosen)
        walks = config.cost == "walk" or (config.cost == "auto" and bool(suppliers.is_thing.all()))
        by_class = classes is not None and (config.stuff == "exclude" or config.within_class)
        walled = any(callable(term.kind) for term in maps.terms)  # perhaps, but looking would make a GPU wait
        no_background = bool(targets.num_targets and targets.is_thing.all()) and not (by_class or walled)
        return cls(
            config=config,
            targets=targets,
            pixels=pixels,
            raster=raster,
            classes=classes,
            edges=edges,
            open_edges=open_edges,
            chosen=chosen,
            suppliers=suppliers,
            walks=walks,
            walled=walled or edges is not open_edges,
            no_background=no_background,
        )

    @cached_property
    def spokesmen(self) -> np.ndarray | None:
        """Suppliers that stand for all where their costs are scaled; None where all do."""
        many = len(self.chosen) > MANY and not self.walled
        return far_apart(self.suppliers) if many else None

    def demand(self, nearest: torch.Tensor) -> torch.Tensor:
        """(H, W) bool: reachable, and of a thing's class where stuff is left out."""
        if self.classes is None or self.config.stuff == "supply" or self.config.demand == "all":
            return nearest >= 0
        return (nearest >= 0) & self.classes.of_a_thing

    def assigned(self, cost: torch.Tensor) -> torch.Tensor:
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

    def with_classes(self, cost: torch.Tensor, owner: np.ndarray | None = None) -> torch.Tensor:
        """Costs with the unary term, where there is one: scaled first, lest its weight depend on the picture.

        Args:
            cost: (U, H, W).
            owner: the supplier of each of U units; None where these are the suppliers.
        """
        weight = self.config.unary_weight
        if not weight or not len(cost):
            return cost
        assert self.classes is not None
        whose = np.arange(len(self.chosen)) if owner is None else owner
        if len(cost) > len(whose):  # a capacity rule of somebody's own may cut among anything
            got = f"a rule that cuts among {len(cost)} of {len(whose)} targets"
            fail("PseudoMasker", "config.capacity", got, "a rule that cuts among targets, since unary_weight > 0")
        probability = self.classes.of(self.suppliers.category[whose[: len(cost)]]).clamp(min=_LEAST_PROBABILITY)
        return self._scaled(cost, torch.isfinite(cost).any(0)) - weight * probability.log()

    def scaled(self, cost: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        """Costs of paths in units in which the median over pixels of the largest finite one is ``typical_cost``."""
        return cost if self.config.unary_weight else self._scaled(cost, demand)

    def _scaled(self, cost: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
        typical = self.config.typical_cost
        if typical is None or self.walks or not len(cost):
            return cost
        far = typical_farthest(cost, demand, self.spokesmen if len(cost) == len(self.chosen) else None)
        usable = (far > torch.finfo(cost.dtype).tiny) & (far < torch.inf)
        one = torch.ones_like(far)
        return (cost / torch.where(usable, far, one)).mul_(torch.where(usable, typical, one))


def _edges(config: PseudoMaskConfig, maps: Maps, classes: ClassMaps | None, raster: Raster) -> torch.Tensor:
    """Eq. 2-3 on the grid, from values that have been checked at full size."""
    terms = [(f"terms[{i}]", cast(torch.Tensor, t.map), t.kind, t.weight) for i, t in enumerate(maps.terms)]
    summands = [
        Summand(name, raster.shrink(image, peaks=kind == "max" and name != "boundary")[None], kind, weight)
        for name, image, kind, weight in (
            ("semantic", None if classes is None else classes.probability, "l1", 1.0),
            ("boundary", maps.boundary, "max", config.beta),
            ("features", maps.features, "cosine", config.feature_weight),
            *terms,
        )
        if image is not None
    ]
    return sum_costs(summands, config.step_cost, config.edge_power, check=False)[0]


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
