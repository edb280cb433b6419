"""Pseudo-masks from a picture and points alone, without any network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch

from ..arrays import Array, as_optional_tensors, check_floating
from ..checks import fail, in_the_name_of, require_all, values_at_hand
from ..compiled.graphs import outside_graphs
from ..graph.edges import MapTerm, check_terms
from ..maps import lab_gradient, smooth_lab, structured_edges
from ..maps.pictures import lab_with_gradient
from ..types import PointTargets, PseudoMasks
from .config import PseudoMaskConfig
from .masker import PseudoMasker, label_maps, warn_of_no_background
from .overrides import ConfigOverrides
from .settings import ColorSettings

STEP_COST = 1e-3
"""Keeps paths short across flat regions, whose colour differences are all zero."""
_BY_CLASS = ("presence", "point_radius", "point_overlap", "min_probability", "demand", "unary_weight")
"""Settings of the class maps."""
_TOLERANCE = 1e-3


class ColorMasker:
    """Cuts pictures among their targets by colour, see :func:`label_picture`.

    What edges cost is found once for each picture (:meth:`terms`), and serves any points on it.

    Args:
        config: settings or the name of a preset; ``stuff`` is set to ``"supply"``, and a ``step_cost`` of 0 to 0.001.
        colors: how colours become maps. An edge model is read at once.
        function: public function named in errors.
        edge_map: what it calls a boundary map that is given.
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
        edge_map: str = "edge_map",
        **overrides: Unpack[ConfigOverrides],
    ) -> None:
        self.config = PseudoMasker(config, **overrides).config
        self.colors = colors or ColorSettings()
        self.function, self.edge_map = function, edge_map
        self.colors.check_colors(function)
        if self.colors.edge_model is not None:
            from ..maps import structured_forest  # imports OpenCV, which others do without

            structured_forest.load(self.colors.edge_model)
        self._by_color = self.config.changed(stuff="supply", step_cost=self.config.step_cost or STEP_COST)

    def boundary(self, image: Array) -> Array:
        """(1, H, W) in [0, 1], from the picture."""
        model = self.colors.edge_model
        return lab_gradient(image, self.colors.sigma) if model is None else structured_edges(image, model)

    def terms(self, image: Array, boundary: Array | None = None) -> list[MapTerm]:
        """What edges cost by the picture's colours and a boundary map of its size, by default its own.

        Raises:
            ArgumentError: what :func:`~point2mask_ot.smooth_lab` refuses; a boundary of another size, or with values
                outside [0, 1].
        """
        if boundary is None and self.colors.edge_model is None:
            lab, boundary = lab_with_gradient("smooth_lab", image, self.colors.sigma)
        else:
            lab = smooth_lab(image, self.colors.sigma)
            if boundary is None:
                boundary = self.boundary(image)
            else:
                self._check_boundary(boundary, (1, *lab.shape[1:]))
        # As a term of kind "max" the boundary keeps its thin ridges on a coarse grid.
        return [MapTerm(lab, self.colors.color_weight), MapTerm(boundary, self.config.beta, "max")]

    def _check_boundary(self, boundary: Any, shape: tuple[int, ...]) -> None:
        if getattr(boundary, "shape", None) != shape:
            got = f"shape {tuple(boundary.shape)}" if hasattr(boundary, "shape") else type(boundary).__name__
            fail(self.function, self.edge_map, got, f"{shape}, as the picture")
        (tensor,), _ = as_optional_tensors(self.function, **{self.edge_map: boundary})
        assert tensor is not None
        check_floating(self.function, self.edge_map, tensor)
        low, high = torch.aminmax(tensor)
        expected = "a boundary map of finite values in [0, 1]"
        require_all(self.function, self.edge_map, torch.isfinite(low + high), "NaN or infinity", expected)
        got = f"values from {float(low):.4g} to {float(high):.4g}" if values_at_hand(tensor) else ""
        require_all(self.function, self.edge_map, (low >= -_TOLERANCE) & (high <= 1 + _TOLERANCE), got, expected)

    def __call__(
        self,
        terms: Sequence[MapTerm],
        targets: PointTargets,
        features: Array | None = None,
        semantic: Array | None = None,
    ) -> PseudoMasks:
        """Label the picture that the terms belong to.

        Without a semantic map every target supplies; with one the configuration says which do, and nothing in it is
        set to another value.

        Raises:
            ArgumentError: what :class:`~point2mask_ot.PseudoMasker` refuses; ``assign="likelihood"`` without a
                semantic map.
        """
        if semantic is not None:
            return label_maps(self.config, semantic, None, targets, features, terms=terms)
        refuse_likelihood(self.function, self.config)
        return label_maps(self._by_color, None, None, targets, features, terms=terms)


def refuse_likelihood(
    function: str,
    config: PseudoMaskConfig,
    *,
    argument: str = "config",
    instead: str = "a semantic map, or assign='cost'",
) -> None:
    """Refuse settings that only a network's maps can meet.

    Raises:
        ArgumentError: ``assign="likelihood"``.
    """
    if config.assign == "likelihood":
        fail(function, argument, "assign='likelihood' (preset 'official')", f"{instead}: colours name no class")


