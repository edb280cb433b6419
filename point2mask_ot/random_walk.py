"""Costs from random walks instead of shortest paths: how unlikely a walk from a pixel first meets a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from . import checks
from ._walk_parts import find_parts
from .arrays import to_device
from .checks import check_integer, check_number
from .geodesic import geodesic_distances, nearest_partition
from .geodesic._distances import as_call
from .geodesic._operators import Image, checked_images

LEAST_PROBABILITY = 1e-6
"""What single precision cannot tell from zero; its cost is about 14."""

LEAST_SPACING_COST = 1e-6
"""Far smaller ones round to zero in single precision."""

BLOCKS = 64
"""Blocks of pixels along the typical distance between points, at least, where regions are only counted."""


def random_walk_costs(
    edges: Any, points_yx: Any, target: Any = None, *, spacing_cost: float = 0.3, cycles: int = 2
) -> Any:
    """Minus the logarithm of the probability that a random walk from each pixel meets a target's points first.

    The walk steps to the 4 neighbours, with probabilities in proportion to 1 / cost of the edge: an edge's cost is its
    electrical resistance. Unlike the cheapest path, which one gap in a boundary lets through, a walk counts all ways at
    once: it rarely finds a gap or passes a narrow neck (Grady, Random walks for image segmentation, PAMI 2006). The
    cheapest target of a pixel is the random walker's label; and for entropic transport with ``reg=1`` the plan is the
    walk's probability, reweighted to the capacities.

    Args:
        edges: (4, H, W), (B, 4, H, W) or a list, as for :func:`geodesic_distances`; the two diagonals are not used.
        points_yx, target: as for :func:`geodesic_distances`.
        spacing_cost: what is added to the edges along a straight way as long as the typical distance between
            points, the root of the pixels per target; at least 1e-6. The larger, the less the picture counts. In these
            units the result does not depend on the resolution.
        cycles: of multigrid on each grid. On photographs one leaves a mean error of a few ten-thousandths of a
            probability (0.0001 to 0.0014, also where edges were squared), and each further one about a fifth of
            that. Where a wall surrounds a part, or neighbouring edges differ by a factor of hundreds, two leave 0.001
            to 0.01; where they differ at random by many orders of magnitude it takes tens of cycles.

    Returns:
        (K, H, W) costs >= 0, 0 at the target's points (log n where n targets share a pixel); +inf where no walk leads
        from the pixel to the target. At most 13.9 elsewhere: smaller probabilities than 1e-6 are lost in single
        precision. For a batch or a list a list of such arrays. Deterministic; no gradient flows.

    Raises:
        ArgumentError, ArgumentTypeError: as :func:`geodesic_distances`; a ``spacing_cost`` below 1e-6.

    Example:
        >>> import numpy as np
        >>> edges = np.zeros((4, 1, 5), np.float32)
        >>> probability = np.exp(-random_walk_costs(edges, [(0, 0), (0, 4)]))
        >>> (100 * probability[:, 0]).round().astype(int).tolist()
        [[100, 75, 50, 25, 0], [0, 25, 50, 75, 100]]
    """
    name = "random_walk_costs"
    spacing_cost = check_number(name, "spacing_cost", spacing_cost, minimum=LEAST_SPACING_COST)
    cycles = check_integer(name, "cycles", cycles, minimum=1)
    call = as_call(name, edges, points_yx, target)
    images = checked_images(name, *call.operands) if call.images else []
    results = [call.restore(_costs(image, spacing_cost, cycles)) for image in images]
    return results[0] if call.is_single else results


def random_walk_partition(
    edges: Sequence[Tensor], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray], *, spacing_cost: float
) -> list[Tensor]:
    """(H, W) int64 target whose points a walk most probably meets first, for each image; -1 where it meets none."""
    call = as_call("random_walk_partition", list(edges), list(points_yx), list(target))
    images = checked_images("random_walk_partition", *call.operands) if call.images else []
    return [_labels(image, spacing_cost) for image in images]


def _costs(image: Image, spacing_cost: float, cycles: int) -> Tensor:
    parts = find_parts(image)
    if parts is None:
        reached = cast(Tensor, geodesic_distances(_straight(image), image.pixels, image.target)) < torch.inf
        step = _step(image, reached.any(0).sum(), spacing_cost)
        return Walk(image, reached.any(0), step).costs(cycles).masked_fill_(~reached, torch.inf)
    step = _step(image, sum(part.pixels.sum() for part in parts), spacing_cost)
    if len(parts) == 1 and parts[0].is_as_large_as(image):
        return Walk(image, parts[0].pixels, step).costs(cycles)
    cost = image.edges.new_full((image.num_targets, *image.edges.shape[1:]), torch.inf)
    for part in parts:
        own = Walk(part.cut(image), part.pixels, step).costs(cycles)
        for k, values in zip(part.targets.tolist(), own, strict=True):  # boxes may overlap, parts do not
            there = cost[k, *part.box]
            torch.minimum(there, values.to(there.dtype), out=there)
    return cost


def _labels(image: Image, spacing_cost: float) -> Tensor:
    parts = find_parts(image)
    if parts is None:
        reached = cast(Tensor, nearest_partition(_straight(image), image.pixels, image.target).labels) >= 0
        return Walk(image, reached, _step(image, reached.sum(), spacing_cost)).labels()
    step = _step(image, sum(part.pixels.sum() for part in parts), spacing_cost)
    label = torch.full(image.edges.shape[1:], -1)
    for part in parts:
        own = Walk(part.cut(image), part.pixels, step).labels()
        label[part.box] = torch.where(part.pixels, torch.from_numpy(part.targets)[own.clamp(min=0)], label[part.box])
    return label


def _step(image: Image, reached: Tensor | int, spacing_cost: float) -> Tensor:
    """0-d, what is added to the edges where so many pixels are reached."""
    pixels = torch.as_tensor(reached, device=image.edges.device).clamp(min=1)
    return spacing_cost * (image.num_targets / pixels.to(image.edges.dtype)).sqrt()


class Walk:
    """The walks of one part of an image.

    Attributes:
        edges: (4, H, W) costs.
        reached: (H, W) bool: pixels from which a walk leads to some point.
        step: 0-d, what is added to the costs.
        seeds, target, share: (N, 2) pixels of the points, (N,) their target and (N,) its share of the pixel, since
            several targets may have a point there.
        count: K.
    """

    def __init__(self, image: Image, reached: Tensor, step: Tensor) -> None:
        self.image, self.reached, self.step = image, reached, step
        self.edges, self.count = image.edges, image.num_targets
        pairs = np.unique(np.column_stack([image.pixels, image.target]), axis=0)
        _, place, sharers = np.unique(pairs[:, :2], axis=0, return_inverse=True, return_counts=True)
        self.seeds, self.target, self.share = pairs[:, :2], pairs[:, 2], 1 / sharers[place.ravel()]

    def costs(self, cycles: int) -> Tensor:
        """(K, H, W) minus the logarithm of the probability, +inf where no walk arrives."""
        if self.count == 1:  # whom else could a walk meet
            return self.edges.new_zeros(1, *self.reached.shape).masked_fill_(~self.reached, torch.inf)
        cost = self._solver().probabilities(self, cycles).clamp_(LEAST_PROBABILITY, 1).reciprocal_().log_()
        return cost.masked_fill_(~self.reached, torch.inf)

    def labels(self) -> Tensor:
        """(H, W) most probable target, the first of equals, on a grid that is as fine as regions need."""
        if self.count == 1:
            return self.reached.long() - 1
        height, width = self.reached.shape
        walk, side, limit = self, 1, self._largest_block()
        while 2 * side <= limit:
            walk, side = walk.halved(), 2 * side
        labels = walk._solver().most_probable(walk)
        if side > 1:
            labels = labels.repeat_interleave(side, 0)[:height].repeat_interleave(side, 1)[:, :width]
        labels = torch.where(self.reached, labels, -1)
        seeds, first = np.unique(self.seeds[:, 0] * labels.shape[1] + self.seeds[:, 1], return_index=True)
        own = (to_device(each, labels.device) for each in (seeds, self.target[first]))
        labels.view(-1).index_copy_(0, *own)  # blocks may hold several points, or nothing else
        return labels

    def _largest_block(self) -> float:
        """Side of the largest blocks that leave enough of them for regions; 1 where counting would make us wait."""
        if not checks.values_at_hand(self.reached):
            return 1
        spacing = (int(self.reached.sum()) / max(self.count, 1)) ** 0.5
        return spacing / BLOCKS

    def halved(self) -> Walk:
        """The walks between blocks of 2 x 2 pixels: two ways of two steps lead from each block to the next."""
        height, width = self.reached.shape
        open_edges = torch.where(self.reached, self.edges[[0, 2]] + self.step, torch.inf)
        right = _between_blocks(open_edges[0])
        down = _between_blocks(open_edges[1].T).T
        edges = torch.full((4, *right.shape), torch.inf, dtype=right.dtype)
        edges[0], edges[2] = (right - self.step).clamp_(min=0), (down - self.step).clamp_(min=0)
        padded = torch.nn.functional.pad(self.reached, (0, width % 2, 0, height % 2))
        reached = padded.view(right.shape[0], 2, right.shape[1], 2).any(3).any(1)
        image = Image(edges, self.image.pixels // 2, self.image.target, self.count)
        return Walk(image, reached, self.step)

    def _solver(self) -> Any:
        if checks.values_at_hand(self.edges) and self.edges.dtype == torch.float32 and not self._has_walls():
            from . import _walk_numba

            return _walk_numba
        from . import _walk_torch

        return _walk_torch

    def _has_walls(self) -> bool:
        """Between pixels that walks reach. Blocks lie on both sides of them, which cycles alone may hardly mend."""
        right = torch.isinf(self.edges[0, :, :-1]) & self.reached[:, :-1] & self.reached[:, 1:]
        down = torch.isinf(self.edges[2, :-1]) & self.reached[:-1] & self.reached[1:]
        return bool(right.any() or down.any())


def _between_blocks(right: Tensor) -> Tensor:
    """(H, W) resistance from each pixel to the next on its right -> (ceil H / 2, ceil W / 2) the same for blocks."""
    height, width = right.shape
    right = torch.nn.functional.pad(right, (0, width % 2, 0, height % 2), value=torch.inf)
    within, across = right[:, 0::2], right[:, 1::2]
    beyond = torch.nn.functional.pad(within[:, 1:], (0, 1), value=torch.inf)
    # Where a wall divides a block its halves are one all the same, or blocks could be cut off.
    ways = across + 0.5 * sum(torch.where(inner < torch.inf, inner, across) for inner in (within, beyond))
    return 1 / (1 / ways[0::2] + 1 / ways[1::2])


def _straight(image: Image) -> Tensor:
    """Edges without the diagonals, which walks do not use."""
    straight = image.edges.clone()
    straight[1] = straight[3] = torch.inf
    return straight
