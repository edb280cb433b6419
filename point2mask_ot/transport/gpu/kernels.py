"""Triton kernels that read the cost matrix, for many problems of any shapes at once; :mod:`.memory` says where it lies.

One program holds all suppliers of one block of pixels in registers, so a pass reads every cost once and takes one
exponential of it. Sums over the pixels go through one number per block and supplier, added in a fixed order in float64:
the same input gives the same bits. The arithmetic of a pass is that of the buffer of its partial sums, float32 or
float64.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from .memory import (
    BEFORE,
    BITS,
    CAPACITY,
    COST,
    ERROR,
    FIRST_COST,
    FIRST_PIXEL,
    FIRST_SUPPLIER,
    FIRST_TILE,
    MADE,
    MISSED,
    PASS_F,
    PASS_MISSED,
    PIXEL_ERROR,
    PIXELS,
    REG,
    REST,
    SUPPLIERS,
    TAU,
    TILES,
    TOL,
    TOTAL,
    UNIT,
    F,
    entry,
    load_costs,
    load_demand,
    load_rows,
    of_problem,
    of_suppliers,
    partial_of,
)

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def exponents(costs, f, bits, real: tl.constexpr):
    """(f - M) bits against the largest of each pixel, and f - M of that largest (0 where nobody reaches).

    The float64 potentials meet float32 costs in a difference whose rounding error is kept (Knuth's two-sum), and
    only what remains of it against the pixel's best is scaled: exponents are accurate however small ``reg`` is.
    """
    high = f.to(real)[:, None]
    gap = high - costs.to(real)
    best = tl.max(gap, axis=0)
    best = tl.where(best > -_INF, best, 0.0)
    behind = gap - best[None, :]
    if real == tl.float32:
        back = gap - high
        lost = (high - (gap - back)) - (costs + back)
        lost += (f - f.to(tl.float32).to(tl.float64)).to(tl.float32)[:, None]
        behind = tl.where(gap > -_INF, behind + lost, -_INF)
    return behind * bits.to(real), best


@triton.jit
def served_shares(demand, total):
    """Demand over the sum of the weights; 0 for a pixel that nobody reaches."""
    return tl.where(total > 0, demand / tl.where(total > 0, total, 1.0), 0.0)


@triton.jit
def shared_out(M, b, f, bits, scale, tables, program, pixels, numbers, real: tl.constexpr):
    """A block whose pixels' marginals hold (Eq. 10): exponents and their largest, weights, and each pixel's share."""
    costs = load_costs(M, tables, program, tl.arange(0, f.shape[0]), pixels)
    scores, best = exponents(costs, f, bits, real)
    weights = tl.exp2(scores)
    demand = (load_demand(b, tables, program, pixels, numbers) / scale).to(real)
    return scores, best, weights, served_shares(demand, tl.sum(weights, axis=0))


@triton.jit
def sum_of(values, count, CHUNK: tl.constexpr):
    """float64 sum of ``count`` values in a fixed order."""
    lanes = tl.arange(0, CHUNK)
    total = tl.zeros([CHUNK], tl.float64)
    for start in range(0, count, CHUNK):
        total += tl.load(values + start + lanes, mask=start + lanes < count, other=0.0).to(tl.float64)
    return tl.sum(total, axis=0)


@triton.jit
def grow(top, rest, scores):
    """Take ``scores`` into the running sum ``rest * 2**top``, lane by lane."""
    higher = tl.maximum(top, scores)
    anchor = tl.where(higher > -_INF, higher, 0.0)
    return higher, rest * tl.exp2(top - anchor) + tl.exp2(scores - anchor)


@triton.jit
def log_mass(M, g, tables, program, i, f, bits, CHUNK: tl.constexpr):
    """log2 of the mass of supplier i from the pixels' potentials in bits; for masses that underflow, or nearly."""
    count = entry(tables, program, PIXELS)
    costs = M + entry(tables, program, FIRST_COST) + i * count
    pixel = g + entry(tables, program, FIRST_PIXEL)
    lanes = tl.arange(0, CHUNK)
    top = tl.full([CHUNK], -_INF, tl.float64)
    rest = tl.zeros([CHUNK], tl.float64)
    for start in range(0, count, CHUNK):
        inside = start + lanes < count
        cost = tl.load(costs + start + lanes, mask=inside, other=_INF).to(tl.float64)
        scores = (f - cost) * bits + tl.load(pixel + start + lanes, mask=inside, other=-_INF)
        top, rest = grow(top, rest, scores)
    highest = tl.max(top, axis=0)
    anchor = tl.where(highest > -_INF, highest, 0.0)
    return highest + tl.log2(tl.sum(rest * tl.exp2(top - anchor), axis=0))


@triton.jit
def soft_shift(f, capacity, tau):
    """What to add to potentials so that the capacities ``a exp(-f / tau)`` sum to those of f = 0."""
    there = capacity > 0
    low = tl.min(tl.where(there, f, _INF), axis=0)
    total = tl.sum(tl.where(there, capacity * tl.exp((low - f) / tau), 0.0), axis=0)
    return tau * tl.log(total / tl.sum(capacity, axis=0)) - low


@triton.jit
def in_force(f, capacity, tau):
    """Soft capacities at f."""
    return tl.where(capacity > 0, capacity * tl.exp(-f / tau), 0.0)


@triton.jit
def moved(f, capacity, log2_mass, numbers, SOFT: tl.constexpr):
    """Eq. 11: potentials at which the masses meet the capacities; left alone where nothing is within reach."""
    there = (capacity > 0) & (log2_mass > -_INF)
    log2_ratio = tl.where(there, tl.log2(tl.where(there, capacity, 1.0)) - log2_mass, 0.0)
    target = f + log2_ratio / tl.load(numbers + BITS)
    if SOFT:
        tau = tl.load(numbers + TAU)
        target *= tau / (tau + tl.load(numbers + REG))
    return tl.where(there, target, f)


@triton.jit
def vanishing(tables, program, real: tl.constexpr):
    """Mass below which too much of it may have underflowed."""
    tiny = 2.0**-100 if real == tl.float32 else 2.0**-900
    return entry(tables, program, PIXELS).to(tl.float64) * tiny


@triton.jit(do_not_specialize=["M", "b"])
def weigh(
    M, b, state, g, partials, tables, numbers, ROWS: tl.constexpr, BLOCK: tl.constexpr, STOPS: tl.constexpr
):  # fmt: skip
    """Masses of the suppliers when every pixel's marginal holds (Eq. 10), for one block of pixels.

    Writes ``g``, the pixels' potentials in bits, and one partial sum for each supplier. The first block of a problem
    notes what the pass is made at.
    """
    tile = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    own = tile - entry(tables, tile, FIRST_TILE)
    inside_rows = rows < entry(tables, tile, SUPPLIERS)
    f = load_rows(state, tables, tile, rows, F, -_INF)
    if own == 0:
        tl.store(of_suppliers(state, tables, tile, PASS_F) + rows, f, mask=inside_rows)
    if STOPS:
        missed = load_rows(state, tables, tile, rows, MISSED, 0.0)
        if own == 0:
            tl.store(of_suppliers(state, tables, tile, PASS_MISSED) + rows, missed, mask=inside_rows)
        if finished(missed, state, tables, tile, numbers):
            return
    pixels = own * BLOCK + tl.arange(0, BLOCK)
    bits, scale = tl.load(numbers + BITS), tl.load(of_problem(state, tables, tile, UNIT))
    real: tl.constexpr = partials.dtype.element_ty
    _, best, weights, share = shared_out(M, b, f, bits, scale, tables, tile, pixels, numbers, real)
    level = tl.log2(share).to(tl.float64) - best.to(tl.float64) * bits
    inside = pixels < entry(tables, tile, PIXELS)
    tl.store(g + entry(tables, tile, FIRST_PIXEL) + pixels, level, mask=inside)
    tl.store(partial_of(partials, tables, tile, rows, own), tl.sum(weights * share[None, :], axis=1), mask=inside_rows)


@triton.jit
def finished(missed, state, tables, program, numbers):
    """Whether the last round began within the tolerance."""
    error = tl.sum(missed, axis=0) * tl.load(of_problem(state, tables, program, UNIT))
    return error <= tl.load(numbers + TOL) * tl.load(of_problem(state, tables, program, TOTAL))


@triton.jit(do_not_specialize=["M"])
def update(
    M, g, partials, state, tables, numbers,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, SOFT: tl.constexpr, STOPS: tl.constexpr,
):  # fmt: skip
    """The other half of a round, for one supplier: add up its partial sums and move its potential."""
    supplier = tl.program_id(0)
    i = supplier - entry(tables, supplier, FIRST_SUPPLIER)
    rows = tl.arange(0, ROWS)
    if STOPS:  # noqa: SIM102  # this one is decided when compiling
        if finished(load_rows(state, tables, supplier, rows, PASS_MISSED, 0.0), state, tables, supplier, numbers):
            return
    mass = sum_of(partial_of(partials, tables, supplier, i, 0), entry(tables, supplier, TILES), CHUNK)
    old = tl.load(of_suppliers(state, tables, supplier, PASS_F) + i)
    own = tl.load(of_suppliers(state, tables, supplier, CAPACITY) + i)
    own /= tl.load(of_problem(state, tables, supplier, UNIT))
    log2_mass = tl.log2(mass)
    if (own > 0) & (mass < vanishing(tables, supplier, partials.dtype.element_ty)):
        log2_mass = log_mass(M, g, tables, supplier, i, old, tl.load(numbers + BITS), CHUNK)
    wanted = own
    if SOFT:
        tau = tl.load(numbers + TAU)
        everyone = load_rows(state, tables, supplier, rows, PASS_F, -_INF)
        old += soft_shift(everyone, load_rows(state, tables, supplier, rows, CAPACITY, 0.0), tau)
        wanted = in_force(old, own, tau)
    tl.store(of_suppliers(state, tables, supplier, BEFORE) + i, old)
    tl.store(of_suppliers(state, tables, supplier, F) + i, moved(old, own, log2_mass, numbers, SOFT))
    tl.store(of_suppliers(state, tables, supplier, MISSED) + i, tl.abs(wanted - mass))
    if i == 0:
        made = of_problem(state, tables, supplier, MADE)
        tl.store(made, tl.load(made) + 1)


@triton.jit(do_not_specialize=["M", "b"])
def read_out(M, b, state, g, labels, partials, tables, numbers, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Potentials of the pixels, labels, and partial sums of marginals, cost and error, in float64, for one block."""
    tile = tl.program_id(0)
    own = tile - entry(tables, tile, FIRST_TILE)
    suppliers = entry(tables, tile, SUPPLIERS)
    rows = tl.arange(0, ROWS)
    pixels = own * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < entry(tables, tile, PIXELS)
    bits = tl.load(numbers + BITS)
    costs = load_costs(M, tables, tile, rows, pixels).to(tl.float64)
    demand = load_demand(b, tables, tile, pixels, numbers)
    weights, best = exponents(costs, load_rows(state, tables, tile, rows, BEFORE, -_INF), bits, tl.float64)
    share = tl.log2(served_shares(demand, tl.sum(tl.exp2(weights), axis=0)))
    level = share / bits - best
    first = entry(tables, tile, FIRST_PIXEL)
    tl.store(g + first + pixels, level, mask=inside)
    scores = load_rows(state, tables, tile, rows, F, -_INF)[:, None] - costs
    top = tl.max(scores, axis=0)
    label = tl.min(tl.where(scores == top[None, :], rows[:, None], ROWS), axis=0)
    tl.store(labels + first + pixels, label.to(tl.int64), mask=inside)
    # As the potentials give it, with what rounding took from them: the error is that of the plan, not of its idea.
    plan = tl.exp2((scores + level[None, :]) * bits)
    tl.store(partial_of(partials, tables, tile, rows, own), tl.sum(plan, axis=1), mask=rows < suppliers)
    cost = tl.sum(tl.sum(tl.where(plan > 0, plan * costs, 0.0), axis=0), axis=0)
    tl.store(partial_of(partials, tables, tile, suppliers, own), cost)
    missed = tl.sum(tl.abs(tl.sum(plan, axis=0) - demand), axis=0)
    tl.store(partial_of(partials, tables, tile, suppliers + 1, own), missed)


@triton.jit
def finish(partials, state, tables, numbers, ROWS: tl.constexpr, CHUNK: tl.constexpr, SOFT: tl.constexpr):
    """Add up what :func:`read_out` left of one problem."""
    problem = tl.program_id(0)
    rows, lanes = tl.arange(0, ROWS), tl.arange(0, CHUNK)
    tiles, suppliers = entry(tables, problem, TILES), entry(tables, problem, SUPPLIERS)
    inside = rows < suppliers
    mass = tl.zeros([ROWS], tl.float64)
    for start in range(0, tiles, CHUNK):
        columns = start + lanes
        source = partial_of(partials, tables, problem, rows[:, None], columns[None, :])
        mass += tl.sum(tl.load(source, mask=inside[:, None] & (columns < tiles)[None, :], other=0.0), axis=1)
    missed = sum_of(partial_of(partials, tables, problem, suppliers + 1, 0), tiles, CHUNK)
    wanted = load_rows(state, tables, problem, rows, CAPACITY, 0.0)
    if SOFT:
        wanted = in_force(load_rows(state, tables, problem, rows, F, 0.0), wanted, tl.load(numbers + TAU))
    tl.store(of_suppliers(state, tables, problem, REST) + rows, mass, mask=inside)
    cost = sum_of(partial_of(partials, tables, problem, suppliers, 0), tiles, CHUNK)
    tl.store(of_problem(state, tables, problem, COST), cost)
    tl.store(of_problem(state, tables, problem, PIXEL_ERROR), missed)
    total = tl.load(of_problem(state, tables, problem, TOTAL))
    tl.store(of_problem(state, tables, problem, ERROR), (tl.sum(tl.abs(wanted - mass), axis=0) + missed) / total)
