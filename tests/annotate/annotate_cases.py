"""A session that is served, for what asks the server and for what opens the page."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from point2mask_ot.annotate._server import AnnotationServer


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
