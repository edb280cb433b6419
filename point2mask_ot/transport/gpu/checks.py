"""Triton kernels that take the statistics of problems and balance their marginals, so that no host has to."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from .memory import (
    CAPACITY,
    FIRST_PIXEL,
    FIRST_SUPPLIER,
    FIRST_TILE,
    FLOOR,
    MADE,
    MISSED,
    PIXELS,
    PROBLEM,
    SUPPLIERS,
    TILES,
    TOTAL,
    UNIT,
    F,
    entry,
    load_costs,
    of_problem,
    of_suppliers,
)

# Columns of statistics, which has a row for each block of pixels; those of a problem are what ..checks judges.
LOWEST: tl.constexpr = tl.constexpr(0)
HIGHEST: tl.constexpr = tl.constexpr(1)
DEAREST: tl.constexpr = tl.constexpr(2)
UNREACHED: tl.constexpr = tl.constexpr(3)
DEMAND: tl.constexpr = tl.constexpr(4)
LEAST_DEMAND: tl.constexpr = tl.constexpr(5)
DEMANDING: tl.constexpr = tl.constexpr(6)
STATISTICS: tl.constexpr = tl.constexpr(7)
OF_PROBLEM: tl.constexpr = tl.constexpr(8)

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit(do_not_specialize=["M", "b"])
def inspect(M, b, statistics, reached, tables, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Statistics of one block of pixels; marks in ``reached`` (P, ROWS) who reaches one of its pixels."""
    tile = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    pixels = (tile - entry(tables, tile, FIRST_TILE)) * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < entry(tables, tile, PIXELS)
    costs = load_costs(M, tables, tile, rows, pixels)
    demand = tl.load(b + entry(tables, tile, FIRST_PIXEL) + pixels, mask=inside, other=0.0)
    finite = (costs < _INF) & (costs > -_INF)
    cheapest = tl.min(costs, axis=0).to(tl.float64)
    found = tl.max(finite.to(tl.int32), axis=1) > 0
    tl.store(reached + entry(tables, tile, PROBLEM) * ROWS + rows, 1, mask=found)  # all write the same
    own = statistics + tile.to(tl.int64) * STATISTICS
    nan = tl.max(tl.max((costs != costs).to(tl.int32), axis=0), axis=0) > 0
    tl.store(own + LOWEST, tl.where(nan, _INF - _INF, tl.min(cheapest, axis=0)))
    tl.store(own + HIGHEST, tl.max(tl.max(tl.where(costs < _INF, costs, -_INF), axis=0), axis=0).to(tl.float64))
    tl.store(own + DEAREST, tl.max(tl.where(demand > 0, tl.abs(cheapest), 0.0), axis=0))
    tl.store(own + UNREACHED, tl.sum(((demand > 0) & (cheapest == _INF)).to(tl.float64), axis=0))
    tl.store(own + DEMAND, tl.sum(demand, axis=0))
    tl.store(own + LEAST_DEMAND, tl.min(tl.where(inside, demand, _INF), axis=0))
    tl.store(own + DEMANDING, tl.sum((demand > 0).to(tl.float64), axis=0))


@triton.jit
def least(values, count, CHUNK: tl.constexpr):
    """Smallest of a column of the statistics; NaN comes through."""
    lanes = tl.arange(0, CHUNK)
    low = tl.full([CHUNK], _INF, tl.float64)
    nan = tl.zeros([CHUNK], tl.int32)
    for start in range(0, count, CHUNK):
        own = tl.load(values + (start + lanes) * STATISTICS, mask=start + lanes < count, other=_INF)
        nan = tl.maximum(nan, (own != own).to(tl.int32))
        low = tl.minimum(low, own)
    return tl.where(tl.max(nan, axis=0) > 0, _INF - _INF, tl.min(low, axis=0))


@triton.jit
def largest(values, count, CHUNK: tl.constexpr):
    lanes = tl.arange(0, CHUNK)
    high = tl.full([CHUNK], -_INF, tl.float64)
    for start in range(0, count, CHUNK):
        own = tl.load(values + (start + lanes) * STATISTICS, mask=start + lanes < count, other=-_INF)
        high = tl.maximum(high, own)
    return tl.max(high, axis=0)


@triton.jit
def total(values, count, CHUNK: tl.constexpr):
    lanes = tl.arange(0, CHUNK)
    mass = tl.zeros([CHUNK], tl.float64)
    for start in range(0, count, CHUNK):
        mass += tl.load(values + (start + lanes) * STATISTICS, mask=start + lanes < count, other=0.0)
    return tl.sum(mass, axis=0)


@triton.jit(do_not_specialize=["a"])
def balance(
    a, statistics, reached, found, state, tables, numbers, ROWS: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """Statistics of one problem; scale its capacities, choose the unit of mass, and set the first potentials.

    Writes ``found`` (OF_PROBLEM, P), in the order of :class:`..checks.Statistics`, and turns ``reached`` into who is
    cut off.
    """
    problem = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    inside = rows < entry(tables, problem, SUPPLIERS)
    count = entry(tables, problem, TILES)
    first = statistics + entry(tables, problem, FIRST_TILE) * STATISTICS
    own = tl.load(a + entry(tables, problem, FIRST_SUPPLIER) + rows, mask=inside, other=0.0)
    supply, demand = tl.sum(own, axis=0), total(first + DEMAND, count, CHUNK)
    problems = tl.num_programs(0)
    tl.store(found + problem, supply)
    tl.store(found + problem + problems, demand)
    tl.store(found + problem + 2 * problems, tl.min(tl.where(inside, own, _INF), axis=0))
    tl.store(found + problem + 3 * problems, least(first + LEAST_DEMAND, count, CHUNK))
    tl.store(found + problem + 4 * problems, least(first + LOWEST, count, CHUNK))
    tl.store(found + problem + 5 * problems, largest(first + HIGHEST, count, CHUNK))
    tl.store(found + problem + 6 * problems, largest(first + DEAREST, count, CHUNK))
    tl.store(found + problem + 7 * problems, total(first + UNREACHED, count, CHUNK))
    cut_off = (tl.load(reached + problem * ROWS + rows) == 0) & (own > 0)
    tl.store(reached + problem * ROWS + rows, cut_off.to(tl.int32))
    floor = tl.load(numbers + FLOOR)
    pixels = entry(tables, problem, PIXELS).to(tl.float64)
    capacity = own * (demand / supply) + floor
    mass = demand + floor * pixels
    tl.store(of_suppliers(state, tables, problem, CAPACITY) + rows, capacity, mask=inside)
    tl.store(of_suppliers(state, tables, problem, F) + rows, tl.where(capacity > 0, 0.0, -_INF), mask=inside)
    tl.store(of_suppliers(state, tables, problem, MISSED) + rows, _INF, mask=inside)
    # Demands near 1 keep float32 away from its limits; a power of two rounds nothing.
    share = mass / tl.where(floor > 0, pixels, total(first + DEMANDING, count, CHUNK))
    tl.store(of_problem(state, tables, problem, UNIT), tl.exp2(tl.floor(tl.log2(share) + 0.5)))
    tl.store(of_problem(state, tables, problem, TOTAL), mass)
    tl.store(of_problem(state, tables, problem, MADE), 0.0)
