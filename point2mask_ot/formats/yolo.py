"""YOLO's polygons: a text file for each picture, a line for each object, in parts of the picture's sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ..panoptic import Category, PanopticImage
from .outlines import joined
from .segments import cuts


def text(image: PanopticImage, number: Mapping[int, int], *, stuff: bool) -> bytes:
    """The lines of a picture: a class, and one polygon around all parts of the object.

    Args:
        image: the picture.
        number: of each category id.
        stuff: with a line for each kind of stuff.
    """
    height, width = image.size
    lines = []
    for cut in cuts(image, stuff=stuff):
        x, y = (joined(cut.polygons()) / (width, height)).T.tolist()
        corners = " ".join(f"{each:.8g}" for pair in zip(x, y, strict=True) for each in pair)
        lines.append(f"{number[cut.segment.category_id]} {corners}\n")
    return "".join(lines).encode()


def about(categories: Sequence[Category]) -> bytes:
    """``data.yaml``: the pictures are looked for in a folder ``images`` beside ``labels``."""
    names = "".join(f"  {k}: {json.dumps(c.name)}\n" for k, c in enumerate(categories))  # YAML's strings are JSON's
    return f"path: .\ntrain: images\nval: images\nnames:\n{names}".encode()
