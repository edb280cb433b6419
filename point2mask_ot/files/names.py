"""Names of pictures: in a text file, one a line, and as a disk spells them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..checks import fail, fail_type
from .io import origin_of, read_bytes

_MAX_BYTES = 2**28


def names_in(function: str, argument: str, only: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """The names in a text file, one a line, or in a list.

    Args:
        function: public function named in errors.
        argument: its argument.
        only: the file, or the names.

    Raises:
        FileError: a file that cannot be read or is not UTF-8.
        ArgumentError: no name.

    Example:
        >>> names_in("label_dataset", "only", ["b.jpg", "a.jpg"])
        ['b.jpg', 'a.jpg']
    """
    if isinstance(only, (str, os.PathLike)):
        origin = origin_of(function, argument, only)
        try:
            lines = read_bytes(origin, _MAX_BYTES).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            origin.fail(error, "names of pictures in UTF-8, one a line", error)
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = list(only) if isinstance(only, Iterable) else fail_type(function, argument, only, "a file, or names")
        for name in names:
            if not isinstance(name, str):
                fail_type(function, argument, name, "names of pictures")
    if not names:
        fail(function, argument, "no name", "at least one picture's")
    return names


def spelled_there(folder: str | os.PathLike[str], name: str) -> str:
    """The name as the disk has it: what Unicode writes in two ways, such as é, disks and tables write differently.

    Example:
        >>> import tempfile
        >>> spelled_there(tempfile.mkdtemp(), "nowhere.png")
        'nowhere.png'
    """
    for form in spellings(name):
        try:
            if Path(folder, form).exists():
                return form
        except (OSError, ValueError):  # too long, or no name at all: whoever opens it says so
            return name
    return name


def spellings(name: str) -> list[str]:
    """A name as it is, then in Unicode's forms that differ from it."""
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))


def whole_path(path: str | os.PathLike[str]) -> str:
    """From the root, with slashes and without detours, so that its folders can be compared with those of a name."""
    return Path(os.path.abspath(path)).as_posix()
