"""``doubtful.txt``, from which ``annotate`` takes the pictures that are worth a second look."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ...files.io import atomic_write
from ..job_settings import JobSettings
from ..settings import Sampling

_NAME = "label_dataset"
DOUBTFUL = "doubtful.txt"
MOST = 1000
"""A person looks at hundreds in a sitting, and then labels again."""


def write_doubtful(root: Path, names: Iterable[str]) -> int:
    """Write the names, the most doubtful first, and give their number; one that no line can hold is left out.

    Raises:
        FileError: a disk that cannot take the file.
    """
    listed = [name for name in names if name.splitlines() == [name.strip()]]
    atomic_write(root / DOUBTFUL, "".join(f"{name}\n" for name in listed).encode(), function=_NAME, argument="out")
    return len(listed)


class WayBack(NamedTuple):
    """From a report to the page.

    Attributes:
        command: opens the doubtful pictures.
        clicks: where their points are then; "" where they stay in the folder that the job took them from.
        bare: the page begins without the points, which the command cannot give it.
    """

    command: str
    clicks: str
    bare: bool


def way_back(settings: JobSettings, points: Any, root: Path) -> WayBack:
    """How to look at the doubtful pictures again.

    Args:
        settings: of the job.
        points: where its points come from, as ``label_dataset`` takes them.
        root: folder of the results.
    """
    drawn = isinstance(points, Sampling)
    stays = not drawn and (Path(points) / "categories.json").is_file()
    bare = drawn or (not stays and Path(points).is_dir())
    clicks = str(Path(points).absolute() if stays else root.with_name(f"{root.name}_clicks"))
    words = ["point2mask", "annotate", settings.images]
    words += [] if stays or bare else ["--points", str(Path(points).absolute())]
    words += ["--out", clicks]
    words += [] if settings.exif is None else ["--exif", settings.exif]
    words += [] if settings.levels is None else ["--levels", *map(str, settings.levels)]
    return WayBack(shlex.join([*words, "--only", str(root / DOUBTFUL)]), "" if stays else clicks, bare)
