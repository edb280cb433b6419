"""What is saved of the pictures of a folder: a points file for each, in which nobody's work is lost to another's."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import FileError
from ..files.io import Origin, atomic_write, make_folder, parse_json, read_bytes, write_together
from ..files.results import BEGUN, DONE, SKIPPED, STATE, UNTOUCHED, PictureResults, digest, state_of
from ..panoptic import Category, LabelledPoints
from ..panoptic.clicks import clicked_targets, in_channel_order, point_entries
from ..panoptic.paint import Paint
from ..panoptic.points_json import content, json_categories, to_json
from ..types import PointTargets
from .categories import joined
from .settings import NAME
from .turns import Superseded

_MAX_BYTES = 2**28
_WRITER = "saved_by"


class Conflict(Exception):  # noqa: N818  # nothing is wrong
    """The points were saved since the page read them.

    Attributes:
        version: of what is saved now.
    """

    def __init__(self, path: Path, version: str) -> None:
        super().__init__(f"{path} was saved elsewhere since this page read it")
        self.version = version


@dataclass(frozen=True)
class Saved:
    """The content of a points file.

    Attributes:
        version: of the file; empty where there is none.
        state: what has become of the picture.
        categories: of the file.
        points: the points as they stand in a file, those of a target side by side.
        paint: what is painted on the picture.
    """

    version: str = ""
    state: str = UNTOUCHED
    categories: tuple[Category, ...] = ()
    points: Sequence[dict[str, Any]] = ()
    paint: Paint | None = None

    @property
    def used(self) -> list[Category]:
        """The categories that have a point."""
        names = {point["category"] for point in self.points}
        return [category for category in self.categories if category.name in names]


@dataclass(frozen=True)
class Basis:
    """What a page has seen before it saves.

    Attributes:
        version: of the points that it began with, "" for none.
        page: its own name, so that it is never at odds with itself: an answer may have been lost with the server.
        edit: the number of the save; a later one may have arrived before.
    """

    version: Any = ""
    page: str = ""
    edit: int = 0


class Store:
    """Reads and writes the points files of one folder.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._threads = threading.Lock()

    def read(self, files: PictureResults, size: tuple[int, int]) -> Saved:
        """What is saved of a picture.

        Args:
            files: its results.
            size: (H, W) of the picture.

        Raises:
            ArgumentError: points of another picture, or outside of this one; a damaged file.
        """
        files.check_points(NAME)
        if not files.points.is_file():
            return Saved()
        origin = Origin(NAME, "out", files.points)
        data = read_bytes(origin, _MAX_BYTES)
        document = parse_json(origin, data)
        listed, pictures = content(origin, document)
        if len(pictures) != 1:
            origin.fail(f"{len(pictures)} pictures", "the points of one picture")
        (clicks,), categories = pictures.values(), in_channel_order(listed)
        targets = clicked_targets(origin, clicks, categories, size)
        points = point_entries(NAME, "points", targets, categories)
        return Saved(digest(data), state_of(document), categories, points, clicks.paint)

    def all_categories(self, paths: Iterable[Path]) -> list[Category]:
        """Those of many points files; a damaged one says so when its picture is opened.

        Raises:
            ArgumentError: one as thing and as stuff.
        """
        found: tuple[Category, ...] = ()
        for path in paths:
            origin = Origin(NAME, "out", path)
            if path.is_file():
                with suppress(FileError):
                    listed = json_categories(origin, origin.field(self.document(path), "categories", list, "the file"))
                    found = joined(found, listed, "out", path)
        return list(found)

    def begin(self, pictures: Iterable[tuple[PictureResults, LabelledPoints]]) -> int:
        """Save the points of pictures that have none, all of them quickly; how many.

        Args:
            pictures: the files and points of each; locked by the caller.

        Raises:
            FileError: a disk that cannot take them.
        """
        return write_together(self._begun(pictures), function=NAME, argument="out")

    def _begun(self, pictures: Iterable[tuple[PictureResults, LabelledPoints]]) -> Iterator[tuple[Path, bytes]]:
        folders: set[Path] = set()
        for files, read in pictures:
            if not files.points.exists():
                if files.folder not in folders:
                    folders.add(make_folder(files.folder, function=NAME, argument="out"))
                points = point_entries(NAME, "points", read.targets, read.categories)
                yield files.points, to_json(points, read.categories, files.name, {STATE: BEGUN}, read.paint).encode()

    def write(
        self,
        files: PictureResults,
        targets: PointTargets,
        paint: Paint | None,
        categories: Sequence[Category],
        state: str,
        basis: Basis,
    ) -> Saved:
        """Save a picture's points, paint and state; the file is there, whole, when this returns.

        Raises:
            Conflict: another page has saved since.
            Superseded: this page has saved something later.
            ArgumentError: points of another picture; a disk that cannot take the file.
        """
        with self.locked():
            files.check_points(NAME)
            self._refuse_conflict(files.points, basis)
            make_folder(files.folder, function=NAME, argument="out")
            info = {**files.info, STATE: state, _WRITER: [basis.page, basis.edit]}
            points = point_entries(NAME, "points", targets, categories)
            data = to_json(points, categories, files.name, info, paint).encode()
            atomic_write(files.points, data, function=NAME, argument="out")
        return Saved(digest(data), state, tuple(categories), points, paint)

    def mark(self, files: PictureResults, state: str, categories: Sequence[Category]) -> str:
        """Give a picture a state without looking at it; its points, if it has any, stay. What it is in now.

        Raises:
            ArgumentError: a damaged file, or one of another picture; a disk that cannot take it.
        """
        origin = Origin(NAME, "out", files.points)
        with self.locked():
            document: dict[str, Any] = json.loads(to_json((), categories, files.name, {}))
            if files.points.is_file():
                document = self.document(files.points)
                if list(content(origin, document)[1]) not in ([files.name], [None]):
                    origin.fail("points of another picture", f"those of {files.name}")
            (clicks,) = content(origin, document)[1].values()
            made = next_state(state, len(clicks))
            info = document["info"] if isinstance(document.get("info"), dict) else {}
            document["info"] = {name: value for name, value in info.items() if name != _WRITER} | {STATE: made}
            make_folder(files.folder, function=NAME, argument="out")
            _write_document(files.points, document)
        return made

    def _refuse_conflict(self, path: Path, basis: Basis) -> None:
        if not path.is_file():
            return
        origin = Origin(NAME, "out", path)
        data = read_bytes(origin, _MAX_BYTES)
        current = digest(data)
        if current == basis.version:
            return
        info = parse_json(origin, data).get("info")
        page, edit = info.get(_WRITER) or ("", 0) if isinstance(info, dict) else ("", 0)
        if not basis.page or page != basis.page:
            raise Conflict(path, current)
        if edit > basis.edit:
            raise Superseded

    def document(self, path: Path) -> Any:
        """The content of a points file."""
        origin = Origin(NAME, "out", path)
        return parse_json(origin, read_bytes(origin, _MAX_BYTES))

    def rewrite(self, paths: Iterable[Path], edit: Callable[[Any], bool]) -> None:
        """Change the content of those files that are there, for which ``edit`` says that it has; pages will be told.

        Raises:
            FileError: a damaged file, before any is changed; a disk that cannot take one.
        """
        concerned = [path for path in paths if path.is_file() and edit(self.document(path))]
        for path in concerned:  # read again: all of them may not fit in memory
            document = self.document(path)
            edit(document)
            if isinstance(document.get("info"), dict):
                document["info"].pop(_WRITER, None)
            _write_document(path, document)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes, in this process or in another that serves the same folder."""
        make_folder(self.out, function=NAME, argument="out")
        with self._threads, open(self.out / ".annotate.lock", "wb") as file:
            if os.name == "posix":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            yield


def _write_document(path: Path, document: Any) -> None:
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    atomic_write(path, text.encode(), function=NAME, argument="out")


def next_state(asked: str | None, points: int) -> str:
    """The state of a picture that is saved: done or skipped where the page says so, else begun if it has points."""
    return asked if asked in (DONE, SKIPPED) else BEGUN if points else UNTOUCHED
