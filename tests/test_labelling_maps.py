"""Plug-ins of a data-set job that take an argument, the reference model's among them, and packages that maps need."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelling_jobs import CATEGORIES, make_set, results

from point2mask_ot import ArgumentError, Category, PointTargets, PseudoMasker, label_dataset, read_coco_panoptic
from point2mask_ot.labelling import JobStopped

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A call that labels two small pictures in this process."""
    images, points = make_set(tmp_path, 2)
    monkeypatch.chdir(tmp_path)

    def call(out="out", **settings):
        return label_dataset(images, points, tmp_path / out, **{"workers": 0, "progress": False, **settings})

    return call


def test_a_plug_in_with_an_argument(job, tmp_path):
    (tmp_path / "halves_plug.py").write_text(
        "import pathlib\nimport numpy as np\n"
        "class Halves:\n"
        "    def __init__(self, at):\n"
        "        self.at = int(pathlib.Path(at).read_text())\n"
        "    def __call__(self, picture):\n"
        "        right = np.broadcast_to(np.arange(picture.shape[1]) >= self.at, picture.shape[:2])\n"
        "        return {'semantic': np.stack([~right, right]).astype('f'), 'boundary': right[None] * np.float32(0)}\n"
        "def function(picture):\n"
        "    return {}\n"
    )
    argument = tmp_path / "at: 1.txt"
    argument.write_text("20")
    made = job(maps=f"halves_plug:Halves:{argument}", presence=False)
    for image in read_coco_panoptic(made.out / "panoptic.json", made.out / "panoptic"):
        assert (image.id_map == np.where(np.arange(32) < 20, 1, 2)).all()
    argument.write_text("10")
    with pytest.raises(ArgumentError, match=r"maps\.argument: \w+ -> \w+"):
        job(maps=f"halves_plug:Halves:{argument}", presence=False)
    with pytest.raises(ArgumentError, match="a class where an argument follows"):
        job("other", maps="halves_plug:function:3")


def test_safetensors_is_named_where_it_is_missing(job, tmp_path, monkeypatch):
    (tmp_path / "maps").mkdir()
    for index in range(2):
        (tmp_path / "maps" / f"p{index:03}.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(JobStopped, match=r"pip install 'point2mask-ot\[safetensors\]'"):
        job(maps="maps")


def test_maps_of_the_reference_model(job, tmp_path, monkeypatch):
    for package in ("transformers", "accelerate", "tyro", "safetensors", "tqdm"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(EXAMPLES)
    from network_maps import NetworkMaps
    from panoptic_segformer.config import PRESETS
    from panoptic_segformer.network import PanopticSegformer
    from panoptic_segformer.training import write_config
    from safetensors.torch import save_model

    config = replace(PRESETS["tiny"][1], out=tmp_path / "run")
    categories = [Category(c["id"], c["name"], bool(c["isthing"])) for c in CATEGORIES]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PanopticSegformer(config.network, 1, 1)
    write_config(config, categories)
    weights = tmp_path / "run" / "network.safetensors"
    save_model(network, str(weights))

    made = job(maps=f"network_maps:NetworkMaps:{weights}")
    assert made.labelled == 2, (made.out / "set_aside.csv").read_text()
    targets = PointTargets([(12, 2), (12, 29)], category=[0, 1], is_thing=[True, False])
    masker, maps_of = PseudoMasker("best"), NetworkMaps(str(weights), "cpu")
    dataset = read_coco_panoptic(made.out / "panoptic.json", made.out / "panoptic", images_dir=tmp_path / "images")
    for index, image in enumerate(dataset):
        maps = maps_of(dataset.picture(index))
        assert maps["semantic"].shape == (2, 24, 32)
        alone = masker(maps["semantic"], maps["boundary"], targets, maps["features"])
        assert np.array_equal(image.id_map, np.asarray(alone.instance) + 1)
    settings = json.loads((made.out / "summary.json").read_text())["settings"]
    assert settings["maps"] == "network_maps:NetworkMaps"
    assert len(settings["maps.argument"]) == 64
    assert results(job("moved", maps=f"network_maps:NetworkMaps:{weights}").out) == results(made.out)
