"""Minimum spanning tree and tree filter in torch, for any device and without making it wait.

What walks along the tree on the CPU jumps pointers here: after k rounds each node knows its ancestor 2^k edges up,
so ceil(log2 N) rounds of gathers reach every root. Sums go through ``index_put_``, which on a GPU sorts first and
adds in the same order in every run.

Images of a batch are one forest: pixel i of image b is vertex b * N + i.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # right, down, left, up


def colour_distances(image: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Squared L2 distance of the colours along the right and down edges, (B, 2, H, W).

    +inf where there is no edge, and where an end of it is not ``valid`` (B, H, W).
    """
    batch, _, height, width = image.shape
    distances = torch.full((batch, 2, height, width), torch.inf, dtype=dtype, device=image.device)
    for edge, (dy, dx) in enumerate(_STEPS[:2]):
        rows, columns = height - dy, width - dx
        total = distances.new_zeros(batch, rows, columns)
        for channel in image.to(dtype).unbind(1):  # one after the other, as the compiled kernel adds them
            difference = channel[:, :rows, :columns] - channel[:, dy:, dx:]
            total += difference * difference
        joined = valid[:, :rows, :columns] & valid[:, dy:, dx:]
        distances[:, edge, :rows, :columns] = torch.where(joined, total, torch.inf)
    return distances


