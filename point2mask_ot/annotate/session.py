"""One picture under annotation: points in, labels out, files written."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from PIL import Image

from ..checks import ArgumentError, check_integer, fail
from ..files.io import Origin, make_folder, parse_json
from ..files.pictures import explaining_turns
from ..files.results import PictureResults, digest
from ..masks.config import PseudoMaskConfig
from ..masks.picture import ColorMasker, refuse_idle, refuse_likelihood
from ..masks.settings import sort_changes
from ..panoptic import Category, PanopticImage, read_picture, read_points, write_coco_panoptic, write_points
from ..panoptic.clicks import clicked_targets, in_channel_order, point_entries
from ..panoptic.points import writable_categories
from ..panoptic.points_json import json_categories, json_clicks, listed_categories
from ..types import PointTargets
from ..viz.colors import target_colors
from .overrides import PageOverrides
from .preview import Preview, shrink_factor
from .settings import NAME, AnnotateSettings

MAX_TARGETS = 400
DEFAULT_CATEGORIES = (Category(1, "object", True), Category(2, "background", False))
_PAGE = Origin(NAME, "points", Path("this page"))


class Conflict(Exception):  # noqa: N818  # nothing is wrong
    """The points were saved since the page read them.

    Attributes:
        version: of what is saved now.
    """

    def __init__(self, path: Path, version: str) -> None:
        super().__init__(f"{path} was saved elsewhere since this page read it")
        self.version = version


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
        **changes: Unpack[PageOverrides],
    ) -> None:
        ours, theirs = sort_changes(NAME, changes, AnnotateSettings, PseudoMaskConfig)
        settings = AnnotateSettings(**ours)
        settings.check()
        self.photo, self.out = Path(photo), Path(settings.out)
        self.exif = settings.reading()["exif"]
        self.picture = read_picture(photo, **settings.reading(), function=NAME, argument="photo")
        self.size = (self.picture.shape[0], self.picture.shape[1])
        self.results = PictureResults(self.out, self.photo.name, digest(self.photo.read_bytes()))
        self.inputs = [self.photo, *([] if settings.points is None else [Path(settings.points)])]
        self.start = None if settings.points is None else Path(settings.points)
        self.categories = tuple(categories)
        self.opening()  # refuse now what the page could not show, or not save
        self.results.check_masks(NAME, self.inputs)

        self.masker = ColorMasker(preset, settings, function=NAME, **theirs)
        refuse_idle(NAME, preset, theirs)
        refuse_likelihood(NAME, self.masker.config, argument="preset", instead="a preset that colours suffice for")
        self.preview = Preview(self.picture, shrink_factor(self.size, settings.pixels), self.masker)

    @cached_property
    def photo_png(self) -> bytes:
        """The pixels that are labelled: browsers do not show every format, nor turn and colour all alike."""
        buffer = io.BytesIO()
        Image.fromarray(self.picture).save(buffer, "PNG", compress_level=1)  # it does not go far
        return buffer.getvalue()

    def opening(self) -> dict[str, Any]:
        """What the page shows first, and again after a reload: the points that are saved by now.

        Raises:
            ArgumentError: a point file that is refused; what is saved is of another picture.
        """
        self.results.check_points(NAME)
        version = self._version()  # before the points are read, so that it is never newer than they
        source = self.start or (self.results.points if version else None)
        stuff = PointTargets(np.zeros((4, 2)), is_thing=np.zeros(4), category=np.arange(4))
        return {
            **self._document(source),
            "name": self.photo.name,
            "height": self.size[0],
            "width": self.size[1],
            "resumed": str(source) if source else None,
            "replaces": str(self.results.points) if self.start and version else None,
            "version": version,
            "thing_colors": target_colors(21).tolist(),
            "stuff_colors": target_colors(stuff).tolist(),
        }

    def _version(self) -> str:
        """Of the points that are saved; empty before."""
        path = self.results.points
        return digest(path.read_bytes()) if path.is_file() else ""

    def _document(self, source: Path | None) -> dict[str, Any]:
        """The categories and points to begin with, as a point file has them."""
        found: list[Category] = []
        entries: list[dict[str, Any]] = []
        if source:
            with explaining_turns(self.photo, self.exif):
                read = read_points(source, image=self.photo.name, shape=self.size)
            found = list(read.categories)
            entries = point_entries(NAME, "points", read.targets, found)
        for category in self.categories:
            same = [c for c in found if c.name == category.name]
            if same and same[0].is_thing != category.is_thing:
                fail(NAME, "categories", f"{category.name!r} as thing and as stuff", "one or the other")
            if not same:
                number = 1 + max((c.id for c in found), default=0)
                found.append(Category(number, category.name, category.is_thing))
        found = found or list(DEFAULT_CATEGORIES)
        return {"categories": listed_categories(in_channel_order(found)), "points": entries}

    def warm_up(self) -> None:
        """Have the kernels compiled before the first click."""
        corners = np.array([(0, 0), (self.size[0] - 1, self.size[1] - 1)])
        corners = np.unique(corners, axis=0)
        stuff = np.full(len(corners), self.masker.config.border == "background")
        self.preview(PointTargets(corners, is_thing=~stuff))

    def label(self, body: bytes) -> dict[str, Any]:
        """The labels of the page's points.

        Args:
            body: the state, JSON.

        Returns:
            ``values`` and ``lengths`` of the runs of equal label in raster order (index into ``targets``, or -1),
            the ``height`` and ``width`` of the label map, the ``factor`` by which it is smaller than the picture,
            and for each of ``targets`` its name, pixels and confidence.

        Raises:
            ArgumentError: a state that no picture can be labelled from.
        """
        names, targets, _, _ = self._read(body)
        return self.preview.labels(names, targets)[0]

    def save(self, body: bytes) -> dict[str, Any]:
        """Write the points, then their masks at the size of the picture, as ``point2mask label`` does.

        Args:
            body: the state, with the ``version`` of the saved points that it began with, "" for none.

        Returns:
            What :meth:`label` returns of these masks, with the files ``wrote`` in the folder ``out`` and the new
            ``version``. Where the points are written but the masks cannot be, these and ``masks_error``.

        Raises:
            ArgumentError: no point, or the points cannot be written.
            Conflict: the points that are saved are of another version.
        """
        names, targets, categories, version = self._read(body)
        if not names:
            fail(NAME, "points", "no points", "at least one point")
        files = self.results
        files.check_points(NAME)
        current = self._version()
        if current and current != version:
            self.start = None  # who loads the page now wants to see them
            raise Conflict(files.points, current)
        make_folder(self.out, function=NAME, argument="out")
        write_points(files.points, targets, categories, image=files.name, info=files.info)
        self.start = None
        saved: dict[str, Any] = {"out": str(self.out), "wrote": [files.points.name], "version": self._version()}
        try:
            labels = self._save_masks(names, targets, categories)
        except Exception as error:  # the clicks are the person's work, and safe
            if not isinstance(error, ArgumentError):
                traceback.print_exc(file=sys.stderr)
            return {**saved, "masks_error": words(error)}
        saved["wrote"] += [path.relative_to(self.out).as_posix() for path in (files.json, files.png)]
        return {**labels, **saved}

    def _save_masks(
        self, names: Sequence[str], targets: PointTargets, categories: tuple[Category, ...]
    ) -> dict[str, Any]:
        """At the size of the picture; what that takes in memory is given back, since one saves now and then."""
        files = self.results
        files.check_masks(NAME, self.inputs)
        whole = self.preview if self.preview.factor == 1 else Preview(self.picture, 1, self.masker)
        labels, owner = whole.labels(names, targets)
        image = PanopticImage.from_targets(owner, targets, categories, 1, files.name)
        write_coco_panoptic([image], files.json, files.png.parent, categories, info=files.info)
        return labels

    def _read(self, body: bytes) -> tuple[list[str], PointTargets, tuple[Category, ...], Any]:
        """The page's names of the targets, the targets, the categories, and the version it began with."""
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
        return names, clicked_targets(_PAGE, clicks, categories, self.size), categories, document.get("version", "")


def words(error: BaseException) -> str:
    """What the page says of an error: without the names of a function and its argument."""
    text = str(error)
    return text.partition("': ")[2] or text if isinstance(error, ArgumentError) else f"{type(error).__name__}: {text}"


def check_port(port: int) -> int:
    """Refuse what is no port."""
    number = check_integer(NAME, "port", port, minimum=0)
    return number if number < 2**16 else fail(NAME, "port", number, "a port below 65536, or 0 for any free one")
