"""Whether folders can take results: to be known before a person has clicked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..checks import fail
from ..files.io import reason_of
from .settings import NAME

_EXPECTED = "a folder that can be written to, or a name that is free"


def check_folders(folders: Iterable[Path]) -> None:
    """Refuse what is no folder, or cannot be written to; what is missing has to have a place.

    Raises:
        ArgumentError: naming ``out``.
    """
    for folder in dict.fromkeys(folders):
        try:
            there = next((path for path in (folder, *folder.parents) if _is_there(path)), folder)
            is_folder = stat.S_ISDIR(os.stat(there).st_mode)
        except (OSError, ValueError) as error:  # a link to nothing; a NUL byte
            fail(NAME, "out", f"{str(folder)!r:.200} ({reason_of(error)})", _EXPECTED)
        if not is_folder:
            fail(NAME, "out", f"{there}, which is a file", _EXPECTED)
        if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
            fail(NAME, "out", f"{there}, which cannot be written to", _EXPECTED)


def _is_there(path: Path) -> bool:
    """A link to nothing is."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
