"""Shapes as drawing tools have them, to pixels of a target and its rough size.

Everything that comes in here lies where drawing tools put it: 0, 0 is the corner of the picture, and the centre of its
first pixel is .5, .5. What goes out has that centre at 0, 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .marks import Point, Shape

BOX_FILL = 0.8
"""How much of its box an object fills: pi / 4 if it is an ellipse, more if not."""
_CELLS, _PIXELS = 2**10, 2**13
"""To a side of the grid on which the inside of an outline is looked for, and that of vertices."""

_AT_ONCE = 2**20
"""Crossings of edges and rows that are looked at together."""

Size = tuple[int, int] | None
"""(H, W) of the picture; None where nobody says."""


def points(xy: np.ndarray, size: Size = None) -> Shape:
    """A dot, several, or the vertices of a line: (N, 2) x and y."""
    return Shape(_centred(xy, size))


def box(x: float, y: float, width: float, height: float, *, size: Size = None, angle: float = 0.0) -> Shape:
    """A rectangle by its first corner, which it is turned around by ``angle`` degrees: its centre, and most of it."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    centre = x + (width * cos - height * sin) / 2, y + (width * sin + height * cos) / 2
    return Shape(_centred(np.array([centre]), size), BOX_FILL * abs(width * height))


def ellipse(x: float, y: float, radius_x: float, radius_y: float, *, size: Size = None) -> Shape:
    """Its centre and its area."""
    return Shape(_centred(np.array([[x, y]]), size), math.pi * abs(radius_x * radius_y))


def polygon(ring: np.ndarray, size: Size = None) -> Shape:
    """(N, 2) x and y around an object: its vertices, each moved to a pixel inside, and the area.

    A vertex between two objects is nobody's pixel, or both's.
    """
    grid = _Grid([ring], _PIXELS)
    pixels = grid.beside(ring) + 0.5 if grid.step == 1 else ring
    return Shape(_centred(pixels if len(pixels) else ring, size), area(ring))


def outline(rings: Sequence[np.ndarray], size: Size = None, told: float | None = None) -> Shape:
    """Outlines of an object's parts and of holes in them: the pixel deepest inside, and the area, if it is not told."""
    deepest = _Grid(rings, _CELLS).deepest()
    at = rings[0][0] if deepest is None else deepest
    return Shape(_centred(at[None], size), sum(area(ring) for ring in rings) if told is None else told)


def region(mask: np.ndarray, left: int = 0, top: int = 0) -> Shape | None:
    """(H, W) booleans, from a column and a row of the picture on: the pixel deepest inside, and how many there are."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = _deepest(box)
    return Shape([(float(x + columns[0] + left), float(y + rows[0] + top))], float(np.count_nonzero(box)))


def area(ring: np.ndarray) -> float:
    """What a closed ring of (N, 2) points goes around."""
    x, y = (ring - ring[:1]).T  # far from the origin, products would lose what they differ by
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _centred(xy: np.ndarray, size: Size) -> list[Point]:
    """Corner to centre. The far border belongs to the last pixel, as the near one does to the first."""
    if size is not None:
        last = np.array([size[1], size[0]], float)
        xy = np.where((xy <= last) & (xy > last - 0.5), last - 0.5, xy)
    return [(float(x), float(y)) for x, y in xy - 0.5]


class _Grid:
    """Which pixels in an outline's box lie inside; which cells of several, where a side has more than ``most``."""

    def __init__(self, rings: Sequence[np.ndarray], most: int) -> None:
        corners = np.concatenate(rings)
        self.low = np.floor(corners.min(0))
        span = corners.max(0) - self.low
        self.step = max(1.0, float(span.max()) / most)
        width, height = (int(side) for side in np.floor(span / self.step) + 1)
        self.inside = _inside([(ring - self.low) / self.step - 0.5 for ring in rings], height, width)

    def deepest(self) -> np.ndarray | None:
        """x and y of the cell farthest from the outline, None if none has its centre inside."""
        return self.low + (np.array(_deepest(self.inside)) + 0.5) * self.step if self.inside.any() else None

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
    for edges in np.split(
        np.arange(len(rows)), np.searchsorted(crossings, np.arange(_AT_ONCE, crossings[-1], _AT_ONCE))
    ):
        edge = np.repeat(edges, rows[edges])
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(rows[edges]) - rows[edges], rows[edges])
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        column = np.ceil(start[edge, 0] + (row - start[edge, 1]) * slope).clip(0, width).astype(np.int64)
        np.add.at(crossed, (row, column), 1)
    return np.cumsum(crossed[:, :width], axis=1, dtype=np.uint8) % 2 == 1


def _deepest(mask: np.ndarray) -> tuple[int, int]:
    """Column and row of the True, of which there is one, that is farthest from every False, and from the rim."""
    import cv2  # slow to import, and dots need none of it

    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    row, column = np.unravel_index(int(depth[1:-1, 1:-1].argmax()), mask.shape)
    return int(column), int(row)
