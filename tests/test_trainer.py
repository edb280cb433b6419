"""The reference trainer: network, targets, losses, batches, and runs from start to end."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from point2mask_ot import PointTargets

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from panoptic_segformer import config as settings  # noqa: E402
from panoptic_segformer.backbone import load_weights  # noqa: E402
from panoptic_segformer.criterion import OFFICIAL_TERMS, TERMS, Criterion  # noqa: E402
from panoptic_segformer.data import (  # noqa: E402
    GroupedBatches,
    PreparedSamples,
    Sample,
    SyntheticSamples,
    collate,
    flipped,
    resized,
)
from panoptic_segformer.inference import as_panoptic, predict  # noqa: E402
from panoptic_segformer.network import MaskAttention, Memory, PanopticSegformer  # noqa: E402
from panoptic_segformer.targets import UNKNOWN, Batch, Labeller, boxes_of, point_labels  # noqa: E402

TINY = settings.PRESETS["tiny"][1]
THINGS, STUFF = 3, 1


@pytest.fixture(scope="module")
def network() -> PanopticSegformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PanopticSegformer(TINY.network, THINGS, STUFF)


@pytest.fixture
def batch() -> Batch:
    samples = SyntheticSamples(0, 3, 96, with_masks=True)
    # The third picture is smaller, and of sides that no stride divides.
    return collate([samples[0], samples[1], resized(samples[2], 71, 71)])


def criterion_for(network: PanopticSegformer, **changes) -> Criterion:
    return Criterion(network, **{"official": False, "warmup_steps": 10, "window": 5, **changes})


def part_of(batch: Batch, part: slice) -> Batch:
    return Batch(*(getattr(batch, field.name)[part] for field in fields(Batch)))


def one_picture(points: PointTargets, size: tuple[int, int] = (40, 56)) -> Batch:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return collate([Sample(picture, points, 0)])


class TestNetwork:
    def test_paper_size(self):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="resnet50 starts from random weights")
            network = PanopticSegformer(settings.Network(), 20, 1)
        counted = {
            name: sum(p.numel() for part, p in network.named_parameters() if part.startswith(name))
            for name in ("detr.backbone", "detr.encoder", "detr.decoder")
        }
        # ResNet-50 without its classifier and batch norms; 6 layers each of Deformable DETR.
        assert counted["detr.backbone"] == pytest.approx(23.46e6, rel=0.01)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(56.7, abs=3)
        frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
        assert frozen
        assert all(".embedder." in name or ".stages.0." in name for name in frozen)

    def test_initialisation(self, network):
        prior = -np.log(99)
        for classify in (*network.classes, *network.stuff_head.present):
            np.testing.assert_allclose(classify.bias.detach().numpy(), prior, rtol=1e-6)
        queries = network.detr.query_position_embeddings.weight
        reference = network.detr.reference_points(queries[:, : TINY.network.dim]).sigmoid()
        assert reference.std(0).min() > 0.15  # spread over the picture, not all at its centre
        for layer, refine in enumerate(network.detr.decoder.bbox_embed):
            assert not refine.layers[-1].weight.any()
            assert refine.layers[-1].bias[2].item() == (-2 if layer == 0 else 0)
        assert network.detr.encoder.layers[0].self_attn.sampling_offsets.bias.abs().max() >= 1

    def test_each_parameter_has_one_name(self, network, tmp_path):
        from safetensors.torch import load_file, save_file

        state = network.state_dict()
        save_file(state, tmp_path / "w.safetensors")  # raises where two names share memory
        loaded = load_file(tmp_path / "w.safetensors")
        assert all(torch.equal(loaded[name], value) for name, value in state.items())

    def test_every_parameter_learns(self, network, batch):
        network.train()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        network.zero_grad()
        sum(criterion_for(network)(outputs, batch, targets, 10).values()).backward()
        without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []
        network.zero_grad()

    def test_mask_attention_is_attention(self):
        torch.manual_seed(1)
        ours, oracle = MaskAttention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
        with torch.no_grad():
            oracle.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
            oracle.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
            oracle.out_proj.load_state_dict(ours.out.state_dict())
        shapes = [(4, 6), (2, 3), (1, 2)]
        tokens, inside = torch.randn(2, 32, 16), torch.rand(2, 32) > 0.3
        memory = Memory(tokens, torch.zeros_like(tokens), inside, shapes)
        queries = torch.randn(2, 5, 16)
        attended, masks = ours(queries, memory)
        expected, _ = oracle(queries, tokens, tokens, key_padding_mask=~inside)
        torch.testing.assert_close(attended, expected)
        # The masks, one picture and query at a time, from the raw scores.
        for image, query in ((0, 0), (1, 3)):
            q = ours.query(queries[image, query]).view(4, 4)
            scores = (ours.key(tokens[image]).view(32, 4, 4) * q).sum(-1) / 2
            scores = scores * inside[image, :, None]
            maps, start = [], 0
            for level, (h, w) in enumerate(shapes):
                part = scores[start : start + h * w].T.reshape(1, 4, h, w)
                maps.append(functional.interpolate(ours.levels[level](part).relu(), shapes[0], mode="bilinear"))
                start += h * w
            expected = ours.fuse(torch.cat(maps, 1)).relu()[0, 0] * inside[image, :24].view(4, 6)
            torch.testing.assert_close(masks[image, query], expected)

    def test_padding_does_not_show_in_masks(self, network, batch):
        network.eval()
        with torch.no_grad():
            outputs = network(batch.pictures, batch.inside)
        outside = functional.interpolate(batch.inside[:, None].float(), outputs.memory.shapes[0])[:, 0] == 0
        assert outside[2].any()
        assert not outputs.stuff_masks[:, 2, :, outside[2]].any()

    def test_torchvision_names(self, tmp_path):
        # The names of a torchvision ResNet, with the tensors of ours: everything must find its place.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = PanopticSegformer(replace(TINY.network, backbone="resnet50"), THINGS, STUFF)
        model = network.detr.backbone.model
        theirs = {_torchvision_name(name): torch.randn_like(value) for name, value in model.state_dict().items()}
        assert "layer3.5.bn2.running_var" in theirs
        assert "layer1.0.downsample.0.weight" in theirs
        assert "conv1.weight" in theirs
        torch.save(theirs | {"fc.weight": torch.zeros(1)}, tmp_path / "resnet50.pth")
        load_weights(model, tmp_path / "resnet50.pth")
        assert all(torch.equal(theirs[_torchvision_name(name)], value) for name, value in model.state_dict().items())
        del theirs["layer3.5.bn2.running_var"]
        torch.save(theirs, tmp_path / "short.pth")
        with pytest.raises(ValueError, match=r"lacks 1 tensors.*stages\.2\.layers\.5"):
            load_weights(model, tmp_path / "short.pth")

    def test_efficientnet_lite_has_imagenet_weights(self):
        network = PanopticSegformer(replace(TINY.network, backbone="efficientnet_lite0"), THINGS, STUFF)
        body = network.detr.backbone.model
        maps = body(torch.zeros(1, 3, 65, 96))
        assert [tuple(m.shape[1:]) for m in maps] == [(40, 9, 12), (112, 5, 6), (320, 3, 3)]
        assert float(body.body._blocks[0]._bn1.running_var.std()) > 0  # learnt, not initialised


def _torchvision_name(name: str) -> str:
    """Ours to torchvision's, written as a table so as not to be the inverse of the code under test."""
    parts = name.split(".")
    kind = {"convolution": "conv", "normalization": "bn"}
    if parts[0] == "embedder":
        return ".".join([kind[parts[2]] + "1", *parts[3:]])
    head = [f"layer{int(parts[2]) + 1}", parts[4]]
    if parts[5] == "shortcut":
        return ".".join([*head, "downsample", "0" if parts[6] == "convolution" else "1", *parts[7:]])
    return ".".join([*head, f"{kind[parts[7]]}{int(parts[6]) + 1}", *parts[8:]])


