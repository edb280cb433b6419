"""``point2mask annotate``: a page to click points on a picture."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..annotate.settings import AnnotateSettings
from ..annotate.typed import typed_category
from ..checks import fail
from ..panoptic import Category
from .masks import MaskOptions
from .options import Option


@dataclass(frozen=True, kw_only=True)
class Annotate:
    """Click points on pictures in a local page and see their masks"""

    photos: Annotated[Path, Option(positional=True)]
    """A PNG, JPEG, WebP, BMP or TIFF picture, or a folder of them."""
    categories: str = ""
    """Names to choose from, such as cat,dog,grass:stuff."""
    port: int = 0
    """Of the page on this machine; 0: any free one."""
    no_browser: bool = False
    """Only print the page's address."""
    mask: MaskOptions
    page: AnnotateSettings

    def run(self, prog: str) -> None:
        """Serve the page until Ctrl-C."""
        from ..annotate import serve

        settings = {**vars(self.page), **self.mask.changes, "preset": self.mask.config}
        categories = parse_categories(self.categories)
        serve(self.photos, categories=categories, port=self.port, open_browser=not self.no_browser, **settings)
        # A kernel that a thread is still compiling would abort the interpreter on its way out.
        sys.stdout.flush()
        os._exit(0)


def parse_categories(text: str) -> list[Category]:
    """Categories out of ``name[:thing|:stuff]`` between commas.

    "background" is stuff where nothing else is said.

    Raises:
        ArgumentError: an empty name, a name twice, one that is too long, or another word behind the colon.

    Example:
        >>> [(c.id, c.name, c.is_thing) for c in parse_categories("cat, grass:stuff")]
        [(1, 'cat', True), (2, 'grass', False)]
    """
    categories: list[Category] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, is_thing = typed_category(part)
        if name in [category.name for category in categories]:
            fail("annotate", "categories", f"{name!r} twice", "different names")
        categories.append(Category(len(categories) + 1, name, is_thing is not False))
    return categories
