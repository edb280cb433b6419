"""Costs from random walks instead of shortest paths, by multigrid."""

from __future__ import annotations

from .costs import random_walk_costs

__all__ = ["random_walk_costs"]
