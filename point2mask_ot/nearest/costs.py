"""Costs between suppliers and pixels where each pixel knows only those that may serve it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ..checks import check_integer, check_number, fail, fail_type

if TYPE_CHECKING:
    from ..arrays import Array
    from .kernels import Blocks

Search: TypeAlias = "Callable[[np.ndarray, float], NearestCosts]"
"""Chooses entries at prices, within a window: see :attr:`NearestCosts.search`."""

BLOCK = 64
"""Pixels in a block: 8 x 8 of them where they come from a picture."""
_MOST_RANGES = 32
_BLOCKS_PER_RANGE = 64


@dataclass(frozen=True, eq=False)
class NearestCosts:
    """A (K, N) cost matrix of which most entries are left out, because they cost too much to matter.

    Pixels lie in blocks; a block lists some suppliers with a cost for each of its pixels. What is left out is not free
    to be anything: it costs at least ``floor``, at the prices at which the entries were chosen.

    Attributes:
        num_suppliers, num_pixels: K and N.
        pixel: (B, 64) int32, the pixels of each block, each of the N in one place; -1 fills up.
        first: (B + 1,) int64: entries first[b] to first[b + 1] are those of block b.
        supplier: (E,) int32, ascending within a block.
        cost: (E, 64) float32 or float64; +inf where the pair is forbidden or left out.
        price: (K,) float64 at which the entries were chosen.
        floor: (B, 64) float32, at most ``cost - price`` of any supplier that a pixel leaves out; +inf where none is.
        search: ``search(price, window)`` -> the same costs with the entries chosen anew: all whose ``cost - price`` is
            at most the pixel's smallest plus ``window``; None where nobody can.
        origin: what they were made from where that was a tensor, to which a gradient may go; else None.

    Example:
        >>> import numpy as np
        >>> costs = NearestCosts.from_nearest(np.array([[0, 0, 1], [1, 1, 2]]), np.array([[0, 1, 0], [4, 1, 2]]), 3)
        >>> costs.label_and_cost(np.array([0.0, 0.5, 0.0]))[0].tolist()
        [0, 1, 1]
        >>> costs.to_dense().tolist()
        [[0.0, 1.0, inf], [4.0, 1.0, 0.0], [inf, inf, 2.0]]
    """

    num_suppliers: int
    num_pixels: int
    pixel: np.ndarray
    first: np.ndarray
    supplier: np.ndarray
    cost: np.ndarray
    price: np.ndarray
    floor: np.ndarray
    search: Callable[[np.ndarray, float], NearestCosts] | None = None
    origin: Listed | None = None

    @classmethod
    def from_nearest(
        cls, labels: Array, costs: Array, num_suppliers: int, *, floor: np.ndarray | None = None
    ) -> NearestCosts:
        """From the k nearest suppliers of each pixel; every 64 pixels in a row are a block.

        Args:
            labels: (k, N) integers, different suppliers of each pixel in any order; -1 where there are fewer.
            costs: (k, N) theirs; ignored where the label is -1, +inf forbids a pair. float64 and integers are kept in
                float64, other floats in float32. Of a CPU tensor that requires a gradient, the results of
                :func:`~point2mask_ot.solve` have one by it.
            num_suppliers: K.
            floor: (N,) what suppliers that are left out of a pixel cost at least, +inf where none is. By default the
                largest cost given, or +inf where fewer than k are given or k is K.

        Raises:
            ArgumentError: shapes that do not fit, labels out of range or twice at a pixel, NaN or -inf.
            ArgumentTypeError: something other than NumPy arrays, or tensors, of integers and of real numbers.
        """
        return _from_nearest(labels, costs, num_suppliers, floor)

    @classmethod
    def from_dense(cls, M: np.ndarray, *, price: np.ndarray | None = None, window: float = np.inf) -> NearestCosts:
        """From a whole matrix, which a search for other prices can choose from again.

        Args:
            M: (K, N) costs, +inf forbids a pair. float64 and integers are kept in float64, other floats in float32.
            price: (K,) at which entries are chosen; zeros by default.
            window: those are kept whose ``cost - price`` is at most the pixel's smallest plus this.

        Raises:
            ArgumentError: shapes that do not fit, NaN or -inf.
            ArgumentTypeError: something other than NumPy arrays of real numbers.
        """
        name = "NearestCosts.from_dense"
        M = _real(name, "M", M)
        if M.ndim != 2 or 0 in M.shape:
            fail(name, "M", f"shape {M.shape}", "(K, N), at least one supplier and pixel")
        if not np.greater(M, -np.inf).all():
            fail(name, "M", "NaN or -inf", "finite costs, or +inf for a forbidden pair")
        window = check_number(name, "window", window, minimum=0.0, infinite=True)
        price = np.zeros(len(M)) if price is None else _real(name, "price", price).astype(np.float64)
        if price.shape != (len(M),):
            fail(name, "price", f"shape {price.shape}", f"({len(M)},), one for each row of M")
        return DenseSearch(M)(price, window)

    def label_and_cost(self, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) int64 argmax of price - cost over the entries of each pixel, -1 where none is finite, and (N,) its cost.

        Args:
            price: (K,); -inf takes a supplier out. The smallest index of a tie wins.
        """
        from . import kernels  # imports numba: only where it is used

        blocks, price = self.blocks(), np.asarray(price, np.float64)
        label, cost = np.empty(self.num_pixels, np.int64), np.empty(self.num_pixels)
        self._over_ranges(lambda start, stop: kernels.label_and_cost(blocks, price, start, stop, label, cost))
        return label, cost

    def least(self, price: np.ndarray) -> np.ndarray:
        """(B, 64) float64 smallest cost - price of each pixel, +inf where there is none."""
        label, cost = self.label_and_cost(price)
        reduced = np.where(label >= 0, cost - np.asarray(price, np.float64)[label], np.inf)
        return np.where(self.pixel >= 0, reduced[self.pixel], np.inf)

    def firmness(self, price: np.ndarray, sway: float, demand: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """What each supplier may get and what it surely keeps when prices are off by ``sway``.

        Args:
            price: (K,).
            sway: a supplier contends for a pixel where its price - cost is at most this below the best one's.
            demand: (N,) bool, pixels that count; all by default.

        Returns:
            (K,) int64 pixels that each contends for, and (K,) int64 those for which nobody else does.
        """
        from . import kernels

        blocks, price = self.blocks(), np.asarray(price, np.float64)
        demand = np.ones(self.num_pixels, bool) if demand is None else np.asarray(demand, bool)

        def part(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
            wanted, kept = np.zeros((2, self.num_suppliers), np.int64)
            kernels.contenders(blocks, price, float(sway), demand, start, stop, wanted, kept)
            return wanted, kept

        parts = self._over_ranges(part)
        return sum(wanted for wanted, _ in parts), sum(kept for _, kept in parts)

    def supplier_cost(self, supplier: np.ndarray) -> np.ndarray:
        """(N,) float64 cost between each pixel and one supplier, (N,) integers; +inf where that is left out or < 0."""
        from . import kernels

        blocks, cost = self.blocks(), np.empty(self.num_pixels)
        chosen = np.asarray(supplier, np.int64)
        self._over_ranges(lambda start, stop: kernels.cost_of(blocks, chosen, start, stop, cost))
        return cost

    def narrowed(self, price: np.ndarray, window: float) -> NearestCosts | None:
        """What ``search`` would find, from the entries that are there; None where it might find others.

        Args:
            price, window: as for ``search``.
        """
        from . import kernels

        blocks, price = self.blocks(), np.asarray(price, np.float64)
        top, near = np.empty(self.pixel.shape), np.empty(len(self.supplier), np.bool_)
        self._over_ranges(lambda start, stop: kernels.find_near(blocks, price, window, start, stop, top, near))
        limit = window - top
        risen = float((price - self.price).max(initial=-np.inf))  # so much closer may those come that were left out
        if (self.floor - risen < limit).any():
            return None
        first = np.append(0, near.cumsum())[self.first]
        supplier, cost = self.supplier[near], self.cost[near]
        return replace(self, first=first, supplier=supplier, cost=cost, price=price, floor=round_down(limit))

    def to_dense(self) -> np.ndarray:
        """(K, N) in the dtype of the costs, +inf where the pair is left out."""
        M = np.full((self.num_suppliers, self.num_pixels), np.inf, self.cost.dtype)
        pixel = self.pixel_of_entries()
        entry, lane = np.nonzero(pixel >= 0)
        M[self.supplier[entry], pixel[entry, lane]] = self.cost[entry, lane]
        return M

    def check(self, function: str, argument: str) -> None:
        """Refuse arrays that do not fit together, which kernels would read beyond; looks at no cost."""
        B, E, lanes = len(self.pixel), len(self.supplier), self.pixel.shape[-1]
        shapes = {"pixel": (B, lanes), "first": (B + 1,), "supplier": (E,), "cost": (E, lanes), "floor": (B, lanes),
                  "price": (self.num_suppliers,)}  # fmt: skip
        for part, shape in shapes.items():
            if getattr(self, part).shape != shape:
                fail(function, argument, f"{part} of shape {getattr(self, part).shape}", f"{shape}")
        if self.cost.dtype not in (np.float32, np.float64):
            fail(function, argument, f"costs of dtype {self.cost.dtype}", "float32 or float64")
        places = self.pixel[self.pixel >= 0]
        if len(places) != self.num_pixels or (np.bincount(places, minlength=self.num_pixels) != 1).any():
            fail(function, argument, "pixels that are in no block or in two", f"each of {self.num_pixels} in one place")
        counts, inner = np.diff(self.first), np.ones(max(E - 1, 0), bool)
        if self.first[0] != 0 or self.first[-1] != E or (counts < 0).any():
            fail(function, argument, "entries of no block", f"first to rise from 0 to {E}")
        inner[self.first[(self.first > 0) & (self.first < E)] - 1] = False
        rises = np.diff(self.supplier)[inner]
        if E and (self.supplier.min() < 0 or self.supplier.max() >= self.num_suppliers or (rises <= 0).any()):
            fail(function, argument, "suppliers out of order or range", f"0..{self.num_suppliers - 1}, ascending")

    def blocks(self) -> Blocks:
        """What kernels read."""
        from .kernels import Blocks

        return Blocks(self.pixel, self.first, self.supplier, self.cost)

    def pixel_of_entries(self) -> np.ndarray:
        """(E, 64) the pixel of every cost."""
        return np.repeat(self.pixel, np.diff(self.first), axis=0)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) block and (N,) lane of each pixel."""
        place, filled = np.empty(self.num_pixels, np.int64), self.pixel.reshape(-1) >= 0
        place[self.pixel.reshape(-1)[filled]] = np.flatnonzero(filled)
        return place // self.pixel.shape[1], place % self.pixel.shape[1]

    def entries_of(self, suppliers: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Entry of each pair, of arrays that go together; -1 where there is none."""
        block, _ = self.places()
        key = np.repeat(np.arange(len(self.pixel)), np.diff(self.first)) * self.num_suppliers + self.supplier
        wanted = block[pixels] * self.num_suppliers + suppliers
        entry = np.searchsorted(key, wanted)
        found = (suppliers >= 0) & (np.append(key, -1)[entry] == wanted)
        return np.where(found, entry, -1)

    def _over_ranges(self, part: Callable[[int, int], Any]) -> list[Any]:
        from ..compiled.threads import run_parallel

        bounds = ranges(len(self.pixel)).tolist()
        return run_parallel(lambda ends: part(*ends), list(itertools.pairwise(bounds)))


class Listed(NamedTuple):
    """The costs that entries were made from.

    Attributes:
        labels: (k, N) int64, -1 for none.
        costs: (k, N), a tensor that tracks a gradient.
        version: torch's count of changes in place, then.
    """

    labels: np.ndarray
    costs: Any
    version: int

    def current(self) -> Any:
        """The tensor.

        Raises:
            RuntimeError: it has been changed in place since: the entries are of other costs.
        """
        if self.costs._version != self.version:
            raise RuntimeError(
                "NearestCosts: the tensor that they were made from has been changed in place since, say, by an "
                "optimizer: make them anew, with from_nearest"
            )
        return self.costs


def ranges(blocks: int) -> np.ndarray:
    """Bounds of ranges of blocks; they depend on the number alone, so sums do not depend on the threads."""
    count = max(1, min(_MOST_RANGES, blocks // _BLOCKS_PER_RANGE))
    return np.arange(count + 1) * blocks // count


def round_down(values: np.ndarray) -> np.ndarray:
    """float32 numbers that are at most the given ones: what a floor may be rounded to."""
    rounded = np.asarray(values).astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


@dataclass(frozen=True, eq=False)
class DenseSearch:
    """Chooses entries from a whole (K, N) matrix: the plain form of what a search is asked for."""

    M: np.ndarray

    def __call__(self, price: np.ndarray, window: float) -> NearestCosts:
        """See :attr:`NearestCosts.search`."""
        K, N = self.M.shape
        filled = -(-N // BLOCK) * BLOCK
        M = np.full((K, filled), np.inf, self.M.dtype)
        M[:, :N] = self.M
        reduced = M - price[:, None]
        finite = np.isfinite(M)
        near = (reduced <= reduced.min(0) + window) & finite
        floor = np.where(finite & ~near, reduced, np.inf).min(0)
        block, supplier = np.nonzero(near.reshape(K, -1, BLOCK).any(2).T)
        kept = np.where(near, M, np.inf).reshape(K, -1, BLOCK)
        pixel = np.where(np.arange(filled) < N, np.arange(filled), -1)
        return NearestCosts(
            num_suppliers=K,
            num_pixels=N,
            pixel=pixel.astype(np.int32).reshape(-1, BLOCK),
            first=np.searchsorted(block, np.arange(filled // BLOCK + 1)),
            supplier=supplier.astype(np.int32),
            cost=np.ascontiguousarray(kept[supplier, block]),
            price=np.array(price, np.float64),
            floor=round_down(floor).reshape(-1, BLOCK),
            search=self,
        )


def _real(function: str, argument: str, value: Any) -> np.ndarray:
    """A NumPy array of real numbers, as float32 or float64."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        fail_type(function, argument, value, "a NumPy array of real numbers")
    return value.astype(np.float32 if value.dtype in (np.float16, np.float32) else np.float64, copy=False)


def _from_nearest(labels: Any, costs: Any, num_suppliers: int, floor: Any) -> NearestCosts:
    from . import kernels

    name = "NearestCosts.from_nearest"
    K = check_integer(name, "num_suppliers", num_suppliers, minimum=1)
    given = costs
    labels, costs = _checked_pairs(name, _on_host(name, "labels", labels), _on_host(name, "costs", costs), K)
    origin = None
    if getattr(given, "requires_grad", False):
        import torch

        origin = Listed(labels, given, given._version) if torch.is_grad_enabled() else None
    N = labels.shape[1]
    least = _floor(name, labels, costs, K, floor)
    blocks = -(-N // BLOCK)
    first = np.zeros(blocks + 1, np.int64)
    twice = kernels.count_suppliers(labels, BLOCK, K, first)
    if twice >= 0:
        fail(name, "labels", f"{labels[:, twice].tolist()} at pixel {twice}", "different suppliers of each pixel")
    first = first.cumsum()
    pixel, floors = np.full(blocks * BLOCK, -1, np.int32), np.full(blocks * BLOCK, np.inf, np.float32)
    pixel[:N], floors[:N] = np.arange(N), round_down(least)
    supplier, cost = np.empty(first[-1], np.int32), np.full((first[-1], BLOCK), np.inf, costs.dtype)
    kernels.fill_blocks(labels, costs, K, kernels.Blocks(pixel.reshape(-1, BLOCK), first, supplier, cost))
    shape = (blocks, BLOCK)
    return NearestCosts(
        K, N, pixel.reshape(shape), first, supplier, cost, np.zeros(K), floors.reshape(shape), origin=origin
    )


def _on_host(function: str, argument: str, values: Any) -> Any:
    """The array of a CPU tensor; anything else as it is."""
    if not hasattr(values, "requires_grad"):
        return values
    if values.device.type != "cpu":
        fail(function, argument, f"a tensor on {values.device}", "a NumPy array or a tensor on the CPU")
    floats = values.detach().float() if values.is_floating_point() and values.element_size() < 4 else values.detach()
    return floats.numpy()


def _checked_pairs(name: str, labels: Any, costs: Any, K: int) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        fail_type(name, "labels", labels, "a NumPy array of integers")
    costs = _real(name, "costs", costs)
    if labels.ndim != 2 or 0 in labels.shape:
        fail(name, "labels", f"shape {labels.shape}", "(k, N), at least one supplier and pixel")
    if costs.shape != labels.shape:
        fail(name, "costs", f"shape {costs.shape}", f"{labels.shape}, as labels have")
    labels = labels.astype(np.int64, copy=False)
    if labels.min() < -1 or labels.max() >= K:
        fail(name, "labels", f"{labels.min()} to {labels.max()}", f"suppliers in 0..{K - 1}, or -1 for none")
    if not (costs[labels >= 0] > -np.inf).all():
        fail(name, "costs", "NaN or -inf", "finite costs, or +inf for a forbidden pair")
    return np.ascontiguousarray(labels), np.ascontiguousarray(costs)


def _floor(name: str, labels: np.ndarray, costs: np.ndarray, K: int, floor: Any) -> np.ndarray:
    k, N = labels.shape
    if floor is None:
        full = (labels >= 0).all(0) if k < K else np.zeros(N, bool)
        return np.where(full, costs.max(0), np.inf)
    floor = _real(name, "floor", floor)
    if floor.shape != (N,):
        fail(name, "floor", f"shape {floor.shape}", f"({N},), one for each pixel")
    if not (floor > -np.inf).all():
        fail(name, "floor", "NaN or -inf", "finite costs, or +inf where nobody is left out")
    return floor
