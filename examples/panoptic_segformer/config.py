"""Every setting of a run, and what paper and released code do differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from point2mask_ot.masks.overrides import ConfigOverrides


@dataclass(frozen=True)
class Network:
    """Sizes of the network; the defaults are the paper's."""

    backbone: str = "resnet50"
    """resnet50, resnet101, swin_large, efficientnet_lite0, or tiny."""
    weights: Path | None = None
    """ImageNet weights: torchvision's or transformers' file of a ResNet, a folder of transformers for Swin.
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
    low_boundary: Path | None = None
    """P_low: OpenCV's structured-edge model, or a folder of grey PNGs that are named as the pictures."""
    min_side: tuple[int, ...] = (600,)
    """Shorter side after resizing, drawn anew for each picture and epoch."""
    max_side: int = 1333
    workers: int = 2
    synthetic_train: int = 256
    synthetic_val: int = 48
    scored: int = 48
    """Training pictures whose pseudo-masks are scored after each epoch."""
    val_scored: int = 200
    """Other pictures whose predictions are; predict.py scores all."""


class Overrides(ConfigOverrides, total=False):
    """Those that can be typed: a rule of one's own is no word."""

    capacity: Literal["centroid", "nearest", "equal"]  # type: ignore[misc]


@dataclass(frozen=True)
class PseudoLabels:
    """How points become masks (Algorithm 1)."""

    preset: Literal["best", "paper", "official"] = "paper"
    """Of :class:`point2mask_ot.PseudoMaskConfig`; ``official`` also has the losses of the released code."""
    overrides: Overrides = field(default_factory=dict)  # type: ignore[assignment]
    """Fields of :class:`point2mask_ot.PseudoMaskConfig` instead of the preset's."""
    boundary: Literal["none", "high", "low", "both"] = "high"
    """Boundary maps in the costs: the learnt one, that of ``data.low_boundary``, or both (Table 3)."""
    color_weight: float = 0.0
    """Weight of differences in colour in the costs, beside the network's maps."""
    window: int = 17
    """Side of the square around a point that has the point's class, in pixels, odd."""
    centroid_epoch: float = 9.07
    """From here on capacities are counted as the preset says; before, from the nearest points over all pixels."""
    supervision: Literal["points", "masks"] = "points"
    """"masks" trains on the true masks instead: the ceiling."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW; learning rates fall to a tenth at each milestone."""

    epochs: int = 24
    milestones: tuple[float, ...] = (15, 20)
    batch_size: int = 8
    """Over all processes together."""
    accumulate: int = 1
    """Parts of a batch that go through the network one after the other: less memory, the same gradients."""
    lr: float = 1e-4
    slow_factor: float = 0.1
    """On the rates of backbone, sampling offsets and reference points."""
    weight_decay: float = 1e-4
    """Of the released code; the paper's text says 0.1."""
    clip_norm: float = 0.1
    warmup_epochs: float = 11.08
    """Over which the losses on pseudo-masks grow to full weight; the released code's 14,659 steps."""
    ramp_affinity: bool = False
    """The LAB and tree losses grow, too. They like one class everywhere, which random weights may settle on."""
    balanced: bool = False
    """Each class weighs the same in the partial cross-entropy, not each labelled pixel."""
    max_steps: int | None = None
    save_every: int | None = None
    """Steps between checkpoints; one is kept after each epoch in any case."""


@dataclass(frozen=True)
class Losses:
    """Weights w_k in the sum L = sum_k w_k s_k g_k L_k that is minimised; the defaults are the released code's.

    s_k is r, 1 - r or 1, and g_k = min(epoch / warm-up, 1) or 1, as the :class:`Recipe` says. The paper's own sum has
    neither, and no ``semantic_class`` and ``manifold``.
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
    """Weigh losses by r = things / (things + stuff), the segments of the batch, and by 1 - r."""


@dataclass(frozen=True)
class Recipe:
    """What the paper's text and the released code do differently beside Algorithm 1."""

    things: frozenset[str]  # losses that are weighed by r, the part of things among the segments of the batch
    stuff: frozenset[str]  # losses that are weighed by 1 - r
    ramp: frozenset[str]  # losses that grow over the warm-up
    boundary: Mapping[str, Any] = field(default_factory=dict)  # options of the boundary loss
    tree: Mapping[str, Any] = field(default_factory=dict)  # options of the tree loss
    positive_fusion: bool = True  # weights that fuse levels to masks start > 0: no mask is dead behind its ReLU


_SEMANTIC = frozenset({"semantic_class", "partial", "lab", "tree"})
_THINGS = frozenset({"location_class", "location_l1", "location_giou", "thing_dice"})
_STUFF = frozenset({"stuff_dice", "stuff_class"})
# What trusts pseudo-masks grows; the semantic and manifold losses look at the points.
PAPER = Recipe(things=_THINGS, stuff=_STUFF, ramp=_THINGS | _STUFF | {"boundary"})
# The released code tells losses apart by pieces of their names, which also hits others: r weighs semantic losses, the
# warm-up takes in the tree loss and leaves out the class of the location decoder.
OFFICIAL = Recipe(
    things=_THINGS | _SEMANTIC,
    stuff=_STUFF,
    ramp=PAPER.ramp - {"location_class"} | {"tree"},
    boundary={"scale": 0.5, "border": "zero", "eps": 1e-5},
    tree={"norm": "unlabelled"},
    positive_fusion=False,
)


@dataclass(frozen=True)
class Config:
    """A run."""

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    labels: PseudoLabels = field(default_factory=PseudoLabels)
    losses: Losses = field(default_factory=Losses)
    optimiser: Optimiser = field(default_factory=Optimiser)
    out: Path = Path("runs/train")
    init_from: Path | None = None
    """Folder of another run whose weights this one starts from; what does not fit (class heads) starts anew."""
    seed: int = 0
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision of the network's forward pass; pseudo-masks and losses are in float32 either way."""
    device: Literal["auto", "cpu"] = "auto"
    """A GPU where there is one, or the CPU in any case."""
    resume: bool = False
    """Go on from the last checkpoint in ``out``, with the settings that it was made with."""
    overwrite: bool = False
    """Begin anew in a folder that holds a checkpoint, which is deleted."""
    score_threshold: float = 0.25
    """Segments less sure than this are not predicted."""

    @property
    def recipe(self) -> Recipe:
        """PAPER or OFFICIAL, as the labels are made."""
        recipe = OFFICIAL if self.labels.preset == "official" else PAPER
        return replace(recipe, ramp=recipe.ramp | {"lab", "tree"}) if self.optimiser.ramp_affinity else recipe

    def check(self) -> None:
        """Refuse numbers out of range, and settings that have no effect.

        Raises:
            ValueError: naming the setting.
        """
        least = dict.fromkeys(("epochs", "batch_size", "accumulate", "save_every", "max_side"), 1)
        for group in ("losses", "optimiser", "data"):
            for name, value in vars(getattr(self, group)).items():
                if isinstance(value, int | float) and not least.get(name, 0) <= value < math.inf:
                    raise ValueError(f"{group}.{name}: got {value}, expected a finite number >= {least.get(name, 0)}")
        if self.labels.window % 2 == 0:
            raise ValueError(f"labels.window: got {self.labels.window}, expected an odd number of pixels")
        if (self.labels.boundary in ("low", "both")) != (self.data.low_boundary is not None):
            got = f"got {self.labels.boundary!r} and data.low_boundary {self.data.low_boundary}"
            raise ValueError(f"labels.boundary: {got}, expected 'low' or 'both' with data.low_boundary, and only then")
