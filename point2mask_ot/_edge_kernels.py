"""Comparing a map with its shifted self, one pass over the channels (compiled)."""

from __future__ import annotations

from ._jit import njit

# The slices spell out grid.FORWARD_OFFSETS: right, down-left, down, down-right.


@njit()
def _accumulate(total, here, there, dot):  # type: ignore[no-untyped-def]
    for x in range(total.size):
        total[x] += here[x] * there[x] if dot else abs(here[x] - there[x])


@njit()
def compare_rows(image, dot, pairs, start, stop):  # type: ignore[no-untyped-def]
    """Add, over the channels, |here - there| or here * there to every pair that begins in rows [start, stop).

    A row of the map and the one below it stay in cache while their four sums are formed, so the map is read
    from memory once and never copied.

    Args:
        image: (C, H, W) float32 or float64.
        dot: inner product instead of L1 distance.
        pairs: (4, H, W) of the same dtype, zero at the pairs inside the image.
        start, stop: rows.
    """
    channels, height, width = image.shape
    for y in range(start, stop):
        for c in range(channels):
            here = image[c, y]
            _accumulate(pairs[0, y, : width - 1], here[: width - 1], here[1:], dot)
            if y + 1 < height:
                below = image[c, y + 1]
                _accumulate(pairs[1, y, 1:], here[1:], below[: width - 1], dot)
                _accumulate(pairs[2, y], here, below, dot)
                _accumulate(pairs[3, y, : width - 1], here[: width - 1], below[1:], dot)