def _refuse_other_sizes(maps: Mapping[str, Any], picture: tuple[int, ...]) -> None:
    """Beside a picture's own maps others would be taken for right, and those refused."""
    for name, given in maps.items():
        shape = None if given is None else tuple(given.shape)
        if shape and (len(shape) != len(picture) or shape[1:] != picture[1:]):
            expected = f"(channels, {', '.join(map(str, picture[1:]))}), as the picture"
            fail("label_picture", name, f"shape {shape}", expected)


def refuse_idle(
    function: str,
    config: PseudoMaskConfig | str,
    changes: Mapping[str, Any],
    *,
    features: bool = False,
    semantic: bool = False,
) -> None:
    """Refuse changes to a configuration that have no effect without a map that is not there.

    Args:
        function: public function named in errors.
        config: what is changed.
        changes: values by field.
        features: there is a feature map.
        semantic: there is a semantic map.

    Raises:
        ArgumentError: naming the field.
    """
    before = PseudoMasker(config).config
    if not semantic and changes.get("stuff", "supply") != "supply":
        fail(
            function, "stuff", repr(changes["stuff"]), "'supply', or a semantic map: without one every target supplies"
        )
    absent = dict.fromkeys(() if semantic else _BY_CLASS, "a semantic map")
    absent |= {} if features else {"feature_weight": "a feature map"}
    for name, value in changes.items():
        needed = absent.get(name)
        if needed and value != getattr(before, name):
            fail(function, name, f"{value!r}, which has no effect", f"{needed} beside it, or `{name}` left out")


@outside_graphs
def label_picture(
    image: Array,
    targets: PointTargets,
    config: PseudoMaskConfig | str = "best",
    *,
    sigma: float = 1.0,
    color_weight: float = 1.0,
    edge_map: Array | None = None,
    semantic: Array | None = None,
    features: Array | None = None,
    terms: Sequence[MapTerm] = (),
    **overrides: Unpack[ConfigOverrides],
) -> PseudoMasks:
    """Cut a picture among its targets by colour: smoothed CIELAB and its gradient stand in for a network's maps.

    Every target supplies labels, things and stuff alike, so give the background points of its own. An edge costs
    the L1 difference of the smoothed CIELAB (L, a, b over 100), ``beta`` times the larger boundary value, and a
    small constant. A network's maps of the picture's size enter beside the colours: features, any terms, and class
    probabilities, with which the configuration alone says who supplies (``color_weight`` weighs the colours then, 0
    leaves them out).

    Args:
        image: sRGB picture: NumPy (H, W, 3) uint8 or float in [0, 1], or torch (3, H, W) float.
        targets: the point-labelled targets.
        config: settings or the name of a preset; ``stuff`` is set to ``"supply"``, and a ``step_cost`` of 0 to 0.001.
        sigma: standard deviation of the smoothing, in pixels.
        color_weight: weight of the colour difference, >= 0.
        edge_map: (1, H, W) boundary map in [0, 1] in place of the CIELAB gradient, for example
            :func:`~point2mask_ot.structured_edges`.
        semantic: (C, H, W) class probabilities; then ``config`` is taken as it is.
        features: (D, H, W) unit vectors, weighed by ``feature_weight``.
        terms: further maps, see :class:`~point2mask_ot.MapTerm`.
        overrides: fields of the configuration to change.

    Returns:
        :class:`~point2mask_ot.PseudoMasks`.

    Raises:
        ArgumentError: what :func:`~point2mask_ot.smooth_lab` and :class:`~point2mask_ot.PseudoMasker` refuse; a map
            of another size than the picture, an ``edge_map`` of another range; without a semantic map
            ``assign="likelihood"`` (preset ``"official"``), which needs classes; an override that has no effect without
            a map that is not there.

    Warns:
        BackgroundWarning: all targets are things and nothing limits them, so that one of them has to own every pixel.
        ConvergenceWarning: see :func:`~point2mask_ot.solve`.

    Fails where an object is made of several colours, or shares its neighbour's: colour is all it sees.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import PointTargets
        >>> picture = np.zeros((10, 20, 3), np.uint8); picture[:, 12:] = 200
        >>> targets = PointTargets([(5, 2), (5, 18)], is_thing=[True, False])
        >>> masks = label_picture(picture, targets, capacity="nearest").masks
        >>> masks.sum((1, 2)).tolist()
        [120, 80]
    """
    name = "label_picture"
    with in_the_name_of(name, "smooth_lab", "PseudoMasker"):
        masker = ColorMasker(config, ColorSettings(sigma, color_weight), **overrides)
        if semantic is None:
            refuse_likelihood(name, masker.config)
        refuse_idle(name, config, overrides, features=features is not None, semantic=semantic is not None)
        given = check_terms(name, terms)  # first, so that an error numbers them as the caller does
        maps = {"semantic": semantic, "features": features}
        maps |= {f"terms[{i}]": term.map for i, term in enumerate(given)}
        as_optional_tensors(name, image=image, edge_map=edge_map, **maps)  # of one family
        own = masker.terms(image, edge_map)
        _refuse_other_sizes(maps, tuple(own[0].map.shape))
        masks = masker([*given, *own], targets, features, semantic)
    warn_of_no_background(name, masks)
    return masks
