"""What the site promises before it is built: every public name, equation and script has its place, no link is dead."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import point2mask_ot

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *(ROOT / folder / "README.md" for folder in ("examples", "benchmarks")),
    ROOT / "benchmarks" / "quality" / "NOTES.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "howto").glob("*.md")),
]
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))


def loaded(path: Path) -> ModuleType:
    """A script beside the package as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_public_name_stands_once_in_the_reference():
    pages = {page.stem: page.read_text() for page in (DOCS / "api").glob("*.rst")}
    documented = re.findall(
        r"^\.\. (?:auto)?(?:function|class|data|exception):: (\w+)(?:\(\))?$", "\n".join(pages.values()), re.M
    )
    for name in set(point2mask_ot.__all__) - {"__version__"}:
        assert documented.count(name) == 1, name
    listed = re.findall(r"^   (\w+)$", pages["index"].split("toctree")[1], re.M)
    assert sorted(listed) == sorted(pages.keys() - {"index"})


def test_every_equation_stands_in_the_guide():
    guide = (DOCS / "guide.md").read_text()
    parts = re.split(r"^### Eq\. (\d+): .*$", guide, flags=re.M)
    assert sorted(map(int, parts[1::2])) == list(range(1, 16))
    assert all("$$" in part for part in parts[2::2])


def test_every_script_of_the_gallery_has_its_place():
    names = loaded(DOCS / "site" / "order.py").NAMES
    assert sorted(f"plot_{name}" for name in names) == [path.stem for path in GALLERY]


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: path.stem)
def test_every_script_of_the_gallery_has_a_title(script):
    title, line = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()[:2]
    assert line == "=" * len(title)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_links_are_those_of_the_site():
    relinked = loaded(DOCS / "site" / "relink.py").relinked
    text = "[a](guide.md#eq) ![b](../docs/x.jpg) [c](../README.md) [d](../examples/pictures.py) [e](../tests) [f](https://x)"
    assert relinked(text, DOCS) == (
        "[a](/guide.md#eq) ![b](/x.jpg) [c](/index.md) [d](/../examples/pictures.py) e [f](https://x)"
    )
    assert relinked("[a](gallery/plot_sizes.py)", ROOT / "examples") == "[a](/gallery/plot_sizes.rst)"


def test_dead_links_of_a_built_site_are_found(tmp_path):
    faults = loaded(ROOT / ".ci" / "check_links.py").faults
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html#y">b</a><a href="#x">x</a><a href="https://z">z</a>')
    (tmp_path / "b.html").write_text(
        '<a href="c.html">c</a><a href="a.html#no">a</a><img src="https://pictures/p.png">'
    )
    assert list(faults(tmp_path)) == [
        "a.html: no anchor b.html#y",
        "b.html: no anchor a.html#no",
        "b.html: no file c.html",
        "b.html: fetches https://pictures/p.png",
    ]
