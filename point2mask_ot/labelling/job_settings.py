"""What a worker knows of its job, and whether a job that goes on still means the same."""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..checks import fail, fail_type
from ..files.io import Origin, origin_of
from ..masks.config import PseudoMaskConfig
from ..masks.picture import refuse_likelihood
from ..panoptic import Category
from ..pixels import check_levels
from ..typical import Typical
from .callables import name_of, state_of
from .plug_ins import is_plug_in, plug_in_parts, plug_in_source
from .settings import LabelSettings, MapFunction, Sampling
from .sizes import LEARNED, named_sizes
from .truth import Truth, file_digest

_NAME = "label_dataset"
_CONFIG = "config.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx")


@dataclass(frozen=True, kw_only=True)
class JobSettings(LabelSettings):
    """Everything that a worker needs to know, beside the picture. Paths are absolute, and maps never a ``Path``.

    Attributes:
        images: folder of pictures.
        out: folder of results.
        config: switches of Algorithm 1.
        follow_links: out of the folders of pictures and of maps; of no weight to what a picture's labels are.
        thumbnails: draw them for the report; of no weight, either.
        categories: all things, then all stuff: channel c is categories[c].
        typical: size and spread by category c, of the things whose own size is not told.
        sampling: where points are drawn from, if not from a file.
        truth: what to score against.
        truth_digest: of its list of pictures.
        truth_categories: its categories.
    """

    maps: str | MapFunction | None = None
    images: str
    out: str
    config: PseudoMaskConfig
    follow_links: bool = False
    thumbnails: bool = True
    categories: tuple[Category, ...] = ()
    typical: Mapping[int, Typical] = dataclasses.field(default_factory=dict)
    sampling: Sampling | None = None
    truth: Truth | None = None
    truth_digest: str = ""
    truth_categories: tuple[Category, ...] = ()

    @property
    def sampled_from(self) -> Truth | None:
        """Where points are drawn from."""
        drawn = self.sampling
        return None if drawn is None else Truth(Path(drawn.truth), drawn.split, "points", self.follow_links)

    @property
    def shown_categories(self) -> list[Category]:
        """Those of the labels, then what else the truth has."""
        known = {category.id for category in self.categories}
        return [*self.categories, *(category for category in self.truth_categories if category.id not in known)]

    def check(self, *, travels: bool) -> None:
        """Refuse what no picture could be labelled with, before any is.

        Args:
            travels: to other processes.

        Raises:
            ArgumentError: naming the argument.
        """
        if not Path(self.images).is_dir():
            fail(_NAME, "images", repr(self.images), "a folder of pictures")
        if isinstance(self.maps, str) and not is_plug_in(self.maps) and not Path(self.maps).is_dir():
            fail(_NAME, "maps", repr(self.maps), "a folder of map files, or module:function")
        if self.maps is not None and not isinstance(self.maps, str) and not callable(self.maps):
            fail_type(_NAME, "maps", self.maps, "a folder, 'module:function' or a callable")
        if self.maps is None and self.add_colors:
            fail(_NAME, "add_colors", "True, which has no effect", "`maps` with a semantic map, which colours join")
        if self.maps is None:
            refuse_likelihood(_NAME, self.config, instead="`maps` of classes, or another preset")
        if travels:
            try:
                pickle.dumps(self)
            except Exception as error:  # whatever an object says that does not want to travel
                fail(_NAME, "maps or config", error, "functions that another process can import (or workers=0)")

    def check_categories(self) -> None:
        """Refuse what the output cannot express (VOC's palette ends at 254), and a border of a background of nothing.

        A picture without a point on its background is set aside for that; here there can be none.
        """
        largest = max(category.id for category in self.categories)
        if self.config.border == "background" and all(category.is_thing for category in self.categories):
            fail(_NAME, "border", "'background' with categories of things alone", "one of stuff, or border='free'")
        if self.output == "voc" and largest > 254:
            fail(_NAME, "output", f"'voc' with category id {largest}", "ids within 0..254, or output='coco'")

    def fingerprint(self, points: str, shard: tuple[int, int]) -> dict[str, Any]:
        """What the labels depend on, as JSON values by name.

        Args:
            points: digest of where the points come from.
            shard: which part of how many.
        """
        config: dict[str, Any] = {}
        for field in dataclasses.fields(self.config):
            value = getattr(self.config, field.name)
            name = f"config.{field.name}"
            config |= {name: name_of(value), **_state(name, value)} if callable(value) else {name: value}
        drawn = dataclasses.asdict(self.sampling) if self.sampling else {}
        drawn.pop("truth", None)
        return {
            "library": __version__,
            "points": points,
            **{f"sampling.{name}": value for name, value in drawn.items()},
            **self._maps(),
            **self._sizes(),
            "edge_model": file_digest(origin_of(_NAME, "edge_model", self.edge_model)) if self.edge_model else None,
            "sigma": self.sigma,
            "color_weight": self.color_weight,
            "add_colors": self.add_colors,
            "output": self.output,
            "max_pixels": self.max_pixels,
            "exif": self.exif,
            "levels": None if self.levels is None else list(check_levels(_NAME, self.levels)),
            "shard": f"{shard[0]}/{shard[1]}",
            **config,
        }

    def _sizes(self) -> dict[str, Any]:
        """What is learned depends on the points alone, all of them, whichever pictures are asked for."""
        named, learned = named_sizes(_NAME, self.sizes)
        given = {f"sizes.{name}": list(told) for name, told in sorted(named.items())}
        return {"sizes": LEARNED, **given} if learned else given

    def _maps(self) -> dict[str, Any]:
        """A folder may move, and its files are looked at one by one; a plug-in is known by its source and its argument;
        an object also by what it holds.
        """
        if self.maps is None or (isinstance(self.maps, str) and not is_plug_in(self.maps)):
            return {"maps": "picture" if self.maps is None else "files"}
        module, attribute, argument = plug_in_parts(self.maps if isinstance(self.maps, str) else name_of(self.maps))
        known = {"maps": f"{module}:{attribute}", "maps.source": _digest(plug_in_source(module))}
        if argument is not None:
            known |= _argument(argument)
        return known if isinstance(self.maps, str) else known | _state("maps", self.maps)


