"""Costs that leave out the suppliers that cannot matter to a pixel."""

from __future__ import annotations

from .costs import NearestCosts

__all__ = ["NearestCosts"]
