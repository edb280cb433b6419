"""Comparing a map with its shifted self, one pass over the channels (compiled)."""

from __future__ import annotations

from ..compiled.jit import njit

L1, DOT, MAX = 0, 1, 2
"""As :mod:`.pairs` counts them."""

_BLOCK = 2048
"""Pixels whose four sums stay in cache while all channels are added."""


@njit()
def _accumulate(total, here, there, kind):  # type: ignore[no-untyped-def]
    for i in range(total.size):
        if kind == L1:
            total[i] += abs(here[i] - there[i])
        elif kind == DOT:
            total[i] += here[i] * there[i]
        else:
            total[i] += max(here[i], there[i])


@njit()
def compare_pixels(image, kind, pairs, width, start, stop):  # type: ignore[no-untyped-def]
    """Compare, summed over the channels, both ends of every pair that begins at the pixels [start, stop).

    The map is read from memory once and never copied. Rows are passed over as if they were one: short ones leave
    vectors unfilled. Pairs that leave the image sideways then end in another row, and are set to zero afterwards.

    Args:
        image: (C, H * W) float32 or float64.
        kind: L1 distance, DOT product, or MAX, the larger of both.
        pairs: (4, H * W) of the same dtype, zero.
        width: W.
        start, stop: multiples of W.
    """
    channels, pixels = image.shape
    for first in range(start, stop, _BLOCK):
        last = min(first + _BLOCK, stop)
        for c in range(channels):
            for index, offset in enumerate((1, width - 1, width, width + 1)):  # grid.FORWARD_OFFSETS
                end = max(first, min(last, pixels - offset))
                ends = image[c, first + offset : end + offset]
                _accumulate(pairs[index, first:end], image[c, first:end], ends, kind)
    for row in range(start, stop, width):
        pairs[1, row] = 0
        pairs[0, row + width - 1] = pairs[3, row + width - 1] = 0


@njit()
def add_squares(image, total):  # type: ignore[no-untyped-def]
    """Add the squared lengths of the vectors along the channels of (C, N) to (N,)."""
    channels, pixels = image.shape
    for first in range(0, pixels, _BLOCK):
        last = min(first + _BLOCK, pixels)
        for c in range(channels):
            _accumulate(total[first:last], image[c, first:last], image[c, first:last], DOT)


@njit()
def _pull(total, own, other, weight, kind):  # type: ignore[no-untyped-def]
    if kind == L1:
        for i in range(total.size):
            total[i] += weight[i] * (own[i] > other[i]) - weight[i] * (own[i] < other[i])
    elif kind == DOT:
        for i in range(total.size):
            total[i] += weight[i] * other[i]
    else:
        half, zero = total.dtype.type(0.5), total.dtype.type(0)
        for i in range(total.size):
            x, y, pull = max(own[i], zero), max(other[i], zero), half * weight[i]
            total[i] += pull * (x > y) + pull * (x >= y)


@njit()
def _drop_negative(total, own):  # type: ignore[no-untyped-def]
    zero = total.dtype.type(0)
    for i in range(total.size):
        total[i] = zero if own[i] < 0 else total[i]


@njit()
def pull_pixels(image, kind, weights, gradient, width, start, stop):  # type: ignore[no-untyped-def]
    """The derivative of a weighted sum of :func:`compare_pixels` by the pixels [start, stop).

    Where both ends are equal, L1 pulls neither and MAX both by half. MAX takes values below zero for zero, and pulls at
    none of them.

    Args:
        image: (C, H * W) float32 or float64.
        kind: L1, DOT or MAX.
        weights: (4, H * W) of the same dtype, of each pair; 0 for those that leave the image.
        gradient: (C, H * W) of the same dtype: the result.
        width: W.
        start, stop: the pixels.
    """
    channels, pixels = image.shape
    for first in range(start, stop, _BLOCK):
        last = min(first + _BLOCK, stop)
        for c in range(channels):
            gradient[c, first:last] = 0
            for index, offset in enumerate((1, width - 1, width, width + 1)):  # grid.FORWARD_OFFSETS
                end = max(first, min(last, pixels - offset))
                ends, pull = image[c, first + offset : end + offset], weights[index, first:end]
                _pull(gradient[c, first:end], image[c, first:end], ends, pull, kind)
                begin = min(last, max(first, offset))
                ends, pull = image[c, begin - offset : last - offset], weights[index, begin - offset : last - offset]
                _pull(gradient[c, begin:last], image[c, begin:last], ends, pull, kind)
            if kind == MAX:
                _drop_negative(gradient[c, first:last], image[c, first:last])
