"""HTML from templates, in which whatever comes from a file is text and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...panoptic import Category
from ...viz.colors import category_colors, segment_colors
from .summary import percent


@cache
def environment() -> Environment:
    """The templates beside this file."""
    made = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["percent"] = percent
    return made


def script(name: str) -> tuple[Markup, str]:
    """A script among the templates, as it stands in a page, and the digest by which the page's policy knows it."""
    loader = environment().loader
    assert loader is not None
    text = loader.get_source(environment(), name)[0]
    return Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def legend(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Id and name of each category, and the shades that its segments have by turns."""
    colors = category_colors(categories)
    shades = [
        segment_colors(np.full(3, k), colors) if category.is_thing else colors[[k]]
        for k, category in enumerate(categories)
    ]
    return [
        {"id": category.id, "name": category.name, "shades": [f"#{bytes(color.tolist()).hex()}" for color in found]}
        for category, found in zip(categories, shades, strict=True)
    ]
