"""A network's maps beside the colours of one picture (FAULTS C3, C11, C12)."""

from __future__ import annotations

import json
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from point2mask_ot import ArgumentError, MapTerm, PointTargets, PseudoMasker, label_dataset, label_picture
from point2mask_ot.cli import main

TARGETS = PointTargets([(8, 3), (8, 28)], category=[0, 1], is_thing=[True, False])
GREY = np.full((16, 32, 3), 128, np.uint8)
"""Colours say nothing."""
WHERE = {"left": 14, "right": 18}
SMALL = {"capacity": "nearest", "method": "minimum", "cost": "path"}


def halves(at: int, dtype=np.float32) -> np.ndarray:
    """(2, 16, 32), one-hot on either side of a column."""
    right = np.broadcast_to(np.arange(32) >= at, (16, 32))
    return np.stack([~right, right]).astype(dtype)


@pytest.mark.parametrize("at", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("kind", ["features", "terms", "semantic"])
def test_fault_c11_maps_reach_the_one_picture_entry(kind, at):
    maps = {kind: [MapTerm(halves(at))] if kind == "terms" else halves(at)}
    settings = {"presence": False} if kind == "semantic" else {}
    masks = label_picture(GREY, TARGETS, **maps, **settings, **SMALL)
    found = masks.instance if kind != "semantic" else masks.semantic
    assert isinstance(found, np.ndarray)
    assert (found == (np.arange(32) >= at)).all()
    as_torch = {kind: [MapTerm(torch.from_numpy(halves(at)))] if kind == "terms" else torch.from_numpy(halves(at))}
    image = torch.full((3, 16, 32), 128 / 255)
    again = label_picture(image, TARGETS, **as_torch, **settings, **SMALL)
    assert np.array_equal(found, again.instance if kind != "semantic" else again.semantic)


def test_fault_c12_colours_and_a_semantic_map_together():
    """The map does not tell the two apart, the colours do; ``color_weight=0`` leaves the map alone."""
    picture = GREY.copy()
    picture[:, 21:] = 30
    flat = np.full((2, 16, 32), 0.5, np.float32)
    things = PointTargets([(8, 3), (8, 28)])
    both = label_picture(picture, things, semantic=flat, point_radius=0, **SMALL)
    assert (both.instance[:, :20] == 0).all()
    assert (both.instance[:, 22:] == 1).all()
    alone = label_picture(picture, things, semantic=flat, point_radius=0, color_weight=0, beta=0, **SMALL)
    by_map = PseudoMasker("best", point_radius=0, beta=0, **SMALL)(flat, None, things)
    assert np.array_equal(alone.instance, by_map.instance)
    assert not np.array_equal(alone.instance, both.instance)


SMALLER = halves(14)[:, 1:]
NO_GOOD = {
    "a picture from 0 to 255 in floats": (GREY.astype(float), TARGETS, {}, "image"),
    "a point outside": (GREY, PointTargets([(16, 3)]), {}, "points_yx"),
    "two targets on a pixel": (GREY, PointTargets([(8, 3), (8, 3)]), {}, "targets"),
    "features of another size": (GREY, TARGETS, {"features": SMALLER}, "features"),
    "classes of another size": (GREY, TARGETS, {"semantic": SMALLER}, "semantic"),
    "features of a batch": (GREY, TARGETS, {"features": halves(14)[None]}, "features"),
    "features of the other family": (GREY, TARGETS, {"features": torch.from_numpy(halves(14))}, "image"),
    "an edge map of whole numbers": (GREY, TARGETS, {"edge_map": np.zeros((1, 16, 32), np.uint8)}, "edge_map"),
    "no configuration": (GREY, TARGETS, {"config": 3}, "config"),
    "a term of another size": (GREY, TARGETS, {"terms": [MapTerm(halves(14)), MapTerm(SMALLER)]}, "terms[1]"),
}


@pytest.mark.parametrize("case", NO_GOOD)
def test_errors_name_the_function_that_was_called_and_what_it_was_given(case):
    picture, targets, maps, argument = NO_GOOD[case]
    with pytest.raises(ArgumentError, match=re.escape(f"label_picture: argument '{argument}': got ")) as refused:
        label_picture(picture, targets, **maps)
    assert (refused.value.function, refused.value.argument) == ("label_picture", argument)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.function) == (str(refused.value), "label_picture")


