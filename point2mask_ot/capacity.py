"""How many pixels each target should own: supplier capacities (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, cast

import numpy as np
import torch

from .arrays import Array, as_optional_tensors
from .checks import check_choice, check_integer, fail, fail_type
from .geodesic import nearest_partition
from .geodesic._distances import as_edges
from .points import pixel_indices
from .types import PointTargets

Partition: TypeAlias = Callable[[np.ndarray, np.ndarray], torch.Tensor]
"""``partition(points_yx, target)`` -> (H, W) int64: the target that each pixel falls to, -1 where none can."""

CapacityRule: TypeAlias = Callable[[Partition, PointTargets, torch.Tensor], Array]
"""``rule(partition, targets, demand)`` -> (K,): an estimate of one's own; ``demand`` is (H, W), 0 = takes no part."""

_METHODS = ("centroid", "nearest", "equal")


def capacities(
    edges: Array,
    targets: PointTargets | Sequence[PointTargets],
    *,
    method: str | CapacityRule = "centroid",
    iterations: int = 1,
    centroid_of: str = "cell",
    demand: Array | None = None,
    backend: str = "auto",
) -> Array | list[Array]:
    """Pixels that each target should own, estimated from a partition of the image by geodesic cost (Eq. 4).

    ``"centroid"`` takes the partition by the nearest point, moves each point of a thing to the centroid of the
    pixels that are nearest to it, and counts the partition by the nearest of these; ``iterations`` repeats that
    (Table 6). A point stays where it is if its pixels do not include both it and their centroid: the centroid of a
    ring or a crescent lies in somebody else's pixels. Stuff, which has no centre, keeps its points. ``"nearest"``
    counts the partition by the nearest point, ``"equal"`` gives every target the same share.

    Args:
        edges: (4, H, W) or (B, 4, H, W) edge costs.
        targets: K targets, or a sequence of B of them for a batch.
        method: ``"centroid"``, ``"nearest"``, ``"equal"`` or a :data:`CapacityRule`.
        iterations: centroid rounds, >= 1.
        centroid_of: ``"cell"`` moves each point of a thing by itself; ``"target"`` replaces all points of a thing by
            one centroid, as the released code does. The same where each thing has one point.
        demand: (H, W) or (B, H, W), what each pixel asks for: booleans or weights >= 0. Default: 1 everywhere.
            Pixels of zero demand count for nothing, nor do they move a centroid; paths may cross them.
        backend: of :func:`~point2mask_ot.nearest_partition`.

    Returns:
        (K,) float64 in units of the demand (pixels); for a batch a list of them. They sum to the demand of the
        pixels that a point can reach. Counts of pixels are whole numbers.

    Raises:
        ArgumentError: bad edges or points, an unknown method, ``iterations < 1``, demand of another size, negative
            or not finite.

    Fails where regions are not convex: the centroid says little about a snake.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import PointTargets, edge_costs
        >>> edges = edge_costs(boundary=np.ones((1, 4, 9), np.float32))
        >>> targets = PointTargets([(1, 0), (1, 3)])
        >>> capacities(edges, targets, method="nearest").tolist()
        [9.0, 27.0]
        >>> capacities(edges, targets).tolist()
        [16.0, 20.0]
    """
    (_, demand_tensor), restore = as_optional_tensors("capacities", edges=edges, demand=demand)
    edge_tensor, _ = as_edges("capacities", edges)
    if edge_tensor.ndim == 4:
        batch = targets_by_image("capacities", targets, len(edge_tensor))
        demands = [None] * len(batch) if demand_tensor is None else list(demand_tensor)
        if len(demands) != len(batch):
            fail("capacities", "demand", f"{len(demands)} images", f"{len(batch)}, as in edges")
        jobs = list(zip(edge_tensor, batch, demands, strict=True))
    else:
        jobs = [(edge_tensor, targets_by_image("capacities", targets, None)[0], demand_tensor)]
    results = [
        restore(
            estimate_capacities(
                partial(_cheapest_path, one, backend),
                labelled,
                _check_demand(wanted, one),
                method=method,
                iterations=iterations,
                centroid_of=centroid_of,
            )
        )
        for one, labelled, wanted in jobs
    ]
    return results if edge_tensor.ndim == 4 else results[0]