class TestTargets:
    def test_boxes(self):
        mask = torch.zeros(1, 10, 20, dtype=torch.bool)
        mask[0, 2:5, 4:12] = True
        expected = [[8 / 16, 3.5 / 8, 8 / 16, 3 / 8]]
        np.testing.assert_allclose(boxes_of(mask, (8, 16)).numpy(), expected)

    def test_padding_enters_nothing(self, network, batch):
        """A picture alone, and beside a larger one, is labelled alike from the same maps."""
        network.eval()
        labeller = Labeller(TINY.labels, THINGS)
        with torch.no_grad():
            outputs = network(batch.pictures, batch.inside)
        height, width = batch.sizes[2]
        maps = [
            functional.interpolate(given, batch.inside.shape[1:], mode="bilinear")[2:, :, :height, :width]
            for given in (outputs.semantic[-1], outputs.boundary, outputs.embeddings)
        ]
        alone = labeller.masker(
            maps[0].softmax(1), maps[1].sigmoid(), batch.points[2:], functional.normalize(maps[2], dim=1)
        )
        together = labeller.pseudo_masks(outputs, batch, step=TINY.labels.centroid_start)[2]
        assert torch.equal(together.instance[:height, :width], alone[0].instance)
        assert together.void[height:].all()
        assert together.void[:, width:].all()

    def test_true_masks(self, batch, network):
        labeller = Labeller(replace(TINY.labels, supervision="masks"), THINGS)
        targets = labeller(None, batch, 0)
        for index, given in enumerate(targets):
            assert torch.equal(given.instance, batch.masks[index])
            assert int(given.masks.sum() + given.stuff_masks.sum()) == int((given.instance >= 0).sum())

    @pytest.mark.parametrize(
        "points",
        [
            PointTargets(np.zeros((0, 2), np.int64)),
            PointTargets([(5, 5)], category=[THINGS], is_thing=[False]),
            PointTargets([(5, 5), (20, 30)], category=[0, 1]),
            PointTargets([(0, 0), (39, 55), (0.4, 0.2)], category=[0, 2, 0]),  # corners, two on one pixel
        ],
        ids=["no points", "no things", "no stuff", "corners"],
    )
    @pytest.mark.parametrize("preset", ["best", "paper", "official"])
    def test_lean_pictures(self, network, points, preset):
        """No image crashes the step, and every loss is finite with a gradient."""
        network.train()
        picture = one_picture(points)
        labels = replace(TINY.labels, preset=preset)
        for step in (0, 10_000):
            outputs = network(picture.pictures, picture.inside)
            targets = Labeller(labels, THINGS)(outputs, picture, step)
            losses = criterion_for(network, official=preset == "official")(outputs, picture, targets, step)
            assert all(torch.isfinite(value) for value in losses.values())
            sum(losses.values()).backward()
        network.zero_grad()

    def test_point_labels(self):
        picture = one_picture(PointTargets([(10, 10), (12, 10)], category=[2, 1]))
        labels = point_labels(picture, 5, (40, 56))[0]
        assert (labels == 1).sum() == 25  # the lower class has the overlap
        assert (labels == 2).sum() == 10
        assert (labels == UNKNOWN).sum() == 40 * 56 - 35


