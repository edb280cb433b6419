"""Kernels of the exact solver: which suppliers compete for a pixel, and moving pixels along shortest paths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import helper, njit
from ..cpu.blocks import Ranges, block_of, take_best


@njit()
def screen_rivals(
    M: Any, rows: Any, f: Any, demanded: Any, width: float, ranges: Ranges, owner: Any, best: Any, rivals: Any
) -> None:  # fmt: skip
    """For each pixel the supplier of largest f - M (the smallest index of a tie), and who comes near it.

    Args:
        M: (K, N) costs.
        rows: suppliers that take part.
        f: (K,) prices.
        demanded: (N,) bool; other pixels get owner -1 and no rivals.
        width: how far behind the best a supplier still competes.
        ranges: see :class:`..cpu.blocks.Ranges`.
        owner: (N,) out.
        best: (N,) out: the largest f - M.
        rivals: (N,) out: suppliers that compete, the owner included.
    """
    for index in range(ranges.bounds[ranges.first], ranges.bounds[ranges.last]):
        block = block_of(M, index)
        start, stop = block.start, block.stop
        take_best(M, rows, f, block, best, owner)
        for j in range(start, stop):
            rivals[j] = 0
        for i in rows:
            for j in range(start, stop):
                rivals[j] += f[i] - M[i, j] >= best[j] - width
        for j in range(start, stop):
            if not demanded[j]:
                owner[j] = -1
                rivals[j] = 0


@njit()
def list_rivals(
    M: Any, f: Any, rows: Any, width: float, best: Any, pixels: Any, offsets: Any, suppliers: Any, costs: Any
) -> None:
    """Suppliers that compete for each of the given pixels, and their costs there, in compressed rows."""
    for p in range(pixels.size):
        entry = offsets[p]
        j = pixels[p]
        for i in rows:
            if M[i, j] < np.inf and f[i] - M[i, j] >= best[j] - width:
                suppliers[entry] = i
                costs[entry] = M[i, j]
                entry += 1


class Heaps(NamedTuple):
    """One skew heap per ordered pair of suppliers (i, k): the pixels of i that k competes for.

    Keys are ``M[k] - M[i]``, which no price changes. Pixels that left i are dropped when they come to the top.

    Attributes:
        root: (K, K) index of the top; -1 for an empty heap.
        gap: (K, K) key of the top, inf for an empty heap.
        key, pixel, left, right: what each node holds, and the nodes below it.
    """

    root: np.ndarray
    gap: np.ndarray
    key: np.ndarray
    pixel: np.ndarray
    left: np.ndarray
    right: np.ndarray


class Rivals(NamedTuple):
    """Contested pixels: who competes for pixel p stands from ``offsets[p]`` to ``offsets[p + 1]``.

    Attributes:
        owner: who holds each pixel.
        offsets: (pixels + 1,).
        suppliers, costs: rivals, the owner included, and their costs.
    """

    owner: np.ndarray
    offsets: np.ndarray
    suppliers: np.ndarray
    costs: np.ndarray


@helper()
def _merge(a: int, b: int, heaps: Heaps) -> int:
    """Join two skew heaps; -1 is the empty heap."""
    key, left, right = heaps.key, heaps.left, heaps.right
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


@helper()
def _offer(p: int, rivals: Rivals, used: int, heaps: Heaps) -> int:
    """Enter pixel p in the heap of every supplier that competes for it with its owner; returns the nodes in use."""
    own, own_cost = rivals.owner[p], 0.0
    for entry in range(rivals.offsets[p], rivals.offsets[p + 1]):
        if rivals.suppliers[entry] == own:
            own_cost = rivals.costs[entry]
    for entry in range(rivals.offsets[p], rivals.offsets[p + 1]):
        k = rivals.suppliers[entry]
        if k != own:
            heaps.key[used], heaps.pixel[used] = rivals.costs[entry] - own_cost, p
            heaps.left[used] = heaps.right[used] = -1
            heaps.root[own, k] = _merge(heaps.root[own, k], used, heaps)
            used += 1
    return used


@helper()
def _refresh(i: int, owner: Any, heaps: Heaps) -> None:
    """Drop pixels that left supplier i from the tops of its heaps; note the costs of its cheapest moves."""
    for k in range(heaps.root.shape[0]):
        top = heaps.root[i, k]
        while top >= 0 and owner[heaps.pixel[top]] != i:
            top = _merge(heaps.left[top], heaps.right[top], heaps)
        heaps.root[i, k] = top
        heaps.gap[i, k] = heaps.key[top] if top >= 0 else np.inf


@helper()
def _nearest_deficit(counts: Any, capacity: Any, f: Any, gap: Any, distance: Any, parent: Any, done: Any) -> int:
    """Dijkstra over the suppliers, from every surplus to the first deficit; -1 if none can be reached.

    An edge from i to k costs what moving i's cheapest pixel to k costs at the prices f, which is never negative.
    """
    K = f.size
    for i in range(K):
        distance[i] = 0.0 if counts[i] > capacity[i] else np.inf
        parent[i] = -1
        done[i] = False
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
def augment(
    capacity: Any, counts: Any, f: Any, rivals: Rivals, heaps: Heaps, distance: Any, parent: Any, done: Any
) -> bool:
    """Move contested pixels along successive shortest paths until no path leads from a surplus to a deficit.

    Args:
        capacity: (K,) integers.
        counts: (K,) pixels that each supplier holds, updated.
        f: (K,) prices, raised so that every pixel stays with a supplier of largest f - M among its rivals.
        rivals: the contested pixels, whose owners are updated.
        heaps: empty, with memory for K * K nodes more than there are rivals.
        distance, parent, done: (K,) memory.

    Returns:
        False if the heaps ran out of memory, which stale nodes fill: call again with empty ones.
    """
    K = f.size
    used = 0
    for p in range(rivals.owner.size):
        used = _offer(p, rivals, used, heaps)
    for i in range(K):
        _refresh(i, rivals.owner, heaps)
    while True:
        if used + K * K > heaps.key.size:
            return False
        end = _nearest_deficit(counts, capacity, f, heaps.gap, distance, parent, done)
        if end < 0:
            return True
        for i in range(K):
            f[i] += min(distance[i], distance[end])
        k = end
        counts[end] += 1
        while parent[k] >= 0:  # from the end of the path: what moves to k was read before its owner lost it
            p = heaps.pixel[heaps.root[parent[k], k]]
            rivals.owner[p] = k
            used = _offer(p, rivals, used, heaps)
            k = parent[k]
        counts[k] -= 1
        k = end
        while k >= 0:
            _refresh(k, rivals.owner, heaps)
            k = parent[k]
