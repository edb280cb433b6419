"""The pictures of a folder, by the names that a data set knows them by, and what has become of each."""

from __future__ import annotations

import os
import posixpath
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..checks import ArgumentError, InputWarning, fail, suggestion
from ..files.io import read_json
from ..files.pictures import PICTURE_SUFFIXES
from ..files.results import BEGUN, UNTOUCHED, PictureResults, is_job, is_mask, state_of
from .settings import NAME

_SOME = 5
_COMPARED = 1000


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder.

    Attributes:
        root: the folder; of a picture alone, the one that it lies in.
        names: relative to it, with forward slashes, as people count: ``2.jpg`` before ``10.jpg``.
        alone: one picture was asked for, and no folder.
        folder: the names of all pictures there, which share their categories, where ``names`` are some of them.
    """

    root: Path
    names: Sequence[str]
    alone: bool
    folder: Sequence[str]

    def path(self, name: str) -> Path:
        return self.root / name

    def only(self, asked: Sequence[str]) -> Listing:
        """Some of the pictures, each once, in the order asked for; their suffix may be left out.

        Raises:
            ArgumentError: a name that the folder lacks.
        """
        known = {str(PurePosixPath(name).with_suffix("")): name for name in self.folder}
        known |= {name: name for name in self.folder}
        found: dict[str, None] = {}
        for each in asked:
            path = posixpath.normpath(each)
            name = known.get(path) or known.get(str(PurePosixPath(path).with_suffix("")))
            if name is None:
                got = f"{each!r:.80}, which {self.root} does not have"
                fail(NAME, "only", got, f"pictures of the folder{suggestion(each, self.folder[:_COMPARED])}")
            found[name] = None
        return replace(self, names=tuple(found))


def list_pictures(photos: str | os.PathLike[str], out: Path, *, follow_links: bool = False) -> Listing:
    """List a folder and its sub folders by names alone; what is hidden, and the results in ``out``, is left out.

    So are pictures that are links out of the folder, with a warning, unless ``follow_links`` is set: a job refuses
    them, too.

    Raises:
        ArgumentError: a folder without a picture, or with two whose names differ in the suffix only, so that they
            would share their files.
    """
    path = Path(photos)
    if not path.is_dir():
        return Listing(path.parent, (path.name,), True, (path.name,))
    links: list[str] = []
    names = sorted(_walk(path, out, None if follow_links else links), key=_natural)
    if links and not names:
        got = f"{path}, whose pictures are links out of the folder"
        fail(NAME, "photos", got, "pictures in it, or follow_links=True")
    if links:
        left = f"{path}: left out, since they lead out of the folder: {some(links)}"
        warnings.warn(f"{left}; follow_links=True takes them", InputWarning, stacklevel=4)
    if not names:
        fail(NAME, "photos", f"{path}, without a picture", f"a folder with pictures ({', '.join(PICTURE_SUFFIXES)})")
    first: dict[PurePosixPath, str] = {}
    for name in names:
        same = first.setdefault(PurePosixPath(name).with_suffix(""), name)
        if same != name:
            fail(NAME, "photos", f"{same} and {name} in {path}", "pictures whose names differ in more than the suffix")
    return Listing(path, names, False, names)


def _walk(root: Path, out: Path, links: list[str] | None) -> Iterator[str]:
    """The names; those of links out of the folder join ``links`` instead, if that is a list."""
    base, results = root.resolve(), out.resolve()
    for folder, folders, files in os.walk(root):
        place = Path(folder)
        folders[:] = [
            name for name in folders if not name.startswith(".") and not _holds_results(place / name, results)
        ]
        for name in files:
            path = place / name
            if not name.lower().endswith(PICTURE_SUFFIXES) or name.startswith(".") or not _is_unicode(name):
                continue
            if path.is_symlink() and links is not None and not path.resolve().is_relative_to(base):
                links.append(path.relative_to(root).as_posix())
            elif not is_mask(path):
                yield path.relative_to(root).as_posix()


def _holds_results(folder: Path, results: Path) -> bool:
    """Of the page, or of a job."""
    return folder.resolve() == results or is_job(folder)


def _is_unicode(name: str) -> bool:
    """A data set cannot name other files, nor can a page."""
    return not re.search("[\ud800-\udfff]", name)


def _natural(name: str) -> list[Any]:
    """Text and numbers by turns; case matters last."""
    return [int(part) if part.isdecimal() else part.casefold() for part in re.split(r"(\d+)", name)] + [name]


class States:
    """What has become of each picture: read from the points files, again only where a file has changed.

    Args:
        listing: the pictures.
        out: folder of the points files.
    """

    def __init__(self, listing: Listing, out: Path) -> None:
        self._names, self._out = listing.names, out
        self._known: dict[str, tuple[tuple[int, int], str]] = {}

    def __call__(self) -> list[str]:
        """In the order of the names; of an untouched folder this touches no file."""
        there: dict[str, set[str]] = {}
        states = []
        for name in self._names:
            path = points_path(self._out, name)
            folder = str(path.parent)
            if folder not in there:
                there[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            states.append(self._state(path) if path.name in there[folder] else UNTOUCHED)
        return states

    def _state(self, path: Path) -> str:
        key = str(path)
        try:
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size
            if key not in self._known or self._known[key][0] != stamp:
                self._known[key] = stamp, state_of(read_json(path, function=NAME, argument="out"))
        except (OSError, ArgumentError):  # opened, it says what is wrong with it
            return BEGUN
        return self._known[key][1]


def some(names: Sequence[str]) -> str:
    """A few of many names, and how many there are."""
    listed = ", ".join(f"{name!r:.80}" for name in names[:_SOME])
    more = f" and {len(names) - _SOME} others" if len(names) > _SOME else ""
    return f"{listed}{more} ({len(names)} {'picture' if len(names) == 1 else 'pictures'})"


def points_path(out: Path, name: str) -> Path:
    """Where the points of a picture lie."""
    return PictureResults.of(out, name, "").points
