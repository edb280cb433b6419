"""The ``point2mask`` command."""

from __future__ import annotations

from .label import summary
from .main import main

__all__ = ["main", "summary"]
