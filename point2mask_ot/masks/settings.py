"""Settings that need no torch to be read: the command line shows them before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any, Literal

from ..checks import ArgumentTypeError, check_number, suggestion

Preset = Literal["best", "paper", "official"]
Conflict = Literal["error", "first"]
Border = Literal["free", "background"]


@dataclass(frozen=True)
class ColorSettings:
    """How colours stand in for a network's maps"""

    sigma: float = 1.0
    """Smoothing of the colours, in pixels."""
    color_weight: float = 1.0
    """Weight of the colour difference."""
    edge_model: str | os.PathLike[str] | None = field(default=None, metadata={"says": ("structured_edges",)})
    """OpenCV structured-edge model that finds boundaries, in place of the colours' gradient."""

    def check_colors(self, function: str) -> None:
        """Refuse numbers out of range in the name of a public function.

        Raises:
            ArgumentError: naming the field.
        """
        check_number(function, "sigma", self.sigma, minimum=0)
        check_number(function, "color_weight", self.color_weight, minimum=0)


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a setting that is unknown."""
    return " (a preset is named by `config`)" if name == "preset" else suggestion(name, names)


def sort_changes(function: str, changes: Mapping[str, Any], *records: type) -> list[dict[str, Any]]:
    """Give every change to the record that has a field of its name.

    Args:
        function: public function named in errors.
        changes: values by name.
        records: dataclasses without a name in common.

    Raises:
        ArgumentTypeError: a name that no record has; the message suggests the nearest.
    """
    names = [[own.name for own in fields(record)] for record in records]
    for name in changes:
        if not any(name in own for own in names):
            kinds = " or ".join(record.__name__ for record in records)
            expected = f"a field of {kinds}" + nearest(name, chain(*names))
            raise ArgumentTypeError(function, name, "an unknown setting", expected)
    return [{name: changes[name] for name in own if name in changes} for own in names]
