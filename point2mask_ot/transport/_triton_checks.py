"""Triton kernels that look at the values of problems and balance their marginals, so that no host has to.

Faults come as bits, or-ed over the blocks of a problem: the constants below.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from ._triton import (
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

NOT_A_COST: tl.constexpr = tl.constexpr(1)
UNREACHED: tl.constexpr = tl.constexpr(2)
CUT_OFF: tl.constexpr = tl.constexpr(4)
SCALE: tl.constexpr = tl.constexpr(8)
NO_DEMAND: tl.constexpr = tl.constexpr(16)
NO_CAPACITY: tl.constexpr = tl.constexpr(32)
MISMATCH: tl.constexpr = tl.constexpr(64)

# Rows of statistics, each with one number per block of pixels.
LOWEST: tl.constexpr = tl.constexpr(0)
HIGHEST: tl.constexpr = tl.constexpr(1)
DEAREST: tl.constexpr = tl.constexpr(2)
DEMAND: tl.constexpr = tl.constexpr(3)
DEMANDING: tl.constexpr = tl.constexpr(4)
STATISTICS: tl.constexpr = tl.constexpr(5)

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def inspect(
    M, b, statistics, reached, faults, tables, tile_problem, tiles,
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
    bits = NOT_A_COST * any_of(tl.max((~(costs > -_INF)).to(tl.int32), axis=0))
    bits |= UNREACHED * any_of((demand > 0) & (cheapest == _INF))
    bits |= NO_DEMAND * any_of(~((demand >= 0) & (demand < _INF)))
    if bits != 0:
        tl.atomic_or(faults + problem, bits)
    of_supplier = reached + entry(tables, problem, FIRST_SUPPLIER) + rows
    found = tl.max(finite.to(tl.int32), axis=1) > 0
    tl.store(of_supplier, 1, mask=found & (rows < entry(tables, problem, SUPPLIERS)))
    low = tl.min(tl.min(tl.where(finite, costs, _INF), axis=0), axis=0).to(tl.float64)
    high = tl.max(tl.max(tl.where(finite, costs, -_INF), axis=0), axis=0).to(tl.float64)
    dearest = tl.max(tl.where((demand > 0) & (cheapest < _INF), tl.abs(cheapest), 0.0), axis=0)
    tl.store(statistics + LOWEST * tiles + tile, low)
    tl.store(statistics + HIGHEST * tiles + tile, high)
    tl.store(statistics + DEAREST * tiles + tile, dearest)
    tl.store(statistics + DEMAND * tiles + tile, tl.sum(demand, axis=0))
    tl.store(statistics + DEMANDING * tiles + tile, tl.sum((demand > 0).to(tl.float64), axis=0))


@triton.jit
def any_of(flags):
    return tl.max(flags.to(tl.int32), axis=0)


@triton.jit
def balance(
    a, statistics, reached, faults, capacity, f, unit, total, tables, numbers, tiles,
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
        source = statistics + first + start + lanes
        low = tl.minimum(low, tl.load(source + LOWEST * tiles, mask=inside, other=_INF))
        high = tl.maximum(high, tl.load(source + HIGHEST * tiles, mask=inside, other=-_INF))
        dearest = tl.maximum(dearest, tl.load(source + DEAREST * tiles, mask=inside, other=0.0))
        demand += tl.load(source + DEMAND * tiles, mask=inside, other=0.0)
        demanding += tl.load(source + DEMANDING * tiles, mask=inside, other=0.0)
    own = load_rows(a, tables, problem, rows, 0.0)
    supply, wanted = tl.sum(own, axis=0), tl.sum(demand, axis=0)
    lowest, highest, dear = tl.min(low, axis=0), tl.max(high, axis=0), tl.max(dearest, axis=0)
    magnitude = tl.maximum(tl.abs(lowest), tl.abs(highest))
    beyond = (dear > 0) & (magnitude > dear * largest_ratio)
    beyond |= (magnitude > tl.load(numbers + REG) * largest_exponent) | ~(highest - lowest < _INF)
    idle = load_rows(reached, tables, problem, rows, 1) == 0
    bits = CUT_OFF * any_of(idle & (own > 0)) + SCALE * beyond.to(tl.int32)
    bits += NO_CAPACITY * tl.maximum(any_of(~((own >= 0) & (own < _INF))), (supply == 0).to(tl.int32))
    bits += NO_DEMAND * (wanted == 0).to(tl.int32)
    if not NORMALIZE:
        apart = tl.abs(supply - wanted) > tl.maximum(supply, wanted) * largest_mismatch
        bits += MISMATCH * apart.to(tl.int32)
    if bits != 0:
        tl.atomic_or(faults + problem, bits)
    floor = tl.load(numbers + FLOOR)
    pixels = entry(tables, problem, PIXELS).to(tl.float64)
    scaled = tl.where(supply == wanted, own, own * (wanted / supply)) + floor
    mass = wanted + floor * pixels
    inside = rows < entry(tables, problem, SUPPLIERS)
    target = entry(tables, problem, FIRST_SUPPLIER) + rows
    tl.store(capacity + target, scaled, mask=inside)
    tl.store(f + target, tl.where(scaled > 0, 0.0, -_INF), mask=inside)
    # Demands near 1 keep float32 away from its limits; a power of two rounds nothing.
    share = mass / tl.where(floor > 0, pixels, tl.sum(demanding, axis=0))
    tl.store(unit + problem, tl.exp2(tl.floor(tl.log2(share) + 0.5)))
    tl.store(total + problem, mass)
