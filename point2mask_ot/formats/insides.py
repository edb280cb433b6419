"""Which pixels lie inside an outline, and which of them deepest.

x and y are those of drawing tools: the centre of the first pixel is .5, .5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AT_ONCE = 2**20
"""Crossings of edges and rows that are looked at together."""


class Grid:
    """Which pixels in an outline's box lie inside; which cells of several, where a side has more than ``most``.

    Attributes:
        low: x and y of the corner of the first cell.
        step: pixels to a side of a cell.
        inside: (h, w) booleans, whether the centre of a cell is inside.
    """

    def __init__(self, rings: Sequence[np.ndarray], most: int) -> None:
        corners = np.concatenate(rings)
        self.low = np.floor(corners.min(0))
        span = corners.max(0) - self.low
        self.step = max(1.0, float(span.max()) / most)
        width, height = (int(side) for side in np.floor(span / self.step) + 1)
        self.inside = _inside([(ring - self.low) / self.step - 0.5 for ring in rings], height, width)

    def deepest(self) -> np.ndarray | None:
        """x and y of the cell farthest from the outline, None if none has its centre inside."""
        return self.low + (np.array(deepest_of(self.inside)) + 0.5) * self.step if self.inside.any() else None

    def beside(self, ring: np.ndarray) -> np.ndarray:
        """(N, 2) x and y of the inner pixels that are nearest to the vertices, in their order, each once."""
        height, width = self.inside.shape
        at = ring - self.low
        near = np.floor(at)[:, None] + [(x, y) for y in (0, -1, 1) for x in (0, -1, 1)]
        x, y = np.moveaxis(near, -1, 0).astype(np.int64)
        there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        there &= self.inside[y.clip(0, height - 1), x.clip(0, width - 1)]
        away = np.where(there, ((near + 0.5 - at[:, None]) ** 2).sum(-1), np.inf)
        best = away.argmin(1)
        found = near[np.arange(len(at)), best][np.isfinite(away.min(1))] + self.low
        return found[np.sort(np.unique(found, axis=0, return_index=True)[1])]


def _inside(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """(height, width) booleans: points with whole coordinates that an odd number of rings goes around.

    Drawing functions take the pixels on the outline, too, which are those of the neighbour; and know one ring.
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    down = start[:, 1] > end[:, 1]
    start, end = np.where(down[:, None], end, start), np.where(down[:, None], start, end)
    first, last = (np.ceil(y).clip(0, height).astype(np.int64) for y in (start[:, 1], end[:, 1]))
    rows = last - first  # that an edge crosses
    crossed = np.zeros((height, width + 1), np.uint8)  # only parity counts, so that it may overflow
    crossings = np.cumsum(rows)
    chunks = np.searchsorted(crossings, np.arange(_AT_ONCE, crossings[-1], _AT_ONCE))
    for edges in np.split(np.arange(len(rows)), chunks):
        edge = np.repeat(edges, rows[edges])
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(rows[edges]) - rows[edges], rows[edges])
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        column = np.ceil(start[edge, 0] + (row - start[edge, 1]) * slope).clip(0, width).astype(np.int64)
        np.add.at(crossed, (row, column), 1)
    return np.cumsum(crossed[:, :width], axis=1, dtype=np.uint8) % 2 == 1


def deepest_of(mask: np.ndarray) -> tuple[int, int]:
    """Column and row of the True, of which there is one, that is farthest from every False, and from the rim."""
    import cv2  # slow to import, and dots need none of it

    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    row, column = np.unravel_index(int(depth[1:-1, 1:-1].argmax()), mask.shape)
    return int(column), int(row)
