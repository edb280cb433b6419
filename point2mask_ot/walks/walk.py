"""The walks of one part of an image, on its pixels or on blocks of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geodesic.arguments import PointedGraph

LEAST_PROBABILITY = 1e-6
"""What single precision cannot tell from zero; its cost is about 14."""

WIDTHS = (4, 8, 16)
"""Targets that are solved together, for which the kernels are compiled where they are asked for."""

BLOCKS = 64
"""Blocks of pixels along the typical distance between points, at least, where regions are only counted."""


class Walk:
    """The walks of one part of an image.

    Attributes:
        edges: (4, H, W) costs.
        reached: (H, W) bool: pixels from which a walk leads to some point.
        step: 0-d, what is added to the costs.
        seeds, target, share: (N, 2) pixels of the points, (N,) their target and (N,) its share of the pixel, since
            several targets may have a point there.
        count: K.
    """

    def __init__(self, image: PointedGraph, reached: Tensor, step: Tensor) -> None:
        self.image, self.reached, self.step = image, reached, step
        self.edges, self.count = image.edges, image.num_targets
        pairs = np.unique(np.column_stack([image.pixels, image.target]), axis=0)
        _, place, sharers = np.unique(pairs[:, :2], axis=0, return_inverse=True, return_counts=True)
        self.seeds, self.target, self.share = pairs[:, :2], pairs[:, 2], 1 / sharers[place.ravel()]

    def largest_block(self) -> float:
        """Side of the largest blocks that leave enough of them for regions. The host waits for it."""
        spacing = (int(self.reached.sum()) / max(self.count, 1)) ** 0.5
        return spacing / BLOCKS

    def halved(self) -> Walk:
        """The walks between blocks of 2 x 2 pixels, on the host."""
        from .blocks import halve  # numba is slow to import, and a GPU does without

        height, width = self.reached.shape
        edges = self.edges.new_full((4, -(-height // 2), -(-width // 2)), torch.inf)
        halve(self.edges.numpy(), self.step.numpy()[()], self.reached.numpy(), edges.numpy())
        padded = torch.nn.functional.pad(self.reached, (0, width % 2, 0, height % 2))
        reached = padded.view(edges.shape[1], 2, edges.shape[2], 2).any(3).any(1)
        image = PointedGraph(edges, self.image.pixels // 2, self.image.target, self.count)
        return Walk(image, reached, self.step)

    def has_walls(self) -> bool:
        """Between pixels that walks reach, on the host. Blocks lie on both sides of them: cycles alone may not help."""
        if max(float(way.numpy().max(initial=0)) for way in (self.edges[0, :, :-1], self.edges[2, :-1])) < np.inf:
            return False
        right = torch.isinf(self.edges[0, :, :-1]) & self.reached[:, :-1] & self.reached[:, 1:]
        down = torch.isinf(self.edges[2, :-1]) & self.reached[:-1] & self.reached[1:]
        return bool(right.any() or down.any())
