"""Minimum spanning tree of a picture and the two passes of the tree filter, for one image (compiled).

Pixels are numbered in raster order, edges by ``2 * pixel`` (to the right neighbour) and ``2 * pixel + 1`` (down).
Directions are right 0, down 1, left 2, up 3, so that the way back from d is ``d ^ 2``.
"""

from __future__ import annotations

import numpy as np

from ..compiled.jit import njit

LANES = 8
"""Channels filtered together: one vector register of float32, two of float64."""

_BLOCK = 256  # pixels transposed at a time
_DIGIT_BITS = 11  # three digits cover a float32, and the counters of all three fit the first-level cache
_DIGITS = 1 << _DIGIT_BITS


@njit()
def colour_distances(image, valid, distances):  # type: ignore[no-untyped-def]
    """Squared L2 distance of the colours at both ends of every edge; +inf at the border and at invalid pixels.

    Args:
        image: (D, H, W) of any real dtype.
        valid: (H, W) bool.
        distances: (2, H, W) float32 or float64, zero: right and down edges, out.
    """
    channels, height, width = image.shape
    real = distances.dtype.type
    for y in range(height):
        for c in range(channels):
            row = image[c, y]
            for x in range(width - 1):
                difference = real(row[x]) - real(row[x + 1])
                distances[0, y, x] += difference * difference
            if y + 1 < height:
                below = image[c, y + 1]
                for x in range(width):
                    difference = real(row[x]) - real(below[x])
                    distances[1, y, x] += difference * difference
    distances[0, :, width - 1] = np.inf
    distances[1, height - 1] = np.inf
    for y in range(height):
        for x in range(width):
            if not valid[y, x]:
                distances[:, y, x] = np.inf
                if x > 0:
                    distances[0, y, x - 1] = np.inf
                if y > 0:
                    distances[1, y - 1, x] = np.inf


@njit()
def spanning_edges(distances, keys):  # type: ignore[no-untyped-def]
    """The minimum spanning tree; of equally light edges the smaller number is lighter.

    Every pixel's lightest edge belongs to the tree (the first round of Boruvka). Contracting those leaves about a
    quarter of the vertices and half of the edges to Kruskal.

    Args:
        distances: (2, H, W) edge weights >= 0; +inf inside the image is an edge like any other.
        keys: the same memory as unsigned integers, which sort as the floats do.

    Returns:
        (N,) uint8: bit d is set where the tree has an edge from the pixel in direction d.
    """
    _, height, width = distances.shape
    links = np.zeros(height * width, np.uint8)
    component, count = _join_lightest(distances, links)
    weights, edges = _crossing_edges(keys, component)
    _kruskal(_sorted_by_weight(weights, edges), component, count, width, links)
    _link_both_ends(links.reshape(height, width))
    return links


@njit()
def _join_lightest(distances, links):  # type: ignore[no-untyped-def]
    """Mark each pixel's lightest edge in ``links``; number the components that these edges form."""
    _, height, width = distances.shape
    right, down = distances[0], distances[1]
    chosen = np.empty(height * width, np.int32)
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            lightest, toward, link = right.dtype.type(np.inf), pixel, 0
            # Ascending edge numbers, so that the smallest wins a tie and no cycle longer than two can close.
            if y > 0 and down[y - 1, x] < lightest:
                lightest, toward, link = down[y - 1, x], pixel - width, 8
            if x > 0 and right[y, x - 1] < lightest:
                lightest, toward, link = right[y, x - 1], pixel - 1, 4
            if right[y, x] < lightest:
                lightest, toward, link = right[y, x], pixel + 1, 1
            if down[y, x] < lightest:
                toward, link = pixel + width, 2
            chosen[pixel] = toward
            links[pixel] = link
    root = np.empty_like(chosen)
    for pixel in range(root.size):  # of two pixels that chose each other the first is the root
        toward = chosen[pixel]
        root[pixel] = pixel if (chosen[toward] == pixel) & (pixel < toward) else toward
    number = chosen
    count = 0
    for pixel in range(root.size):
        number[pixel] = count
        count += root[pixel] == pixel
    for pixel in range(root.size):  # most chains are short: one halving without branches leaves few to walk
        root[pixel] = root[root[pixel]]
    for pixel in range(root.size):
        top = root[pixel]
        while root[top] != top:
            root[top] = root[root[top]]
            top = root[top]
        root[pixel] = top
    for pixel in range(root.size):
        root[pixel] = number[root[pixel]]
    return root, count


