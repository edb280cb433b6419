"""What goes between the stages: point labels in, transport results and pseudo-masks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import check_choice, check_integer, fail, fail_type, refuse_masked, suggesting
from .compiled.graphs import outside_graphs
from .nearest import NearestCosts
from .points import check_on_host, check_targets, coordinates, host_array, integers, pixel_indices

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from .arrays import Array


SIZE_ERROR = 1.35
"""By what factor somebody's guess of a size is typically off."""


@suggesting
@dataclass(frozen=True, eq=False)
class PointTargets:
    """N annotated points that belong to K targets.

    Annotations are small and made on the host, so they are kept as NumPy arrays whatever the maps are; lists,
    NumPy arrays and CPU tensors are accepted and copied. Targets are equal where all values are, in the same order.

    Args:
        points_yx: (N, 2) pixel coordinates, row then column. Integers are pixel centres; a float belongs to the
            pixel whose centre is nearest.
        target: (N,) integers: the target of each point, covering 0..K-1. Default: one target per point.
        category: (K,) non-negative class ids: the channel of the semantic map, where there is one. Default: 0 for
            all; where there are things and stuff 0 for things and 1 for stuff.
        is_thing: (K,) booleans. Default: all things.
        size: (K,) roughly how many pixels of the picture each target covers, NaN where nobody knows (the default);
            :func:`~point2mask_ot.capacities` puts it together with what it counts.
        size_error: (K,) or one number >= 1: the factor by which such sizes are typically off (that of one standard
            deviation, either way). Default: 1.35, what a glance is good for.

    Raises:
        ArgumentError: wrong shapes or lengths, non-finite coordinates, a target without a point, ids that are not
            0..K-1, negative categories, one category that is both thing and stuff, or sizes that are not positive.
        ArgumentTypeError: no numbers, or an argument of another name; the message suggests the nearest.

    Example:
        >>> targets = PointTargets([(10, 20), (40, 8), (41, 30)], target=[0, 1, 1], category=[3, 7])
        >>> targets.num_targets, targets.category.tolist()
        (2, [3, 7])
    """

    points_yx: np.ndarray
    target: np.ndarray = None  # type: ignore[assignment]  # filled in below
    category: np.ndarray = None  # type: ignore[assignment]
    is_thing: np.ndarray = None  # type: ignore[assignment]
    size: np.ndarray = None  # type: ignore[assignment]
    size_error: np.ndarray = None  # type: ignore[assignment]

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, points_yx: ArrayLike | torch.Tensor, target: ArrayLike | None = None,
            category: ArrayLike | None = None, is_thing: ArrayLike | None = None,
            size: ArrayLike | None = None, size_error: ArrayLike | None = None,
        ) -> None: ...  # fmt: skip

    @outside_graphs
    def __post_init__(self) -> None:
        name = type(self).__name__
        points = coordinates(name, "points_yx", self.points_yx)
        target = integers(name, "target", np.arange(len(points)) if self.target is None else self.target)
        count = int(target.max(initial=-1)) + 1
        check_targets(name, target, count, len(points))
        check_on_host(name, "is_thing", self.is_thing)
        refuse_masked(name, "is_thing", self.is_thing)
        thing = _booleans(np.ones(count, bool) if self.is_thing is None else self.is_thing)
        kinds = np.where(thing, 0, int(thing.any()))
        category = integers(name, "category", kinds if self.category is None else self.category)
        for field_name, values in (("is_thing", thing), ("category", category)):
            if values.shape != (count,):
                fail(name, field_name, f"shape {values.shape}", f"({count},): one for each target")
        if category.size and category.min() < 0:
            fail(name, "category", int(category.min()), "non-negative class ids")
        both = np.intersect1d(category[thing], category[~thing])
        if both.size:
            fail(name, "is_thing", f"category {both[0]} as thing and as stuff", "one or the other")
        checked = {"points_yx": points, "target": target, "category": category, "is_thing": thing}
        checked["size"] = _positive("size", np.nan if self.size is None else self.size, count, least=0.0)
        error = SIZE_ERROR if self.size_error is None else self.size_error
        checked["size_error"] = _positive("size_error", error, count, least=1.0)
        for field_name, values in checked.items():
            own = values.copy()
            own.setflags(write=False)
            object.__setattr__(self, field_name, own)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PointTargets):
            return NotImplemented
        names = [each.name for each in fields(self)]
        return all(np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in names)

    def __hash__(self) -> int:  # of what has one dtype: 1 and 1.0 are equal
        return hash((self.target.tobytes(), self.category.tobytes(), self.is_thing.tobytes()))

    @property
    def num_targets(self) -> int:
        """K."""
        return len(self.category)

    @property
    def has_sizes(self) -> bool:
        """Whether the size of any target is known."""
        return bool(np.isfinite(self.size).any())

    @property
    def takes_rest(self) -> np.ndarray:
        """Which targets are stuff without a size, which takes what sizes leave; (K,) booleans."""
        return ~self.is_thing & np.isnan(self.size)

    def select(self, keep: Sequence[int] | np.ndarray) -> PointTargets:
        """Some of the targets, renumbered.

        Args:
            keep: indices into 0..K-1 without repeats, which set the new order; or (K,) booleans.

        Raises:
            ArgumentError: indices out of range or repeated, or a mask of another length.
        """
        mask = np.asarray(keep)
        order = np.flatnonzero(mask) if mask.dtype == bool else integers("PointTargets.select", "keep", keep)
        if mask.dtype == bool and mask.shape != (self.num_targets,):
            fail("PointTargets.select", "keep", f"shape {mask.shape}", f"({self.num_targets},): a bool for each target")
        within = not order.size or 0 <= order.min() <= order.max() < self.num_targets
        if not within or len(np.unique(order)) != len(order):
            fail("PointTargets.select", "keep", order.tolist(), f"different indices in 0..{self.num_targets - 1}")
        rank = np.full(self.num_targets, -1)
        rank[order] = np.arange(len(order))
        chosen = rank[self.target] >= 0
        return PointTargets(
            self.points_yx[chosen],
            rank[self.target[chosen]],
            self.category[order],
            self.is_thing[order],
            self.size[order],
            self.size_error[order],
        )

    def crop(self, top: int, left: int, height: int, width: int, *, lost: str = "drop") -> PointTargets:
        """The targets of a part of the picture, in its coordinates; sizes stay those of whole objects.

        Args:
            top, left: first row and column of the part; it may reach beyond the picture.
            height, width: its size.
            lost: what becomes of a target none of whose points lie in the part: ``"drop"`` it, and number the others
                anew in their order; or ``"error"``.

        Raises:
            ArgumentError: an empty part, or a target without a point where that is an error.

        Example:
            >>> targets = PointTargets([(10, 20), (40, 8), (41, 30)], category=[3, 7, 9])
            >>> part = targets.crop(30, 0, 20, 32)
            >>> part.points_yx.tolist(), part.category.tolist()
            ([[10, 8], [11, 30]], [7, 9])
        """
        name = "PointTargets.crop"
        first = [check_integer(name, each, value, minimum=-(2**31)) for each, value in (("top", top), ("left", left))]
        size = [check_integer(name, each, value, minimum=1) for each, value in (("height", height), ("width", width))]
        check_choice(name, "lost", lost, ("drop", "error"))
        moved = self.points_yx - first
        inside = ((moved >= -0.5) & (moved < np.array(size) - 0.5)).all(1)
        kept = np.unique(self.target[inside])
        if lost == "error" and len(kept) < self.num_targets:
            gone = np.setdiff1d(np.arange(self.num_targets), kept).tolist()
            fail(name, "lost", f"'error', and targets {gone[:8]} without a point in the part", "a point of each target")
        rank = np.searchsorted(kept, self.target[inside])
        per_target = (self.category, self.is_thing, self.size, self.size_error)
        return PointTargets(moved[inside], rank, *(values[kept] for values in per_target))

    def flip(self, size: tuple[int, int], axis: str = "x") -> PointTargets:
        """The targets of the mirrored picture.

        Args:
            size: (H, W) of the picture.
            axis: ``"x"``: left becomes right; ``"y"``: top becomes bottom.

        Raises:
            ArgumentError: an unknown axis; a point outside a picture of that size.

        Example:
            >>> PointTargets([(10, 2)]).flip((20, 30)).points_yx.tolist()
            [[10, 27]]
        """
        check_choice("PointTargets.flip", "axis", axis, ("x", "y"))
        height, width = _size("PointTargets.flip", "size", size)
        pixel_indices("PointTargets.flip", self.points_yx, height, width)  # or they would land outside
        mirrored = self.points_yx.copy()
        column = "yx".index(axis)
        mirrored[:, column] = (height, width)[column] - 1 - mirrored[:, column]
        return replace(self, points_yx=mirrored)

    def resize(self, size: tuple[int, int], new_size: tuple[int, int]) -> PointTargets:
        """The targets of the resized picture; no target is lost, several may come to lie on one pixel.

        Args:
            size: (H, W) of the picture.
            new_size: (H, W) of the resized one. Coordinates become floats: a pixel's centre lies half a pixel from the
                picture's border in both. Sizes grow with the picture's area.

        Raises:
            ArgumentError: sizes that are not two positive integers; a point outside a picture of that size.

        Example:
            >>> PointTargets([(10, 2)]).resize((20, 30), (40, 60)).points_yx.tolist()
            [[20.5, 4.5]]
        """
        old, new = (_size("PointTargets.resize", *each) for each in (("size", size), ("new_size", new_size)))
        pixel_indices("PointTargets.resize", self.points_yx, *old)  # or they would land outside
        if old == new:
            return self
        scale = np.array(new) / old
        return replace(self, points_yx=(self.points_yx + 0.5) * scale - 0.5, size=self.size * scale.prod())


