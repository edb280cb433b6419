"""The ``point2mask`` command."""

from __future__ import annotations

from .main import main, summary

__all__ = ["main", "summary"]
