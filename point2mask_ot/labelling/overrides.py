"""Settings of ``label_dataset`` as keyword arguments, for editors and type checkers.

A test holds the names and types to those of the fields of :class:`.settings.DatasetSettings` and of
:class:`~point2mask_ot.PseudoMaskConfig`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..files.pictures import Exif
from ..masks.overrides import ColorOverrides
from .settings import Engine, MapFunction, Output
from .sizes import Sizes


class DatasetOverrides(ColorOverrides, total=False):
    """Fields of :class:`.settings.DatasetSettings`, which documents them, and those of the configuration."""

    exif: Exif | None
    levels: tuple[float, float] | None
    maps: str | os.PathLike[str] | MapFunction | None
    add_colors: bool
    sizes: Sizes
    output: Output
    max_pixels: int
    truth: str | os.PathLike[str] | None
    split: str
    engine: Engine
    workers: int | None
    limit: int | None
    only: str | os.PathLike[str] | Sequence[str] | None
    shard: str | tuple[int, int] | None
    merge: bool
    max_errors: int | None
    follow_links: bool
    fresh: bool
    thumbnails: bool
    progress: bool
