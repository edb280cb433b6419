"""Every link of a built site leads somewhere within it, and no page fetches anything from elsewhere.

python .ci/check_links.py build/docs
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("img", "src"), ("script", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""")


class Page(HTMLParser):
    """What a page of HTML names: its anchors, its links, and what a browser fetches to show it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.anchors, self.links, self.fetched = path, {""}, set[str](), set[str]()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag, name) == ("a", "name")):
                self.anchors.add(value)
            if value and (tag, name) in FETCHED:
                self.fetched.add(value)
            elif value and (tag, name) == ("a", "href"):
                self.links.add(value)


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a folder, a line each."""
    pages = {path: Page(path) for path in (file.resolve() for file in sorted(site.rglob("*.html")))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for link in sorted(page.links | page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    yield f"{name}: fetches {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name}: no file {link}"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: no anchor {link}"
    for path in sorted(site.rglob("*.css")):
        for fetched in IN_STYLE.findall(path.read_text()):
            yield f"{path.relative_to(site)}: fetches {fetched}"
    if not pages:
        yield f"{site}: no pages"


def main(site: str) -> int:
    found = list(faults(Path(site)))
    print("\n".join(found) or f"{site}: every link leads somewhere, and nothing is fetched")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
