"""Processes that start together compile each kernel once: one does, the others wait and load it from the cache."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from numba.core.compiler_lock import global_compiler_lock

try:
    import fcntl
except ImportError:  # there are no such locks: each process compiles for itself
    fcntl = None  # type: ignore[assignment]

_PATIENCE = 60.0
"""Seconds; a kernel takes a few, and who waits longer waits for a process that sleeps."""


def compile_once(compiled: Any, folder: str) -> None:
    """Make a kernel wait while another process compiles it.

    Args:
        compiled: numba's dispatcher; its method ``compile`` looks into the cache before it compiles.
        folder: of the cache, whose kernels share a file of locks.
    """
    place = crc32(compiled.py_func.__qualname__.encode() + compiled.py_func.__module__.encode())
    compile_or_load = compiled.compile

    def compile(signature: Any) -> Any:
        with global_compiler_lock, _alone(folder, place):  # in this order: a thread may want the other's kernels
            return compile_or_load(signature)

    compiled.compile = compile


@contextmanager
def _alone(folder: str, place: int) -> Iterator[None]:
    """Hold a byte of the folder's file of locks, or none where that cannot be had, or not in time.

    These are locks of processes: kernels that a process compiles for another's sake do not wait for themselves.
    """
    file = _locks(folder)
    until = time.monotonic() + _PATIENCE
    while file is not None and not _lock(file, place):
        if time.monotonic() > until:
            file = None
        time.sleep(0.01)
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


def _lock(file: int, place: int) -> bool:
    """Whether there is nothing to wait for: the lock is held, or the file system has none."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


@cache
def _locks(folder: str) -> int | None:
    """A descriptor, opened once: a process gives up its locks on a file when it closes any descriptor of it."""
    try:
        return os.open(Path(folder) / "compiling.lock", os.O_RDWR | os.O_CREAT, 0o666) if fcntl else None
    except OSError:
        return None
