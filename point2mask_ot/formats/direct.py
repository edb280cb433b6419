"""Other tools' files in the place of our own points files, where their content says what they are."""

from __future__ import annotations

import os

from ..files.io import origin_of
from ..panoptic import LabelledPoints, read_points
from ..panoptic.points import of_picture, read_all_targets
from ..types import PointTargets
from .guess import format_of
from .imports import read_marks
from .marks import Names

_READ = "read_points"


def points_on(path: str | os.PathLike[str], *, image: str, shape: tuple[int, int]) -> LabelledPoints:
    """The points on one picture, as :func:`~point2mask_ot.read_points` reads them, from a file of any format.

    Args:
        path: the file.
        image: the picture's file name or path.
        shape: (H, W) of the picture.

    Raises:
        FileError: as :func:`read_points` and :func:`~point2mask_ot.import_points`; another size of the picture than
            the file says.
    """
    origin = origin_of(_READ, "path", path)
    if format_of(origin) is None:
        return read_points(path, image=image, shape=shape)
    found = read_marks(origin, Names())
    alone = len(found.pictures) == 1
    named = {picture.name if alone else picture.file_name: picture for picture in found.pictures}
    picture = of_picture(origin, named, image)
    if picture.shape not in (None, shape):
        origin.fail(f"points on a picture of HxW {picture.shape}", f"those of the picture, {shape}")
    return LabelledPoints(picture.targets, found.categories)


def all_targets(path: str | os.PathLike[str]) -> list[PointTargets]:
    """The targets of every picture in a file of any format."""
    origin = origin_of(_READ, "path", path)
    if format_of(origin) is None:
        return read_all_targets(path)
    return [picture.targets for picture in read_marks(origin, Names()).pictures]