def spanning_tree(distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 2, H, W) edge weights to the (B, N) order, parent and distance of the compiled ``preorder``."""
    neighbours = _neighbours(distances)
    links = _boruvka(distances, neighbours)
    position, parent, direction = _root_at_first_pixel(links, neighbours, len(distances))
    right, down = distances.unbind(1)
    weights = torch.stack((right, down, right.roll(1, 2), down.roll(1, 1)), -1).view(-1, 4)
    to_parent = weights.gather(1, direction[:, None])[:, 0]

    vertices = torch.arange(len(position), device=position.device)
    order = torch.empty_like(vertices)
    order[position] = vertices
    batch, size = len(distances), right[0].numel()
    first = torch.arange(batch, device=order.device)[:, None] * size
    distance = to_parent[order].view(batch, size)
    distance[:, 0] = 0
    return (
        (order.view(batch, size) - first).int(),
        (parent[order].view(batch, size) - first).int(),
        distance,
    )


def _neighbours(distances: Tensor) -> Tensor:
    """(B * N, 4): the vertex in each direction, the vertex itself beyond the border."""
    batch, _, height, width = distances.shape
    vertices = torch.arange(batch * height * width, device=distances.device).view(batch, height, width)
    columns = []
    for dy, dx in _STEPS:
        there = vertices.roll((-dy, -dx), (1, 2))
        if dy:
            there[:, -1 if dy > 0 else 0] = vertices[:, -1 if dy > 0 else 0]
        else:
            there[:, :, -1 if dx > 0 else 0] = vertices[:, :, -1 if dx > 0 else 0]
        columns.append(there.flatten())
    return torch.stack(columns, 1)


def _boruvka(distances: Tensor, neighbours: Tensor) -> Tensor:
    """(B * N, 4) bool: the directions in which the tree has an edge. Ties go to the smaller edge number."""
    batch, _, height, width = distances.shape
    size, total = height * width, batch * height * width
    by_weight = distances.movedim(1, -1).reshape(batch, 2 * size).argsort(dim=1, stable=True)
    by_weight = (by_weight + torch.arange(batch, device=by_weight.device)[:, None] * 2 * size).flatten()
    rank = torch.empty_like(by_weight)
    rank[by_weight] = torch.arange(2 * total, device=by_weight.device)

    vertices = torch.arange(total, device=by_weight.device)
    ends = vertices.repeat_interleave(2), neighbours[:, :2].flatten()
    component = vertices
    chosen = torch.zeros(2 * total + 1, dtype=torch.bool, device=by_weight.device)  # one more: no edge at all
    for merged in range((size - 1).bit_length()):  # each round at least halves the components of an image
        here, there = component[ends[0]], component[ends[1]]
        candidates = torch.where(here != there, rank, 2 * total)
        lightest = torch.full_like(vertices, 2 * total)
        lightest = lightest.scatter_reduce(0, here, candidates, "amin").scatter_reduce(0, there, candidates, "amin")
        found = lightest < 2 * total
        edge = by_weight[lightest.clamp_max(2 * total - 1)]
        chosen[torch.where(found, edge, 2 * total)] = True
        toward = torch.where(here[edge] == vertices, there[edge], here[edge])
        is_root = ~found | ((toward[toward] == vertices) & (vertices < toward))
        toward = torch.where(is_root, vertices, toward)
        for _ in range((size - 1).bit_length() - merged):
            toward = toward[toward]
        component = toward[component]
    right, down = chosen[:-1].view(batch, height, width, 2).unbind(-1)
    return torch.stack((right, down, right.roll(1, 2), down.roll(1, 1)), -1).view(total, 4)


def _root_at_first_pixel(links: Tensor, neighbours: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Position in the depth-first preorder, parent vertex and direction of the parent, each (B * N).

    The walk around the tree passes every edge twice: half-edge 4 * vertex + direction leaves the vertex. Having
    arrived, it turns left, else goes straight, else right, else back.
    """
    total = len(links)
    size = total // batch
    exists = links.flatten()
    half_edges = torch.arange(4 * total, device=links.device)
    direction = half_edges % 4
    at = torch.where(links, neighbours, neighbours.new_zeros(())).flatten()
    back = at * 4 + (direction + 2) % 4
    following = back
    for turn in (1, 0, -1):
        turned = at * 4 + (direction + turn) % 4
        following = torch.where(exists[turned], turned, following)

    first_pixel = torch.arange(batch, device=links.device) * size
    start = 4 * first_pixel + torch.where(links[first_pixel, 0], 0, 1)
    is_start = torch.zeros_like(exists)
    is_start[start] = True
    following = torch.where(exists & ~is_start[following], following, half_edges)
    remaining = (following != half_edges).long()  # half-edges still to come
    for _ in range((2 * size).bit_length()):
        remaining = remaining + remaining[following]
        following = following[following]

    step = (2 * (size - 1) - 1) - remaining  # of the walk around its image
    downward = exists & (step < step[back])
    image = half_edges // (4 * size)
    slot = torch.where(downward, image * 2 * size + step, 2 * total)
    opened = torch.zeros(2 * total + 1, dtype=torch.long, device=links.device)
    opened[slot] = 1
    opened = opened[:-1].view(batch, 2 * size).cumsum(1).flatten()

    upward = (exists & ~downward).view(total, 4)
    to_parent = upward.long().argmax(1)
    way_up = 4 * torch.arange(total, device=links.device) + to_parent
    is_child = upward.any(1)
    arrival = step[back[way_up]] + image[way_up] * 2 * size
    position = torch.where(is_child, opened[torch.where(is_child, arrival, 0)], 0) + image[way_up] * size
    parent = torch.where(is_child, at[way_up], way_up // 4)
    return position, parent, to_parent


def tree_filter(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor) -> Tensor:
    """(B, C, N) values, (B, N) affinities, order and parents: the sum over the image of path affinity * value."""
    jumps = _jumps(affinity, order, parent)
    total = _from_root(_own_share(_to_root(_rows(values), jumps), jumps), jumps)
    return total.view(len(values), -1, values.shape[1]).transpose(1, 2).clone(memory_format=torch.contiguous_format)


def affinity_gradient(left: Tensor, right: Tensor, affinity: Tensor, order: Tensor, parent: Tensor) -> Tensor:
    """(B, N): the derivative of <left, tree_filter(right)> by the affinities, in preorder."""
    jumps = _jumps(affinity, order, parent)
    weight, above = jumps[0]
    U, V = (_to_root(_rows(side), jumps) for side in (left, right))
    above_U, above_V = (_from_root(_own_share(side, jumps), jumps)[above] for side in (U, V))
    gradient = (U * (above_V - weight * V) + V * (above_U - weight * U)).sum(1).view(affinity.shape)
    gradient = gradient.gather(1, order.long())
    gradient[:, 0] = 0
    return gradient


Jumps = list[tuple[Tensor, Tensor]]
"""For k = 0, 1, ...: (B * N, 1) affinity of the path to the ancestor 2^k edges up, and (B * N) that ancestor."""


def _jumps(affinity: Tensor, order: Tensor, parent: Tensor) -> Jumps:
    batch, size = order.shape
    first = torch.arange(batch, device=order.device)[:, None] * size
    vertices = (order + first).flatten()
    ancestor = torch.empty_like(vertices)
    ancestor[vertices] = (parent + first).flatten()
    weight = affinity.new_empty(batch * size)
    weight[vertices] = affinity.flatten()
    weight[first.flatten()] = 0  # nothing is above the root
    jumps = [(weight[:, None], ancestor)]
    for _ in range((size - 1).bit_length() - 1):
        weight, ancestor = weight * weight[ancestor], ancestor[ancestor]
        jumps.append((weight[:, None], ancestor))
    return jumps


def _rows(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(0, 1)


def _to_root(x: Tensor, jumps: Jumps) -> Tensor:
    """Each node's subtree, summed with the affinity of the paths to the node."""
    for weight, ancestor in jumps:
        x = x + torch.zeros_like(x).index_put_((ancestor,), weight * x, accumulate=True)
    return x


def _own_share(x: Tensor, jumps: Jumps) -> Tensor:
    weight = jumps[0][0]
    return (1 - weight * weight) * x


def _from_root(x: Tensor, jumps: Jumps) -> Tensor:
    """The transpose of :func:`_to_root`: each node's ancestors and itself."""
    for weight, ancestor in jumps:
        x = x + weight * x[ancestor]
    return x
