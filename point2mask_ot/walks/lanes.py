"""Arithmetic on 8 float32 side by side in a flat array, which numba's loops do not turn into vectors by themselves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ..compiled.jit import intrinsic
from ..compiled.vectors import Lanes, VectorCode

LANES = 8
_VECTOR = Lanes(LANES)


@intrinsic
def load(typing: Any, array: Any, start: Any) -> Any:
    """The 8 values of a flat float32 array from an index on."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, groups=1)
        return code.load(code.data(signature.args[0], arguments[0]), [arguments[1]])

    return _VECTOR(array, types.int64), write


@intrinsic
def store(typing: Any, array: Any, start: Any, vector: Any) -> Any:
    """Write 8 values."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, groups=1)
        code.store(arguments[2], code.data(signature.args[0], arguments[0]), [arguments[1]])
        return context.get_dummy_value()

    return types.void(array, types.int64, _VECTOR), write


@intrinsic
def scaled(typing: Any, factor: Any, vector: Any) -> Any:
    """factor * vector."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _scaled(builder, *arguments)

    return _VECTOR(types.float32, _VECTOR), write


@intrinsic
def add_scaled(typing: Any, vector: Any, factor: Any, other: Any) -> Any:
    """vector + factor * other; the two may round once."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(arguments[0], _scaled(builder, *arguments[1:]), flags=("contract",))

    return _VECTOR(_VECTOR, types.float32, _VECTOR), write


def _scaled(builder: Any, factor: Any, vector: Any) -> Any:
    lane = ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(ir.Constant(vector.type, ir.Undefined), factor, lane)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.fmul(builder.shuffle_vector(single, single, everywhere), vector, flags=("contract",))
