"""How many pixels each target should own: supplier capacities (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast, overload

import numpy as np
import torch

from .arrays import Array, Restore, as_optional_tensors, to_device
from .checks import check_choice, check_integer, fail, fail_type, require_all
from .geodesic import nearest_partition
from .geodesic.distances import as_edges
from .graph.regions import areas, look_up, profiles, weights
from .points import pixel_indices
from .types import PointTargets

Partition: TypeAlias = Callable[[np.ndarray, np.ndarray], torch.Tensor]
"""``partition(points_yx, target)`` -> (H, W) int64: the target that each pixel falls to, -1 where none can."""

CapacityRule: TypeAlias = Callable[[Partition, PointTargets, torch.Tensor], Array]
"""``rule(partition, targets, demand)`` -> (K,): an estimate of one's own; ``demand`` is (H, W) bool, or float64 where
weights were given, 0 = takes no part."""

BatchPartition: TypeAlias = Callable[[Sequence[int], Sequence[np.ndarray], Sequence[np.ndarray]], list[torch.Tensor]]
"""``partition(images, points_yx, target)``: the same for some images of a batch at once, by their indices."""

_METHODS = ("centroid", "nearest", "equal")


@overload
def capacities(
    edges: Array, targets: PointTargets, *, method: str | CapacityRule = ..., iterations: int = ...,
    centroid_of: str = ..., keep_points: bool = ..., demand: Array | None = ..., backend: str = ...,
) -> Array: ...  # fmt: skip
@overload
def capacities(
    edges: Array | Sequence[Array], targets: Sequence[PointTargets], *, method: str | CapacityRule = ...,
    iterations: int = ..., centroid_of: str = ..., keep_points: bool = ...,
    demand: Array | Sequence[Array] | None = ..., backend: str = ...,
) -> list[Array]: ...  # fmt: skip


def capacities(
    edges: Any,
    targets: Any,
    *,
    method: str | CapacityRule = "centroid",
    iterations: int = 1,
    centroid_of: str = "cell",
    keep_points: bool = False,
    demand: Any = None,
    backend: str = "auto",
) -> Any:
    """Pixels that each target should own, estimated from a partition of the image by geodesic cost (Eq. 4).

    ``"centroid"`` takes the partition by the nearest point, moves each point of a thing to the centroid of the
    pixels that are nearest to it, and counts the partition by the nearest of these; ``iterations`` repeats that
    (Table 6). A point stays where it is if its pixels do not include both it and their centroid: the centroid of a
    ring or a crescent lies in somebody else's pixels. Stuff, which has no centre, keeps its points. ``"nearest"``
    counts the partition by the nearest point, ``"equal"`` gives every target the same share.

    Args:
        edges: (4, H, W) or (B, 4, H, W) edge costs, or a list of (4, H, W) where images differ in size.
        targets: K targets, or a sequence of them for a batch or a list.
        method: ``"centroid"``, ``"nearest"``, ``"equal"`` or a :data:`CapacityRule`.
        iterations: centroid rounds, >= 1.
        centroid_of: ``"cell"`` moves each point of a thing by itself; ``"target"`` replaces all points of a thing by
            one centroid, as the released code does. The same where each thing has one point.
        keep_points: let the points themselves stay beside the centroids. Better on real pictures, photographs above
            all: what the annotator clicked is certain, the centroid is a guess.
        demand: (H, W) or (B, H, W), or a list for a list, what each pixel asks for: booleans or weights >= 0.
            Default: 1 everywhere. Pixels of zero demand count for nothing, nor do they move a centroid; paths may
            cross them.
        backend: of :func:`~point2mask_ot.nearest_partition`.

    Returns:
        (K,) float64 in units of the demand (pixels); for a batch or a list a list of them. They sum to the demand of
        the pixels that a point can reach. Counts of pixels are whole numbers.

    Raises:
        ArgumentError: bad edges or points, an unknown method, ``iterations < 1``, demand of another size, negative
            or not finite.

    Fails where regions are not convex: the centroid says little about a snake. On a GPU each centroid round waits for
    the device once, for the centroids of the whole batch, since points live on the host.

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
    images, demands, is_single, restore = _as_images("capacities", edges, demand)
    if not images:
        return []
    results = estimate_capacities(
        partial(_cheapest_paths, images, backend),
        targets_by_image("capacities", targets, None if is_single else len(images)),
        [_check_demand(wanted, image) for wanted, image in zip(demands, images, strict=True)],
        method=method,
        iterations=iterations,
        centroid_of=centroid_of,
        keep_points=keep_points,
    )
    return restore(results[0]) if is_single else [restore(counts) for counts in results]


