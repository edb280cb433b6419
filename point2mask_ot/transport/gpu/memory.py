"""Where Triton kernels find what belongs to a problem, and how they load it.

Costs, capacities and demands of all problems lie behind each other in flat buffers. A row of ``tables`` tells a program
where the parts of its problem begin (:class:`.launch.Tables` makes one for each block of pixels, each supplier or each
problem: whatever a kernel has a program for).

``state`` holds what is known of suppliers and problems, float64: a row for each of the quantities below, in it an entry
for each supplier and then one for each problem. ``numbers`` are the parameters of a call in float64 (Triton passes
floats of Python as float32). ``partials`` holds, for every problem, (K + 2, blocks) partial sums.

Buffers of the caller begin at any address, and counts are what they are: kernels are not compiled anew for each
alignment. Nothing is lost by it, since offsets out of ``tables`` have none to build on.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

# Columns of a row of tables: shape of the problem, where its parts begin, and the number of its blocks of pixels.
SUPPLIERS: tl.constexpr = tl.constexpr(0)
PIXELS: tl.constexpr = tl.constexpr(1)
FIRST_SUPPLIER: tl.constexpr = tl.constexpr(2)
FIRST_PIXEL: tl.constexpr = tl.constexpr(3)
FIRST_COST: tl.constexpr = tl.constexpr(4)
FIRST_TILE: tl.constexpr = tl.constexpr(5)
TILES: tl.constexpr = tl.constexpr(6)
FIRST_PARTIAL: tl.constexpr = tl.constexpr(7)
PROBLEM: tl.constexpr = tl.constexpr(8)  # its number
OWN_ENTRY: tl.constexpr = tl.constexpr(9)  # of the problem in a row of the state
LENGTH: tl.constexpr = tl.constexpr(10)  # of a row of the state
COLUMNS: tl.constexpr = tl.constexpr(11)

# Rows of the state, of suppliers: a pass is made at potentials that stay while others are already updated.
CAPACITY: tl.constexpr = tl.constexpr(0)
F: tl.constexpr = tl.constexpr(1)
BEFORE: tl.constexpr = tl.constexpr(2)  # the last update
MISSED: tl.constexpr = tl.constexpr(3)  # of its capacity, before the last update
PASS_F: tl.constexpr = tl.constexpr(4)
PASS_MISSED: tl.constexpr = tl.constexpr(5)
TOP: tl.constexpr = tl.constexpr(6)  # the mass is rest * 2**top
REST: tl.constexpr = tl.constexpr(7)
# Of problems.
UNIT: tl.constexpr = tl.constexpr(0)  # of mass in the rounds
TOTAL: tl.constexpr = tl.constexpr(1)  # mass
MADE: tl.constexpr = tl.constexpr(2)  # rounds
COST: tl.constexpr = tl.constexpr(3)
PIXEL_ERROR: tl.constexpr = tl.constexpr(4)
ERROR: tl.constexpr = tl.constexpr(5)
STATES: tl.constexpr = tl.constexpr(8)

# Entries of numbers.
BITS: tl.constexpr = tl.constexpr(0)  # 1 / (reg ln 2): exponents are in bits
REG: tl.constexpr = tl.constexpr(1)
TAU: tl.constexpr = tl.constexpr(2)
TOL: tl.constexpr = tl.constexpr(3)  # negative for none
FLOOR: tl.constexpr = tl.constexpr(4)  # added to both marginals

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def entry(tables, program, column: tl.constexpr):
    return tl.load(tables + program * COLUMNS + column)


@triton.jit
def of_suppliers(state, tables, program, quantity: tl.constexpr):
    """Where a quantity of the suppliers of a program's problem begins."""
    return state + quantity * entry(tables, program, LENGTH) + entry(tables, program, FIRST_SUPPLIER)


@triton.jit
def of_problem(state, tables, program, quantity: tl.constexpr):
    """Where a quantity of a program's problem is."""
    return state + quantity * entry(tables, program, LENGTH) + entry(tables, program, OWN_ENTRY)


@triton.jit
def load_costs(M, tables, program, rows, pixels):
    """Costs of a block, +inf beyond the ends of the problem."""
    suppliers, count = entry(tables, program, SUPPLIERS), entry(tables, program, PIXELS)
    offsets = rows.to(tl.int64)[:, None] * count + pixels[None, :]
    inside = (rows < suppliers)[:, None] & (pixels < count)[None, :]
    return tl.load(M + entry(tables, program, FIRST_COST) + offsets, mask=inside, other=_INF)


@triton.jit
def load_demand(b, tables, program, pixels, numbers):
    """Demand of a block with the floor added, 0 beyond the end."""
    inside = pixels < entry(tables, program, PIXELS)
    demand = tl.load(b + entry(tables, program, FIRST_PIXEL) + pixels, mask=inside, other=0.0)
    return tl.where(inside, demand + tl.load(numbers + FLOOR), 0.0)


@triton.jit
def load_rows(state, tables, program, rows, quantity: tl.constexpr, other):
    """A quantity of the suppliers, ``other`` beyond the last."""
    inside = rows < entry(tables, program, SUPPLIERS)
    return tl.load(of_suppliers(state, tables, program, quantity) + rows, mask=inside, other=other)


@triton.jit
def partial_of(partials, tables, program, rows, tile):
    """Where the partial sums of some rows over a block of the problem are."""
    tiles = entry(tables, program, TILES)
    return partials + entry(tables, program, FIRST_PARTIAL) + rows * tiles + tile