class TestCriterion:
    def test_terms(self):
        assert {name for name, term in TERMS.items() if term.share == "all"} == {
            "semantic_class", "partial", "lab", "tree", "manifold", "boundary",
        }  # fmt: skip
        assert {name for name, term in OFFICIAL_TERMS.items() if term.share == "all"} == {"manifold", "boundary"}
        assert not OFFICIAL_TERMS["location_class"].ramp
        assert [name for name, term in TERMS.items() if not term.ramp] == [
            "semantic_class", "partial", "lab", "manifold",
        ]  # fmt: skip

    def test_warm_up(self, network, batch):
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        criterion = criterion_for(network)
        at = {step: criterion(outputs, batch, targets, step) for step in (0, 5, 10, 99)}
        for name, term in TERMS.items():
            expected = [0, 0.5, 1, 1] if term.ramp else [1, 1, 1, 1]
            full = at[10][name].item()
            np.testing.assert_allclose(
                [losses[name].item() for losses in at.values()], np.multiply(expected, full), rtol=1e-5
            )

    def test_perfect_masks_have_no_dice(self, network):
        from panoptic_segformer.criterion import _dice

        target = torch.zeros(2, 16, 16, dtype=torch.bool)
        target[0, 4:9, 2:8] = target[1, 10:, 10:] = True
        inside = torch.ones(16, 16, dtype=torch.bool)
        assert float(_dice(target.float()[None], target, inside)) < 1e-3
        assert float(_dice(torch.zeros(1, 2, 16, 16), target, inside)) == 2

    def test_focal_has_the_gradient_of_its_formula(self):
        from panoptic_segformer.criterion import _focal

        logits = torch.randn(2, 3, 4, dtype=torch.float64)
        target = (torch.rand(3, 4) > 0.5).double()
        p = logits.sigmoid()
        hit = target * p + (1 - target) * (1 - p)
        expected = -((0.25 * target + 0.75 * (1 - target)) * (1 - hit) ** 2 * hit.log()).sum()
        torch.testing.assert_close(_focal(logits, target), expected, rtol=1e-5, atol=1e-5)

    def test_two_halves_make_the_whole(self, network, batch):
        """Losses averaged over two processes, each with its part of a batch, are those of the whole batch."""
        network.eval()
        pair = part_of(batch, slice(0, 2))
        labeller = Labeller(replace(TINY.labels, supervision="masks"), THINGS)

        def losses(part: slice, total=lambda counts: counts, processes: int = 1) -> tuple[dict, torch.Tensor]:
            own = Batch(
                *(getattr(pair, f)[part] for f in ("pictures", "inside", "sizes", "points", "image_ids", "masks"))
            )
            outputs = network(own.pictures, own.inside)
            seen = []

            def record(counts):
                seen.append(counts)
                return total(counts)

            criterion = criterion_for(network, total=record, processes=processes)
            return criterion(outputs, own, labeller(outputs, own, 0), 10), seen[0]

        whole, _ = losses(slice(0, 2))
        counts = [losses(slice(i, i + 1))[1] for i in range(2)]
        halves = [losses(slice(i, i + 1), lambda _: counts[0] + counts[1], 2)[0] for i in range(2)]
        for name, value in whole.items():
            mean = (halves[0][name] + halves[1][name]) / 2
            torch.testing.assert_close(mean, value, rtol=2e-4, atol=1e-5, msg=name)


