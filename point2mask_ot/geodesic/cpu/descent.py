"""The gradient along cheapest paths on the CPU: target by target, each in the part of the picture that it fills.

The sums of all targets are made in the order of targets, so that threads change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from ...compiled.threads import run_parallel
from ..arguments import PointedGraph
from . import forest

_BAND = 64
"""Rows of the sums that one thread adds to."""
_SERIAL = 20_000
"""Pixels that are not worth a thread."""


class _Patch(NamedTuple):
    """Memory for one target's forest, in the part of the picture that begins at (top, left)."""

    top: int
    left: int
    distance: np.ndarray
    """(h, w), for who has no such map."""
    parent: np.ndarray
    """(h, w) uint8."""
    flow: np.ndarray
    """(h, w) float64."""
    children: np.ndarray
    """(h * w,) uint8."""
    queue: np.ndarray
    """(h * w + 1,) uint32."""


_Fill = Callable[[int, _Patch], np.ndarray]
"""``fill(target, patch)`` writes the gradient into its flow and gives (h, w) distances, +inf outside the forest."""


def from_maps(image: PointedGraph, distance: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """(4, H, W) float64 gradient to the edges, from (K, H, W) distances and the gradient to them."""
    maps = distance.contiguous().numpy()

    def fill(target: int, patch: _Patch) -> np.ndarray:
        patch.flow[:] = gradient[target].numpy()  # where the cost is infinite, too: such a pixel has no parent
        return maps[target]

    everywhere = np.tile([0, 0, *maps.shape[1:]], (len(maps), 1))
    return torch.from_numpy(_descend(image, everywhere, fill)[0])


def from_nearest(
    image: PointedGraph, labels: torch.Tensor, distances: torch.Tensor, gradient: torch.Tensor
) -> tuple[torch.Tensor, list[int]]:
    """The same from (k, H, W) nearest targets, and the targets that this leaves out: what is held of them has holes."""
    own, costs, given = (t.contiguous().flatten(1).numpy() for t in (labels, distances, gradient))
    width = labels.shape[2]
    bounds, boxes = np.empty(image.num_targets + 1, np.int64), np.empty((image.num_targets, 4), np.int64)
    nodes = np.empty(own.size, np.uint32 if own.size < 2**32 else np.uint64)
    forest.sort_nodes(own, width, bounds, nodes, boxes)

    def fill(target: int, patch: _Patch) -> np.ndarray:
        held = nodes[bounds[target] : bounds[target + 1]]
        forest.spread(held, width, costs, patch.top, patch.left, np.inf, patch.distance)
        forest.spread(held, width, given, patch.top, patch.left, 0.0, patch.flow)
        return patch.distance

    total, lost = _descend(image, boxes, fill)
    return torch.from_numpy(total), lost


def _descend(image: PointedGraph, boxes: np.ndarray, fill: _Fill) -> tuple[np.ndarray, list[int]]:
    """(4, H, W) sums over all targets, and those left out; ``boxes`` are (K, 4), as of :func:`.forest.sort_nodes`."""
    edges = image.edges.contiguous().numpy()
    order = np.argsort(image.target, kind="stable")
    points, starts = image.pixels[order], np.searchsorted(image.target[order], np.arange(len(boxes) + 1))
    total, lost = np.zeros(edges.shape), []

    def descend(task: tuple[int, _Patch]) -> bool:
        target, patch = task
        own = points[starts[target] : starts[target + 1]]
        whole = forest.grow(edges, patch.top, patch.left, fill(target, patch), own, patch.parent)
        if whole:
            forest.gather(patch.parent, patch.flow, patch.children, patch.queue)
        return whole

    for group in _groups(boxes, edges[0].size, edges.dtype):
        serial = sum(patch.flow.size for _, patch in group) < _SERIAL
        whole = run_parallel(descend, group, serial=serial)
        lost += [target for (target, _), kept in zip(group, whole, strict=True) if not kept]
        found = [patch for (_, patch), kept in zip(group, whole, strict=True) if kept]
        run_parallel(partial(_add, found, total), range(0, len(total[0]), _BAND), serial=serial)
    return total, lost


def _add(patches: Sequence[_Patch], total: np.ndarray, top: int) -> None:
    bottom = min(top + _BAND, total.shape[1])
    for patch in patches:
        forest.add_flow(patch.parent, patch.flow, patch.top, patch.left, top, bottom, total)


def _groups(boxes: np.ndarray, pixels: int, dtype: np.dtype) -> Iterator[list[tuple[int, _Patch]]]:
    """The targets that fill anything, a few at a time, in memory that each few use again."""
    room = min(torch.get_num_threads(), 16, len(boxes)) * pixels  # new memory takes as long as its use
    distance, parent, flow, children = (np.empty(room, kind) for kind in (dtype, np.uint8, np.float64, np.uint8))
    queue = np.empty(room + len(boxes), np.uint32)
    group: list[tuple[int, _Patch]] = []
    used = 0
    for target, (top, left, bottom, right) in enumerate(boxes.tolist()):
        shape = bottom - top, right - left
        size = shape[0] * shape[1]
        if used + size > room:
            yield group
            group, used = [], 0
        if size:
            part, places = slice(used, used + size), slice(used + len(group), used + len(group) + size + 1)
            costs, above, sums = (own[part].reshape(shape) for own in (distance, parent, flow))
            group.append((target, _Patch(top, left, costs, above, sums, children[part], queue[places])))
            used += size
    if group:
        yield group
