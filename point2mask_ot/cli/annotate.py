"""``point2mask annotate``: a page to click points on a picture."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import fail

if TYPE_CHECKING:
    from ..panoptic import Category


def add_annotate(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the parsers of ``point2mask``; its settings of the masks are those of ``label``."""
    annotate = commands.add_parser("annotate", help="click points on a picture in a local page and see its masks")
    annotate.add_argument("photo", type=Path, help="a PNG, JPEG, WebP or BMP picture")
    annotate.add_argument("--points", type=Path, help="JSON or CSV to begin with (default: what was saved in OUT)")
    annotate.add_argument("--categories", default="", help="names to choose from, such as cat,dog,grass:stuff")
    annotate.add_argument("--port", type=int, default=0, help="of the page on this machine (default: any free one)")
    annotate.add_argument("--no-browser", action="store_true", help="only print the page's address")
    annotate.add_argument("--pixels", type=int, default=2**19, help="larger pictures in blocks (default: 524288)")
    annotate.add_argument("--exif", default="refuse", help="pictures that a camera's tag turns: refuse or apply")
    annotate.set_defaults(run=_annotate)
    return annotate  # type: ignore[no-any-return]


def _annotate(options: argparse.Namespace) -> None:
    from ..annotate import serve

    names = ("points", "out", "port", "exif", "pixels", "preset", "sigma", "color_weight", "edge_model")
    settings = {name: getattr(options, name) for name in names}
    settings |= {key: getattr(options, key) for key in ("stride", "beta") if getattr(options, key) is not None}
    categories = parse_categories(options.categories)
    serve(options.photo, categories=categories, open_browser=not options.no_browser, **settings)
    # A kernel that a thread is still compiling would abort the interpreter on its way out.
    sys.stdout.flush()
    os._exit(0)


def parse_categories(text: str) -> list[Category]:
    """Categories out of ``name[:thing|:stuff]`` between commas.

    Raises:
        ArgumentError: an empty name, a name twice, or another word behind the colon.

    Example:
        >>> [(c.id, c.name, c.is_thing) for c in parse_categories("cat, grass:stuff")]
        [(1, 'cat', True), (2, 'grass', False)]
    """
    from ..panoptic import Category

    categories: list[Category] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, kind = (word.strip() for word in part.partition(":"))
        if not name or kind not in ("", "thing", "stuff") or name in [c.name for c in categories]:
            fail("annotate", "categories", repr(part), "different names, each alone or with :thing or :stuff")
        categories.append(Category(len(categories) + 1, name, kind != "stuff"))
    return categories
