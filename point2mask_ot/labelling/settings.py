"""The settings of ``label_dataset``. The command line is made from them, so that they need no torch to be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..checks import ArgumentError, check_choice, check_integer, fail
from ..files.io import origin_of
from ..files.pictures import MAX_PIXELS, PictureSettings
from ..masks.settings import ColorSettings
from ..panoptic.sampling import Sampler
from .sizes import Sizes, named_sizes

_NAME = "label_dataset"

BACKGROUND_HINT = (
    "Give points of the background in a category of stuff (background, or NAME:stuff; isthing 0 in JSON), or `maps` "
    "with class probabilities."
)
"""What to do about :class:`~point2mask_ot.BackgroundWarning` where points come from files."""

MapFunction = Callable[..., Mapping[str, Any]]
"""A picture, (H, W, 3) uint8, and, if it has a parameter ``points`` (the second, or by name alone), its
``LabelledPoints``, to maps by name: ``semantic``, ``boundary``, ``features``, ``terms``."""
Output = Literal["coco", "voc"]
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class LabelSettings(PictureSettings, ColorSettings):
    """What the labels depend on: a job goes on only as it began."""

    maps: str | os.PathLike[str] | MapFunction | None = None
    """Folder of NAME.npy, .npz or .safetensors; or module:function or module:Class:argument, called with the picture
    and, if it has a parameter points, the points. The channels of class probabilities are the categories of the points,
    all things before all stuff.

    What the picture's colours do not say: a folder with ``NAME.npy`` (semantic probabilities), ``NAME.npz`` or
    ``NAME.safetensors`` (of ``semantic`` (C, H, W), ``boundary`` (1, H, W), ``features`` (D, H, W)) for every picture;
    ``"module:function"``, or a callable, from a picture (H, W, 3) uint8 to such maps by name, and to ``terms``, a list
    of :class:`~point2mask_ot.MapTerm`, if wanted; one that has a parameter ``points``, its second or by name
    alone, is given the picture's points, too, as :func:`~point2mask_ot.read_points` gives them;
    ``"module:Class:argument"``, whose instance is such a callable, for example ``"my_maps:Network:best.pt"`` (where the
    argument is a file, a folder with a ``config.json``, or one of such folders, a change of its content or of the
    ``config.json`` beside it is a change of the job; so is a change of what a callable object holds). The channels of
    ``semantic`` are all categories of the points, in their order there, but all things before all stuff. Maps of
    another size are resized where one scale, rounded alike both ways, does it; others, and other channels, set the
    picture aside. Without ``semantic``, colours stand in for it and every target supplies; without ``boundary``, the
    CIELAB gradient or the edge model.
    """
    add_colors: bool = False
    """Let the colours shape the masks beside a semantic map, too (default: they only stand in for one).

    ``color_weight`` then weighs them against it; without a semantic map they enter anyway.
    """
    sizes: Sizes = field(default=(), metadata={"name": "size", "many": True})
    """Typical size of a category's things, NAME=PIXELS[/FACTOR], or learned; may be given again.

    For the things whose own size the points do not tell; stuff takes the rest. The factor >= 1 is by how much sizes of
    the category typically differ from that one (default 2). ``"learned"``: size and factor of each category that has at
    least 3 sizes told in the points, see :func:`~point2mask_ot.typical_sizes`. From Python also a mapping:
    ``{"nucleus": 300, "cell": (900, 1.6)}``. They help where the picture says little of how large things are, and do
    harm where it says it well.
    """
    output: Output = "coco"
    """Layout of the labels; in VOC's, category ids are indices into its palette."""
    max_pixels: int = MAX_PIXELS
    """Largest picture; above 89 million Pillow's own limit (PIL.Image.MAX_IMAGE_PIXELS) holds."""


