"""The page's addresses: what is asked of the session by whom, and how it is refused."""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..checks import ArgumentError
from .session import Session, words
from .store import Conflict
from .turns import Superseded, Turns

MAX_BODY = 2**23
"""Of points and paint; a body of points alone would have some 100,000."""
PATIENCE = 60.0
"""Seconds that a client may take to send what it has announced."""
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own files and pictures, and nothing else."""
_UNKNOWN = "no such address; use the one that point2mask annotate has printed last"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": POLICY,
}


def annotation_app(session: Session, turns: Turns, token: str, hosts: frozenset[str]) -> ASGIApp:
    """What a server runs.

    Args:
        session: the folder.
        turns: who may work.
        token: the secret that every address begins with.
        hosts: the names, with the port, that the page has; other pages and other names for this machine are refused.
    """
    routes = [Route(f"/{name}", _file(*each)) for name, each in page_files().items()]
    routes += [Route("/", _file(*page_files()["page.html"]))]
    work = _Work(session, turns)
    routes += [Route(f"/{name}", _answering(getattr(work, name))) for name in ("folder", "view", "state", "uses")]
    routes += [
        Route(f"/{name}", _answering(getattr(work, name)), methods=["POST"])
        for name in ("label", "save", "skip", "masks", "category")
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _unknown})
    app.router.redirect_slashes = False
    return _Guard(app, token, hosts)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Content and kind of each file of the page, by name."""
    folder = resources.files(__package__).joinpath("page")
    found = sorted((one.name, one) for one in folder.iterdir() if PurePosixPath(one.name).suffix in KINDS)
    return {name: (one.read_bytes(), KINDS[PurePosixPath(name).suffix]) for name, one in found}


class _Work:
    """What is done for each address, off the thread that listens."""

    def __init__(self, session: Session, turns: Turns) -> None:
        self.session, self.turns = session, turns
        self.quick_turns = Turns()  # what is coarse does not wait for what is not

    async def folder(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.session.folder))

    async def state(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.session.opening, self._name(request)))

    async def view(self, request: Request) -> Response:
        picture = await run_in_threadpool(self.session.opened, self._name(request))
        return Response(await run_in_threadpool(lambda: picture.view), media_type="image/png")

    async def label(self, request: Request) -> Response:
        name, body, page = self._name(request), await _body(request), request.query_params.get("page", "")
        coarse = "coarse" in request.query_params

        def work() -> dict[str, Any]:
            with (self.quick_turns if coarse else self.turns).newest(page):
                return self.session.label(name, body, coarse=coarse)

        return await _json(work)

    async def save(self, request: Request) -> Response:
        name, body = self._name(request), await _body(request)
        return await _json(lambda: self.session.save(name, body))

    async def masks(self, request: Request) -> Response:
        name, body = self._name(request), await _body(request)

        def work() -> dict[str, Any]:
            with self.turns.any():
                return self.session.save_masks(name, body)

        return await _json(work)

    async def skip(self, request: Request) -> Response:
        name, body = self._name(request), await _body(request)
        return await _json(lambda: self.session.skip(name, body))

    async def uses(self, request: Request) -> Response:
        category = request.query_params.get("category", "")
        return await _json(lambda: self.session.uses(category))

    async def category(self, request: Request) -> Response:
        body = await _body(request)
        return await _json(lambda: self.session.change_categories(body))

    def _name(self, request: Request) -> str:
        return self.session.check_name(request.query_params.get("picture"))


async def _json(work: Callable[[], Any]) -> Response:
    """What the work gives, encoded on its own thread: label maps are long."""
    return Response(await run_in_threadpool(lambda: json.dumps(work()).encode()), media_type="application/json")


def _file(content: bytes, kind: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _answering(endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Say in words what is wrong."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)  # type: ignore[no-any-return]
        except HTTPException as refusal:
            return _refusal(refusal.status_code, refusal.detail)
        except Superseded:
            return _refusal(409, "a newer state is there")
        except Conflict as conflict:
            return _refusal(409, str(conflict), version=conflict.version)
        except ArgumentError as error:
            return _refusal(400, words(error))
        except (ClientDisconnect, asyncio.CancelledError):  # the page is closed, or the server is ending
            return _refusal(503, "the server is ending")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _refusal(500, words(error))

    return answer


def _refusal(status: int, text: str, **more: Any) -> Response:
    return JSONResponse({"error": text, **more}, status_code=status)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _refusal(error.status_code, _UNKNOWN)


async def _body(request: Request) -> bytes:
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        await _read(request, 0)
        raise HTTPException(415, "only JSON is read")
    return await _read(request, MAX_BODY)


async def _read(request: Request, limit: int) -> bytes:
    """What a client sends; who is refused may finish sending, within reason: until then many do not listen."""
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(PATIENCE):
            while more and size <= limit + 16 * MAX_BODY:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                more = message.get("more_body", False)
                size += len(message.get("body", b""))
                if size <= limit:
                    chunks.append(message.get("body", b""))
    except TimeoutError:
        raise HTTPException(408, "the rest did not come") from None
    if limit and size > limit:
        raise HTTPException(413, f"too many points, or too much paint: more than {limit:,} bytes")
    return b"".join(chunks)


class _Guard:
    """Lets through this machine's own page alone, and tells browsers what the page may do."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self.app, self.token, self.hosts = app, token.encode(), hosts
        self.origins = {f"http://{host}" for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        request = Request(scope, receive)
        token, slash, rest = scope["path"][1:].partition("/")
        # A foreign page can have its own name resolved to this address, but then it is that name in Host.
        if request.headers.get("Host") not in self.hosts:
            refusal: Response = _refusal(403, "this page answers to its own address only")
        elif request.headers.get("Origin") not in {None, *self.origins}:
            refusal = _refusal(403, "another page may not ask")
        elif not hmac.compare_digest(token.encode("utf-8", "replace"), self.token):
            refusal = _refusal(404, _UNKNOWN)
            if "text/html" in request.headers.get("Accept", ""):  # a person, not the page
                refusal = PlainTextResponse(_UNKNOWN.capitalize() + ".", 404)
        elif not slash:
            refusal = RedirectResponse(f"/{token}/")  # what the page asks for is beside it
        else:
            own = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
            return await self.app(own, receive, send_guarded)
        with suppress(HTTPException, ClientDisconnect):
            await _read(request, 0)
        return await refusal(scope, receive, send_guarded)
