"""Maps of a picture, from a file beside it or as a plug-in gave them, and the masks that come of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import FileError, fail, fail_type, suggestion
from ..files.io import Origin
from ..files.names import spelled_there
from ..graph.edges import MapTerm
from ..masks.config import PseudoMaskConfig
from ..masks.masker import PseudoMasker
from ..masks.picture import ColorMasker
from ..masks.settings import ColorSettings
from ..panoptic import LabelledPoints, safe_join
from ..types import PointTargets, PseudoMasks
from .plug_ins import call_plug_in, check_channels, is_plug_in, load_plug_in, refusing
from .stopping import JobStopped
from .table import stem_of

NAMES = ("semantic", "boundary", "features")
SUFFIXES = (".npy", ".npz", ".safetensors")
MAX_MAP_BYTES = 2**32
_NAME = "label_dataset"


def map_names(name: str) -> list[str]:
    """What the map file of the picture ``name`` may be called."""
    return [stem_of(name) + suffix for suffix in SUFFIXES]


def map_file(folder: str, name: str, *, follow_links: bool = False) -> Path:
    """The one map file of the picture ``name``.

    Raises:
        FileError: none, several, or a name that leads out of the folder.
    """
    how = {"follow_links": follow_links, "function": _NAME, "argument": "maps"}
    paths = [safe_join(folder, spelled_there(folder, file), **how) for file in map_names(name)]  # type: ignore[arg-type]
    found = [path for path in paths if path.is_file()]
    if len(found) != 1:
        got = "several of them" if found else "none of them"
        Origin(_NAME, "maps", paths[0].with_suffix("")).fail(got, f"one file with the suffix {' or '.join(SUFFIXES)}")
    return found[0]


def read_maps(path: Path) -> dict[str, Any]:
    """The maps in a file: of a ``.npy`` the semantic map alone, of the other formats all by name.

    Raises:
        FileError: the file is damaged, holds anything but arrays, or more than 4 GB of them.
        JobStopped: the package safetensors is wanted and missing.
    """
    origin = Origin(_NAME, "maps", path)
    try:
        size = path.stat().st_size
        if path.suffix == ".npz":  # may be compressed
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_MAP_BYTES:
            origin.fail(f"{size} bytes of maps", f"at most {MAX_MAP_BYTES}")
        if path.suffix == ".npy":  # mapped, so that a header that promises too much is found out
            return {"semantic": np.array(np.load(path, mmap_mode="r", allow_pickle=False))}
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        return _read_safetensors(path)
    except (MemoryError, FileError):
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        origin.fail(f"{error}", "a whole file of arrays", error)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:  # the same for all pictures, so that setting this one aside would not help
        needed = "needs the package safetensors: pip install 'point2mask-ot[safetensors]'"
        raise JobStopped(f"{_NAME}: argument 'maps': {path} {needed}") from error
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{error}") from error


def as_map_tensors(
    maps: Any, size: tuple[int, int], origin: str, categories: int, *, function: str = _NAME
) -> dict[str, Any]:
    """Checked (C, H, W) floats on the host at the picture's size; smaller or larger maps of its shape are resized.

    So are the maps of ``terms``, a list of :class:`~point2mask_ot.MapTerm`.

    Args:
        maps: by name, NumPy or torch.
        size: (H, W) of the picture.
        origin: who made them, named in errors.
        categories: how many there are: a semantic map has a channel for each, a boundary map one.
        function: public function named in errors.

    Raises:
        ArgumentError: no mapping, an unknown name, no array, not three axes, other channels, or height and width in
            another proportion than the picture's. Values are checked later.
    """
    if not isinstance(maps, Mapping):
        fail_type(function, "maps", maps, f"a mapping of {', '.join(NAMES)} to arrays from {origin}")
    tensors: dict[str, Any] = {}
    for name, value in maps.items():
        if name == "terms":
            tensors[name] = _terms_at_size(function, value, size, origin)
            continue
        if name not in NAMES:
            fail(function, "maps", f"{name!r} from {origin}", f"only {', '.join(NAMES)}{suggestion(name, NAMES)}")
        tensor = _floats(function, value, f"{name!r} from {origin}")
        _check_shape(function, f"{name!r} from {origin}", tuple(tensor.shape), size, _channels(name, categories))
        tensors[name] = _at_size(name, tensor.float(), size)
    return tensors


def _terms_at_size(function: str, terms: Any, size: tuple[int, int], origin: str) -> list[MapTerm]:
    if not isinstance(terms, Sequence) or not all(isinstance(term, MapTerm) for term in terms):
        fail_type(function, "maps", terms, f"a list of MapTerm for 'terms' from {origin}")
    resized = []
    for index, term in enumerate(terms):
        what = f"'terms[{index}]' from {origin}"
        tensor = _floats(function, term.map, what)
        _check_shape(function, what, tuple(tensor.shape), size, None)
        name = "features" if term.kind == "cosine" else "terms"
        resized.append(replace(term, map=_at_size(name, tensor.float(), size)))
    return resized


def _floats(function: str, value: Any, what: str) -> torch.Tensor:
    if not isinstance(value, (np.ndarray, torch.Tensor)):
        fail_type(function, "maps", value, f"an array for {what}")
    tensor = torch.as_tensor(value, device="cpu").detach()
    if not tensor.is_floating_point() or tensor.ndim != 3 or 0 in tensor.shape:
        fail(function, "maps", f"{what} of shape {tuple(tensor.shape)}, {tensor.dtype}", "(C, H, W) floats")
    return tensor


def _channels(name: str, categories: int) -> int | None:
    """How many channels a map must have; None for any number."""
    return {"semantic": categories, "boundary": 1}.get(name)


def _check_shape(function: str, what: str, shape: tuple[int, ...], size: tuple[int, int], channels: int | None) -> None:
    """Refuse what would have to be taken for another map than it is: other axes, other classes, another picture."""
    got = f"{what} of shape {shape}"
    wanted = f"{'C' if channels is None else channels}, {size[0]}, {size[1]}"
    if not _is_scaled(shape[1:], size):
        order = next((order for order in _ORDERS if _is_scaled([shape[axis] for axis in order], size)), None)
        hint = "" if order is None else f" (its axes look like {_ORDERS[order]})"
        fail(function, "maps", got, f"({wanted}) as the picture, or height and width on one scale{hint}")
    if channels not in (None, shape[0]):
        of = "one for each category, things first" if what.startswith("'semantic'") else "one"
        fail(function, "maps", got, f"({wanted}): channels are {of}")


_ORDERS = {(0, 1): "(H, W, C)", (2, 1): "(C, W, H)", (1, 0): "(W, H, C)"}
"""Which axes are height and width where people have them elsewhere."""


def _is_scaled(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether one scale takes the picture's height and width to the map's, both rounded down, up, or to the nearest.

    Half a pixel of the picture is allowed beside: a network may have resized it first.
    """
    sides = list(zip(shape, size, strict=True))
    return any(
        max((own - less) / (side + 0.5) for own, side in sides)
        < min((own - less + 1) / (side - 0.5) for own, side in sides)
        for less in (0.0, 0.5, 1.0)
    )


