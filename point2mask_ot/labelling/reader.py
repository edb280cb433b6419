"""A picture, its points, and its finished labels, from their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import fail
from ..files.io import Origin
from ..files.names import spelled_there
from ..files.pictures import picture_of, read_label_png
from ..files.results import PICTURE
from ..panoptic import PanopticImage, Segment, safe_join, sample_points
from ..panoptic.coco import decode_ids
from ..panoptic.paint import Paint
from ..types import PointTargets
from .job_settings import JobSettings
from .points_file import paint_in, targets_of
from .table import Row

_NAME = "label_dataset"


class Reader:
    """Reads what belongs to a picture.

    Args:
        settings: of the job.
        root: folder of the results.
    """

    def __init__(self, settings: JobSettings, root: Path) -> None:
        self.settings, self.root = settings, root

    def picture(self, row: Row) -> np.ndarray:
        """(H, W, 3) uint8, see :func:`~point2mask_ot.read_picture`; of the size that its points were made on."""
        limit, path = self.settings.max_pixels, self.path(row)
        origin = Origin(_NAME, "images", path)
        picture = picture_of(origin, max_pixels=limit, **self.reading)
        size, told = list(picture.shape[:2]), row.body.get("shape") if isinstance(row.body, dict) else None
        if told not in (None, size):
            hint = " (x and y swapped would fit)" if told == size[::-1] else ""  # as `explaining_turns` knows
            origin.fail(f"HxW {size}", f"{told}, as the points file says{hint}")
        sizes = row.body.get("sizes", {}).get("size", ()) if isinstance(row.body, dict) else ()
        most, pixels = max((each for each in sizes if each > 0), default=0), size[0] * size[1]  # NaN where nobody says
        if most > pixels:
            fail(_NAME, "points", f"{row.name}: a size of {most:.6g} pixels", f"at most the {pixels} of the picture")
        return picture

    def refuse_other(self, row: Row, digest: str) -> None:
        """Refuse a picture whose file is not the one that a person has clicked on, where the page has noted which.

        Args:
            row: what the source of the points says of it.
            digest: SHA-256 of its file.
        """
        if isinstance(row.body, dict) and row.body.get(PICTURE, digest) != digest:
            got = f"{row.name}: another file than the one that its points were made on"
            fail(_NAME, "images", got, "the pictures that were clicked on, or points without `picture_sha256`")

    @property
    def reading(self) -> dict[str, Any]:
        """How pictures are read."""
        return self.settings.reading(from_masks=self.settings.sampling is not None)

    def path(self, row: Row) -> Path:
        """Where a picture lies, links followed if they stay in the folder or may leave it."""
        images, follow = self.settings.images, self.settings.follow_links
        name = spelled_there(images, row.name)
        return safe_join(images, name, follow_links=follow, function=_NAME, argument="images")

    def targets(self, row: Row, size: tuple[int, ...]) -> PointTargets:
        """The points of the file, which lie in a picture of (H, W), or drawn from the true masks."""
        sampling, source, categories = self.settings.sampling, self.settings.sampled_from, self.settings.categories
        if sampling is None or source is None:
            targets = targets_of(row.body, categories)
            _refuse_outside(row, targets, size)
            return targets
        truth = source.read(row.body, categories)
        how = {"n": sampling.n, "seed": sampling.seed, "sampler": sampling.sampler}
        return sample_points(truth, categories, stuff=True, **how).targets  # type: ignore[arg-type]

    def paint(self, row: Row) -> Paint | None:
        """What a person has painted on a picture."""
        return paint_in(Origin(_NAME, "points", Path(row.name)), row.body) if self.settings.sampling is None else None

    def labels(self, record: Mapping[str, Any], row: Row) -> PanopticImage:
        """The labels of a picture that is done; segment id k + 1 is target k."""
        things = {category.id: category.is_thing for category in self.settings.categories}
        paths = [safe_join(self.root, name, function=_NAME, argument="out") for name in record["files"]]
        origins = [Origin(_NAME, "out", path) for path in paths]
        infos = [(info["id"], info["category_id"]) for info in record["segments"]]
        limit = self.settings.max_pixels
        if self.settings.output == "coco":
            id_map = decode_ids(read_label_png(origins[0], "RGB", limit))
        else:
            classes, objects = (read_label_png(origin, "P", limit) for origin in origins)
            id_map = _ids_of_voc(classes, objects, infos, things)
        segments = tuple(Segment(number, category, things[category]) for number, category in infos)
        return PanopticImage(id_map, segments, row.image_id, row.name)


def _refuse_outside(row: Row, targets: PointTargets, size: tuple[int, ...]) -> None:
    pixels = np.floor(targets.points_yx + 0.5)  # as `pixel_indices` rounds, whose words are those of arrays
    outside = ((pixels < 0) | (pixels >= size)).any(1)
    if outside.any():
        y, x = targets.points_yx[outside][0].tolist()
        swapped = ((pixels >= 0) & (pixels < size[::-1])).all()
        hint = " (x and y swapped would fit)" if swapped else ""  # as `explaining_turns` knows
        expected = f"points inside the picture, which is {size[1]} wide and {size[0]} high{hint}"
        fail(_NAME, "points", f"{row.name}: x={x:g}, y={y:g}", expected)


def _ids_of_voc(
    classes: np.ndarray, objects: np.ndarray, segments: list[tuple[int, int]], is_thing: Mapping[int, bool]
) -> np.ndarray:
    """VOC's two maps as ids: objects are numbered in the order of the things among the segments."""
    ids = np.zeros(classes.shape, np.int64)
    things = [number for number, category in segments if is_thing[category]]
    for index, number in enumerate(things, start=1):
        ids[objects == index] = number
    for number, category in segments:
        if not is_thing[category]:
            ids[(objects == 0) & (classes == category)] = number
    return ids
