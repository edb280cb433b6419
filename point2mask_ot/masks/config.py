"""The switches of Algorithm 1, and the named settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Unpack, get_args, get_origin, get_type_hints

from ..capacity import METHODS, CapacityRule
from ..checks import ArgumentTypeError, check_choice, check_integer, check_number, fail, fail_type
from ..geodesic.backends import BACKENDS
from ..graph.edges import LARGEST_POWER
from ..walks.costs import LEAST_SPACING_COST
from .overrides import ConfigOverrides
from .settings import nearest


@dataclass(frozen=True)
class PseudoMaskConfig:
    """Settings of :class:`~point2mask_ot.PseudoMasker`. The defaults are the preset ``"best"``.

    Args:
        stride: pixels per cell of the grid on which costs are found; 1 is full resolution, the paper uses 16. Above 1
            each target costs a map, which takes longer where they are many.
        beta, feature_weight, step_cost: weights in Eq. 3, see :func:`~point2mask_ot.edge_costs`.
        edge_power: what the sum of Eq. 3 is raised to, see ``power`` there.
        cost: of a pixel to a target: the cheapest ``"path"`` (Eq. 3, the paper), the random ``"walk"``, see
            :func:`~point2mask_ot.random_walk_costs`, or ``"auto"``: the walk in an image where things alone supply
            labels, the path where stuff does, whose few points are too weak a source of walks.
        spacing_cost: of the walk; at least 1e-6.
        within_class: whether a pixel may only go to a target of its most probable class, for class maps that are
            known rather than learned. Classes are walls then; a part of a class without a point goes to the target
            of the class that is nearest by a path across the others. Needs a semantic map and ``stride=1``.
        stuff: ``"exclude"``: things alone supply labels, and pixels whose most probable class is no thing of this
            image take no part; ``"supply"``: every target supplies and every pixel takes part (the paper's text,
            and the only choice without a semantic map).
        presence: set the probability of classes without a target in the image to zero.
        point_radius: probabilities are 1 for the point's class within this Chebyshev distance of it, in pixels.
        point_overlap: where such squares of several classes overlap, the ``"nearest"`` point decides, or ``"all"`` of
            them have probability 1 and the lowest class wins, as in the released code.
        min_probability: a stuff pixel whose largest probability is below is void. Where ``presence`` silences classes,
            it is the probability among those that are left, or the silenced would have a voice in what is void.
        demand: ``"things"`` or ``"all"``: whether stuff pixels are left out of the transport (only with
            ``stuff="exclude"``; ``"all"`` is the released code's first training phase).
        assign: how a pixel chooses among suppliers when regions are counted: least ``"cost"`` (Eq. 4) or
            ``"likelihood"``, (1 - cost / max cost) times class probability (released code).
        capacity: ``"centroid"``, ``"nearest"``, ``"equal"`` or a :class:`~point2mask_ot.capacity.CapacityRule`.
        centroid_rounds: how often regions are recounted from their centroids (Table 6).
        centroid_of: whether several points of a thing move each to the centroid of its own ``"cell"``, or give way to
            the one centroid of their ``"target"`` (released code; the only choice with ``assign="likelihood"``).
        keep_points: whether the points stay beside their centroids when regions are recounted.
        compactness: how much dearer pixels become with the square of the distance from a thing's points, in radii of a
            disc of as many pixels as it should own; as far as sizes that were told (``PointTargets.size``) say that
            counts in this picture are wrong, and where stuff without a size takes the rest.
        reach: such things own nothing farther than so many of these radii, and 3 pixels; None sets no limit.
        border: whether the picture's border is ``"free"`` or ``"background"``: then the first stuff target has points
            along all of it, away from those of things. For pictures whose objects lie inside; a few clicks on the
            background do as much.
        unary_weight: weight of -log(probability of the target's class) in the cost of a pixel to a target, beside costs
            of paths whose scale is ``typical_cost``; meant for ``stuff="supply"`` and a semantic map.
        typical_cost: scale the costs of paths so that the median over pixels of the largest cost is this, which gives
            ``reg`` the same meaning on every picture; None leaves them, and those of walks stay as they are.
        method, reg, max_iter, tol, tau: see :func:`~point2mask_ot.solve`; ``method="minimum"`` gives each pixel to
            its cheapest supplier, without transport (the paper's baseline MC). ``max_iter=None`` leaves the limit to
            the solver. With ``method="sinkhorn"`` and ``tol=None`` exactly ``max_iter`` rounds (default 80) are made.
        marginal_floor: see :func:`~point2mask_ot.sinkhorn`.
        claim_points: whether a point's pixel belongs to its target whatever the plan says (with confidence 1; the
            first target's where several share it).
        floor_points: on a coarse grid, find a point's cell as the released code does.
        on_conflict: ``"error"`` or ``"first"`` when two targets have a point on one pixel.
        box_from: tight around the ``"mask"``, or around the ``"component"`` that holds a point.
        empty_box: for an empty mask ``"skip"`` (NaN), ``"point"`` (around the target's points) or ``"centre"`` (the
            central half of the image, as in the released code).
        backend: of the geodesic distances, see :func:`~point2mask_ot.geodesic_distances`.

    Raises:
        ArgumentError: an unknown choice, a number out of range, a combination that means nothing.
        ArgumentTypeError: a string for a number and the like.

    Example:
        >>> PseudoMaskConfig.preset("paper", stride=8).max_iter
        80
    """

    stride: int = 1
    beta: float = 0.1
    feature_weight: float = 0.1
    step_cost: float = 0.0
    edge_power: float = 2.0
    cost: Literal["auto", "path", "walk"] = "auto"
    spacing_cost: float = 0.3
    within_class: bool = False
    stuff: Literal["exclude", "supply"] = "exclude"
    presence: bool = True
    point_radius: int = 8
    point_overlap: Literal["nearest", "all"] = "nearest"
    min_probability: float = 0.5
    demand: Literal["things", "all"] = "things"
    assign: Literal["cost", "likelihood"] = "cost"
    capacity: str | CapacityRule = "centroid"
    centroid_rounds: int = 3
    centroid_of: Literal["cell", "target"] = "cell"
    keep_points: bool = True
    compactness: float = 4.0
    reach: float | None = None
    border: Literal["free", "background"] = "free"
    unary_weight: float = 0.0
    typical_cost: float | None = 30.0
    method: Literal["newton", "sinkhorn", "exact", "minimum"] = "newton"
    reg: float = 0.1
    max_iter: int | None = None
    tol: float | None = 1e-7
    tau: float | None = None
    marginal_floor: float = 0.0
    claim_points: bool = True
    floor_points: bool = False
    on_conflict: Literal["error", "first"] = "error"
    box_from: Literal["mask", "component"] = "mask"
    empty_box: Literal["skip", "point", "centre"] = "skip"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            _check(name, getattr(self, name), kind)
        if self.within_class and self.stride != 1:
            fail("PseudoMaskConfig", "within_class", "True", f"False, since stride={self.stride}")
        if self.assign == "likelihood" and self.centroid_of == "cell":
            fail("PseudoMaskConfig", "centroid_of", "'cell'", "'target', since assign='likelihood'")
        entropic = self.method in ("newton", "sinkhorn")
        if entropic and self.reg == 0:
            fail("PseudoMaskConfig", "reg", 0, f"reg > 0 for method '{self.method}' (or method='exact')")
        if self.tau is not None and not entropic:
            fail("PseudoMaskConfig", "tau", self.tau, f"None for method '{self.method}'")
        if self.marginal_floor and self.method != "sinkhorn":
            fail("PseudoMaskConfig", "marginal_floor", self.marginal_floor, f"0 for method '{self.method}'")

    @classmethod
    def preset(cls, name: str = "best", **overrides: Unpack[ConfigOverrides]) -> PseudoMaskConfig:
        """A named setting with some switches changed.

        Args:
            name: ``"best"``, full resolution, converged transport, and the costs and capacities that do best on real
                pictures (benchmarks/quality); ``"paper"``, the text of the paper, and where it is silent the released
                code without its bugs; ``"official"``, the released code after its first training phase (that phase:
                ``capacity="nearest"``, ``assign="cost"``, ``demand="all"``). Kept from this library also there: a
                centroid is refused unless the region holds any of the target's points (not only the first), a
                refused target keeps all its points, ``semantic`` gives a thing's pixels the thing's class, and
                ``min_probability`` is compared among the classes present.
            overrides: fields of this class.

        Raises:
            ArgumentError: an unknown preset; the message suggests the nearest.
            ArgumentTypeError: an unknown field; the same.
        """
        check_choice("PseudoMaskConfig", "name", name, _PRESETS)
        _refuse_unknown(overrides)
        return cls(**{**_PRESETS[name], **overrides})

    def changed(self, **overrides: Unpack[ConfigOverrides]) -> PseudoMaskConfig:
        """These settings with some changed.

        Raises:
            ArgumentTypeError: an unknown setting; the message suggests the nearest.
        """
        _refuse_unknown(overrides)
        return dataclasses.replace(self, **overrides) if overrides else self


_KINDS: dict[str, Any] = get_type_hints(PseudoMaskConfig)
_CHOICES = {name: get_args(kind) for name, kind in _KINDS.items() if get_origin(kind) is Literal}
_CHOICES |= {"capacity": METHODS, "backend": BACKENDS}
_RANGES: dict[str, dict[str, Any]] = {
    "stride": {"minimum": 1},
    "edge_power": {"minimum": 1, "maximum": LARGEST_POWER},
    "spacing_cost": {"minimum": LEAST_SPACING_COST},
    "min_probability": {"minimum": 0, "maximum": 1},
    "centroid_rounds": {"minimum": 1},
    "reach": {"above": 0},
    "typical_cost": {"above": 0},
    "max_iter": {"minimum": 1},
    "tol": {"above": 0},
    "tau": {"above": 0},
}
"""Of the numbers that need not only be >= 0."""


def _refuse_unknown(names: Iterable[str]) -> None:
    for name in names:
        if name not in _KINDS:
            expected = "a field of the class" + nearest(name, _KINDS)
            raise ArgumentTypeError("PseudoMaskConfig", name, "an unknown setting", expected)


def _check(name: str, value: object, kind: Any) -> None:
    """Refuse a value that is not of its field's annotated kind, or out of its range."""
    either = get_args(kind)
    if name in _CHOICES:
        if not (name == "capacity" and callable(value)):
            check_choice("PseudoMaskConfig", name, value, _CHOICES[name])
    elif kind is bool:
        if not isinstance(value, bool):
            fail_type("PseudoMaskConfig", name, value, "a bool")
    elif value is not None or type(None) not in either:
        check = check_integer if int in (kind, *either) else check_number
        check("PseudoMaskConfig", name, value, **_RANGES.get(name, {"minimum": 0}))


_PAPER: dict[str, Any] = {
    "stride": 16,
    "edge_power": 1.0,
    "cost": "path",
    "centroid_rounds": 1,
    "keep_points": False,
    "method": "sinkhorn",
    "reg": 1e-3,
    "max_iter": 80,
    "tol": None,
    "typical_cost": None,
    "claim_points": False,
}
_PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "paper": _PAPER,
    "official": {
        **_PAPER,
        "assign": "likelihood",
        "centroid_of": "target",
        "point_overlap": "all",
        "marginal_floor": 1e-8,
        "floor_points": True,
        "empty_box": "centre",
    },
}
