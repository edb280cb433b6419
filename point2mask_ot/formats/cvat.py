"""CVAT for images, XML 1.1: pictures one after the other, each with its shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np

from ..checks import FileError
from ..files.io import Origin, reason_of
from . import shapes
from .fields import lengths, numbers, pairs, picture_size, ring, unpacked
from .marks import Drawn, Mark, Names, Shape, clicks_of

_CHUNK = 2**16
_MAX_DEPTH = 32
_SHAPES = ("points", "polyline", "polygon", "box", "ellipse", "mask", "skeleton")
_UNKNOWN = ("cuboid", "track")


def read(origin: Origin, names: Names) -> Iterator[Drawn]:
    """The pictures of a file, of which one is held at a time."""
    reader = _Reader(origin, names)
    try:
        with open(origin.path, "rb") as file:
            while chunk := file.read(_CHUNK):
                reader.parser.Parse(chunk)
                yield from reader.take()
        reader.parser.Parse(b"", True)
    except OSError as error:
        origin.fail(reason_of(error), "a readable XML file", error)
    except FileError:  # which is a ValueError, too
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter of encodings
        origin.fail(f"{error}", "whole XML", error)
    yield from reader.take()


class _Reader:
    """Elements as they begin and end.

    A document type is refused, which CVAT writes none of: with it go entities, and all that can be done with them.
    """

    def __init__(self, origin: Origin, names: Names) -> None:
        self.origin, self.names = origin, names
        self.open: list[str] = []
        self.picture: dict[str, str] = {}
        self.skeleton: tuple[str, dict[str, str], list[np.ndarray]] | None = None
        self.marks: list[Mark] = []
        self.done: list[Drawn] = []
        self.pictures = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse_type

    def take(self) -> list[Drawn]:
        """The pictures that have ended since this was asked last."""
        done, self.done = self.done, []
        return done

    def _refuse_type(self, *_: Any) -> NoReturn:
        self.origin.fail("XML with a document type", "XML without, as CVAT writes it")

    def _begin(self, tag: str, has: dict[str, str]) -> None:
        if not self.open and tag != "annotations":
            self.origin.fail(f"XML of <{tag}>", "<annotations>, as in CVAT for images 1.1")
        if len(self.open) >= _MAX_DEPTH:
            self.origin.fail(f"XML nested more than {_MAX_DEPTH} deep", "CVAT for images 1.1")
        path, self.open = self.open, [*self.open, tag]
        where = self._where(tag)
        if tag in _UNKNOWN:
            self.origin.fail(f"{where}", f"{', '.join(_SHAPES)}, of pictures (CVAT for images 1.1)")
        if path == ["annotations"] and tag == "image":
            self.picture, self.marks = has, []
        elif path == ["annotations", "image", "skeleton"] and tag == "points" and self.skeleton is not None:
            if has.get("outside") != "1":
                self.skeleton[2].append(self._pairs(where, has))
        elif path == ["annotations", "image"] and tag == "skeleton":
            self.skeleton = where, has, []
        elif path == ["annotations", "image"] and tag in _SHAPES:
            self._mark(where, has, self._shape(where, tag, has))

    def _end(self, tag: str) -> None:
        self.open.pop()
        if self.open == ["annotations", "image"] and tag == "skeleton" and self.skeleton is not None:
            where, has, found = self.skeleton
            if found:
                self._mark(where, has, shapes.points(np.concatenate(found), self._size()))
            self.skeleton = None
        if self.open == ["annotations"] and tag == "image":
            name = self.picture.get("name") or self.origin.fail(f"image[{self.pictures}]: no name", "a file name")
            self.done.append(Drawn(name, clicks_of(self.marks, self.names), self._size()))
            self.pictures += 1

    def _where(self, tag: str) -> str:
        return f"image[{self.pictures}]: {tag}[{len(self.marks)}], line {self.parser.CurrentLineNumber}"

    def _mark(self, where: str, has: dict[str, str], shape: Shape) -> None:
        label = self.names.add(self.origin, where, has.get("label"))
        group = has.get("group_id", "0")
        self.marks.append(Mark(where, label, shape, None if group in ("", "0") else f"group {group}"))

    def _size(self) -> shapes.Size:
        has = {key: int(value) for key, value in self.picture.items() if value.isascii() and value.isdigit()}
        return picture_size(self.origin, has, f"image[{self.pictures}]", "height", "width")

    def _shape(self, where: str, tag: str, has: dict[str, str]) -> Shape:
        size = self._size()
        match tag:
            case "box":
                left, top, right, bottom = self._numbers(where, has, "xtl", "ytl", "xbr", "ybr")
                lengths(self.origin, where, width=right - left, height=bottom - top)
                return shapes.box(left, top, right - left, bottom - top, size=size)  # CVAT turns it around its centre
            case "ellipse":
                x, y, rx, ry = self._numbers(where, has, "cx", "cy", "rx", "ry")
                lengths(self.origin, where, rx=rx, ry=ry)
                return shapes.ellipse(x, y, rx, ry, size=size)
            case "polygon":
                return shapes.polygon(ring(self.origin, where, self._written(where, has)), size)
            case "mask":
                left, top, width, height = (int(n) for n in self._numbers(where, has, "left", "top", "width", "height"))
                runs = self._parsed(where, has.get("rle", "").split(","))
                mask = unpacked(self.origin, where, runs, (height, width), "C")
                return shapes.region(mask, left, top) or self.origin.fail(f"{where}: empty", "at least one pixel")
        return shapes.points(self._pairs(where, has), size)

    def _pairs(self, where: str, has: dict[str, str]) -> np.ndarray:
        return pairs(self.origin, where, self._written(where, has))

    def _written(self, where: str, has: dict[str, str]) -> list[list[float]]:
        """``x,y;x,y``"""
        return [self._parsed(where, pair.split(",")) for pair in has.get("points", "").split(";")]

    def _numbers(self, where: str, has: dict[str, str], *keys: str) -> list[float]:
        return numbers(self.origin, where, self._parsed(where, [has.get(key, "") for key in keys])).tolist()

    def _parsed(self, where: str, words: list[str]) -> list[float]:
        try:
            return [float(word) for word in words]
        except ValueError as error:
            return self.origin.fail(f"{where}: {','.join(words)!r:.80}", "numbers", error)
