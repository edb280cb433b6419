"""From the records of all pictures to the files that a trainer reads, one picture in memory at a time."""

from __future__ import annotations

import csv
import io
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..panoptic import Category
from ..panoptic._coco import category_entry, image_entry
from ..panoptic._files import atomic_file, make_folder
from ._table import Row, Table, stem_of

BINS = 100
MAX_LISTED = 1000
_NAME = "label_dataset"

RecordOf = Callable[[int], "dict[str, Any] | None"]
"""The record of the picture at a position, or None where it has none."""


@dataclass
class CategoryCount:
    """What the labels have of one category."""

    segments: int = 0
    pixels: int = 0
    confidence: float = 0.0


@dataclass
class Statistics:
    """Sums over pictures, and one number for each picture: its confidence.

    Attributes:
        labelled, set_aside, segments, lost, unconverged, scored: counts. A lost target is a thing without a pixel.
        reasons: (name, reason) of the first pictures that were set aside.
        positions, confidences: of the labelled pictures.
        picture_bins, segment_bins, void_bins: counts over [0, 1] of the confidence of pictures and of segments, and
            of the share of a picture that is void.
        categories: by id.
        seconds: by stage.
        score: (7, C) counts, see ``_truth.score``; None where nothing was scored.
    """

    labelled: int = 0
    set_aside: int = 0
    segments: int = 0
    lost: int = 0
    unconverged: int = 0
    scored: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)
    positions: array[int] = field(default_factory=lambda: array("q"))
    confidences: array[float] = field(default_factory=lambda: array("d"))
    picture_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    segment_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    void_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    categories: dict[int, CategoryCount] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    score: np.ndarray | None = None

    def add(self, row: Row, record: dict[str, Any], truth_digest: str) -> None:
        """Count one picture."""
        if "error" in record:
            self.set_aside += 1
            if len(self.reasons) < MAX_LISTED:
                self.reasons.append((row.name, record["error"]))
            return
        self.labelled += 1
        self.lost += record["lost"]
        self.unconverged += not record["converged"]
        self.positions.append(row.position)
        self.confidences.append(record["confidence"])
        self.picture_bins[_bin(record["confidence"])] += 1
        self.void_bins[_bin(record["void"])] += 1
        self.segments += len(record["segments"])
        for segment, confidence in zip(record["segments"], record["confidences"], strict=True):
            self.segment_bins[_bin(confidence)] += 1
            count = self.categories.setdefault(segment["category_id"], CategoryCount())
            count.segments += 1
            count.pixels += segment["area"]
            count.confidence += confidence
        self.seconds.update(record["seconds"])
        score = record.get("score")
        if score and score["truth"] == truth_digest:
            counts = np.array(score["counts"])
            self.score = counts if self.score is None else self.score + counts
            self.scored += 1


def _bin(share: float) -> int:
    return min(int(share * BINS), BINS - 1)


def gather(table: Table, record_of: RecordOf, truth_digest: str = "") -> Statistics:
    """Add up the records of all pictures, in their order."""
    statistics = Statistics()
    for row in table:
        record = record_of(row.position)
        if record is not None:
            statistics.add(row, record, truth_digest)
    return statistics


def write_annotations(
    root: Path, output: str, table: Table, record_of: RecordOf, categories: Sequence[Category]
) -> None:
    """``panoptic.json``, or VOC's list of names, of the pictures that were labelled.

    Raises:
        FileError: a disk that cannot take the file.
    """
    if output == "coco":
        with atomic_file(root / "panoptic.json", function=_NAME, argument="out") as file:
            for piece in _coco_json(table, record_of, categories):
                file.write(piece.encode())
        return
    folder = make_folder(root / "ImageSets" / "Segmentation", function=_NAME, argument="out")
    with atomic_file(folder / "train.txt", function=_NAME, argument="out") as file:
        for row, _ in _labelled(table, record_of):
            file.write(f"{stem_of(row.name)}\n".encode())


def write_set_aside(path: Path, table: Table, record_of: RecordOf) -> None:
    """A CSV of the pictures without labels and the reasons."""
    with atomic_file(path, function=_NAME, argument="out") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("picture", "reason"))
        for row in table:
            record = record_of(row.position)
            if record is not None and "error" in record:
                writer.writerow((row.name, record["error"]))
        text.detach()


def _labelled(table: Table, record_of: RecordOf) -> Iterator[tuple[Row, dict[str, Any]]]:
    for row in table:
        record = record_of(row.position)
        if record is not None and "error" not in record:
            yield row, record


def _coco_json(table: Table, record_of: RecordOf, categories: Sequence[Category]) -> Iterator[str]:
    """The text of the document, as :func:`~point2mask_ot.write_coco_panoptic` writes it."""
    yield '{"info":' + _json({"description": f"pseudo-masks of point2mask-ot {__version__}"}) + ',"images":['
    for index, (row, record) in enumerate(_labelled(table, record_of)):
        entry = image_entry(row.image_id, row.name, tuple(record["size"]))
        yield ("," if index else "") + _json(entry)
    yield '],"annotations":['
    for index, (row, record) in enumerate(_labelled(table, record_of)):
        mask_file = f"{stem_of(row.name)}.png"
        entry = {"image_id": row.image_id, "file_name": mask_file, "segments_info": record["segments"]}
        yield ("," if index else "") + _json(entry)
    yield '],"categories":' + _json([category_entry(category) for category in categories]) + "}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
