"""docs/formats.md says of every format what is read and written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from point2mask_ot.formats import EXPORTS, IMPORTS

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


@pytest.mark.parametrize(("heading", "formats", "columns"), [("Points in", IMPORTS, 5), ("Masks out", EXPORTS, 4)])
def test_every_format_stands_in_its_table(heading, formats, columns):
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [row for row in part.splitlines() if row.startswith("| `")]
    assert [re.match(r"\| `([\w-]+)`", row)[1] for row in rows] == list(formats)
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == columns
        assert all(cells)
