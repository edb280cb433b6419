"""One picture under annotation: points in, labels out, files written."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..checks import ArgumentError, check_integer, fail
from ..files.io import Origin, make_folder, parse_json
from ..masks.config import PseudoMaskConfig
from ..masks.picture import ColorMasker, refuse_likelihood
from ..masks.settings import sort_changes
from ..panoptic import Category, PanopticImage, read_picture, read_points, write_coco_panoptic, write_points
from ..panoptic.images import runs
from ..panoptic.points import (
    clicked_targets,
    in_channel_order,
    json_categories,
    json_clicks,
    listed_categories,
    point_entries,
    writable_categories,
)
from ..types import PointTargets, PseudoMasks
from ..viz.colors import target_colors
from ._settings import NAME, AnnotateSettings

SENT_PIXELS = 2**22
MAX_TARGETS = 400
DEFAULT_CATEGORIES = (Category(1, "object", True), Category(2, "background", False))
_PAGE = Origin(NAME, "points", Path("this page"))


class Preview:
    """Labels one picture from any points, in blocks of pixels where that is quicker.

    Args:
        picture: (H, W, 3) uint8.
        factor: blocks of factor x factor pixels are averaged before.
        masker: the settings.
    """

    def __init__(self, picture: np.ndarray, factor: int, masker: ColorMasker) -> None:
        self.factor = factor
        if factor > 1:
            picture = np.asarray(Image.fromarray(picture).reduce(factor)).copy()
        self.size = picture.shape[:2]
        self.masker = masker
        self.terms = masker.terms(picture)

    def __call__(self, targets: PointTargets) -> PseudoMasks:
        """The masks at ``size``, of points in pixels of the whole picture."""
        points_yx = (targets.points_yx + 0.5) / self.factor - 0.5
        moved = PointTargets(points_yx, targets.target, targets.category, targets.is_thing)
        return self.masker(self.terms, moved)

    def enlarge(self, owner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A label map at the size of the picture."""
        blocks = owner.repeat(self.factor, axis=0).repeat(self.factor, axis=1)
        return blocks[: size[0], : size[1]]


