"""Between maps of targets, which people see, and the vectors in which gradients of walks are solved (compiled)."""

from __future__ import annotations

import numpy as np

from ..compiled.jit import njit


@njit()
def write_sources(unlikeliness, gradient, common, free, first, most, source):  # type: ignore[no-untyped-def]
    """By how much a loss grows with the probabilities of some targets, where its gradient by their costs is known.

    Args:
        unlikeliness: (n, h, W) float32 1 / probabilities, of a strip of rows.
        gradient: (n, h, W) float32 by minus the logarithm of the probabilities.
        common: (h, W) float32, what to add to all targets alike, see :func:`.portable.edge_flows`.
        free: (h, W) bool, where a probability is neither given nor zero.
        first: row of the picture that the strip begins with.
        most: from this unlikeliness on probabilities were cut off, so that the loss does not depend on them.
        source: (pixels, lanes) float32, written in these rows, in as many lanes as there are targets.
    """
    count, height, width = gradient.shape
    for i in range(height):
        here = (first + i + 1) * (width + 2) + 1
        for k in range(count):
            for j in range(width):
                own = gradient[k, i, j] * unlikeliness[k, i, j] if unlikeliness[k, i, j] < most else np.float32(0)
                source[here + j, k] = common[i, j] - own if free[i, j] else np.float32(0)


@njit()
def add_flows(probability, response, first, rows, flow):  # type: ignore[no-untyped-def]
    """Add, target by target, the products of both's differences along each edge.

    Args:
        probability: (n, h, W) float32 of some targets, of a strip of rows and the next, if there is one.
        response: (pixels, lanes) float32 solution for the sources of these targets, 0 at seeds.
        first, rows: the first row of the strip in the picture, and how many it has.
        flow: (2, H, W) float32, changed: to the right and downwards.
    """
    count, height, width = probability.shape
    for i in range(rows):
        here = (first + i + 1) * (width + 2) + 1
        below = here + width + 2
        for k in range(count):
            own, right, down = probability[k, i], flow[0, first + i], flow[1, first + i]
            for j in range(width - 1):
                right[j] += (response[here + j, k] - response[here + j + 1, k]) * (own[j] - own[j + 1])
            if i + 1 < height:
                after = probability[k, i + 1]
                for j in range(width):
                    down[j] += (response[here + j, k] - response[below + j, k]) * (own[j] - after[j])
