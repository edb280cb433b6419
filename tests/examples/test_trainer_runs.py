"""The reference trainer as a user starts it: short runs of the scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import ablation
import figures
import numpy as np
import predict
import pytest
import torch
import train_voc
import tyro
from accelerate.state import AcceleratorState
from network_maps import NetworkMaps
from panoptic_segformer.checkpoint import begin, check_start, read_config, write_config
from panoptic_segformer.config import Config, Losses, Optimiser, PseudoLabels
from panoptic_segformer.data import collate
from panoptic_segformer.presets import PRESETS
from panoptic_segformer.targets import Labeller
from panoptic_segformer.training import Trainer
from safetensors.torch import load_file, save_model
from samples import SyntheticSamples
from trainer_cases import FEW_LAYERS, shrunken

from point2mask_ot import read_picture
from point2mask_ot.panoptic import PicturePoints, write_point_set

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    "tiny --optimiser.batch-size 4 --data.scored 2 --data.synthetic-val 2 --data.synthetic-train 8 --data.min-side 64 "
    "--data.max-side 64"
)
TWO_EPOCHS = "--optimiser.epochs 2 --optimiser.milestones 1"
DROPOUT = "--network.dropout 0.1"
INTERRUPTED = "--optimiser.max-steps 1"  # in the middle of an epoch
SHARED = ("coco_swinl",)
"""Presets that also run in two processes here: of a backbone that has parameters without a use."""


def train(out: Path, words: str) -> list[dict]:
    """A short run of the script; the entries of its log."""
    train_voc.main([*f"{SMALL} {words}".split(), "--out", str(out)])
    return logged(out)


def logged(out: Path) -> list[dict]:
    assert (out / "pictures.png").is_file()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def train_on_two_processes(out: Path, *runs: tuple[str, str]) -> None:
    """Runs under torchrun, each (name of its folder, words), one after another in the same two processes."""
    script = [f"import sys; sys.path[:0] = {[str(EXAMPLES), str(Path(__file__).parents[1])]!r}"]
    script += ["import panoptic_segformer.network as network, train_voc, trainer_cases"]
    for name, words in runs:
        backbone = "trainer_cases.shrunken" if name in PRESETS else "trainer_cases.backbone_config"
        script += [f"network.backbone_config = {backbone}"]
        script += [f"train_voc.main({[*words.split(), '--out', str(out / name)]})"]
    (out / "runs.py").write_text("\n".join(script))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", out / "runs.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[:3000] + done.stderr[-3000:]


def steps(log: list[dict]) -> list[tuple]:
    return [(entry["step"], entry["lr"], entry["loss"]) for entry in log if entry["kind"] == "step"]


@pytest.fixture(autouse=True)
def one_thread():
    """Runs that share pictures out differently still add in the same order; the seed of other tests stays theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(before)


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Also one whose batches are filled up, killed in the middle of an epoch, and once more while it was saving."""
    words = f"{TWO_EPOCHS} {DROPOUT} --data.synthetic-train 6"
    whole = train(tmp_path / "whole", words)
    train(tmp_path / "parts", f"{words} {INTERRUPTED}")
    with open(tmp_path / "parts" / "log.jsonl", "a") as log:
        log.write('{"kind": "step", "step": 2, "lr": 1, "loss": 1}\n{"ki')  # steps after the checkpoint, then killed
    (tmp_path / "parts" / "checkpoint-new").mkdir()
    parts = train(tmp_path / "parts", f"{words} --resume --network.weights gone.pth --optimiser.save-every 1")
    assert [path.name for path in (tmp_path / "parts").glob("checkpoint*")] == ["checkpoint-00000004"]
    same_run(parts, whole)
    assert len(steps(whole)) == 4
    assert steps(whole)[2][1] == pytest.approx(steps(whole)[1][1] / 10)  # the milestone
    for path in (tmp_path / "parts").rglob("*"):  # as a full disk leaves them
        if path.suffix in (".safetensors", ".bin", ".pkl"):
            path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(SystemExit, match=r"^train_voc: resume: .*checkpoint-00000004 is damaged \(.*--overwrite$"):
        train(tmp_path / "parts", f"{words} --resume")
    for run, word in (("parts", "header"), ("none", "config.json")):
        with pytest.raises(SystemExit, match=rf"^predict: --run: .*{run}: no trained network to be read \(.*{word}"):
            predict.main(["--run", str(tmp_path / run), "--out", str(tmp_path / "out")])


def same_run(parts: list[dict], whole: list[dict]) -> None:
    assert steps(parts) == steps(whole)
    scores = [[e for e in log if e["kind"] == "score" and e["step"] != 1] for log in (parts, whole)]
    assert scores[0] == scores[1]


class TestWhatARunMayBeginOver:
    def refused(self, out, *words, match):
        config = Config(labels=PseudoLabels(preset="best"), out=out)
        write_config(config, [])
        with pytest.raises(SystemExit, match=match):
            train_voc.main(["voc_r50", "--labels.preset", "best", "--out", str(out), *words])

    def test_a_run_is_not_lost(self, tmp_path):
        (tmp_path / "checkpoint-new").mkdir()
        self.refused(tmp_path, "--resume", match="holds no checkpoint")
        for name in ("checkpoint-00000001", "checkpoint-00000002"):
            (tmp_path / name).mkdir()
            self.refused(tmp_path, match="holds a checkpoint; expected another folder, --resume or --overwrite")
        self.refused(tmp_path, "--resume", "--overwrite", match="expected one of them")

    def test_resumed_with_other_settings(self, tmp_path):
        (tmp_path / "checkpoint-00000003").mkdir()
        self.refused(
            tmp_path, "--resume", "--optimiser.lr", "1", "--seed", "2", "--optimiser.epochs", "9",
            "--data.workers", "0",
            match=r"optimiser\.lr was 0\.0001, got 1\.0, seed was 0, got 2$",
        )  # fmt: skip
        self.refused(tmp_path, "--resume", "--losses.lab", "1", match=r"losses\.lab was 3, got 1\.0$")
        free = Config(labels=PseudoLabels(preset="best"), out=tmp_path, resume=True, optimiser=Optimiser(epochs=99))
        check_start(free)

    def test_overwritten(self, tmp_path):
        (tmp_path / "checkpoint-00000003").mkdir()
        (tmp_path / "network.safetensors").touch()
        config = Config(out=tmp_path, overwrite=True)
        check_start(config)
        begin(config, [])
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_settings_younger_than_a_run(tmp_path):
    """A checkpoint from before a setting existed was made with its default."""
    (tmp_path / "checkpoint-00000003").mkdir()
    write_config(Config(out=tmp_path), [])
    document = json.loads((tmp_path / "config.json").read_text())
    del document["config"]["losses"]
    (tmp_path / "config.json").write_text(json.dumps(document))
    check_start(Config(out=tmp_path, resume=True))
    with pytest.raises(ValueError, match=r"losses\.ratio was True, got False$"):
        check_start(Config(out=tmp_path, resume=True, losses=Losses(ratio=False)))


def test_maps_for_points_of_other_categories(tmp_path):
    config = replace(PRESETS["tiny"][1], out=tmp_path)
    trainer = Trainer(config, *train_voc.make_samples(config))
    begin(config, trainer.samples.categories)
    weights = tmp_path / "network.safetensors"
    save_model(trainer.network, str(weights))
    learnt, points = list(trainer.samples.categories), trainer.samples[0].points
    for name, categories in {"same": learnt, "swapped": [learnt[1], learnt[0], *learnt[2:]]}.items():
        write_point_set(tmp_path / f"{name}.json", [PicturePoints("a.jpg", 1, points)], categories)
    assert NetworkMaps(str(weights), "cpu", tmp_path / "same.json").categories == tuple(learnt)
    with pytest.raises(ValueError, match=r"points: got \[\(2, 'box', True\).* the run's .*\[\(1, 'disc', True\)"):
        NetworkMaps(str(weights), "cpu", tmp_path / "swapped.json")


def test_stops_before_weights_are_lost(tmp_path):
    config = replace(PRESETS["tiny"][1], out=tmp_path)
    trainer = Trainer(config, *train_voc.make_samples(config))
    trainer.network.semantic_bias.register_hook(lambda gradient: gradient + torch.inf)
    before = {name: values.clone() for name, values in trainer.network.state_dict().items()}
    with pytest.raises(FloatingPointError, match="norm inf"):
        trainer.step(collate([trainer.prepared[0]]))
    assert all(values.equal(before[name]) for name, values in trainer.network.state_dict().items())


def test_bfloat16(tmp_path):
    """The network runs in bfloat16, and its losses, which do not, are close to those in float32."""
    losses, seen = {}, {}
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)  # of one precision for all of a process
        config = replace(PRESETS["tiny"][1], out=tmp_path / precision, precision=precision)
        trainer = Trainer(config, *train_voc.make_samples(config))
        begin(config, trainer.samples.categories)
        kinds = seen[precision] = []
        trainer.network.semantic_head.layers[0].mlp.register_forward_hook(
            lambda *given, kinds=kinds: kinds.append(given[2].dtype)
        )
        losses[precision] = trainer.step(collate([trainer.prepared[0]]))
    AcceleratorState._reset_state(reset_partial_state=True)
    assert seen == {"no": [torch.float32], "bf16": [torch.bfloat16]}
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.02, abs=1e-3)
    assert losses["bf16"] != losses["no"]


def test_fault_a9_two_processes_learn_as_one_and_resume(tmp_path):
    """Also from fewer pictures than a batch. One test, since to start the processes takes longer than their steps."""
    few = f"{SMALL} {TWO_EPOCHS} --data.synthetic-train 3"
    train_on_two_processes(
        tmp_path,
        ("few", few),
        ("parts", f"{few} {INTERRUPTED}"),
        ("parts", f"{few} --resume"),
        *((name, f"{name} {FEW_LAYERS} --optimiser.epochs 1") for name in SHARED),
    )
    same_run(logged(tmp_path / "parts"), logged(tmp_path / "few"))
    assert all(len(steps(logged(tmp_path / name))) == 2 for name in SHARED)
    log, shared = train(tmp_path / "few alone", few.removeprefix(SMALL)), logged(tmp_path / "few")
    assert len(steps(log)) == 2
    np.testing.assert_allclose(np.array(steps(shared)), np.array(steps(log)), rtol=1e-4)
    assert len({lr for _, lr, _ in steps(log)}) == 2  # past a milestone
    # By accumulation, too, a batch is the whole of its parts; the second step has the weights that the first made.
    parts = train(tmp_path / "accumulated", f"{few.removeprefix(SMALL)} --optimiser.accumulate 4")
    np.testing.assert_allclose(np.array(steps(parts)), np.array(steps(log)), rtol=1e-4)
    first = [next(e for e in log if e["kind"] == "score")["pseudo_masks"]["pq"] for log in (log, shared)]
    assert first[0] == pytest.approx(first[1], abs=0.02)  # of the same pictures, shared out


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny" and "r101" not in name])
def test_every_preset_trains_resumes_and_predicts(tmp_path, name, monkeypatch):
    """With few layers, so that ResNet-101 is ResNet-50; other tests run ``tiny`` as it is."""
    monkeypatch.setattr("panoptic_segformer.network.backbone_config", shrunken)
    words = [name, *FEW_LAYERS.split(), "--out", str(tmp_path), "--optimiser.warmup-epochs", "0"]
    warned = name in ("lite", "photographs")
    with nullcontext() if warned else pytest.warns(UserWarning, match="starts from random weights"):
        train_voc.main([*words, "--optimiser.max-steps", "1"])
    before = load_file(tmp_path / "network.safetensors")
    train_voc.main([*words, "--resume", "--optimiser.max-steps", "2"])
    assert len(steps(logged(tmp_path))) == 2
    after = load_file(tmp_path / "network.safetensors")
    config = read_config(tmp_path)[0]
    assert config.labels == PRESETS[name][1].labels
    network = predict.load_network(tmp_path, "cpu")[0]
    stuck = [key for key, p in network.named_parameters() if p.requires_grad and torch.equal(before[key], after[key])]
    # Every parameter learns but some of the last, here the only, thing layer, whose queries lead nowhere, and the
    # boundary head where its loss has no weight.
    idle = ("thing_layers.0.", *(["boundary_head."] if config.losses.boundary == 0 else []))
    assert [key for key in stuck if not key.startswith(idle)] == []
    predict.main(["--run", str(tmp_path), "--out", str(tmp_path / "out")])
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 1


def test_prediction_from_a_run_that_learns(tmp_path, capsys, monkeypatch):
    log = train(
        tmp_path / "run", "--optimiser.max-steps 16 --optimiser.lr 2e-3 --data.synthetic-train 64 --data.scored 4"
    )
    first, last = (entry["pseudo_masks"]["pq"] for entry in log if entry["kind"] == "score")
    assert last > first + 0.05
    for name, words in {"costs": {}, "boundary": {}, "masks": {"other": tmp_path / "run"}}.items():
        getattr(figures, name)(tmp_path / "run", out=tmp_path / f"{name}.png", pictures=(0, 1), **words)
        assert read_picture(tmp_path / f"{name}.png").std() > 10
    predict.main(["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")])
    assert "stuff" in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 2
    ablation.main(
        ["--runs", str(tmp_path / "run"), "--pictures", "2", "--seeds", "1", "--presets", "best", "--tables", "3", "A3"]
    )
    assert "scored on 2 of 2 pictures" in capsys.readouterr().out
    rows = json.loads((tmp_path / "run" / "ablation.json").read_text())
    assert rows[0]["difference"] == 0
    assert all(0 <= row["pq"] <= 1 and row["interval"][0] <= row["interval"][1] for row in rows if row["preset"])
    assert rows[-1]["change"] == "semantic map"
    monkeypatch.setattr(SyntheticSamples, "truth", lambda *_: None)
    with pytest.raises(SystemExit, match=r"none of the 2 pictures of .* has true masks"):
        ablation.main(["--runs", str(tmp_path / "run"), "--pictures", "2"])


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("tiny --optimiser.batch-size 0", r"optimiser\.batch_size: got 0, expected a finite number >= 1"),
        ("tiny --optimiser.accumulate 3", r"optimiser\.batch_size: got 4, expected a multiple of 3"),
        ("tiny --labels.overrides.stride 0", "stride.*got 0"),
        ("tiny --labels.window 4", r"labels\.window: got 4, expected an odd number"),
        ("tiny --labels.boundary both", r"labels\.boundary: got 'both' and data\.low_boundary None"),
        ("tiny --network.backbone vgg", r"network\.backbone: got 'vgg', expected"),
        ("voc_r50 --data.pictures photos", r"data\.points: missing, expected the file"),
        ("tiny --init-from nowhere", "nowhere.*cannot be read"),
        ("tiny --data.val-truth val.json", r"data\.val_truth: got a path without data\.pictures"),
        ("tiny --data.low-boundary maps --labels.boundary low", r"data\.low_boundary: got a path without data\.pict"),
    ],
)
def test_settings_that_cannot_be_are_told_in_a_line(words, match, tmp_path):
    with pytest.raises(SystemExit, match=match):
        train_voc.main([*words.split(), "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_what_is_found_on_the_way_is_told_in_a_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^train_voc: .*stride': got 500 for an image"):
        train_voc.main(["tiny", "--labels.overrides.stride", "500", "--out", str(tmp_path), "--data.scored", "1"])


def test_help_lists_the_presets(capsys):
    with pytest.raises(SystemExit):
        train_voc.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in PRESETS)


def test_tables_that_are_none(tmp_path):
    with pytest.raises(SystemExit, match=r"--tables: got \['9'\], expected some of 3, 4, 5, 6, 7, A2, A3"):
        ablation.main(["--runs", str(tmp_path), "--tables", "9"])


def test_any_field_of_algorithm_1_comes_from_the_command_line(tmp_path):
    """Whatever is given reaches the labeller, and comes back with the run."""
    words = "--labels.overrides.capacity nearest --labels.overrides.centroid-rounds 8 --labels.overrides.max-iter None"
    config = tyro.extras.overridable_config_cli(PRESETS, args=["lite", *words.split(), "--out", str(tmp_path)])
    write_config(config, [])
    assert read_config(tmp_path)[0] == config
    masker = Labeller(config.labels, 3).masker.config
    assert (masker.capacity, masker.centroid_rounds, masker.max_iter, masker.stride) == ("nearest", 8, None, 4)


def test_low_boundaries_enter_the_costs_as_the_learnt_one_does(network, batch):
    network.eval()
    with torch.no_grad():
        outputs = network(batch.pictures, batch.inside)
    same = replace(batch, low=outputs.maps(batch.inside.shape[1:])[1])

    def owners(boundary: str, beta: float) -> torch.Tensor:
        settings = PseudoLabels(preset="best", boundary=boundary, overrides={"beta": beta, "typical_cost": None})
        return torch.stack([masks.instance for masks in Labeller(settings, 3).pseudo_masks(outputs, same, 0)])

    for boundary, beta in (("low", 0.4), ("both", 0.2)):  # rounding may decide a pixel
        assert (owners(boundary, beta) == owners("high", 0.4)).float().mean() > 0.999
    assert (owners("none", 0.4) != owners("high", 0.4)).any()


def test_the_page_on_reproduction_names_options_that_exist(capsys):
    page = (EXAMPLES.parent / "docs" / "reproduce.md").read_text()
    presets = re.findall(r"`((?:voc|coco)_[a-z0-9]+)`", page)
    assert set(presets) == {name for name in PRESETS if name.startswith(("voc", "coco"))}
    with pytest.raises(SystemExit):
        train_voc.main(["voc_r50", "--help"])
    known = capsys.readouterr().out
    asked = set(re.findall(r"--(?:data|labels|losses|network|optimiser)[.a-z0-9-]+|--init-from", page))
    assert len(asked) > 15
    assert [option for option in asked if option not in known and option != "--labels.overrides."] == []
