"""One picture's panoptic truth in memory, whatever file format it came from, and data sets of them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..checks import fail, fail_type
from ..files.io import Origin, safe_join
from ..files.pictures import MAX_PIXELS, Exif, picture_of
from ..types import PointTargets

MAX_SEGMENT_ID = 2**24 - 1
"""Segment ids are stored as an RGB colour."""


@dataclass(frozen=True)
class Category:
    """A class of things or stuff.

    Attributes:
        id: non-negative id in the data set's own numbering.
        name: its name.
        is_thing: countable objects, as opposed to stuff.
        color: RGB in 0..255 for display, where the data set has one.
    """

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of a picture.

    Attributes:
        id: its value in the id map, 1..2^24-1, unique within the picture only.
        category_id: id of its :class:`Category`.
        is_thing: an object, as opposed to stuff.
        is_crowd: a group of objects that were not told apart.
    """

    id: int
    category_id: int
    is_thing: bool
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticImage:
    """Every pixel's segment. Overlaps cannot be expressed.

    Args:
        id_map: (H, W) integers: segment ids, 0 for void. Copied, read-only.
        segments: the segments, each with at least one pixel.
        image_id: id of the picture in its data set, an integer or a string.
        file_name: name of the picture, relative to the folder of pictures.

    Raises:
        ArgumentError: no (H, W) integers, an id outside 0..2^24-1, an id in the map without a segment or the
            other way round, or two segments with one id.

    Example:
        >>> from point2mask_ot import Segment
        >>> image = PanopticImage([[1, 1, 0], [2, 2, 2]], (Segment(1, 7, True), Segment(2, 9, False)))
        >>> image.size, image.id_map.dtype.name
        ((2, 3), 'int64')
    """

    id_map: np.ndarray
    segments: tuple[Segment, ...] = ()
    image_id: int | str = 0
    file_name: str = ""

    def __post_init__(self) -> None:
        ids = np.array(self.id_map)
        if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in "iu":
            fail("PanopticImage", "id_map", f"shape {ids.shape} of {ids.dtype}", "(H, W) integers")
        if ids.min() < 0 or ids.max() > MAX_SEGMENT_ID:
            fail("PanopticImage", "id_map", f"ids {ids.min()}..{ids.max()}", f"ids within 0..{MAX_SEGMENT_ID}")
        if type(self.image_id) not in (int, str):
            fail_type("PanopticImage", "image_id", self.image_id, "an int or a str")
        ids = ids.astype(np.int64, copy=False)
        segments = tuple(self.segments)
        odds = ids_at_odds(ids, segments)
        if odds:
            fail("PanopticImage", "segments", odds, "one segment for each id in the map")
        ids.setflags(write=False)
        object.__setattr__(self, "id_map", ids)
        object.__setattr__(self, "segments", segments)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.id_map.shape[0], self.id_map.shape[1]

    @classmethod
    def from_masks(
        cls,
        masks: np.ndarray,
        category_ids: Sequence[int] | np.ndarray,
        is_thing: Sequence[bool] | np.ndarray,
        image_id: int | str = 0,
        file_name: str = "",
    ) -> PanopticImage:
        """Disjoint masks as segments: mask k has the id k + 1, an empty mask has no segment.

        Args:
            masks: (K, H, W) booleans, or integers 0 and 1.
            category_ids: (K,) category of each mask.
            is_thing: (K,) booleans.
            image_id: as in the constructor.
            file_name: as in the constructor.

        Raises:
            ArgumentError: wrong shapes, values other than 0 and 1, or two masks that share a pixel.

        Example:
            >>> PanopticImage.from_masks([[[1, 0]], [[0, 1]]], [5, 6], [True, False]).id_map.tolist()
            [[1, 2]]
        """
        masks = np.asarray(masks)
        if masks.ndim != 3 or masks.dtype.kind not in "biu":
            fail("from_masks", "masks", f"shape {masks.shape} of {masks.dtype}", "(K, H, W) booleans")
        for name, values in (("category_ids", category_ids), ("is_thing", is_thing)):
            if np.shape(values) != (len(masks),):
                fail("from_masks", name, f"shape {np.shape(values)}", f"({len(masks)},): one for each mask")
        if ((masks != 0) & (masks != 1)).any():
            fail("from_masks", "masks", "values other than 0 and 1", "binary masks")
        owners = masks.sum(axis=0, dtype=np.int64)
        if owners.max(initial=0) > 1:
            fail("from_masks", "masks", f"{(owners > 1).sum()} pixels in more than one mask", "disjoint masks")
        id_map = np.zeros(masks.shape[1:], np.int64)
        for k, mask in enumerate(masks):
            id_map[mask != 0] = k + 1
        segments = tuple(
            Segment(k + 1, int(category_ids[k]), bool(is_thing[k])) for k in range(len(masks)) if masks[k].any()
        )
        return cls(id_map, segments, image_id, file_name)

    @classmethod
    def from_targets(
        cls,
        instance: np.ndarray,
        targets: PointTargets,
        categories: Sequence[Category],
        image_id: int | str = 0,
        file_name: str = "",
    ) -> PanopticImage:
        """Pseudo-labels as segments: one for each thing and each kind of stuff that has a pixel.

        Args:
            instance: (H, W) integers, index of the target that owns the pixel, -1 for void, see
                :class:`~point2mask_ot.PseudoMasks`.
            targets: the targets. Target k becomes segment k + 1; of several stuff targets of one category, which is
                one segment, the first.
            categories: what the targets' categories are indices into.
            image_id: as in the constructor.
            file_name: as in the constructor.

        Raises:
            ArgumentError: no (H, W) integers, an index of no target, or too few categories.

        Example:
            >>> import numpy as np
            >>> from point2mask_ot import Category, PointTargets
            >>> targets = PointTargets([(0, 0), (0, 1), (0, 2)], category=[0, 1, 1], is_thing=[True, False, False])
            >>> kinds = [Category(7, "cat", True), Category(9, "sky", False)]
            >>> PanopticImage.from_targets(np.array([[0, 1, 2, -1]]), targets, kinds).id_map.tolist()
            [[1, 2, 2, 0]]
        """
        count = targets.num_targets
        owner = np.asarray(instance)
        if owner.ndim != 2 or owner.dtype.kind not in "iu":
            fail("from_targets", "instance", f"shape {owner.shape} of {owner.dtype}", "(H, W) integers")
        if owner.min(initial=-1) < -1 or owner.max(initial=-1) >= count:
            fail("from_targets", "instance", f"{owner.min()}..{owner.max()}", f"-1..{count - 1}, one of the targets")
        if targets.category.max(initial=-1) >= len(categories):
            fail("from_targets", "categories", f"{len(categories)} of them", f"category {targets.category.max()}, too")
        number = np.arange(count + 1)  # of the segment that target k becomes, at k + 1; 0 for void
        first: dict[int, int] = {}
        for k in np.flatnonzero(~targets.is_thing).tolist():
            number[k + 1] = first.setdefault(int(targets.category[k]), k) + 1
        id_map = number[owner.astype(np.int64, copy=False) + 1]
        pixels = np.bincount(id_map.ravel(), minlength=len(number))
        kinds = [categories[category] for category in targets.category.tolist()]
        segments = tuple(Segment(k + 1, kind.id, kind.is_thing) for k, kind in enumerate(kinds) if pixels[k + 1])
        return cls(id_map, segments, image_id, file_name)


