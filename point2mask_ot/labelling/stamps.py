"""By what a file is known that has not changed since: its size, and its times or else its content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

from ..checks import FileError
from ..files.io import Origin, reason_of
from .truth import file_digest

_NAME = "label_dataset"


def stamps_of(paths: Sequence[Path]) -> list[list[Any]]:
    """What tells files from changed ones: size, times, content."""
    return [[*_size_and_times(path), _digest(path)] for path in paths]


def renewed(stamps: Sequence[Sequence[Any]], paths: Sequence[Path]) -> list[list[Any]] | None:
    """The stamps with the times of now, if the files are what they were; else None.

    They are if they have the same size, and the same times or else (a copy) content.
    """
    if len(stamps) != len(paths):
        return None
    found = [(stamp, path, _size_and_times(path)) for stamp, path in zip(stamps, paths, strict=True)]
    same = all(
        list(stamp[:-1]) == now or (stamp[0] == now[0] and stamp[-1] == _digest(path)) for stamp, path, now in found
    )
    return [[*now, stamp[-1]] for stamp, _, now in found] if same else None


def _size_and_times(path: Path) -> list[int]:
    """Also that of the last change of the entry: the other can be set, as tools do that unpack or copy."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise FileError(_NAME, "images", f"{path}: {reason_of(error)}", "a file") from error
    if not S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise FileError(_NAME, "images", f"{path}: not a regular file", "a file")
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: Path) -> str:
    return file_digest(Origin(_NAME, "images", path))
