"""The 8-connected pixel graph: what its edges cost (Eq. 2-3), and regions of pixels on it."""

from __future__ import annotations

from .edges import MapTerm, edge_costs
from .grid import FORWARD_OFFSETS, pair_slices

__all__ = ["FORWARD_OFFSETS", "MapTerm", "edge_costs", "pair_slices"]
