"""How many pixels each target should own: supplier capacities (Eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, cast, overload

import numpy as np
import torch

from .arrays import Array, Restore, as_optional_tensors, to_device
from .checks import check_choice, check_integer, fail, fail_type, refuse_masked, require_all
from .geodesic import geodesic_distances, nearest_partition
from .geodesic.arguments import as_edges
from .graph.centroids import Sources, moved
from .graph.parts import connected, connected_parts
from .graph.regions import areas, look_up, weights
from .points import pixel_indices
from .sizes import with_hints
from .types import PointTargets, targets_by_image

Partitioner: TypeAlias = Callable[[np.ndarray, np.ndarray], torch.Tensor]
"""``partition(points_yx, target)`` -> (H, W) int64: the target that each pixel falls to, -1 where none can."""


class CapacityRule(Protocol):
    """An estimate of capacities of one's own: any function of three arguments, given in place of a method's name.

    It sees suppliers only: where stuff is told by its class (``stuff="exclude"``), ``targets`` are the things of the
    image, and ``demand`` is set on their pixels.

    Example:
        >>> import numpy as np
        >>> def by_area(partition, targets, demand):
        ...     labels = partition(targets.points_yx, targets.target)
        ...     return np.array([int((demand & (labels == k)).sum()) for k in range(targets.num_targets)])
    """

    def __call__(self, partition: Partitioner, targets: PointTargets, demand: torch.Tensor, /) -> Array:
        """Estimate the capacities of one image.

        Args:
            partition: ``partition(points_yx, target)`` -> (H, W) int64: the target that each pixel falls to by the
                costs in use, -1 where none can.
            targets: the K suppliers.
            demand: (H, W) bool, or float64 where weights were given; 0 takes no part.

        Returns:
            (K,) finite numbers >= 0, in pixels.
        """
        ...


Arrays: TypeAlias = Sequence[np.ndarray]
BatchPartitioner: TypeAlias = Callable[[Sequence[int], Arrays, Arrays, Arrays], list[torch.Tensor]]
"""``partition(images, points_yx, unit, owner)``: the same for some images of a batch at once, by their indices, among
what moves as one, whose targets are ``owner``."""


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
        targets: K targets, or a sequence of them for a batch or a list. Sizes that they carry, in units of the demand,
            are put together with the counts, each by how far it may be off: a count that centroids changed little is
            trusted, another gives way. Stuff without a size takes the rest; where all have one, only their proportions
            matter.
        method: ``"centroid"``, ``"nearest"``, ``"equal"`` or a :class:`CapacityRule`.
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
        the pixels that a point can reach. Counts of pixels are whole numbers, unless sizes were given.

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
    images, demands, is_single, restore = _as_images(edges, demand)
    images = [image.detach() for image in images]  # counts have no derivative
    if not images:
        return []
    iterations = check_integer("capacities", "iterations", iterations, minimum=1)
    if not callable(method):
        check_choice("capacities", "method", method, METHODS)
        check_choice("capacities", "centroid_of", centroid_of, ("cell", "target"))

    def cheapest_paths(chosen: Sequence[int], points_yx: Any, unit: Any, owner: Any) -> list[torch.Tensor]:
        parts = nearest_partition([images[b] for b in chosen], list(points_yx), list(unit), backend=backend)
        return [cast(torch.Tensor, part.labels) for part in parts]

    suppliers = targets_by_image("capacities", targets, None if is_single else len(images))

    def reached_together(b: int) -> np.ndarray:
        own = suppliers[b].points_yx, suppliers[b].target
        return rivals(cast(torch.Tensor, geodesic_distances(images[b], *own, backend=backend)), *own)

    results = estimate_capacities(
        cheapest_paths,
        suppliers,
        [_check_demand(wanted, image) for wanted, image in zip(demands, images, strict=True)],
        group=reached_together,
        method=method,
        iterations=iterations,
        centroid_of=centroid_of,
        keep_points=keep_points,
    )
    found = [restore(estimate.capacities) for estimate in results]
    return found[0] if is_single else found


class Estimate(NamedTuple):
    """Of one image, on the device of the demand.

    Attributes:
        capacities: (K,) float64.
        counted: (K,) float64, without the sizes that targets carry.
        doubt: () float64, the part of these counts that such sizes say are wrong; 0 where there are none.
    """

    capacities: torch.Tensor
    counted: torch.Tensor
    doubt: torch.Tensor

    @classmethod
    def of(
        cls, counted: torch.Tensor, first: torch.Tensor | None, targets: PointTargets, group: Callable[[], np.ndarray]
    ) -> Estimate:
        """From the counts, those before any centroid moved, and who competes with whom, which only sizes ask for."""
        capacities, doubt = with_hints(counted, first, targets, group() if targets.has_sizes else None)
        return cls(capacities, counted, doubt)


def estimate_capacities(
    partition: BatchPartitioner,
    targets: Sequence[PointTargets],
    demand: Sequence[torch.Tensor],
    *,
    first: Sequence[torch.Tensor] | None = None,
    group: Callable[[int], np.ndarray],
    method: str | CapacityRule,
    iterations: int,
    centroid_of: str,
    keep_points: bool,
) -> list[Estimate]:
    """Capacities from any way to cut images, not only the cheapest path.

    Args:
        partition: cuts images among given points; all images of a round in one call.
        targets: K targets of each image.
        demand: (H, W) of each, booleans or float64 weights >= 0.
        first: (H, W) of each, its partition by the targets' own points where that is known: it is not asked for again.
        group: ``group(image)`` -> (K,) int64, equal for targets whose pixels the same ones can reach; asked where sizes
            are known.
        method, iterations, centroid_of, keep_points: as in :func:`capacities`, checked.

    Returns:
        An estimate for each image.

    Raises:
        ArgumentError: a rule whose result is not (K,), finite and >= 0.
    """
    known: list[torch.Tensor | None] = [None] * len(targets) if first is None else list(first)
    if callable(method):
        images = enumerate(zip(targets, demand, known, strict=True))
        told = [_by_rule(method, partition, b, *image) for b, image in images]
        return [Estimate.of(told[b], None, own, partial(group, b)) for b, own in enumerate(targets)]
    by_cell = method == "centroid" and centroid_of == "cell"
    sources = [Sources.of(own, by_cell=by_cell, keep=keep_points) for own in targets]
    # What is known is known of the targets, not of single points.
    known = [None if s.are_split else labels for s, labels in zip(sources, known, strict=True)]
    first_labels = labels = _regions(partition, demand, [(*s.by_unit, s.owner) for s in sources], known)
    if method == "centroid":
        labels = _recounted(partition, demand, sources, labels, iterations)
    share = _SHARES[str(method)]
    estimates = []
    for b, own in enumerate(targets):
        counted, before = share(labels[b], demand[b], own.num_targets), None
        if own.has_sizes and method == "centroid":
            nearest = look_up(sources[b].owner, first_labels[b], nobody=-1)
            before = _count(nearest, demand[b], own.num_targets)
        estimates.append(Estimate.of(counted, before, own, partial(group, b)))
    return estimates


def rivals(cost: torch.Tensor, points_yx: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(K,) int64, equal for targets that compete for the same pixels: from the (K, H, W) costs that are finite."""
    y, x = to_device(pixel_indices("capacities", points_yx, *cost.shape[1:]), cost.device).unbind(1)
    reached = torch.isfinite(cost[:, y, x]).cpu().numpy()
    who, point = np.nonzero(reached)
    return connected(who, target[point], len(cost)).astype(np.int64)


