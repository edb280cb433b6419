"""Relaxing 8x8 tiles to a fixed point while they are held in vector registers.

A sweep passes over the rows of a tile onward and back; each of its steps moves 8 pixels at once along their straight
and both diagonal edges. That leaves the horizontal edges: sweeps over the columns, on the transposed tile.

Several tiles are relaxed at a time, which belong to independent searches: each fills one group of lanes, and each hides
the others' latency. ``Places`` is a tuple of flat indices, one for each of them; a block is a tuple of 8 vectors.

Intrinsics, whose bodies run once and write code, make the steps: loops in them are unrolled and cost no compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types

from ...compiled.jit import helper, intrinsic
from ...compiled.vectors import GROUP, Lanes, VectorCode
from .tiles import (
    AREA,
    COLUMNS,
    COSTS,
    EAST,
    FALLING,
    INNER_COLUMNS,
    NORTH_EAST,
    NORTH_WEST,
    RISING,
    ROW,
    ROWS,
    SIDE,
    STATE,
    STRAIGHT,
    WEST,
)

Places: TypeAlias = tuple[int, ...]
Vector: TypeAlias = Any  # Lanes
Block: TypeAlias = tuple[Vector, Vector, Vector, Vector, Vector, Vector, Vector, Vector]


def _onward(code: VectorCode, row: Any, costs: Any, at: Sequence[Any], offset: int) -> tuple[Any, Any]:
    """What a row offers to the next one, along straight and along diagonal edges, which begin at ``offset``."""
    straight = code.plus(row, code.load(costs, at, offset + STRAIGHT))
    falling = code.plus(code.from_left(row), code.load(costs, at, offset + FALLING))
    rising = code.plus(code.from_right(row), code.load(costs, at, offset + RISING))
    return straight, code.smaller(falling, rising)


def _back(code: VectorCode, row: Any, costs: Any, at: Sequence[Any], offset: int) -> tuple[Any, Any]:
    """What a row, whose edges begin at ``offset``, offers to the one before."""
    straight = code.plus(row, code.load(costs, at, offset + STRAIGHT))
    falling = code.from_right(code.plus(row, code.load(costs, at, offset + FALLING)))
    rising = code.from_left(code.plus(row, code.load(costs, at, offset + RISING)))
    return straight, code.smaller(falling, rising)


def _sweep_rows(code: VectorCode, rows: list[Any], costs: Any, at: Sequence[Any]) -> list[Any]:
    """One pass onward and one back. Of the minima, the one with the late operand comes last."""
    rows = list(rows)
    for y in range(1, SIDE):
        straight, diagonal = _onward(code, rows[y - 1], costs, at, ROWS + y * ROW)
        rows[y] = code.smaller(diagonal, code.smaller(straight, rows[y]))
    for y in range(SIDE - 1, 0, -1):
        straight, diagonal = _back(code, rows[y], costs, at, ROWS + y * ROW)
        rows[y - 1] = code.smaller(diagonal, code.smaller(straight, rows[y - 1]))
    return rows


def _sideways(code: VectorCode, column: Any, costs: Any, at: Sequence[Any], x: int) -> Any:
    """What a column next to the edges between columns x-1 and x offers to the other."""
    return code.plus(column, code.load(costs, at, INNER_COLUMNS + (x - 1) * SIDE))


def _sweep_columns(code: VectorCode, columns: list[Any], costs: Any, at: Sequence[Any]) -> list[Any]:
    """One pass onward and one back."""
    columns = list(columns)
    for x in range(1, SIDE):
        columns[x] = code.smaller(_sideways(code, columns[x - 1], costs, at, x), columns[x])
    for x in range(SIDE - 1, 0, -1):
        columns[x - 1] = code.smaller(_sideways(code, columns[x], costs, at, x), columns[x - 1])
    return columns


def _rows_improve(code: VectorCode, rows: list[Any], costs: Any, at: Sequence[Any]) -> Any:
    """Whether a pass onward would change anything: quicker than the pass, since no row waits for another."""
    bits = []
    for y in range(1, SIDE):
        bits.append(code.less(code.smaller(*_onward(code, rows[y - 1], costs, at, ROWS + y * ROW)), rows[y]))
    return code.either(bits)


def _columns_improve(code: VectorCode, columns: list[Any], costs: Any, at: Sequence[Any]) -> Any:
    """Whether a pass onward would change anything."""
    return code.either([code.less(_sideways(code, columns[x - 1], costs, at, x), columns[x]) for x in range(1, SIDE)])


# The intrinsics: each hands its arguments to a function above.


def _values(builder: Any, aggregate: Any) -> list[Any]:
    """The elements of a tuple of the code."""
    return [builder.extract_value(aggregate, index) for index in range(aggregate.type.count)]


@intrinsic
def places(typing_context: Any, slots: Any, tiles: Any, size: Any, apart: Any) -> Any:
    """Where the records of the slots' tiles begin: ``tiles[slot] * size + slot * apart`` for each slot."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(tiles)(context, builder, value=arguments[1]).data
        starts = []
        for slot in _values(builder, arguments[0]):
            tile = builder.load(builder.gep(data, [slot]))
            starts.append(builder.add(builder.mul(tile, arguments[2]), builder.mul(slot, arguments[3])))
        return context.make_tuple(builder, signature.return_type, starts)

    return slots(slots, tiles, types.int64, types.int64), generate


