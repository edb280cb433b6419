"""Files from outside: read within limits, kept inside their root, written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from ..checks import FileError, fail_type

MAX_JSON_BYTES = 2**30
MAX_JSON_DEPTH = 64
_DEPTH_CHUNK = 2**20


@dataclass(frozen=True)
class Origin:
    """The public function, its argument and the file that a value came from: what an error names."""

    function: str
    argument: str
    path: Path

    def fail(self, got: object, expected: str, cause: BaseException | None = None) -> NoReturn:
        """Raise :class:`FileError` about this file."""
        raise FileError(self.function, self.argument, f"{self.path}: {got}", expected) from cause

    def field(self, entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
        """``entry[key]`` of a JSON object, which must be there and of exactly the type ``kind``."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(entry, dict):
            self.fail(f"{where} is {entry!r:.80}", "a JSON object")
        if type(entry.get(key)) not in kinds:  # isinstance would let True pass for 1
            got = f"'{key}' is {entry[key]!r:.80}" if key in entry else f"no '{key}'"
            self.fail(f"{where}: {got}", "a JSON " + " or ".join(_JSON_NAME[k] for k in kinds))
        return entry[key]

    def flag(self, entry: dict[str, Any], key: str, where: str, default: int | None = None) -> bool:
        """``entry[key]`` as a boolean, written as 0, 1, false or true."""
        value = entry.get(key, default)
        if type(value) not in (int, bool) or value not in (0, 1):
            got = f"'{key}' is {value!r:.80}" if key in entry else f"no '{key}'"
            self.fail(f"{where}: {got}", "0 or 1")
        return bool(value)

    def color(self, entry: dict[str, Any], where: str) -> tuple[int, int, int] | None:
        """``entry["color"]``, three integers within 0..255, if there is one."""
        color = entry.get("color")
        if color is None:
            return None
        if not (isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c < 256 for c in color)):
            self.fail(f"{where}: color {color!r:.80}", "three integers within 0..255")
        return color[0], color[1], color[2]


_JSON_NAME: dict[Any, str] = {dict: "object", list: "list", str: "string", int: "integer", float: "number"}


def origin_of(function: str, argument: str, path: object) -> Origin:
    """Name the file at ``path`` as the value of ``argument``; refuse what is no path."""
    if not isinstance(path, (str, os.PathLike)):
        fail_type(function, argument, path, "a path")
    return Origin(function, argument, Path(os.fsdecode(path)))


def safe_join(
    root: str | os.PathLike[str],
    relative: str,
    *,
    follow_links: bool | None = None,
    function: str = "safe_join",
    argument: str = "relative",
) -> Path:
    """The path of ``relative`` under ``root``, with symbolic links resolved.

    Args:
        root: folder that the path must not leave.
        relative: path that came from outside, for example a ``file_name`` in a JSON file.
        follow_links: let a symbolic link lead out of ``root``, as ``..`` never may; then links are left as they are.
            None is False where ``function`` has no such option to be told of.
        function: public function named in the error.
        argument: its argument.

    Raises:
        FileError: ``relative`` is empty, absolute, or leads out of ``root``, be it through ``..`` or a symbolic
            link, or cannot be a path at all.

    Example:
        >>> safe_join("masks", "../secret.png")
        Traceback (most recent call last):
        point2mask_ot.checks.FileError: safe_join: argument 'relative': got '../secret.png'; expected a path that \
stays inside masks
    """
    base = os.path.realpath(root)
    try:
        target = os.path.realpath(os.path.join(base, relative))
        named = os.path.normpath(os.path.join(base, relative))
        inside = [not os.path.isabs(relative) and _is_below(base, path) for path in (target, named)]
    except (ValueError, OSError):  # a NUL byte, a lone surrogate, another drive
        inside = [False, False]
    if follow_links and inside[1]:
        return Path(named)
    if not inside[0]:
        got, expected = repr(relative), f"a path that stays inside {os.fspath(root)}"
        if inside[1]:
            got += ", a link that leads out of the folder"
            expected += " (follow_links=True follows it)" if follow_links is False else ""
        raise FileError(function, argument, got, expected)
    return Path(target)


def _is_below(base: str, path: str) -> bool:
    return path != base and os.path.commonpath([base, path]) == base


def read_bytes(origin: Origin, max_bytes: int) -> bytes:
    """The whole of a regular, non-empty file of at most ``max_bytes``."""
    try:
        status = os.stat(origin.path)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        origin.fail(reason_of(error), "a file", error)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        origin.fail("not a regular file", "a file")
    if not 0 < status.st_size <= max_bytes:
        got = f"{status.st_size} bytes" if status.st_size else "an empty file"
        origin.fail(got, f"1 to {max_bytes} bytes")
    try:
        with open(origin.path, "rb") as file:
            return file.read(status.st_size)
    except OSError as error:
        origin.fail(reason_of(error), "a readable file", error)


def reason_of(error: Exception) -> str:
    """What the system says, without the path that the message names anyway."""
    return getattr(error, "strerror", None) or str(error)


