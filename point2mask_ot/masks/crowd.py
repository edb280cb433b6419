"""Algorithm 1 up to the transport for an image of many suppliers, without a map of the image for any of them."""

from __future__ import annotations

from ..types import Diagnostics
from .clock import Clock
from .scene import Scene

FEWEST = 32


def is_crowded(scene: Scene) -> bool:
    """Nobody yet."""
    return False


def maps_of_crowd(scene: Scene, clock: Clock) -> Diagnostics:
    """Not yet."""
    raise NotImplementedError