class TestData:
    def test_points_follow_the_picture(self):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[10:14, 50:54] = 255
        sample = Sample(picture, PointTargets([(11.5, 51.5)]), 0)
        for changed in (flipped(sample), resized(sample, 100, 1000), resized(flipped(sample), 23, 30)):
            y, x = np.floor(changed.points.points_yx[0] + 0.5).astype(int)
            assert changed.picture[y, x].min() > 100
        assert resized(sample, 100, 120).picture.shape == (80, 120, 3)

    def test_samples_depend_on_seed_and_epoch_only(self):
        prepared = [
            PreparedSamples(SyntheticSamples(0, 8, 96, with_masks=False), (64, 80, 96), 96, 3) for _ in range(2)
        ]
        for data in prepared:
            data.epoch = 5
        assert all(np.array_equal(prepared[0][i].picture, prepared[1][i].picture) for i in (4, 1))
        sizes = {prepared[0][i].picture.shape for i in range(8)}
        assert len(sizes) > 1

    @pytest.mark.parametrize("processes", [1, 2, 4])
    def test_batches_are_shared_out(self, processes):
        wide = [index % 3 == 0 for index in range(40)]
        parts = [list(GroupedBatches(wide, 8, 1, rank, processes)) for rank in range(processes)]
        whole = list(GroupedBatches(wide, 8, 1))
        assert [[i for part in parts for i in part[k]] for k in range(len(whole))] == whole
        assert len(whole) == len(GroupedBatches(wide, 8, 1)) == 4
        for batch in whole:
            assert len({wide[index] for index in batch}) == 1
        later = GroupedBatches(wide, 8, 1)
        later.start = 2
        assert list(later) == whole[2:]

    def test_too_few_pictures(self):
        with pytest.raises(ValueError, match="3 pictures do not fill a batch of 8"):
            GroupedBatches([True] * 3, 8, 0)


