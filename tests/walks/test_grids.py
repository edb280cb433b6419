"""The coarser grids against dense matrices: P' A P, where the interpolation P is 0 at seeds."""

from __future__ import annotations

import numpy as np
import pytest

from point2mask_ot.walks.grids import DIAGONAL, DOWN, INVERSE, LEFT_DOWN, RIGHT, RIGHT_DOWN, Grids, lay_out


def matrix(grids: Grids, level: int) -> np.ndarray:
    start, height, width = grids.shapes[level]
    graph, slants = grids.graph.reshape(-1, 4).astype(np.float64), grids.slants.reshape(-1, 2).astype(np.float64)
    found = np.zeros((height * width, height * width))
    for i, j in np.ndindex(height, width):
        p, own = start + (i + 1) * (width + 2) + j + 1, i * width + j
        found[own, own] = graph[p, DIAGONAL]
        ways = [(0, 1, graph[p, RIGHT]), (1, 0, graph[p, DOWN])]
        if level > 0:
            q = p - grids.shapes[1, 0]
            ways += [(1, 1, slants[q, RIGHT_DOWN]), (1, -1, slants[q, LEFT_DOWN])]
        for down, right, value in ways:
            if i + down < height and 0 <= j + right < width:
                other = own + down * width + right
                found[own, other] = found[other, own] = -value
            else:
                assert value == 0
    return found


def interpolation(grids: Grids, level: int) -> np.ndarray:
    (start, height, width), (_, coarse_height, coarse_width) = grids.shapes[level : level + 2]
    weights = grids.weights.reshape(-1, 4)
    found = np.zeros((height * width, coarse_height * coarse_width))
    for i, j in np.ndindex(height, width):
        for k, weight in enumerate(weights[start + (i + 1) * (width + 2) + j + 1]):
            if weight:
                found[i * width + j, (i // 2 + k // 2) * coarse_width + j // 2 + k % 2] = weight
    return found


@pytest.mark.parametrize("shape", [(9, 13), (8, 12), (8, 13), (9, 12), (1, 7), (6, 1), (2, 2), (2, 5), (3, 4), (1, 1)])
def test_coarse_matrices_are_what_the_finer_looks_like(rng, shape):
    height, width = shape
    edges = rng.random((4, height, width)).astype(np.float32) ** 4
    edges[0, : height // 2, width // 2] = np.inf
    seeds = np.stack(np.divmod(rng.choice(height * width, min(3, height * width), replace=False), width), 1)
    grids = lay_out(edges, np.float32(0.05), np.ones(shape, bool), seeds)
    known = seeds[:, 0] * width + seeds[:, 1]
    assert (interpolation(grids, 0)[known] == 0).all() if len(grids.shapes) > 2 else True
    for level in range(len(grids.shapes) - 2):
        between = interpolation(grids, level)
        expected = between.T @ matrix(grids, level) @ between
        np.testing.assert_allclose(matrix(grids, level + 1), expected, atol=1e-6)
    inverse = grids.graph.reshape(-1, 4)[:, INVERSE]
    assert np.isfinite(inverse).all()
    assert (inverse >= 0).all()
