"""What a function refuses, in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple

from ..checks import ArgumentError
from .options import fields_of


class _Known(NamedTuple):
    """An option as a person types it, and its value."""

    shown: str
    value: Any


def complaint(error: BaseException, command: Any, prog: str) -> str:
    """What is wrong, in the words of the command line.

    Args:
        error: an :class:`~point2mask_ot.ArgumentError` names a function and its argument; here it is the option of that
            name. Arguments that the message suggests are options, too, if there are such.
        command: the record of the command.
        prog: its name.
    """
    known = _known(command)
    text = str(error)
    if not isinstance(error, ArgumentError):
        return f"{prog}: {_suggesting(text, known)}"
    said = text.removeprefix(f"{error.function}: argument '{error.argument}': ")
    got, expected, rest = said.rpartition("; expected ")
    said = got + expected + _suggesting(rest, known)
    names = (f"{error.function}.{error.argument}", error.function, error.argument.removeprefix("config."))
    found = [known[name] for name in names if name in known]
    given = [[one for one in options if one.value is not None] for options in found]
    options = next((options for options in given + found if len(options) == 1), None)
    about = options[0].shown if options else f"{error.function}: argument '{error.argument}'"
    return f"{prog}: {about}: {said}"


def in_words(reason: str, command: Any) -> str:
    """Why a picture was set aside, with what the reason suggests as options of a command."""
    got, expected, rest = reason.rpartition("; expected ")
    return got + expected + _suggesting(rest, _known(command))


def _known(command: Any) -> dict[str, list[_Known]]:
    known: dict[str, list[_Known]] = {}
    for name, option in _options(command):
        known.setdefault(name, []).append(option)
    return known


def _options(record: Any) -> Iterator[tuple[str, _Known]]:
    """Every name of every option."""
    for name, kind, option, _ in fields_of(type(record)):
        value = getattr(record, name)
        if is_dataclass(kind):
            yield from _options(value)
        elif not option.hidden:
            shown = name.upper() if option.positional else "--" + (option.name or name).replace("_", "-")
            for known in {name, *option.says, *(option.of or ())[1:]}:
                yield known, _Known(shown, value)


def _suggesting(text: str, known: Mapping[str, list[_Known]]) -> str:
    """``name=value`` and `` `name` `` as options, where these are options."""

    def replaced(match: re.Match[str]) -> str:
        options = known.get(match["name"] or match["quoted"], [])
        if len(options) != 1:
            return match[0]
        value = (match["value"] or "").strip("'\"")
        return options[0].shown + (f" {value}" if value not in ("", "True", "...") else "")

    return re.sub(r"\b(?P<name>[a-z_]+)=(?P<value>'[^']*'|\"[^\"]*\"|[\w./-]+)|`(?P<quoted>[a-z_]+)`", replaced, text)
