"""Derivatives of the pixels' shares on the CPU: one pass over M, of those suppliers that a block of pixels knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...compiled.jit import helper, njit
from ..pullback import Pulled, Round, TorchShares, Weights
from .blocks import BLOCK, Base, Block, Costs, Ranges, Scratch, block_of, live_of, weigh
from .exp2 import VECTOR_MATH, exp2
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


class Together(NamedTuple):
    """Rounds whose potentials lie close together, and what is pulled at each, in the dtype of the arithmetic.

    Attributes:
        factor: (R, K) by which the weights of a block are those of the round, but for a factor of each pixel.
        weight: (R, K), see :meth:`..pullback.Shares.pull`.
        per_reg: as of :class:`Pull`.
    """

    factor: np.ndarray
    weight: np.ndarray
    per_reg: Any


class Memory(NamedTuple):
    """Of one thread: scratch, three numbers for each pixel of a block, and one for each of its entries.

    A weight w of a supplier is pulled at by ``pull w + rest``.
    """

    scratch: Scratch
    mean: np.ndarray
    pull: np.ndarray
    rest: np.ndarray
    taken: np.ndarray


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
        self.passes, self.dtype = passes, passes.dtype(precise)
        self._per_reg = self.dtype.type(float(b.sum()) / passes.b.sum() / reg)
        self._seen = math.log(float(b.sum())) + math.log(2.0) * (_FAINT - passes.cut)

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """See :class:`..pullback.Shares`."""
        if self._is_faint(weights):
            return super().pull(f, weights, by_log_sum, M_gradient)
        passes, dtype = self.passes, self.dtype
        costs, base = passes.shared(dtype, self.reg)
        if exponents(f.numpy(), bits(self.reg), passes.rows, slack_of(dtype), passes.anchor, passes.u):
            base.live_count.fill(-1)
        extra = np.zeros(0) if by_log_sum is None else by_log_sum.numpy()
        pull = Pull(_values(weights, dtype), extra.astype(dtype), self._per_reg)
        totals, mean = np.zeros((passes.ranges, len(f))), np.empty(len(self.b), dtype)
        gradient = self._gradient(M_gradient)

        def part(ranges: Ranges) -> None:
            _pull(costs, base, ranges, self._memory(0), passes.u, pull, totals, mean, gradient)

        passes.over_ranges(part)
        return Pulled(torch.from_numpy(totals.sum(0)), torch.from_numpy(mean))

    def pull_rounds(self, rounds: Sequence[Round], M_gradient: Tensor | None) -> Tensor:
        """See :class:`..pullback.Shares`: a block of M is read and written once for many rounds."""
        faint = [self._is_faint(weights) for _, weights in rounds]
        mean = torch.zeros_like(self.b)
        mean += super().pull_rounds([own for own, left in zip(rounds, faint, strict=True) if left], M_gradient)
        seen = [own for own, left in zip(rounds, faint, strict=True) if not left]
        while seen:
            count = self._together(seen)
            self._pull_together(seen[:count], mean.numpy(), self._gradient(M_gradient))
            seen = seen[count:]
        return mean

    def links(self, f: Tensor) -> Any:
        """See :class:`..pullback.Shares`."""
        links = self.passes.masses(f.numpy(), self.reg, precise=True, links=True)[1]
        return links * (float(self.b.sum()) / self.passes.b.sum())

    def _together(self, rounds: Sequence[Round]) -> int:
        """How many rounds follow before a supplier has moved too far against another for one weighing to do."""
        rises = self._rises(rounds)
        far = np.ptp(rises - rises[0], axis=1) > slack_of(self.dtype)
        return int(far.argmax()) if far.any() else len(rounds)

    def _pull_together(self, rounds: Sequence[Round], mean: np.ndarray, gradient: np.ndarray) -> None:
        passes, dtype = self.passes, self.dtype
        costs, base = passes.shared(dtype, self.reg)
        base.live_count.fill(-1)
        passes.anchor.fill(math.nan)  # whoever uses that base next begins anew
        rises, u = self._rises(rounds), np.zeros(len(self.M))
        u[passes.rows] = rises[0] - rises[0].mean()
        moves = rises - rises[0]
        factor = np.zeros((len(rounds), len(u)), dtype)
        factor[:, passes.rows] = np.exp2(moves - moves.min(1, keepdims=True))
        pulls = Together(factor, np.array([_values(weights, dtype) for _, weights in rounds]), self._per_reg)
        passes.over_ranges(
            lambda ranges: _pull_rounds(costs, base, ranges, self._memory(len(u)), u, pulls, mean, gradient)
        )

    def _rises(self, rounds: Sequence[Round]) -> np.ndarray:
        """(R, rows) exponents of the suppliers that take part."""
        return np.array([f.numpy()[self.passes.rows] for f, _ in rounds]) * bits(self.reg)  # type: ignore[no-any-return]

    def _is_faint(self, weights: Weights) -> bool:
        """Whether a supplier's mass drowns in what blocks leave out."""
        return weights.log_mass is not None and bool((weights.log_mass[self.passes.rows] < self._seen).any())

    def _gradient(self, M_gradient: Tensor | None) -> np.ndarray:
        return np.empty((0, 0), self.passes.M.dtype) if M_gradient is None else M_gradient.numpy()

    def _memory(self, suppliers: int) -> Memory:
        mean, pull, rest = np.empty((3, int(BLOCK)), self.dtype)
        return Memory(self.passes.scratch(self.dtype), mean, pull, rest, np.empty((suppliers, int(BLOCK)), self.dtype))


