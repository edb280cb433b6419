"""The reference trainer: network, targets, losses, batches, inference."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import SwinBackbone, SwinConfig

from point2mask_ot import Category, PanopticImage, PointTargets, Segment, panoptic_quality

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
from panoptic_segformer.inference import Tally, as_panoptic, predict  # noqa: E402
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


def criterion_for(network: PanopticSegformer, *, preset: str = "best", losses=None, total=None, processes=1, **changes):
    optimiser = replace(TINY.optimiser, **{"warmup_steps": 10, "ramp_affinity": False, **changes})
    config = replace(
        TINY, optimiser=optimiser, labels=replace(TINY.labels, preset=preset), losses=losses or settings.Losses()
    )
    return Criterion(network, config, total=total or (lambda counts: counts), processes=processes)


def part_of(batch: Batch, part: slice) -> Batch:
    return Batch(*(getattr(batch, field.name)[part] for field in fields(Batch)))


def without_stuff(pair: Batch) -> PointTargets:
    """The points of the second picture but those of its last target, the ground."""
    points = pair.points[1]
    kept = points.target < points.num_targets - 1
    return PointTargets(points.points_yx[kept], points.target[kept], points.category[:-1], points.is_thing[:-1])


def one_picture(points: PointTargets, size: tuple[int, int] = (40, 56)) -> Batch:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return collate([Sample(picture, points, 0)])


class TestNetwork:
    def test_paper_size(self):
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
        assert reference.std(0).min() > 0.2  # spread over the picture, not all at its centre
        for classify in network.semantic_head.present:  # a prior here would shrink the semantic map
            assert classify.weight.abs().max() <= TINY.network.dim**-0.5
            assert classify.bias.abs().max() <= TINY.network.dim**-0.5
        for layer, refine in enumerate(network.detr.decoder.bbox_embed):
            assert not refine.layers[-1].weight.any()
            assert refine.layers[-1].bias[2].item() == (-2 if layer == 0 else 0)
        look = network.detr.encoder.layers[0].self_attn
        steps = look.sampling_offsets.bias.view(TINY.network.heads, -1, 4, 2).abs().amax(-1)
        np.testing.assert_allclose(steps.detach().numpy(), np.broadcast_to([1, 2, 3, 4], steps.shape), rtol=1e-6)
        assert not any(
            p.any() for p in (look.sampling_offsets.weight, look.attention_weights.weight, look.attention_weights.bias)
        )

    @pytest.mark.parametrize("official", [False, True])
    def test_masks_start_alive_but_for_the_released_code(self, official):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = PanopticSegformer(TINY.network, THINGS, STUFF, official=official)
        fuse = torch.cat([part.fuse.weight.flatten() for part in network.modules() if isinstance(part, MaskAttention)])
        assert (fuse < 0).any() == official

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

    def test_memory_of_the_encoder(self, network, batch):
        """What is read off the encoder's arguments: shapes, padding and positions of its three finest levels."""
        network.eval()
        with torch.no_grad():
            memory = network(batch.pictures, batch.inside).memory
        assert memory.shapes == [(24, 24), (12, 12), (6, 6)]
        for shape, inside, position in zip(
            memory.shapes, memory.maps(memory.inside[..., None]), memory.maps(memory.position), strict=True
        ):
            expected = functional.interpolate(batch.inside[:, None].float(), shape).bool()
            assert torch.equal(inside, expected)
            # A sine of the column plus a constant: the same in every row, once the rows' own half is left aside.
            columns = position[0, TINY.network.dim // 2 :]
            torch.testing.assert_close(columns, columns[:, :1].expand_as(columns))
            assert columns.std(2).min() > 0

    def test_swin_of_another_window(self, tmp_path):
        sizes = {"embed_dim": 16, "depths": [1] * 4, "num_heads": [1, 1, 2, 2], "out_features": ["stage2"]}
        theirs = SwinBackbone(SwinConfig(**sizes, window_size=12))
        theirs.save_pretrained(tmp_path)
        ours = SwinBackbone(SwinConfig(**sizes, window_size=7))
        load_weights(ours, tmp_path)
        given, found = theirs.state_dict(), ours.state_dict()
        bias = "relative_position_bias_table"
        assert all(torch.equal(found[name], value) for name, value in given.items() if not name.endswith(bias))
        for name in (name for name in given if name.endswith(bias)):
            old, new = given[name].view(23, 23, -1), found[name].view(13, 13, -1)
            torch.testing.assert_close(new[6, 6], old[11, 11], rtol=0.2, atol=0.01)  # no offset stays no offset
        SwinBackbone(SwinConfig(**sizes | {"depths": [1, 1, 1, 2]})).save_pretrained(tmp_path / "deeper")
        with pytest.raises(ValueError, match=r"lacks \d+ tensors"):
            load_weights(SwinBackbone(SwinConfig(**sizes | {"depths": [1, 1, 2, 2]})), tmp_path / "deeper")

    def test_torchvision_names(self, tmp_path):
        # The names of a torchvision ResNet, with the tensors of ours: everything must find its place.
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

    @pytest.mark.parametrize("preset", ["paper", "official"])
    def test_empty_masks(self, preset):
        """A thing without pixels is left out; the released code teaches the central half of the picture."""
        picture = one_picture(PointTargets([(5, 5), (20, 30)], category=[2, 1]))
        owner = torch.full((40, 56), 1)
        targets = Labeller(replace(TINY.labels, preset=preset), THINGS)._targets(
            owner, owner, picture.points[0], picture.sizes[0]
        )
        found = dict(zip(targets.classes.tolist(), targets.boxes.tolist(), strict=True))
        whole = {1: [0.5, 0.5, 1.0, 1.0]}
        assert found == (whole | {2: [0.5, 0.5, 0.5, 0.5]} if preset == "official" else whole)
        assert targets.masks.flatten(1).any(1).sum() == 1

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
        self.step(network, one_picture(points), preset)

    @pytest.mark.parametrize("size", [(1, 40), (13, 9), (33, 1)])
    def test_thin_pictures(self, network, size):
        last = np.subtract(size, 1)
        points = PointTargets([(0, 0), last], category=[1, THINGS], is_thing=[True, False])
        self.step(network, one_picture(points, size), "paper")

    def test_thin_picture_beside_a_large_one(self, network):
        points = PointTargets([(0, 2), (0, 7)], category=[1, THINGS], is_thing=[True, False])
        samples = [
            Sample(np.zeros((height, width, 3), np.uint8), points, height) for height, width in ((1, 9), (90, 70))
        ]
        self.step(network, collate(samples), "best")

    def test_no_stuff_class(self, batch):
        """A data set of things alone, as nuclei are."""
        network = PanopticSegformer(TINY.network, THINGS, 0)
        self.step(network, one_picture(PointTargets([(5, 5), (20, 30)], category=[0, 1])), "best")
        network.eval()
        categories = SyntheticSamples.categories[:THINGS]
        assert len(predict(network, batch, categories, batch.sizes, threshold=0.0)) == 3

    def step(self, network, picture, preset):
        network.train()
        labels = replace(TINY.labels, preset=preset)
        for step in (0, 10_000):
            outputs = network(picture.pictures, picture.inside)
            targets = Labeller(labels, THINGS)(outputs, picture, step)
            losses = criterion_for(network, preset=preset)(outputs, picture, targets, step)
            assert all(torch.isfinite(value) for value in losses.values())
            sum(losses.values()).backward()
        network.zero_grad()

    def test_point_labels(self):
        picture = one_picture(PointTargets([(10, 10), (12, 10)], category=[2, 1]))
        labels = point_labels(picture, 5, (40, 56))[0]
        assert (labels == 1).sum() == 25  # the lower class has the overlap
        assert (labels == 2).sum() == 10
        assert (labels == UNKNOWN).sum() == 40 * 56 - 35

    def test_padding_has_neither_labels_nor_colours(self):
        samples = [
            Sample(np.full((size, size, 3), value, np.uint8), PointTargets([(size - 1, size - 1)]), size)
            for size, value in ((24, 200), (48, 100))
        ]
        both = collate(samples)
        assert not (point_labels(both, 17, (48, 48)) != UNKNOWN)[~both.inside].any()
        # Resized, the last pixels of the small picture take in none that is darker.
        small = functional.interpolate(both.pictures, (7, 7), mode="bilinear")[0]
        np.testing.assert_allclose(small.numpy(), 200 / 255, rtol=1e-6)


class TestCriterion:
    def test_terms(self):
        assert {name for name, term in TERMS.items() if term.share == "all"} == {
            "semantic_class", "partial", "lab", "tree", "manifold", "boundary",
        }  # fmt: skip
        assert {name for name, term in OFFICIAL_TERMS.items() if term.share == "all"} == {"manifold", "boundary"}
        assert not OFFICIAL_TERMS["location_class"].ramp
        assert [name for name, term in TERMS.items() if not term.ramp] == [
            "semantic_class", "partial", "lab", "tree", "manifold",
        ]  # fmt: skip
        assert OFFICIAL_TERMS["tree"].ramp

    def test_weights_and_ratio(self, network, batch):
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        things, stuff = (sum(len(getattr(t, of)) for t in targets) for of in ("classes", "stuff"))
        share = {"all": 1.0, "things": things / (things + stuff), "stuff": stuff / (things + stuff)}
        weights = {name: 0.5 + index for index, name in enumerate(TERMS)}
        ones = settings.Losses(**dict.fromkeys(TERMS, 1.0), ratio=False)
        for preset, terms in (("best", TERMS), ("official", OFFICIAL_TERMS)):
            plain, weighed = (
                criterion_for(network, preset=preset, losses=losses)(outputs, batch, targets, 10)
                for losses in (ones, settings.Losses(**weights))
            )
            for name, loss in plain.items():
                torch.testing.assert_close(weighed[name], loss * weights[name] * share[terms[name].share])

    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
    def test_refused_weights(self, weight):
        with pytest.raises(ValueError, match=r"losses\.lab: got .*, expected a finite number >= 0"):
            settings.Losses(lab=weight)

    @pytest.mark.parametrize("ramp_affinity", [False, True])
    def test_warm_up(self, network, batch, ramp_affinity):
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        criterion = criterion_for(network, ramp_affinity=ramp_affinity)
        at = {step: criterion(outputs, batch, targets, step) for step in (0, 5, 10, 99)}
        ramped = {name for name, term in TERMS.items() if term.ramp} | ({"lab", "tree"} if ramp_affinity else set())
        for name in TERMS:
            expected = [0, 0.5, 1, 1] if name in ramped else [1, 1, 1, 1]
            full = at[10][name].item()
            np.testing.assert_allclose(
                [losses[name].item() for losses in at.values()], np.multiply(expected, full), rtol=1e-5
            )

    def test_balanced_classes(self, network, batch):
        """The mean over classes of the mean over their labelled pixels."""
        network.eval()
        outputs = network(batch.pictures, batch.inside)
        targets = Labeller(replace(TINY.labels, supervision="masks"), THINGS)(outputs, batch, 0)
        found = criterion_for(network, balanced=True)(outputs, batch, targets, 0)["partial"]
        labels = point_labels(batch, 5, outputs.memory.shapes[0])
        every = -outputs.semantic.log_softmax(2).permute(2, 0, 1, 3, 4)  # (C, L, B, h, w)
        means = [every[c, :, labels == c].mean(1).sum() for c in labels.unique().tolist() if c != UNKNOWN]
        torch.testing.assert_close(found, torch.stack(means).mean())

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

    @pytest.mark.parametrize("balanced", [False, True])
    @pytest.mark.parametrize("stuff", ["both", "first"])
    def test_two_halves_make_the_whole(self, network, batch, stuff, balanced):
        """Losses averaged over two processes, each with its part of a batch, are those of the whole batch."""
        network.eval()
        pair = part_of(batch, slice(0, 2))
        if stuff == "first":
            pair = replace(pair, points=[pair.points[0], without_stuff(pair)], masks=pair.masks.clone())
            pair.masks[1][pair.masks[1] == pair.points[1].num_targets] = -1
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

            criterion = criterion_for(network, total=record, processes=processes, balanced=balanced)
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
        with pytest.raises(ValueError, match="got 8, expected at most 5: the data have 4 wide and 5 tall pictures"):
            GroupedBatches([True] * 4 + [False] * 5, 8, 0)


class TestInference:
    def test_true_masks_come_back(self, batch):
        from point2mask_ot import PseudoMasks

        samples = SyntheticSamples(0, 3, 96, with_masks=True)
        points = batch.points[0]
        category = torch.as_tensor(points.category.copy())
        owner = batch.masks[0]
        masks = PseudoMasks(owner, None, None, category[owner], owner < 0, None, None)
        found = as_panoptic(masks, samples.categories, batch, 0, (96, 96))
        assert panoptic_quality([found], [samples.truth(0)], samples.categories).pq == 1

    def test_covered_segments_are_left_out(self):
        """A thing may be covered by 40 %, stuff by 20 %, and a segment without pixels is none."""
        from panoptic_segformer.inference import _merge

        masks = torch.zeros(5, 1, 30, dtype=torch.bool)
        masks[0, 0, :10] = True  # the surest
        masks[1, 0, 5:15] = True  # covered by 50 %
        masks[2, 0, 7:17] = True  # covered by 30 %
        masks[3, 0, 14:24] = True  # stuff, covered by 30 %
        scores, channels = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]), torch.tensor([0, 1, 2, 3, 0])
        found = _merge((channels, scores, masks), SyntheticSamples.categories, (1, 30), 0.25, 0)
        assert found.id_map.tolist() == [[1] * 10 + [2] * 7 + [0] * 13]
        assert [segment.category_id for segment in found.segments] == [1, 3]

    def test_tally_is_the_quality_of_all(self):
        rng = np.random.default_rng(0)
        categories = [Category(1, "a", True), Category(2, "b", True), Category(3, "c", False)]
        kinds = (Segment(1, 1, True), Segment(2, 2, True), Segment(3, 3, False))
        pairs = []
        for image in range(4):
            truth = np.concatenate([[1, 2, 3], np.sort(rng.integers(1, 4, 27))])
            guess = np.where(rng.random(30) < 0.2, 3, truth)
            pairs.append([PanopticImage(ids[None], kinds, image) for ids in (np.r_[1:4, guess[3:]], truth)])
        tallies = [Tally(categories), Tally(categories)]
        for index, pair in enumerate(pairs):
            tallies[index % 2].add(*pair)
        tallies[0].counts = tallies[0].counts + tallies[1].counts
        expected = panoptic_quality(*zip(*pairs, strict=True), categories)
        for kind, means in tallies[0].scores().items():
            assert means == pytest.approx(vars(getattr(expected, kind)))

    def test_segments_do_not_overlap_and_are_sure(self, network, batch):
        network.eval()
        sizes = [(50, 61), (96, 96), (7, 9)]
        found = predict(network, batch, SyntheticSamples.categories, sizes, threshold=0.0)
        assert [image.size for image in found] == sizes
        assert all(
            not predict(network, batch, SyntheticSamples.categories, sizes, threshold=2.0)[i].segments for i in range(3)
        )
