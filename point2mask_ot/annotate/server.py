"""The page's server: this machine only, behind a secret address, one labelling at a time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import socketserver
import sys
import threading
import traceback
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, Unpack

from ..checks import ArgumentError, fail
from ..masks.config import PseudoMaskConfig
from ..panoptic import Category
from .overrides import PageOverrides
from .session import Conflict, Session, check_port, words
from .settings import NAME

HOST = "127.0.0.1"
MAX_BODY = 2**20
"""Some 15,000 points."""


def serve(
    photo: str | os.PathLike[str],
    *,
    port: int = 0,
    open_browser: bool = True,
    categories: Sequence[Category] = (),
    preset: PseudoMaskConfig | str = "best",
    **settings: Unpack[PageOverrides],
) -> None:
    """Serve a page to click points on a picture, until the process is interrupted.

    The page labels the picture after each change, as :func:`~point2mask_ot.label_picture` does, and on request writes
    ``NAME_points.json`` (for :func:`~point2mask_ot.read_points`, ``label`` and ``label-dataset``), ``NAME.json`` and
    ``panoptic/NAME.png`` (COCO panoptic). A larger picture than ``pixels`` is labelled in blocks of 2 x 2 or more
    pixels while one clicks, to be quick, and pixel by pixel when saved; the page then shows what is in the files.

    The page, opened or loaded again, shows the points that are saved. Where two pages save, the second is told what
    happened and asked which points to keep. Files of another picture that is called NAME, too, are neither opened nor
    replaced.

    Only this machine can connect, and only with the secret in the address that is printed.

    Args:
        photo: a PNG, JPEG, WebP, BMP or TIFF picture.
        port: to listen on; 0 takes a free one.
        open_browser: show the page in the default browser.
        categories: to begin with.
        preset: settings or the name of a preset, as ``config`` of :func:`~point2mask_ot.label_picture`.
        settings: fields of the configuration to change; fields of ``AnnotateSettings``: ``points``, ``out``, ``exif``,
            ``levels``, ``pixels``, ``sigma``, ``color_weight``, ``edge_model``.

    Raises:
        ArgumentError: a picture, point file or setting that is refused, or a port that is taken.
    """
    server = AnnotationServer(Session(photo, categories=categories, preset=preset, **settings), port)
    with server:
        threading.Thread(target=server.warm_up, daemon=True).start()
        print(f"annotate {photo} at {server.url}\nstop with Ctrl-C", flush=True)
        if open_browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


class AnnotationServer(ThreadingHTTPServer):
    """Serves one session.

    Args:
        session: the picture.
        port: to listen on; 0 takes a free one.

    Raises:
        ArgumentError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.turns = Turns()
        self.token = secrets.token_urlsafe(16)
        self.page = resources.files(__package__).joinpath("page.html").read_text("utf-8").encode()
        try:
            super().__init__((HOST, check_port(port)), _Handler)
        except OSError as error:
            fail(NAME, "port", f"{port} ({error.strerror})", "a free port")

    def server_bind(self) -> None:
        """As the base class, which would also ask the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def warm_up(self) -> None:
        with suppress(ArgumentError), self.turns.any():  # the page will say what is wrong
            self.session.warm_up()


class Turns:
    """One piece of work at a time; of those that wait for the same answer, only the newest is done."""

    def __init__(self) -> None:
        self._work, self._count, self._newest = threading.Lock(), threading.Lock(), 0

    @contextmanager
    def any(self) -> Iterator[None]:
        """Wait for a turn."""
        with self._work:
            yield

    @contextmanager
    def newest(self) -> Iterator[None]:
        """Wait for a turn, and give it up to whoever came later.

        Raises:
            Superseded: somebody did.
        """
        with self._count:
            self._newest += 1
            ticket = self._newest
        with self._work:
            if ticket < self._newest:
                raise Superseded
            yield


class Superseded(Exception):  # noqa: N818  # nothing is wrong
    """A newer state is there to be labelled."""


class _Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer
    server_version, sys_version = "point2mask", ""
    timeout = 60  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:
        session = self.server.session
        answers = {
            "": lambda: self._send(200, self.server.page, "text/html; charset=utf-8", policy(self.server.page)),
            "picture": lambda: self._send(200, session.photo_png, "image/png"),
            "state": lambda: self._send_json(200, session.opening()),
        }
        self._guarded(answers)

    def do_POST(self) -> None:
        self._guarded({"label": self._label, "save": self._save})

    def _label(self) -> None:
        body = self._body()
        with self.server.turns.newest():
            labels = self.server.session.label(body)
        self._send_json(200, labels)

    def _save(self) -> None:
        body = self._body()
        with self.server.turns.any():
            labels = self.server.session.save(body)
        self._send_json(200, labels)

    def _guarded(self, answers: dict[str, Any]) -> None:
        """Answer a known address from this machine's own page; say in words what is wrong otherwise."""
        with suppress(ConnectionError, TimeoutError):  # the page has been closed
            try:
                self._route(answers)()
            except _Refusal as refusal:
                self._discard_body()
                self._send_json(refusal.status, {"error": str(refusal)})
            except Superseded:
                self._send_json(409, {"error": "a newer state is there"})
            except Conflict as conflict:
                self._send_json(409, {"error": str(conflict), "version": conflict.version})
            except ArgumentError as error:
                self._send_json(400, {"error": words(error)})
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                self._send_json(500, {"error": words(error)})

    def _route(self, answers: dict[str, Any]) -> Any:
        # A foreign page can have its own name resolved to this address, but then it is that name in Host.
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in hosts:
            raise _Refusal(403, "this page answers to its own address only")
        if self.headers.get("Origin") not in {None, *(f"http://{host}" for host in hosts)}:
            raise _Refusal(403, "another page may not ask")
        token, _, name = self.path[1:].partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()) or name not in answers:
            raise _Refusal(404, "no such address; use the one that point2mask annotate has printed last")
        return answers[name]

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":
            raise _Refusal(415, "only JSON is read")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length):
            raise _Refusal(411, "the length is missing")
        if int(length) > MAX_BODY:
            raise _Refusal(413, f"too many points: {int(length):,} bytes, at most {MAX_BODY:,}")
        return self.rfile.read(int(length))

    def _discard_body(self) -> None:
        """Let a client that is refused finish sending, within reason: until then many do not listen."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), 16 * MAX_BODY) if re.fullmatch("[0-9]{1,9}", length) else 0
        while left and (chunk := self.rfile.read(min(left, 2**16))):
            left -= len(chunk)

    def _send_json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str, content_policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": content_policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Not a word: the terminal shows what goes wrong only."""


def policy(page: bytes) -> str:
    """Allow the page's own script, style and picture, and nothing else."""
    script, style = (
        base64.b64encode(hashlib.sha256(found).digest()).decode()
        for tag in (b"script", b"style")
        for found in re.findall(b"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    )
    allowed = {
        "default-src": "'none'",
        "script-src": f"'sha256-{script}'",
        "style-src": f"'sha256-{style}'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())