@njit()
def _crossing_edges(keys, component):  # type: ignore[no-untyped-def]
    """Weights and numbers of the edges between different components, in ascending order of their numbers."""
    _, height, width = keys.shape
    weights = np.empty(2 * height * width + 1, keys.dtype)
    edges = np.empty(2 * height * width + 1, np.int32)
    found = 0
    for y in range(height):
        for x in range(width):
            pixel = y * width + x
            # Written always and kept by advancing: a branch here would be a coin toss.
            if x + 1 < width:
                weights[found], edges[found] = keys[0, y, x], 2 * pixel
                found += component[pixel] != component[pixel + 1]
            if y + 1 < height:
                weights[found], edges[found] = keys[1, y, x], 2 * pixel + 1
                found += component[pixel] != component[pixel + width]
    return weights[:found], edges[:found]


@njit()
def _sorted_by_weight(weights, edges):  # type: ignore[no-untyped-def]
    """``edges`` by ascending weight, equal weights in the given order (radix sort; overwrites its arguments)."""
    digits = (8 * weights.itemsize + _DIGIT_BITS - 1) // _DIGIT_BITS
    mask = weights.dtype.type(_DIGITS - 1)
    start = np.zeros((digits, _DIGITS + 1), np.int32)
    for weight in weights:
        for digit in range(digits):
            start[digit, ((weight >> weights.dtype.type(digit * _DIGIT_BITS)) & mask) + 1] += 1
    other_weights, other_edges = np.empty_like(weights), np.empty_like(edges)
    for digit in range(digits):
        shift = weights.dtype.type(digit * _DIGIT_BITS)
        place = start[digit]
        for value in range(_DIGITS):
            place[value + 1] += place[value]
        for i in range(weights.size):
            value = (weights[i] >> shift) & mask
            other_weights[place[value]], other_edges[place[value]] = weights[i], edges[i]
            place[value] += 1
        weights, other_weights = other_weights, weights
        edges, other_edges = other_edges, edges
    return edges


@njit()
def _kruskal(edges, component, count, width, links):  # type: ignore[no-untyped-def]
    """Mark in ``links`` the edges, lightest first, that join two of the ``count`` components.

    The smaller of two sets takes the label of the larger, so a lookup is one load and never a walk.
    """
    label = np.arange(count).astype(np.int32)
    following = label.copy()  # each set as a ring
    size = np.ones(count, np.int32)
    missing = count - 1
    for edge in edges:
        pixel, direction = edge >> 1, edge & 1
        large = label[component[pixel]]
        small = label[component[pixel + (width if direction else 1)]]
        if large == small:
            continue
        if size[large] < size[small]:
            large, small = small, large
        member = small
        while True:
            label[member] = large
            member = following[member]
            if member == small:
                break
        following[large], following[small] = following[small], following[large]
        size[large] += size[small]
        links[pixel] |= np.uint8(1 << direction)
        missing -= 1
        if missing == 0:
            break


@njit()
def _link_both_ends(links):  # type: ignore[no-untyped-def]
    """Make each edge known at both of its pixels. (H, W), in place."""
    height, width = links.shape
    for y in range(height):
        for x in range(width - 1):
            joined = (links[y, x] & 1) | ((links[y, x + 1] >> 2) & 1)
            links[y, x] |= joined
            links[y, x + 1] |= joined << 2
        if y + 1 < height:
            for x in range(width):
                joined = (links[y, x] & 2) | ((links[y + 1, x] >> 2) & 2)
                links[y, x] |= joined
                links[y + 1, x] |= joined << 2


@njit()
def preorder(links, distances, order, parent, distance):  # type: ignore[no-untyped-def]
    """Walk the tree from pixel 0, left turns first, and write down its nodes in depth-first preorder.

    Args:
        links: (N,) edges of the tree, from :func:`spanning_edges`.
        distances: (2, H, W) edge weights.
        order: (N,) int32, out: pixel of each node.
        parent: (N,) int32, out: pixel of its parent; the root, pixel 0, is its own.
        distance: (N,) out: weight of the edge to the parent; 0 at the root.
    """
    _, height, width = distances.shape
    weights = distances.reshape(-1)
    steps = (1, width, -1, -width)
    edge_of_arrival = (-1, (height - 1) * width, 0, height * width)
    pixels = np.empty(order.size + 1, np.int32)
    parents = np.empty(order.size + 1, np.int32)
    arrivals = np.empty(order.size + 1, np.int8)
    pixels[0], parents[0], arrivals[0] = 0, 0, 1
    waiting = 1
    for node in range(order.size):
        waiting -= 1
        pixel, arrival = pixels[waiting], arrivals[waiting]
        order[node], parent[node] = pixel, parents[waiting]
        if node:
            distance[node] = weights[pixel + edge_of_arrival[arrival]]
        for turn in (1, 0, -1):  # the last one pushed is visited first
            direction = (arrival + turn) & 3
            pixels[waiting], parents[waiting] = pixel + steps[direction], pixel
            arrivals[waiting] = direction
            waiting += (links[pixel] >> direction) & 1
    distance[0] = 0


