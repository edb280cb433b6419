"""Triton kernels that look at the values of problems and balance their marginals, so that no host has to.

``faults`` has one entry for each kind of fault, the constants below: 1 where any problem has it.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from .kernels import (
    FIRST_PIXEL,
    FIRST_SUPPLIER,
    FIRST_TILE,
    FLOOR,
    PIXELS,
    REG,
    SUPPLIERS,
    TILES,
    entry,
    load_costs,
    load_rows,
)

NOT_A_COST: tl.constexpr = tl.constexpr(0)
UNREACHED: tl.constexpr = tl.constexpr(1)
CUT_OFF: tl.constexpr = tl.constexpr(2)
SCALE: tl.constexpr = tl.constexpr(3)
NO_DEMAND: tl.constexpr = tl.constexpr(4)
NO_CAPACITY: tl.constexpr = tl.constexpr(5)
MISMATCH: tl.constexpr = tl.constexpr(6)

# Columns of statistics, which has a row for each block of pixels.
LOWEST: tl.constexpr = tl.constexpr(0)
HIGHEST: tl.constexpr = tl.constexpr(1)
DEAREST: tl.constexpr = tl.constexpr(2)
DEMAND: tl.constexpr = tl.constexpr(3)
DEMANDING: tl.constexpr = tl.constexpr(4)
STATISTICS: tl.constexpr = tl.constexpr(5)

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def any_of(flags):
    return tl.max(flags.to(tl.int32), axis=0) > 0


@triton.jit
def mark(faults, kind: tl.constexpr, found):
    """Note a fault. Programs may meet here: all of them write the same."""
    tl.store(faults + kind, 1, mask=found)


@triton.jit
def is_mass(total):
    """Whether a sum of masses is positive and finite, which no NaN or infinity among them lets it be."""
    return (total > 0) & (total < _INF)


@triton.jit(do_not_specialize=["M", "b", "tile_problem"])
def inspect(
    M, b, statistics, reached, faults, tables, tile_problem,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Statistics of one block of pixels; marks the suppliers that reach one of its pixels."""
    tile = tl.program_id(0)
    problem = tl.load(tile_problem + tile)
    rows = tl.arange(0, ROWS)
    pixels = (tile - entry(tables, problem, FIRST_TILE)) * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < entry(tables, problem, PIXELS)
    costs = load_costs(M, tables, problem, rows, pixels)
    demand = tl.load(b + entry(tables, problem, FIRST_PIXEL) + pixels, mask=inside, other=0.0)
    finite = (costs < _INF) & (costs > -_INF)
    cheapest = tl.min(costs, axis=0).to(tl.float64)
    mark(faults, NOT_A_COST, any_of(tl.max((~(costs > -_INF)).to(tl.int32), axis=0)))
    mark(faults, UNREACHED, any_of((demand > 0) & (cheapest == _INF)))
    mark(faults, NO_DEMAND, any_of(demand < 0))
    of_supplier = reached + entry(tables, problem, FIRST_SUPPLIER) + rows
    found = tl.max(finite.to(tl.int32), axis=1) > 0
    tl.store(of_supplier, 1, mask=found & (rows < entry(tables, problem, SUPPLIERS)))
    low = tl.min(tl.min(tl.where(finite, costs, _INF), axis=0), axis=0).to(tl.float64)
    high = tl.max(tl.max(tl.where(finite, costs, -_INF), axis=0), axis=0).to(tl.float64)
    dearest = tl.max(tl.where((demand > 0) & (cheapest < _INF), tl.abs(cheapest), 0.0), axis=0)
    own = statistics + tile.to(tl.int64) * STATISTICS
    tl.store(own + LOWEST, low)
    tl.store(own + HIGHEST, high)
    tl.store(own + DEAREST, dearest)
    tl.store(own + DEMAND, tl.sum(demand, axis=0))
    tl.store(own + DEMANDING, tl.sum((demand > 0).to(tl.float64), axis=0))


@triton.jit(do_not_specialize=["a"])
def balance(
    a, statistics, reached, faults, capacity, f, unit, total, tables, numbers,
    largest_mismatch, largest_ratio, largest_exponent,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, NORMALIZE: tl.constexpr,
):  # fmt: skip
    """Judge one problem as a whole; scale its capacities, choose the unit of mass, and set the first potentials."""
    problem = tl.program_id(0)
    rows, lanes = tl.arange(0, ROWS), tl.arange(0, CHUNK)
    low, high = tl.full([CHUNK], _INF, tl.float64), tl.full([CHUNK], -_INF, tl.float64)
    dearest = tl.zeros([CHUNK], tl.float64)
    demand, demanding = tl.zeros([CHUNK], tl.float64), tl.zeros([CHUNK], tl.float64)
    first, count = entry(tables, problem, FIRST_TILE), entry(tables, problem, TILES)
    for start in range(0, count, CHUNK):
        inside = start + lanes < count
        source = statistics + (first + start + lanes) * STATISTICS
        low = tl.minimum(low, tl.load(source + LOWEST, mask=inside, other=_INF))
        high = tl.maximum(high, tl.load(source + HIGHEST, mask=inside, other=-_INF))
        dearest = tl.maximum(dearest, tl.load(source + DEAREST, mask=inside, other=0.0))
        demand += tl.load(source + DEMAND, mask=inside, other=0.0)
        demanding += tl.load(source + DEMANDING, mask=inside, other=0.0)
    own = load_rows(a, tables, problem, rows, 0.0)
    supply, wanted = tl.sum(own, axis=0), tl.sum(demand, axis=0)
    lowest, highest, dear = tl.min(low, axis=0), tl.max(high, axis=0), tl.max(dearest, axis=0)
    magnitude = tl.maximum(tl.abs(lowest), tl.abs(highest))
    beyond = (dear > 0) & (magnitude > dear * largest_ratio)
    beyond |= (magnitude > tl.load(numbers + REG) * largest_exponent) | ~(highest - lowest < _INF)
    idle = load_rows(reached, tables, problem, rows, 1) == 0
    mark(faults, CUT_OFF, any_of(idle & (own > 0)))
    mark(faults, SCALE, beyond)
    mark(faults, NO_CAPACITY, any_of(own < 0) | ~is_mass(supply))
    mark(faults, NO_DEMAND, ~is_mass(wanted))
    if not NORMALIZE:
        mark(faults, MISMATCH, tl.abs(supply - wanted) > tl.maximum(supply, wanted) * largest_mismatch)
    floor = tl.load(numbers + FLOOR)
    pixels = entry(tables, problem, PIXELS).to(tl.float64)
    scaled = own * (wanted / supply) + floor
    mass = wanted + floor * pixels
    inside = rows < entry(tables, problem, SUPPLIERS)
    target = entry(tables, problem, FIRST_SUPPLIER) + rows
    tl.store(capacity + target, scaled, mask=inside)
    tl.store(f + target, tl.where(scaled > 0, 0.0, -_INF), mask=inside)
    # Demands near 1 keep float32 away from its limits; a power of two rounds nothing.
    share = mass / tl.where(floor > 0, pixels, tl.sum(demanding, axis=0))
    tl.store(unit + problem, tl.exp2(tl.floor(tl.log2(share) + 0.5)))
    tl.store(total + problem, mass)
