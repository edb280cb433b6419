"""Derivatives of the pixels' shares on the CPU: one pass over M, one exponential an entry."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...compiled.jit import helper, njit
from ...compiled.threads import run_parallel
from ..pullback import Pulled, TorchShares, Weights
from .blocks import BLOCK, LOWEST, Block, block_of
from .exp2 import VECTOR_MATH, exp2
from .passes import CpuPasses, bits

_WITH_NAN = VECTOR_MATH - {"nnan"}
"""A gradient that is NaN has to stay so."""
_ANY_ORDER = _WITH_NAN | {"reassoc"}
_LARGE = 400.0
"""Bits of a weight whose product with a share may matter where the share itself vanishes."""
_CUT = 44.0
_PASSES_SERIAL = 1 << 19
_SERIAL = 1 << 16
"""Entries below which threads cost more than they give."""


class Problem(NamedTuple):
    """What a pass reads.

    Attributes:
        M: (K, N) costs.
        u: (K,) potentials in bits.
        rows: suppliers with capacity.
        k: bits per unit of cost.
        pull: (N,) demand over reg.
        by_log_sum: (N,), see :meth:`..pullback.Shares.pull`; or empty.
        sign, log_weight, weight: (K,) the weights' sign, the logarithm to base 2 of their size, and themselves.
    """

    M: np.ndarray
    u: np.ndarray
    rows: np.ndarray
    k: float
    pull: np.ndarray
    by_log_sum: np.ndarray
    sign: np.ndarray
    log_weight: np.ndarray
    weight: np.ndarray


class Memory(NamedTuple):
    """Of one thread: (K, 128) shares and weighted shares, (128,) a number for each pixel, twice."""

    share: np.ndarray
    weighted: np.ndarray
    top: np.ndarray
    total: np.ndarray


class CpuShares(TorchShares):
    """See :class:`..pullback.Shares`.

    Args:
        M: (K, N) float32 or float64 costs on the CPU.
        b: (N,) demand.
        reg: entropy weight.
        rows: (n,) suppliers with capacity.
    """

    def __init__(self, M: Tensor, b: Tensor, reg: float, rows: np.ndarray) -> None:
        super().__init__(M, b, reg)
        self.rows = rows

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """See :class:`..pullback.Shares`."""
        M, k = self.M.numpy(), bits(self.reg)
        K, N = M.shape
        log_weight = weights.log.numpy() / math.log(2.0)
        problem = Problem(
            M=M,
            u=f.numpy() * k,
            rows=self.rows,
            k=k,
            pull=self.b.numpy() / self.reg,
            by_log_sum=np.zeros(0) if by_log_sum is None else by_log_sum.contiguous().numpy(),
            sign=weights.sign.numpy(),
            log_weight=log_weight,
            weight=weights.sign.numpy() * np.exp2(np.minimum(log_weight, _LARGE)),
        )
        blocks = -(-N // int(BLOCK))
        bounds = _ranges(blocks)
        totals, mean = np.zeros((len(bounds) - 1, K)), np.empty(N)
        gradient = np.empty((0, 0), M.dtype) if M_gradient is None else M_gradient.numpy()

        def part(r: int) -> None:
            own = (np.empty((K, int(BLOCK))), np.empty((K, int(BLOCK))), np.empty(int(BLOCK)), np.empty(int(BLOCK)))
            _pull(problem, bounds[r], bounds[r + 1], Memory(*own), totals[r], mean, gradient)

        run_parallel(part, range(len(totals)), serial=M.size < _SERIAL)
        return Pulled(torch.from_numpy(totals.sum(0)), torch.from_numpy(mean))

    def links(self, f: Tensor) -> Any:
        """See :class:`..pullback.Shares`."""
        passes = CpuPasses(self.M.numpy(), self.b.numpy(), self.rows, _CUT, _PASSES_SERIAL)
        return passes.masses(f.numpy(), self.reg, precise=True, links=True)[1]


def _ranges(blocks: int) -> np.ndarray:
    """Bounds of ranges of blocks; they depend on the size alone, so sums do not depend on the threads."""
    count = max(1, min(32, blocks // 16))
    return (np.arange(count + 1) * blocks // count).astype(np.uint64)


@njit(fastmath=_WITH_NAN, error_model="numpy")
def _pull(problem: Problem, first: Any, end: Any, memory: Memory, total: Any, mean: Any, gradient: Any) -> None:
    """Blocks ``first`` to ``end`` of the pixels."""
    for number in range(first, end):
        block = block_of(problem.M, number)
        _take_shares(problem, block, memory)
        _weigh(problem, block, memory, mean)
        for p in range(problem.rows.size):
            _take_pulled(problem, block, memory, p, mean)
            total[problem.rows[p]] += _sum(memory.weighted, p, block)
            if gradient.size > 0:
                row = gradient[problem.rows[p]]
                for j in range(block.start, block.stop):
                    row[j] -= memory.weighted[p, j - block.start]


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def _take_shares(problem: Problem, block: Block, memory: Memory) -> None:
    """The pixels' shares; their largest exponent in ``top``, the logarithm of the sum against it in ``total``."""
    M, u, k, start, stop = problem.M, problem.u, problem.k, block.start, block.stop
    share, top, total = memory.share, memory.top, memory.total
    for j in range(stop - start):
        top[j] = LOWEST
        total[j] = 0
    for i in problem.rows:
        for j in range(start, stop):
            t = u[i] - M[i, j] * k
            top[j - start] = t if t > top[j - start] else top[j - start]
    for p in range(problem.rows.size):
        i = problem.rows[p]
        for j in range(start, stop):
            t = (u[i] - M[i, j] * k) - top[j - start]
            e = exp2(t) if t > -1000 else 0.0
            share[p, j - start] = e
            total[j - start] += e
    for p in range(problem.rows.size):
        for j in range(stop - start):
            share[p, j] = share[p, j] / total[j] if total[j] > 0 else 0.0


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _weigh(problem: Problem, block: Block, memory: Memory, mean: Any) -> None:
    """Shares times weights, and their sum over the suppliers."""
    start, stop = block.start, block.stop
    for j in range(start, stop):
        mean[j] = 0
    for p in range(problem.rows.size):
        i = problem.rows[p]
        if problem.log_weight[i] > _LARGE:
            for j in range(start, stop):
                behind = (problem.u[i] - problem.M[i, j] * problem.k) - memory.top[j - start]
                exponent = behind - math.log2(memory.total[j - start]) + problem.log_weight[i]
                memory.weighted[p, j - start] = problem.sign[i] * exp2(exponent) if exponent > -1000 else 0.0
        else:
            for j in range(stop - start):
                memory.weighted[p, j] = problem.weight[i] * memory.share[p, j]
        for j in range(start, stop):
            mean[j] += memory.weighted[p, j - start]


@helper(fastmath=_WITH_NAN, error_model="numpy")
def _take_pulled(problem: Problem, block: Block, memory: Memory, p: int, mean: Any) -> None:
    """``s q`` of one supplier, in place of its weighted shares."""
    weighted, share, start = memory.weighted, memory.share, block.start
    for j in range(start, block.stop):
        x = j - start
        weighted[p, x] = problem.pull[j] * (weighted[p, x] - share[p, x] * mean[j])
    if problem.by_log_sum.size > 0:
        for j in range(start, block.stop):
            weighted[p, j - start] += share[p, j - start] * problem.by_log_sum[j]


@helper(fastmath=_ANY_ORDER, error_model="numpy")
def _sum(values: Any, p: int, block: Block) -> float:
    total = 0.0
    for j in range(block.stop - block.start):
        total += values[p, j]
    return total
