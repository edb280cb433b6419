"""Read and check a structured edge forest before OpenCV does.

OpenCV trusts the file: a child that points backwards makes it loop for ever, a wrong index reads foreign memory and
a missing option divides by zero. The checks follow how its detector uses each array.
"""

from __future__ import annotations

import functools
import gzip
import os
import re
import zlib
from dataclasses import dataclass
from typing import Any, NoReturn

import cv2
import numpy as np

from ..checks import FileError, fail_type

SUPPRESSION_RADIUS = 2

_POSITIVE_OPTIONS = (
    "numberOfTrees",
    "numberOfTreesToEvaluate",
    "selfsimilarityGridSize",
    "stride",
    "shrinkNumber",
    "patchSize",
    "patchInnerSize",
    "numberOfGradientOrientations",
)
_RADIUS_OPTIONS = (
    "gradientSmoothingRadius",
    "regFeatureSmoothingRadius",
    "ssFeatureSmoothingRadius",
    "gradientNormalizationRadius",
)
_ARRAYS = ("childs", "featureIds", "thresholds", "edgeBoundaries", "edgeBins")


@dataclass(frozen=True)
class StructuredForest:
    """OpenCV's detector, and what is known of it: its file and the width of the patch that it looks at."""

    path: str
    detector: Any
    patch_size: int

    def edges(self, rgb: np.ndarray, *, suppress: bool) -> np.ndarray:
        """(H, W) float32 edges in [0, 1] of an (H, W, 3) float32 RGB picture in [0, 1]."""
        height, width = rgb.shape[:2]
        # Below the patch size OpenCV asks for arrays of negative size, and its suppression needs two pixels.
        missing = [(0, max(0, self.patch_size - side)) for side in (height, width)]
        padded = np.pad(rgb, [*missing, (0, 0)], mode="symmetric")
        try:
            edges = self.detector.detectEdges(padded)
            if suppress:
                angle = self.detector.computeOrientation(edges)
                edges = self.detector.edgesNms(edges, angle, r=SUPPRESSION_RADIUS, s=0, m=1.0, isParallel=True)
        except cv2.error as error:
            _refuse(self.path, f"OpenCV failed with it ({error.err})")
        return np.clip(edges[:height, :width], 0.0, 1.0)


def load(model_path: str | os.PathLike[str]) -> StructuredForest:
    """The checked forest of a file; the last one is kept, until its file changes."""
    if not isinstance(model_path, (str, os.PathLike)):
        fail_type("structured_edges", "model_path", model_path, "the path of a model file")
    path = os.path.realpath(model_path)
    try:
        status = os.stat(path)
    except OSError as error:
        _refuse(path, error.strerror or "no such file")
    return _load(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _load(path: str, modified: int, size: int) -> StructuredForest:
    options = _check(path, *_parse(path, _read_text(path)))
    try:
        detector = cv2.ximgproc.createStructuredEdgeDetection(path)
    except cv2.error as error:
        _refuse(path, f"refused by OpenCV ({error.err})")
    return StructuredForest(path, detector, options["patchSize"])


def _refuse(path: str, reason: str) -> NoReturn:
    raise FileError(
        "structured_edges", "model_path", f"{path!r}: {reason}", "OpenCV's structured forest, .yml or .yml.gz"
    )


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        _refuse(path, f"unreadable ({error})")


def _parse(path: str, text: str) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """Options by name, and each array with all its rows one after the other."""
    if not text.startswith("%YAML"):
        _refuse(path, "no %YAML header")
    blocks = dict(re.findall(r"^(\w+):(.*\n(?:[ \t].*\n|\n)*)", text + "\n", flags=re.MULTILINE))
    absent = [name for name in ("options", *_ARRAYS) if name not in blocks]
    if absent:
        _refuse(path, f"no {', '.join(absent)}")
    options = {name: int(value) for name, value in re.findall(r"(\w+):[ \t]*(\d+)\b", blocks["options"])}
    arrays = {}
    for name in _ARRAYS:
        words = re.sub(r"-\s|[\[\],]", " ", blocks[name]).split()
        try:
            arrays[name] = np.array(words, dtype=np.float64)
        except ValueError:
            _refuse(path, f"{name} holds something other than numbers")
    return options, arrays


def _check(path: str, options: dict[str, int], arrays: dict[str, np.ndarray]) -> dict[str, int]:
    for name in (*_POSITIVE_OPTIONS, *_RADIUS_OPTIONS):
        if options.get(name, -1) < (name in _POSITIVE_OPTIONS):
            _refuse(path, f"option {name} is {options.get(name, 'missing')}")
    trees, patch, inner = (options[name] for name in ("numberOfTrees", "patchSize", "patchInnerSize"))
    if inner > patch or patch % options["shrinkNumber"]:
        _refuse(path, f"patchSize {patch} does not fit patchInnerSize and shrinkNumber")
    nodes = arrays["childs"].size
    if nodes == 0 or nodes % trees or not arrays["featureIds"].size == arrays["thresholds"].size == nodes:
        _refuse(path, f"childs, featureIds and thresholds differ in length, or do not divide into {trees} trees")

    # Within a tree a node's children are `child - 1` and `child` (child = 0: a leaf) and come after it.
    child = arrays["childs"].reshape(trees, -1)
    leaf = child == 0
    if not (leaf | ((child - 1 > np.arange(child.shape[1])) & (child < child.shape[1]))).all():
        _refuse(path, "childs must point forward, inside their tree")

    cells, grid = (patch // options["shrinkNumber"]) ** 2, options["selfsimilarityGridSize"] ** 2
    channels = 2 * (options["numberOfGradientOrientations"] + 1) + 3
    features = channels * (cells + grid * (grid - 1) // 2)
    boundaries, bins = arrays["edgeBoundaries"], arrays["edgeBins"]
    in_range = {
        "featureIds": _within(arrays["featureIds"][~leaf.ravel()], features),
        "thresholds": np.isfinite(arrays["thresholds"]).all(),
        "edgeBoundaries": boundaries.size > nodes
        and _within(boundaries, bins.size + 1)
        and (np.diff(boundaries) >= 0).all(),
        "edgeBins": _within(bins, channels * inner**2),
    }
    wrong = [name for name, good in in_range.items() if not good]
    if wrong:
        _refuse(path, f"{', '.join(wrong)} out of range")
    return options


def _within(values: np.ndarray, end: int) -> bool:
    return bool(((values >= 0) & (values < end) & (values == np.rint(values))).all())
