"""Shapes as drawing tools have them, to pixels of a target and its rough size.

Everything that comes in here lies where drawing tools put it: 0, 0 is the corner of the picture, and the centre of its
first pixel is .5, .5. What goes out has that centre at 0, 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .insides import Grid, deepest_of
from .marks import Point, Shape

BOX_FILL = 0.8
"""How much of its box an object fills: pi / 4 if it is an ellipse, more if not."""
_CELLS, _PIXELS = 2**10, 2**13
"""To a side of the grid on which the inside of an outline is looked for, and that of vertices."""

_FEW = 8
"""Pixels in an outline, whose number says little of its area."""
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
    grid = Grid([ring], _PIXELS)
    pixels = grid.beside(ring) + 0.5 if grid.step == 1 else ring
    return Shape(_centred(pixels if len(pixels) else ring, size), *_extent(area(ring), grid))


def outline(rings: Sequence[np.ndarray], size: Size = None, *, told: float | None = None, holes: float = 0.0) -> Shape:
    """Outlines of an object's parts and of holes in them: the pixel deepest inside, and the area, if it is not told.

    Args:
        rings: (N, 2) x and y of each.
        size: of the picture.
        told: the area, as the file has it.
        holes: of the area of all rings, what is to be taken off.
    """
    grid = Grid(rings, _CELLS)
    deepest = grid.deepest()
    at = rings[0][0] if deepest is None else deepest
    extent = _extent(sum(area(ring) for ring in rings) - holes, grid) if told is None else (told, "")
    return Shape(_centred(at[None], size), *extent)


def _extent(size: float, grid: Grid) -> tuple[float, str]:
    """What outlines go around, whose parts cancel where they cross themselves; and what is odd about it."""
    inside = float(np.count_nonzero(grid.inside)) * grid.step**2
    if size < inside / 2 and inside > _FEW:
        return inside, f"an outline that crosses itself; its size is that of the {inside:.6g} pixels in it"
    return size, ""


def region(mask: np.ndarray, left: int = 0, top: int = 0) -> Shape | None:
    """(H, W) booleans, from a column and a row of the picture on: the pixel deepest inside, and how many there are."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = deepest_of(box)
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
