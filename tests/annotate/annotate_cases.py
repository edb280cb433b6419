"""A session that is served, and how to ask it, for what asks the server and for what opens the page."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from urllib.parse import quote

from point2mask_ot.annotate.server import AnnotationServer

OF_A_PICTURE = ("view", "state", "label", "save", "skip", "masks")


@contextmanager
def serving(session, port=0):
    with AnnotationServer(session, port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, name, body=None, *, picture=None, token=None, method=None, headers=()):
    """(status, JSON or bytes); of the first picture where none is named."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=300)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = ({} if data is None else {"Content-Type": "application/json"}) | dict(headers)
    path = f"/{server.token if token is None else token}/{name}"
    if name in OF_A_PICTURE:
        path += f"?picture={quote(picture or first(server.session))}"
    connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.getheader("Content-Type") == "application/json" else content


def first(session):
    return session.pictures.names[0]


def opening(session, picture=None):
    return session.opening(picture or first(session))


def label(session, state, picture=None):
    return session.label(picture or first(session), json.dumps(state).encode())


def save(session, state, picture=None):
    """Points and masks."""
    return session.save_masks(picture or first(session), json.dumps(state).encode())
