"""The folder of pictures that files of other tools are about."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from ..checks import FileError, suggestion
from ..files.io import origin_of
from ..files.pictures import PICTURE_SUFFIXES, read_size


class Photos:
    """Pictures by their name, or by what of it is left in other tools' files.

    Args:
        function: named in errors, with its argument ``images``.
        folder: of the pictures, and of folders of them.

    Raises:
        FileError: no folder, or no picture in it.
    """

    def __init__(self, function: str, folder: str | os.PathLike[str]) -> None:
        self.origin = origin_of(function, "images", folder)
        self.known: dict[str, set[str]] = defaultdict(set)
        for place, _, files in os.walk(self.origin.path):
            for file in files:
                if Path(file).suffix.lower() in PICTURE_SUFFIXES:
                    name = (Path(place) / file).relative_to(self.origin.path).as_posix()
                    for key in (name, file, str(PurePosixPath(name).with_suffix("")), Path(file).stem):
                        self.known[key].add(name)
        if not self.known:
            self.origin.fail("no pictures", f"a folder with some ({', '.join(PICTURE_SUFFIXES)})")

    def find(self, name: str) -> str:
        """The picture's name below the folder; its folders, and its suffix, may be left out if that is clear."""
        path = PurePosixPath(name)
        found: set[str] = set()
        for key in (name, path.name, str(path.with_suffix("")) if path.name else name, path.stem):
            found = {key} if key in self.known.get(key, ()) else self.known.get(key, set())
            if found:
                break
        if len(found) != 1:
            if found:
                there = f"the name of one: {', '.join(sorted(found)[:5])}"
                self.origin.fail(f"several pictures {name!r:.80}", f"{there} (files may name it, or be called so)")
            self.origin.fail(f"no picture {name!r:.80}", f"one picture of that name{suggestion(name, self.known)}")
        return next(iter(found))

    def size(self, name: str) -> tuple[int, int]:
        """(H, W) of a picture that was found, as viewers show it."""
        path = self.origin.path / name
        try:
            return read_size(path)
        except Exception as error:  # decoders of hostile bytes raise anything
            raise FileError(self.origin.function, "images", f"{path}: {error}", "a readable picture") from error
