"""How long stages take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall seconds of each stage by name, as an equal share for each image of a batch.

    On a GPU that is the time to launch it: nothing waits for the device.
    """

    def __init__(self, images: int = 1) -> None:
        self.images = images
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + (time.perf_counter() - start) / self.images
