"""A list of pictures on disk, so that the memory that a job needs does not depend on how many there are."""

from __future__ import annotations

import hashlib
import json
import posixpath
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..files.io import Origin, atomic_file
from ..files.names import spellings

_FORMAT = 3
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE about (text TEXT);
CREATE TABLE picture (
    position INTEGER PRIMARY KEY, stem TEXT NOT NULL UNIQUE, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, body TEXT
);
"""


class Row(NamedTuple):
    """One picture.

    Attributes:
        position: 0, 1, ... in the order of the source.
        image_id: unique id.
        name: file name relative to the folder of pictures.
        body: what else the source says, as JSON values.
    """

    position: int
    image_id: int | str
    name: str
    body: Any


def stem_of(name: str) -> str:
    """The name without its suffix and detours (``a/../b.png``), which the label map shares with the picture."""
    path = PurePosixPath(posixpath.normpath(name))
    return path.with_suffix("").as_posix() if path.name not in ("", "..") else name


def key_of(name: str) -> str:
    """What files of a job's own are called after a picture, whatever its place in the points: folder and file.

    256 folders, for file systems that dislike large ones.
    """
    digest = hashlib.sha256(stem_of(name).encode()).hexdigest()
    return f"{digest[:2]}/{digest[2:24]}"


@dataclass(frozen=True)
class Table:
    """Rows in their order, or by stem; built once and then only read.

    Attributes:
        path: the file.
        about: what holds for all rows, as JSON values.
        size: number of rows.
    """

    path: Path
    about: Mapping[str, Any]
    size: int

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def rows(self, start: int = 0, step: int = 1) -> Iterator[Row]:
        """Every ``step``-th row from ``start``."""
        with _reading(self.path) as connection:
            query = "SELECT position, id, name, body FROM picture WHERE position % ? = ? ORDER BY position"
            for row in connection.execute(query, (step, start)):
                yield _row(row)

    def find(self, name: str) -> Row | None:
        """The row of the picture with this name, whatever its suffix."""
        with _reading(self.path) as connection:
            query = "SELECT position, id, name, body FROM picture WHERE stem = ?"
            row = connection.execute(query, (stem_of(name),)).fetchone()
        return None if row is None else _row(row)

    def at(self, position: int) -> Row:
        """The row at a position."""
        with _reading(self.path) as connection:
            query = "SELECT position, id, name, body FROM picture WHERE position = ?"
            return _row(connection.execute(query, (position,)).fetchone())

    def twins(self) -> tuple[str, str] | None:
        """Two names that are one to a disk which does not tell A from a, nor one way to write an é from another."""
        with _reading(self.path) as connection:
            connection.create_function("folded", 1, _folded, deterministic=True)
            query = "SELECT min(name), max(name) FROM picture GROUP BY folded(stem) HAVING count(*) > 1 LIMIT 1"
            found: tuple[str, str] | None = connection.execute(query).fetchone()
        return found

    def missing(self, names: Iterable[str]) -> Iterator[str]:
        """The names that no row has, those among them that are no Unicode (and so in no table)."""
        with _reading(self.path) as connection:
            query = "SELECT 1 FROM picture WHERE stem = ?"
            for name in names:
                stem = stem_of(name).encode("utf-8", "backslashreplace").decode()
                if not any(connection.execute(query, (form,)).fetchone() for form in spellings(stem)):
                    yield name


def open_table(path: Path, source: str) -> Table | None:
    """The table at ``path`` if it was built from the same ``source`` (a digest), else None."""
    if not path.is_file():
        return None
    try:
        with _reading(path) as connection:
            about = json.loads(connection.execute("SELECT text FROM about").fetchone()[0])
            size = connection.execute("SELECT count(*) FROM picture").fetchone()[0]
    except (sqlite3.Error, TypeError, ValueError):
        return None
    same = about.get("format") == _FORMAT and about.get("source") == source
    return Table(path, about, size) if same else None


def build_table(
    origin: Origin, path: Path, source: str, about: Mapping[str, Any], rows: Iterable[tuple[int | str | None, str, Any]]
) -> Table:
    """Write a table that appears whole or not at all.

    Args:
        origin: where the rows come from, named in errors.
        path: the file to write.
        source: digest of what the rows come from.
        about: what holds for all rows.
        rows: (id, name, body) of each picture; without id it is the position, from 1.

    Raises:
        FileError: two pictures with one id, or whose names differ in the suffix only; half a character in a name; a
            disk that is full.
    """
    entire = {**about, "format": _FORMAT, "source": source}
    size = 0
    with atomic_file(path, function=origin.function, argument="out") as file:
        connection = _connect(Path(file.name), "nolock=1")
        try:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN")
            connection.execute("INSERT INTO about VALUES (?)", (json.dumps(entire),))
            for position, (image_id, name, body) in enumerate(rows):
                number = json.dumps(position + 1 if image_id is None else image_id)
                values = (position, stem_of(name), number, name, json.dumps(body, separators=(",", ":")))
                try:
                    connection.execute("INSERT INTO picture VALUES (?, ?, ?, ?, ?)", values)
                except UnicodeEncodeError as error:
                    origin.fail(f"picture {name!r}, id {number}", "names of Unicode characters", error)
                except sqlite3.IntegrityError as error:
                    if error.args[0].endswith(".id"):
                        origin.fail(f"picture {name!r}, id {number}: id twice", "unique ids", error)
                    (other,) = connection.execute("SELECT name FROM picture WHERE stem = ?", values[1:2]).fetchone()
                    got = f"pictures {other!r} and {name!r}: name (suffix aside) twice"
                    origin.fail(got, "unique names, since masks are called as their pictures are", error)
                size = position + 1
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise OSError(0, f"{error}") from error  # a full disk: atomic_file says which file
        finally:
            connection.close()
    return Table(path, entire, size)


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = _connect(path, "mode=ro&immutable=1")
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path, how: str) -> sqlite3.Connection:
    """Without SQLite's own locks, which many network file systems lack: a table has one writer, and then none."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _row(values: tuple[int, str, str, str]) -> Row:
    position, image_id, name, body = values
    return Row(position, json.loads(image_id), name, json.loads(body))
