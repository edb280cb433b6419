"""Points that a folder is begun with, which become the saved points of its pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..checks import FileError, InputWarning, fail, suggestion
from ..files.io import Origin
from ..files.names import whole_path
from ..files.pictures import Exif, read_size
from ..files.results import PictureResults
from ..formats.guess import format_of
from ..panoptic import Category, LabelledPoints, read_points
from ..panoptic.points import read_each
from .categories import Categories
from .listing import Listing, points_path, some
from .settings import NAME
from .store import Store

_IMPORT = "`point2mask prepare import`"
_LONGEST = 80


@dataclass(frozen=True)
class Brought:
    """What a points file has of the pictures at hand.

    Attributes:
        path: the file.
        categories: all that it lists.
        names: of the pictures.
        pictures: name and points of each, made when it is asked for.
    """

    path: Path
    categories: tuple[Category, ...]
    names: Sequence[str]
    pictures: Iterator[tuple[str, LabelledPoints]]


def of_folder(path: Path, listing: Listing, out: Path, exif: Exif) -> Brought:
    """Points of the pictures of a folder, read as ``exif`` says; a warning tells of pictures that it does not have.

    Raises:
        FileError: a file that cannot be read; points beside which no picture is named; none of a picture that is
            there; and, as they are taken, points outside of a picture of which nothing is saved in ``out``.
    """
    origin, here = Origin(NAME, "points", path), frozenset(listing.folder)

    def shape_of(name: str | None) -> tuple[int, int] | None:
        if name not in here or exif != "apply" or points_path(out, name).exists():
            return None
        try:
            return read_size(listing.path(name))
        except Exception:  # decoders of hostile bytes raise anything; whoever opens it will hear
            return None

    categories, found, pictures = read_each(path, shape_of)
    names = [name for name in found if name in here]
    unknown = [name for name in found if name is not None and name not in here]
    hint = suggestion(unknown[0], listing.folder) if unknown else ""
    if not names:
        got = f"points of {some(unknown)}" if unknown else "points beside which no picture is named"
        origin.fail(got, f"pictures as {listing.root} has them, such as {listing.folder[0]!r:.80}{hint}")
    if unknown:
        warnings.warn(
            f"{path}: left out, since {listing.root} has no {some(unknown)}{hint}", InputWarning, stacklevel=5
        )
    return Brought(path, categories, names, ((name, points) for name, points in pictures if name in here))


def of_picture(path: Path, name: str, photo: Path, shape: tuple[int, int]) -> Brought:
    """Those of one picture, of (H, W) pixels, which is the file ``photo``."""
    read = read_points(path, image=whole_path(photo), shape=shape)
    return Brought(path, read.categories, [name], iter([(name, read)]))


def refuse_in_results(path: Path, out: Path, listing: Listing) -> None:
    """A job reads all points files in the folder of results, and would find a picture's points in two.

    Raises:
        ArgumentError: such a file, unless it is that of a picture.
    """
    file, own = path.resolve(), (points_path(out, name).resolve() for name in listing.folder)
    if file.is_relative_to(out.resolve()) and file not in own:
        got = f"{path}, a file in {out}, which takes those of single pictures"
        fail(NAME, "points", got, "a file elsewhere")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What is refused of a points file within is said in the words of the command, and briefly.

    Raises:
        FileError: a folder, another tool's file, or what the reader refuses.
    """
    origin = Origin(NAME, "points", path)
    if path.is_dir():
        expected = f"one JSON or CSV file, which {_IMPORT} makes of another tool's folder"
        origin.fail("a folder", f"{expected} (one that annotate has written goes on as out)")
    tool = format_of(origin)
    if tool is not None:
        origin.fail(f"a file that looks like one of {tool}", f"our own JSON or CSV, which {_IMPORT} makes of it")
    try:
        yield
    except FileError as error:
        if error.function == NAME:
            raise
        got, _, expected = str(error).partition("': got ")[2].rpartition("; expected ")
        origin.fail(_short(got.removeprefix(f"{path}: ")), expected, error)


def _short(got: str) -> str:
    """A file that is no points file may have all that it holds on its first line."""
    return got if len(got) <= _LONGEST else f"{got[: _LONGEST - 3]}..."


def begin_with(brought: Brought, store: Store, categories: Categories) -> str:
    """Save the points of pictures of which nothing is saved, so that all see them; what to say of it.

    Raises:
        ArgumentError: a category as thing and as stuff.
        FileError: a disk that cannot take them.
    """
    with store.locked():
        fresh = [name for name in brought.names if not points_path(store.out, name).exists()]
        if fresh:
            categories.bring(brought.categories, brought.path)
            store.begin((PictureResults.of(store.out, name, ""), points) for name, points in brought.pictures)
            categories.write(categories.listed())
    kept = len(brought.names) - len(fresh)
    said = f"points of {_pictures(len(fresh))} taken from {brought.path}"
    return said + (f"; {_pictures(kept)} had points in {store.out} already, which stay" if kept else "")


def _pictures(count: int) -> str:
    return f"{count} {'picture' if count == 1 else 'pictures'}"
