"""What messages suggest is what their reader can change (FAULTS C3)."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from labelling_jobs import picture
from PIL import Image

import point2mask_ot
from point2mask_ot import FileError, labelling, read_picture
from point2mask_ot.cli import main
from point2mask_ot.cli.main import COMMANDS
from point2mask_ot.cli.options import fields_of

ROOT = Path(point2mask_ot.__file__).parent
HINT = re.compile(r"\b(?P<name>[a-z_]+)=(?:'[^']*'|\"[^\"]*\"|[\w./-]+|\{)|`(?P<quoted>[a-z_]+)`")
REFUSALS = {"fail", "fail_type", "require_all", "ArgumentError", "FileError", "JobStopped", "refuse_likelihood"}
WORDS = {"expected", "got", "hint", "message", "wanted", "GUARD", "_NAMED"}
VALUES = {"x", "y"}
"""Coordinates, written as x=3."""

ANY = "demo label label-dataset annotate"
COMMANDS_OF = {
    "border": ANY,
    "exif": "label label-dataset annotate",
    "follow_links": "label-dataset; prepare voc; prepare points; prepare import-psps; prepare check; prepare export",
    "format": "prepare import",
    "fresh": "label-dataset",
    "limit": "label-dataset",
    "maps": "label label-dataset",
    "max_errors": "label-dataset",
    "max_pixels": "label-dataset",
    "on_conflict": ANY,
    "only": "label-dataset",
    "out": "label-dataset",
    "output": "label-dataset",
    "polygons": "prepare export",
    "shard": "label-dataset",
    "sizes": "demo label label-dataset",
    "to": "prepare export",
    "unary_weight": ANY,
    "workers": "label-dataset",
}
"""The commands whose user may read the hint; each must have the option."""
PYTHON_ONLY = {
    "assign": "of a configuration that no preset of the command line has without maps",
    "ignore_index": "of losses",
    "image": "of write_points, which the message names",
    "method": "no option sets reg to 0",
    "norm": "of losses",
    "reg": "of solve",
    "region": "of losses",
    "stride": "no option sets within_class",
    "stuff": "the command line never leaves both the map and the suppliers out",
    "within_class": "no option sets it",
}
"""Hints that no command can show, and why."""


def texts(node: ast.AST) -> str:
    """The words of a string, or of one put together."""
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return "{".join(parts)


def hints() -> Iterator[tuple[str, str]]:
    """Name of each hint and where it stands: in what a refusal is given, or in a variable of words."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            said: list[ast.AST] = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in REFUSALS:
                said = [*node.args, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.AugAssign | ast.Assign):
                target = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
                said = [node.value] if getattr(target, "id", "") in WORDS else []
            for text in map(texts, said):
                for match in HINT.finditer(text):
                    yield match["name"] or match["quoted"], f"{path.relative_to(ROOT)}:{node.lineno}"


def arguments() -> set[str]:
    """The names of all that a caller of the library can say."""
    names: set[str] = set()
    for module in (point2mask_ot, labelling):
        for public in (getattr(module, name) for name in module.__all__):
            if is_dataclass(public):
                names |= {field.name for field in fields(public)}
            if callable(public):
                with contextlib.suppress(ValueError):  # a type
                    names |= set(inspect.signature(public).parameters)
    return names


def options(command: str) -> set[str]:
    found = COMMANDS
    for name in command.split():
        found = found.named[name]

    def named(record: type) -> Iterator[str]:
        for name, kind, _, _ in fields_of(record):
            yield from named(kind) if is_dataclass(kind) else [name]

    return set(named(found))


def test_fault_c3_every_hint_is_an_argument_that_somebody_has():
    found = {name: where for name, where in hints() if name not in VALUES}
    assert len(found) > 12
    assert set(found) - arguments() == set()
    assert set(found) - set(COMMANDS_OF) - set(PYTHON_ONLY) == set(), "say which commands may show it"
    for name, commands in COMMANDS_OF.items():
        for command in commands.split("; ") if "prepare" in commands else commands.split():
            assert name in options(command), (name, command, found.get(name))


CLASH = "image,x,y,category\na.png,2,12,left\na.png,2,12,right:stuff\n"


def test_fault_c3_hints_in_the_words_of_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save("images/a.png", exif=exif)
    Path("points.csv").write_text(CLASH)
    label = ["label", "images/a.png", "--points", "points.csv", "--out", "out"]
    job = ["label-dataset", "--images", "images", "--points", "points.csv", "--workers", "0", "--quiet"]
    for words, status, said in (
        (label, 2, "(--on-conflict first lets the first have it)"),
        ([*job, "--out", "a"], 1, "(--on-conflict first lets the first have it)"),
        ([*label, "--exif", "refuse"], 2, "(--exif apply turns it, --exif ignore leaves it"),
        ([*job, "--out", "b", "--exif", "refuse"], 1, "(--exif apply turns it, --exif ignore leaves it"),
        ([*label, "--preset", "official"], 2, "--preset: got assign='likelihood' (preset 'official'); expected --maps"),
        ([*job, "--out", "c", "--preset", "official"], 2, "expected --maps of classes, or another preset"),
        (["demo", "--preset", "official"], 2, "expected another preset"),
    ):
        assert main(words) == status, words
        shown = capsys.readouterr()
        assert said in shown.out + shown.err, (words, shown)
        assert "PseudoMaskConfig" not in shown.out + shown.err
    assert main([*label, "--on-conflict", "first"]) == 0


def test_fault_c2_points_of_the_other_frame_are_told_of_the_turn(tmp_path, capsys, monkeypatch):
    """Of a picture that is stored lying and shown upright, 24 wide: x = 29 is a point of the stored one."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0)).save("images/a.jpg", exif=exif)
    stored, shown = "29,2", "2,29"
    for point, how, other in ((stored, [], "ignore"), (shown, ["--exif", "ignore"], "apply")):
        Path("points.csv").write_text(f"image,x,y,category\na.jpg,2,12,left\na.jpg,{point},right:stuff\n")
        hint = f"(EXIF orientation 6: of the picture that --exif {other} gives, it is inside)"
        for command, status in (
            (["label", "images/a.jpg", "--points", "points.csv", "--out", "out"], 2),
            (["annotate", "images/a.jpg", "--points", "points.csv", "--out", "out", "--no-browser"], 2),
            (["label-dataset", "--images", "images", "--points", "points.csv", "--out", other, "--workers", "0"], 1),
        ):
            assert main([*command, *how]) == status
            said = capsys.readouterr()
            assert hint in said.out + said.err, (command, said)
            assert "swapped" not in said.out + said.err


def test_fault_c3_pillows_limit_is_named(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)
    with pytest.raises(FileError, match=r"expected at most 80 pixels \(Pillow's limit, .* 100 of max_pixels"):
        read_picture(tmp_path / "a.png", max_pixels=100)
    with pytest.raises(FileError, match=r"at most 70 pixels$"):
        read_picture(tmp_path / "a.png", max_pixels=70)
