"""Options that several commands share: how masks are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from ..masks.settings import Border, Conflict, Preset
from .options import Option


@dataclass(frozen=True)
class MaskOptions:
    """Algorithm 1 of Point2Mask"""

    config: Annotated[Preset, Option("preset", says=("annotate.preset", "PseudoMaskConfig.name"))] = "best"
    """Named settings; official needs maps that name classes."""
    stride: int | None = None
    """Pixels per cell of the graph (default: the preset's)."""
    beta: float | None = None
    """Weight of the boundary map (default: the preset's)."""
    border: Border | None = None
    """First give the background several clicks; background: all of the border is background too (default: free)."""
    reach: float | None = None
    """How far from its points a thing of known size may go, in radii of a disc of that size (default: any)."""
    compactness: float | None = None
    """How much dearer far pixels become to a thing whose known size contradicts the count (default: the preset's)."""
    unary_weight: float | None = None
    """Weight of a semantic map's doubt that a pixel is of the target's class (default: 0)."""
    on_conflict: Conflict | None = None
    """What to do where two targets have a point on one pixel: refuse, or let the first have it (default: error)."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of the preset that the command line changes."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "config"}
        return {name: value for name, value in given.items() if value is not None}
