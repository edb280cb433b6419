"""Vectors of float32 lanes as values of compiled code.

numba vectorises loops over arrays but cannot keep a small block of them in registers. :class:`Lanes` is a numba type
for an LLVM vector of one or two groups of 8 lanes, and the functions below, for compiled code only, are its
operations. LLVM maps them to what the processor has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

GROUP = 8

_FLOAT = ir.FloatType()
_WORD = ir.IntType(64)


class Lanes(types.Type):
    """``count`` float32 values side by side; equal counts are equal types."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Lanes({count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(_FLOAT, kind.count))


def _shuffle(builder: Any, first: Any, second: Any, lanes: Sequence[int]) -> Any:
    """The chosen lanes of two vectors, numbered through."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(first, second, mask)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(_FLOAT, GROUP).as_pointer())


def _groupwise(count: int, lanes: Sequence[int]) -> list[int]:
    """A choice of lanes within one group, repeated for every group of a vector and of its partner in a shuffle."""
    return [
        start + (lane if lane < GROUP else lane - GROUP + count) for start in range(0, count, GROUP) for lane in lanes
    ]


@intrinsic
def _load(typing_context: Any, array: Any, starts: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        groups = []
        for k in range(starts.count):
            index = builder.extract_value(arguments[1], k)
            groups.append(builder.load(_address(context, builder, array, arguments[0], index), align=4))
        return groups[0] if len(groups) == 1 else _shuffle(builder, groups[0], groups[1], range(2 * GROUP))

    return Lanes(GROUP * starts.count)(array, starts), generate


@intrinsic
def _store(typing_context: Any, array: Any, starts: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for k in range(starts.count):
            index = builder.extract_value(arguments[1], k)
            group = _shuffle(builder, arguments[2], arguments[2], range(GROUP * k, GROUP * (k + 1)))
            builder.store(group, _address(context, builder, array, arguments[0], index), align=4)
        return context.get_dummy_value()

    return types.none(array, starts, vector), generate


@intrinsic
def _plus(typing_context: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return first(first, second), generate


def _select_smaller(builder: Any, first: Any, second: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", first, second), first, otherwise)


@intrinsic
def _smaller(typing_context: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _select_smaller(builder, arguments[0], arguments[1], arguments[1])

    return first(first, second), generate


@intrinsic
def _improvement(typing_context: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        infinite = ir.Constant(arguments[0].type, [float("inf")] * first.count)
        return _select_smaller(builder, arguments[0], arguments[1], infinite)

    return first(first, second), generate


def _lane_bits(builder: Any, comparison: Any, count: int) -> Any:
    return builder.zext(builder.bitcast(comparison, ir.IntType(count)), _WORD)


@intrinsic
def _less(typing_context: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _lane_bits(builder, builder.fcmp_ordered("<", *arguments), first.count)

    return types.uint64(first, second), generate


@intrinsic
def _equal(typing_context: Any, vector: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector_type = arguments[0].type
        single = builder.insert_element(ir.Constant(vector_type, ir.Undefined), arguments[1], ir.Constant(_WORD, 0))
        everywhere = _shuffle(builder, single, single, [0] * vector.count)
        return _lane_bits(builder, builder.fcmp_ordered("==", arguments[0], everywhere), vector.count)

    return types.uint64(vector, types.float32), generate


@intrinsic
def _from_left(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _groupwise(vector.count, [7, 0, 1, 2, 3, 4, 5, 6])
        return _shuffle(builder, arguments[0], arguments[0], lanes)

    return vector(vector), generate


@intrinsic
def _from_right(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = _groupwise(vector.count, [1, 2, 3, 4, 5, 6, 7, 0])
        return _shuffle(builder, arguments[0], arguments[0], lanes)

    return vector(vector), generate


@intrinsic
def _lowest(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        groups = []
        for k in range(vector.count // GROUP):
            rest, size = _shuffle(builder, arguments[0], arguments[0], range(GROUP * k, GROUP * (k + 1))), GROUP
            while size > 1:
                size //= 2
                lower, upper = (_shuffle(builder, rest, rest, range(at, at + size)) for at in (0, size))
                rest = _select_smaller(builder, lower, upper, upper)
            groups.append(builder.extract_element(rest, ir.Constant(_WORD, 0)))
        return context.make_tuple(builder, signature.return_type, groups)

    return types.UniTuple(types.float32, vector.count // GROUP)(vector), generate


@intrinsic
def _transpose(typing_context: Any, rows: Any) -> Any:
    """Swap blocks of 4, then of 2, then single lanes across the diagonal."""
    count = rows.dtype.count

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = [builder.extract_value(arguments[0], row) for row in range(GROUP)]
        for size in (4, 2, 1):
            upper = _groupwise(count, [lane if not lane & size else lane - size + GROUP for lane in range(GROUP)])
            lower = _groupwise(count, [lane + size if not lane & size else lane + GROUP for lane in range(GROUP)])
            for row in range(GROUP):
                if not row & size:
                    pair = block[row], block[row + size]
                    block[row], block[row + size] = _shuffle(builder, *pair, upper), _shuffle(builder, *pair, lower)
        return context.make_tuple(builder, signature.return_type, block)

    return rows(rows), generate


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        address = builder.bitcast(_address(context, builder, array, *arguments), byte)
        builder.call(fetch, [address, *(ir.Constant(number, option) for option in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(array, types.int64), generate


load: Any = _load
"""``load(array, starts)``: one group of lanes from each of the flat indices in the tuple ``starts``."""

store: Any = _store
"""``store(array, starts, vector)``: each group of lanes to its flat index."""

plus: Any = _plus
"""``plus(a, b)``: lane by lane."""

smaller: Any = _smaller
"""``smaller(a, b)``: the minimum, lane by lane."""

improvement: Any = _improvement
"""``improvement(a, b)``: ``a`` where it is less than ``b``, else +inf."""

less: Any = _less
"""``less(a, b)``: a uint64 whose bit i tells whether lane i of ``a`` is less than that of ``b``."""

equal: Any = _equal
"""``equal(a, value)``: a uint64 whose bit i tells whether lane i equals a float32."""

from_left: Any = _from_left
"""Each lane takes the value of the one before it in its group; the first takes the last's."""

from_right: Any = _from_right
"""Each lane takes the value of the one after it in its group; the last takes the first's."""

lowest: Any = _lowest
"""The minimum of each group, as a tuple of float32."""

transpose: Any = _transpose
"""A tuple of 8 vectors, in each group seen as an 8x8 block with one row per vector, transposed."""

prefetch: Any = _prefetch
"""``prefetch(array, index)``: ask for the cache line of an element ahead of its use."""
