"""The tables of the Markdown pages and the plots, made from the JSON in benchmarks/results: no figure is typed by hand.

python benchmarks/readme.py           # rewrites the tables between their markers, and the plots in docs
python benchmarks/readme.py --check   # exits 1 if a page says something else

A table stands wherever a page has its markers, ``<!-- name -->`` and ``<!-- /name -->``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import goals
import in_short
import label_tables
import tables

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLES: dict[str, Callable[[], str]] = {
    **in_short.TABLES,
    **tables.PAGES,
    **tables.BENCHMARKS,
    **label_tables.BENCHMARKS,
    "goals": goals.table_of_goals,
}


def filled(text: str) -> tuple[str, set[str]]:
    """A page with every table that it has a place for replaced, and their names."""
    names = {name for name in TABLES if f"<!-- {name} -->" in text}
    for name in names:
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if end not in text:
            raise SystemExit(f"the table '{name}' begins and does not end")
        text = f"{text[: text.index(start)]}{start}\n{TABLES[name]()}\n{text[text.index(end) :]}"
    return text, names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page differs")
    options = parser.parse_args()
    pages = {page: filled(page.read_text()) for page in PAGES}
    if nowhere := TABLES.keys() - {name for _, names in pages.values() for name in names}:
        raise SystemExit(f"no page has a place for {sorted(nowhere)}")
    if options.check:
        sys.exit(int(any(page.read_text() != text for page, (text, _) in pages.items())))
    for page, (text, _) in pages.items():
        page.write_text(text)
    import plot  # matplotlib is not needed for a check

    plot.draw(ROOT / "docs" / "benchmarks.svg")
    plot.draw_crowds(ROOT / "docs" / "crowds.svg")


if __name__ == "__main__":
    main()
