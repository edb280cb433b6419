"""Parts of a job that ran apart, and how they become one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checks import fail
from ..files.io import make_folder
from ..panoptic import atomic_write, safe_join
from .folder import JobFolder
from .job_settings import differences

_NAME = "label_dataset"
_FOLDER = re.compile(r"shard-\d+-of-\d+")


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Where part i of n keeps its results; the whole job keeps its own in ``out`` itself."""
    return out if shard == (1, 1) else out / f"shard-{shard[0]}-of-{shard[1]}"


def shards_of(folder: JobFolder, fingerprint: Mapping[str, Any]) -> list[JobFolder]:
    """The parts below ``folder``.

    Args:
        folder: of the whole job, which is locked.
        fingerprint: of the whole job.

    Raises:
        ArgumentError: no parts, a part that is still being worked on, or one with other settings.
    """
    paths = sorted(path for path in folder.root.glob("shard-*") if _FOLDER.fullmatch(path.name))
    if not paths:
        fail(_NAME, "merge", f"no folder shard-I-of-N in {folder.root}", "the folders that jobs with shard='i/n' made")
    parts = [JobFolder(path) for path in paths]
    for part in parts:
        with part.locked():
            theirs = {**(part.fingerprint() or {}), "shard": fingerprint["shard"]}
        if changed := differences(theirs, fingerprint):
            got = f"{part.root}, a job with other settings: {'; '.join(changed)}"
            fail(_NAME, "merge", got, "parts of one job")
    return parts


def adopt_shards(folder: JobFolder, parts: Iterable[JobFolder]) -> None:
    """Take over every finished picture of the parts of a job, which stay as they are.

    Raises:
        ArgumentError: a part that is worked on again.
    """
    for part in parts:
        with part.locked():
            for _, record in part.records():
                if "name" in record:
                    _adopt(folder, part, record["name"])


def _adopt(folder: JobFolder, part: JobFolder, name: str) -> None:
    record = part.read_record(name)
    if record is None or folder.read_record(name) is not None:
        return
    for file in [*record.get("files", {}), *record.get("thumbnails", ())]:
        source = safe_join(part.root, file, function=_NAME, argument="merge")
        target = safe_join(folder.root, file, function=_NAME, argument="out")
        make_folder(target.parent, function=_NAME, argument="out")
        if file in record.get("thumbnails", ()) and not source.is_file():
            continue  # drawn again
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another disk, or a file system without links
            atomic_write(target, source.read_bytes(), function=_NAME, argument="out")
    folder.write_record(record)