def _at_size(name: str, tensor: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(tensor.shape[1:]) == size:
        return tensor
    resized = torch.nn.functional.interpolate(tensor[None], size, mode="bilinear", align_corners=False)[0]
    # A mean of unit vectors is shorter than one.
    return torch.nn.functional.normalize(resized, dim=0) if name == "features" else resized


class Masker:
    """Maps and points of one picture to pseudo-masks.

    Without a semantic map the picture's colours stand in for it and all targets supply, as in
    :func:`~point2mask_ot.label_picture`; without a boundary map, the CIELAB gradient or structured edges.

    Args:
        config: settings of Algorithm 1.
        colors: how colours become maps.
        add_colors: let them enter beside a semantic map, too.
        function: public function named in errors.

    Raises:
        FileError: a damaged edge model, which refuses the job, and not each of its pictures.
    """

    def __init__(
        self, config: PseudoMaskConfig, colors: ColorSettings, *, add_colors: bool = False, function: str = _NAME
    ) -> None:
        self.by_class = PseudoMasker(config)
        self.by_color = ColorMasker(config, colors, function=function, edge_map="maps")
        self.add_colors = add_colors

    def boundary(self, picture: np.ndarray) -> torch.Tensor:
        """(1, H, W) in [0, 1], from the picture."""
        return torch.as_tensor(self.by_color.boundary(picture), device="cpu")

    def __call__(self, picture: np.ndarray, maps: Mapping[str, Any], targets: PointTargets) -> PseudoMasks:
        """Label one picture; ``maps`` must have a boundary."""
        semantic, boundary, features = (maps.get(name) for name in NAMES)
        terms = maps.get("terms", ())
        if semantic is not None and not self.add_colors:
            return self.by_class(semantic, boundary, targets, features, terms=terms)
        image = picture if isinstance(boundary, np.ndarray) else torch.from_numpy(picture).permute(2, 0, 1)
        return self.by_color([*terms, *self.by_color.terms(image, boundary)], targets, features, semantic)


def masks_from_maps(
    function: str,
    maps: str,
    picture: np.ndarray,
    points: LabelledPoints,
    config: PseudoMaskConfig,
    colors: ColorSettings,
    *,
    add_colors: bool,
) -> PseudoMasks:
    """What a job makes of one picture and its maps, from a file or a plug-in, in NumPy.

    Raises:
        ArgumentError: as a job sets the picture aside; a plug-in that cannot be loaded, or is for other categories.
        FileError, JobStopped: see :func:`read_maps`; another suffix.
    """
    masker = Masker(config, colors, add_colors=add_colors, function=function)
    if is_plug_in(maps):
        plug_in, origin = load_plug_in(maps, function=function), maps
        check_channels(plug_in, points.categories, function=function)
        with refusing(function, maps, "a plug-in that takes this picture"):
            given = call_plug_in(plug_in, picture, points)
    else:
        path = Path(maps)
        if path.suffix not in SUFFIXES:
            Origin(function, "maps", path).fail(f"the suffix {path.suffix!r}", f"{', '.join(SUFFIXES)}, or a plug-in")
        given, origin = read_maps(path), path.name
    size = picture.shape[0], picture.shape[1]
    found = as_map_tensors(given, size, origin, len(points.categories), function=function)
    if add_colors and "semantic" not in found:
        fail(function, "add_colors", "True, which has no effect", f"a semantic map in {origin}")
    if "boundary" not in found:
        found["boundary"] = masker.boundary(picture)
    terms = [replace(term, map=np.asarray(term.map)) for term in found.pop("terms", ())]
    arrays = {name: np.asarray(tensor) for name, tensor in found.items()}
    return masker(picture, {**arrays, "terms": terms}, points.targets)
