"""The 8-connected pixel graph, stored as its forward half.

Every undirected edge of the graph is kept once, at the pixel from which the neighbour lies *forward* in
raster order.  An edge tensor therefore has four channels, in the order of :data:`FORWARD_OFFSETS`.
"""

from __future__ import annotations

FORWARD_OFFSETS: tuple[tuple[int, int], ...] = ((0, 1), (1, -1), (1, 0), (1, 1))
"""(dy, dx) of the forward neighbours: right, down-left, down, down-right."""


def pair_slices(offset: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Index both ends of all pairs of pixels that lie ``offset`` apart inside the image.

    Args:
        offset: (dy, dx) with ``dy >= 0``.

    Returns:
        ``(here, there)``, two (row, column) slice pairs of equal shape: ``image[..., *here]`` is the first
        pixel of every pair and ``image[..., *there]`` its neighbour.

    Example:
        >>> import numpy as np
        >>> here, there = pair_slices((0, 1))
        >>> image = np.array([[1, 2, 4]])
        >>> (image[there] - image[here]).tolist()
        [[1, 2]]
    """
    dy, dx = offset
    rows_here, rows_there = slice(0, -dy or None), slice(dy, None)
    if dx >= 0:
        return (rows_here, slice(0, -dx or None)), (rows_there, slice(dx, None))
    return (rows_here, slice(-dx, None)), (rows_there, slice(0, dx))
