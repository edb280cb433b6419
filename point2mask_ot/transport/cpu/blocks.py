"""What the CPU kernels do with one block of 128 pixels, so that what it needs stays in the fastest cache.

Exponents are in bits: with ``k = 1 / (reg ln 2)`` and ``u = f k``, entry (i, j) weighs ``2**(u[i] - M[i, j] k)``
before its pixel's marginal is enforced. Sums over a block are made in the dtype of ``level`` or ``weights``.

Scratch holds the block alone. Pixels and blocks are counted in unsigned
integers: numba tests every signed index for being negative, which would keep the loops from vector instructions; and
it would count references for every slice.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ...compiled.jit import helper
from .exp2 import VECTOR_MATH, exp2

BLOCK = np.uint64(128)
LOWEST = -3e38  # below every exponent, and finite in float32 too: infinity minus infinity never happens
ANY_ORDER = VECTOR_MATH | {"reassoc"}
_LINKED = 2.0**-24  # of a block's largest: what a supplier that weighs less adds to the Hessian shortens no step


class Costs(NamedTuple):
    """What a pass reads.

    Attributes:
        M: (K, N) costs.
        b: (N,) demand, in the dtype of the arithmetic, as are the numbers.
        rows: suppliers that take part; others are never read.
        k: bits per unit of cost.
        cut: bits behind a pixel's best supplier beyond which one is left out of a block, if it is so all over it.
    """

    M: np.ndarray
    b: np.ndarray
    rows: np.ndarray
    k: Any
    cut: Any


class Ranges(NamedTuple):
    """Blocks ``bounds[r]`` to ``bounds[r + 1]`` make up range r; a call does the ranges ``first`` to ``last``."""

    bounds: np.ndarray
    first: int
    last: int


class Block(NamedTuple):
    """One block and its pixels."""

    number: int
    start: int
    stop: int


class Base(NamedTuple):
    """What passes at one ``reg`` share: exponents are taken against those of the last renewal.

    Attributes:
        level: (N,) each pixel's largest exponent then, in the dtype of the arithmetic.
        live: (blocks, K) suppliers to be read in each block.
        live_count: (blocks,) their number, int64; -1 where level and list are to be renewed.
    """

    level: np.ndarray
    live: np.ndarray
    live_count: np.ndarray


class Scratch(NamedTuple):
    """Memory for one block, of one thread.

    Attributes:
        weights: (K, 128) in the dtype of the arithmetic.
        share: (128,) likewise.
        linked: (K,) int64, rows of the weights.
    """

    weights: np.ndarray
    share: np.ndarray
    linked: np.ndarray


@helper()
def block_of(M: Any, number: Any) -> Block:
    """Block ``number`` of the (K, N) costs, which may end early."""
    start = number * BLOCK
    return Block(number, start, min(start + BLOCK, np.uint64(M.shape[1])))


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def _renew(costs: Costs, u: Any, block: Block, level: Any, live: Any) -> int:
    """Set ``level`` to each pixel's largest exponent; list the suppliers within ``cut`` bits of it somewhere."""
    M, b, k = costs.M, costs.b, costs.k
    demanded = False
    for j in range(block.start, block.stop):
        demanded |= b[j] > 0
        level[j] = LOWEST
    if not demanded:
        return 0
    for i in costs.rows:
        score = level.dtype.type(u[i])
        for j in range(block.start, block.stop):
            t = score - M[i, j] * k
            level[j] = t if t > level[j] else level[j]
    count = 0
    for i in costs.rows:
        score = level.dtype.type(u[i])
        near = False
        for j in range(block.start, block.stop):
            near |= (score - M[i, j] * k) - level[j] > -costs.cut
        if near:
            live[block.number, count] = i
            count += 1
    return count


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def live_of(costs: Costs, u: Any, block: Block, base: Base) -> int:
    """How many suppliers are to be read in a block, whose base is renewed if need be."""
    if base.live_count[block.number] < 0:
        base.live_count[block.number] = _renew(costs, u, block, base.level, base.live)
    return base.live_count[block.number]  # type: ignore[no-any-return]


@helper(fastmath=VECTOR_MATH, error_model="numpy")
def weigh(costs: Costs, u: Any, block: Block, base: Base, scratch: Scratch) -> int:
    """Weights of the live suppliers of a block, and each pixel's demand over their total; returns their number."""
    M, b, k, start, stop = costs.M, costs.b, costs.k, block.start, block.stop
    level, live, weights, share = base.level, base.live, scratch.weights, scratch.share
    count = live_of(costs, u, block, base)
    for j in range(stop - start):
        share[j] = 0
    for p in range(count):
        i = live[block.number, p]
        score = level.dtype.type(u[i])
        for j in range(start, stop):
            e = exp2((score - M[i, j] * k) - level[j])
            weights[p, j - start] = e
            share[j - start] += e
    for j in range(start, stop):
        share[j - start] = b[j] / share[j - start] if b[j] > 0 else 0
    return count


@helper(fastmath=ANY_ORDER, error_model="numpy")
def add_masses(base: Base, scratch: Scratch, block: Block, count: int, part: int, masses: Any) -> None:
    """Add to ``masses[part]`` what the live suppliers send: their weights times ``share``."""
    weights, share = scratch.weights, scratch.share
    for p in range(count):
        mass = weights.dtype.type(0)
        for j in range(block.stop - block.start):
            mass += weights[p, j] * share[j]
        masses[part, base.live[block.number, p]] += mass


@helper(fastmath=ANY_ORDER, error_model="numpy")
def add_links(b: Any, base: Base, scratch: Scratch, block: Block, count: int, part: int, links: Any) -> None:
    """Add sum_j b_j p_ij p_kj to ``links[part]``, where i > k and neither is negligible. Spoils the scratch."""
    weights, share, linked = scratch.weights, scratch.share, scratch.linked
    size = block.stop - block.start
    for j in range(size):
        share[j] = share[j] / math.sqrt(b[block.start + j]) if share[j] > 0 else 0
    largest = weights.dtype.type(0)
    for p in range(count):
        for j in range(size):
            weights[p, j] *= share[j]
            largest = max(largest, weights[p, j])
    number = 0
    for p in range(count):
        own = weights.dtype.type(0)
        for j in range(size):
            own = max(own, weights[p, j])
        if own > largest * _LINKED:
            linked[number] = p
            number += 1
    for s in range(1, number):
        p = linked[s]
        for t in range(s):
            q = linked[t]
            link = weights.dtype.type(0)
            for j in range(size):
                link += weights[p, j] * weights[q, j]
            links[part, base.live[block.number, p], base.live[block.number, q]] += link


@helper(error_model="numpy")
def take_best(M: Any, rows: Any, f: Any, block: Block, best: Any, owner: Any) -> None:
    """Each pixel's largest f - M and the supplier it is of, the smallest index of a tie; -inf and 0 where none is."""
    for j in range(block.start, block.stop):
        best[j] = -np.inf
        owner[j] = 0
    for i in rows:
        price = f[i]
        for j in range(block.start, block.stop):
            score = price - M[i, j]
            owner[j] = i if score > best[j] else owner[j]
            best[j] = max(score, best[j])
