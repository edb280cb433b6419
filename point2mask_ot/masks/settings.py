"""Settings that need no torch to be read: the command line shows them before anything heavy is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..checks import check_number


@dataclass(frozen=True)
class ColorSettings:
    """How a picture's colours stand in for a network's maps."""

    sigma: float = 1.0
    """Smoothing of the colours, in pixels."""
    color_weight: float = 1.0
    """Weight of the colour difference."""
    edge_model: str | os.PathLike[str] | None = None
    """OpenCV structured-edge model that finds boundaries, in place of the colours' gradient."""

    def check(self, function: str) -> None:
        """Refuse numbers out of range in the name of a public function.

        Raises:
            ArgumentError: naming the field.
        """
        check_number(function, "sigma", self.sigma, minimum=0)
        check_number(function, "color_weight", self.color_weight, minimum=0)
