"""Settings of Algorithm 1 as keyword arguments, for editors and type checkers.

A test holds the names and types to those of the fields of :class:`~point2mask_ot.PseudoMaskConfig`.
"""

from __future__ import annotations

import os
from typing import Literal, TypedDict

from ..capacity import CapacityRule


class ConfigOverrides(TypedDict, total=False):
    """Fields of :class:`~point2mask_ot.PseudoMaskConfig`, which documents them."""

    stride: int
    beta: float
    feature_weight: float
    step_cost: float
    edge_power: float
    cost: Literal["auto", "path", "walk"]
    spacing_cost: float
    within_class: bool
    stuff: Literal["exclude", "supply"]
    presence: bool
    point_radius: int
    point_overlap: Literal["nearest", "all"]
    min_probability: float
    demand: Literal["things", "all"]
    assign: Literal["cost", "likelihood"]
    capacity: str | CapacityRule
    centroid_rounds: int
    centroid_of: Literal["cell", "target"]
    keep_points: bool
    compactness: float
    reach: float | None
    border: Literal["free", "background"]
    unary_weight: float
    typical_cost: float | None
    method: Literal["newton", "sinkhorn", "exact", "minimum"]
    reg: float
    max_iter: int | None
    tol: float | None
    tau: float | None
    marginal_floor: float
    claim_points: bool
    floor_points: bool
    on_conflict: Literal["error", "first"]
    box_from: Literal["mask", "component"]
    empty_box: Literal["skip", "point", "centre"]
    backend: str


class ColorOverrides(ConfigOverrides, total=False):
    """Those, and the fields of :class:`.settings.ColorSettings`."""

    sigma: float
    color_weight: float
    edge_model: str | os.PathLike[str] | None
