"""How a job ends before its end."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..checks import FileError
from ..files.io import atomic_write, make_folder, safe_join

_NAME = "label_dataset"
_OF_THE_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST}


class JobStopped(RuntimeError):  # noqa: N818  # not an error of the caller
    """A job that stopped before its end, with a reason; called again, it goes on where it stopped."""


class JobInterrupted(KeyboardInterrupt):
    """A job that a signal stopped between two pictures; called again, it goes on.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}; the same call goes on")
        self.signal = signal

    def __reduce__(self) -> tuple[type[JobInterrupted], tuple[int]]:
        return JobInterrupted, (self.signal,)


@contextmanager
def listening() -> Iterator[list[int]]:
    """The numbers of the signals (SIGINT, SIGTERM) heard inside the block; the second one ends it at once."""
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise JobInterrupted(number)

    try:
        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone may listen
        before = {}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopping_on_full_disk() -> Iterator[None]:
    """A file of the results that cannot be written stops the job, unless its very name is the trouble.

    Raises:
        JobStopped: in place of the error.
    """
    try:
        yield
    except FileError as error:
        cause = error.__cause__
        if error.argument == "out" and isinstance(cause, OSError) and cause.errno not in _OF_THE_NAME:
            raise JobStopped(f"{error}") from error
        raise


def write_file(root: Path, name: str, data: bytes) -> None:
    """A file of the results, whole or not at all; ``name`` is relative to their folder.

    Raises:
        FileError: a name that cannot be, or leads out of the folder.
        JobStopped: the file cannot be written.
    """
    path = safe_join(root, name, function=_NAME, argument="out")
    with stopping_on_full_disk():
        make_folder(path.parent, function=_NAME, argument="out")
        atomic_write(path, data, function=_NAME, argument="out")