def _size(function: str, argument: str, size: Any) -> tuple[int, int]:
    if not isinstance(size, Sequence) or len(size) != 2:
        fail_type(function, argument, size, "two integers: height, width")
    height, width = (check_integer(function, argument, side, minimum=1) for side in size)
    return height, width


def _positive(name: str, values: Any, count: int, *, least: float) -> np.ndarray:
    """(count,) float64 of one number or ``count`` of them; NaN stands for what nobody knows, where 0 is the least."""
    if isinstance(values, (list, tuple)):
        values = [np.nan if value is None else value for value in values]
    numbers = host_array("PointTargets", name, values).astype(np.float64)
    if numbers.ndim == 0:
        numbers = np.full(count, float(numbers))
    if numbers.shape != (count,):
        fail("PointTargets", name, f"shape {numbers.shape}", f"({count},): one for each target")
    expected = "positive finite numbers, or NaN" if least == 0 else f"finite factors >= {least:g}"
    good = np.isfinite(numbers) & (numbers > 0) & (numbers >= least) | (np.isnan(numbers) & (least == 0))
    if not good.all():
        fail("PointTargets", name, f"{numbers[~good][0]:g}", expected)
    return numbers


def _booleans(values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # a ragged list, or tensors in it that have no NumPy form
        array = np.full(1, -1)
    if not np.isin(array, (0, 1)).all():
        fail_type("PointTargets", "is_thing", values, "booleans")
    return array.astype(bool)


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


@dataclass(frozen=True, eq=False)
class TransportResult:
    """A transport plan between K suppliers and N pixels, in the form of its potentials.

    ``plan[i, j] = exp((f[i] + g[j] - M[i, j]) / reg)`` for ``reg > 0``. Leading batch axes, where the problem had
    any, come first in every field.

    Potentials and scalars are float64 whatever the costs are: at a small ``reg`` they need the digits.

    Attributes:
        f: (K,) supplier potentials; -inf for a supplier of zero capacity. Defined up to a constant, which g undoes.
        g: (N,) pixel potentials; -inf for a pixel of zero demand.
        labels: (N,) int64, argmax over suppliers of ``f - M`` (of the plan, where it is unregularised);
            the smallest index wins a tie.
        cost: scalar, ``<plan, M>``, without the entropy.
        marginal_error: scalar, L1 distance of both marginals from a and b, over the mass. With soft capacities
            the supplier side is measured at the capacities that the soft problem settled on.
        iterations: rounds or passes over M that were made.
        converged: the tolerance was reached (always False where only a number of rounds was asked for and no
            tolerance).
        make_plan: builds the plan, when :attr:`plan` is first read.
        bound: of a problem whose costs were :class:`~point2mask_ot.NearestCosts`: the mass, over all of it, that pairs
            left out of them have at most in the plan over all pairs; else 0.
        costs: those costs, with the entries that were chosen last; else None.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import solve
        >>> result = solve(np.array([2, 1]), np.ones(3), np.array([[0.0, 1, 4], [4, 1, 0]]), reg=0.1)
        >>> result.labels.tolist(), result.plan.sum(1).round(6).tolist(), result.converged
        ([0, 0, 1], [2.0, 1.0], True)
    """

    f: Array
    g: Array
    labels: Array
    cost: Array
    marginal_error: Array
    iterations: int
    converged: bool
    make_plan: Any = field(repr=False)
    bound: float = 0.0
    costs: Any = field(default=None, repr=False)
    _plan: Array | None = field(default=None, init=False, repr=False)

    @property
    def plan(self) -> Array:
        """(K, N) mass moved from supplier to pixel, computed on first use.

        Of :class:`~point2mask_ot.NearestCosts` a ``scipy.sparse.csr_array``, float64, for inputs of any family.
        """
        # Not a cached_property: torch.compile cannot trace its lock (Python 3.11).
        if self._plan is not None:
            return self._plan
        plan = self.make_plan()
        if not self.make_plan.is_cut_off():
            object.__setattr__(self, "_plan", plan)
        return plan  # type: ignore[no-any-return]

    def log_share(self, pixels: Any, suppliers: Any) -> Array:
        """Logarithm of the share of some pixels' demand that goes to some suppliers, without a plan.

        ``ln(plan[i, j] / b[j])`` where the pixels' marginals hold, as after :func:`~point2mask_ot.solve`; it takes the
        costs of the pixels that are asked for alone. ``-log_share(pixels, right).mean()`` is the cross-entropy of the
        transport against known labels, with a gradient as :attr:`plan` has one.

        Args:
            pixels: (n,) integers, or (B, n) for a batch: columns of M. One may come several times, and have no demand:
                then it tells how that would be shared.
            suppliers: the same shape, rows of M.

        Returns:
            The same shape, float64, at most 0; -inf for a pair that is forbidden or was left out of
            :class:`~point2mask_ot.NearestCosts`, and for suppliers without capacity.

        Raises:
            ArgumentError: indices out of range or of shapes that do not fit; a result of ``reg=0``.
            ArgumentTypeError: indices that are not integers.

        Example:
            >>> import numpy as np
            >>> from point2mask_ot import solve
            >>> M = np.array([[0.0, 1.0, 4.0], [4.0, 1.0, 0.0]])
            >>> result = solve(np.array([2, 1]), np.ones(3), M, reg=0.5)
            >>> np.exp(result.log_share([0, 1, 1], [0, 0, 1])).round(3).tolist()
            [1.0, 0.982, 0.018]
        """
        return self.make_plan.log_share(pixels, suppliers)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """Every intermediate map of Algorithm 1, for one image with S suppliers on an h x w grid.

    Attributes:
        suppliers: (S,) indices of the targets that supply labels (all of them, or the things only).
        edges: (4, h, w) edge costs (Eq. 2-3).
        raw_distances: :attr:`distances`, or what makes them.
        costs: :attr:`cost`, or where there are many suppliers a :class:`~point2mask_ot.NearestCosts`, which leaves out
            those that cost a pixel too much to matter.
        nearest: (H, W) int64 supplier of minimum cost, -1 where none is reachable.
        demand: (H, W) bool: pixels that take part in the transport.
        capacities: (S,) pixels that each supplier should own (Eq. 4), hints of size taken into account.
        transport: the solver's result over all pixels in raster order, ``demand`` being b; None where nothing is
            demanded or no transport was asked for.
        seconds: wall time of each stage by name; of a batch, which runs stage by stage, an equal share for each image.
            On a GPU the time to launch it, since nothing waits for the device.
        walks: ``distances`` are those of :func:`~point2mask_ot.random_walk_costs`, along which no single path leads;
            else of :func:`~point2mask_ot.geodesic_distances`, whose paths :func:`~point2mask_ot.shortest_path` traces.
        counted: (S,) what was counted, before hints of size came to it; None where nobody kept that.
        no_background: all targets are things and nothing leaves a pixel to nobody, neither classes nor a term whose
            ``kind`` is a function, which may build walls: one of the things has to own every pixel.
    """

    suppliers: np.ndarray
    edges: Array
    raw_distances: Any = field(repr=False)
    costs: Any = field(repr=False)
    nearest: Array
    demand: Array
    capacities: Array
    transport: TransportResult | None
    seconds: Mapping[str, float]
    walks: bool = False
    counted: Array | None = None
    no_background: bool = False

    @property
    def distances(self) -> Array:
        """(S, h, w) cost from each supplier's points by the cheapest path, or by walks; +inf where unreachable.

        Where there are many suppliers it is made at each reading, and thousands do not fit.
        """
        return self._alike(self.raw_distances()) if callable(self.raw_distances) else self.raw_distances

    @property
    def cost(self) -> Array:
        """(S, H, W) what the transport minimised, after upsampling and scaling; +inf, too, where that left a pair out.

        Where there are many suppliers it is made at each reading, and thousands do not fit.
        """
        if not isinstance(self.costs, NearestCosts):
            return self.costs  # type: ignore[no-any-return]
        return self._alike(self.costs.to_dense().reshape(-1, *self.nearest.shape))

    def _alike(self, array: Any) -> Any:
        """A NumPy array, in the family of the other maps."""
        if isinstance(self.edges, np.ndarray):
            return array
        import torch

        return torch.from_numpy(array)

    def reached(self, tol: float | None) -> bool:
        """Whether the transport is as exact as the configuration's ``tol`` asks for; None asks for rounds alone."""
        return self.transport is None or tol is None or bool(self.transport.converged)


@dataclass(frozen=True, eq=False)
class PseudoMasks:
    """Panoptic pseudo-labels of one image with K targets.

    How sure a mask is, ``target_confidence``, is the agreement of what could have been: the product of what is left of
    the mask under each of up to three assumptions that might as well hold.

    - Prices sway by ``3 reg``, whatever the method: what the target keeps if all others outbid it by that, over what it
      gets if it outbids them. The plan shares those pixels less unevenly than 20 to 1.
    - The outline is smoothed (at ``stride=1``): the part of the mask that its pixels' neighbours in other masks do not
      outvote.
    - The picture's border is background: intersection over union with the partition by point, where the first stuff
      target has points along the border. Where stuff supplies labels, and ``border="free"``.

    Parts of a class without a point (``within_class``) count for the chance that the guess whose they are is right.
    It orders masks from doubtful to certain within a set of pictures and settings; it is no probability and no IoU.
    Stuff that its class decides has the mean of its pixels' ``confidence``, which tells how clear-cut the choice was,
    not whether it was right. Fails on objects that do reach the border, which look as if their masks ran over, and on
    one clear-cut part of an object, which looks whole.

    Attributes:
        instance: (H, W) int64, index of the target that owns the pixel, -1 where none does.
            Where stuff is decided by class, a stuff target's is the region of its category, and of several targets of
            one category the first has it.
        boxes: (K, 4) float32 xyxy, tight around the mask, right and bottom edges exclusive; NaN where the mask
            is empty and the configuration says to skip it.
        semantic: (H, W) int64 category of each pixel; where ``void`` is set the value means nothing.
        void: (H, W) bool: unreachable, undecided, or outside the valid region of a padded batch.
        confidence: (H, W) float32 in [0, 1], the share of the pixel that the plan gives to its label; 0 in void.
        target_confidence: (K,) float32 in [0, 1], how sure each mask is, see above; 0 for an empty one.
        diagnostics: the maps in between.

    Example:
        >>> import numpy as np
        >>> from point2mask_ot import PointTargets, PseudoMasker
        >>> targets = PointTargets([(2, 1), (2, 4)], category=[0, 0])
        >>> found = PseudoMasker("best")(np.ones((1, 5, 6), np.float32), None, targets)
        >>> found.instance[2].tolist(), found.masks.shape, found.boxes[0].tolist()
        ([0, 0, 0, 1, 1, 1], (2, 5, 6), [0.0, 0.0, 3.0, 5.0])
    """

    instance: Array
    boxes: Array
    semantic: Array
    void: Array
    confidence: Array
    target_confidence: Array
    diagnostics: Diagnostics
    _masks: Array | None = field(default=None, init=False, repr=False)

    @property
    def masks(self) -> Array:
        """``instance`` target by target, (K, H, W) bool and disjoint. Made on first use; thousands do not fit."""
        if self._masks is None:
            object.__setattr__(self, "_masks", self.instance == _column(len(self.boxes), self.instance))
        return self._masks  # type: ignore[return-value]


def _column(count: int, like: Any) -> Any:
    """(count, 1, 1) numbers from 0, of the family and on the device of another array."""
    numbers = np.arange(count)[:, None, None]
    if isinstance(like, np.ndarray):
        return numbers
    import torch

    return torch.from_numpy(numbers).to(like.device)
