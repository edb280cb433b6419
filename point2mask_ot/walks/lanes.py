"""Arithmetic on some float32 side by side in an array of vectors, which numba's loops do not make by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from ..compiled.jit import intrinsic
from ..compiled.vectors import Lanes

_LINE = 64
"""Bytes of a line of the cache: vectors that cross none load faster."""


def vectors(count: int, lanes: int) -> np.ndarray:
    """(count,) vectors of zeros, each with a field of float32 lanes."""
    dtype = np.dtype([("lanes", np.float32, (lanes,))])
    memory = np.zeros(count * dtype.itemsize + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + count * dtype.itemsize].view(dtype)


def lanes_of(array: np.ndarray) -> np.ndarray:
    """The same memory as (count, lanes) float32."""
    return array.view(np.float32).reshape(len(array), -1)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """A vector of an array."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], arguments), align=_alignment(array))

    return _vector(array)(array, types.int64), write


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write one."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments)
        builder.store(arguments[2], address, align=_alignment(array))
        return context.get_dummy_value()

    return types.void(array, types.int64, _vector(array)), write


@intrinsic
def zero(typing: Any, array: Any) -> Any:
    """A vector of zeros, as wide as those of an array."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return _vector(array)(array), write


@intrinsic
def at(typing: Any, array: Any, index: Any) -> Any:
    """The value of a flat float32 array at an index >= 0, which numba would first look at."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, value=arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return types.float32(array, types.int64), write


@intrinsic
def scaled(typing: Any, factor: Any, vector: Any) -> Any:
    """factor * vector."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _scaled(builder, *arguments)

    return vector(types.float32, vector), write


@intrinsic
def add_scaled(typing: Any, vector: Any, factor: Any, other: Any) -> Any:
    """vector + factor * other; the two may round once."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], _scaled(builder, *arguments[1:]), flags=("contract",))

    return vector(vector, types.float32, vector), write


@intrinsic
def add(typing: Any, vector: Any, other: Any) -> Any:
    """vector + other."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return vector(vector, vector), write


def _vector(array: Any) -> Lanes:
    return Lanes(array.dtype.size // 4)


def _alignment(array: Any) -> int:
    return min(array.dtype.size, 32)


def _address(context: Any, builder: Any, array_type: Any, arguments: Any) -> Any:
    data = context.make_array(array_type)(context, builder, value=arguments[0]).data
    vector = ir.VectorType(ir.FloatType(), array_type.dtype.size // 4)
    return builder.gep(builder.bitcast(data, vector.as_pointer()), [arguments[1]])


def _scaled(builder: Any, factor: Any, vector: Any) -> Any:
    lane = ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(ir.Constant(vector.type, ir.Undefined), factor, lane)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), vector.type.count), [0] * vector.type.count)
    return builder.fmul(builder.shuffle_vector(single, single, everywhere), vector, flags=("contract",))
