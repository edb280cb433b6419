"""The first of the smallest or largest over the leading axis, how large labels are and where they lie (compiled)."""

from __future__ import annotations

import numpy as np

from ..compiled.jit import njit

_BLOCK = 4096
"""Pixels whose best values and labels stay in cache while the planes go by."""


@njit()
def _improve(plane, index, largest, best, label):  # type: ignore[no-untyped-def]
    # No branch in the loop: where labels change from pixel to pixel a processor would guess wrong every time.
    if largest:
        for i in range(plane.size):
            better = plane[i] > best[i]
            best[i] = plane[i] if better else best[i]
            label[i] = index if better else label[i]
    else:
        for i in range(plane.size):
            better = plane[i] < best[i]
            best[i] = plane[i] if better else best[i]
            label[i] = index if better else label[i]


@njit()
def first_extreme(values, largest, best, label):  # type: ignore[no-untyped-def]
    """Value and index of the first smallest (or largest) entry of every column, in one pass over memory.

    Args:
        values: (K, N) float32 or float64, K >= 1, no NaN.
        largest: look for the largest.
        best: (N,) of that dtype, written.
        label: (N,) int64, written.
    """
    narrow = np.empty(_BLOCK, np.int32)  # as wide as a float32, so that both fill the same vectors
    for start in range(0, best.size, _BLOCK):
        stop = min(start + _BLOCK, best.size)
        own, found, top, first = narrow[: stop - start], label[start:stop], best[start:stop], values[0, start:stop]
        own[:] = 0
        for j in range(own.size):  # to assign one slice to another takes two seconds to compile
            top[j] = first[j]
        for k in range(1, len(values)):
            _improve(values[k, start:stop], np.int32(k), largest, top, own)
        for j in range(own.size):
            found[j] = own[j]


@njit()
def extents(labels, bounds):  # type: ignore[no-untyped-def]
    """First row, first column, last row and last column of each label.

    Args:
        labels: (H, W) int64 below K, -1 for nobody.
        bounds: (K, 4) int64, written; the last lie before the first for a label of none.
    """
    height, width = labels.shape
    bounds[:, :2] = max(height, width)
    bounds[:, 2:] = -1
    for i in range(height):
        for j in range(width):
            k = labels[i, j]
            if k >= 0:
                bounds[k, 0] = min(bounds[k, 0], i)
                bounds[k, 1] = min(bounds[k, 1], j)
                bounds[k, 2] = i
                bounds[k, 3] = max(bounds[k, 3], j)


@njit()
def areas(labels, found):  # type: ignore[no-untyped-def]
    """Pixels of each label.

    Args:
        labels: (N,) int64 below K, -1 for nobody.
        found: (K,) int64 zeros, added to.
    """
    for label in labels:
        if label >= 0:
            found[label] += 1


@njit()
def moments(labels, found):  # type: ignore[no-untyped-def]
    """Pixels of each label, and the sums of their rows and of their columns.

    Args:
        labels: (H, W) int64 below K, -1 for nobody.
        found: (3, K) int64 zeros, added to.
    """
    area, rows, columns = found[0], found[1], found[2]
    height, width = labels.shape
    for i in range(height):
        for j in range(width):
            k = labels[i, j]
            if k >= 0:
                area[k] += 1
                rows[k] += i
                columns[k] += j


@njit()
def contenders(cost, price, sway, label, demand, wanted, kept):  # type: ignore[no-untyped-def]
    """Count pixels for those whose price - cost is within ``sway`` of their label's.

    Args:
        cost: (K, N) float32 or float64.
        price: (K,) of that dtype.
        sway: of that dtype.
        label: (N,) int64; the first stands for nobody, -1.
        demand: (N,) bool, pixels that count.
        wanted: (K,) int64 of zeros, written: pixels that each contends for.
        kept: (K,) int64 of zeros, written: those of each label for which nobody else does.
    """
    least, rivals = np.empty(_BLOCK, cost.dtype), np.empty(_BLOCK, np.int32)
    for start in range(0, label.size, _BLOCK):
        stop = min(start + _BLOCK, label.size)
        for i in range(stop - start):
            k = max(label[start + i], 0)
            least[i] = price[k] - cost[k, start + i] - sway if demand[start + i] else np.inf
            rivals[i] = 0
        for k in range(len(cost)):
            wanted[k] += _count_wants(cost[k, start:stop], price[k], least, rivals)
        for i in range(start, stop):
            if label[i] >= 0 and rivals[i - start] == 1:
                kept[label[i]] += 1


@njit()
def _count_wants(cost, price, least, rivals):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for i in range(cost.size):
        wants = np.int32(price - cost[i] >= least[i])
        rivals[i] += wants
        count += wants
    return count
