"""Who labels things alone is told that somebody has to own every pixel (FAULTS C10); who has limits is not."""

from __future__ import annotations

import contextlib
import importlib
import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from point2mask_ot import BackgroundWarning, MapTerm, PointTargets, PseudoMasker, label_dataset, label_picture
from point2mask_ot.annotate.session import Session
from point2mask_ot.cli import main

POINTS, SIZE = [(6, 6), (6, 24), (22, 15)], (30, 30)
NUCLEI = PointTargets(POINTS)
WITH_BACKGROUND = PointTargets([*POINTS, (2, 15), (28, 2)], target=[0, 1, 2, 3, 3], is_thing=[True, True, True, False])
WHERE = np.zeros((1, *SIZE), np.float32)
for y, x in POINTS:
    WHERE[0, y - 5 : y + 6, x - 5 : x + 6] = 1
CLASSES = np.concatenate([WHERE, 1 - WHERE])
PICTURE = (np.repeat(WHERE[0, :, :, None], 3, 2) * 200).astype(np.uint8)


def wall(here, there):
    return torch.where((here != there)[:, 0], torch.inf, 0.0)


@contextlib.contextmanager
def shown():
    """Warnings as outside of pytest, where each is shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", BackgroundWarning)
        yield


LACKING = {
    "label_picture": lambda: label_picture(PICTURE, NUCLEI),
    "PseudoMasker": lambda: PseudoMasker("best", stuff="supply")(None, WHERE, NUCLEI),
    "classes that limit nothing": lambda: PseudoMasker("best", stuff="supply")(CLASSES, None, NUCLEI),
    "in a batch": lambda: PseudoMasker("best", stuff="supply")(
        None, np.stack([WHERE, WHERE]), [WITH_BACKGROUND, NUCLEI]
    ),
}


@pytest.mark.parametrize("case", LACKING)
def test_fault_c10_things_alone_are_warned_of(case):
    with pytest.warns(BackgroundWarning, match="every pixel.*is_thing=False.*stuff='exclude'") as caught:
        result = LACKING[case]()
    assert [warning.filename for warning in caught] == [__file__]
    masks = result[-1] if isinstance(result, list) else result
    assert masks.diagnostics.no_background
    assert masks.masks.sum() == np.prod(SIZE), "somebody owns every pixel"


def test_fault_c10_the_warning_is_the_callers_however_many_decorators_there_are():
    importlib.import_module("torch._dynamo")  # then torch's stands between the library and its caller
    with pytest.warns(BackgroundWarning) as caught:
        label_picture(PICTURE, NUCLEI)
    assert [warning.filename for warning in caught] == [__file__]


LIMITED = {
    "background": lambda: label_picture(PICTURE, WITH_BACKGROUND),
    "stuff alone": lambda: label_picture(PICTURE, PointTargets(POINTS, is_thing=[False] * 3)),
    "nobody": lambda: label_picture(PICTURE, PointTargets([])),
    "classes leave the rest": lambda: PseudoMasker("best")(CLASSES, None, NUCLEI),
    "classes beside colours": lambda: label_picture(PICTURE, NUCLEI, semantic=CLASSES),
    "classes are known": lambda: PseudoMasker("best", stuff="supply", within_class=True)(CLASSES, None, NUCLEI),
    "the union is given": lambda: label_picture(PICTURE, NUCLEI, terms=[MapTerm(WHERE, kind=wall)]),
}


@pytest.mark.parametrize("case", LIMITED)
def test_fault_c10_who_has_limits_is_left_alone(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error", BackgroundWarning)
        result = LIMITED[case]()
    assert not result.diagnostics.no_background
    if case == "the union is given":
        np.testing.assert_array_equal(result.masks.any(0), WHERE[0] > 0)


@pytest.fixture
def files(tmp_path):
    """Two pictures, of which one has a point on the background."""
    for name in ("bare.png", "whole.png"):
        Image.fromarray(PICTURE).save(tmp_path / name)
    rows = [f"{name},{x},{y},nucleus" for name in ("bare.png", "whole.png") for y, x in POINTS]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,category", *rows, "whole.png,15,2,background", ""]))
    return tmp_path


@pytest.mark.parametrize("name", ["bare", "whole"])
def test_fault_c10_label_says_so(files, capsys, name):
    with shown():
        command = ["label", f"{files}/{name}.png", "--points", f"{files}/points.csv", "--out", f"{files}/masks"]
        assert main(command) == 0
    said = capsys.readouterr().err
    if name == "whole":
        assert said == ""
    else:
        assert said.startswith("point2mask label: warning: all targets are things")
        assert said.endswith("isthing 0 in JSON), or --maps with class probabilities.\n")
        assert said.count("\n") == 1


def test_fault_c10_a_job_says_so_once(files, capsys):
    command = ["label-dataset", "--images", f"{files}", "--points", f"{files}/points.csv", "--out", f"{files}/labels"]
    with shown():
        assert main([*command, "--workers", "0", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("point2mask label-dataset: warning: in 1 of the 2 labelled pictures all targets are things")
    assert "--maps with class probabilities" in said
    assert said.count("\n") == 1
    assert json.loads((files / "labels/summary.json").read_text())["pictures_without_background"] == 1
    assert "In <b>1</b> of the labelled pictures all targets are things" in (files / "labels/report.html").read_text()
    with pytest.warns(BackgroundWarning, match="in 1 of the 2") as caught:  # whoever goes on, too
        made = label_dataset(files, files / "points.csv", files / "labels", workers=0, progress=False)
    assert (len(caught), made.no_background) == (1, 1)
    assert caught[0].filename == __file__


def test_fault_c10_the_page_says_so(files):
    session = Session(files / "bare.png", out=files / "out")
    categories = [{"id": 1, "name": "nucleus", "isthing": 1}, {"id": 2, "name": "background", "isthing": 0}]
    clicks = [{"x": x, "y": y, "category": "nucleus", "target": k} for k, (y, x) in enumerate(POINTS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", BackgroundWarning)  # the page says it, the terminal need not
        bare = session.label(
            session.pictures.names[0], json.dumps({"categories": categories, "points": clicks}).encode()
        )
        clicks.append({"x": 15, "y": 2, "category": "background", "target": 3})
        whole = session.label(
            session.pictures.names[0], json.dumps({"categories": categories, "points": clicks}).encode()
        )
    assert (bare["no_background"], whole["no_background"]) == (True, False)
