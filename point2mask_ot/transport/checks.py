"""What a transport problem may look like: shapes and dtypes before the operator, values inside it.

Values are described by :class:`Statistics`, which whoever has the data gathers, and judged here: by :data:`RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..arrays import Array, as_tensors
from ..checks import ArgumentError, ArgumentTypeError, fail, fail_type, require_all, values_at_hand
from .problem import Batch, Options, Problem

MASS_MISMATCH = 1e-4
"""Relative difference of the totals beyond which marginals are refused rather than rescaled."""
LARGEST_RATIO = 1e14
"""A cost that is so much larger than those of the cheapest plan stands for "never", and rounds all others away."""
LARGEST_EXPONENT = 1e30
"""Largest cost over reg: beyond, exponents leave float32."""


def as_batch(function: str, a: Array, b: Array, M: Array) -> Batch:
    """Check shapes and dtypes, and bring the arguments into one form. Reads no values."""
    tensors, restore = as_tensors(function, a=a, b=b, M=M)
    for name, tensor in zip("abM", tensors, strict=True):
        if tensor.is_complex():
            raise ArgumentTypeError(function, name, "complex numbers", "real numbers")
    a_, b_, M_ = tensors
    if M_.ndim not in (2, 3):
        fail(function, "M", f"shape {tuple(M_.shape)}", "(K, N) or (B, K, N)")
    for name, tensor, axis in (("a", a_, -2), ("b", b_, -1)):
        expected = (*M_.shape[:-2], M_.shape[axis])
        if tensor.shape != expected:
            got = f"shape {tuple(tensor.shape)}"
            fail(function, name, got, f"{tuple(expected)}, to go with M of shape {tuple(M_.shape)}")
    if 0 in M_.shape:
        fail(function, "M", f"shape {tuple(M_.shape)}", "at least one problem, supplier and pixel")
    M_ = M_.to(cost_dtype(M_.dtype)).contiguous()
    batched = M_.ndim == 3
    if not batched:
        a_, b_, M_ = a_[None], b_[None], M_[None]
    return Batch(a_, b_, M_, batched, restore)


def cost_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half and single precision are computed in float32; float64 and integers, which may be large, in float64."""
    return torch.float32 if dtype.is_floating_point and dtype != torch.float64 else torch.float64


def as_batches(function: str, a: Any, b: Any, M: Any) -> list[Batch]:
    """Lists of equal length, each problem (or batch of problems) as by :func:`as_batch`, all on one device."""
    batches = []
    for index, problem in enumerate(listed_problems(function, a, b, M)):
        try:
            batches.append(as_batch(function, *problem))
        except ArgumentError as error:
            error.args = (f"{error} (problem {index} of the list)",)
            raise
    devices = sorted({str(batch.M.device) for batch in batches})
    if len(devices) > 1:
        fail(function, "M", f"devices {devices}", "all problems on one device")
    return batches


def listed_problems(function: str, a: Any, b: Any, M: Any) -> list[tuple[Any, Any, Any]]:
    """The problems of lists of equal length."""
    for name, values in (("a", a), ("b", b)):
        if not isinstance(values, (list, tuple)):
            fail_type(function, name, values, f"a list of {len(M)} arrays, as M is")
        if len(values) != len(M):
            fail(function, name, f"{len(values)} problems", f"{len(M)}, as in M")
    return list(zip(a, b, M, strict=True))


