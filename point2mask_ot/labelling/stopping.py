"""How a job ends before its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class JobStopped(RuntimeError):  # noqa: N818  # not an error of the caller
    """A job that stopped before its end, with a reason; called again, it goes on where it stopped."""


class JobInterrupted(KeyboardInterrupt):
    """A job that a signal stopped between two pictures; called again, it goes on.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}; the same call goes on")
        self.signal = signal

    def __reduce__(self) -> tuple[type[JobInterrupted], tuple[int]]:
        return JobInterrupted, (self.signal,)


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
