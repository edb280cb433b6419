"""A folder of pictures under annotation: what the page asks for, picture by picture."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Unpack

import numpy as np

from ..checks import ArgumentError, fail
from ..files.names import names_in
from ..files.pictures import explaining_turns
from ..files.results import PictureResults
from ..masks.config import PseudoMaskConfig
from ..masks.picture import ColorMasker, refuse_idle, refuse_likelihood
from ..masks.settings import sort_changes
from ..panoptic import Category, PanopticImage, write_coco_panoptic
from ..panoptic.points_json import listed_categories
from ..types import PointTargets
from ..viz.colors import target_colors
from .brought import Brought, begin_with, of_folder, of_picture, reading, refuse_in_results
from .categories import Categories
from .listing import States, list_pictures, points_path
from .opened import Opened, OpenPicture
from .overrides import PageOverrides
from .posted import Posted, read_posted, read_state
from .recategorise import changed, uses
from .settings import NAME, AnnotateSettings
from .store import Saved, Store, next_state
from .usable import check_folders


class Session:
    """A folder of pictures under annotation, or one picture.

    Args:
        photos, categories, preset, changes: see :func:`serve`.

    Raises:
        ArgumentError: what :func:`serve` refuses.
    """

    def __init__(
        self,
        photos: str | os.PathLike[str],
        *,
        categories: Sequence[Category] = (),
        preset: PseudoMaskConfig | str = "best",
        **changes: Unpack[PageOverrides],
    ) -> None:
        ours, theirs = sort_changes(NAME, changes, AnnotateSettings, PseudoMaskConfig)
        self.settings = AnnotateSettings(**ours)
        self.settings.check()
        self.out = Path(self.settings.out)
        self.start = None if self.settings.points is None else Path(self.settings.points)
        check_folders([self.out])
        self.store = Store(self.out)
        self.pictures = list_pictures(photos, self.out, follow_links=self.settings.follow_links)
        if self.settings.only is not None:
            self.pictures = self.pictures.only(names_in(NAME, "only", self.settings.only))
        self._known = frozenset(self.pictures.names)
        self.masker = ColorMasker(preset, self.settings, function=NAME, **theirs)
        refuse_idle(NAME, preset, theirs)
        refuse_likelihood(NAME, self.masker.config, argument="preset", instead="a preset that colours suffice for")
        self.opened = Opened(self._open)
        self.states = States(self.pictures, self.out)
        self._refuse_unusable()
        self.categories = Categories(self.out, self._found(), categories)
        self.begun_with = ""
        if self.start is not None:
            refuse_in_results(self.start, self.out, self.pictures)
            with reading(self.start):
                self.begun_with = begin_with(self._brought(self.start), self.store, self.categories)

    def _refuse_unusable(self) -> None:
        """A sub folder that takes no results; a picture alone that cannot be shown, or saved."""
        check_folders(points_path(self.out, name).parent for name in self.pictures.names)
        if self.pictures.alone:
            (name,) = self.pictures.names
            self._shown(name)
            self._check_masks(name)

    def _brought(self, start: Path) -> Brought:
        if not self.pictures.alone:
            return of_folder(start, self.pictures, self.out, self.settings.reading()["exif"])
        (name,) = self.pictures.names
        if points_path(self.out, name).exists():
            return Brought(start, (), [name], iter(()))
        with explaining_turns(self.pictures.path(name), self.settings.reading()["exif"]):
            return of_picture(start, name, self.pictures.path(name), self.opened(name).size)

    def _found(self) -> Iterator[Category]:
        """The categories of what is there, for a folder whose list is not written yet: that reads every points file."""
        if self.pictures.alone:
            yield from self._shown(self.pictures.names[0]).categories
        else:
            yield from self.store.all_categories(points_path(self.out, name) for name in self.pictures.folder)

    def _open(self, name: str) -> OpenPicture:
        reading = self.settings.reading()
        return OpenPicture(self.pictures.path(name), reading, self.masker, self.settings.pixels)

    def _files(self, name: str) -> PictureResults:
        return PictureResults.of(self.out, name, self.opened(name).sha256)

    def _check_masks(self, name: str) -> None:
        inputs = [self.pictures.path(name), *([] if self.start is None else [self.start])]
        self._files(name).check_masks(NAME, inputs)

    def check_name(self, name: str | None) -> str:
        """The name of a picture of the folder: a page gets no other file.

        Raises:
            ArgumentError: there is none of that name.
        """
        if name is None or name not in self._known:
            listed = "" if self.settings.only is None else " that are in the list of only"
            fail(NAME, "photos", f"no picture {name!r:.80}", f"one of the folder's{listed}")
        return name

    def folder(self) -> dict[str, Any]:
        """The pictures with their states, the categories, and the colours that targets have by their number."""
        stuff = PointTargets(np.zeros((4, 2)), is_thing=np.zeros(4), category=np.arange(4))
        return {
            "name": self.pictures.root.resolve().name,
            "alone": self.pictures.alone,
            "pictures": self.pictures.names,
            "states": self.states(),
            "categories": listed_categories(self.categories.listed()),
            "thing_colors": target_colors(21).tolist(),
            "stuff_colors": target_colors(stuff).tolist(),
        }

    def opening(self, name: str) -> dict[str, Any]:
        """What the page shows of a picture first, and again after a reload: the points that are saved by now.

        Raises:
            ArgumentError: a picture or point file that is refused; what is saved is of another picture.
        """
        picture = self.opened(name)
        shown = self._shown(name)
        return {
            "name": name,
            "height": picture.size[0],
            "width": picture.size[1],
            "view_factor": picture.view_factor,
            "points": list(shown.points),
            "paint": shown.paint and shown.paint.to_json(),
            "categories": listed_categories(self.categories.adopt(shown.used)),
            "state": shown.state,
            "version": shown.version,
            "resumed": str(points_path(self.out, name)) if shown.version else None,
        }

    def _shown(self, name: str) -> Saved:
        """What the page begins with."""
        with explaining_turns(self.pictures.path(name), self.settings.reading()["exif"]):
            return self.store.read(self._files(name), self.opened(name).size)

    def warm_up(self) -> None:
        """Have the kernels compiled before the first click."""
        preview = self.opened(self.pictures.names[0]).preview
        corners = np.unique([(0, 0), (preview.whole[0] - 1, preview.whole[1] - 1)], axis=0)
        stuff = np.full(len(corners), self.masker.config.border == "background")
        preview(PointTargets(corners, is_thing=~stuff))

    def label(self, name: str, body: bytes, *, coarse: bool = False) -> dict[str, Any]:
        """The labels of the page's points.

        Args:
            name: of the picture.
            body: its state on the page, JSON.
            coarse: in larger blocks of pixels, until the others are there.

        Returns:
            ``values`` and ``lengths`` of the runs of equal label in raster order (index into ``targets``, or -1),
            the ``height`` and ``width`` of the label map, the ``factor`` by which it is smaller than the picture,
            and for each of ``targets`` its name, pixels and confidence.

        Raises:
            ArgumentError: a state that no picture can be labelled from.
        """
        picture = self.opened(name)
        posted = read_posted(body, picture.size)
        return (picture.coarse if coarse else picture.preview).labels(posted.names, posted.targets, posted.paint)[0]

    def save(self, name: str, body: bytes) -> dict[str, Any]:
        """Write the points and the state of a picture.

        Args:
            name: of the picture.
            body: its state on the page, with what the page has seen before, see :class:`~.store.Basis`.

        Returns:
            The new ``version``, the ``state`` of the picture, the file that it ``wrote``, the ``categories`` as they
            are now, and which of them these points have brought back (``returned``), that another page took away.

        Raises:
            ArgumentError: the points cannot be written.
            Conflict: the points that are saved are of another version.
        """
        return self._save(name, read_posted(body, self.opened(name).size))

    def skip(self, name: str, body: bytes) -> dict[str, str]:
        """Mark a picture as skipped that cannot be opened, or take that back: then there is nothing else to save.

        Args:
            name: of the picture.
            body: JSON with the ``state``; whether it is untouched or begun, its points say.

        Returns:
            The ``state`` that it is in.

        Raises:
            ArgumentError: another state; a points file that cannot be read either.
        """
        state = read_state(body)
        return {"state": self.store.mark(PictureResults.of(self.out, name, ""), state, self.categories.listed())}

    def uses(self, category: str) -> dict[str, int]:
        """How many ``points`` a category has, in how many ``pictures``."""
        return uses(self.store, (points_path(self.out, name) for name in self.pictures.folder), category)

    def _save(self, name: str, posted: Posted) -> dict[str, Any]:
        files = self._files(name)
        known = None if self.categories.is_default else {category.name for category in self.categories.listed()}
        categories = posted.categories if self.categories.is_default else self.categories.adopt(posted.used)
        targets = posted.targets_of(categories)
        state = next_state(posted.state, len(targets.points_yx))
        saved = self.store.write(files, targets, posted.paint, categories, state, posted.basis)
        with self.store.locked():  # another server may have written meanwhile
            first = self.categories.is_default
            listed = self.categories.write(categories if first else self.categories.adopt(posted.used))
        return {
            "version": saved.version,
            "state": saved.state,
            "wrote": [self._written(points_path(self.out, name))],
            "categories": listed_categories(listed),
            "returned": [] if known is None else [one.name for one in posted.used if one.name not in known],
        }

    def save_masks(self, name: str, body: bytes) -> dict[str, Any]:
        """Write the points as :meth:`save` does, then their masks at the size of the picture, as ``label`` does.

        Returns:
            What :meth:`label` and :meth:`save` return. Where the points are written but the masks cannot be, what
            :meth:`save` returns, and ``masks_error``.

        Raises:
            ArgumentError: no point, or the points cannot be written.
            Conflict: see :meth:`save`.
        """
        posted = read_posted(body, self.opened(name).size)
        if not posted.names:
            fail(NAME, "points", "no points", "at least one point")
        told: dict[str, Any] = {**self._save(name, posted), "out": str(self.out)}
        try:
            labels = self._write_masks(name, posted)
        except Exception as error:  # the clicks are the person's work, and safe
            if not isinstance(error, ArgumentError):
                traceback.print_exc(file=sys.stderr)
            return {**told, "masks_error": words(error)}
        files = self._files(name)
        told["wrote"] += [self._written(path) for path in (files.json, files.png)]
        return {**labels, **told}

    def _write_masks(self, name: str, posted: Posted) -> dict[str, Any]:
        files, categories = self._files(name), self.categories.listed()
        self._check_masks(name)
        labels, owner = self.opened(name).whole().labels(posted.names, posted.targets, posted.paint)
        alone = PurePosixPath(name).name  # the masks of a sub folder lie in one, too
        image = PanopticImage.from_targets(owner, posted.targets_of(categories), categories, 1, alone)
        write_coco_panoptic([image], files.json, files.png.parent, categories, info=files.info)
        return labels

    def change_categories(self, body: bytes) -> dict[str, Any]:
        """Add, rename, merge, delete or recolour a category of all pictures, and give the new list.

        Raises:
            ArgumentError: see :func:`~.recategorise.changed`.
        """
        paths = [points_path(self.out, name) for name in self.pictures.folder]
        with self.store.locked():
            listed = self.categories.write(changed(self.store, self.categories.listed(), paths, body))
        return {"categories": listed_categories(listed)}

    def _written(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()


def words(error: BaseException) -> str:
    """What the page says of an error, ``got ...; expected ...``: without the names of a function and its argument."""
    text = str(error)
    return text.partition("': ")[2] or text if isinstance(error, ArgumentError) else f"{type(error).__name__}: {text}"