@njit()
def _load(values, first, nodes):  # type: ignore[no-untyped-def]
    """nodes[pixel, lane] = values[first + lane, pixel], 0 beyond the last channel."""
    channels, size = values.shape
    lanes = min(LANES, channels - first)
    nodes[:, lanes:] = 0
    for start in range(0, size, _BLOCK):
        for lane in range(lanes):
            _copy(values[first + lane, start : start + _BLOCK], nodes[start : start + _BLOCK, lane])


@njit()
def _store(nodes, first, values):  # type: ignore[no-untyped-def]
    """The way back of :func:`_load`."""
    channels, size = values.shape
    for start in range(0, size, _BLOCK):
        for lane in range(min(LANES, channels - first)):
            _copy(nodes[start : start + _BLOCK, lane], values[first + lane, start : start + _BLOCK])


@njit()
def _copy(source, target):  # type: ignore[no-untyped-def]
    for i in range(source.size):
        target[i] = source[i]


@njit(fastmath={"contract"})
def _leaves_to_root(nodes, affinity, order, parent):  # type: ignore[no-untyped-def]
    for q in range(order.size - 1, 0, -1):
        here, above, w = order[q], parent[q], affinity[q]
        for lane in range(LANES):
            nodes[above, lane] += w * nodes[here, lane]


@njit(fastmath={"contract"})
def filter_channels(values, first, affinity, order, parent, filtered):  # type: ignore[no-untyped-def]
    """Sum over all pixels of path affinity * value, for the channels from ``first``, at most LANES.

    Upwards every node collects its subtree; downwards it adds what its parent has from everywhere else.

    Args:
        values: (C, N) in pixel order.
        first: first channel.
        affinity: (N,) of each node's edge to its parent, in preorder; the root's is not read.
        order, parent: (N,) pixels of the nodes and of their parents, in preorder.
        filtered: (C, N) out.
    """
    size = order.size
    nodes = np.empty((size, LANES), values.dtype)
    _load(values, first, nodes)
    _leaves_to_root(nodes, affinity, order, parent)
    for q in range(1, size):
        here, above, w = order[q], parent[q], affinity[q]
        own = 1 - w * w  # the parent's total already holds w times this subtree
        for lane in range(LANES):
            nodes[here, lane] = w * nodes[above, lane] + own * nodes[here, lane]
    _store(nodes, first, filtered)


@njit(fastmath={"contract"})
def affinity_gradient(left, right, first, affinity, order, parent, gradient):  # type: ignore[no-untyped-def]
    """Derivative of <left, filter(right)> by each edge's affinity, for the channels from ``first``, at most LANES.

    The paths over an edge join the subtree below it (U, V: its sums for ``left`` and ``right``) with the rest, seen
    from the parent (total at the parent - w * subtree).

    Args:
        left, right: (C, N) in pixel order.
        first, affinity, order, parent: as in :func:`filter_channels`.
        gradient: (N,) out, in preorder.
    """
    size = order.size
    U = np.empty((size, LANES), left.dtype)
    V = np.empty_like(U)
    _load(left, first, U)
    _load(right, first, V)
    _leaves_to_root(U, affinity, order, parent)
    _leaves_to_root(V, affinity, order, parent)
    gradient[0] = 0
    for q in range(1, size):
        here, above, w = order[q], parent[q], affinity[q]
        own = 1 - w * w
        total = left.dtype.type(0)
        for lane in range(LANES):
            u, v = U[here, lane], V[here, lane]
            total += u * (V[above, lane] - w * v) + v * (U[above, lane] - w * u)
            U[here, lane] = w * U[above, lane] + own * u
            V[here, lane] = w * V[above, lane] + own * v
        gradient[q] = total
