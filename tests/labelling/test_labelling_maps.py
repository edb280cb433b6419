"""Plug-ins of a data-set job that take an argument, the reference model's among them, and packages that maps need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from labelling_jobs import CATEGORIES, entry, make_set, results, write_document

from point2mask_ot import (
    ArgumentError,
    Category,
    FileError,
    PointTargets,
    PseudoMasker,
    label_dataset,
    read_coco_panoptic,
)
from point2mask_ot.labelling import JobStopped
from point2mask_ot.labelling.callables import state_of
from point2mask_ot.labelling.maps import read_maps
from point2mask_ot.labelling.plug_ins import takes_points

EXAMPLES = Path(__file__).parents[2] / "examples"


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


HOLDER = """
class Level:
    def __init__(self, level):
        self.level = level
    def __call__(self, picture):
        return {}
    def maps(self, picture):
        return {}
"""


def equal(_, partition, targets, demand):
    return torch.full((targets.num_targets,), float(demand.sum()) / targets.num_targets, dtype=torch.float64)


def test_a_job_does_not_go_on_with_another_object(job, tmp_path, monkeypatch):
    (tmp_path / "level_plug.py").write_text(HOLDER)
    monkeypatch.syspath_prepend(tmp_path)
    from level_plug import Level

    def closed(value):
        return lambda picture: {} if value else None

    pairs = {
        "object": ("maps", Level("a"), Level("a"), Level("b")),
        "tensor": ("maps", Level(torch.ones(2)), Level(torch.ones(2)), Level(torch.zeros(2))),
        "method": ("maps", Level(1).maps, Level(1).maps, Level(2).maps),
        "closure": ("maps", closed(1), closed(1), closed(2)),
        "partial": ("capacity", partial(equal, 1), partial(equal, 1), partial(equal, 2)),
    }
    for out, (name, first, same, other) in pairs.items():
        job(out, **{name: first})
        job(out, **{name: same})
        with pytest.raises(ArgumentError, match=rf"{name}\.state: \w+ -> \w+"):
            job(out, **{name: other})
    with pytest.raises(ArgumentError, match="module:Class:argument"):
        job("never", maps=Level(lambda: 1))


def test_what_an_object_holds_is_told_alike_by_another_process(tmp_path, monkeypatch):
    (tmp_path / "level_plug.py").write_text(HOLDER)
    monkeypatch.syspath_prepend(tmp_path)
    from level_plug import Level

    code = (
        "import torch\nfrom level_plug import Level\nfrom point2mask_ot.labelling.callables import state_of\n"
        "print(state_of(Level({'a': 1, 'weights': torch.nn.Parameter(torch.arange(3.0))})))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    own = state_of(Level({"a": 1, "weights": torch.nn.Parameter(torch.arange(3.0))}))
    assert len(own) == 64
    assert told.stdout.strip() == own


def test_the_argument_of_a_plug_in_is_the_same_file_in_every_folder(job, tmp_path):
    (tmp_path / "told_plug.py").write_text(
        "import pathlib\nclass Told:\n"
        "    def __init__(self, argument):\n"
        "        pathlib.Path('told').write_text(argument)\n"
        "    def __call__(self, picture):\n"
        "        return {}\n"
    )
    (tmp_path / "best.pt").touch()
    for argument, told in (("best.pt", f"{tmp_path}/best.pt"), ("large", "large")):
        job(f"out-{argument}", maps=f"told_plug:Told:{argument}")
        assert (tmp_path / "told").read_text() == told


def test_a_plug_in_that_asks_for_the_points(job, tmp_path, monkeypatch):
    (tmp_path / "asking_plug.py").write_text(
        "import numpy as np\n"
        "def nearest(picture, points):\n"
        "    targets, columns = points.targets, np.arange(picture.shape[1])\n"
        "    assert [c.name for c in points.categories] == ['left', 'right']\n"
        "    last = targets.points_yx[targets.category[targets.target] == 1, 1].min()\n"
        "    right = np.broadcast_to(columns >= last - 9, picture.shape[:2])\n"
        "    return {'semantic': np.stack([~right, right]).astype('f'), 'boundary': right[None] * np.float32(0)}\n"
        "class Nearest:\n"
        "    def __call__(self, picture, points=None):\n"
        "        return nearest(picture, points)\n"
        "def by_name(picture, *, points):\n"
        "    return nearest(picture, points)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import asking_plug

    bound = partial(asking_plug.nearest, points=None)  # it has its points, and is given none
    assert not takes_points(bound)
    for others in (dict, lambda picture, *points: {}, lambda picture, **points: {}, lambda picture, of, points=0: {}):
        assert not takes_points(others)
    plug_ins = "asking_plug:nearest", "asking_plug:Nearest", "asking_plug:by_name"
    plug_ins += asking_plug.nearest, asking_plug.Nearest(), asking_plug.by_name, partial(asking_plug.nearest)
    for index, maps in enumerate(plug_ins):
        made = job(f"out{index}", maps=maps)
        for image in read_coco_panoptic(made.out / "panoptic.json", made.out / "panoptic"):
            assert (image.id_map == np.where(np.arange(32) < 20, 1, 2)).all()


def test_a_plug_in_that_is_given_points_is_asked_again_where_they_have_changed(job, tmp_path):
    (tmp_path / "pointed_plug.py").write_text("def maps(picture, points):\n    return {}\n")
    job(maps="pointed_plug:maps")
    write_document(tmp_path / "points.json", [entry("p000.png"), entry("p001.png", height=20)])
    made = job(maps="pointed_plug:maps")
    assert (made.labelled, made.kept) == (2, 1)


def test_a_folder_of_checkpoints_is_all_their_weights_and_configurations(job, tmp_path):
    (tmp_path / "models_plug.py").write_text(
        "class Models:\n"
        "    def __init__(self, folder):\n"
        "        pass\n"
        "    def __call__(self, picture):\n"
        "        return {}\n"
    )
    for model in ("backbone", "promptable"):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "config.json").write_text("{}")
        (tmp_path / "models" / model / "model.safetensors").write_text("weights")
    made = job(maps="models_plug:Models:models")
    known = json.loads((made.out / "summary.json").read_text())["settings"]
    named = [
        f"maps.argument.{model}/{file}"
        for model in ("backbone", "promptable")
        for file in ("config.json", "model.safetensors")
    ]
    assert [name for name in known if name.startswith("maps.argument")] == named
    (tmp_path / "models" / "log.txt").write_text("epoch 1")
    (tmp_path / "models").rename(tmp_path / "moved")
    job(maps="models_plug:Models:moved")
    for name in ("config.json", "model.safetensors"):
        file = tmp_path / "moved" / "promptable" / name
        kept = file.read_text()
        file.write_text("other")
        with pytest.raises(ArgumentError, match=rf"maps\.argument\.promptable/{name}: \w+ -> \w+"):
            job(maps="models_plug:Models:moved")
        file.write_text(kept)


def test_a_plug_in_that_cannot_be_made(job, tmp_path, forked_workers):
    (tmp_path / "weights_plug.py").write_text(
        "import pathlib\nclass Weights:\n"
        "    def __init__(self, path):\n"
        "        if path == 'huge':\n"
        "            raise MemoryError\n"
        "        if not pathlib.Path(path).read_text():\n"
        "            raise EOFError('Ran out of input')\n"
    )
    (tmp_path / "broken_plug.py").write_text("1 / 0\n")
    (tmp_path / "cut.pt").touch()
    causes = (
        ("weights_plug:Weights:missing.pt", "missing.pt': FileNotFoundError: .*No such file"),
        ("weights_plug:Weights:cut.pt", "cut.pt': EOFError: Ran out of input"),
        ("weights_plug:Weights", "Weights': TypeError: .*path"),
        ("broken_plug:maps", "broken_plug:maps': ZeroDivisionError"),
    )
    for index, (name, cause) in enumerate(causes):
        with pytest.raises(ArgumentError, match=cause):
            job(f"local{index}", maps=name)
    with pytest.raises(JobStopped, match=r"'maps': got 'weights_plug:Weights:.*cut.pt': EOFError"):
        job("processes", maps="weights_plug:Weights:cut.pt", workers=1)
    with pytest.raises(MemoryError):
        job("huge", maps="weights_plug:Weights:huge")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_maps_that_are_too_large(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"large{suffix}"
    if suffix == ".npz":  # small on the disk
        np.savez_compressed(path, semantic=np.zeros(10_000))
    else:
        path.write_bytes(bytes(10_000))
    monkeypatch.setattr("point2mask_ot.labelling.maps.MAX_MAP_BYTES", 9000)
    with pytest.raises(
        FileError, match=r"^label_dataset: argument 'maps': got \S+: \d+ bytes of maps; expected at most"
    ):
        read_maps(path)


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
    from panoptic_segformer.checkpoint import write_config
    from panoptic_segformer.network import PanopticSegformer
    from panoptic_segformer.presets import PRESETS
    from safetensors.torch import save_model

    config = replace(PRESETS["tiny"][1], out=tmp_path / "run")
    categories = [Category(c["id"], c["name"], bool(c["isthing"])) for c in CATEGORIES]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PanopticSegformer(config.network, 1, 1)
    write_config(config, categories)
    weights = tmp_path / "run" / "network.safetensors"
    save_model(network, str(weights))

    with pytest.raises(ArgumentError, match=r"best.safetensors.*expected network.safetensors"):
        job("refused", maps="network_maps:NetworkMaps:run/best.safetensors")
    write_config(config, categories[::-1])
    with pytest.raises(ArgumentError, match=r"maps whose channels are .*expected those of the points"):
        job("swapped", maps=f"network_maps:NetworkMaps:{weights}")
    write_config(config, categories)
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