def _values(weights: Weights, dtype: np.dtype) -> np.ndarray:
    """(K,) the weights themselves."""
    values = weights.values if weights.log_mass is None else weights.values * (-weights.log_mass).exp()
    return values.numpy().astype(dtype)  # type: ignore[no-any-return]


@njit(fastmath=_WITH_NAN, error_model="numpy")
def _pull(
    costs: Costs, base: Base, ranges: Ranges, memory: Memory, u: Any, pull: Pull, total: Any, mean: Any, gradient: Any
) -> None:
    """Add to ``total``, (ranges, K), and take from ``gradient``, (K, N) or empty; fill ``mean``, (N,)."""
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            count = _average(costs, u, base, block, memory, pull)
            for j in range(block.start, block.stop):
                mean[j] = memory.mean[j - block.start]
            for p in range(count):
                i = base.live[index, p]
                total[r, i] += _pull_at(memory, p, block, pull.weight[i])
                if gradient.size > 0:
                    _take(costs.M, memory, p, i, block, pull.weight[i], gradient)


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _average(costs: Costs, u: Any, base: Base, block: Block, memory: Memory, pull: Pull) -> int:
    """As :func:`.blocks.weigh`, and fill the memory of the pixels: their mean, and what the entries' weights take.

    In one loop, lest every round go through the weights once more.
    """
    weights, share, b = memory.scratch.weights, memory.scratch.share, costs.b
    mean, demand, rest = memory.mean, memory.pull, memory.rest
    start, size = block.start, block.stop - block.start
    count = live_of(costs, u, block, base)
    for x in range(size):
        mean[x] = 0
        share[x] = 0
    for p in range(count):
        i = base.live[block.number, p]
        score, weight = weights.dtype.type(u[i]), pull.weight[i]
        for x in range(size):
            e = exp2((score - costs.M[i, start + x] * costs.k) - base.level[start + x])
            weights[p, x] = e
            share[x] += e
            mean[x] += weight * e
    for x in range(size):
        share[x] = share.dtype.type(1) / share[x] if b[start + x] > 0 else 0
        demand[x] = b[start + x] * share[x] * pull.per_reg
        mean[x] *= share[x]
        rest[x] = -demand[x] * mean[x]
    if pull.by_log_sum.size > 0:
        for x in range(size):
            rest[x] += pull.by_log_sum[start + x] * share[x]
    return count  # type: ignore[no-any-return]


