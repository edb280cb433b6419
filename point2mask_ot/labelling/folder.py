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
from ..files.results import JOB
from ..panoptic import atomic_write, read_json, safe_join
from .job_settings import differences
from .report.doubtful import DOUBTFUL
from .report.thumbnails import FOLDER, thumbnail_names
from .stopping import JobStopped
from .table import Table, key_of, open_table, stem_of

_NAME = "label_dataset"
_FORMAT = 2
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_PATIENCE = 60.0
RESULTS = {
    "coco": ("panoptic", "panoptic.json"),
    "voc": ("SegmentationClass", "SegmentationObject", "ImageSets"),
}
REPORTS = ("summary.json", "timing.json", "report.html", "report/pictures.html", DOUBTFUL, "set_aside.csv")


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
        self.job = self.root / JOB

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

    def claim(self, fingerprint: Mapping[str, Any], *, fresh: bool, other_points: bool = False) -> bool:
        """Clean up after a run that was killed, and refuse to go on with another job.

        Args:
            fingerprint: what this job is asked to do.
            fresh: delete the results of the job that was here.
            other_points: go on where the points alone differ; then ``drop_changed`` comes before :meth:`begin`.

        Returns:
            Whether to :meth:`start_over`, once nothing else is to be refused.

        Raises:
            ArgumentError: a job with other settings was started here, naming what differs.
        """
        path = self.job / "manifest.json"
        self.sweep()
        if path.exists() and not fresh:
            before = read_json(path, function=_NAME, argument="out")
            if before.get("format") != _FORMAT:
                fail(_NAME, "out", f"{self.root}, a job of another version", "fresh=True to start over")
            changed = differences(before["fingerprint"], fingerprint)
            mended = other_points and {**before["fingerprint"], "points": fingerprint["points"]} == fingerprint
            if changed and not self._has_labels():  # its plug-in failed, say: there is nothing to protect
                return True
            if changed and not mended:
                may = " (the points alone may change)" if other_points else ""
                expected = f"the settings that the job began with{may}, or fresh=True to start over"
                fail(_NAME, "out", f"{self.root}, a job with other settings: {'; '.join(changed)}", expected)
        return fresh

    def _has_labels(self) -> bool:
        return any("files" in record for _, record in self.records())

    def tells_case(self) -> bool:
        """Whether a.png and A.png are two files on this disk; asked of the lock, which is there."""
        return not (self.job / "LOCK").exists()

    def begin(self, fingerprint: Mapping[str, Any]) -> None:
        """From now on the folder belongs to a job with these settings, and needs no other points."""
        if self.fingerprint() != fingerprint:
            text = json.dumps({"format": _FORMAT, "fingerprint": dict(fingerprint)}, indent=1, allow_nan=False)
            atomic_write(self.job / "manifest.json", text.encode(), function=_NAME, argument="out")
        for path in self.job.glob("points*.sqlite"):
            if path != self.table_path(fingerprint["points"]):
                path.unlink()

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

    def start_over(self) -> None:
        """Delete what the last job made and nothing else: what records list, and what a kill left without a record."""
        for path, record in self.records():
            self.forget(path, record)
        before = (self._load(self.job / "manifest.json") or {}).get("fingerprint", {})
        for row in self.table(before) or ():
            self.delete([*label_names(row.name, before.get("output", "coco")), *thumbnail_names(row.name)])
        self.delete_summaries()
        (self.job / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(self.job / "records", ignore_errors=True)

    def delete_summaries(self, but: str = "") -> None:
        """What holds for all pictures, and is written once they are done."""
        for name in ("panoptic.json", "ImageSets/Segmentation/train.txt", *REPORTS):
            if name != but:
                (self.root / name).unlink(missing_ok=True)

    def table_path(self, points: str) -> Path:
        """Where the points with a digest are kept: those of the job stay until it has gone on to others."""
        return self.job / f"points-{points[:16]}.sqlite"

    def table(self, fingerprint: Mapping[str, Any]) -> Table | None:
        """The pictures of a job, if they are still there."""
        points = fingerprint.get("points", "")
        return open_table(self.table_path(points), points)

    def records(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The files of all records and what they hold; nothing where they are damaged."""
        for folder in sorted((self.job / "records").glob("*")):
            for path in sorted(folder.glob("*.json")):
                yield path, self._load(path) or {}

    def _inside(self, name: str) -> Path:
        return safe_join(self.root, name, function=_NAME, argument="out")

    def record_path(self, name: str) -> Path:
        """Of the picture's name alone: its record stays where others come or go."""
        return self.job / "records" / f"{key_of(name)}.json"

    def read_record(self, name: str) -> dict[str, Any] | None:
        """The record of a picture whose files are all there, whole."""
        record = self._load(self.record_path(name))
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

    def forget(self, path: Path, record: Mapping[str, Any]) -> None:
        """Delete a record, but first the files that it lists: a kill in between leaves none that nobody knows of."""
        self.delete([*record.get("files", {}), *record.get("thumbnails", ())])
        path.unlink()

    def _load(self, path: Path) -> dict[str, Any] | None:
        if not path.exists():
            return None
        try:
            record = read_json(path, function=_NAME, argument="out")
        except ArgumentError:
            return None  # a disk that lost what it promised: the picture is labelled again
        return record if isinstance(record, dict) else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """The last step of the picture that it names: from now on it is done."""
        path = self.record_path(record["name"])
        make_folder(path.parent, function=_NAME, argument="out")
        text = json.dumps(record, separators=(",", ":"), allow_nan=False)
        atomic_write(path, text.encode(), function=_NAME, argument="out")
