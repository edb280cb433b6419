"""Pseudo-masks from a picture and points alone, without any network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import Array
from ..checks import fail
from ..compiled.graphs import outside_graphs
from ..graph.edges import MapTerm
from ..maps import lab_gradient, smooth_lab, structured_edges
from ..types import PointTargets, PseudoMasks
from .config import PseudoMaskConfig
from .masker import PseudoMasker
from .settings import ColorSettings

STEP_COST = 1e-3
"""Keeps paths short across flat regions, whose colour differences are all zero."""


class ColorMasker:
    """Cuts pictures among their targets by colour, see :func:`label_picture`.

    What edges cost is found once for each picture (:meth:`terms`), and serves any points on it.

    Args:
        config: settings or the name of a preset; ``stuff`` is set to ``"supply"``, and a ``step_cost`` of 0 to 0.001.
        colors: how colours become maps. An edge model is read at once.
        function: public function named in errors.
        overrides: fields of the configuration to change.

    Raises:
        ArgumentError: what :class:`~point2mask_ot.PseudoMasker` refuses; a number of ``colors`` out of range.
        FileError: a damaged edge model.
    """

    def __init__(
        self,
        config: PseudoMaskConfig | str = "best",
        colors: ColorSettings | None = None,
        *,
        function: str = "label_picture",
        **overrides: Any,
    ) -> None:
        self.config = PseudoMasker(config, **overrides).config
        self.colors = colors or ColorSettings()
        self.function = function
        self.colors.check_colors(function)
        if self.colors.edge_model is not None:
            from ..maps import structured_forest  # imports OpenCV, which others do without

            structured_forest.load(self.colors.edge_model)
        self._masker = PseudoMasker(self.config, stuff="supply", step_cost=self.config.step_cost or STEP_COST)

    def boundary(self, image: Array) -> Array:
        """(1, H, W) in [0, 1], from the picture."""
        model = self.colors.edge_model
        return lab_gradient(image, self.colors.sigma) if model is None else structured_edges(image, model)

    def terms(self, image: Array, boundary: Array | None = None) -> list[MapTerm]:
        """What edges cost by the picture's colours and a boundary map of its size, by default its own.

        Raises:
            ArgumentError: what :func:`~point2mask_ot.smooth_lab` refuses; a boundary of another size;
                ``assign="likelihood"``.
        """
        refuse_likelihood(self.function, self.config)
        boundary = self.boundary(image) if boundary is None else boundary
        lab = smooth_lab(image, self.colors.sigma)
        if getattr(boundary, "shape", None) != (1, *lab.shape[1:]):
            got = f"shape {tuple(boundary.shape)}" if hasattr(boundary, "shape") else type(boundary).__name__
            fail("label_picture", "edge_map", got, f"{(1, *lab.shape[1:])}, as the picture")
        # As a term of kind "max" the boundary keeps its thin ridges on a coarse grid.
        return [MapTerm(lab, self.colors.color_weight), MapTerm(boundary, self.config.beta, "max")]

    def __call__(self, terms: Sequence[MapTerm], targets: PointTargets, features: Array | None = None) -> PseudoMasks:
        """Label the picture that the terms belong to."""
        return self._masker(None, None, targets, features, terms=terms)


def refuse_likelihood(
    function: str, config: PseudoMaskConfig, *, argument: str = "config", instead: str = "assign='cost'"
) -> None:
    """Refuse settings that only a network's maps can meet.

    Raises:
        ArgumentError: ``assign="likelihood"``.
    """
    if config.assign == "likelihood":
        fail(function, argument, "assign='likelihood' (preset 'official')", f"{instead}: colours name no class")


@outside_graphs
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
    masker = ColorMasker(config, ColorSettings(sigma, color_weight), **overrides)
    return masker(masker.terms(image, edge_map), targets)