@dataclass(frozen=True)
class RunSettings:
    """How a job runs: no label depends on it."""

    truth: str | os.PathLike[str] | None = None
    """True masks to score against: COCO panoptic NAME.json beside the folder NAME, or a folder like VOC2012.

    Those of a picture that a camera's tag turns may be of the picture as it is shown or as it is stored. Where their
    height and width do not tell, and ``exif`` is not given, it is labelled and not scored.
    """
    split: str = "train"
    """List of pictures where true masks come in VOC's layout."""
    engine: Engine = "local"
    """Processes of this machine, or actors of a Ray cluster.

    The machines of the cluster must see the same folders under the same names. It is the Ray that the caller has
    initialised, or the one that runs on this machine, or one begun for this call; needs
    ``pip install point2mask-ot[ray]``. A job that one engine began the other may end. Actors ask Ray for one CPU and no
    GPU: where maps come from a network on a GPU, give as many ``workers`` as there are GPUs.
    """
    workers: int | None = None
    """How many pictures at a time, each with one thread (default: one for each core); 0: in this process."""
    limit: int | None = None
    """Label only the first so many pictures that the points name and the folder has (default: all that they name).

    What is not asked for is no error and is not set aside. Labels that are there already stay in the results, and a
    call that asks for more goes on.
    """
    only: str | os.PathLike[str] | Sequence[str] | None = None
    """Label only the pictures in this text file, one name a line, with or without suffix.

    Those that were skipped on the page since are left out. From Python also a list of names. With ``limit``, the first
    so many of them.
    """
    shard: str | tuple[int, int] | None = None
    """i/n: only the i-th of n parts, into OUT/shard-i-of-n, so that n machines share the work."""
    merge: bool = False
    """Take over what the parts in OUT have finished, and do what they have not."""
    max_errors: int | None = None
    """Stop when more pictures than this are set aside (default: never)."""
    follow_links: bool = False
    """Read pictures, maps and masks that are links out of their folders, as caches of hubs and DVC keep them."""
    fresh: bool = False
    """Forget the job in OUT and its results. Where the points alone have changed, the job goes on without."""
    thumbnails: bool = True
    """Draw every picture small, for the pages of the report: a file of some 20 KB each, and one more of its truth."""
    progress: bool = True
    """Tell on standard error how far the job is."""

    @property
    def part(self) -> tuple[int, int]:
        """Part i of n, from 1; (1, 1) for all."""
        shard = self.shard
        parts = shard.split("/") if isinstance(shard, str) else (1, 1) if shard is None else shard
        try:
            i, n = (int(part) for part in parts)
        except (TypeError, ValueError):
            raise ArgumentError(_NAME, "shard", repr(shard), "'i/n', for example '1/4'") from None
        if not 1 <= i <= n:
            fail(_NAME, "shard", repr(shard), "1 <= i <= n")
        return i, n


@dataclass(frozen=True)
class DatasetSettings(RunSettings, LabelSettings):
    """Settings of :func:`~point2mask_ot.label_dataset`, beside those of Algorithm 1.

    Raises:
        ArgumentError: an unknown choice, a number out of range, no part ``"i/n"``.
    """

    def __post_init__(self) -> None:
        for name, choices in {"output": Output, "engine": Engine}.items():
            check_choice(_NAME, name, getattr(self, name), get_args(choices))
        self.check_colors(_NAME)
        self.check_pictures(_NAME)
        named_sizes(_NAME, self.sizes)
        for name, least in {"workers": int(self.engine == "ray"), "max_errors": 0, "limit": 1, "max_pixels": 1}.items():
            value = getattr(self, name)
            if value is not None or name == "max_pixels":
                object.__setattr__(self, name, check_integer(_NAME, name, value, minimum=least))
        _ = self.part


@dataclass(frozen=True)
class Sampling:
    """Draw the points from true masks instead of reading them, see :func:`~point2mask_ot.sample_points`.

    Raises:
        ArgumentError: n < 1, a negative seed, an unknown sampler.
    """

    truth: str
    """Draw the points from true masks: COCO panoptic NAME.json beside the folder NAME, or a folder like VOC2012."""
    split: str = "train"
    """List of pictures where true masks come in VOC's layout."""
    n: int = 1
    """Points drawn for each segment, things and stuff."""
    seed: int = 0
    """Of the draw; any integer >= 0."""
    sampler: Sampler = "uniform"
    """Where in a mask points are drawn."""

    def __post_init__(self) -> None:
        path = os.path.abspath(origin_of("Sampling", "truth", self.truth).path)
        object.__setattr__(self, "truth", path)  # workers may have another working folder
        check_integer("Sampling", "n", self.n, minimum=1)
        check_integer("Sampling", "seed", self.seed, minimum=0)
        check_choice("Sampling", "sampler", self.sampler, get_args(Sampler))
