"""Tiles in the order of the costs that wait at them: minima of 64 tiles each, searched by vector instructions.

Searches that share a queue own a multiple of 64 groups each and all tiles of these.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from ...compiled.jit import helper, intrinsic

SPAN = 64

_FLOAT = ir.FloatType()
_WORD = ir.IntType(64)
_MANY = ir.VectorType(_FLOAT, SPAN)
_INFINITE = ir.Constant(_MANY, [float("inf")] * SPAN)


def _load(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    """64 values, of which LLVM makes as many vectors as the processor needs."""
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.load(builder.bitcast(builder.gep(data, [start]), _MANY.as_pointer()), align=4)


def _shuffle(builder: Any, vector: Any, lanes: range | list[int]) -> Any:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(vector, vector, mask)


def _lowest(builder: Any, vector: Any) -> Any:
    while vector.type.count > 1:
        half = vector.type.count // 2
        lower, upper = _shuffle(builder, vector, range(half)), _shuffle(builder, vector, range(half, 2 * half))
        vector = builder.select(builder.fcmp_ordered("<", lower, upper), lower, upper)
    return builder.extract_element(vector, ir.Constant(_WORD, 0))


def _equal(builder: Any, vector: Any, value: Any) -> Any:
    """A bit for each lane that equals a value."""
    single = builder.insert_element(ir.Constant(_MANY, ir.Undefined), value, ir.Constant(_WORD, 0))
    return builder.fcmp_ordered("==", vector, _shuffle(builder, single, [0] * SPAN))


def _first(builder: Any, bits: Any) -> Any:
    """The number of the first of 64 bits that is set."""
    return builder.cttz(builder.bitcast(bits, _WORD), ir.Constant(ir.IntType(1), 0))


@intrinsic
def _minimum(typing_context: Any, values: Any, start: Any) -> Any:
    """The minimum of 64 values."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _lowest(builder, _load(context, builder, values, *arguments))

    return types.float32(values, types.int64), generate


@intrinsic
def _find(typing_context: Any, values: Any, start: Any, value: Any) -> Any:
    """Which of 64 values is the first that equals ``value``; 64 if none does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _load(context, builder, values, *arguments[:2])
        return _first(builder, _equal(builder, vector, arguments[2]))

    return types.int64(values, types.int64, types.float32), generate


@intrinsic
def _take(typing_context: Any, values: Any, start: Any, value: Any) -> Any:
    """Which of 64 values is the first that equals ``value``, and the minimum of the others.

    Reading the values once, rather than again without the one, does not wait for a store.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _load(context, builder, values, *arguments[:2])
        place = _first(builder, _equal(builder, vector, arguments[2]))
        bit = builder.bitcast(builder.shl(ir.Constant(_WORD, 1), place), ir.VectorType(ir.IntType(1), SPAN))
        rest = _lowest(builder, builder.select(bit, _INFINITE, vector))
        return context.make_tuple(builder, signature.return_type, [place, rest])

    return types.Tuple([types.int64, types.float32])(values, types.int64, types.float32), generate


class Queue(NamedTuple):
    """Costs that wait; +inf is none.

    Attributes:
        pending: (groups * 64,) float32, the smallest cost that waits at each tile.
        minima: (groups,) float32, that of each group of 64 tiles.
    """

    pending: np.ndarray
    minima: np.ndarray


@helper(forceinline=True)
def enqueue(queue: Queue, tile: int, cost: Any) -> None:
    """Let a cost wait at a tile; +inf is none."""
    queue.pending[tile] = min(queue.pending[tile], cost)
    queue.minima[tile // SPAN] = min(queue.minima[tile // SPAN], cost)


@helper(forceinline=True)
def pop(queue: Queue, first: int, end: int) -> int:
    """Take the tile with the smallest cost pending among the groups ``first`` to ``end``; -1 if there is none."""
    cost, span = np.float32(np.inf), first
    for start in range(first, end, SPAN):
        least = _minimum(queue.minima, start)
        if least < cost:
            cost, span = least, start
    if cost == np.inf:
        return -1
    group = span + _find(queue.minima, span, cost)
    place, rest = _take(queue.pending, group * SPAN, cost)
    tile = group * SPAN + place
    queue.pending[tile] = np.inf
    queue.minima[group] = rest
    return tile