IDLE = {
    "features that are not there": {"feature_weight": 99},
    "classes that are not there": {"presence": False},
    "a radius of class maps": {"point_radius": 3},
    "a share of class maps": {"min_probability": 0.9},
    "demand": {"demand": "all"},
    "targets that would not supply": {"stuff": "exclude"},
}


@pytest.mark.parametrize("case", IDLE)
def test_fault_c11_a_setting_without_effect_is_refused(case, tmp_path):
    name = next(iter(IDLE[case]))
    with pytest.raises(ArgumentError, match=f"label_picture: argument '{name}'"):
        label_picture(GREY, TARGETS, **IDLE[case])
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "p.csv").write_text("image,x,y,category\na.png,3,8,a\n")
    with pytest.raises(ArgumentError, match=f"label_dataset: argument '{name}'"):
        label_dataset(tmp_path, tmp_path / "p.csv", tmp_path / "out", workers=0, **IDLE[case])


def test_fault_c11_settings_that_say_what_is_so_anyway_pass():
    assert label_picture(GREY, TARGETS, stuff="supply", presence=True, feature_weight=0.1).masks.any()
    assert label_picture(GREY, TARGETS, features=halves(9), feature_weight=99).masks.any()
    with pytest.raises(ArgumentError, match="label_picture: argument 'feature_weight'"):
        label_picture(GREY, TARGETS, semantic=halves(9), feature_weight=99)


@pytest.mark.parametrize(
    ("edge_map", "word"),
    [
        (np.full((1, 16, 32), 255, np.float32), "values from 255 to 255"),
        (np.full((1, 16, 32), -0.5, np.float32), "values from -0.5"),
        (np.full((1, 16, 32), np.nan, np.float32), "NaN"),
        (np.zeros((16, 32), np.float32), "as the picture"),
    ],
)
def test_fault_c3_an_edge_map_is_named_and_within_0_and_1(edge_map, word):
    with pytest.raises(ArgumentError, match=rf"label_picture: argument 'edge_map': .*{word}"):
        label_picture(GREY, TARGETS, edge_map=edge_map)


