"""The order in which the gallery is read: from clicks to masks first, then part by part."""

from __future__ import annotations

NAMES = (
    "first_look",
    "stages",
    "sizes",
    "capacities",
    "ten_points",
    "regularisation",
    "convergence",
    "imagenet_features",
)


class Order:
    """A key to sort scripts by, as sphinx-gallery wants one.

    Args:
        folder: where the scripts are.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, script: str) -> int:
        return NAMES.index(script.removeprefix("plot_").removesuffix(".py"))
