"""The few nearest targets of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch

from ..arrays import Array
from ..checks import check_integer, fail
from ..points import host_array
from .arguments import Call, as_call
from .operators import nearest_operator


class NearestTargets(NamedTuple):
    """The k nearest targets of every pixel, nearest first."""

    labels: Array
    """(k, H, W) int64 index of the target; -1 where fewer can be reached."""
    distances: Array
    """(k, H, W) its geodesic cost, without what it starts at; +inf where the label is -1."""


@overload
def nearest_targets(
    edges: Array, points_yx: Any, target: Any = ..., *, k: int = ..., offset: Any = ..., backend: str = ...
) -> NearestTargets | list[NearestTargets]: ...
@overload
def nearest_targets(
    edges: Sequence[Array], points_yx: Any, target: Any = ..., *, k: int = ..., offset: Any = ..., backend: str = ...
) -> list[NearestTargets]: ...


def nearest_targets(
    edges: Any, points_yx: Any, target: Any = None, *, k: int = 8, offset: Any = None, backend: str = "auto"
) -> Any:
    """The k nearest distinct targets of every pixel, without a map for each target.

    Equal to the k smallest of the maps of :func:`geodesic_distances`, to the bit, on every backend; of equals the
    smaller target comes first. Time and memory grow with k, not with the number of targets, on the CPU in float32;
    other backends make the maps, a few at a time.

    The distances carry a gradient as :func:`geodesic_distances` does, along the same target's costs at the neighbours
    that hold it too; of a target that rounding leaves without such a neighbour somewhere, along its whole map. An
    ``offset`` gets none: the distances do not contain it, and which targets are the nearest has no derivative.

    Args:
        edges: (4, H, W), (B, 4, H, W) or a list of (4, H, W), as for :func:`geodesic_distances`.
        points_yx: as for :func:`geodesic_distances`.
        target: as for :func:`geodesic_distances`.
        k: how many, at least 1; it may exceed the number of targets.
        offset: (K,) finite, what each target starts at: the nearest are those of the smallest ``distance + offset``,
            added in the dtype of the edges. Default: 0. For a batch or a list of edges, a list with an entry for each
            image.
        backend: as for :func:`geodesic_distances`.

    Returns:
        ``(labels, distances)``, each (k, H, W), in ascending order of ``distance + offset``. The distances are those
        of :func:`geodesic_distances`, without the offset. For a batch or a list of edges a list of such pairs.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`; k below 1; an offset that is not finite or of
            another length than the targets.

    Example:
        >>> import numpy as np
        >>> nearest = nearest_targets(np.ones((4, 1, 5), np.float32), [(0, 0), (0, 4), (0, 3)], k=2)
        >>> nearest.labels.tolist()
        [[[0, 0, 2, 2, 1]], [[2, 2, 0, 1, 2]]]
        >>> nearest.distances.tolist()
        [[[0.0, 1.0, 1.0, 0.0, 0.0]], [[3.0, 2.0, 2.0, 1.0, 1.0]]]
    """
    function = "nearest_targets"
    count = check_integer(function, "k", k, minimum=1)
    call = as_call(function, edges, points_yx, target)
    offsets = _offsets(function, call, offset)
    labels, distances = nearest_operator(*call.operands, offsets, count, backend) if call.images else ([], [])
    results = [NearestTargets(*map(call.restore, pair)) for pair in zip(labels, distances, strict=True)]
    return results[0] if call.is_single else results


def _offsets(function: str, call: Call, offset: Any) -> list[torch.Tensor]:
    """(K,) float64 on the host for each image, with values still unchecked."""
    if offset is None:
        return [torch.zeros(count, dtype=torch.float64, device="cpu") for count in call.num_targets]
    given = [offset] if call.is_single else offset
    if not isinstance(given, Sequence) or len(given) != len(call.images):
        fail(function, "offset", f"{offset!r:.80}", f"a list with an entry for each of the {len(call.images)} images")
    return [_offset(function, each, count) for each, count in zip(given, call.num_targets, strict=True)]


def _offset(function: str, offset: Any, count: int) -> torch.Tensor:
    if offset is None:
        return torch.zeros(count, dtype=torch.float64, device="cpu")
    if torch.compiler.is_compiling():  # NumPy's dtypes cannot be traced; the operator checks values all the same
        return torch.as_tensor(offset, device="cpu").double()
    return torch.from_numpy(host_array(function, "offset", offset).astype(np.float64))