@helper(fastmath=_ANY_ORDER, error_model="numpy")
def _pull_at(memory: Memory, p: int, block: Block, weight: Any) -> float:
    """Sum of ``s q`` of one supplier."""
    weights, pull, rest = memory.scratch.weights, memory.pull, memory.rest
    total = weights.dtype.type(0)
    for x in range(block.stop - block.start):
        total += weights[p, x] * (pull[x] * weight + rest[x])
    return total  # type: ignore[no-any-return]


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _take(M: Any, memory: Memory, p: int, i: int, block: Block, weight: Any, gradient: Any) -> None:
    weights, pull, rest = memory.scratch.weights, memory.pull, memory.rest
    start, zero = block.start, weights.dtype.type(0)
    for x in range(block.stop - start):
        pulled = weights[p, x] * (pull[x] * weight + rest[x])
        gradient[i, start + x] -= pulled if M[i, start + x] < np.inf else zero


@njit(fastmath=_WITH_NAN, error_model="numpy")
def _pull_rounds(
    costs: Costs, base: Base, ranges: Ranges, memory: Memory, u: Any, pulls: Together, mean: Any, gradient: Any
) -> None:
    """Take from ``gradient``, (K, N) or empty, and add to ``mean``, (N,), for all rounds while a block is at hand."""
    for r in range(ranges.first, ranges.last):
        for index in range(ranges.bounds[r], ranges.bounds[r + 1]):
            block = block_of(costs.M, index)
            start, size = block.start, block.stop - block.start
            count = weigh(costs, u, block, base, memory.scratch)
            for p in range(count):
                for x in range(size):
                    memory.taken[p, x] = 0
            for t in range(pulls.factor.shape[0]):
                _average_round(costs, base, block, memory, count, pulls, t)
                for x in range(size):
                    mean[start + x] += memory.mean[x]
                if gradient.size > 0:
                    _add_round(base, block, memory, count, pulls, t)
            if gradient.size > 0:
                for p in range(count):
                    _take_rounds(costs.M, memory, p, base.live[index, p], block, gradient)


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _average_round(costs: Costs, base: Base, block: Block, memory: Memory, count: int, pulls: Together, t: int) -> None:
    """As :func:`_average`, for weights that are those of the block times the round's factors."""
    weights, total, mean, demand = memory.scratch.weights, memory.rest, memory.mean, memory.pull
    start, size = block.start, block.stop - block.start
    for x in range(size):
        total[x] = 0
        mean[x] = 0
    for p in range(count):
        i = base.live[block.number, p]
        factor, weight = pulls.factor[t, i], pulls.factor[t, i] * pulls.weight[t, i]
        for x in range(size):
            total[x] += factor * weights[p, x]
            mean[x] += weight * weights[p, x]
    for x in range(size):
        share = total.dtype.type(1) / total[x] if costs.b[start + x] > 0 else total.dtype.type(0)
        mean[x] *= share
        demand[x] = costs.b[start + x] * share * pulls.per_reg
        total[x] = -demand[x] * mean[x]


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _add_round(base: Base, block: Block, memory: Memory, count: int, pulls: Together, t: int) -> None:
    taken, pull, rest = memory.taken, memory.pull, memory.rest
    for p in range(count):
        i = base.live[block.number, p]
        factor, weight = pulls.factor[t, i], pulls.weight[t, i]
        for x in range(block.stop - block.start):
            taken[p, x] += factor * (pull[x] * weight + rest[x])


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _take_rounds(M: Any, memory: Memory, p: int, i: int, block: Block, gradient: Any) -> None:
    weights, taken, zero = memory.scratch.weights, memory.taken, memory.taken.dtype.type(0)
    for x in range(block.stop - block.start):
        j = block.start + x
        gradient[i, j] -= weights[p, x] * taken[p, x] if M[i, j] < np.inf else zero
