"""What the gradients of searches must be: by the rule as it is stated, in plain loops, and by autograd."""

from __future__ import annotations

import numpy as np
import torch

from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices

RASTER = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


def entry(y, x, v, u):
    """Where the cost between two neighbours is kept."""
    (y, x), (v, u) = sorted([(y, x), (v, u)])
    return FORWARD_OFFSETS.index((v - y, u - x)), y, x


def parents(edges: np.ndarray, distance: np.ndarray, points) -> dict:
    """The parent of each pixel of a map, by the rule."""
    height, width = distance.shape
    points = {(int(y), int(x)) for y, x in points}

    def tight(y, x):
        for dy, dx in RASTER:
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width):
                continue
            if distance[v, u] + edges[entry(y, x, v, u)] == distance[y, x] < np.inf:
                yield v, u

    pixels = [(y, x) for y in range(height) for x in range(width) if distance[y, x] < np.inf]
    parent = {}
    for y, x in pixels:
        nearer = [q for q in tight(y, x) if distance[q] < distance[y, x]]
        if nearer and (y, x) not in points:
            parent[y, x] = nearer[0]
    steps = {p: 0 for p in pixels if p in points or p in parent}
    while True:
        more = {}
        for p in pixels:
            if p not in steps:
                below = [steps[q] for q in tight(*p) if distance[q] == distance[p] and q in steps]
                if below:
                    more[p] = min(below) + 1
        if not more:
            break
        steps.update(more)
    for p in pixels:
        if p not in points and p not in parent and p in steps:
            parent[p] = next(q for q in tight(*p) if distance[q] == distance[p] and steps.get(q, np.inf) < steps[p])
    return parent


def by_the_rule(edges: np.ndarray, distance: np.ndarray, points, gradient: np.ndarray) -> np.ndarray:
    """(4, H, W) float64 gradient to the edges from that to one target's map: each pixel's, all along its path."""
    parent, total = parents(edges, distance, points), np.zeros(edges.shape)
    for p in np.ndindex(distance.shape):
        at = p
        while at in parent:
            total[entry(*at, *parent[at])] += gradient[p]
            at = parent[at]
    return total


def unrolled(edges: torch.Tensor, points) -> torch.Tensor:
    """(H, W) distances by rounds of relaxation that autograd can follow."""
    _, height, width = edges.shape
    distance = edges.new_full((height, width), torch.inf)
    for y, x in points:
        distance[y, x] = 0
    for _ in range(height * width):
        before = distance.detach().clone()
        candidates = [distance]
        for channel, offset in enumerate(FORWARD_OFFSETS):
            here, there = pair_slices(offset)
            for origin, end in ((here, there), (there, here)):
                reached = torch.full_like(distance, torch.inf).index_put(
                    _grid(end, distance), (distance[origin] + edges[channel][here]).reshape(-1)
                )
                candidates.append(reached)
        distance = torch.stack(candidates).amin(0)
        if torch.equal(before, distance.detach()):
            break
    return distance


def _grid(slices, like):
    index = torch.arange(like.numel()).view(like.shape)[slices].reshape(-1)
    return index // like.shape[1], index % like.shape[1]


def finite(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values < torch.inf, values, 0)
