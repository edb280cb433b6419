"""The page's server: this machine only, behind a secret address."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, Self, Unpack

from ..checks import ArgumentError, check_integer, fail
from ..masks.config import PseudoMaskConfig
from ..panoptic import Category
from .overrides import PageOverrides
from .session import Session
from .settings import NAME
from .turns import Turns

HOST = "127.0.0.1"


def serve(
    photos: str | os.PathLike[str],
    *,
    port: int = 0,
    open_browser: bool = True,
    categories: Sequence[Category] = (),
    preset: PseudoMaskConfig | str = "best",
    **settings: Unpack[PageOverrides],
) -> None:
    """Serve a page to click points on a picture, or on those of a folder, until the process is interrupted.

    The page labels a picture after each change, as :func:`~point2mask_ot.label_picture` does, and saves each change
    within a second: its points, and whether it is begun, done or skipped, in ``NAME_points.json`` in the folder
    ``out``, below the sub folder that the picture lies in (for :func:`~point2mask_ot.read_points`, ``label`` and
    ``label-dataset``, which leaves skipped ones alone). ``categories.json`` there holds what the pictures share. On
    request it saves the masks of a picture, too: ``NAME.json`` and ``panoptic/NAME.png`` (COCO panoptic); those of a
    whole folder ``label-dataset`` makes from the points. A picture with more than ``pixels`` is labelled in blocks of
    2 x 2 or more pixels while one clicks, to be quick, and pixel by pixel when its masks are saved; the page then
    shows what is in the files.

    The page, opened or loaded again, shows the points that are saved, however the server ended. Where two pages
    change a picture, the second is told what happened and asked which points to keep. Files of another picture that is
    called NAME, too, are neither opened nor replaced.

    Only this machine can connect, and only with the secret in the address that is printed.

    Args:
        photos: a PNG, JPEG, WebP, BMP or TIFF picture, or a folder of them as it is now, sub folders included.
        port: to listen on; 0 takes a free one.
        open_browser: show the page in the default browser.
        categories: to begin with.
        preset: settings or the name of a preset, as ``config`` of :func:`~point2mask_ot.label_picture`.
        settings: fields of the configuration to change; fields of ``AnnotateSettings``: ``points``, ``out``, ``only``,
            ``exif``, ``levels``, ``follow_links``, ``pixels``, ``sigma``, ``color_weight``, ``edge_model``.

    Raises:
        ArgumentError: a picture, folder, point file or setting that is refused, a port that is taken, or the extra
            ``annotate`` is not installed.
    """
    import_parts()
    session = Session(photos, categories=categories, preset=preset, **settings)
    with AnnotationServer(session, port) as server:
        threading.Thread(target=server.warm_up, daemon=True).start()
        print(f"annotate {photos} at {server.url}\nstop with Ctrl-C", flush=True)
        if session.begun_with:
            print(session.begun_with, flush=True)
        if open_browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def import_parts() -> tuple[ModuleType, ModuleType]:
    """uvicorn and what runs on it, or an error that says how to get them."""
    try:
        import uvicorn

        from . import app
    except ImportError as error:
        missing = f"no package {error.name}"
        raise ArgumentError(
            NAME, "photos", f"a page to serve, and {missing}", "pip install 'point2mask-ot[annotate]'"
        ) from error
    return uvicorn, app


class AnnotationServer:
    """Serves one session; it listens as soon as it is made, and answers while :meth:`serve_forever` runs.

    Args:
        session: the folder.
        port: to listen on; 0 takes a free one.

    Raises:
        ArgumentError: the port is taken, or the extra ``annotate`` is not installed.
    """

    def __init__(self, session: Session, port: int = 0) -> None:
        uvicorn, app = import_parts()
        self.session, self.turns = session, Turns()
        self.token = secrets.token_urlsafe(16)
        self._socket = _listening(check_port(port))
        self.server_address: tuple[str, int] = self._socket.getsockname()
        self.server_port = self.server_address[1]
        hosts = frozenset(f"{name}:{self.server_port}" for name in (HOST, "localhost"))
        config = uvicorn.Config(
            app.annotation_app(session, self.turns, self.token, hosts),
            log_config=None,  # the terminal shows what goes wrong only, and nobody else's logging changes
            log_level="critical",  # what fails in an answer, the answer and the app say
            access_log=False,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=1000,
            timeout_graceful_shutdown=1,
        )
        self._server: Any = uvicorn.Server(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def serve_forever(self) -> None:
        """Answer until Ctrl-C, which raises KeyboardInterrupt, or :meth:`shutdown`."""
        self._server.run(sockets=[self._socket])

    def shutdown(self) -> None:
        """Have :meth:`serve_forever` end soon, from another thread."""
        self._server.should_exit = True

    def warm_up(self) -> None:
        """Have the kernels compiled."""
        with suppress(ArgumentError), self.turns.any():  # the page will say what is wrong
            self.session.warm_up()


def _listening(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
        made.bind((HOST, port))
        made.listen(128)
    except OSError as error:
        made.close()
        fail(NAME, "port", f"{port} ({error.strerror})", "a free port")
    return made


def check_port(port: int) -> int:
    """Refuse what is no port."""
    number = check_integer(NAME, "port", port, minimum=0)
    return number if number < 2**16 else fail(NAME, "port", number, "a port below 65536, or 0 for any free one")
