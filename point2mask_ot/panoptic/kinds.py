"""Things and stuff as people write them beside a category's name."""

from __future__ import annotations

from ..checks import suggestion
from ..files.io import Origin

_BACKGROUND = "background"
_KINDS = ("thing", "stuff")


def kind_of(origin: Origin, where: str, category: str, isthing: str | None) -> tuple[str, bool]:
    """The name of a category as someone wrote it, and whether it is a thing.

    Args:
        origin, where: named in errors.
        category: a name, or ``NAME:stuff`` or ``NAME:thing``.
        isthing: 0, 1, false or true; empty or None where nobody says.

    Raises:
        FileError: ``NAME:stuf``, another word for isthing, or the two at odds.
    """
    name, said = named_kind(category)
    if said is None and not isthing:
        _refuse_near_kind(origin, where, name)
    return name, _flag(origin, where, name, isthing, said)


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
