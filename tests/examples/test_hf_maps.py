"""Maps of transformers' models, at tiny sizes with random weights: no weights of real ones could be had."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelling_jobs import make_set
from PIL import Image

from point2mask_ot import ArgumentError, Category, PointTargets, label_dataset
from point2mask_ot.cli import main
from point2mask_ot.panoptic import LabelledPoints

transformers = pytest.importorskip("transformers")
hf_maps = pytest.importorskip("hf_maps")


def dinov2():
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    return transformers.Dinov2Model(transformers.Dinov2Config(**size))


def swin():
    size = {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 2, 4, 8], "window_size": 4, "image_size": 64}
    return transformers.SwinModel(transformers.SwinConfig(**size))


def sam():
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32}
    square = {"image_size": 64, "patch_size": 8}
    windows = {"window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8}
    vision = {"hidden_size": 32, "output_channels": 16, **layers, **square, **windows}
    config = transformers.SamConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "mask_input_channels": 4, **square},
        mask_decoder_config={"hidden_size": 16, "iou_head_hidden_dim": 16, **layers, "num_hidden_layers": 1},
    )
    return transformers.SamModel(config)


def sam2():
    hiera = {
        "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [4, 4, 4, 4], "global_attention_blocks": [3],
    }  # fmt: skip
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **hiera}, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16,
    }  # fmt: skip
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    return transformers.Sam2Model(config)


@pytest.fixture
def saved(tmp_path):
    """A function that saves models by name and gives the folder that holds them."""

    def save(**models):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for name, make in models.items():
                make().save_pretrained(tmp_path / "models" / name)
        return str(tmp_path / "models")

    return save


PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
POINTS = LabelledPoints(
    PointTargets([(12, 2), (3, 8), (12, 29), (20, 25)], target=[0, 1, 2, 2], category=[0, 1, 2], is_thing=[1, 1, 0]),
    (Category(1, "cat", True), Category(2, "dog", True), Category(3, "grass", False), Category(4, "sky", False)),
)


@pytest.mark.parametrize("make", [dinov2, swin])
def test_features_of_a_backbone(make, saved):
    features = hf_maps.HfMaps(saved(backbone=make), "cpu").features(PICTURE)
    assert features.ndim == 3
    assert abs(features.shape[1] / features.shape[2] - 24 / 32) < 0.05
    assert torch.allclose(features.norm(dim=0), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("make", [sam, sam2])
def test_masks_of_a_promptable_model(make, saved):
    plug_in = hf_maps.HfMaps(saved(promptable=make), "cpu")
    maps = plug_in(PICTURE, POINTS)
    assert maps.keys() == {"semantic"}
    assert maps["semantic"].shape == (4, 24, 32)
    assert torch.allclose(maps["semantic"].sum(0), torch.ones(()), atol=1e-5)
    assert not maps["semantic"][3].any()  # no point of it
    sizes = plug_in.sizes(PICTURE, POINTS.targets)
    masks = plug_in.masks(PICTURE, POINTS.targets)
    assert sizes[:2].tolist() == [int((mask > 0.5).sum()) for mask in masks[:2]]
    assert np.isnan(sizes[2])


@pytest.mark.parametrize("kind", ["sam", "sam2"])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (33, 97)])
def test_points_go_where_they_lie_and_masks_come_back(kind, shape, saved):
    """A stand-in for the model marks the square around the first point that it is given, in its own pixels."""
    plug_in = hf_maps.HfMaps(saved(promptable=sam), "cpu")
    seen = []

    def mark(image_embeddings, input_points):
        x, y = input_points[0, 0, 0]
        rows, columns = torch.meshgrid(torch.arange(32) * 2 + 0.5, torch.arange(32) * 2 + 0.5, indexing="ij")
        mask = torch.where((rows - y).abs().maximum((columns - x).abs()) < 6, 9.0, -9.0)
        seen.append(input_points.shape[2])
        flat = torch.full_like(mask, -9.0)
        masks, scores = torch.stack([flat, mask, flat]), torch.tensor([0.1, 0.9, 0.2])
        return SimpleNamespace(pred_masks=masks[None, None], iou_scores=scores[None, None])

    config = SimpleNamespace(model_type=kind, prompt_encoder_config=SimpleNamespace(image_size=64))
    mark.config, mark.get_image_embeddings = config, lambda pixels: pixels
    plug_in.promptable = mark
    targets = PointTargets([(20, 30), (8, 12), (9, 14)], target=[0, 1, 1])
    masks = plug_in.masks(np.zeros((*shape, 3), np.uint8), targets)
    assert seen == [1, 2]
    assert masks.shape == (2, *shape)
    for mask, point in zip(masks, [(20, 30), (8, 12)], strict=True):
        centre = torch.nonzero(mask > 0.5).float().mean(0)
        assert torch.allclose(centre, torch.tensor(point).float(), atol=1.5), centre


def test_stuff_shares_what_things_leave():
    masks = torch.tensor([0.9, 0.2, 0.6, 0.4])[:, None, None].expand(4, 1, 1)
    targets = PointTargets([(0, k) for k in range(4)], category=[0, 0, 2, 3], is_thing=[1, 1, 0, 0])
    found = hf_maps.class_probabilities(masks, targets, 4)
    assert torch.allclose(found[:, 0, 0], torch.tensor([0.9, 0.0, 0.06, 0.04]), atol=1e-5)
    alone = hf_maps.class_probabilities(masks[2:], targets.select([2, 3]), 4)
    assert torch.allclose(alone[:, 0, 0], torch.tensor([0.0, 0.0, 0.6, 0.4]), atol=1e-5)


def test_a_job_and_a_picture_with_both(saved, tmp_path, monkeypatch):
    images, points = make_set(tmp_path, 2)
    maps = f"hf_maps:HfMaps:{saved(backbone=dinov2, promptable=sam)}"
    how = {"maps": maps, "add_colors": True, "workers": 0, "progress": False}
    made = label_dataset(images, points, tmp_path / "out", **how)
    assert made.labelled == 2, (made.out / "set_aside.csv").read_text()
    known = json.loads((made.out / "summary.json").read_text())["settings"]
    assert {"maps.argument.backbone/config.json", "maps.argument.promptable/model.safetensors"} <= known.keys()
    csv = tmp_path / "points.csv"
    csv.write_text("image,x,y,category,isthing\np000.png,2,12,left,1\np000.png,29,12,right,0\n")
    words = ["label", str(images / "p000.png"), "--points", str(csv), "--maps", maps, "--add-colors"]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    one, job = (np.asarray(Image.open(tmp_path / out / "panoptic" / "p000.png")) for out in ("one", "out"))
    assert np.array_equal(one, job)
    assert not {"timm", "torchvision"} & sys.modules.keys()


def test_what_it_refuses(saved, tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder that holds backbone/, promptable/ or both"):
        hf_maps.HfMaps(str(tmp_path))
    with pytest.raises(ValueError, match=r"got a sam in .*expected a model that AutoBackbone knows"):
        hf_maps.HfMaps(saved(backbone=sam))
    images, points = make_set(tmp_path, 1)
    with pytest.raises(ArgumentError, match=r"hf_maps:HfMaps:nowhere': ValueError: got nowhere; expected a folder"):
        label_dataset(images, points, tmp_path / "out", maps="hf_maps:HfMaps:nowhere", workers=0, progress=False)
