"""Pseudo-masks from a picture and points alone, without any network."""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..checks import fail
from ..graph.edges import MapTerm
from ..maps import lab_gradient, smooth_lab
from ..types import PointTargets, PseudoMasks
from .config import PseudoMaskConfig
from .masker import PseudoMasker

STEP_COST = 1e-3
"""Keeps paths short across flat regions, whose colour differences are all zero."""


def label_picture(
    image: Array,
    targets: PointTargets,
    config: PseudoMaskConfig | str = "best",
    *,
    sigma: float = 1.0,
    color_weight: float = 1.0,
    edge_map: Array | None = None,
    **overrides: Any,
) -> PseudoMasks:
    """Cut a picture among its targets by colour: smoothed CIELAB and its gradient stand in for a network's maps.

    Every target supplies labels, things and stuff alike, so give the background points of its own. An edge costs
    the L1 difference of the smoothed CIELAB (L, a, b over 100), ``beta`` times the larger boundary value, and a
    small constant.

    Args:
        image: sRGB picture: NumPy (H, W, 3) uint8 or float in [0, 1], or torch (3, H, W) float.
        targets: the point-labelled targets.
        config: settings or the name of a preset; ``stuff`` is set to ``"supply"``, and a ``step_cost`` of 0 to 0.001.
        sigma: standard deviation of the smoothing, in pixels.
        color_weight: weight of the colour difference, >= 0.
        edge_map: (1, H, W) boundary map in [0, 1] in place of the CIELAB gradient, for example
            :func:`~point2mask_ot.structured_edges`.
        overrides: fields of the configuration to change.

    Returns:
        :class:`~point2mask_ot.PseudoMasks`.

    Raises:
        ArgumentError: what :func:`~point2mask_ot.smooth_lab` and :class:`~point2mask_ot.PseudoMasker` refuse; an
            ``edge_map`` of another size; ``assign="likelihood"`` (preset ``"official"``), which needs classes.

    Fails where an object is made of several colours, or shares its neighbour's: colour is all it sees.

    Example:
        >>> import numpy as np
        >>> picture = np.zeros((10, 20, 3), np.uint8); picture[:, 12:] = 200
        >>> masks = label_picture(picture, PointTargets([(5, 2), (5, 18)]), capacity="nearest").masks
        >>> masks.sum((1, 2)).tolist()
        [120, 80]
    """
    settings = PseudoMasker(config, **overrides).config
    if settings.assign == "likelihood":
        fail(
            "label_picture", "config", "assign='likelihood' (preset 'official')", "assign='cost': colours name no class"
        )
    settings = settings.changed(stuff="supply", step_cost=settings.step_cost or STEP_COST)
    boundary = lab_gradient(image, sigma) if edge_map is None else edge_map
    terms = picture_terms(image, boundary, beta=settings.beta, sigma=sigma, color_weight=color_weight)
    return PseudoMasker(settings)(None, None, targets, terms=terms)


def picture_terms(image: Array, boundary: Array, *, beta: float, sigma: float, color_weight: float) -> list[MapTerm]:
    """What edges cost by the picture's colours and a boundary map of its size."""
    lab = smooth_lab(image, sigma)
    if getattr(boundary, "shape", None) != (1, *lab.shape[1:]):
        got = f"shape {tuple(boundary.shape)}" if hasattr(boundary, "shape") else type(boundary).__name__
        fail("label_picture", "edge_map", got, f"{(1, *lab.shape[1:])}, as the picture")
    # As a term of kind "max" the boundary keeps its thin ridges on a coarse grid.
    return [MapTerm(lab, color_weight), MapTerm(boundary, beta, "max")]
