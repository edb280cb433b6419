"""Each block of code in the README and on the pages of the site runs, alone and in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import webbrowser
from pathlib import Path

import pytest
from labelling_jobs import entry, picture, write_document
from PIL import Image

from point2mask_ot.annotate.server import AnnotationServer
from point2mask_ot.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "howto").glob("*.md"))]
ELSEWHERE = {"reproduce.md"}
"""Pages of commands that take days; tests/examples knows their options."""


def blocks(language: str) -> list[object]:
    """Every different block in a language, by the page that it first stands on."""
    found: dict[str, str] = {}
    for page in PAGES:
        if page.name not in ELSEWHERE:
            for block in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
                found.setdefault(block, page.stem)
    return [pytest.param(block, id=f"{page}-{number}") for number, (block, page) in enumerate(found.items())]


@pytest.mark.parametrize("block", blocks("python"))
def test_fault_c17_each_block_of_python_runs_alone(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "a page", "exec"), {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With nothing there but the pictures, points and maps that the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("photos").mkdir()
    Path("clicks").mkdir()
    for photo in ("photo.jpg", "photos/a.jpg"):
        Image.fromarray(picture(0)).save(photo)
    Path("points.csv").write_text("x,y,category\n2,12,cat\n29,12,grass:stuff\n")
    write_document(Path("points.json"), [entry("a.jpg")])
    write_document(Path("clicks/a_points.json"), [entry("a.jpg")])
    (maps,) = (block.values[0] for block in blocks("python") if "def flat(" in block.values[0])
    Path("examples_of_maps.py").write_text(maps)
    monkeypatch.setattr(AnnotationServer, "serve_forever", lambda server: None)  # as after Ctrl-C
    monkeypatch.setattr(webbrowser, "open", lambda url: None)
    monkeypatch.setattr(os, "_exit", lambda status: None)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("block", blocks("sh"))
def test_fault_c17_each_block_of_commands_runs_alone(block):
    """What would take minutes, a whole machine or the network is not run: of `make`, `pip` and `python` the target, the
    extra and the script must exist.
    """
    if "labels/doubtful.txt" in block:  # what an earlier job left
        folders = ["--images", "photos", "--points", "points.json", "--out", "labels"]
        assert main(["label-dataset", *folders, "--workers", "0"]) == 0
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    for line in block.replace("\\\n", "").splitlines():
        command, *words = shlex.split(line, comments=True)
        match command, words:
            case "point2mask", ["label-dataset", *_]:
                assert main([*words, "--workers", "0"]) == 0
            case "point2mask", _:
                assert main(words) == 0
            case "make", [target]:
                assert f"\n{target}: " in makefile
            case "pip", ["install", *_, package]:
                name, _, extra = package.rstrip("]").partition("[")
                assert name in (".", "point2mask-ot")
                assert not extra or f"\n{extra} = [" in project
            case (("python" | ".venv/bin/python"), ["-m", "pytest", *_]):
                pass
            case "python", [script, *_]:
                assert (ROOT / script).is_file()
            case _:
                pytest.fail(f"nothing here knows how to try {line!r}")


def test_the_readme_is_a_page_and_its_example_twelve_lines():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 12
