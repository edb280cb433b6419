"""Links of Markdown files that are read both in the repository and on the site.

In the repository a link names a file, seen from the file that it stands in. On the site, what is a page there becomes a
link to it, any other file a download, and a folder plain words.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks": "benchmarks.md",
    "benchmarks/quality/NOTES.md": "quality_notes.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples": "examples.md",
    "examples/README.md": "examples.md",
    "examples/gallery": "gallery/index.rst",
}
"""Which page of the site shows a file or folder outside of ``docs``."""
ELSEWHERE = {"README.md#how-good-are-the-masks": "quality.md", "README.md#how-fast": "speed.md"}
"""Headings of the README of which the site has a page."""
GALLERY = re.compile(r"examples/(gallery/plot_\w+)\.py")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")


def page_of(name: str) -> str | None:
    """The page, seen from ``docs``, that shows a file or folder of the repository."""
    if script := GALLERY.fullmatch(name):
        return f"{script[1]}.rst"
    return name.removeprefix("docs/") if name.startswith("docs/") else PAGES.get(name)


def relinked(text: str, folder: Path) -> str:
    """Markdown from a file in ``folder``, its relative links as the site needs them."""

    def replaced(match: re.Match[str]) -> str:
        mark, words, link = match.groups()
        target, hash_, anchor = link.partition("#")
        if not target or "://" in target or target.startswith("/"):
            return match[0]
        name = os.path.relpath(folder / target, ROOT)
        if page := ELSEWHERE.get(name + hash_ + anchor):
            return f"{mark}[{words}](/{page})"
        if page := page_of(name):
            return f"{mark}[{words}](/{page}{hash_}{anchor})"
        return words if (ROOT / name).is_dir() else f"{mark}[{words}](/../{name})"

    return LINK.sub(replaced, text)


def of_page(app: Sphinx, name: str, content: list[str]) -> None:
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md":
        content[0] = relinked(content[0], path.parent)


def of_included(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    if path.suffix == ".md":
        content[0] = relinked(content[0], (Path(app.srcdir) / path).parent)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", of_page)
    app.connect("include-read", of_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