@intrinsic
def _first_columns(typing_context: Any, state: Any, costs: Any, at: Any, priced: Any) -> Any:
    """The columns of tiles with what their neighbours offered, swept once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, starts = VectorCode(context, builder, at.count), _values(builder, arguments[2])
        data = code.data(state, arguments[0])
        columns = code.transpose([code.load(data, starts, y * SIDE) for y in range(SIDE)])
        columns[0] = code.smaller(code.load(data, starts, WEST), columns[0])
        columns[-1] = code.smaller(code.load(data, starts, EAST), columns[-1])
        swept = _sweep_columns(code, columns, code.data(costs, arguments[1]), _values(builder, arguments[3]))
        return context.make_tuple(builder, signature.return_type, swept)

    return types.UniTuple(Lanes(GROUP * at.count), SIDE)(state, costs, at, priced), generate


def _sweep(block: Any, costs: Any, at: Any, write: Callable[..., list[Any]]) -> Any:
    """Signature and generator of an intrinsic that transposes and then sweeps a block; and whether that improved it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, starts = VectorCode(context, builder, at.count), _values(builder, arguments[2])
        before = code.transpose(_values(builder, arguments[0]))
        after = write(code, before, code.data(costs, arguments[1]), starts)
        improved = code.either([code.less(new, old) for new, old in zip(after, before, strict=True)])
        swept = context.make_tuple(builder, block, after)
        return context.make_tuple(builder, signature.return_type, [swept, improved])

    return types.Tuple([block, types.boolean])(block, costs, at), generate


@intrinsic
def _rows_of(typing_context: Any, columns: Any, costs: Any, at: Any) -> Any:
    return _sweep(columns, costs, at, _sweep_rows)


@intrinsic
def _columns_of(typing_context: Any, rows: Any, costs: Any, at: Any) -> Any:
    return _sweep(rows, costs, at, _sweep_columns)