def rivals_in_parts(edges: np.ndarray, targets: PointTargets, directions: Sequence[int]) -> np.ndarray:
    """The same from (4, H, W) edges on the host, along some of their directions: whose points lie in one part."""
    pixels = pixel_indices("capacities", targets.points_yx, *edges.shape[1:])
    part, count = connected_parts(edges, directions)[tuple(pixels.T)], targets.num_targets
    part = count + np.unique(part, return_inverse=True)[1]
    return connected(targets.target, part, count + len(part))[:count].astype(np.int64)


def _count(labels: torch.Tensor, demand: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) float64 demand that falls to each target; ``labels`` are -1 where nothing is demanded.

    Plain form of Eq. 4: a_i = sum of demand(p) over the pixels p whose nearest centroid, by geodesic cost, is i's.
    """
    return areas(labels, count).double() if demand.dtype == torch.bool else weights(labels, demand, count)


def _equal_shares(labels: torch.Tensor, demand: torch.Tensor, count: int) -> torch.Tensor:
    """Whole pixels where the total is whole: the first targets take one more each."""
    total = torch.where(labels >= 0, demand.double(), 0).sum()
    more = torch.arange(count, device=demand.device) < torch.remainder(total, count)
    fair = (total / max(count, 1)).expand(count)
    return torch.where(total == total.floor(), fair.floor() + more, fair)


_SHARES = {"centroid": _count, "nearest": _count, "equal": _equal_shares}
"""What each rule makes of the partition that it comes to."""
METHODS = tuple(_SHARES)


def _by_rule(
    rule: CapacityRule,
    partition: BatchPartitioner,
    image: int,
    targets: PointTargets,
    demand: torch.Tensor,
    known: torch.Tensor | None,
) -> torch.Tensor:
    """(K,) float64 estimate of the user's own for one image, or a refusal of what it returned."""

    def cut(points_yx: np.ndarray, target: np.ndarray) -> torch.Tensor:
        own = np.array_equal(points_yx, targets.points_yx) and np.array_equal(target, targets.target)
        every = np.arange(targets.num_targets)
        return known if own and known is not None else partition([image], [points_yx], [target], [every])[0]

    result: object = rule(cut, targets, demand)
    refuse_masked("capacities", "method", result)
    if isinstance(result, np.ndarray):
        result = torch.from_numpy(result.copy())
    shape = (targets.num_targets,)
    if not isinstance(result, torch.Tensor) or result.shape != shape:
        got = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        fail("capacities", "method", f"a rule that returned {got}", f"an array of shape {shape}")
    values = result.to(demand.device, torch.float64)
    got, expected = "a rule that returned negative or non-finite values", "finite values >= 0"
    require_all("capacities", "method", (values >= 0) & (values < torch.inf), got, expected)
    return values


