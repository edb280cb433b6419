"""The parts of an image between which walls let no walk pass: each is solved on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Tensor

from ..geodesic.arguments import PointedGraph
from ..graph.parts import connected_parts
from .grids import TO_BELOW, TO_RIGHT


@dataclass(frozen=True)
class Part:
    """Pixels of an image between which walks lead, and to no others.

    Attributes:
        box: rows and columns around them.
        pixels: (h, w) bool, within the box. Walks that never end would disturb the coarser grids, where a block may
            lie on both sides of a wall.
        points: of the image, which lie in this part.
        targets: theirs, ascending.
    """

    box: tuple[slice, slice]
    pixels: Tensor
    points: np.ndarray
    targets: np.ndarray

    def is_as_large_as(self, image: PointedGraph) -> bool:
        """Whether there is nothing to cut off, neither rows and columns nor targets."""
        return self.pixels.shape == image.edges.shape[1:] and len(self.targets) == image.num_targets

    def cut(self, image: PointedGraph) -> PointedGraph:
        """The image around this part, with the targets that have points in it."""
        rows, columns = self.box
        target = np.searchsorted(self.targets, image.target[self.points])
        pixels = image.pixels[self.points] - (rows.start, columns.start)
        return PointedGraph(image.edges[:, rows, columns], pixels, target, len(self.targets))


def find_parts(image: PointedGraph) -> list[Part]:
    """The parts that hold points, by the index of their first pixel, of an image on the host."""
    right, down = image.edges[0, :, :-1], image.edges[2, :-1]
    if not len(image.pixels):
        return []
    height, width = image.edges.shape[1:]
    if max(_largest(right), _largest(down)) < np.inf:
        whole = image.edges.new_ones((height, width), dtype=torch.bool)
        every = np.arange(len(image.pixels))
        return [Part((slice(0, height), slice(0, width)), whole, every, np.arange(image.num_targets))]
    part = connected_parts(image.edges.numpy(), (TO_RIGHT, TO_BELOW))
    of_point = part[tuple(image.pixels.T)]
    boxes = find_objects(part + 1)
    parts = []
    for number in np.unique(of_point):
        box, points = boxes[number], np.flatnonzero(of_point == number)
        parts.append(Part(box, torch.from_numpy(part[box] == number), points, np.unique(image.target[points])))
    return parts


def _largest(values: Tensor) -> float:
    return float(values.numpy().max(initial=0))
