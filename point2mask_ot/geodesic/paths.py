"""The cheapest path itself, traced back from a pixel to its point."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..arrays import Array, as_tensors, compute_dtype
from ..checks import fail, fail_type
from ..points import pixel_indices
from .arguments import as_edges, check_costs


def shortest_path(edges: Array, distances_k: Array, end_yx: Any, *, points_yx: Any = None) -> Array:
    """A cheapest path from a pixel back to the point of a target.

    Follows tight edges (``distance + cost == distance`` to the bit) and takes the fewest steps among the cheapest
    paths, so it ends also where edges of zero cost make rings. Traced on the host: edges and distances on another
    device are copied, and the path goes back to that device.

    Args:
        edges: (4, H, W), as for :func:`geodesic_distances`.
        distances_k: (H, W) one target's map from :func:`geodesic_distances` on these edges, of the same family.
        end_yx: (2,) row and column of the pixel to start from.
        points_yx: (n, 2) points of the target. Without them the path ends at the first pixel of zero distance, which
            is the point unless edges of zero cost touch it.

    Returns:
        (L, 2) int64 rows and columns: first ``end_yx``, last the point.

    Raises:
        ArgumentError: ``end_yx`` outside the image or unreachable; distances of another shape or dtype, or that are
            not those of the edges (or of the points) along the way.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import geodesic_distances
        >>> edges = np.ones((4, 2, 3), np.float32)
        >>> shortest_path(edges, geodesic_distances(edges, [(0, 0)])[0], (1, 2)).tolist()
        [[1, 2], [0, 1], [0, 0]]
    """
    function = "shortest_path"
    maps = as_edges(function, edges)[0].detach()
    (_, distance), restore = as_tensors(function, edges=edges, distances_k=distances_k)
    if maps.ndim != 3:
        fail(function, "edges", f"shape {tuple(maps.shape)}", "(4, H, W): one image")
    if distance.shape != maps.shape[1:]:
        fail(function, "distances_k", f"shape {tuple(distance.shape)}", f"{tuple(maps.shape[1:])}, as the edges")
    if distance.dtype != compute_dtype(maps):
        fail_type(function, "distances_k", distances_k, f"{compute_dtype(maps)}: the search on these edges gives it")
    check_costs(function, maps)
    path = _trace(function, _on_host(maps), _on_host(distance), end_yx, points_yx)
    return restore(torch.from_numpy(path).to(maps.device))


def _on_host(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def _trace(function: str, edges: np.ndarray, distance: np.ndarray, end_yx: Any, points_yx: Any) -> np.ndarray:
    from .cpu.tight import trace  # imports numba

    height, width = distance.shape
    end = pixel_indices(function, [end_yx], height, width, argument="end_yx")[0]
    y, x = end.tolist()
    if distance[y, x] == np.inf:
        fail(function, "end_yx", f"({y}, {x}), which no path reaches", "a pixel of finite distance")
    goal = distance == 0
    if points_yx is not None:
        points = pixel_indices(function, points_yx, height, width)
        goal = np.zeros(distance.shape, bool)
        goal[tuple(points.T)] = True
        goal &= distance == 0
    path = trace(edges, distance, end, goal)
    if not len(path):
        got = f"a map in which no tight edges lead from ({y}, {x}) to its point"
        fail(function, "distances_k", got, "the distances of one target on exactly these edges")
    return path
