"""Comparing a map with its shifted self, one pass over the channels (compiled)."""

from __future__ import annotations

import numpy as np

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
def _share(own, other, weight, kind, zero):  # type: ignore[no-untyped-def]
    """What a pair of this weight pulls at one of its ends."""
    if kind == L1:
        return (weight if own > other else zero) - (weight if own < other else zero)
    if kind == DOT:
        return weight * other
    own, other, half = max(own, zero), max(other, zero), weight / 2
    return (half if own > other else zero) + (half if own >= other else zero)


@njit()
def _pull_inside(total, own, weights, width, first, last, kind):  # type: ignore[no-untyped-def]
    """Where all 8 neighbours have an index. Unsigned ones, as those below zero would have to be told apart."""
    zero = own.dtype.type(0)
    a, b, c, d = np.uint64(1), np.uint64(width - 1), np.uint64(width), np.uint64(width + 1)  # grid.FORWARD_OFFSETS
    for i in range(np.uint64(first), np.uint64(last)):
        total[i] = (
            _share(own[i], own[i + a], weights[0, i], kind, zero)
            + _share(own[i], own[i - a], weights[0, i - a], kind, zero)
            + _share(own[i], own[i + b], weights[1, i], kind, zero)
            + _share(own[i], own[i - b], weights[1, i - b], kind, zero)
            + _share(own[i], own[i + c], weights[2, i], kind, zero)
            + _share(own[i], own[i - c], weights[2, i - c], kind, zero)
            + _share(own[i], own[i + d], weights[3, i], kind, zero)
            + _share(own[i], own[i - d], weights[3, i - d], kind, zero)
        )


@njit()
def _pull_outside(total, own, weights, width, first, last, kind):  # type: ignore[no-untyped-def]
    """The same for the first and last pixels, which lack some."""
    zero = own.dtype.type(0)
    for i in range(first, last):
        total[i] = zero
        for index, offset in enumerate((1, width - 1, width, width + 1)):
            if i + offset < own.size:
                total[i] += _share(own[i], own[i + offset], weights[index, i], kind, zero)
            if i >= offset:
                total[i] += _share(own[i], own[i - offset], weights[index, i - offset], kind, zero)


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
            begin = min(max(first, width + 1), last)
            end = max(begin, min(last, pixels - width - 1))
            _pull_outside(gradient[c], image[c], weights, width, first, begin, kind)
            _pull_inside(gradient[c], image[c], weights, width, begin, end, kind)
            _pull_outside(gradient[c], image[c], weights, width, end, last, kind)
            if kind == MAX:
                _drop_negative(gradient[c, first:last], image[c, first:last])
