"""Point labels drawn from masks, as the paper's training data is made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..checks import check_choice, check_integer, check_number, fail
from ..types import PointTargets
from .images import Category, PanopticImage, category_channels, check_categories, check_segments, extents

_NAME = "sample_points"
Sampler = Literal["uniform", "center", "border"]


@dataclass(frozen=True, eq=False)
class SampledPoints:
    """Points and the segments they were drawn from.

    Attributes:
        targets: the point labels; target k is the segment ``segment_ids[k]``.
        segment_ids: (K,) int64 ids in the picture's id map.
    """

    targets: PointTargets
    segment_ids: np.ndarray


def sample_points(
    image: PanopticImage,
    categories: Iterable[Category],
    *,
    n: int = 1,
    seed: int = 0,
    sampler: str = "uniform",
    stuff: bool = False,
    channels: Mapping[int, int] | None = None,
    size_error: float | None = None,
) -> SampledPoints:
    """Draw n different random pixels of each segment; all pixels of a segment that has fewer.

    The draw depends on (seed, image id, segment id) and the mask alone: not on the order of pictures or segments,
    the number of workers, or the version of NumPy; with the uniform sampler, the one point drawn for n = 1 is the
    first of those for a larger n. Void and crowd regions get no point.

    Args:
        image: a picture's true segments.
        categories: the data set's categories.
        n: points for each segment.
        seed: any integer >= 0.
        sampler: ``"uniform"`` over the mask (the paper's); ``"center"`` or ``"border"``: uniform over the quarter
            of the mask's pixels, or the n pixels if that is more, that lie deepest inside or nearest to its
            outline. The picture's own border counts as outline.
        stuff: draw from stuff segments too.
        channels: category id -> channel, which becomes the category of the targets. Default:
            :func:`~point2mask_ot.panoptic.category_channels`, 0, 1, ... in the order of ``categories``, things first.
        size_error: where given, each thing's size comes with it as somebody would guess it: its pixels, off by a random
            factor that is typically this large (one standard deviation of a normal law of the logarithm); 1: exactly.

    Returns:
        Targets in the order of ``image.segments``, with their segment ids.

    Raises:
        ArgumentError: n < 1, a negative seed, an unknown sampler, size_error < 1, or a segment's category without a
            channel.

    Example:
        >>> from point2mask_ot.panoptic import Category, PanopticImage, Segment
        >>> image = PanopticImage([[1, 1, 0, 4]], (Segment(1, 7, True), Segment(4, 0, False)))
        >>> drawn = sample_points(image, [Category(7, "coin", True), Category(0, "table", False)], stuff=True)
        >>> drawn.segment_ids.tolist(), drawn.targets.category.tolist(), drawn.targets.points_yx[1].tolist()
        ([1, 4], [0, 1], [0, 3])
    """
    n = check_integer(_NAME, "n", n, minimum=1)
    seed = check_integer(_NAME, "seed", seed, minimum=0)
    check_choice(_NAME, "sampler", sampler, get_args(Sampler))
    error = check_number(_NAME, "size_error", 1 if size_error is None else size_error, minimum=1)
    by_id = check_categories(_NAME, categories)
    check_segments(_NAME, "image", image, by_id)
    channels = category_channels(by_id.values()) if channels is None else channels
    chosen = [s for s in image.segments if not s.is_crowd and (s.is_thing or stuff)]
    missing = [s.category_id for s in chosen if s.category_id not in channels]
    if missing:
        fail(_NAME, "channels", f"no channel for category {missing[0]}", "a channel for each category drawn from")
    boxes = extents(image.id_map)
    points, sizes = [], []
    for segment in chosen:
        x, y, width, height = boxes[segment.id][1]
        mask = image.id_map[y : y + height, x : x + width] == segment.id
        candidates = np.flatnonzero(mask) if sampler == "uniform" else _by_depth(mask, sampler, n)
        key = f"{seed}/{image.image_id!r}/{segment.id}"
        drawn = candidates[_draw(key, len(candidates), n)]
        points.append(np.stack([y + drawn // width, x + drawn % width], axis=1))
        known = size_error is not None and segment.is_thing
        sizes.append(mask.sum() * error ** _normal(f"{key}/size") if known else np.nan)
    targets = PointTargets(
        np.concatenate(points) if points else np.zeros((0, 2), np.int64),
        np.repeat(np.arange(len(points)), [len(p) for p in points]),
        np.array([channels[segment.category_id] for segment in chosen], np.int64),
        np.array([segment.is_thing for segment in chosen], bool),
        np.array(sizes, np.float64),
        None if size_error is None else error,
    )
    return SampledPoints(targets, np.array([segment.id for segment in chosen], np.int64))


def _draw(key: str, population: int, n: int) -> list[int]:
    """At most n different indices below ``population``, uniformly and in random order (Fisher-Yates).

    An index is biased by less than population / 2^64.
    """
    count = min(n, population)
    bits = _bits(key, count)
    moved: dict[int, int] = {}
    drawn = []
    for first, draw in enumerate(bits.tolist()):
        other = first + (draw * (population - first) >> 64)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(first, first)
    return drawn


def _normal(key: str) -> float:
    """A number of the standard normal law (Box and Muller)."""
    radius, angle = ((bits + 0.5) / 2**64 for bits in _bits(key, 2).tolist())
    return math.sqrt(-2 * math.log(radius)) * math.cos(2 * math.pi * angle)


def _bits(key: str, count: int) -> np.ndarray:
    """(count,) uint64, straight from a counter-based generator.

    NumPy promises to keep those streams for ever, and not those of ``Generator.integers``, ``choice`` or ``normal``.
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)


def _by_depth(mask: np.ndarray, sampler: str, n: int) -> np.ndarray:
    """Flat indices of the quarter of the mask (at least n pixels) deepest inside, or nearest to the outline."""
    from scipy.ndimage import distance_transform_edt  # not needed by the paper's sampler

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inside = np.flatnonzero(mask)
    order = np.argsort(depth.ravel()[inside] * (-1 if sampler == "center" else 1), kind="stable")
    return inside[order[: max(n, math.ceil(len(inside) / 4))]]
