"""The settings of the page. The command line is made from them, so that they need no torch to be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..checks import check_integer
from ..files.pictures import PictureSettings
from ..masks.settings import ColorSettings

NAME = "annotate"


@dataclass(frozen=True)
class AnnotateSettings(PictureSettings, ColorSettings):
    """What the page begins with, and how pictures are labelled."""

    points: str | os.PathLike[str] | None = None
    """JSON or CSV, saved in OUT at the start as the points of pictures that have none there."""
    out: str | os.PathLike[str] = "annotations"
    """Folder for the results."""
    only: str | os.PathLike[str] | Sequence[str] | None = None
    """Show only the pictures in this text file, one name a line, in its order: doubtful.txt of a label-dataset, say.

    The suffix of a name may be left out. From Python also a list of names.
    """
    follow_links: bool = False
    """List pictures that are symbolic links out of the folder, too, as `label-dataset` reads them."""
    pixels: int = 2**19
    """Larger pictures are labelled in blocks; so many take well under a second with tens of targets, and seconds with
    hundreds."""

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ArgumentError: naming the field.
        """
        self.check_colors(NAME)
        self.check_pictures(NAME)
        check_integer(NAME, "pixels", self.pixels, minimum=1)
