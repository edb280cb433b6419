"""The folder of a job: its lock, what it was asked to do, and one record for each picture."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..checks import ArgumentError, FileError, fail
from ..files.io import Origin, make_folder, reason_of
from ..panoptic import atomic_write, read_json, safe_join
from .job_settings import differences
from .report.thumbnails import FOLDER, thumbnail_names
from .stopping import JobStopped
from .table import open_table, stem_of

_NAME = "label_dataset"
_FORMAT = 1
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_PATIENCE = 60.0
RESULTS = {
    "coco": ("panoptic", "panoptic.json"),
    "voc": ("SegmentationClass", "SegmentationObject", "ImageSets"),
}
REPORTS = ("summary.json", "timing.json", "report.html", "report/pictures.html", "doubtful.txt", "set_aside.csv")


def label_names(name: str, output: str) -> list[str]:
    """The label files of a picture, relative to the folder of the results."""
    folders = ("panoptic",) if output == "coco" else ("SegmentationClass", "SegmentationObject")
    return [f"{folder}/{stem_of(name)}.png" for folder in folders]


class JobFolder:
    """Where a job keeps its results and, in ``.job``, what it needs to go on.

    Attributes:
        root: folder of the results.
        job: the job's own files.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.job = self.root / ".job"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only job here. The system lets go of the lock when the process ends, however it ends.

        Raises:
            ArgumentError: another process has the lock; or the folder has files that no job made, or links that lead
                out of it.
            FileError: the folder cannot be written to, or its file system has no locks.
            JobStopped: workers of a killed job do not come to an end.
        """
        self._refuse_foreign()
        make_folder(self.job, function=_NAME, argument="out")
        with ExitStack() as held:
            with self._lockable():
                lock = held.enter_context(open(self.job / "lock", "a+"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.seek(0)
                    fail(_NAME, "out", f"{self.root}: process {lock.read() or '?'} works on it", "one job on a folder")
                lock.truncate(0)
                lock.write(f"{os.getpid()} on {platform.node()}")
                lock.flush()
                self._await_workers()
            yield

    @contextmanager
    def _lockable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            expected = "a folder that can be written to, on a file system with locks (flock)"
            Origin(_NAME, "out", self.job).fail(reason_of(error), expected, error)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What each worker holds, so that a new job can tell when those of a killed one are done."""
        with open(self.job / "workers", "a+") as lock:  # NFS has shared locks on what can be read only
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _await_workers(self) -> None:
        until = time.monotonic() + _PATIENCE
        with open(self.job / "workers", "a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > until:
                        message = f"{self.root}: workers of a killed job are still at it; end them and try again"
                        raise JobStopped(message) from None
                    time.sleep(0.02)

    def _refuse_foreign(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            fail(_NAME, "out", f"{self.root}, no folder", "a folder")
        names = [*RESULTS["coco"], *RESULTS["voc"], *REPORTS]
        for name in names:
            self._inside(name)  # no link to elsewhere
        if (self.job / "manifest.json").is_file() or not self.root.is_dir():
            return
        there = [name for name in names if (self.root / name).exists()]
        if there:
            fail(_NAME, "out", f"{self.root} with {there[0]} that no job here made", "a new folder, or that of a job")

    def claim(self, fingerprint: Mapping[str, Any], *, fresh: bool) -> None:
        """Clean up after a run that was killed, and refuse to go on with another job.

        Args:
            fingerprint: what this job is asked to do.
            fresh: delete the results of the job that was here.

        Raises:
            ArgumentError: a job with other settings was started here, naming what differs.
        """
        path = self.job / "manifest.json"
        if fresh:
            self._start_over()
        self.sweep()
        if path.exists():
            before = read_json(path, function=_NAME, argument="out")
            if before.get("format") != _FORMAT:
                fail(_NAME, "out", f"{self.root}, a job of another version", "fresh=True to start over")
            changed = differences(before["fingerprint"], fingerprint)
            if changed and not self._has_labels():  # its plug-in failed, say: there is nothing to protect
                self._start_over()
            elif changed:
                expected = "the settings that the job began with, or fresh=True to start over"
                fail(_NAME, "out", f"{self.root}, a job with other settings: {'; '.join(changed)}", expected)

    def _has_labels(self) -> bool:
        records = (self._load(self.record_path(position)) for position in self.positions())
        return any(record is not None and "error" not in record for record in records)

    def tells_case(self) -> bool:
        """Whether a.png and A.png are two files on this disk; asked of the lock, which is there."""
        return not (self.job / "LOCK").exists()

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """From now on the folder belongs to a job with these settings."""
        path = self.job / "manifest.json"
        if path.exists():
            return
        text = json.dumps({"format": _FORMAT, "fingerprint": dict(fingerprint)}, indent=1, allow_nan=False)
        atomic_write(path, text.encode(), function=_NAME, argument="out")

    def fingerprint(self) -> dict[str, Any] | None:
        """What the job here was asked to do, if there is one."""
        path = self.job / "manifest.json"
        return read_json(path, function=_NAME, argument="out")["fingerprint"] if path.is_file() else None

    def sweep(self) -> None:
        """Delete what killed processes left half written."""
        made = [name for names in RESULTS.values() for name in names] + [FOLDER]
        for folder in [self.job, *(self.root / name for name in made)]:
            for place, _, files in os.walk(folder):
                for name in files:
                    if _LEFTOVER.fullmatch(name):
                        os.unlink(os.path.join(place, name))
        for path in self.root.glob(".*.tmp"):
            if _LEFTOVER.fullmatch(path.name):
                path.unlink()

    def _start_over(self) -> None:
        """Delete what the last job made and nothing else: what records list, and what a kill left without a record."""
        for position in self.positions():
            self.delete((self._load(self.record_path(position)) or {}).get("files", {}))
            self.delete(thumbnail_names(position))
            self.record_path(position).unlink()
        before = (self._load(self.job / "manifest.json") or {}).get("fingerprint", {})
        for row in open_table(self.job / "points.sqlite", before.get("points", "")) or ():
            self.delete(label_names(row.name, before.get("output", "coco")))
            self.delete(thumbnail_names(row.position))
        for name in ("panoptic.json", "ImageSets/Segmentation/train.txt", *REPORTS):
            (self.root / name).unlink(missing_ok=True)
        (self.job / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(self.job / "records", ignore_errors=True)

    def positions(self) -> list[int]:
        """Of the pictures that have a record."""
        return sorted(int(path.stem) for path in (self.job / "records").glob("*/*.json"))

    def _inside(self, name: str) -> Path:
        return safe_join(self.root, name, function=_NAME, argument="out")

    def record_path(self, position: int) -> Path:
        """A thousand records to a folder, for file systems that dislike large ones."""
        return self.job / "records" / f"{position // 1000:04d}" / f"{position:08d}.json"

    def read_record(self, position: int) -> dict[str, Any] | None:
        """The record of a picture whose files are all there, whole."""
        record = self._load(self.record_path(position))
        if record is None:
            return None
        for name, size in record.get("files", {}).items():
            try:
                if self._inside(name).stat().st_size != size:
                    return None
            except (OSError, FileError):
                return None
        return record

    def delete(self, names: Iterable[str]) -> None:
        """Delete a picture's files, if they are there; without labels a record counts for nothing."""
        for name in names:
            if ".." in Path(name).parts:
                continue  # a picture that leaves its folder is refused: it never had labels
            with suppress(FileError, NotADirectoryError):  # nor had one whose label file cannot be
                self._inside(name).unlink(missing_ok=True)

    def _load(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            record = read_json(path, function=_NAME, argument="out")
        except ArgumentError:
            return None  # a disk that lost what it promised: the picture is labelled again
        return record if isinstance(record, dict) else None

    def write_record(self, position: int, record: Mapping[str, Any]) -> None:
        """The last step of a picture: from now on it is done."""
        path = self.record_path(position)
        make_folder(path.parent, function=_NAME, argument="out")
        text = json.dumps(record, separators=(",", ":"), allow_nan=False)
        atomic_write(path, text.encode(), function=_NAME, argument="out")