def as_pairs(
    function: str, pixels: Any, suppliers: Any, shape: Sequence[int], batch: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, n) int64 pixels and suppliers of some pairs of (K, N) costs; B is 1 where there is no batch axis."""
    expected = () if batch is None else (batch,)
    pairs = []
    for name, values, limit in (("pixels", pixels, shape[1]), ("suppliers", suppliers, shape[0])):
        index = pair_index(function, name, values, limit)
        if index.shape[:-1] != expected:
            fail(function, name, f"shape {tuple(index.shape)}", "(n,)" if batch is None else f"({batch}, n)")
        pairs.append(index[None] if batch is None else index)
    if pairs[0].shape != pairs[1].shape:
        got = f"{pairs[1].shape[-1]} beside {pairs[0].shape[-1]} pixels"
        fail(function, "suppliers", got, "one supplier for each pixel")
    return pairs[0], pairs[1]


def pair_index(function: str, name: str, values: Any, limit: int) -> torch.Tensor:
    """(..., n) int64 in 0..limit - 1, as given in a list, an array or a tensor; looks at values that are at hand."""
    try:
        index = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        fail_type(function, name, values, "integers")
    if index.dtype == torch.bool or index.is_floating_point() or index.is_complex():
        index = index.long() if not index.numel() else fail_type(function, name, values, "integers")
    if index.ndim not in (1, 2):
        fail(function, name, f"shape {tuple(index.shape)}", "(n,), or (B, n) for a batch")
    if values_at_hand(index) and index.numel() and (int(index.min()) < 0 or int(index.max()) >= limit):
        fail(function, name, f"{int(index.min())} to {int(index.max())}", f"0..{limit - 1}")
    return index.long()


class Statistics(NamedTuple):
    """What the rules want to know of the values: numbers of one problem, or (P,) tensors of as many.

    Attributes:
        supply, demand: totals of a and b; NaN and infinity come through.
        least_capacity, least_demand: their smallest entries.
        lowest: smallest cost; NaN and -inf come through.
        highest: largest cost but for +inf.
        dearest: the largest cost, by magnitude, that a pixel with demand cannot avoid.
        unreached: number of pixels with demand whose costs are all +inf.
        cut_off: (K,) or (P, K): suppliers with capacity whose costs are all +inf; empty where no cost is.
    """

    supply: Any
    demand: Any
    least_capacity: Any
    least_demand: Any
    lowest: Any
    highest: Any
    dearest: Any
    unreached: Any
    cut_off: Any


class Rule(NamedTuple):
    """What must hold of an argument, for numbers and for tensors; how to say of numbers that it does not."""

    argument: str
    holds: Callable[[Statistics, Options], Any]
    got: Callable[[Statistics, Options], str]
    expected: str


def _mass_rules(argument: str, total: str, least: str) -> list[Rule]:
    return [
        # Finite masses of an infinite total are refused, too. NaN fails every comparison.
        Rule(argument, lambda s, _: abs(getattr(s, total)) < math.inf, lambda *_: "NaN or infinity", "finite masses"),
        Rule(argument, lambda s, _: getattr(s, least) >= 0, lambda s, _: f"{getattr(s, least):g}", "masses >= 0"),
        Rule(argument, lambda s, _: getattr(s, total) > 0, lambda *_: "a total of 0", "some mass"),
    ]


def _same_total(s: Statistics, options: Options) -> Any:
    gap = abs(s.supply - s.demand)
    return (gap <= MASS_MISMATCH * s.supply) | (gap <= MASS_MISMATCH * s.demand) | options.normalize


def _range_fits(s: Statistics, options: Options) -> Any:
    largest = LARGEST_EXPONENT * options.reg if options.reg > 0 else math.inf
    return (s.highest - s.lowest < math.inf) & (abs(s.lowest) <= largest) & (abs(s.highest) <= largest)


def _no_stand_in(s: Statistics, _: Options) -> Any:
    largest = LARGEST_RATIO * s.dearest
    return ((abs(s.lowest) <= largest) & (abs(s.highest) <= largest)) | (s.dearest == 0)


RULES = (
    *_mass_rules("a", "supply", "least_capacity"),
    *_mass_rules("b", "demand", "least_demand"),
    Rule("a", _same_total, lambda s, _: f"a total of {s.supply:.8g} against {s.demand:.8g} in b",
         "the same total (normalize=True rescales a)"),
    Rule("M", lambda s, _: s.lowest == s.lowest, lambda *_: "NaN", "costs that are numbers or +inf"),
    Rule("M", lambda s, _: s.lowest != -math.inf, lambda *_: "-inf", "finite costs, or +inf for a forbidden pair"),
    Rule("M", lambda s, _: s.unreached == 0,
         lambda s, _: f"{int(s.unreached)} pixels with demand that no supplier reaches (all +inf)",
         "a finite cost in the column of every pixel with b > 0"),
    Rule("M", lambda s, _: ~s.cut_off.any(-1),
         lambda s, _: f"suppliers {np.flatnonzero(s.cut_off).tolist()} with capacity that reach no pixel (all +inf)",
         "a finite cost in the row of every supplier with a > 0"),
    Rule("M", _range_fits, lambda s, options: f"costs from {s.lowest:.3g} to {s.highest:.3g}"
         + (f" with reg {options.reg:g}" if options.reg > 0 else ""), "costs of a sane scale"),
    Rule("M", _no_stand_in, lambda s, _: f"a cost of {max(abs(s.lowest), abs(s.highest)):.3g}, "
         f"where no pixel needs more than {s.dearest:.3g}", "+inf for a forbidden pair"),
)  # fmt: skip
"""In the order in which a problem is judged; floating point cannot hold what the last two refuse beside each other."""


class Place(NamedTuple):
    """Where a problem stands: its index within a batch of some size, and the batch's in a list."""

    within: int
    size: int
    batch: int
    batches: int


