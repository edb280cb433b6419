"""The tables of both READMEs and the plots, made from the JSON in benchmarks/results: no figure is typed by hand.

python benchmarks/readme.py           # rewrites the tables between their markers, and the plots in docs
python benchmarks/readme.py --check   # exits 1 if a README says something else
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import goals
import label_tables
import tables

ROOT = Path(__file__).parents[1]
PLACES: dict[Path, Mapping[str, Callable[[], str]]] = {
    ROOT / "README.md": tables.README,
    ROOT / "benchmarks" / "README.md": tables.BENCHMARKS | label_tables.BENCHMARKS | {"goals": goals.table_of_goals},
}


def filled(readme: Path, made: Mapping[str, Callable[[], str]]) -> str:
    """A README with every table replaced."""
    text = readme.read_text()
    for name, make in made.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in text or end not in text:
            raise SystemExit(f"{readme.name} has no place for the table '{name}'")
        text = f"{text[: text.index(start)]}{start}\n{make()}\n{text[text.index(end) :]}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a README differs")
    options = parser.parse_args()
    texts = {readme: filled(readme, made) for readme, made in PLACES.items()}
    if options.check:
        sys.exit(int(any(readme.read_text() != text for readme, text in texts.items())))
    for readme, text in texts.items():
        readme.write_text(text)
    import plot  # matplotlib is not needed for a check

    plot.draw(ROOT / "docs" / "benchmarks.svg")
    plot.draw_crowds(ROOT / "docs" / "crowds.svg")


if __name__ == "__main__":
    main()
