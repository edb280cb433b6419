"""Vectors of float32 lanes in compiled code.

numba vectorises loops over arrays but cannot keep a small block of them in registers. :class:`Lanes` is a numba type
for an LLVM vector of some groups of 8 lanes, each group for an independent search, and :class:`VectorCode` writes
instructions on such vectors. Intrinsics, which numba calls to write a piece of code, use it; LLVM maps the
instructions to what the processor has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

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


class VectorCode:
    """Writes code for vectors of ``groups`` groups of 8 lanes.

    Args:
        context, builder: as numba hands them to an intrinsic.
        groups: 1, 2 or 4.
    """

    def __init__(self, context: Any, builder: Any, groups: int) -> None:
        self._context, self._builder, self._groups = context, builder, groups

    def data(self, array_type: Any, array: Any) -> Any:
        """Pointer to the first element of a flat array."""
        return self._context.make_array(array_type)(self._context, self._builder, value=array).data

    def shift(self, starts: Sequence[Any], offset: Any) -> list[Any]:
        """All flat indices moved by an offset, a Python integer or a value of the code."""
        if isinstance(offset, int):
            offset = ir.Constant(_WORD, offset)
        return [self._builder.add(start, offset) for start in starts]

    def load(self, data: Any, starts: Sequence[Any], offset: int = 0) -> Any:
        """A vector whose groups begin at ``offset`` from each of the flat indices."""
        vectors = [self._builder.load(self._address(data, start), align=4) for start in self.shift(starts, offset)]
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self._shuffle(first, second, range(2 * first.type.count)) for first, second in pairs]
        return vectors[0]

    def broadcast(self, data: Any, index: Any) -> Any:
        """A vector with one value of a flat array in all lanes."""
        value = self._builder.load(self._builder.gep(data, [index]))
        vector_type = ir.VectorType(_FLOAT, self._groups * GROUP)
        single = self._builder.insert_element(ir.Constant(vector_type, ir.Undefined), value, ir.Constant(_WORD, 0))
        return self._shuffle(single, single, [0] * vector_type.count)

    def store(self, vector: Any, data: Any, starts: Sequence[Any], offset: int = 0) -> None:
        for group, start in zip(self.split(vector), self.shift(starts, offset), strict=True):
            self._builder.store(group, self._address(data, start), align=4)

    def split(self, vector: Any) -> list[Any]:
        """The groups of a vector."""
        starts = range(0, vector.type.count, GROUP)
        return [self._shuffle(vector, vector, range(start, start + GROUP)) for start in starts]

    def plus(self, first: Any, second: Any) -> Any:
        return self._builder.fadd(first, second)

    def smaller(self, first: Any, second: Any) -> Any:
        """The minimum, lane by lane."""
        return self._builder.select(self.less(first, second), first, second)

    def improvement(self, first: Any, second: Any) -> Any:
        """``first`` where it is less than ``second``, else +inf."""
        infinite = ir.Constant(first.type, [float("inf")] * first.type.count)
        return self._builder.select(self.less(first, second), first, infinite)

    def at_most(self, values: Any, limit: Any) -> Any:
        """``values`` where they are at most ``limit``, else +inf; also of single values."""
        width = getattr(values.type, "count", 1)
        infinite = ir.Constant(values.type, [float("inf")] * width if width > 1 else float("inf"))
        return self._builder.select(self._builder.fcmp_ordered("<=", values, limit), values, infinite)

    def less(self, first: Any, second: Any) -> Any:
        """A bit for each lane."""
        return self._builder.fcmp_ordered("<", first, second)

    def either(self, bits: Sequence[Any]) -> Any:
        """Whether any bit is set in any of some comparisons."""
        joined = bits[0]
        for more in bits[1:]:
            joined = self._builder.or_(joined, more)
        word = self._builder.bitcast(joined, ir.IntType(joined.type.count))
        return self._builder.icmp_unsigned("!=", word, ir.Constant(word.type, 0))

    def from_left(self, vector: Any) -> Any:
        """Each lane takes the value of the one before it in its group; the first takes the last's."""
        return self._shuffle(vector, vector, self._groupwise([7, 0, 1, 2, 3, 4, 5, 6]))

    def from_right(self, vector: Any) -> Any:
        """Each lane takes the value of the one after it in its group; the last takes the first's."""
        return self._shuffle(vector, vector, self._groupwise([1, 2, 3, 4, 5, 6, 7, 0]))

    def lane(self, vector: Any, index: int) -> Any:
        return self._builder.extract_element(vector, ir.Constant(_WORD, index))

    def lowest_of_groups(self, vector: Any) -> list[Any]:
        """The minimum of each group."""
        for step in (4, 2, 1):
            others = self._shuffle(vector, vector, self._groupwise([lane ^ step for lane in range(GROUP)]))
            vector = self.smaller(others, vector)
        return [self.lane(vector, group * GROUP) for group in range(self._groups)]

    def transpose(self, rows: Sequence[Any]) -> list[Any]:
        """8 vectors transposed, in each group seen as an 8x8 block with one row per vector.

        Swaps blocks of 4, then of 2, then single lanes across the diagonal.
        """
        block = list(rows)
        for size in (4, 2, 1):
            upper = self._groupwise([lane if not lane & size else lane - size + GROUP for lane in range(GROUP)])
            lower = self._groupwise([lane + size if not lane & size else lane + GROUP for lane in range(GROUP)])
            for row in range(GROUP):
                if not row & size:
                    pair = block[row], block[row + size]
                    block[row], block[row + size] = self._shuffle(*pair, upper), self._shuffle(*pair, lower)
        return block

    def _address(self, data: Any, index: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(data, [index]), ir.VectorType(_FLOAT, GROUP).as_pointer())

    def _shuffle(self, first: Any, second: Any, lanes: Sequence[int]) -> Any:
        """The chosen lanes of two vectors, numbered through."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        return self._builder.shuffle_vector(first, second, mask)

    def _groupwise(self, lanes: Sequence[int]) -> list[int]:
        """A choice of lanes within one group, repeated for every group of a vector and of its partner."""
        count = self._groups * GROUP
        starts = range(0, count, GROUP)
        return [start + (lane if lane < GROUP else lane - GROUP + count) for start in starts for lane in lanes]