def _regions(
    partition: BatchPartitioner,
    demand: Sequence[torch.Tensor],
    points: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    known: Sequence[torch.Tensor | None] | None = None,
) -> list[torch.Tensor]:
    """(H, W) unit of the points that each pixel of each image falls to; one search for all that are not ``known``.

    Pixels that ask for nothing are nobody's, -1: they would pull the centroids out of the objects.

    Args:
        points: of each image, the points, their units, and whose these are.
    """
    known = [None] * len(points) if known is None else known
    asked = [b for b, labels in enumerate(known) if labels is None]
    found = iter(partition(asked, *([points[b][part] for b in asked] for part in range(3))) if asked else ())
    labels = [next(found) if own is None else own for own in known]
    return [torch.where(wanted > 0, own, -1) for wanted, own in zip(demand, labels, strict=True)]


def _recounted(
    partition: BatchPartitioner,
    demand: Sequence[torch.Tensor],
    sources: Sequence[Sources],
    labels: Sequence[torch.Tensor],
    rounds: int,
) -> list[torch.Tensor]:
    """(H, W) target that each pixel of each image falls to, after ``rounds`` of moving the sources, whose regions are
    ``labels``, to their centroids."""
    sources = moved(sources, labels)
    for _ in range(rounds - 1):
        labels = _where_reached(_regions(partition, demand, [(*s.by_unit, s.owner) for s in sources]), labels)
        sources = moved(sources, labels)
    # One centroid may sit in one component of a target whose points covered several: the rest stays its own.
    before = [look_up(s.owner, own, nobody=-1) for s, own in zip(sources, labels, strict=True)]
    every = [np.arange(s.owner.max(initial=-1) + 1) for s in sources]
    points = [(*s.by_target, targets) for s, targets in zip(sources, every, strict=True)]
    return _where_reached(_regions(partition, demand, points), before)


def _where_reached(new: Sequence[torch.Tensor], old: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.where(here >= 0, here, before) for here, before in zip(new, old, strict=True)]


def _as_images(edges: Any, demand: Any) -> tuple[list[torch.Tensor], list[torch.Tensor | None], bool, Restore]:
    """The edges and the demand of each image, whether there is but one without a batch axis, and their family."""
    if not isinstance(edges, (list, tuple)):
        (_, wanted), restore = as_optional_tensors("capacities", edges=edges, demand=demand)
        maps, _ = as_edges("capacities", edges)
        if maps.ndim == 3:
            return [maps], [wanted], True, restore
        return list(maps), _one_each(None if wanted is None else list(wanted), len(maps)), False, restore
    if demand is not None and not isinstance(demand, (list, tuple)):
        fail_type("capacities", "demand", demand, "a list, as edges is")
    given = {f"edges[{b}]": image for b, image in enumerate(edges)}
    given |= {f"demand[{b}]": wish for b, wish in enumerate(_one_each(demand, len(edges)))}
    tensors, restore = as_optional_tensors("capacities", **given)
    images = []
    for name, image in zip(given, tensors[: len(edges)], strict=False):
        if image is None or image.ndim != 3:
            fail("capacities", name, "None" if image is None else f"shape {tuple(image.shape)}", "(4, H, W)")
        images.append(as_edges("capacities", image)[0])
    return images, tensors[len(edges) :], False, restore


def _one_each(demand: Any, count: int) -> list[Any]:
    if demand is not None and len(demand) != count:
        fail("capacities", "demand", f"{len(demand)} images", f"{count}, as in edges")
    return [None] * count if demand is None else list(demand)


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
