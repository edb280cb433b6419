"""From the records of all pictures to the files that a trainer reads, one picture in memory at a time."""

from __future__ import annotations

import csv
import io
import json
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..files.io import atomic_file, make_folder
from ..files.results import DONE, JOB, STATE
from ..panoptic import Category
from ..panoptic.coco import category_entry, image_entry
from ..panoptic.evaluator import mean_iou
from .table import Row, Table, stem_of

BINS = 100
MAX_LISTED = 1000
_NAME = "label_dataset"

RecordOf = Callable[[Row], "dict[str, Any] | None"]
"""The record of a picture, or None where it has none."""
Add = Callable[[Row, Mapping[str, Any]], object]
"""Takes the record of one picture into a file."""


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
        labelled, set_aside, segments, lost, unconverged, no_background, scored: counts. A lost target is a thing
            without a pixel.
        sizes: of targets with a size, see ``sizes.size_notes``; empty where there is none.
        reasons: (name, reason) of the first pictures that were set aside.
        positions, confidences: of the labelled pictures; how sure a picture is, is the mean over its targets.
        finished: of each of them, whether a person has marked its points as done.
        picture_bins, segment_bins, void_bins: counts over [0, 1] of the confidence of pictures and of segments, and
            of the share of a picture that is void.
        categories: by id.
        seconds: by stage.
        score: (7, C) counts, see ``truth.score``; None where nothing was scored.
        scored_confidences, scored_ious: of the scored pictures; their IoU is the mean over their categories.
    """

    labelled: int = 0
    set_aside: int = 0
    segments: int = 0
    lost: int = 0
    unconverged: int = 0
    no_background: int = 0
    scored: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    positions: array[int] = field(default_factory=lambda: array("q"))
    confidences: array[float] = field(default_factory=lambda: array("d"))
    finished: array[int] = field(default_factory=lambda: array("b"))
    picture_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    segment_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    void_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    categories: dict[int, CategoryCount] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    score: np.ndarray | None = None
    scored_confidences: array[float] = field(default_factory=lambda: array("d"))
    scored_ious: array[float] = field(default_factory=lambda: array("d"))

    def most_doubtful(self) -> np.ndarray:
        """Positions of the labelled pictures, the least sure first."""
        return np.array(self.positions, np.int64)[np.argsort(np.array(self.confidences), kind="stable")]

    def label_next(self) -> np.ndarray:
        """The same, but those that a person is done with come last."""
        order = np.lexsort((np.array(self.confidences), np.array(self.finished)))
        return np.array(self.positions, np.int64)[order]

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
        self.no_background += record["no_background"]
        self.sizes.update(record.get("sizes", {}))
        self.positions.append(row.position)
        self.confidences.append(record["confidence"])
        self.finished.append(state_of(row) == DONE)
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
            self.scored_confidences.append(record["confidence"])
            self.scored_ious.append(mean_iou(counts))


def state_of(row: Row) -> str:
    """What a person has said of the picture on the page of ``annotate``; empty where nothing is known."""
    return str(row.body.get(STATE, "")) if isinstance(row.body, dict) else ""


def _bin(share: float) -> int:
    return min(int(share * BINS), BINS - 1)


def write_records(
    root: Path,
    output: str,
    table: Table,
    record_of: RecordOf,
    categories: Sequence[Category],
    truth_digest: str = "",
    show: Add = lambda row, record: None,
) -> Statistics:
    """The annotations of the pictures that were labelled, ``set_aside.csv`` of those that were not, and their sums.

    ``show`` is given all of them. Every record is read once, in the order of the table.

    Raises:
        FileError: a disk that cannot take the files.
    """
    statistics = Statistics()
    with _panoptic_json(root, categories) if output == "coco" else _voc_list(root) as label, _set_aside(root) as aside:
        for row in table:
            record = record_of(row)
            if record is not None:
                statistics.add(row, record, truth_digest)
                (aside if "error" in record else label)(row, record)
                show(row, record)
    return statistics


@contextmanager
def _panoptic_json(root: Path, categories: Sequence[Category]) -> Iterator[Add]:
    """The text that :func:`~point2mask_ot.write_coco_panoptic` writes; annotations wait until all images are there."""
    waiting = root / JOB / "annotations.part"
    with atomic_file(root / "panoptic.json", function=_NAME, argument="out") as file:
        try:
            with open(waiting, "w+b") as later:
                file.write(b'{"info":' + _json({"description": f"pseudo-masks of point2mask-ot {__version__}"}))
                file.write(b',"images":[')

                def add(row: Row, record: Mapping[str, Any]) -> None:
                    comma = b"," if later.tell() else b""
                    file.write(comma + _json(image_entry(row.image_id, row.name, tuple(record["size"]))))
                    names = {"image_id": row.image_id, "file_name": f"{stem_of(row.name)}.png"}
                    later.write(comma + _json({**names, "segments_info": record["segments"]}))

                yield add
                file.write(b'],"annotations":[')
                later.seek(0)
                shutil.copyfileobj(later, file)
                file.write(b'],"categories":' + _json([category_entry(category) for category in categories]) + b"}")
        finally:
            waiting.unlink(missing_ok=True)


@contextmanager
def _voc_list(root: Path) -> Iterator[Add]:
    folder = make_folder(root / "ImageSets" / "Segmentation", function=_NAME, argument="out")
    with atomic_file(folder / "train.txt", function=_NAME, argument="out") as file:
        yield lambda row, record: file.write(f"{stem_of(row.name)}\n".encode())


@contextmanager
def _set_aside(root: Path) -> Iterator[Add]:
    with atomic_file(root / "set_aside.csv", function=_NAME, argument="out") as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("picture", "reason"))
        yield lambda row, record: writer.writerow((row.name, record["error"]))
        text.detach()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
