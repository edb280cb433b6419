"""JSON whose long lists are read entry by entry, so that a file may be larger than the memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from .io import Origin, finite, reason_of, refuse_constant

_CHUNK = 2**16
_MAX_ENTRY = 2**26
_SPACE = " \t\r\n"
_BEHIND = [*_SPACE, ",", ":", "]", "}"]


def stream_json(origin: Origin) -> Iterator[tuple[str, Any]]:
    """Each (key, value) of the object in a UTF-8 JSON file; of a list, each (key, entry).

    Raises:
        FileError: the file is missing, not UTF-8, no JSON object, has an entry above 64 MB, or holds NaN, Infinity
            or a nesting too deep.
    """
    try:
        with open(origin.path, encoding="utf-8-sig") as file:
            yield from _Reader(origin, file).members()
    except (OSError, UnicodeDecodeError) as error:
        origin.fail(reason_of(error), "a readable JSON file in UTF-8", error)


def stream_list(origin: Origin) -> Iterator[Any]:
    """Each entry of the list in a UTF-8 JSON file.

    Raises:
        FileError: as :func:`stream_json`; no list.
    """
    try:
        with open(origin.path, encoding="utf-8-sig") as file:
            yield from _Reader(origin, file, "list").listed()
    except (OSError, UnicodeDecodeError) as error:
        origin.fail(reason_of(error), "a readable JSON file in UTF-8", error)


class _Reader:
    """A window on the text: what lies before ``at`` is forgotten, what follows ``text`` is not read yet."""

    def __init__(self, origin: Origin, file: TextIO, kind: str = "object") -> None:
        self.origin, self.file, self.kind = origin, file, kind
        self.text, self.at, self.ended = "", 0, False
        self.decoder = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite)

    def members(self) -> Iterator[tuple[str, Any]]:
        self._expect("{")
        separator = "," if self._peek() != "}" else self._take()
        while separator == ",":
            key = self._value()
            if not isinstance(key, str):
                self._fail(f"the key {key!r:.40}")
            self._expect(":")
            if self._peek() == "[":
                for entry in self._entries():
                    yield key, entry
            else:
                yield key, self._value()
            separator = self._take()
        if separator != "}" or self._peek():
            self._fail("no end of the object where it should be")

    def listed(self) -> Iterator[Any]:
        yield from self._entries()
        if self._peek():
            self._fail("no end of the list where it should be")

    def _entries(self) -> Iterator[Any]:
        self._expect("[")
        separator = "," if self._peek() != "]" else self._take()
        while separator == ",":
            yield self._value()
            separator = self._take()
        if separator != "]":
            self._fail("no end of a list where it should be")

    def _value(self) -> Any:
        """The next value; an error may only mean that the window ends too early, so it grows until it is large."""
        self._peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                if self.ended or len(self.text) - self.at > _MAX_ENTRY:
                    deep = isinstance(error, RecursionError)
                    self._fail("JSON nested too deep" if deep else f"{error}", error)
            else:
                # A number may go on behind the window, and "1." is taken for a 1 and a dot.
                if self.ended or self.text[end : end + 1] in _BEHIND or len(self.text) - self.at > _MAX_ENTRY:
                    self.at = end
                    return value
            self._grow()

    def _peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._grow()

    def _take(self) -> str:
        character = self._peek()
        self.at += len(character)
        return character

    def _expect(self, character: str) -> None:
        got = self._take()
        if got != character:
            self._fail(f"{got!r} where {character!r} should be" if got else "the end of the file")

    def _grow(self) -> None:
        rest = self.text[self.at :]
        more = self.file.read(max(_CHUNK, len(rest)))  # doubling keeps a long entry from being parsed again and again
        self.text, self.at, self.ended = rest + more, 0, not more

    def _fail(self, got: str, cause: BaseException | None = None) -> None:
        self.origin.fail(got, f"a JSON {self.kind} in UTF-8 with finite numbers", cause)
