"""``report/pictures.html``: every picture of a job, a line each, which the page sorts, searches and shows."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...files.io import atomic_file, make_folder
from ...files.results import JOB
from ..job_settings import JobSettings
from ..results import Add
from ..table import Row
from .cards import Cards
from .pages import environment, legend, script
from .thumbnails import FOLDER

_NAME = "label_dataset"
PICTURES = f"{FOLDER}/pictures.html"


@contextmanager
def pictures_page(root: Path, settings: JobSettings, command: str) -> Iterator[Add]:
    """Takes the records one by one, and writes the page when the block ends; memory holds one.

    Args:
        root: folder of the results.
        settings: of the job.
        command: that opens the doubtful pictures in ``annotate``.

    Raises:
        FileError: a disk that cannot take the page.
    """
    cards, waiting = Cards(settings), root / JOB / "pictures.part"
    make_folder(root / FOLDER, function=_NAME, argument="out")
    with atomic_file(root / PICTURES, function=_NAME, argument="out") as file:
        try:
            with open(waiting, "w+", encoding="utf-8") as lines:

                def add(row: Row, record: Mapping[str, Any]) -> None:
                    lines.write(htmlsafe_json_dumps(_values(cards, row, record), separators=(",", ":")) + "\n")

                yield add
                lines.seek(0)
                text, digest = script("pictures.js")
                page = (
                    environment()
                    .get_template("pictures.html")
                    .generate(
                        title="All pictures",
                        legend=legend(settings.shown_categories),
                        command=command,
                        rows=(Markup(line.rstrip("\n")) for line in lines),
                        script=text,
                        script_hash=digest,
                    )
                )
                for part in page:
                    file.write(part.encode())
        finally:
            waiting.unlink(missing_ok=True)


def _values(cards: Cards, row: Row, record: Mapping[str, Any]) -> list[Any]:
    if "error" in record:
        return [row.name, record["error"]]
    one = cards(row, record)
    numbers = [one.confidence, one.targets, one.segments, one.void, one.seconds, one.pq, one.miou]
    return [
        one.name,
        *numbers,
        one.state,
        *(name and posixpath.relpath(name, FOLDER) for name in (one.labels, one.truth)),
    ]