def _check(block: Any, costs: Any, at: Any, write: Callable[..., Any]) -> Any:
    """Signature and generator of an intrinsic that answers a question about a block."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code, starts = VectorCode(context, builder, at.count), _values(builder, arguments[2])
        return write(code, _values(builder, arguments[0]), code.data(costs, arguments[1]), starts)

    return types.boolean(block, costs, at), generate


@intrinsic
def _can_improve_rows(typing_context: Any, rows: Any, costs: Any, at: Any) -> Any:
    return _check(rows, costs, at, _rows_improve)


@intrinsic
def _can_improve_columns(typing_context: Any, columns: Any, costs: Any, at: Any) -> Any:
    return _check(columns, costs, at, _columns_improve)


@helper(forceinline=True)
def fixed_point(state: Any, costs: Any, at: Places, priced: Places) -> tuple[Block, Block]:
    """Relax tiles until no edge inside them improves anything; their rows and their columns.

    Edges need not obey the triangle inequality, so a pass may make an improvement for the pass before it. A sweep ends
    with a pass back, which leaves nothing to improve backwards. Hence, when a sweep over the rows changes nothing, all
    that may be left is onward along the columns, and the other way round.

    Args:
        state: flat records of STATE values; those of the tiles begin at ``at``.
        costs: flat records of COSTS values; those of the tiles begin at ``priced``.
    """
    columns = _first_columns(state, costs, at, priced)
    while True:
        rows, changed = _rows_of(columns, costs, priced)
        if not changed and not _can_improve_columns(columns, costs, priced):
            return rows, columns
        columns, changed = _columns_of(rows, costs, priced)
        if not changed and not _can_improve_rows(rows, costs, priced):
            return rows, columns


def _within(code: VectorCode, candidates: Any, limit: Any) -> Any:
    """Candidates that no limit forbids; +inf in place of others. Single values, or vectors of them."""
    return candidates if limit is None else code.at_most(candidates, limit)


def _lower(code: VectorCode, data: Any, at: Sequence[Any], straight: Any, diagonal: Any, limit: Any) -> list[Any]:
    """Offer a vector to the values at ``at``; for each group the smallest improvement, or +inf."""
    candidates, before = _within(code, code.smaller(straight, diagonal), limit), code.load(data, at)
    code.store(code.smaller(candidates, before), data, at)
    return code.lowest_of_groups(code.improvement(candidates, before))


def _lower_one(code: VectorCode, builder: Any, data: Any, at: Any, value: Any, cost: Any, limit: Any) -> Any:
    """Offer one pixel's value and the cost of an edge to the value at ``at``; the sum if it improves, or +inf."""
    address, candidate = builder.gep(data, [at]), _within(code, builder.fadd(value, cost), limit)
    before = builder.load(address)
    is_less = builder.fcmp_ordered("<", candidate, before)
    builder.store(builder.select(is_less, candidate, before), address)
    return builder.select(is_less, candidate, ir.Constant(candidate.type, float("inf")))


class _Limits:
    """The largest values that pixels may be offered: a common one for each pixel, plus one for each group.

    Args:
        data: flat records of STATE values.
        at: where those of the groups' tiles begin.
        allowance: flat, GROUP equal values for each group.
    """

    def __init__(self, code: VectorCode, builder: Any, data: Any, at: Sequence[Any], allowance: Any) -> None:
        self._code, self._builder, self._data, self._at, self._allowance = code, builder, data, at, allowance
        self._starts = [ir.Constant(at[0].type, group * GROUP) for group in range(len(at))]

    def vector(self, offset: Any) -> Any:
        """Of the pixels that begin at an offset from each tile's record."""
        common = self._code.load(self._data, self._code.shift(self._at, offset))
        return self._code.plus(common, self._code.load(self._allowance, self._starts))

    def single(self, offset: Any) -> list[Any]:
        """Of one pixel for each group."""
        load, gep = self._builder.load, self._builder.gep
        places = zip(self._code.shift(self._at, offset), self._starts, strict=True)
        return [
            self._builder.fadd(load(gep(self._data, [place])), load(gep(self._allowance, [start])))
            for place, start in places
        ]


