"""Costs of the cheapest paths from annotated points, and the partition by the nearest target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import torch

from ..arrays import Array
from .arguments import as_call
from .operators import distances_operator, partition_operator


class Partition(NamedTuple):
    """The nearest target of every pixel."""

    labels: Array
    """(H, W) int64 index of the target, the smallest on a tie; -1 where no target can be reached."""
    distance: Array
    """(H, W) its geodesic cost, +inf where no target can be reached."""


@overload
def geodesic_distances(
    edges: Array, points_yx: Any, target: Any = ..., *, backend: str = ...
) -> Array | list[Array]: ...
@overload
def geodesic_distances(
    edges: Sequence[Array], points_yx: Any, target: Any = ..., *, backend: str = ...
) -> list[Array]: ...


def geodesic_distances(edges: Any, points_yx: Any, target: Any = None, *, backend: str = "auto") -> Any:
    """Cost of the cheapest path from each target's points to every pixel, exact on the 8-connected graph (Eq. 3).

    The result equals Dijkstra's algorithm in the dtype of the edges, to the bit, on every backend.

    Torch edges get a gradient, in their own dtype: a cost is the sum of the edges of a cheapest path, so its derivative
    by each of them is 1. Where several paths cost the same there is no derivative; the gradient is then a subgradient,
    that of one path, on every backend the same: the pixel before p on it is the first of the 8 neighbours q in raster
    order that is nearer and for which ``distance[q] + cost == distance[p]`` to the bit; where there is none, because
    edges cost nothing or less than rounding keeps, the first neighbour of equal distance behind such an edge that is
    fewer of these steps away from a pixel that has a nearer one, or from a point of the target. Paths end at points.
    Walls and pixels that are not reached get and give none, whatever gradient comes in there. Nothing but edges and
    result is kept for it, and nothing is searched for; "torch" and "triton" find it in torch, for which the host waits
    for a GPU a few times. It cannot be differentiated once more.

    Args:
        edges: (4, H, W) non-negative costs towards the right, lower-left, lower and lower-right neighbour, as
            :func:`point2mask_ot.edge_costs` makes them; +inf is a wall. Entries for pairs that leave the image are
            ignored. A batch is (B, 4, H, W); images of different sizes are a list of (4, H, W). float64 stays float64,
            half precision is computed in float32.
        points_yx: (N, 2) row and column of the points, in pixels: integers, or floats, which mean the pixel whose
            centre is nearest. A list, a NumPy array or a CPU tensor, whatever ``edges`` is; or a
            :class:`point2mask_ot.PointTargets`, which brings its own targets. N may be zero. For a batch or a list of
            edges, a list with the points of each image.
        target: (N,) integers 0..K-1, the target of each point. Default: one target per point. For a batch or a list
            of edges, a list with an entry for each image.
        backend: ``"numba"`` (CPU, float32 on vectorised tiles), ``"heap"`` (CPU, plain Dijkstra), ``"triton"`` (CUDA,
            all images of a batch or list in the same launches, the host never waits), ``"torch"`` (any device; the
            host waits for it every 32 rounds), or ``"auto"``: numba on the CPU, on CUDA triton where it is installed,
            else torch. Triton's interpreter (TRITON_INTERPRET=1) runs "triton" on CPU tensors, for tests.

    Returns:
        (K, H, W), the minimum over the points of each target; +inf where none of them can reach. For a batch or a list
        of B images a list of B such arrays, since K may differ.

    Raises:
        ArgumentError: edges without 4 channels, NaN or negative (on CUDA a device-side assertion, since nothing waits
            for the values there); points outside the image; a target without a point; a backend that cannot run
            on the edges' device.
        ArgumentTypeError: integer or complex edges, points or targets that are not numbers.

    Example:
        >>> import numpy as np
        >>> edges = np.ones((4, 2, 3), np.float32)
        >>> geodesic_distances(edges, [(0, 0)])[0].tolist()
        [[0.0, 1.0, 2.0], [1.0, 1.0, 2.0]]
        >>> [maps.shape for maps in geodesic_distances([edges, edges[:, :, :1]], [[(0, 0)], [(0, 0), (1, 0)]])]
        [(1, 2, 3), (2, 2, 1)]
    """
    call = as_call("geodesic_distances", edges, points_yx, target)
    results = [call.restore(maps) for maps in distances_operator(*call.operands, backend)] if call.images else []
    return results[0] if call.is_single else results


@overload
def nearest_partition(edges: Array, points_yx: Any, target: Any = ..., *, backend: str = ...) -> Partition: ...
@overload
def nearest_partition(
    edges: Sequence[Array], points_yx: Any, target: Any = ..., *, backend: str = ...
) -> list[Partition]: ...


def nearest_partition(edges: Any, points_yx: Any, target: Any = None, *, backend: str = "auto") -> Any:
    """Nearest target and its cost for every pixel, in one search from all points at once.

    Equal to the argmin and the minimum over the maps of :func:`geodesic_distances`, with one reservation: where two
    targets tie only because rounding makes unequal costs equal, the label is one of the two and need not be the
    smaller.

    The distance carries a gradient as :func:`geodesic_distances` does, along paths to any of the points.

    Args:
        edges: (4, H, W), (B, 4, H, W) or a list of (4, H, W), as for :func:`geodesic_distances`.
        points_yx: as for :func:`geodesic_distances`.
        target: as for :func:`geodesic_distances`.
        backend: as for :func:`geodesic_distances`.

    Returns:
        ``(labels, distance)``, each (H, W) or (B, H, W), or for a list a list of such pairs: labels are int64 and -1
        where the distance is +inf.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`.

    Example:
        >>> import numpy as np
        >>> labels, distance = nearest_partition(np.ones((4, 1, 5), np.float32), [(0, 0), (0, 4)])
        >>> labels.tolist(), distance.tolist()
        ([[0, 0, 0, 1, 1]], [[0.0, 1.0, 2.0, 1.0, 0.0]])
    """
    call = as_call("nearest_partition", edges, points_yx, target)
    labels, distance = partition_operator(*call.operands, backend) if call.images else ([], [])
    if call.batch is None:
        pairs = [Partition(*map(call.restore, pair)) for pair in zip(labels, distance, strict=True)]
        return pairs[0] if call.is_single else pairs
    none = call.batch.new_empty(0, *call.batch.shape[2:])  # a batch without images has a shape all the same
    stacked = (
        torch.cat([none.to(torch.int64), *(names[None] for names in labels)]),
        torch.cat([none, *(costs[None] for costs in distance)]),
    )
    return Partition(*map(call.restore, stacked))
