"""A page on this machine where a person clicks points on a picture and sees its pseudo-masks."""

from __future__ import annotations

from ._server import serve

__all__ = ["serve"]
