"""Names of categories as people type them, on the command line and on the page."""

from __future__ import annotations

from pathlib import Path

from ..checks import fail, suggestion
from ..files.io import Origin
from ..panoptic.kinds import kind_of, named_kind
from .settings import NAME

LONGEST = 80
"""Letters; the list of the page has room for about thirty."""


def typed_category(text: str) -> tuple[str, bool | None]:
    """``grass:stuff`` and ``cat:thing`` as a name and whether it is a thing; None where that is not said.

    Raises:
        ArgumentError: no name, several between commas, one that is too long or has a line break, or another word
            behind the colon.

    Example:
        >>> typed_category("grass: stuff"), typed_category("background"), typed_category("cat")
        (('grass', False), ('background', False), ('cat', None))
    """
    name, said = named_kind(text.strip())
    if not name or "," in name or ":" in name or len(name) > LONGEST:
        expected = f"one name of 1 to {LONGEST} letters, without a comma, alone or with :thing or :stuff"
        near = suggestion(name.rpartition(":")[2].strip(), ("thing", "stuff")) if ":" in name else ""
        fail(NAME, "categories", f"the name {name!r:.100}", expected + near)
    _, thing = kind_of(Origin(NAME, "categories", Path("as typed")), "the name", text.strip(), None)
    return name, said if said is not None or thing else False