def read_json(
    path: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_JSON_BYTES,
    max_depth: int = MAX_JSON_DEPTH,
    function: str = "read_json",
    argument: str = "path",
) -> Any:
    """The content of a UTF-8 JSON file that may come from anyone.

    Args:
        path: the file.
        max_bytes: largest file that is read.
        max_depth: deepest nesting of lists and objects, checked before parsing.
        function: public function named in the error.
        argument: its argument.

    Raises:
        FileError: the file is missing, empty, too large, too deep, not UTF-8, not JSON, or holds NaN, Infinity or
            a number that overflows to infinity.
    """
    origin = origin_of(function, argument, path)
    return parse_json(origin, read_bytes(origin, max_bytes), max_depth)


def parse_json(origin: Origin, data: bytes, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """The value of UTF-8 JSON that may come from anyone, with finite numbers and at most ``max_depth`` levels."""
    depth = _nesting(data)
    if depth > max_depth:
        origin.fail(f"JSON nested {depth} deep", f"at most {max_depth} levels")
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, parse_constant=refuse_constant, parse_float=finite)
    except (ValueError, RecursionError) as error:
        origin.fail(f"{error}", "JSON in UTF-8 with finite numbers", error)


_BRACKET_STEP = np.zeros(256, np.int8)
_BRACKET_STEP[list(b"[{")] = 1
_BRACKET_STEP[list(b"]}")] = -1


def _nesting(data: bytes) -> int:
    """Deepest nesting of brackets outside strings, in one pass and constant memory."""
    data = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # no escaped quotes remain
    quotes = depth = deepest = 0
    for start in range(0, len(data), _DEPTH_CHUNK):
        chunk = np.frombuffer(data, np.uint8, min(_DEPTH_CHUNK, len(data) - start), start)
        before = quotes + np.cumsum(chunk == ord('"'))
        levels = depth + np.cumsum(_BRACKET_STEP[chunk] * (before % 2 == 0), dtype=np.int64)
        quotes, depth, deepest = int(before[-1]), int(levels[-1]), max(deepest, int(levels.max()))
    return deepest


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} overflows")
    return number


def make_folder(path: str | os.PathLike[str], *, function: str, argument: str) -> Path:
    """Create the folder ``path`` and its parents where they are missing, durably."""
    origin = origin_of(function, argument, path)
    missing = [folder for folder in (origin.path, *origin.path.parents) if not folder.exists()]
    try:
        origin.path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
    except OSError as error:
        origin.fail(reason_of(error), "a folder that can be created", error)
    return origin.path


@contextmanager
def atomic_file(
    path: str | os.PathLike[str],
    *,
    function: str = "atomic_file",
    argument: str = "path",
) -> Iterator[BinaryIO]:
    """Open a new file that appears under its name, whole, when the block ends, and not at all if it fails.

    The bytes go to a hidden temporary file in the same folder, are flushed to the disk, and take the final name
    in one step. A process that is killed in between may leave the temporary file (``.NAME.*.tmp``) behind.

    Args:
        path: the file; an existing one is replaced. Its folder must exist.
        function: public function named in the error.
        argument: its argument.

    Raises:
        FileError: the disk is full, the folder is missing or read-only; the old file is then untouched.
    """
    origin = origin_of(function, argument, path)
    target, temporary = origin.path, _temporary(origin.path)
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        origin.fail(reason_of(error), "a file that can be written", error)


def atomic_write(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    function: str = "atomic_write",
    argument: str = "path",
) -> None:
    """Write a file that appears whole or not at all, whatever interrupts the writing: see :func:`atomic_file`.

    Args:
        path: the file; an existing one is replaced. Its folder must exist.
        data: its content.
        function: public function named in the error.
        argument: its argument.

    Raises:
        FileError: the disk is full, the folder is missing or read-only; the old file is then untouched.
    """
    with atomic_file(path, function=function, argument=argument) as file:
        file.write(data)


def write_together(files: Iterable[tuple[Path, bytes]], *, function: str, argument: str) -> int:
    """Write many small files as :func:`atomic_write` does, with one wait for the disk instead of one for each.

    Args:
        files: paths, whose folders are there, and contents; of these one is held at a time.
        function: public function named in the error.
        argument: its argument.

    Returns:
        How many there were.

    Raises:
        FileError: the disk is full or read-only; no file has changed, unless it fails while they take their names.
    """
    made: list[tuple[Path, Path]] = []
    try:
        try:
            for path, data in files:
                made.append((_temporary(path), path))
                with open(made[-1][0], "xb") as file:
                    file.write(data)
                    if not hasattr(os, "sync"):
                        file.flush()
                        os.fsync(file.fileno())
            if made and hasattr(os, "sync"):
                os.sync()
            for temporary, path in made:
                os.replace(temporary, path)
        except BaseException:
            for temporary, _ in made:
                temporary.unlink(missing_ok=True)
            raise
        for folder in {path.parent for _, path in made}:
            _sync_folder(folder)
    except OSError as error:
        Origin(function, argument, made[-1][1]).fail(reason_of(error), "files that can be written", error)
    return len(made)


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")


def _sync_folder(folder: Path) -> None:
    """Make renames and new names in ``folder`` survive a power cut (POSIX; elsewhere the system does it)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)
