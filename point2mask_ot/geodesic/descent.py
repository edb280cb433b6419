"""The forest of cheapest paths, and the gradient along it: on any device, and the reference.

Each pixel that a target reaches has one *parent* in its map, the pixel before it on one of its cheapest paths: the
first of the 8 neighbours in raster order that is nearer and from which a tight edge leads to it, one of cost w with
``distance[q] + w == distance[p]`` to the bit. Where there is none, because edges cost nothing or less than rounding
keeps, it is the first neighbour of equal distance behind such an edge that is fewer of these steps away from a pixel
that has a nearer parent, or from a point of the target. A point of the target has none. So parents form a forest.

A cost is the sum of the edges between pixels and their parents up to the point. So the derivative by such an edge is
the sum of the gradients of all pixels below it: no search, no choice but the parent's, and nothing else to keep.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..graph.grid import FORWARD_OFFSETS, pair_slices
from .arguments import PointedGraph
from .portable import until_stable

_MAPS = 8
"""Made at a time."""
_NOBODY = 8
"""In place of the direction of a parent."""


def from_maps(image: PointedGraph, distance: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """(4, H, W) float64 gradient to the edges, from (K, H, W) distances and the gradient to them."""
    total = image.edges.new_zeros(image.edges.shape, dtype=torch.float64)
    for first in range(0, len(distance), _MAPS):
        part = slice(first, first + _MAPS)
        _descend(image, first, distance[part], gradient[part], total)
    return total


def from_nearest(
    image: PointedGraph, labels: torch.Tensor, distances: torch.Tensor, gradient: torch.Tensor
) -> tuple[torch.Tensor, list[int]]:
    """The same from (k, H, W) nearest targets, and the targets that this leaves out: what is held of them has holes."""
    total = image.edges.new_zeros(image.edges.shape, dtype=torch.float64)
    lost = [torch.zeros(0, dtype=torch.bool, device=total.device)]
    for first in range(0, image.num_targets, _MAPS):
        held = [labels == target for target in range(first, min(first + _MAPS, image.num_targets))]
        maps = torch.stack([torch.where(own, distances, torch.inf).amin(0) for own in held])
        given = torch.stack([torch.where(own, gradient, 0).sum(0) for own in held])
        lost.append(_descend(image, first, maps, given, total))
    return total, torch.cat(lost).nonzero()[:, 0].tolist()


def _descend(
    image: PointedGraph, first: int, distance: torch.Tensor, gradient: torch.Tensor, total: torch.Tensor
) -> torch.Tensor:
    """Add what flows along edges in the (T, H, W) maps of the targets from ``first`` on; (T,) whether one has holes.

    Of maps with holes nothing is added.
    """
    direction, has_holes = _parents(image.edges, distance, _points(image, first, distance))
    flow = torch.where(distance < torch.inf, gradient.to(total.dtype), 0)
    flow = _sums_below(direction, flow).masked_fill_(has_holes[:, None, None], 0)
    for _, end, channel, here, k in _directions():
        total[channel, *here] += torch.where(direction[:, *end] == k, flow[:, *end], 0).sum(0)
    return has_holes


def _points(image: PointedGraph, first: int, distance: torch.Tensor) -> torch.Tensor:
    """(T, H, W) bool, where the targets' points lie."""
    count, _, width = distance.shape
    own = (image.target >= first) & (image.target < first + count)
    pixels = image.pixels[own]
    places = torch.from_numpy((image.target[own] - first) * distance[0].numel() + pixels[:, 0] * width + pixels[:, 1])
    points = torch.zeros_like(distance, dtype=torch.bool)
    points.view(-1).index_fill_(0, places.to(distance.device), True)
    return points


def _parents(edges: torch.Tensor, distance: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, H, W) direction of each parent, of 8 in raster order, and (T,) whether a pixel found no way to a point."""
    direction = torch.full_like(distance, _NOBODY, dtype=torch.int8)
    flat = []
    for origin, end, channel, here, k in _directions():
        before, after = distance[:, *origin], distance[:, *end]
        is_tight = (before + edges[channel, *here] == after) & (after < torch.inf)
        flat.append(is_tight & (before == after))
        own = direction[:, *end]
        own.copy_(torch.where(is_tight & (before < after) & (own > k), k, own))
    loose = (distance < torch.inf) & (direction == _NOBODY) & ~points
    if not bool(loose.any()):
        return direction, loose.any(2).any(1)
    far = distance[0].numel()
    steps = torch.where(loose | (distance == torch.inf), far, 0)

    def relax() -> None:
        for (origin, end, *_), is_flat in zip(_directions(), flat, strict=True):
            own = steps[:, *end]
            torch.minimum(own, torch.where(is_flat, steps[:, *origin] + 1, far), out=own)

    until_stable(steps, relax)
    for (origin, end, _, _, k), is_flat in zip(_directions(), flat, strict=True):
        own, is_next = direction[:, *end], is_flat & (steps[:, *origin] < steps[:, *end])
        own.copy_(torch.where(is_next & loose[:, *end] & (own > k), k, own))
    return direction, (loose & (direction == _NOBODY)).any(2).any(1)


def _sums_below(direction: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """(T, H, W) sum of the flow of each pixel and all below it, by doubling how far each looks up."""
    width, nobody = direction.shape[2], direction.numel()
    ways = direction.new_tensor(
        [-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1, 0], dtype=torch.int64
    )
    above = torch.arange(nobody, device=flow.device) + ways[direction.reshape(-1).long()]
    above[direction.reshape(-1) == _NOBODY] = nobody
    above = torch.cat([above, above.new_tensor([nobody])])
    sums = torch.cat([flow.reshape(-1), flow.new_zeros(1)])
    while bool((above < nobody).any()):
        sums = _added(sums, above, sums)
        sums[nobody] = 0
        above = above[above]
    return sums[:nobody].view(flow.shape)


def _added(values: torch.Tensor, index: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """A copy with more added at places that may repeat, in an order that is always the same."""
    if values.device.type == "cpu":
        return values.index_add(0, index, more)
    return values.index_put((index,), more, accumulate=True)  # sorts; index_add adds there in whatever order


def _directions() -> Iterator[tuple]:
    """Where paths come from and where they go: ``(origin, end, channel, here, k)``.

    ``k`` is the direction of ``origin`` as seen from ``end``, and the edge's cost is kept in ``channel`` at ``here``.
    """
    for channel, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        yield here, there, channel, here, 3 - channel
        yield there, here, channel, here, 4 + channel