class TestInference:
    def test_true_masks_come_back(self, batch):
        from point2mask_ot import PseudoMasks, panoptic_quality

        samples = SyntheticSamples(0, 3, 96, with_masks=True)
        points = batch.points[0]
        category = torch.as_tensor(points.category.copy())
        owner = batch.masks[0]
        masks = PseudoMasks(owner, None, None, category[owner], owner < 0, None, None)
        found = as_panoptic(masks, samples.categories, batch, 0, (96, 96))
        assert panoptic_quality([found], [samples.truth(0)], samples.categories).pq == 1

    def test_segments_do_not_overlap_and_are_sure(self, network, batch):
        network.eval()
        sizes = [(50, 61), (96, 96), (7, 9)]
        found = predict(network, batch, SyntheticSamples.categories, sizes, threshold=0.0)
        assert [image.size for image in found] == sizes
        assert all(
            not predict(network, batch, SyntheticSamples.categories, sizes, threshold=2.0)[i].segments for i in range(3)
        )


def train(out: Path, *words: str, launcher: tuple[str, ...] = ()) -> list[dict]:
    """A short run of the script; the entries of its log."""
    command = [sys.executable, *launcher, str(EXAMPLES / "train_voc.py"), "tiny", "--out", str(out)]
    command += ["--optimiser.batch-size", "4", "--data.scored", "4", "--data.synthetic-val", "4"]
    command += ["--data.synthetic-train", "12", "--data.min-side", "64", "--data.max-side", "64", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_one_thread())
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / "pictures.png").is_file()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def _one_thread() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": ""}


def steps(log: list[dict]) -> list[tuple]:
    return [(entry["step"], entry["lr"], entry["loss"]) for entry in log if entry["kind"] == "step"]


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    words = ("--optimiser.epochs", "2", "--optimiser.milestones", "1")
    whole = train(tmp_path / "whole", *words)
    train(tmp_path / "parts", *words, "--optimiser.max-steps", "2")  # in the middle of an epoch
    parts = train(tmp_path / "parts", *words, "--resume")
    assert steps(parts) == steps(whole)
    assert len(steps(whole)) == 6
    assert [entry for entry in parts if entry["kind"] == "score"] == [
        entry for entry in whole if entry["kind"] == "score"
    ]
    assert steps(whole)[3][1] == pytest.approx(steps(whole)[2][1] / 10)  # the milestone


def test_two_processes_learn_as_one(tmp_path):
    words = ("--optimiser.epochs", "1")
    one = steps(train(tmp_path / "one", *words))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    two = steps(train(tmp_path / "two", *words, launcher=launcher))
    np.testing.assert_allclose(np.array(two), np.array(one), rtol=1e-4)


def test_prediction_from_a_run(tmp_path):
    train(tmp_path / "run", "--optimiser.max-steps", "1")
    command = [
        sys.executable,
        str(EXAMPLES / "predict.py"),
        "--run",
        str(tmp_path / "run"),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_one_thread())
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 4
    assert "stuff" in done.stdout
