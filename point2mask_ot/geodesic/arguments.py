"""The arguments of a search: from what users write to one checked graph for each image.

First their form, as soon as they enter, then their values, inside an operator that ``torch.compile`` does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ..arrays import Array, Restore, as_tensors, check_floating, compute_dtype
from ..checks import fail, require_all
from ..points import check_on_host, check_targets, host_array, integers, pixel_indices
from ..types import PointTargets


@dataclass(frozen=True)
class Call:
    """The arguments of a public function, ready for an operator but with their values unchecked."""

    images: list[torch.Tensor]
    points: list[torch.Tensor]
    target: list[torch.Tensor]
    num_targets: list[int]
    batch: torch.Tensor | None
    """The images in one tensor, if they came so."""
    is_single: bool
    """The image came without a batch axis."""
    restore: Restore

    @property
    def operands(self) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor], list[int]]:
        return self.images, self.points, self.target, self.num_targets


def as_call(function: str, edges: Any, points_yx: Any, target: Any) -> Call:
    if isinstance(edges, (list, tuple)):
        images, restore = _as_ragged(function, edges)
        return Call(images, *_batch(function, len(images), points_yx, target), None, False, restore)
    maps, restore = as_edges(function, edges)
    if maps.ndim == 4:
        return Call(list(maps), *_batch(function, len(maps), points_yx, target), maps, False, restore)
    points, ids, count = _as_points(function, points_yx, target)
    return Call([maps], [points], [ids], [count], None, True, restore)


def as_edges(function: str, edges: Array) -> tuple[torch.Tensor, Restore]:
    """Edges as a tensor that a search can run on, and the way back to their family; a gradient finds its way, too."""
    (maps,), restore = as_tensors(function, edges=edges)
    if maps.ndim not in (3, 4) or maps.shape[-3] != 4 or 0 in maps.shape[-2:]:
        fail(function, "edges", f"shape {tuple(maps.shape)}", "(4, H, W) or (B, 4, H, W), H and W at least 1")
    check_floating(function, "edges", maps)
    return maps.to(compute_dtype(maps)), restore


def _as_ragged(function: str, edges: Sequence[Array]) -> tuple[list[torch.Tensor], Restore]:
    """Images of different sizes, of one family, dtype and device."""
    named = {f"edges[{index}]": image for index, image in enumerate(edges)}
    images, restore = as_tensors(function, **named)
    for name, image in zip(named, images, strict=True):
        if image.ndim != 3 or image.shape[0] != 4 or 0 in image.shape:
            fail(function, name, f"shape {tuple(image.shape)}", "(4, H, W), H and W at least 1")
        check_floating(function, name, image)
    dtypes = {compute_dtype(image) for image in images}
    if len(dtypes) > 1:
        fail(function, "edges", "float64 beside other dtypes", "one precision for all images")
    return [image.to(compute_dtype(image)) for image in images], restore


def _as_points(function: str, points_yx: Any, target: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Points, their targets and the number of targets, with values still unchecked, for an operator."""
    count = None
    if isinstance(points_yx, PointTargets):
        if target is not None:
            fail(function, "target", "targets beside a PointTargets", "None: the PointTargets brings its own")
        points_yx, target, count = points_yx.points_yx, points_yx.target, points_yx.num_targets
    if torch.compiler.is_compiling():  # NumPy's dtypes cannot be traced; the operator checks values all the same
        points = _as_tensor(points_yx).double()
        if target is None:
            return points, torch.arange(len(points), device="cpu"), len(points)
        return points, _as_tensor(target), max(target, default=-1) + 1 if count is None else count
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


def _as_tensor(values: Any) -> torch.Tensor:
    """Where a tensor is, and lists on the host: not on the default device."""
    return values if isinstance(values, torch.Tensor) else torch.as_tensor(values, device="cpu")


def _batch(
    function: str, size: int, points_yx: Any, target: Any
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[int]]:
    """The points, their targets and the number of targets of each image of a batch."""
    if isinstance(points_yx, PointTargets) or not hasattr(points_yx, "__len__") or len(points_yx) != size:
        got = f"{len(points_yx)} items" if hasattr(points_yx, "__len__") else type(points_yx).__name__
        fail(function, "points_yx", got, f"a list with the points of each of the {size} images")
    targets = [None] * size if target is None else target
    if not isinstance(targets, Sequence) or len(targets) != size:
        fail(function, "target", f"{target!r:.80}", f"None or a list with an entry for each of the {size} images")
    items = [_as_points(function, *item) for item in zip(points_yx, targets, strict=True)]
    return [item[0] for item in items], [item[1] for item in items], [item[2] for item in items]


class PointedGraph(NamedTuple):
    """What a search is given: the graph of one image and the points on it, with all values checked."""

    edges: torch.Tensor
    """(4, H, W) float32 or float64."""
    pixels: np.ndarray
    """(N, 2) int64 rows and columns of the points, on the host."""
    target: np.ndarray
    """(N,) int64 target of each point."""
    num_targets: int
    """K."""


def check_costs(function: str, edges: torch.Tensor) -> None:
    """Refuse NaN, which drops edges silently, and negative costs, on which a search never ends."""
    # On the CPU by NumPy, in this thread: waking torch's threads costs more than a small map takes.
    lowest = float(edges.numpy().min() if edges.device.type == "cpu" else edges.min())
    if not lowest >= 0:
        fail(function, "edges", "NaN" if lowest != lowest else f"a cost of {lowest:g}", "costs >= 0 (+inf: a wall)")


def checked_images(
    function: str,
    edges: list[torch.Tensor],
    points_yx: list[torch.Tensor],
    target: list[torch.Tensor],
    num_targets: list[int],
) -> list[PointedGraph]:
    edges = [image.detach() for image in edges]
    if edges[0].device.type != "cpu":  # one assertion for all images, which the host does not wait for
        costs = torch.cat([image.reshape(-1) for image in edges])
        require_all(function, "edges", costs >= 0, "", "costs >= 0 (+inf: a wall)")
    images = []
    for costs, points, ids, count in zip(edges, points_yx, target, num_targets, strict=True):
        if costs.device.type == "cpu":
            check_costs(function, costs)
        pixels = pixel_indices(function, points.numpy(), *costs.shape[1:])
        names = ids.numpy()
        check_targets(function, names, count, len(pixels))
        images.append(PointedGraph(costs, pixels, names, count))
    return images
