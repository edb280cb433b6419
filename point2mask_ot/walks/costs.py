"""Costs from random walks instead of shortest paths: how unlikely a walk from a pixel first meets a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check_integer, check_number
from ..geodesic.arguments import as_call, checked_images
from .operators import costs_operator
from .picture import picture_labels

LEAST_SPACING_COST = 1e-6
"""Far smaller ones round to zero in single precision."""


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
        precision. For a batch or a list a list of such arrays. Deterministic.

        Gradients flow to ``edges``, by one more solve of the same system, as accurate as ``cycles`` make it: in single
        precision, two left an error of 0.0001 to 0.002 of its norm on photographs, up to 0.008 where edges were
        squared; where costs take more cycles, so does it. Double precision with 12 is exact to about 1e-10. It is 0 at
        the diagonals, at walls and where no walk leads, with one target, and of a cost that edges do not change: at
        the points, and where the probability is below 1e-6. What comes back for a cost of +inf is ignored, be it NaN.
        The number of pixels, which the spacing is taken from, is a constant.

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
    found = costs_operator(*call.operands, spacing_cost, cycles) if call.images else []
    results = [call.restore(cost) for cost in found]
    return results[0] if call.is_single else results


def random_walk_partition(
    edges: Sequence[Tensor], points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray], *, spacing_cost: float
) -> list[Tensor]:
    """(H, W) int64 target whose points a walk most probably meets first, for each image; -1 where it meets none."""
    call = as_call("random_walk_partition", list(edges), list(points_yx), list(target)).detached()
    images = checked_images("random_walk_partition", *call.operands) if call.images else []
    return [picture_labels(image, spacing_cost) for image in images]