def _argument(argument: str) -> dict[str, Any]:
    """What a plug-in is given: words, or a checkpoint, which may move: a file of weights, or a folder of them, and the
    ``config.json`` there, which says what network they belong to; or a folder of such folders.
    """
    path = Path(argument)
    config = (path if path.is_dir() else path.parent) / _CONFIG
    known: dict[str, Any] = {"maps.config": _digest(config)} if config.is_file() else {}
    if path.is_file():
        return {"maps.argument": _digest(path), **known}
    inner = sorted(path.iterdir()) if path.is_dir() else []
    models = [folder for folder in (path, *inner) if os.path.isfile(folder / _CONFIG)]
    if not models:
        return {"maps.argument": argument}
    files = [file for folder in models for file in sorted(folder.iterdir()) if file.is_file() and file != config]
    read = [file for file in files if file.suffix in _WEIGHTS or file.name == _CONFIG]
    return known | {f"maps.argument.{file.relative_to(path).as_posix()}": _digest(file) for file in read}


def _digest(path: Path | None) -> str | None:
    return None if path is None else file_digest(Origin(_NAME, "maps", path))


def _state(name: str, value: Any) -> dict[str, str]:
    try:
        state = state_of(value)
    except MemoryError:
        raise
    except Exception as error:  # whatever an object says that pickle cannot take
        got = f"{value!r:.80}, which a job that goes on could not compare ({error})"
        expected = "a function of a module, 'module:Class:argument', or an object that pickle takes"
        fail(_NAME, name.removeprefix("config."), got, expected)
    return {} if state is None else {f"{name}.state": state}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What changed between two fingerprints, readable."""
    absent = "(absent)"
    names = [name for name in {**before, **now} if before.get(name, absent) != now.get(name, absent)]
    return [f"{name}: {before.get(name, absent)!s:.40} -> {now.get(name, absent)!s:.40}" for name in names]
