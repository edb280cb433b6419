"""How a job ends before its end."""

from __future__ import annotations


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
