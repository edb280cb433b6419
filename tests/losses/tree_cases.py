"""Oracles of the spanning tree and of what is averaged along it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

IMAGENET_STD = np.array([0.229, 0.224, 0.225])[:, None, None]

backends = pytest.mark.parametrize("backend", ["numba", "torch"])


def picture_graph(image: np.ndarray) -> coo_array:
    """All 4-connected pairs with one more than the squared colour distance: scipy takes a zero for no edge."""
    _, height, width = image.shape
    pixel = np.arange(height * width, dtype=np.int32).reshape(height, width)  # as SciPy's older routines ask
    colours = image.reshape(len(image), -1).T.astype(float)
    a = np.concatenate([pixel[:, :-1].ravel(), pixel[:-1].ravel()])
    b = np.concatenate([pixel[:, 1:].ravel(), pixel[1:].ravel()])
    return coo_array((((colours[a] - colours[b]) ** 2).sum(1) + 1, (a, b)), shape=(pixel.size, pixel.size))


def path_affinities(tree_edges: coo_array, theta: float) -> np.ndarray:
    """(N, N) product of exp(-distance / theta) along every path of the tree, one walk from each pixel."""
    graph = tree_edges.tocsr()
    graph = graph + graph.T
    product = np.eye(graph.shape[0])
    for start in range(graph.shape[0]):
        order, before = breadth_first_order(graph, start)
        for pixel in order[1:]:
            step = graph[before[pixel], pixel] - 1
            product[start, pixel] = product[start, before[pixel]] * np.exp(-step / theta)
    return product


def smooth_picture(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Colours close enough for affinities that are neither 0 nor 1, and all pairs different."""
    return 0.5 + 0.03 * rng.standard_normal(shape)
