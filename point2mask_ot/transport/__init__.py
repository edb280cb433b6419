"""Entropic and exact optimal transport from a few suppliers to many pixels."""

from __future__ import annotations

from .entry import sinkhorn, solve

__all__ = ["sinkhorn", "solve"]
