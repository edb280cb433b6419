"""``doubtful.txt``, from which ``annotate`` takes the pictures that are worth a second look."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...files.io import atomic_write
from ..job_settings import JobSettings
from ..settings import Sampling

_NAME = "label_dataset"
DOUBTFUL = "doubtful.txt"
MOST = 1000
"""A person looks at hundreds in a sitting, and then labels again."""
NEW_POINTS = "clicks"


def write_doubtful(root: Path, names: Iterable[str]) -> int:
    """Write the names, the most doubtful first, and give their number; one that no line can hold is left out.

    Raises:
        FileError: a disk that cannot take the file.
    """
    listed = [name for name in names if name.splitlines() == [name.strip()]]
    atomic_write(root / DOUBTFUL, "".join(f"{name}\n" for name in listed).encode(), function=_NAME, argument="out")
    return len(listed)


def annotate_command(settings: JobSettings, points: Any, root: Path) -> tuple[str, bool]:
    """The command that opens the doubtful pictures with their points, and whether these move to another place then.

    Args:
        settings: of the job.
        points: where its points come from, as ``label_dataset`` takes them.
        root: folder of the results.
    """
    words = ["point2mask", "annotate", settings.images]
    moves = isinstance(points, Sampling) or not (Path(points) / "categories.json").is_file()
    if not moves:
        words += ["--out", str(Path(points).absolute())]
    elif isinstance(points, Sampling) or Path(points).is_dir():
        words += ["--out", NEW_POINTS]
    else:
        words += ["--points", str(Path(points).absolute()), "--out", NEW_POINTS]
    words += [] if settings.exif is None else ["--exif", settings.exif]
    words += [] if settings.levels is None else ["--levels", *map(str, settings.levels)]
    return shlex.join([*words, "--only", str(root / DOUBTFUL)]), moves
