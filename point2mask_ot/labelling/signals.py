"""A request to stop that waits for the work at hand."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from .stopping import JobInterrupted


@contextmanager
def listening() -> Iterator[list[int]]:
    """The numbers of the signals (SIGINT, SIGTERM) heard inside the block; the second one ends it at once."""
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise JobInterrupted(number)

    try:
        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone may listen
        before = {}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
