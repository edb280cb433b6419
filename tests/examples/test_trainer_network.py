"""The reference trainer: its network, where it starts from, and what it reads of transformers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from panoptic_segformer import config as settings
from panoptic_segformer.backbone import finest_stride
from panoptic_segformer.mask_decoder import MaskAttention, Memory
from panoptic_segformer.network import PanopticSegformer
from panoptic_segformer.targets import Labeller
from torch.nn import functional
from trainer_cases import STUFF, THINGS, TINY, criterion_for, shrunken


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
        for classify in (*network.class_embed, *network.stuff_head.class_embed):
            np.testing.assert_allclose(classify.bias.detach().numpy(), prior, rtol=1e-6)
        queries = network.detr.query_position_embeddings.weight
        reference = network.detr.reference_points(queries[:, : TINY.network.dim]).sigmoid()
        assert reference.std(0).min() > 0.2  # spread over the picture, not all at its centre
        for classify in network.semantic_head.class_embed:  # a prior here would shrink the semantic map
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

    @pytest.mark.parametrize("recipe", [settings.PAPER, settings.OFFICIAL])
    def test_masks_start_alive_but_for_the_released_code(self, recipe):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = PanopticSegformer(TINY.network, THINGS, STUFF, positive_fusion=recipe.positive_fusion)
        fuse = torch.cat([part.fuse.weight.flatten() for part in network.modules() if isinstance(part, MaskAttention)])
        assert (fuse < 0).any() == (recipe is settings.OFFICIAL)

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
        criterion = criterion_for(network)
        sum(criterion(outputs, batch, targets, 10, criterion.totals(batch)).values()).backward()
        without = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []
        network.zero_grad()

    @pytest.mark.parametrize("backbone", ["tiny", "resnet50", "swin_large", "efficientnet_lite0"])
    def test_fault_b7_every_parameter_of_each_backbone_learns(self, backbone, batch, monkeypatch):
        """Under torchrun one without a gradient ends the run at its second step."""
        monkeypatch.setattr("panoptic_segformer.network.backbone_config", shrunken)
        network_settings = replace(TINY.network, backbone=backbone)
        network = PanopticSegformer(network_settings, THINGS, STUFF).train()
        pictures = batch.pictures[..., :65, :90]
        found = network.detr.backbone.model(pictures)
        maps = found if isinstance(found, list) else found.feature_maps
        cells = [-(-length // finest_stride(network_settings)) for length in pictures.shape[2:]]
        assert list(maps[0].shape[2:]) == cells  # what losses are divided by is counted before the network runs
        sum(level.square().mean() for level in maps).backward()
        body = network.detr.backbone.model.named_parameters()
        assert [name for name, p in body if p.requires_grad and p.grad is None] == []

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

    def test_efficientnet_lite_has_imagenet_weights(self):
        network = PanopticSegformer(replace(TINY.network, backbone="efficientnet_lite0"), THINGS, STUFF)
        body = network.detr.backbone.model
        maps = body(torch.zeros(1, 3, 65, 96))
        assert [tuple(m.shape[1:]) for m in maps] == [(40, 9, 12), (112, 5, 6), (320, 3, 3)]
        assert float(body.body._blocks[0]._bn1.running_var.std()) > 0  # learnt, not initialised
