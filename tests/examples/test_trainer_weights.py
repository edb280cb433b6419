"""The reference trainer: weights from files, and what of them is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from panoptic_segformer import config as settings
from panoptic_segformer.backbone import backbone_config
from panoptic_segformer.network import PanopticSegformer
from safetensors.torch import save_file, save_model
from torch import nn
from trainer_cases import STUFF, THINGS, TINY, tiny_network
from transformers import ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig
from transformers.models.deformable_detr.modeling_deformable_detr import replace_batch_norm
from weights import load_imagenet, load_run

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "out_features": ["stage2", "stage3", "stage4"]}
SWIN = {"embed_dim": 16, "num_heads": [1, 1, 2, 2], "out_features": ["stage2"]}


def resnet(depths=(1, 1, 2, 1)) -> nn.Module:
    model = ResNetBackbone(ResNetConfig(**RESNET, depths=list(depths)))
    replace_batch_norm(model)  # as Deformable DETR does
    return model


def load(model: nn.Module, path, backbone="resnet50") -> str:
    return load_imagenet(model, settings.Network(backbone=backbone, weights=path))


def torchvisions(model: nn.Module) -> dict[str, torch.Tensor]:
    """Tensors of our shapes in torchvision's names, with the classifier that its files have."""
    given = {_torchvision_name(name): torch.randn_like(value) for name, value in model.state_dict().items()}
    return given | {"fc.weight": torch.zeros(1), "bn1.num_batches_tracked": torch.tensor(1)}


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model", "module."])
def test_torchvision_names(tmp_path, wrapped):
    model = resnet()
    theirs = torchvisions(model)
    assert {"layer3.1.bn2.running_var", "layer2.0.downsample.0.weight", "conv1.weight"} <= theirs.keys()
    given = {f"module.{name}": value for name, value in theirs.items()} if wrapped == "module." else theirs
    torch.save({wrapped: given} if wrapped in ("state_dict", "model") else given, tmp_path / "resnet50.pth")
    said = load(model, tmp_path / "resnet50.pth")
    assert f"{len(model.state_dict())} tensors of" in said
    assert said.endswith("left: embedder.embedder.normalization.num_batches_tracked, fc.weight")
    assert all(torch.equal(theirs[_torchvision_name(name)], value) for name, value in model.state_dict().items())


def test_paper_resnet_has_torchvisions_names():
    with torch.device("meta"):
        model = ResNetBackbone(backbone_config(settings.Network()))
    names = [name for name in model.state_dict() if "num_batches" not in name]
    theirs = {_torchvision_name(name) for name in names}
    assert len(theirs) == len(names) == 265
    assert {"layer3.5.bn2.running_var", "layer1.0.downsample.0.weight", "conv1.weight"} <= theirs


class TestRefused:
    def refused(self, path, given, match, model=None):
        torch.save(given, path / "w.pth")
        model = model or resnet()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(ValueError, match=match):
            load(model, path / "w.pth")
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_tensors_that_are_missing_or_too_many(self, tmp_path):
        short = torchvisions(resnet())
        del short["layer3.1.bn2.running_var"]
        self.refused(tmp_path, short, r"1 of whose tensors are not those of resnet50: lacks .*stages\.2\.layers\.1")
        deeper = torchvisions(resnet((1, 1, 3, 1)))
        self.refused(tmp_path, deeper, r"has .*stages\.2\.layers\.2.*for which there is no place")

    def test_shapes_and_numbers(self, tmp_path):
        wide = torchvisions(resnet())
        wide["conv1.weight"] = torch.zeros(16, 3, 7, 7)
        self.refused(tmp_path, wide, r"of shape \(16, 3, 7, 7\) for \(8, 3, 7, 7\)")
        sick = torchvisions(resnet())
        sick["conv1.weight"][0] = torch.nan
        self.refused(tmp_path, sick, r"NaN or infinity in 1 tensors, among them 'conv1.weight'")

    def test_what_is_no_weights(self, tmp_path):
        self.refused(tmp_path, [1, 2], "holds no tensors by name")
        (tmp_path / "text.pth").write_text("no weights")
        for name in ("text.pth", "none.pth"):
            with pytest.raises(ValueError, match=f"{name} cannot be read"):
                load(resnet(), tmp_path / name)

    def test_swin_of_its_authors(self, tmp_path):
        given = {
            "model": {"patch_embed.proj.weight": torch.zeros(1), "layers.0.blocks.0.attn.qkv.bias": torch.zeros(1)}
        }
        swin = SwinBackbone(SwinConfig(**SWIN, depths=[1] * 4))
        self.refused(tmp_path, given, r"expected a folder, which transformers makes.*save_pretrained", swin)


def test_swin_of_another_window(tmp_path):
    theirs = SwinBackbone(SwinConfig(**SWIN, depths=[1] * 4, window_size=12))
    theirs.save_pretrained(tmp_path)
    ours = SwinBackbone(SwinConfig(**SWIN, depths=[1] * 4, window_size=7))
    load(ours, tmp_path, "swin_large")
    given, found = theirs.state_dict(), ours.state_dict()
    bias = "relative_position_bias_table"
    assert all(torch.equal(found[name], value) for name, value in given.items() if not name.endswith(bias))
    for name in (name for name in given if name.endswith(bias)):
        old, new = given[name].view(23, 23, -1), found[name].view(13, 13, -1)
        torch.testing.assert_close(new[6, 6], old[11, 11], rtol=0.2, atol=0.01)  # no offset stays no offset
    SwinBackbone(SwinConfig(**SWIN, depths=[1, 1, 1, 2])).save_pretrained(tmp_path / "deeper")
    with pytest.raises(ValueError, match=r"tensors are not those of swin_large"):
        load(SwinBackbone(SwinConfig(**SWIN, depths=[1, 1, 2, 2])), tmp_path / "deeper", "swin_large")


def test_start_from_another_run(tmp_path):
    """What fits is taken; class heads of another number of classes start anew, and are listed."""
    theirs = tiny_network()
    save_model(theirs, str(tmp_path / "network.safetensors"))
    torch.manual_seed(7)
    ours = PanopticSegformer(TINY.network, THINGS + 2, STUFF)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    said = load_run(ours, tmp_path)
    anew = said.partition("start anew: ")[2].split(", ")
    assert {name.split(".")[0] for name in anew} == {"class_embed", "semantic_head", "semantic_scale", "semantic_bias"}
    given = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name] if name in anew else given[name]), name
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"init_from: .* has no tensor of this network's names and shapes"):
        load_run(ours, tmp_path / "other.safetensors")


def test_without_a_file_random_weights_are_said():
    with pytest.warns(UserWarning, match=r"resnet101 starts from random weights; network.weights takes ImageNet's"):
        load_imagenet(nn.Identity(), settings.Network(backbone="resnet101"))
    load_imagenet(nn.Identity(), replace(TINY.network))


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