def _store_and_offer(
    code: VectorCode, builder: Any, across: Any, tiles: Any, places: Any, out: Any, limits: Any
) -> None:
    """What :func:`store_and_offer` writes; ``limits`` may be None.

    Args:
        tiles: rows and columns of the tiles.
        places: their state and costs as data, and where these begin.
        out: the offers, as data.
    """
    (block, sides), (data, prices, here, price) = tiles, places
    for y in range(SIDE):
        code.store(block[y], data, here, y * SIDE)
    code.store(sides[0], data, here, WEST)
    code.store(sides[-1], data, here, EAST)

    def moved(offset: Any, more: int) -> Any:
        return builder.add(offset, ir.Constant(across.type, more))

    zero = ir.Constant(across.type, 0)
    down = builder.mul(across, ir.Constant(across.type, STATE))
    up = builder.neg(down)
    price_below = code.shift(price, builder.mul(across, ir.Constant(across.type, COSTS)))
    found = []
    for offset, (straight, diagonal) in (
        (moved(up, 7 * SIDE), _back(code, block[0], prices, price, ROWS)),
        (down, _onward(code, block[-1], prices, price_below, ROWS)),
        (moved(zero, EAST - STATE), _back(code, sides[0], prices, price, COLUMNS)),
        (moved(zero, STATE + WEST), _onward(code, sides[-1], prices, price, COSTS + COLUMNS)),
    ):
        limit = limits and limits.vector(offset)
        found.append(_lower(code, data, code.shift(here, offset), straight, diagonal, limit))
    for row, lane, edges, edge, offset in (
        (block[0], 0, price, NORTH_WEST, moved(up, AREA - 1 - STATE)),
        (block[0], SIDE - 1, price, NORTH_EAST, moved(up, AREA - SIDE + STATE)),
        (block[-1], 0, price_below, NORTH_EAST - COSTS, moved(down, SIDE - 1 - STATE)),
        (block[-1], SIDE - 1, price_below, NORTH_WEST + COSTS, moved(down, STATE)),
    ):
        values = [code.lane(row, group * GROUP + lane) for group in range(len(here))]
        paid = [builder.load(builder.gep(prices, [index])) for index in code.shift(edges, edge)]
        most = limits.single(offset) if limits else [None] * len(here)
        given = zip(code.shift(here, offset), values, paid, most, strict=True)
        found.append([_lower_one(code, builder, data, *each) for each in given])
    for direction, improvements in enumerate(found):
        for group, improvement in enumerate(improvements):
            place = ir.Constant(across.type, group * len(found) + direction)
            builder.store(improvement, builder.gep(out, [place]))


@intrinsic
def store_and_offer(
    typing_context: Any, rows: Any, columns: Any, state: Any, costs: Any, at: Any, priced: Any, across: Any, offers: Any
) -> Any:
    """Store tiles and lower the values of the pixels around them.

    Writes 8 values a tile into the flat array ``offers``: the smallest improvement of each neighbour, +inf for none,
    in the order north, south, west, east, north-west, north-east, south-west, south-east.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, at.count)
        block, sides, here, price = (_values(builder, arguments[k]) for k in (0, 1, 4, 5))
        places = code.data(state, arguments[2]), code.data(costs, arguments[3]), here, price
        out = code.data(offers, arguments[7])
        _store_and_offer(code, builder, arguments[6], (block, sides), places, out, None)
        return context.get_dummy_value()

    return types.none(rows, columns, state, costs, at, priced, types.int64, offers), generate


@intrinsic
def store_and_offer_within(
    typing_context: Any, rows: Any, columns: Any, state: Any, costs: Any, at: Any, priced: Any, across: Any,
    offers: Any, limits: Any, limited: Any, allowance: Any,
) -> Any:  # fmt: skip
    """As :func:`store_and_offer`, but pixels around take no value above their limit.

    ``limits`` are flat records of STATE values, as those of ``state``; those of the tiles begin at ``limited``. To
    them come the values of the flat array ``allowance``, GROUP equal ones for each tile.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = VectorCode(context, builder, at.count)
        block, sides, here, price = (_values(builder, arguments[k]) for k in (0, 1, 4, 5))
        places = code.data(state, arguments[2]), code.data(costs, arguments[3]), here, price
        common, own = code.data(limits, arguments[8]), code.data(allowance, arguments[10])
        most = _Limits(code, builder, common, _values(builder, arguments[9]), own)
        _store_and_offer(code, builder, arguments[6], (block, sides), places, code.data(offers, arguments[7]), most)
        return context.get_dummy_value()

    signature = types.none(rows, columns, state, costs, at, priced, types.int64, offers, limits, limited, allowance)
    return signature, generate