def ids_at_odds(id_map: np.ndarray, segments: Iterable[Segment]) -> str:
    """How the ids in a map disagree with a list of segments; empty where they agree."""
    listed = [segment.id for segment in segments]
    present = set(np.unique(runs(id_map.ravel())[0]).tolist()) - {0}
    unlisted, absent = sorted(present.difference(listed)), sorted(set(listed) - present)
    if len(set(listed)) < len(listed):
        return f"the segment id {Counter(listed).most_common(1)[0][0]} twice"
    if unlisted:
        return f"id {unlisted[0]} in the map without a segment ({len(unlisted)} such)"
    return f"a segment with id {absent[0]} without a pixel ({len(absent)} such)" if absent else ""


def runs(values: np.ndarray, breaks: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of equal neighbours in a flat array: their value, start and length.

    Label maps have far fewer runs than pixels, so all counting is done on runs.

    Args:
        values: (N,) array.
        breaks: end a run at every multiple of this index too (the width of a picture); 0 for never.
    """
    is_start = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=is_start[1:])
    if breaks:
        is_start[::breaks] = True
    starts = np.flatnonzero(is_start)
    return values[starts], starts, np.diff(starts, append=len(values))


def extents(id_map: np.ndarray) -> dict[int, tuple[int, tuple[int, int, int, int]]]:
    """Area and bounding box (x, y, width, height) of each id but 0, in increasing order of id."""
    width = id_map.shape[1]
    values, starts, lengths = runs(id_map.ravel(), breaks=width)
    ids, index = np.unique(values, return_inverse=True)
    row, left = np.divmod(starts, width)
    low = np.full((2, len(ids)), id_map.size)
    high = np.zeros((2, len(ids)), np.int64)
    for axis, (first, last) in enumerate(((left, left + lengths), (row, row + 1))):
        np.minimum.at(low[axis], index, first)
        np.maximum.at(high[axis], index, last)
    areas = np.bincount(index, lengths).astype(np.int64)
    boxes = np.concatenate([low, high - low]).T
    measured = zip(ids.tolist(), areas.tolist(), boxes.tolist(), strict=True)
    return {number: (area, tuple(box)) for number, area, box in measured if number}


def check_categories(function: str, categories: Iterable[Category]) -> dict[int, Category]:
    """The categories by id; refuse an empty list, negative ids and two with one id."""
    by_id: dict[int, Category] = {}
    for category in categories:
        if not isinstance(category, Category):
            fail_type(function, "categories", category, "a list of Category")
        if category.id < 0 or category.id in by_id:
            problem = "twice" if category.id in by_id else "below 0"
            fail(function, "categories", f"category id {category.id} {problem}", "unique, non-negative ids")
        by_id[category.id] = category
    if not by_id:
        fail(function, "categories", "none", "at least one category")
    return by_id


def check_segments(function: str, argument: str, image: PanopticImage, categories: Mapping[int, Category]) -> None:
    """Refuse what is no image, and segments of an unknown category or that are a thing where that is stuff."""
    if not isinstance(image, PanopticImage):
        fail_type(function, argument, image, "PanopticImage")
    for segment in image.segments:
        category = categories.get(segment.category_id)
        if category is None or category.is_thing != segment.is_thing:
            kind = "thing" if segment.is_thing else "stuff"
            fail(
                function,
                argument,
                f"image {image.image_id!r}: segment {segment.id} is {kind} of category {segment.category_id}",
                f"categories out of {sorted(categories)}, things and stuff as they say",
            )


def category_channels(categories: Iterable[Category]) -> dict[int, int]:
    """The channel of each category id: 0, 1, ... in the order given, all things before all stuff.

    Example:
        >>> category_channels([Category(0, "sky", False), Category(8, "cat", True)])
        {8: 0, 0: 1}
    """
    by_id = check_categories("category_channels", categories)
    return {c.id: channel for channel, c in enumerate(sorted(by_id.values(), key=lambda c: not c.is_thing))}


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """What a data set's index says about one picture.

    Attributes:
        id: unique id, an integer (COCO) or the picture's name (VOC).
        file_name: the picture, relative to the folder of pictures.
        size: (H, W), or None where only the files themselves say it.
        mask_file: the label map, relative to its folder.
        segments: the segments, or none where only the label map says them.
    """

    id: int | str
    file_name: str
    size: tuple[int, int] | None
    mask_file: str
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, eq=False)
class PanopticDataset(ABC):
    """A data set on disk, whose pictures are read when asked for.

    ``len``, ``dataset[i]`` and iteration give :class:`~point2mask_ot.PanopticImage`.

    Attributes:
        categories: the categories, in the data set's own order.
        images: what is known of each picture before its files are read.
        origin: the index file, named in errors.
        images_dir: folder of pictures, where there is one.
        max_pixels: pixel limit for label maps and pictures.
        follow_links: read files that are symbolic links out of their folder.
    """

    categories: tuple[Category, ...]
    images: tuple[ImageEntry, ...]
    origin: Origin = field(repr=False)
    images_dir: str | os.PathLike[str] | None = None
    max_pixels: int = MAX_PIXELS
    follow_links: bool = field(default=False, kw_only=True)

    @abstractmethod
    def __getitem__(self, index: int) -> PanopticImage:
        """The label map of ``images[index]`` with its segments."""

    @abstractmethod
    def _size(self, entry: ImageEntry) -> tuple[int, int]:
        """(H, W) of the label map."""

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[PanopticImage]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images, {len(self.categories)} categories)"

    def by_id(self, image_id: int | str) -> PanopticImage:
        """The label map of the picture with this id."""
        if image_id not in self._index:
            fail(self.origin.function, "image_id", repr(image_id), f"the id of one of the {len(self)} images")
        return self[self._index[image_id]]

    @cached_property
    def _index(self) -> dict[int | str, int]:
        return {entry.id: index for index, entry in enumerate(self.images)}

    def picture(self, index: int, *, exif: Exif = "refuse") -> np.ndarray:
        """The photograph of ``images[index]``, (H, W, 3) uint8 RGB; refused where its size is another.

        Of one that a camera's tag turns, the masks may be as it is stored (``exif="ignore"``) or as it is shown
        (``exif="apply"``): it is refused unless ``exif`` says which, see :func:`~point2mask_ot.read_picture`.
        """
        function, entry = self.origin.function, self.images[index]
        if self.images_dir is None:
            fail(function, "images_dir", None, "the folder of the pictures")
        links = self.follow_links
        path = safe_join(self.images_dir, entry.file_name, follow_links=links, function=function, argument="images_dir")
        origin = Origin(function, "images_dir", path)
        picture = picture_of(origin, max_pixels=self.max_pixels, exif=exif)
        expected = self._size(entry)
        if picture.shape[:2] != expected:
            origin.fail(f"{picture.shape[0]}x{picture.shape[1]}", f"HxW = {expected[0]}x{expected[1]}")
        return picture
