"""Things and stuff as people write them beside a category's name."""

from __future__ import annotations

import re

from ..checks import suggestion
from ..files.io import Origin

ONE_LINE = "a name on one line, of Unicode characters"
_NOT_OF_A_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BACKGROUND = "background"
_KINDS = ("thing", "stuff")


def kind_of(origin: Origin, where: str, category: str, isthing: str | None) -> tuple[str, bool]:
    """The name of a category as someone wrote it, and whether it is a thing.

    Args:
        origin, where: named in errors.
        category: a name, or ``NAME:stuff`` or ``NAME:thing``.
        isthing: 0, 1, false or true; empty or None where nobody says.

    Raises:
        FileError: a name with a line break or NUL; ``NAME:stuf``, another word for isthing, or the two at odds.
    """
    if has_odd_letters(category):
        origin.fail(f"{where}: category {category!r:.80}", ONE_LINE)
    name, said = named_kind(category)
    if said is None and not isthing:
        _refuse_near_kind(origin, where, name)
    return name, _flag(origin, where, name, isthing, said)


def has_odd_letters(name: str) -> bool:
    """Line breaks, NUL and the like, or half a character: no list of names shows them."""
    return _NOT_OF_A_NAME.search(name) is not None


def _refuse_near_kind(origin: Origin, where: str, name: str) -> None:
    """``table:stuf`` would be a thing of that name."""
    near = suggestion(name.rpartition(":")[2].strip().lower(), _KINDS) if ":" in name else ""
    if near:
        expected = f":thing or :stuff behind the colon{near}, or {name}:thing for a thing of that name"
        origin.fail(f"{where}: category {name!r:.80}", expected)


def named_kind(text: str) -> tuple[str, bool | None]:
    """``wall:stuff`` and ``coin:thing`` as a name and whether it is a thing; None where the name alone stands there."""
    name, _, kind = (part.strip() for part in text.rpartition(":"))
    return (name, kind == "thing") if kind in _KINDS and name else (text, None)


def _flag(origin: Origin, where: str, name: str, text: str | None, said: bool | None) -> bool:
    if not text:
        return name.lower() != _BACKGROUND if said is None else said
    if text.lower() not in ("0", "1", "false", "true"):
        origin.fail(f"{where}: isthing {text!r:.80}", "0, 1, false or true")
    flag = text.lower() in ("1", "true")
    if said not in (None, flag):
        origin.fail(f"{where}: isthing {text!r} of a category that says otherwise", "one or the other")
    return flag
