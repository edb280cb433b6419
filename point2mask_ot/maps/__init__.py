"""Task-oriented maps from a picture alone: smoothed CIELAB, its gradient, and structured edges."""

from __future__ import annotations

from .lab import srgb_to_lab
from .pictures import lab_gradient, smooth_lab, structured_edges

__all__ = ["lab_gradient", "smooth_lab", "srgb_to_lab", "structured_edges"]
