"""What a transport problem may look like: shapes and dtypes before the operator, values inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import Array, Restore, as_tensors
from ..checks import ArgumentError, ArgumentTypeError, fail, fail_type
from .flat import LARGEST_EXPONENT, LARGEST_RATIO, MASS_MISMATCH
from .problem import Problem


@dataclass(frozen=True)
class Batch:
    """Tensors of one call, with a batch axis.

    Attributes:
        a: (B, K).
        b: (B, N).
        M: (B, K, N) float32 or float64.
        batched: the caller gave the batch axis.
        restore: turns a tensor into the family of the inputs.
    """

    a: torch.Tensor
    b: torch.Tensor
    M: torch.Tensor
    batched: bool
    restore: Restore


def as_batch(function: str, a: Array, b: Array, M: Array) -> Batch:
    """Check shapes and dtypes, and bring the arguments into one form. Reads no values."""
    tensors, restore = as_tensors(function, a=a, b=b, M=M)
    for name, tensor in zip("abM", tensors, strict=True):
        if tensor.is_complex():
            raise ArgumentTypeError(function, name, "complex numbers", "real numbers")
    a_, b_, M_ = (tensor.detach() for tensor in tensors)
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


def problems(
    function: str, a: torch.Tensor, b: torch.Tensor, M: torch.Tensor, reg: float, normalize: bool
) -> Iterator[Problem]:
    """Check the values of every problem of a batch, and scale capacities to the total of the demand."""
    resolutions = [torch.finfo(t.dtype).eps if t.is_floating_point() else 0.0 for t in (a, b)]
    resolution = max(float(np.finfo(np.float64).eps), *resolutions)
    for index in range(len(M)):
        where = f" in problem {index} of the batch" if len(M) > 1 else ""
        capacity = _marginal(function, "a", a[index], where)
        demand = _marginal(function, "b", b[index], where)
        capacity = _balanced(function, capacity, demand, normalize, where)
        low, high, dearest, masked = _check_costs(function, M[index], capacity, demand, where)
        _check_scale(function, low, high, dearest, reg, where)
        yield Problem(capacity, demand, M[index], high - low, max(abs(low), abs(high)), masked, resolution)


def _marginal(function: str, name: str, values: torch.Tensor, where: str) -> np.ndarray:
    marginal: np.ndarray = values.to(torch.float64).cpu().numpy()
    lowest, total = marginal.min(), marginal.sum()
    if not math.isfinite(total):  # or finite masses of an infinite total
        fail(function, name, "NaN or infinity" + where, "finite masses")
    if lowest < 0:
        fail(function, name, f"{lowest:g}" + where, "masses >= 0")
    if total == 0:
        fail(function, name, "a total of 0" + where, "some mass")
    return marginal


def _balanced(function: str, a: np.ndarray, b: np.ndarray, normalize: bool, where: str) -> np.ndarray:
    supply, demand = a.sum(), b.sum()
    if not normalize and abs(supply - demand) > MASS_MISMATCH * max(supply, demand):
        got = f"a total of {supply:.8g} against {demand:.8g} in b{where}"
        fail(function, "a", got, "the same total (normalize=True rescales a)")
    return a * (demand / supply) if supply != demand else a


def _check_costs(
    function: str, M: torch.Tensor, a: np.ndarray, b: np.ndarray, where: str
) -> tuple[float, float, float, bool]:
    """Refuse what no plan can be made of.

    Returns:
        Smallest and largest finite cost, the largest that a pixel with demand cannot avoid, and whether any is +inf.
    """
    cheapest = M.amin(dim=0).cpu().numpy()  # NaN and -inf come through a minimum
    lowest, largest = float(cheapest.min()), float(M.amax())
    if math.isnan(lowest):
        fail(function, "M", "NaN" + where, "costs that are numbers or +inf")
    if lowest == -math.inf:
        fail(function, "M", "-inf" + where, "finite costs, or +inf for a forbidden pair")
    masked = largest == math.inf
    if masked:
        _check_reach(function, M, cheapest, a, b, where)
        largest = float(torch.stack([torch.where(row < math.inf, row, -math.inf).amax() for row in M]).amax())
    return lowest, largest, float(np.abs(cheapest[b > 0]).max()), masked


def _check_reach(
    function: str, M: torch.Tensor, cheapest: np.ndarray, a: np.ndarray, b: np.ndarray, where: str
) -> None:
    """Refuse pixels with demand, and suppliers with capacity, whose costs are all +inf."""
    unreachable = int(((cheapest == math.inf) & (b > 0)).sum())
    if unreachable:
        got = f"{unreachable} pixels with demand that no supplier reaches (all +inf){where}"
        fail(function, "M", got, "a finite cost in the column of every pixel with b > 0")
    cut_off = np.flatnonzero((M.amin(dim=1).cpu().numpy() == math.inf) & (a > 0))
    if cut_off.size:
        got = f"suppliers {cut_off.tolist()} with capacity that reach no pixel (all +inf){where}"
        fail(function, "M", got, "a finite cost in the row of every supplier with a > 0")


def _check_scale(function: str, low: float, high: float, dearest: float, reg: float, where: str) -> None:
    """Refuse costs that floating point cannot hold beside each other; ``dearest`` pixel's cheapest supplier."""
    magnitude = max(abs(low), abs(high))
    if not math.isfinite(high - low) or (reg > 0 and magnitude > LARGEST_EXPONENT * reg):
        got = f"costs from {low:.3g} to {high:.3g}" + (f" with reg {reg:g}" if reg > 0 else "") + where
        fail(function, "M", got, "costs of a sane scale")
    if magnitude > LARGEST_RATIO * abs(dearest) > 0:
        got = f"a cost of {magnitude:.3g}, where no pixel needs more than {dearest:.3g}{where}"
        fail(function, "M", got, "+inf for a forbidden pair")


def as_batches(function: str, a: Any, b: Any, M: Any) -> list[Batch]:
    """Lists of equal length, each problem (or batch of problems) as by :func:`as_batch`, all on one device."""
    for name, values in (("a", a), ("b", b)):
        if not isinstance(values, (list, tuple)):
            fail_type(function, name, values, f"a list of {len(M)} arrays, as M is")
        if len(values) != len(M):
            fail(function, name, f"{len(values)} problems", f"{len(M)}, as in M")
    batches = []
    for index, problem in enumerate(zip(a, b, M, strict=True)):
        try:
            batches.append(as_batch(function, *problem))
        except ArgumentError as error:
            error.args = (f"{error} (problem {index} of the list)",)
            raise
    devices = sorted({str(batch.M.device) for batch in batches})
    if len(devices) > 1:
        fail(function, "M", f"devices {devices}", "all problems on one device")
    return batches
