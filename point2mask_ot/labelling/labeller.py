"""One picture: from its row in the table to its label files and its record."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import ArgumentError, fail
from ..files.pictures import encode_png, explaining_turns
from ..masks.clock import Clock
from ..masks.paint import mend
from ..panoptic import LabelledPoints, PanopticImage, voc_palette
from ..panoptic.coco import encode_ids, segments_info
from ..panoptic.voc import to_voc
from ..types import PointTargets
from ..typical import fill_sizes
from .changed_points import told_of
from .drawing import Drawer
from .folder import JobFolder, label_names
from .job_settings import JobSettings
from .maps import Masker, as_map_tensors, map_file, read_maps
from .plug_ins import call_plug_in, check_channels, is_plug_in, load_plug_in
from .reader import Reader
from .report.thumbnails import thumbnail_names
from .scoring import Scorer
from .sizes import size_notes
from .stamps import renewed, stamps_of
from .stopping import JobStopped, stopping_on_full_disk, write_file
from .table import Row, stem_of

_NAME = "label_dataset"
DIGITS = 6


@dataclass(frozen=True)
class Task:
    """A picture to label.

    Attributes:
        row: what the source of the points says of it.
        truth: what the true data set says of it, where labels are scored and it is there.
    """

    row: Row
    truth: Row | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Attributes:
        position: of the picture.
        kind: ``"labelled"``, ``"kept"`` (it was before), or ``"set aside"``.
        reason: why it was set aside.
    """

    position: int
    kind: str
    reason: str = ""


