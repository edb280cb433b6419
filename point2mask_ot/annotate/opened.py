"""The few pictures that are open at a time."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ..checks import fail
from ..files.io import Origin, origin_of, read_bytes
from ..files.pictures import picture_of
from ..files.results import digest
from ..masks.picture import ColorMasker
from .preview import Preview, shrink_factor
from .settings import NAME

ROOM = 4
"""Pictures: the one on the screen, the next, the one before, and one of a second person."""
COARSE_PIXELS = 2**15
"""So many take some 0.2 seconds with 50 targets, on one thread."""
VIEW_PIXELS = 2**22
"""Larger pictures are sent to the page in blocks of pixels."""
_MAX_BYTES = 2**32


class OpenPicture:
    """A picture that can be shown and labelled.

    Args:
        path: the file.
        reading: how it is read, see :meth:`~point2mask_ot.files.pictures.PictureSettings.reading`.
        masker: the settings of its masks.
        pixels: it is labelled in blocks where it has more.

    Attributes:
        size: (H, W).
        sha256: digest of the file.
        view: PNG of the pixels that are labelled: browsers do not show every format, nor turn and colour all alike.
        view_factor: by which the view is smaller.
        preview: labels it.
        coarse: labels it at once, in larger blocks.

    Raises:
        FileError: see :func:`~point2mask_ot.read_picture`.
    """

    def __init__(self, path: Path, reading: dict[str, Any], masker: ColorMasker, pixels: int) -> None:
        self._path, self._reading, self._masker = path, reading, masker
        picture = picture_of(Origin(NAME, "photos", path), **reading)
        self.sha256 = file_digest(path)
        self.size = (picture.shape[0], picture.shape[1])
        self.preview = Preview(picture, shrink_factor(self.size, pixels), masker)
        self.coarse = Preview(picture, shrink_factor(self.size, COARSE_PIXELS), masker)
        self.view_factor = shrink_factor(self.size, VIEW_PIXELS)
        shown = Image.fromarray(picture)
        self._shown: Image.Image | None = shown.reduce(self.view_factor) if self.view_factor > 1 else shown

    @cached_property
    def view(self) -> bytes:
        assert self._shown is not None
        buffer = io.BytesIO()
        self._shown.save(buffer, "PNG", compress_level=1)  # it does not go far
        self._shown = None
        return buffer.getvalue()

    def whole(self) -> Preview:
        """Labels every pixel; what that takes in memory is not kept, since one saves masks now and then."""
        if self.preview.factor == 1:
            return self.preview
        if file_digest(self._path) != self.sha256:
            fail(NAME, "photos", f"{self._path}, which has changed since it was opened", "the page loaded again")
        return Preview(picture_of(Origin(NAME, "photos", self._path), **self._reading), 1, self._masker)


def file_digest(path: Path) -> str:
    """SHA-256 of a picture file."""
    return digest(read_bytes(origin_of(NAME, "photos", path), _MAX_BYTES))


class Opened:
    """Opens pictures by name and keeps the last few; who asks for one that is being opened waits for it.

    Args:
        open_one: opens a picture.
        room: so many are kept.
    """

    def __init__(self, open_one: Callable[[str], OpenPicture], room: int = ROOM) -> None:
        self._open, self._room, self._lock = open_one, room, threading.Lock()
        self._kept: OrderedDict[str, Future[OpenPicture]] = OrderedDict()

    def __call__(self, name: str) -> OpenPicture:
        """The picture, as it was when it was opened."""
        with self._lock:
            known = self._kept.get(name)
            mine = known is None
            one = self._kept.setdefault(name, Future())
            self._kept.move_to_end(name)
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
        if mine:
            try:
                one.set_result(self._open(name))
            except BaseException as error:
                with self._lock:  # it may be mended
                    if self._kept.get(name) is one:
                        del self._kept[name]
                one.set_exception(error)
        return one.result()

    def __len__(self) -> int:
        return len(self._kept)