class Session:
    """One picture under annotation.

    The page sends its whole state each time, as the document of a point file in which every point names its target.

    Args:
        photo, categories, preset, changes: see :func:`serve`.

    Raises:
        ArgumentError: what :func:`serve` refuses.
    """

    def __init__(
        self,
        photo: str | os.PathLike[str],
        *,
        categories: Sequence[Category] = (),
        preset: PseudoMaskConfig | str = "best",
        **changes: Any,
    ) -> None:
        ours, theirs = sort_changes(NAME, changes, AnnotateSettings, PseudoMaskConfig)
        settings = AnnotateSettings(**ours)
        settings.check()
        self.photo, self.out = Path(photo), Path(settings.out)
        self.picture = read_picture(photo, exif=settings.exif, function=NAME, argument="photo")
        self.photo_bytes = self.photo.read_bytes()
        self.photo_type = Image.MIME[Image.open(io.BytesIO(self.photo_bytes)).format or "PNG"]
        self.size = (self.picture.shape[0], self.picture.shape[1])
        self.points_path = self.out / f"{self.photo.stem}_points.json"
        self.json_path, self.png_dir = self.out / f"{self.photo.stem}.json", self.out / "panoptic"
        saved = self.points_path if self.points_path.is_file() else None
        self.resumed = saved if settings.points is None else Path(settings.points)
        self.opened = self._open(categories)

        masker = ColorMasker(preset, settings, function=NAME, **theirs)
        refuse_likelihood(NAME, masker.config, argument="preset", instead="a preset that colours suffice for")
        self.preview = Preview(self.picture, _factor(self.size, settings.pixels), masker)

    def _open(self, more: Sequence[Category]) -> dict[str, Any]:
        """The categories and points to begin with, as a point file has them."""
        found: list[Category] = []
        entries: list[dict[str, Any]] = []
        if self.resumed:
            read = read_points(self.resumed, shape=self.size)
            found = list(read.categories)
            entries = point_entries(NAME, "points", read.targets, found)
        for category in more:
            same = [c for c in found if c.name == category.name]
            if same and same[0].is_thing != category.is_thing:
                fail(NAME, "categories", f"{category.name!r} as thing and as stuff", "one or the other")
            if not same:
                number = 1 + max((c.id for c in found), default=0)
                found.append(Category(number, category.name, category.is_thing))
        found = found or list(DEFAULT_CATEGORIES)
        return {"categories": listed_categories(in_channel_order(found)), "points": entries}

    def opening(self) -> dict[str, Any]:
        """What the page shows first."""
        stuff = PointTargets(np.zeros((4, 2)), is_thing=np.zeros(4), category=np.arange(4))
        return {
            **self.opened,
            "name": self.photo.name,
            "height": self.size[0],
            "width": self.size[1],
            "resumed": str(self.resumed) if self.resumed else None,
            "thing_colors": target_colors(21).tolist(),
            "stuff_colors": target_colors(stuff).tolist(),
        }

    def warm_up(self) -> None:
        """Have the kernels compiled before the first click."""
        corners = np.array([(0, 0), (self.size[0] - 1, self.size[1] - 1)])
        self.preview(PointTargets(np.unique(corners, axis=0)))

    def label(self, body: bytes) -> dict[str, Any]:
        """The labels of the page's points.

        Args:
            body: the state, JSON.

        Returns:
            ``values`` and ``lengths`` of the runs of equal label in raster order (index into ``targets``, or -1),
            the ``height`` and ``width`` of the label map, the ``factor`` by which it is smaller than the picture,
            and for each of ``targets`` its name, pixels and mean confidence.

        Raises:
            ArgumentError: a state that no picture can be labelled from.
        """
        names, targets, _ = self._read(body)
        return self._labels(names, targets)[0]

    def save(self, body: bytes) -> dict[str, Any]:
        """Write the points, then the masks that the page shows, as ``point2mask label`` does.

        Returns:
            What :meth:`label` returns, with the files ``wrote`` in the folder ``out``. Where the points are written
            but the masks cannot be, these and ``masks_error``.

        Raises:
            ArgumentError: no point, or the points cannot be written.
        """
        names, targets, categories = self._read(body)
        if not names:
            fail(NAME, "points", "no points", "at least one point")
        make_folder(self.out, function=NAME, argument="out")
        write_points(self.points_path, targets, categories)
        saved: dict[str, Any] = {"out": str(self.out), "wrote": [self.points_path.name]}
        try:
            labels, owner = self._labels(names, targets)
            whole = self.preview.enlarge(owner, self.size)
            image = PanopticImage.from_targets(whole, targets, categories, 1, self.photo.name)
            write_coco_panoptic([image], self.json_path, self.png_dir, categories)
        except ArgumentError as error:  # the clicks are the person's work, and safe
            return {**saved, "masks_error": words(error)}
        saved["wrote"] += [self.json_path.name, f"{self.png_dir.name}/{self.photo.stem}.png"]
        return {**labels, **saved}

    def _read(self, body: bytes) -> tuple[list[str], PointTargets, tuple[Category, ...]]:
        """The page's names of the targets, the targets, and the categories."""
        document = parse_json(_PAGE, body)
        categories = in_channel_order(json_categories(_PAGE, _PAGE.field(document, "categories", list, "the state")))
        writable_categories(NAME, categories)
        clicks = json_clicks(_PAGE, _PAGE.field(document, "points", list, "the state"))
        for click in clicks:
            if click.target is None:
                _PAGE.fail(f"{click.where}: no target", "a target for each point")
        names = list(dict.fromkeys(str(click.target) for click in clicks))
        if len(names) > MAX_TARGETS:
            _PAGE.fail(f"{len(names)} targets", f"at most {MAX_TARGETS}")
        return names, clicked_targets(_PAGE, clicks, categories, self.size), categories

    def _labels(self, names: Sequence[str], targets: PointTargets) -> tuple[dict[str, Any], np.ndarray]:
        """What the page is told, and the label map."""
        preview = self.preview
        start = time.perf_counter()
        masks = preview(targets)
        seconds = time.perf_counter() - start
        owner = np.where(masks.void, -1, masks.instance)
        thin = _factor(preview.size, SENT_PIXELS)
        sent = owner[::thin, ::thin]
        values, _, lengths = runs(sent.ravel())
        measured = []
        for k, name in enumerate(names):
            mask = owner == k
            confidence = float(masks.confidence[mask].mean()) if mask.any() else 0.0
            pixels = int(mask.sum()) * preview.factor**2
            measured.append({"target": name, "pixels": pixels, "confidence": round(confidence, 3)})
        return {
            "values": values.tolist(),
            "lengths": lengths.tolist(),
            "height": sent.shape[0],
            "width": sent.shape[1],
            "factor": preview.factor * thin,
            "targets": measured,
            "seconds": round(seconds, 4),
            "converged": masks.diagnostics.reached(preview.masker.config.tol),
        }, owner


def words(error: BaseException) -> str:
    """What the page says of an error: without the names of a function and its argument."""
    text = str(error)
    return text.partition("': ")[2] or text if isinstance(error, ArgumentError) else f"{type(error).__name__}: {text}"


def check_port(port: int) -> int:
    """Refuse what is no port."""
    number = check_integer(NAME, "port", port, minimum=0)
    return number if number < 2**16 else fail(NAME, "port", number, "a port below 65536, or 0 for any free one")


def _factor(size: Sequence[int], limit: int) -> int:
    """The least factor that brings a picture below ``limit`` pixels."""
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / limit)))