def places(sizes: Sequence[int]) -> Iterator[Place]:
    """Of all problems of batches of these sizes."""
    return (Place(index, size, batch, len(sizes)) for batch, size in enumerate(sizes) for index in range(size))


def judge(function: str, found: Statistics, options: Options, place: Place) -> None:
    """Refuse a problem that breaks a rule."""
    for rule in RULES:
        if not rule.holds(found, options):
            where = f" in problem {place.within} of the batch" if place.size > 1 else ""
            error = ArgumentError(function, rule.argument, rule.got(found, options) + where, rule.expected)
            if place.batches > 1:
                error.args = (f"{error} (problem {place.batch} of the list)",)
            raise error


def judge_all(function: str, found: Statistics, options: Options, sizes: Sequence[int]) -> None:
    """The same for all problems at once; no device waits, see :func:`..checks.require_all`."""
    if values_at_hand(found.supply):
        each = zip(*(part.numpy() if part.ndim > 1 else part.tolist() for part in found), strict=True)
        for place, numbers in zip(places(sizes), each, strict=True):
            judge(function, Statistics(*numbers), options, place)
        return
    for rule in RULES:
        require_all(function, rule.argument, rule.holds(found, options), "", rule.expected)


def checked(
    function: str, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor], M: Sequence[torch.Tensor], options: Options
) -> list[Problem]:
    """Judge all problems of batches on the host, and scale their capacities to the total of the demand."""
    found = []
    for place in places([len(costs) for costs in M]):
        own_a, own_b, costs = (given[place.batch][place.within] for given in (a, b, M))
        capacity, demand = (marginal.to(torch.float64).cpu().numpy() for marginal in (own_a, own_b))
        values = _statistics(capacity, demand, costs)
        judge(function, values, options, place)
        if values.supply != values.demand:
            capacity = capacity * (values.demand / values.supply)
        span, magnitude = values.highest - values.lowest, max(abs(values.lowest), abs(values.highest))
        found.append(
            Problem(capacity, demand, costs, span, magnitude, values.cut_off.size > 0, _resolution(own_a, own_b))
        )
    return found


def _statistics(a: np.ndarray, b: np.ndarray, M: torch.Tensor) -> Statistics:
    cheapest = M.amin(dim=0).cpu().numpy()  # NaN and -inf come through a minimum
    highest, unreached, cut_off = float(M.amax()), 0, np.zeros(0, bool)
    if highest == math.inf:
        unreached = int(((cheapest == math.inf) & (b > 0)).sum())
        cut_off = (M.amin(dim=1).cpu().numpy() == math.inf) & (a > 0)
        # Row by row: all at once would be a copy of M.
        highest = float(torch.stack([torch.where(row < math.inf, row, -math.inf).amax() for row in M]).amax())
    return Statistics(
        supply=float(a.sum()),
        demand=float(b.sum()),
        least_capacity=a.min(),
        least_demand=b.min(),
        lowest=float(cheapest.min()),
        highest=highest,
        dearest=float(np.abs(cheapest[b > 0]).max(initial=0.0)),
        unreached=unreached,
        cut_off=cut_off,
    )


def _resolution(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative rounding error of marginals in the dtypes in which they were given."""
    given = [torch.finfo(t.dtype).eps for t in (a, b) if t.is_floating_point()]
    return max([float(np.finfo(np.float64).eps), *given])
