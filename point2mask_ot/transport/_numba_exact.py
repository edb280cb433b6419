"""Kernels of the exact solver: which suppliers compete for a pixel, and moving pixels along shortest paths."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._jit import njit
from ._numba import BLOCK, take_best


@njit()
def screen_rivals(
    M: Any, f: Any, demanded: Any, rows: Any, width: float, bounds: Any, first: int, last: int,
    owner: Any, best: Any, rivals: Any,
) -> None:  # fmt: skip
    """For each pixel the supplier of largest f - M (the smallest index of a tie), and who comes near it.

    Args:
        M: (K, N) costs.
        f: (K,) prices.
        demanded: (N,) bool; other pixels get owner -1 and no rivals.
        rows: suppliers that take part.
        width: how far behind the best a supplier still competes.
        bounds, first, last: blocks of each range, and the ranges to do.
        owner: (N,) out.
        best: (N,) out: the largest f - M.
        rivals: (N,) out: suppliers that compete, the owner included.
    """
    N = M.shape[1]
    for block in range(bounds[first], bounds[last]):
        start = block * BLOCK
        stop = min(start + BLOCK, N)
        best[start:stop] = -np.inf
        owner[start:stop] = -1
        rivals[start:stop] = 0
        for i in rows:
            take_best(M[i, start:stop], f[i], i, best[start:stop], owner[start:stop])
        for i in rows:
            for j in range(start, stop):
                rivals[j] += f[i] - M[i, j] >= best[j] - width
        for j in range(start, stop):
            if not demanded[j]:
                owner[j] = -1
                rivals[j] = 0


@njit()
def list_rivals(M: Any, f: Any, rows: Any, width: float, best: Any, pixels: Any, offsets: Any) -> Any:
    """Suppliers that compete for each of the given pixels, and their costs there, in compressed rows."""
    suppliers = np.empty(offsets[-1], np.int32)
    costs = np.empty(offsets[-1])
    for p in range(pixels.size):
        entry = offsets[p]
        j = pixels[p]
        for i in rows:
            if M[i, j] < np.inf and f[i] - M[i, j] >= best[j] - width:
                suppliers[entry] = i
                costs[entry] = M[i, j]
                entry += 1
    return suppliers, costs


@njit()
def _merge(a: int, b: int, key: Any, left: Any, right: Any) -> int:
    """Join two skew heaps; -1 is the empty heap."""
    if a < 0 or b < 0:
        return max(a, b)
    if key[b] < key[a]:
        a, b = b, a
    root = a
    while True:
        below = right[a]
        right[a] = left[a]
        if below < 0:
            left[a] = b
            return root
        if key[b] < key[below]:
            below, b = b, below
        left[a] = below
        a = below


@njit()
def _grown(array: Any) -> Any:
    larger = np.empty(2 * array.size, array.dtype)
    larger[: array.size] = array
    return larger


@njit()
def _nearest_deficit(counts: Any, capacity: Any, f: Any, gap: Any, distance: Any, parent: Any) -> int:
    """Dijkstra over the suppliers, from every surplus to the first deficit; -1 if none can be reached.

    An edge from i to k costs what moving i's cheapest pixel to k costs at the prices f, which is never negative.
    """
    K = f.size
    done = np.zeros(K, np.bool_)
    for i in range(K):
        distance[i] = 0.0 if counts[i] > capacity[i] else np.inf
        parent[i] = -1
    while True:
        here = -1
        for i in range(K):
            if not done[i] and distance[i] < np.inf and (here < 0 or distance[i] < distance[here]):
                here = i
        if here < 0 or counts[here] < capacity[here]:
            return here
        done[here] = True
        for k in range(K):
            if not done[k] and gap[here, k] < np.inf:
                through = distance[here] + max(gap[here, k] + f[here] - f[k], 0.0)
                if through < distance[k]:
                    distance[k] = through
                    parent[k] = here


@njit()
def augment(capacity: Any, counts: Any, f: Any, owner: Any, offsets: Any, suppliers: Any, costs: Any) -> bool:
    """Move contested pixels along successive shortest paths until every supplier holds its capacity.

    One heap per ordered pair (i, k) holds the pixels of i that k competes for, by ``M[k] - M[i]``, a key that no
    price changes. Pixels that left i are dropped when they come to the top.

    Args:
        capacity: (K,) integers.
        counts: (K,) pixels that each supplier holds, updated.
        f: (K,) prices, raised so that every pixel stays with a supplier of largest f - M among its rivals.
        owner: owner of each contested pixel, updated.
        offsets, suppliers, costs: rivals of each contested pixel (see :func:`list_rivals`).

    Returns:
        Whether every capacity was met; if not, no path leads from a surplus to a deficit.
    """
    K = f.size
    key = np.empty(suppliers.size + 16)
    pixel = np.empty(key.size, np.int32)
    left = np.empty(key.size, np.int32)
    right = np.empty(key.size, np.int32)
    used = 0
    heap = np.full((K, K), -1, np.int64)
    gap = np.full((K, K), np.inf)
    distance, parent = np.empty(K), np.empty(K, np.int64)
    moved, holder = np.empty(K, np.int64), np.empty(K, np.int64)
    for p in range(owner.size):
        used = _offer(p, owner[p], offsets, suppliers, costs, used, key, pixel, left, right, heap)
    for i in range(K):
        _refresh(i, owner, key, pixel, left, right, heap, gap)
    while True:
        end = _nearest_deficit(counts, capacity, f, gap, distance, parent)
        if end < 0:
            return not (counts > capacity).any()
        for i in range(K):
            f[i] += min(distance[i], distance[end])
        waiting = 0
        k = end
        while parent[k] >= 0:
            moved[waiting], holder[waiting] = pixel[heap[parent[k], k]], k
            waiting += 1
            k = parent[k]
        counts[k] -= 1
        counts[end] += 1
        for step in range(waiting):
            p = moved[step]
            owner[p] = holder[step]
            if used + offsets[p + 1] - offsets[p] > key.size:
                key, pixel, left, right = _grown(key), _grown(pixel), _grown(left), _grown(right)
            used = _offer(p, owner[p], offsets, suppliers, costs, used, key, pixel, left, right, heap)
        for step in range(waiting):
            _refresh(holder[step], owner, key, pixel, left, right, heap, gap)
        _refresh(k, owner, key, pixel, left, right, heap, gap)


@njit()
def _offer(
    p: int, own: int, offsets: Any, suppliers: Any, costs: Any, used: int,
    key: Any, pixel: Any, left: Any, right: Any, heap: Any,
) -> int:  # fmt: skip
    """Enter pixel p, held by ``own``, in the heap of every other supplier that competes for it."""
    own_cost = 0.0
    for entry in range(offsets[p], offsets[p + 1]):
        if suppliers[entry] == own:
            own_cost = costs[entry]
    for entry in range(offsets[p], offsets[p + 1]):
        k = suppliers[entry]
        if k != own:
            key[used], pixel[used], left[used], right[used] = costs[entry] - own_cost, p, -1, -1
            heap[own, k] = _merge(heap[own, k], used, key, left, right)
            used += 1
    return used


@njit()
def _refresh(i: int, owner: Any, key: Any, pixel: Any, left: Any, right: Any, heap: Any, gap: Any) -> None:
    """Drop pixels that left supplier i from the tops of its heaps; note the costs of its cheapest moves."""
    for k in range(heap.shape[0]):
        top = heap[i, k]
        while top >= 0 and owner[pixel[top]] != i:
            top = _merge(left[top], right[top], key, left, right)
        heap[i, k] = top
        gap[i, k] = key[top] if top >= 0 else np.inf