def test_fault_c3_terms_are_numbered_as_the_caller_has_them():
    with pytest.raises(ArgumentError, match=r"argument 'terms\[0\]'"):
        label_picture(GREY, TARGETS, terms=[MapTerm(np.full((1, 16, 32), np.nan, np.float32))])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A picture that the colours cut at column 21, maps that cut it at 15, and the points."""
    picture = GREY.copy()
    picture[:, 21:] = 30
    (tmp_path / "images").mkdir()
    Image.fromarray(picture).save(tmp_path / "images" / "a.png")
    (tmp_path / "points.csv").write_text("image,x,y,category,isthing\na.png,3,8,left,1\na.png,28,8,right,0\n")
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "maps" / "a.npz", semantic=halves(15), boundary=np.zeros((1, 16, 32), np.float32))
    monkeypatch.chdir(tmp_path)
    return picture


def ids(out) -> np.ndarray:
    return np.asarray(Image.open(f"{out}/panoptic/a.png"))[..., 0]


def test_fault_c11_maps_on_the_command_line_are_those_of_a_job(files, capsys):
    label = ["label", "images/a.png", "--points", "points.csv"]
    for words, settings in (([], {}), (["--add-colors"], {"add_colors": True})):
        out = f"out{len(words)}"
        assert main([*label, "--maps", "maps/a.npz", *words, "--out", out]) == 0
        made = label_dataset("images", "points.csv", f"job{out}", maps="maps", workers=0, progress=False, **settings)
        assert np.array_equal(ids(out), ids(made.out))
    assert (ids("out0")[:, 5:24] == 1 + (np.arange(5, 24) >= 15)).all()
    np.save("maps/bad.npy", halves(10).transpose(1, 2, 0))
    capsys.readouterr()
    for words, said in (
        (["--maps", "maps/bad.npy"], "--maps: got 'semantic' from bad.npy of shape (16, 32, 2)"),
        (["--maps", "maps"], "--maps: got maps: the suffix"),
        (["--add-colors"], "--add-colors: got True, which has no effect; expected --maps with a semantic map"),
    ):
        assert main([*label, *words, "--out", "out"]) == 2
        assert said in capsys.readouterr().err


def test_a_plug_in_on_the_command_line_is_that_of_a_job(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "sides_plug.py").write_text(
        "import numpy as np\n"
        "from point2mask_ot import MapTerm\n"
        "class Halves:\n"
        "    def __init__(self, at='15'):\n"
        "        self.at = int(at)\n"
        "    def __call__(self, picture, points):\n"
        "        right = np.broadcast_to(np.arange(32) >= self.at, (16, 32))\n"
        "        maps = np.stack([~right, right])[: len(points.categories)].astype('f')\n"
        "        return {'semantic': maps, 'boundary': maps[:1] * 0, 'terms': [MapTerm(maps)]}\n"
        "def broken(picture):\n"
        "    return {}['nothing']\n"
    )
    label = ["label", "images/a.png", "--points", "points.csv"]
    for out, words, settings in (("plain", [], {}), ("colours", ["--add-colors"], {"add_colors": True})):
        assert main([*label, "--maps", "sides_plug:Halves:12", *words, "--out", out]) == 0
        how = {"workers": 0, "progress": False, **settings}
        made = label_dataset("images", "points.csv", f"job-{out}", maps="sides_plug:Halves:12", **how)
        assert np.array_equal(ids(out), ids(made.out))
    assert (ids("plain")[:, 5:24] == 1 + (np.arange(5, 24) >= 12)).all()
    (tmp_path / "maps" / "a.npz").rename("sides_plug:Halves.npz")  # a file, whatever it is called
    assert main([*label, "--maps", "sides_plug:Halves.npz", "--out", "file"]) == 0
    assert (ids("file")[:, 5:24] == 1 + (np.arange(5, 24) >= 15)).all()
    capsys.readouterr()
    for maps, said in (
        ("sides_plug:Half", "--maps: got 'sides_plug:Half': AttributeError"),
        ("sides_plug:Halves:half", "--maps: got 'sides_plug:Halves:half': ValueError"),
        ("sides_plug:broken", "--maps: got 'sides_plug:broken': KeyError: 'nothing'"),
    ):
        assert main([*label, "--maps", maps, "--out", "out"]) == 2
        assert said in capsys.readouterr().err


def test_fault_c12_colours_terms_and_a_semantic_map_in_a_job(files):
    flat = np.full((2, 16, 32), 0.5, np.float32)
    how = {"workers": 0, "progress": False, "stuff": "supply", "point_radius": 0, **SMALL}

    def made(out, maps, **settings):
        return ids(label_dataset("images", "points.csv", out, maps=maps, **how, **settings).out)

    none = np.zeros((1, 16, 32), np.float32)
    plain = made("plain", SameMaps(semantic=flat, boundary=none))
    colours = made("colours", SameMaps(semantic=flat, boundary=none), add_colors=True)
    terms = made("terms", SameMaps(semantic=flat, boundary=none, terms=[MapTerm(halves(12)[:, ::2, ::2])]))
    assert not np.array_equal(plain, colours)
    assert (colours[:, [19, 23]] == [1, 2]).all()
    assert (terms[:, [10, 14]] == [1, 2]).all()
    with pytest.raises(ArgumentError, match="argument 'add_colors'"):
        label_dataset("images", "points.csv", "none", add_colors=True, workers=0)
    bad = label_dataset("images", "points.csv", "bad", maps=SameMaps(terms=[3]), **{**how, "point_radius": 8})
    assert "a list of MapTerm" in json.loads((bad.out / "summary.json").read_text())["set_aside_first"][0]["reason"]


class SameMaps(SimpleNamespace):
    """A plug-in that gives the maps it holds."""

    def __call__(self, picture):
        return vars(self)
