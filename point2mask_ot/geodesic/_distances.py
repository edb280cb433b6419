"""Costs of the cheapest paths from annotated points, and the partition by the nearest target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..arrays import Array, as_tensors, check_floating, compute_dtype
from ..checks import fail
from ..points import check_on_host, host_array, integers
from ..types import PointTargets
from ._operators import distances_operator, partition_operator


class Partition(NamedTuple):
    """The nearest target of every pixel."""

    labels: Array
    """(H, W) int64 index of the target, the smallest on a tie; -1 where no target can be reached."""
    distance: Array
    """(H, W) its geodesic cost, +inf where no target can be reached."""


def geodesic_distances(
    edges: Array, points_yx: Any, target: Any = None, *, backend: str = "auto"
) -> Array | list[Array]:
    """Cost of the cheapest path from each target's points to every pixel, exact on the 8-connected graph (Eq. 3).

    The result equals Dijkstra's algorithm in the dtype of the edges, to the bit, on every backend. It carries no
    gradient.

    Args:
        edges: (4, H, W) non-negative costs towards the right, lower-left, lower and lower-right neighbour, as
            :func:`point2mask_ot.edge_costs` makes them; +inf is a wall. Entries for pairs that leave the image are
            ignored. A batch is (B, 4, H, W). float64 stays float64, half precision is computed in float32.
        points_yx: (N, 2) row and column of the points, in pixels: integers, or floats, which mean the pixel whose
            centre is nearest. A list, a NumPy array or a CPU tensor, whatever ``edges`` is; or a
            :class:`point2mask_ot.PointTargets`, which brings its own targets. N may be zero. A batch takes B of them.
        target: (N,) integers 0..K-1, the target of each point. Default: one target per point. A batch takes B of
            them.
        backend: ``"numba"`` (CPU, float32 on vectorised tiles), ``"heap"`` (CPU, plain Dijkstra), ``"torch"`` (any
            device), or ``"auto"``: numba on the CPU, else torch.

    Returns:
        (K, H, W), the minimum over the points of each target; +inf where none of them can reach. For a batch a list of
        B such arrays, since K may differ.

    Raises:
        ArgumentError: edges without 4 channels, NaN or negative; points outside the image; a target without a point;
            a backend that cannot run on the edges' device.
        ArgumentTypeError: integer or complex edges, points or targets that are not numbers.

    Example:
        >>> import numpy as np
        >>> edges = np.ones((4, 2, 3), np.float32)
        >>> geodesic_distances(edges, [(0, 0)])[0].tolist()
        [[0.0, 1.0, 2.0], [1.0, 1.0, 2.0]]
    """
    function = "geodesic_distances"
    maps, restore = as_edges(function, edges)
    if maps.ndim == 3:
        return restore(distances_operator(maps, *_as_points(function, points_yx, target), backend))
    items = _batch(function, len(maps), points_yx, target)
    return [
        restore(distances_operator(image, *_as_points(function, *item), backend))
        for image, item in zip(maps, items, strict=True)
    ]


def nearest_partition(edges: Array, points_yx: Any, target: Any = None, *, backend: str = "auto") -> Partition:
    """Nearest target and its cost for every pixel, in one search from all points at once.

    Equal to the argmin and the minimum over the maps of :func:`geodesic_distances`, with one reservation: where two
    targets tie only because rounding makes unequal costs equal, the label is one of the two and need not be the
    smaller.

    Args:
        edges: (4, H, W) or (B, 4, H, W), as for :func:`geodesic_distances`.
        points_yx: as for :func:`geodesic_distances`.
        target: as for :func:`geodesic_distances`.
        backend: as for :func:`geodesic_distances`.

    Returns:
        ``(labels, distance)``, each (H, W) or (B, H, W): labels are int64 and -1 where the distance is +inf.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`.

    Example:
        >>> import numpy as np
        >>> labels, distance = nearest_partition(np.ones((4, 1, 5), np.float32), [(0, 0), (0, 4)])
        >>> labels.tolist(), distance.tolist()
        ([[0, 0, 0, 1, 1]], [[0.0, 1.0, 2.0, 1.0, 0.0]])
    """
    function = "nearest_partition"
    maps, restore = as_edges(function, edges)
    if maps.ndim == 3:
        labels, distance = partition_operator(maps, *_as_points(function, points_yx, target), backend)
        return Partition(restore(labels), restore(distance))
    shape = (len(maps), *maps.shape[2:])
    labels, distance = maps.new_empty(shape, dtype=torch.int64), maps.new_empty(shape)
    for index, item in enumerate(_batch(function, len(maps), points_yx, target)):
        labels[index], distance[index] = partition_operator(maps[index], *_as_points(function, *item), backend)
    return Partition(restore(labels), restore(distance))


def as_edges(function: str, edges: Array) -> tuple[torch.Tensor, Any]:
    """Edges as a tensor that a search can run on, and the way back to their family."""
    (maps,), restore = as_tensors(function, edges=edges)
    if maps.ndim not in (3, 4) or maps.shape[-3] != 4 or 0 in maps.shape[-2:]:
        fail(function, "edges", f"shape {tuple(maps.shape)}", "(4, H, W) or (B, 4, H, W), H and W at least 1")
    check_floating(function, "edges", maps)
    return maps.detach().to(compute_dtype(maps)), restore


def _as_points(function: str, points_yx: Any, target: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Points, their targets and the number of targets, with values still unchecked, for an operator."""
    count = None
    if isinstance(points_yx, PointTargets):
        if target is not None:
            fail(function, "target", "targets beside a PointTargets", "None: the PointTargets brings its own")
        points_yx, target, count = points_yx.points_yx, points_yx.target, points_yx.num_targets
    if torch.compiler.is_compiling():  # NumPy's dtypes cannot be traced; the operator checks values all the same
        points = torch.as_tensor(points_yx).double()
        if target is None:
            return points, torch.arange(len(points), device="cpu"), len(points)
        return points, torch.as_tensor(target), max(target, default=-1) + 1 if count is None else count
    if isinstance(points_yx, torch.Tensor):
        check_on_host(function, "points_yx", points_yx)
        points = points_yx
    else:
        points = torch.from_numpy(host_array(function, "points_yx", points_yx))
    if target is None:
        count = len(points) if points.ndim else 0
        return points, torch.arange(count, device="cpu"), count
    ids = integers(function, "target", target)
    return points, torch.from_numpy(ids), int(ids.max(initial=-1)) + 1


def _batch(function: str, size: int, points_yx: Any, target: Any) -> list[tuple[Any, Any]]:
    """The points and targets of each image of a batch."""
    if isinstance(points_yx, PointTargets) or not hasattr(points_yx, "__len__") or len(points_yx) != size:
        got = f"{len(points_yx)} items" if hasattr(points_yx, "__len__") else type(points_yx).__name__
        fail(function, "points_yx", got, f"a list with the points of each of the {size} images")
    targets = [None] * size if target is None else target
    if not isinstance(targets, Sequence) or len(targets) != size:
        fail(function, "target", f"{target!r:.80}", f"None or a list with an entry for each of the {size} images")
    return list(zip(points_yx, targets, strict=True))