def _cheapest_path(edges: torch.Tensor, backend: str, points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
    return cast(torch.Tensor, nearest_partition(edges, points_yx, target, backend=backend).labels)


def estimate_capacities(
    partition: Partition,
    targets: PointTargets,
    demand: torch.Tensor,
    *,
    method: str | CapacityRule,
    iterations: int = 1,
    centroid_of: str = "cell",
) -> torch.Tensor:
    """Capacities from any way to cut the image, not only the cheapest path; see :func:`capacities`.

    Args:
        partition: cuts the image among given points.
        targets: K targets.
        demand: (H, W) weights >= 0.
        method, iterations, centroid_of: as in :func:`capacities`.

    Returns:
        (K,) float64 on the device of ``demand``.

    Raises:
        ArgumentError: an unknown method, ``iterations < 1``, a rule whose result is not (K,), finite and >= 0.
    """
    rounds = check_integer("capacities", "iterations", iterations, minimum=1)
    if callable(method):
        return _check_rule(method(partition, targets, demand), targets.num_targets, demand)
    check_choice("capacities", "method", method, _METHODS)
    check_choice("capacities", "centroid_of", centroid_of, ("cell", "target"))

    def regions(points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
        # Pixels that ask for nothing would pull the centroids out of the objects.
        return torch.where(demand > 0, partition(points_yx, target), -1)

    if method == "centroid":
        labels = _nearest_centroid(regions, targets, rounds, by_cell=centroid_of == "cell")
    else:
        labels = regions(targets.points_yx, targets.target)
    if method == "equal":
        return _equal_shares(float(demand[labels >= 0].double().sum()), targets.num_targets, demand.device)
    return _count(labels, demand, targets.num_targets)


def _nearest_centroid(regions: Partition, targets: PointTargets, rounds: int, *, by_cell: bool) -> torch.Tensor:
    """(H, W) targets by the nearest centroid, after ``rounds`` of moving the points there."""
    points, unit, owner = targets.points_yx, targets.target, np.arange(targets.num_targets)
    if by_cell and len(points) > len(owner):
        order = np.argsort(unit, kind="stable")  # so that ties still go to the first target
        points, unit, owner = points[order], np.arange(len(points)), unit[order]
    labels = regions(points, unit)
    for remaining in reversed(range(rounds)):
        points, unit = _move_to_centroids(labels, points, unit, targets.is_thing[owner])
        if remaining:
            moved = regions(points, unit)
            labels = torch.where(moved >= 0, moved, labels)
    counted = regions(points, owner[unit])
    # One centroid may sit in one component of a target whose points covered several: the rest stays its own.
    before = torch.from_numpy(np.append(owner, -1)).to(labels.device)[labels]  # -1 picks the last entry
    return torch.where(counted >= 0, counted, before)


def _count(labels: torch.Tensor, demand: torch.Tensor, count: int) -> torch.Tensor:
    """x_i of Eq. 4: the demand that falls to each target."""
    owned = labels >= 0
    return torch.bincount(labels[owned], weights=demand[owned].double(), minlength=count)


def _equal_shares(total: float, count: int, device: torch.device) -> torch.Tensor:
    """Whole pixels where the total is whole: the first targets take one more each."""
    shares = torch.full((count,), total / max(count, 1), dtype=torch.float64, device=device)
    if total.is_integer() and count:
        shares = shares.floor()
        shares[: int(total) % count] += 1
    return shares


def _move_to_centroids(
    labels: torch.Tensor, points_yx: np.ndarray, unit: np.ndarray, movable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(points_yx, unit) with each movable unit at the centroid of its region, or where it was if that refuses it."""
    count = len(movable)
    owned = labels >= 0
    regions = labels[owned]
    area = torch.bincount(regions, minlength=count).clamp(min=1)
    rows, columns = torch.nonzero(owned, as_tuple=True)
    means = [torch.bincount(regions, weights=axis.double(), minlength=count) / area for axis in (rows, columns)]
    centres = torch.stack(means, 1).add(0.5).floor().long().cpu().numpy()

    region_of = labels.cpu().numpy()
    pixels = pixel_indices("capacities", points_yx, *labels.shape)
    holds_centre = region_of[tuple(centres.T)] == np.arange(count)
    holds_source = np.zeros(count, bool)
    holds_source[unit[region_of[tuple(pixels.T)] == unit]] = True
    moves = movable & holds_centre & holds_source

    stays = ~moves[unit]
    points = np.concatenate([centres[moves], pixels[stays]])
    return points, np.concatenate([np.flatnonzero(moves), unit[stays]])


def targets_by_image(function: str, targets: object, batch: int | None) -> list[PointTargets]:
    """``targets`` as a list: one for a single image (``batch=None``), else one for each image of the batch."""
    if batch is None:
        if not isinstance(targets, PointTargets):
            fail_type(function, "targets", targets, "PointTargets, since the maps hold a single image")
        return [targets]
    if isinstance(targets, PointTargets) or not isinstance(targets, Sequence):
        fail_type(function, "targets", targets, f"a sequence of {batch} PointTargets, one for each image")
    for entry in targets:
        if not isinstance(entry, PointTargets):
            fail_type(function, "targets", entry, "PointTargets")
    if len(targets) != batch:
        fail(function, "targets", f"{len(targets)} entries", f"{batch}, one for each image")
    return list(targets)


def _check_demand(demand: torch.Tensor | None, edges: torch.Tensor) -> torch.Tensor:
    if demand is None:
        return torch.ones(edges.shape[-2:], dtype=torch.float64, device=edges.device)
    if demand.shape != edges.shape[-2:]:
        fail("capacities", "demand", f"shape {tuple(demand.shape)}", f"{tuple(edges.shape[-2:])}")
    if demand.is_complex() or not bool((demand.double() >= 0).all() and torch.isfinite(demand).all()):
        fail("capacities", "demand", "negative or non-finite values", "finite weights >= 0")
    return demand.double()


def _check_rule(result: object, count: int, demand: torch.Tensor) -> torch.Tensor:
    if isinstance(result, np.ndarray):
        result = torch.from_numpy(result.copy())
    if not isinstance(result, torch.Tensor) or result.shape != (count,):
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        fail("capacities", "method", f"a rule that returned {got}", f"an array of shape ({count},)")
    values = result.to(demand.device, torch.float64)
    if not bool((values >= 0).all() and torch.isfinite(values).all()):
        fail("capacities", "method", "a rule that returned negative or non-finite values", "finite values >= 0")
    return values
