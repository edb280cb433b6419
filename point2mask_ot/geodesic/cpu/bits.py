"""Bit counts that numba has no name for."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from ...compiled.jit import intrinsic

_ZERO_IS_DEFINED = ir.Constant(ir.IntType(1), 0)


@intrinsic
def leading_zeros(typing_context: Any, word: Any) -> Any:
    """Number of zero bits above the highest one of a uint64 (64 for zero), as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], _ZERO_IS_DEFINED)

    return types.uint64(types.uint64), generate


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Number of zero bits below the lowest one of a uint64 (64 for zero), as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], _ZERO_IS_DEFINED)

    return types.uint64(types.uint64), generate