class Labeller:
    """Labels pictures one by one; every worker has its own.

    Args:
        settings: of the job.

    Raises:
        ArgumentError: a plug-in or an edge model that cannot be loaded; a plug-in for other categories.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings
        self.folder = JobFolder(settings.out)
        self.reader = Reader(settings, self.folder.root)
        self.masker = Masker(settings.config, settings, add_colors=settings.add_colors)
        self.maps = settings.maps
        if isinstance(self.maps, str) and is_plug_in(self.maps):
            self.maps = load_plug_in(self.maps)
        check_channels(self.maps, settings.categories)
        self.scorer = Scorer(settings, self.reader)
        self.drawer = Drawer(settings, self.reader, self.scorer)

    def __call__(self, task: Task) -> Outcome:
        """Label a picture, score it and draw it small, each unless that is done, and write its record.

        Whatever is wrong with the picture sets it aside.

        Raises:
            JobStopped: the results cannot be written.
            MemoryError: too little memory for this picture.
        """
        row = task.row
        record = self.folder.read_record(row.name)
        try:
            paths = self._inputs(row)
            stamps = None if record is None or "error" in record else renewed(record["inputs"], paths)
            kept = stamps is not None
            if stamps is None:
                stamps = stamps_of(paths)  # before the files are read: what changes in between is labelled again
                self.reader.refuse_other(row, stamps[0][-1])
                record = {**self._label(row), "told": told_of(row, self.settings)}
            assert record is not None
            moved = record.get("inputs") != stamps
            record["inputs"] = stamps
            scored = self.scorer(record, row, task.truth)
            drawn = self.drawer(record, row, task.truth, kept=kept, scored=scored)
        except (JobStopped, MemoryError):
            raise
        except Exception as error:  # plug-ins raise anything
            if is_memory_error(error):
                raise MemoryError(f"{error}") from error
            return set_aside(self.settings, row, describe(error))
        if moved or scored or drawn:
            write_record(self.folder, record)
        return Outcome(row.position, "kept" if kept else "labelled")

    def _label(self, row: Row) -> dict[str, Any]:
        clock = Clock()
        with clock("read"):
            with explaining_turns(self.reader.path(row), self.reader.reading["exif"]):
                picture = self.reader.picture(row)
                told = self.reader.targets(row, picture.shape[:2])
            targets = fill_sizes(told, self.settings.typical)
        with clock("maps"):
            maps = self._read_maps(row, picture, targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is noted in the record
            with explaining_turns(self.reader.path(row), self.reader.reading["exif"]):
                masks = self.masker(picture, maps, targets)
        if (paint := self.reader.paint(row)) is not None:
            masks = mend(masks, targets, paint.marks)
        clock.seconds |= masks.diagnostics.seconds
        with clock("write"):
            instance, sure = np.asarray(masks.instance), np.asarray(masks.target_confidence)
            image = PanopticImage.from_targets(instance, targets, self.settings.categories, row.image_id, row.name)
            files = self._write_labels(image)
        solid = ~np.asarray(masks.void)
        return {
            "name": row.name,
            "size": list(image.size),
            "targets": targets.num_targets,
            "segments": segments_info(image),
            "confidences": confidence_of_segments(image, np.append(sure, 0)[instance]),
            "confidence": round(float(sure.mean()), DIGITS) if sure.size else 0.0,
            "lost": int(targets.is_thing.sum()) - sum(segment.is_thing for segment in image.segments),
            "void": round(1 - float(solid.mean()), DIGITS),
            "converged": masks.diagnostics.reached(self.settings.config.tol),
            "no_background": masks.diagnostics.no_background,
            **({"sizes": size_notes(told, targets, masks.diagnostics)} if targets.has_sizes else {}),
            "files": files,
            "seconds": {stage: round(seconds, DIGITS) for stage, seconds in clock.seconds.items()},
        }

    def _read_maps(self, row: Row, picture: np.ndarray, targets: PointTargets) -> dict[str, Any]:
        found: Any = {}
        origin = "the picture"
        if isinstance(self.maps, str):
            path = map_file(self.maps, row.name, follow_links=self.settings.follow_links)
            found, origin = read_maps(path), path.name
        elif self.maps is not None:
            points = LabelledPoints(targets, self.settings.categories)
            found, origin = call_plug_in(self.maps, picture, points), "the plug-in"
        size, categories = (picture.shape[0], picture.shape[1]), len(self.settings.categories)
        maps: dict[str, Any] = as_map_tensors(found, size, origin, categories)
        if "boundary" not in maps:
            maps["boundary"] = self.masker.boundary(picture)
        return maps

    def _inputs(self, row: Row) -> list[Path]:
        """The files that the labels depend on: a picture that changes is labelled again."""
        paths = [self.reader.path(row)]
        if isinstance(self.maps, str):
            paths.append(map_file(self.maps, row.name, follow_links=self.settings.follow_links))
        if self.settings.sampled_from:
            paths += self.settings.sampled_from.mask_paths(row.body)
        return paths

    def _write_labels(self, image: PanopticImage) -> dict[str, int]:
        """The PNGs of a picture; their names and sizes."""
        files = label_files(image, self.settings.output)
        for name, data in files.items():
            write_file(self.folder.root, name, data)
        return {name: len(data) for name, data in files.items()}


def set_aside(settings: JobSettings, row: Row, reason: str) -> Outcome:
    """Record why a picture has no labels, and delete those that it had before, or that a kill left without a record."""
    folder = JobFolder(settings.out)
    folder.delete([*label_names(row.name, settings.output), *thumbnail_names(row.name)])
    write_record(folder, {"name": row.name, "error": reason})
    return Outcome(row.position, "set aside", reason)


def write_record(folder: JobFolder, record: Mapping[str, Any]) -> None:
    """From now on the picture that it names is done.

    Raises:
        JobStopped: the record cannot be written.
    """
    with stopping_on_full_disk():
        folder.write_record(record)


def confidence_of_segments(image: PanopticImage, confidence: np.ndarray) -> list[float]:
    """The mean of (H, W) confidences over each segment; all are counted at once, since segments may be many."""
    ids = image.id_map.ravel()
    pixels, total = np.bincount(ids), np.bincount(ids, confidence.ravel())
    return [round(float(total[segment.id] / pixels[segment.id]), DIGITS) for segment in image.segments]


def label_files(image: PanopticImage, output: str) -> dict[str, bytes]:
    """File name -> content."""
    if output == "coco":
        contents = [encode_png(encode_ids(image.id_map))]
    else:
        stem = stem_of(image.file_name)
        if "/" in stem or stem.split() != [stem]:
            fail(_NAME, "output", f"'voc' with the picture {image.file_name!r}", "names without folder and white space")
        contents = [encode_png(labels, voc_palette()) for labels in to_voc(image)]
    return dict(zip(label_names(image.file_name, output), contents, strict=True))


def is_memory_error(error: BaseException) -> bool:
    """Torch has no class for it on the CPU."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def describe(error: BaseException) -> str:
    """The message of a refusal; of anything else also its kind."""
    text = f"{error}" if isinstance(error, ArgumentError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:1000]
