"""The maps of one image and the points on it, and what Algorithm 1 refuses of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from ..checks import fail
from ..graph.edges import MapTerm, check_values
from ..points import pixel_indices
from ..types import PointTargets
from .config import PseudoMaskConfig

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


def check_inputs(config: PseudoMaskConfig, maps: Maps, targets: PointTargets) -> np.ndarray:
    """(N, 2) pixels of the points, once maps, points and settings have been found to go together."""
    height, width = maps.first.shape[-2:]
    if config.stride > max(height, width, COARSEST_STRIDE):
        got = f"{config.stride} for an image of {height}x{width}"
        expected = f"a stride no larger than the image (up to {COARSEST_STRIDE}, a smaller image becomes one cell)"
        fail("PseudoMasker", "config.stride", got, expected)
    pixels = pixel_indices("PseudoMasker", targets.points_yx, height, width)
    if config.on_conflict == "error":
        _refuse_shared_pixels(pixels, targets.target)
    _check_values(maps)
    _check_semantic(config, maps.semantic, targets)
    return pixels


def _refuse_shared_pixels(pixels: np.ndarray, target: np.ndarray) -> None:
    order = np.lexsort((target, pixels[:, 1], pixels[:, 0]))
    pixels, target = pixels[order], target[order]
    clash = np.flatnonzero((pixels[1:] == pixels[:-1]).all(1) & (target[1:] != target[:-1]))
    if clash.size:
        i = clash[0]
        got = f"targets {target[i]} and {target[i + 1]} both at (y, x) = ({pixels[i, 0]}, {pixels[i, 1]})"
        fail("PseudoMasker", "targets", got, "one target a pixel (on_conflict='first' lets the first have it)")


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
        if config.unary_weight:
            got = f"{config.unary_weight:g} without a semantic map"
            fail("PseudoMasker", "config.unary_weight", got, "a semantic map, or unary_weight=0")
        if config.within_class:
            fail("PseudoMasker", "semantic", "None", "a semantic map, since within_class=True")
        if config.stuff == "exclude" and not targets.is_thing.all():
            fail("PseudoMasker", "semantic", "None", "a semantic map, or stuff='supply' in the configuration")
        if config.assign == "likelihood":
            fail("PseudoMasker", "semantic", "None", "a semantic map, since assign='likelihood'")
    elif targets.num_targets and targets.category.max() >= len(semantic):
        got, expected = f"category {targets.category.max()}", f"a channel of {len(semantic)}, from 0"
        fail("PseudoMasker", "targets", got, expected)