def _as_images(
    function: str, edges: Any, demand: Any
) -> tuple[list[torch.Tensor], list[torch.Tensor | None], bool, Restore]:
    """The edges and the demand of each image, whether there is but one without a batch axis, and their family."""
    if not isinstance(edges, (list, tuple)):
        (_, wanted), restore = as_optional_tensors(function, edges=edges, demand=demand)
        maps, _ = as_edges(function, edges)
        if maps.ndim == 3:
            return [maps], [wanted], True, restore
        return list(maps), _one_each(function, None if wanted is None else list(wanted), len(maps)), False, restore
    if demand is not None and not isinstance(demand, (list, tuple)):
        fail_type(function, "demand", demand, "a list, as edges is")
    wishes = _one_each(function, demand, len(edges))
    given = {f"edges[{b}]": image for b, image in enumerate(edges)}
    given |= {f"demand[{b}]": wish for b, wish in enumerate(wishes)}
    tensors, restore = as_optional_tensors(function, **given)
    images = []
    for name, image in zip(given, tensors[: len(edges)], strict=False):
        if image is None or image.ndim != 3:
            fail(function, name, "None" if image is None else f"shape {tuple(image.shape)}", "(4, H, W)")
        images.append(as_edges(function, image)[0])
    return images, tensors[len(edges) :], False, restore


def _one_each(function: str, demand: Any, count: int) -> list[Any]:
    if demand is not None and len(demand) != count:
        fail(function, "demand", f"{len(demand)} images", f"{count}, as in edges")
    return [None] * count if demand is None else list(demand)


def _cheapest_paths(
    edges: list[torch.Tensor], backend: str, images: Sequence[int], points_yx: Any, target: Any
) -> list[torch.Tensor]:
    parts = nearest_partition([edges[b] for b in images], list(points_yx), list(target), backend=backend)
    return [cast(torch.Tensor, part.labels) for part in parts]


def estimate_capacities(
    partition: BatchPartition,
    targets: Sequence[PointTargets],
    demand: Sequence[torch.Tensor],
    *,
    method: str | CapacityRule,
    iterations: int = 1,
    centroid_of: str = "cell",
    keep_points: bool = False,
) -> list[torch.Tensor]:
    """Capacities from any way to cut images, not only the cheapest path; see :func:`capacities`.

    Args:
        partition: cuts images among given points; all images of a round in one call.
        targets: K targets of each image.
        demand: (H, W) of each, booleans or float64 weights >= 0.
        method, iterations, centroid_of, keep_points: as in :func:`capacities`.

    Returns:
        (K,) float64 for each image, on the device of ``demand``.

    Raises:
        ArgumentError: an unknown method, ``iterations < 1``, a rule whose result is not (K,), finite and >= 0.
    """
    rounds = check_integer("capacities", "iterations", iterations, minimum=1)
    if callable(method):
        return [
            _check_rule(method(partial(_cut_one, partition, b), own, demand[b]), own.num_targets, demand[b])
            for b, own in enumerate(targets)
        ]
    check_choice("capacities", "method", method, _METHODS)
    check_choice("capacities", "centroid_of", centroid_of, ("cell", "target"))

    def regions(points_yx: Sequence[np.ndarray], target: Sequence[np.ndarray]) -> list[torch.Tensor]:
        # Pixels that ask for nothing would pull the centroids out of the objects.
        parts = partition(range(len(targets)), points_yx, target)
        return [torch.where(wanted > 0, labels, -1) for wanted, labels in zip(demand, parts, strict=True)]

    if method == "centroid":
        labels = _nearest_centroid(regions, targets, rounds, by_cell=centroid_of == "cell", keep=keep_points)
    else:
        labels = regions([own.points_yx for own in targets], [own.target for own in targets])
    share = _equal_shares if method == "equal" else _count
    return [share(part, wanted, own.num_targets) for part, wanted, own in zip(labels, demand, targets, strict=True)]


def _cut_one(partition: BatchPartition, image: int, points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
    return partition([image], [points_yx], [target])[0]


_Regions: TypeAlias = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[torch.Tensor]]


@dataclass
class _Sources:
    """The points from which the regions of one image grow, while the centroid rule moves them."""

    points_yx: np.ndarray
    unit: np.ndarray
    """(N,) what each point belongs to: units move as one."""
    owner: np.ndarray
    """(U,) target of each unit."""
    movable: np.ndarray
    """(U,) bool: of a thing."""
    kept: tuple[np.ndarray, np.ndarray] | None
    """Points, and their units, that stay beside the centroids."""

    @classmethod
    def of(cls, targets: PointTargets, by_cell: bool, keep: bool) -> _Sources:
        """Units are single points, or the points of a target together."""
        points, unit, owner = targets.points_yx, targets.target, np.arange(targets.num_targets)
        if by_cell and len(points) > len(owner):
            order = np.argsort(unit, kind="stable")  # so that ties still go to the first target
            points, unit, owner = points[order], np.arange(len(points)), unit[order]
        return cls(points, unit, owner, targets.is_thing[owner], (points, unit) if keep else None)


