"""The files of one picture's results in a folder that takes those of many, but never those of two in one file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..checks import fail
from .io import read_json

UNTOUCHED, BEGUN, DONE, SKIPPED = STATES = ("untouched", "begun", "done", "skipped")
"""What the ``info`` of a points file may say of its picture, under the name :data:`STATE`."""
STATE = "state"
LEFT_ALONE = (UNTOUCHED, SKIPPED)
"""Pictures that a job does not label, though they have a points file."""
JOB = ".job"
"""In the folder of its results, what a job knows of them."""
PICTURE = "picture_sha256"
"""What the same ``info`` says of the picture's file, under this name: its digest."""
_APART = "a folder for the results of this picture alone, or that file moved away"


def state_of(document: Any) -> str:
    """What a points file says of its picture; one by hand says nothing."""
    info = document.get("info") if isinstance(document, dict) else None
    said = info.get(STATE) if isinstance(info, dict) else None
    return said if said in STATES else BEGUN


def is_mask(path: Path) -> bool:
    """Whether a picture file is :attr:`PictureResults.png` of another: where results lie among pictures, no picture."""
    return path.parent.name == "panoptic" and (path.parent.parent / f"{path.stem}.json").is_file()


def is_job(folder: Path) -> bool:
    """Whether the results of ``label_dataset`` lie in a folder, which holds neither pictures to label nor points."""
    return (folder / JOB).is_dir()


def digest(content: bytes) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class PictureResults:
    """What ``label`` and ``annotate`` write of a picture, named by its name without the suffix.

    Other pictures may be called the same, so the JSON files tell the digest of theirs (:attr:`info`).

    Attributes:
        folder: where they lie.
        name: file name of the picture, with its sub folders if it is one of a folder of pictures.
        sha256: digest of its file, or of its pixels if it has none.
    """

    folder: Path
    name: str
    sha256: str

    @classmethod
    def of(cls, out: Path, name: str, sha256: str) -> PictureResults:
        """Those of a picture in a folder of pictures; sub folders are kept apart as they are there."""
        return cls(out / PurePosixPath(name).parent, name, sha256)

    @property
    def points(self) -> Path:
        return self.folder / f"{Path(self.name).stem}_points.json"

    @property
    def json(self) -> Path:
        return self.folder / f"{Path(self.name).stem}.json"

    @property
    def png(self) -> Path:
        return self.folder / "panoptic" / f"{Path(self.name).stem}.png"

    @property
    def strip(self) -> Path:
        return self.folder / f"{Path(self.name).stem}_stages.png"

    @property
    def info(self) -> dict[str, str]:
        """Goes into a JSON, from which another run knows whose it is."""
        return {PICTURE: self.sha256}

    def check_points(self, function: str) -> None:
        """Refuse to open or to replace the points of another picture.

        Args:
            function: named in the error, with its argument ``out``.

        Raises:
            ArgumentError: such points, or another file of that name.
        """
        self._check_folder(function, self.folder)
        self._check_json(function, self.points, masks=False)

    def check_masks(self, function: str, inputs: Iterable[str | os.PathLike[str]], *, strip: bool = False) -> None:
        """Refuse to replace another picture's masks, a file of somebody's own, or one that is read.

        Args:
            function: named in the error, with its argument ``out``.
            inputs: the files that are read.
            strip: the strip of stages is written, too.

        Raises:
            ArgumentError: such files, or the folder of a data set.
            FileError: a JSON that cannot be read.
        """
        for folder in (self.folder, self.png.parent):
            self._check_folder(function, folder)
        written = [self.json, self.png, *([self.strip] if strip else [])]
        there = [path for path in written if path.exists()]
        for path in there:
            if any(Path(given).exists() and path.samefile(given) for given in inputs):
                fail(function, "out", f"{path}, which is read and would be replaced", "another folder")
        self._check_json(function, self.json, masks=True)
        if self.json not in there:
            foreign = [self.folder / "panoptic.json", *([self.strip] if strip else [])]  # the strip is written last
            for path in (self.folder / JOB, *foreign):
                if path.exists():
                    fail(function, "out", f"{path}, which is not of this command", "another folder")

    def _check_folder(self, function: str, folder: Path) -> None:
        there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        if there.exists() and not there.is_dir():
            fail(function, "out", f"{there}, which is a file", "a folder, or a name that is free")

    def _check_json(self, function: str, path: Path, *, masks: bool) -> None:
        if path.exists() and not self._owns(read_json(path, function=function, argument="out"), masks):
            fail(function, "out", f"{path}, of another picture than this {self.name}", _APART)

    def _owns(self, document: Any, masks: bool) -> bool:
        if not isinstance(document, dict) or masks != ("annotations" in document):
            return False
        info, images = document.get("info"), document.get("images")
        if isinstance(info, dict) and PICTURE in info:
            return bool(info[PICTURE] == self.sha256)
        if images is None:
            return "points" in document  # by hand, of a picture that is not named
        return isinstance(images, list) and [e.get("file_name") for e in images if isinstance(e, dict)] == [self.name]
