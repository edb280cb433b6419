"""Derivatives of the pixels' shares on the CPU: one pass over M, of those suppliers that a block of pixels knows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...compiled.jit import helper, njit
from ..pullback import Pulled, TorchShares, Weights
from .blocks import BLOCK, Base, Block, Costs, Ranges, Scratch, block_of, weigh
from .exp2 import VECTOR_MATH
from .fused import exponents
from .passes import CpuPasses, bits, slack_of

_WITH_NAN = VECTOR_MATH - {"nnan"}
"""A gradient that is NaN has to stay so."""
_ANY_ORDER = _WITH_NAN | {"reassoc"}
_FAINT = 24.0
"""Bits by which a supplier's mass has to stand out from what blocks leave out, or the plain form takes over."""


class Pull(NamedTuple):
    """What is pulled at, in the dtype of the arithmetic.

    Attributes:
        weight: (K,), see :meth:`..pullback.Shares.pull`.
        by_log_sum: (N,), the same; or empty.
        per_reg: 1 / reg, for a demand in the units of the passes.
    """

    weight: np.ndarray
    by_log_sum: np.ndarray
    per_reg: Any


class Memory(NamedTuple):
    """Of one thread: scratch, and three numbers for each pixel of a block."""

    scratch: Scratch
    mean: np.ndarray
    pull: np.ndarray
    extra: np.ndarray


class CpuShares(TorchShares):
    """See :class:`..pullback.Shares`; the same for pixels with demand, zero for others.

    Args:
        passes: over the costs; their demand may be in other units.
        M: (K, N) those.
        b: (N,) demand.
        reg: entropy weight.
        precise: compute in float64 even if M is float32.
    """

    def __init__(self, passes: CpuPasses, M: Tensor, b: Tensor, reg: float, precise: bool) -> None:
        super().__init__(M, b, reg)
        self.passes, self.precise, self._unit = passes, precise, float(b.sum()) / passes.b.sum()

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """See :class:`..pullback.Shares`."""
        passes, dtype = self.passes, self.passes.dtype(self.precise)
        if weights.log_mass is not None:
            seen = math.log(float(self.b.sum())) + math.log(2.0) * (_FAINT - passes.cut)
            if bool((weights.log_mass[passes.rows] < seen).any()):
                return super().pull(f, weights, by_log_sum, M_gradient)
        costs, base = passes.shared(dtype, self.reg)
        if exponents(f.numpy(), bits(self.reg), passes.rows, slack_of(dtype), passes.anchor, passes.u):
            base.live_count.fill(-1)
        extra = np.zeros(0) if by_log_sum is None else by_log_sum.numpy()
        weight = weights.values if weights.log_mass is None else weights.values * (-weights.log_mass).exp()
        pull = Pull(weight.numpy().astype(dtype), extra.astype(dtype), dtype.type(self._unit / self.reg))
        totals, mean = np.zeros((passes.ranges, len(f))), np.empty(len(self.b), dtype)
        gradient = np.empty((0, 0), passes.M.dtype) if M_gradient is None else M_gradient.numpy()

        def part(ranges: Ranges) -> None:
            memory = Memory(passes.scratch(dtype), *np.empty((3, int(BLOCK)), dtype))
            _pull(costs, base, ranges, memory, passes.u, pull, totals, mean, gradient)

        passes.over_ranges(part)
        return Pulled(torch.from_numpy(totals.sum(0)), torch.from_numpy(mean).double())

    def links(self, f: Tensor) -> Any:
        """See :class:`..pullback.Shares`."""
        return self.passes.masses(f.numpy(), self.reg, precise=True, links=True)[1] * self._unit


@njit(fastmath=_WITH_NAN, error_model="numpy")
def _pull(
    costs: Costs, base: Base, ranges: Ranges, memory: Memory, u: Any, pull: Pull, total: Any, mean: Any, gradient: Any
) -> None:
    """Add to ``total``, (ranges, K), and take from ``gradient``, (K, N) or empty; fill ``mean``, (N,)."""
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            count = weigh(costs, u, block, base, memory.scratch)  # demand over total in ``share``
            _average(costs, base, block, memory, count, pull)
            for j in range(block.start, block.stop):
                mean[j] = memory.mean[j - block.start]
            for p in range(count):
                i = base.live[index, p]
                total[r, i] += _pull_at(memory.scratch.weights, p, block, memory, pull.weight[i])
                if gradient.size > 0:
                    _take(costs.M, memory.scratch.weights, p, i, block, gradient)


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _average(costs: Costs, base: Base, block: Block, memory: Memory, count: int, pull: Pull) -> None:
    """Turn weights into shares; fill the memory of the pixels."""
    weights, share, b = memory.scratch.weights, memory.scratch.share, costs.b
    mean, demand, extra = memory.mean, memory.pull, memory.extra
    start, size = block.start, block.stop - block.start
    for x in range(size):
        share[x] = share[x] / b[start + x] if share[x] > 0 else 0
        demand[x] = b[start + x] * pull.per_reg
        mean[x] = 0
        extra[x] = 0
    if pull.by_log_sum.size > 0:
        for x in range(size):
            extra[x] = pull.by_log_sum[start + x]
    for p in range(count):
        weight = pull.weight[base.live[block.number, p]]
        for x in range(size):
            weights[p, x] *= share[x]
        for x in range(size):
            mean[x] += weight * weights[p, x]


@helper(fastmath=_ANY_ORDER, error_model="numpy")
def _pull_at(weights: Any, p: int, block: Block, memory: Memory, weight: Any) -> float:
    """Put ``s q`` of one supplier in place of its shares, and sum it."""
    mean, pull, extra = memory.mean, memory.pull, memory.extra
    total = weights.dtype.type(0)
    for x in range(block.stop - block.start):
        pulled = weights[p, x] * (pull[x] * (weight - mean[x]) + extra[x])
        weights[p, x] = pulled
        total += pulled
    return total  # type: ignore[no-any-return]


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _take(M: Any, weights: Any, p: int, i: int, block: Block, gradient: Any) -> None:
    start, zero = block.start, weights.dtype.type(0)
    for x in range(block.stop - start):
        gradient[i, start + x] -= weights[p, x] if M[i, start + x] < np.inf else zero