def _nearest_centroid(
    regions: _Regions, targets: Sequence[PointTargets], rounds: int, *, by_cell: bool, keep: bool
) -> list[torch.Tensor]:
    """(H, W) targets by the nearest centroid for each image, after ``rounds`` of moving the points there."""
    sources = [_Sources.of(own, by_cell, keep) for own in targets]
    labels = regions([s.points_yx for s in sources], [s.unit for s in sources])
    for remaining in reversed(range(rounds)):
        _move_to_centroids(labels, sources)
        if remaining:
            moved = regions([s.points_yx for s in sources], [s.unit for s in sources])
            labels = [torch.where(new >= 0, new, old) for new, old in zip(moved, labels, strict=True)]
    counted = regions([s.points_yx for s in sources], [s.owner[s.unit] for s in sources])
    # One centroid may sit in one component of a target whose points covered several: the rest stays its own.
    before = [look_up(s.owner, own, nobody=-1) for s, own in zip(sources, labels, strict=True)]
    return [torch.where(new >= 0, new, old) for new, old in zip(counted, before, strict=True)]


def _move_to_centroids(labels: Sequence[torch.Tensor], sources: Sequence[_Sources]) -> None:
    """Put each movable unit at the centroid of its region, or leave it where it was if that refuses it."""
    pixels = [pixel_indices("capacities", s.points_yx, *own.shape) for s, own in zip(sources, labels, strict=True)]
    reports = [_report(own, at, s) for own, at, s in zip(labels, pixels, sources, strict=True)]
    host = torch.cat(reports).cpu().split([len(report) for report in reports])  # the one wait for all images
    for source, at, report in zip(sources, pixels, host, strict=True):
        count = len(source.owner)
        centres, holds_centre, at_home = np.split(report.numpy(), [2 * count, 3 * count])
        holds_source = np.zeros(count, bool)
        holds_source[source.unit[at_home > 0]] = True
        moves = source.movable & (holds_centre > 0) & holds_source
        stays = ~moves[source.unit]
        rest = (at[stays], source.unit[stays]) if source.kept is None else source.kept
        source.points_yx = np.concatenate([centres.reshape(count, 2)[moves], rest[0]])
        source.unit = np.concatenate([np.flatnonzero(moves), rest[1]])


def _report(labels: torch.Tensor, pixels: np.ndarray, source: _Sources) -> torch.Tensor:
    """What a move depends on, in one int64 row: each unit's rounded centroid (2U), whether that lies in the unit's
    region (U), and whether each point lies in its unit's region (N)."""
    height, width = labels.shape
    count, device = len(source.owner), labels.device
    rows, columns = profiles(labels, count)
    area = rows.sum(1).clamp(min=1)
    means = [
        (profile * torch.arange(side, device=device)).sum(1).double() / area
        for profile, side in ((rows, height), (columns, width))
    ]
    centres = torch.stack(means, 1).add(0.5).floor().long()
    flat = labels.flatten()
    holds_centre = flat[centres[:, 0] * width + centres[:, 1]] == torch.arange(count, device=device)
    here = to_device(np.stack([pixels[:, 0] * width + pixels[:, 1], source.unit]), device)
    at_home = flat[here[0]] == here[1]
    return torch.cat([centres.flatten(), holds_centre.long(), at_home.long()])


def _count(labels: torch.Tensor, demand: torch.Tensor, count: int) -> torch.Tensor:
    """x_i of Eq. 4: the demand that falls to each target (whose labels are -1 where nothing is demanded)."""
    return areas(labels, count).double() if demand.dtype == torch.bool else weights(labels, demand, count)


def _equal_shares(labels: torch.Tensor, demand: torch.Tensor, count: int) -> torch.Tensor:
    """Whole pixels where the total is whole: the first targets take one more each."""
    total = torch.where(labels >= 0, demand.double(), 0).sum()
    more = torch.arange(count, device=demand.device) < torch.remainder(total, count)
    fair = (total / max(count, 1)).expand(count)
    return torch.where(total == total.floor(), fair.floor() + more, fair)


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
        return torch.ones(edges.shape[-2:], dtype=torch.bool, device=edges.device)
    if demand.shape != edges.shape[-2:]:
        fail("capacities", "demand", f"shape {tuple(demand.shape)}", f"{tuple(edges.shape[-2:])}")
    if demand.is_complex():
        fail("capacities", "demand", "complex numbers", "finite weights >= 0")
    if demand.dtype == torch.bool:
        return demand
    weight = demand.double()
    good = (weight >= 0) & (weight < torch.inf)
    require_all("capacities", "demand", good, "negative or non-finite values", "finite weights >= 0")
    return weight


def _check_rule(result: object, count: int, demand: torch.Tensor) -> torch.Tensor:
    if isinstance(result, np.ndarray):
        result = torch.from_numpy(result.copy())
    if not isinstance(result, torch.Tensor) or result.shape != (count,):
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        fail("capacities", "method", f"a rule that returned {got}", f"an array of shape ({count},)")
    values = result.to(demand.device, torch.float64)
    got, expected = "a rule that returned negative or non-finite values", "finite values >= 0"
    require_all("capacities", "method", (values >= 0) & (values < torch.inf), got, expected)
    return values
