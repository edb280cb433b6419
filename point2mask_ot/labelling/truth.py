"""True masks: to draw points from, and to score labels against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import fail
from ..files.io import Origin, reason_of
from ..files.pictures import upright
from ..panoptic import (
    MAX_PIXELS,
    Category,
    CocoPanoptic,
    ImageEntry,
    PanopticDataset,
    PanopticImage,
    Segment,
    VocPanoptic,
    read_coco_panoptic,
    read_voc,
    safe_join,
)
from ..panoptic.clicks import in_channel_order
from ..panoptic.evaluator import mean_iou, picture_counts
from ..panoptic.images import check_segments
from ..panoptic.quality import PanopticQuality, quality_of_counts
from .points_file import category_list
from .table import Table, build_table

_NAME = "label_dataset"


@dataclass(frozen=True)
class Truth:
    """Where true masks lie. Small, so that it travels to the workers; entries come from a table.

    Attributes:
        path: the JSON or the folder.
        split: of a folder in VOC's layout.
        argument: named in errors.
        follow_links: out of its folders.
    """

    path: Path
    split: str
    argument: str
    follow_links: bool = False

    @property
    def is_coco(self) -> bool:
        """COCO panoptic, as opposed to VOC's layout."""
        return self.path.suffix.lower() == ".json"

    @property
    def pictures(self) -> Path | None:
        """The folder of the photographs, where the layout says it."""
        return None if self.is_coco else self.path / "JPEGImages"

    def digest(self) -> str:
        """Of the file that lists the pictures."""
        origin = Origin(_NAME, self.argument, self.path)
        if self.is_coco:
            return file_digest(origin)
        how = {"follow_links": self.follow_links, "function": _NAME, "argument": self.argument}
        names = safe_join(self.path, f"ImageSets/Segmentation/{self.split}.txt", **how)  # type: ignore[arg-type]
        return file_digest(Origin(_NAME, self.argument, names))

    def index(self, path: Path, source: str) -> Table:
        """Keep the entry of every picture in a table. A COCO JSON is read whole once for that."""
        dataset: PanopticDataset
        if self.is_coco:
            dataset = read_coco_panoptic(self.path, self.path.with_suffix(""))
        else:
            dataset = read_voc(self.path, self.split, follow_links=self.follow_links)
        about = {"categories": category_list(in_channel_order(dataset.categories))}
        rows = ((entry.id, entry.file_name, {"entry": _entry_values(entry)}) for entry in dataset.images)
        return build_table(Origin(_NAME, self.argument, self.path), path, source, about, rows)

    def mask_paths(self, body: Any) -> list[Path]:
        """The files that hold the true masks of one picture."""
        mask_file = body["entry"][3]
        if self.is_coco:
            return [self.path.with_suffix("") / mask_file]
        return [self.path / kind / mask_file for kind in ("SegmentationClass", "SegmentationObject")]

    def read(self, body: Any, categories: Sequence[Category]) -> PanopticImage:
        """The true segments of one picture.

        Raises:
            FileError: see :func:`~point2mask_ot.read_coco_panoptic` and :func:`~point2mask_ot.read_voc`.
        """
        number, name, size, mask_file, segments = body["entry"]
        listed = tuple(Segment(*values) for values in segments)
        entry = ImageEntry(number, name, tuple(size) if size else None, mask_file, listed)
        origin = Origin(_NAME, self.argument, self.path)
        given = (tuple(categories), (entry,), origin, None, MAX_PIXELS)
        kind, folder = (CocoPanoptic, self.path.with_suffix("")) if self.is_coco else (VocPanoptic, self.path)
        return kind(*given, folder, follow_links=self.follow_links)[0]


def file_digest(origin: Origin) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with open(origin.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        origin.fail(reason_of(error), "a readable file", error)


def _entry_values(entry: ImageEntry) -> list[Any]:
    segments = [[s.id, s.category_id, s.is_thing, s.is_crowd] for s in entry.segments]
    return [entry.id, entry.file_name, entry.size, entry.mask_file, segments]


def check_same_categories(labels: Sequence[Category], truth: Sequence[Category]) -> None:
    """Refuse to score labels of categories that the truth does not know, or knows by another name."""
    known = {category.id: (category.name, category.is_thing) for category in truth}
    for category in labels:
        if known.get(category.id) != (category.name, category.is_thing):
            got = f"category {category.id} is {category.name!r} in the points and {known.get(category.id)} in the truth"
            fail(_NAME, "truth", got, "the same ids, names and kinds in both")


def as_shown(truth: PanopticImage, orientation: int, size: tuple[int, int]) -> PanopticImage | None:
    """The true segments of a picture as viewers show it, where masks may also be of the pixels as they are stored.

    A quarter turn swaps the sides, so that those of the masks tell. None where nothing does.

    Args:
        truth: of the picture.
        orientation: the picture's tag, 1 to 8.
        size: (H, W) of the picture as it is shown.
    """
    if orientation == 1:
        return truth
    if orientation < 5 or size[0] == size[1]:
        return None
    if truth.size != size[::-1]:
        return truth
    return replace(truth, id_map=np.ascontiguousarray(upright(truth.id_map, orientation)))


def score(prediction: PanopticImage, truth: PanopticImage, categories: Mapping[int, Category]) -> np.ndarray:
    """(7, C) counts of one picture, to be summed over pictures: what :func:`quality` needs, see
    :class:`~point2mask_ot.panoptic.PanopticEvaluator`."""
    order = np.array(sorted(categories))
    check_segments(_NAME, "truth", truth, categories)
    if prediction.size != truth.size:
        fail(_NAME, "truth", f"{truth.file_name}: HxW = {truth.size}", f"the picture's {prediction.size}")
    return picture_counts(prediction, truth, order)


def quality(counts: np.ndarray, categories: Mapping[int, Category]) -> tuple[PanopticQuality, float]:
    """Panoptic quality, and mean IoU over the categories that the truth has."""
    return quality_of_counts(counts[:4], categories), mean_iou(counts)
