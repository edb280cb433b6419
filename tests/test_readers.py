"""Whoever reads a result's diagnostics does so whatever costs, solver and targets it is of (FAULTS A1 and its kind)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from point2mask_ot import Category, PointTargets, PseudoMasker, label_picture
from point2mask_ot.cli import main, summary
from point2mask_ot.panoptic import LabelledPoints, read_coco_panoptic
from point2mask_ot.viz import stage_strip, stages

POINTS = [(6, 6), (30, 40), (35, 8)]
KINDS = {"things": [True, True, True], "stuff": [False, False, False], "both": [True, True, False]}
COSTS, METHODS = ("path", "walk", "auto"), ("minimum", "sinkhorn", "newton", "exact")


def picture():
    rng = np.random.default_rng(1)
    pixels = np.full((40, 50, 3), 40)
    pixels[:, 25:] = 200
    pixels[22:, :20] = 120
    return (pixels + rng.integers(-5, 5, pixels.shape)).astype(np.uint8)


def semantic():
    planes = np.full((3, 40, 50), 0.05, np.float32)
    planes[0], planes[1, :, 25:], planes[2, 22:, :20] = 0.2, 0.9, 0.9
    return planes / planes.sum(0)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("maps", ["colours", "semantic"])
def test_fault_a1_every_reader_of_diagnostics(maps, cost, method, kinds):
    targets = PointTargets(POINTS, category=[0, 1, 2], is_thing=KINDS[kinds])
    options = {"cost": cost, "method": method, "max_iter": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if maps == "colours":
            result = label_picture(picture(), targets, **options)
        else:
            result = PseudoMasker("best", **options)(semantic(), None, targets)
    panels = stages(picture(), targets, result, size=80)
    assert len(panels) == 6
    assert stage_strip(panels, panel_size=80).std() > 10
    categories = tuple(Category(ord(name), name, thing) for name, thing in zip("abc", KINDS[kinds], strict=True))
    table = summary(LabelledPoints(targets, categories), result)
    assert table.count("\n") >= 4
    assert "nan" not in table


def test_fault_a1_the_panels_promise_paths_only_where_there_are_some():
    targets = PointTargets(POINTS, category=[0, 1, 2], is_thing=[True, True, True])
    for cost, title in (
        ("walk", "3  Cost of a walk to the nearest point"),
        ("path", "3  Cost to the nearest point, paths"),
    ):
        result = label_picture(picture(), targets, cost=cost)
        assert result.diagnostics.walks == (cost == "walk")
        assert stages(picture(), targets, result, size=80)[2][0] == title


def test_fault_a1_the_table_gives_each_capacity_to_its_supplier():
    targets = PointTargets(POINTS, category=[0, 1, 2], is_thing=[False, True, True])
    result = PseudoMasker("best", capacity="nearest")(semantic(), None, targets)
    categories = tuple(Category(ord(name), name, name != "a") for name in "abc")
    table = summary(LabelledPoints(targets, categories), result).splitlines()
    assert [line.split()[3] for line in table[1:4]] == ["-", *(f"{own:.0f}" for own in result.diagnostics.capacities)]


@pytest.mark.parametrize("preset", ["best", "paper"])
@pytest.mark.parametrize("isthing", ["", ",1", ",0"])
def test_fault_a1_label_with_the_columns_of_the_readme(preset, isthing, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(picture()).save(tmp_path / "photo.png")
    header = "x,y,category" + (",isthing" if isthing else "")
    rows = [f"{x},{y},{name}{isthing}" for (y, x), name in zip(POINTS, "abc", strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    arguments = [
        "label",
        str(tmp_path / "photo.png"),
        "--points",
        str(tmp_path / "t.csv"),
        "--out",
        str(tmp_path / "out"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*arguments, "--preset", preset]) == 0
    assert "a " in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"photo.json", "panoptic", "photo_stages.png"}
    assert len(read_coco_panoptic(tmp_path / "out" / "photo.json", tmp_path / "out" / "panoptic")) == 1
