"""A session that is served, and how to ask it, for what asks the server and for what opens the page."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager

from point2mask_ot.annotate.server import AnnotationServer


@contextmanager
def serving(session):
    with AnnotationServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, name, body=None, *, token=None, method=None, headers=()):
    """(status, JSON or bytes)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=300)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = ({} if data is None else {"Content-Type": "application/json"}) | dict(headers)
    path = f"/{server.token if token is None else token}/{name}"
    connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.getheader("Content-Type") == "application/json" else content
