"""Settings of the page as keyword arguments, for editors and type checkers.

A test holds the names and types to those of the fields of :class:`.settings.AnnotateSettings` and of
:class:`~point2mask_ot.PseudoMaskConfig`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..files.pictures import Exif
from ..masks.overrides import ColorOverrides


class PageOverrides(ColorOverrides, total=False):
    """Fields of :class:`.settings.AnnotateSettings`, which documents them, and those of the configuration."""

    exif: Exif | None
    levels: tuple[float, float] | None
    points: str | os.PathLike[str] | None
    out: str | os.PathLike[str]
    only: str | os.PathLike[str] | Sequence[str] | None
    follow_links: bool
    pixels: int
