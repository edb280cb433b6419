"""Triton kernels that read the cost matrix, for many problems of any shapes at once.

Costs, capacities and demands of all problems lie behind each other in flat buffers. A row of ``tables`` says where
those of a problem begin (:class:`.launch.Plan` makes it), and ``tile_problem`` which problem a block of pixels belongs
to. One program holds all suppliers of one block of pixels in registers, so a pass reads every cost once and takes one
exponential of it. Sums over the pixels go through one number per block and supplier, added in a fixed order in float64:
the same input gives the same bits.

``numbers`` are the float64 parameters of a call (Triton passes floats of Python as float32): see the constants below.
The arithmetic of a pass is that of the buffer of its partial sums, float32 or float64.

Buffers of the caller, and slices of one buffer, begin at any address, and counts are what they are: kernels are not
compiled anew for each alignment. Nothing is lost by it, since offsets out of ``tables`` have none to build on.
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
COLUMNS: tl.constexpr = tl.constexpr(8)

# Entries of numbers.
BITS: tl.constexpr = tl.constexpr(0)  # 1 / (reg ln 2): exponents are in bits
REG: tl.constexpr = tl.constexpr(1)
TAU: tl.constexpr = tl.constexpr(2)
TOL: tl.constexpr = tl.constexpr(3)  # negative for none
FLOOR: tl.constexpr = tl.constexpr(4)  # added to both marginals

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def entry(tables, problem, column: tl.constexpr):
    return tl.load(tables + problem * COLUMNS + column)


@triton.jit
def load_costs(M, tables, problem, rows, pixels):
    """Costs of a block, +inf beyond the ends of the problem."""
    suppliers, count = entry(tables, problem, SUPPLIERS), entry(tables, problem, PIXELS)
    offsets = rows.to(tl.int64)[:, None] * count + pixels[None, :]
    inside = (rows < suppliers)[:, None] & (pixels < count)[None, :]
    return tl.load(M + entry(tables, problem, FIRST_COST) + offsets, mask=inside, other=_INF)


@triton.jit
def load_demand(b, tables, problem, pixels, numbers):
    """Demand of a block with the floor added, 0 beyond the end."""
    inside = pixels < entry(tables, problem, PIXELS)
    demand = tl.load(b + entry(tables, problem, FIRST_PIXEL) + pixels, mask=inside, other=0.0)
    return tl.where(inside, demand + tl.load(numbers + FLOOR), 0.0)


@triton.jit
def load_rows(values, tables, problem, rows, other):
    inside = rows < entry(tables, problem, SUPPLIERS)
    return tl.load(values + entry(tables, problem, FIRST_SUPPLIER) + rows, mask=inside, other=other)


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
def log_mass(M, g, tables, problem, i, f, bits, CHUNK: tl.constexpr):
    """log2 of the mass of supplier i from the pixels' potentials in bits; for masses that underflow, or nearly."""
    count = entry(tables, problem, PIXELS)
    costs = M + entry(tables, problem, FIRST_COST) + i * count
    pixel = g + entry(tables, problem, FIRST_PIXEL)
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
def vanishing(tables, problem, real: tl.constexpr):
    """Mass below which too much of it may have underflowed."""
    tiny = 2.0**-100 if real == tl.float32 else 2.0**-900
    return entry(tables, problem, PIXELS).to(tl.float64) * tiny


@triton.jit(do_not_specialize=["M", "b", "tile_problem"])
def weigh(
    M, b, f, errors, g, partials, unit, total, tables, tile_problem, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, STOPS: tl.constexpr,
):  # fmt: skip
    """Masses of the suppliers when every pixel's marginal holds (Eq. 10), for one block of pixels.

    Writes ``g``, the pixels' potentials in bits, and one partial sum for each supplier.
    """
    tile = tl.program_id(0)
    problem = tl.load(tile_problem + tile)
    rows = tl.arange(0, ROWS)
    if STOPS:  # noqa: SIM102  # this one is decided when compiling
        if finished(errors, total, unit, tables, problem, numbers, rows):
            return
    own = tile - entry(tables, problem, FIRST_TILE)
    pixels = own * BLOCK + tl.arange(0, BLOCK)
    bits = tl.load(numbers + BITS)
    real: tl.constexpr = partials.dtype.element_ty
    costs = load_costs(M, tables, problem, rows, pixels)
    scores, best = exponents(costs, load_rows(f, tables, problem, rows, -_INF), bits, real)
    weights = tl.exp2(scores)
    demand = (load_demand(b, tables, problem, pixels, numbers) / tl.load(unit + problem)).to(real)
    share = served_shares(demand, tl.sum(weights, axis=0))
    level = tl.log2(share).to(tl.float64) - best.to(tl.float64) * bits
    inside = pixels < entry(tables, problem, PIXELS)
    tl.store(g + entry(tables, problem, FIRST_PIXEL) + pixels, level, mask=inside)
    target = partials + entry(tables, problem, FIRST_PARTIAL) + rows * entry(tables, problem, TILES) + own
    tl.store(target, tl.sum(weights * share[None, :], axis=1), mask=rows < entry(tables, problem, SUPPLIERS))


@triton.jit
def finished(errors, total, unit, tables, problem, numbers, rows):
    """Whether the last round began within the tolerance."""
    error = tl.sum(load_rows(errors, tables, problem, rows, 0.0), axis=0) * tl.load(unit + problem)
    return error <= tl.load(numbers + TOL) * tl.load(total + problem)


@triton.jit(do_not_specialize=["M", "supplier_problem"])
def update(
    M, g, partials, capacity, f, errors, f_next, errors_next, before, made, unit, total,
    tables, supplier_problem, numbers,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, SOFT: tl.constexpr, STOPS: tl.constexpr,
):  # fmt: skip
    """The other half of a round, for one supplier: add up its partial sums and move its potential."""
    supplier = tl.program_id(0)
    problem = tl.load(supplier_problem + supplier)
    i = supplier - entry(tables, problem, FIRST_SUPPLIER)
    rows = tl.arange(0, ROWS)
    old = tl.load(f + supplier)
    done = False
    if STOPS:
        done = finished(errors, total, unit, tables, problem, numbers, rows)
    if done:
        tl.store(f_next + supplier, old)
        tl.store(errors_next + supplier, tl.load(errors + supplier))
    else:
        tiles = entry(tables, problem, TILES)
        mass = sum_of(partials + entry(tables, problem, FIRST_PARTIAL) + i * tiles, tiles, CHUNK)
        scale = tl.load(unit + problem)
        own = tl.load(capacity + supplier) / scale
        log2_mass = tl.log2(mass)
        if (own > 0) & (mass < vanishing(tables, problem, partials.dtype.element_ty)):
            log2_mass = log_mass(M, g, tables, problem, i, old, tl.load(numbers + BITS), CHUNK)
        wanted = own
        if SOFT:
            tau = tl.load(numbers + TAU)
            everyone = load_rows(f, tables, problem, rows, -_INF)
            old += soft_shift(everyone, load_rows(capacity, tables, problem, rows, 0.0), tau)
            wanted = tl.where(own > 0, own * tl.exp(-old / tau), 0.0)
        tl.store(before + supplier, old)
        tl.store(f_next + supplier, moved(old, own, log2_mass, numbers, SOFT))
        tl.store(errors_next + supplier, tl.abs(wanted - mass))
        if i == 0:
            tl.store(made + problem, tl.load(made + problem) + 1)


@triton.jit(do_not_specialize=["M", "b", "limit"])
def all_rounds(
    M, b, capacity, f, before, tops, rests, made, unit, total, tables, numbers, limit,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, SOFT: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """All rounds of one small problem in one program: nothing to launch in between.

    Masses, ``rests * 2**tops``, and potentials pass from one step to the next through memory: the layout in which the
    sums come out of a block repeats every supplier in many threads, too many for arithmetic in float64.
    """
    problem = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    scale = tl.load(unit + problem)
    inside = rows < entry(tables, problem, SUPPLIERS)
    own_rows = entry(tables, problem, FIRST_SUPPLIER) + rows
    goal = tl.load(numbers + TOL) * tl.load(total + problem) / scale
    # Not constants, which a loop could not change.
    error, done = tl.full((), _INF, tl.float64), tl.full((), 0, tl.int32)
    while (done < limit) & (error > goal):
        mass = masses_of(M, b, f, scale, tables, problem, numbers, ROWS, BLOCK, real)
        tl.store(rests + own_rows, mass, mask=inside)
        tl.debug_barrier()
        own = load_rows(capacity, tables, problem, rows, 0.0) / scale
        mass = load_rows(rests, tables, problem, rows, 0.0)
        log2_mass = tl.log2(mass)
        lost = (own > 0) & (mass < vanishing(tables, problem, real))
        if tl.max(lost.to(tl.int32), axis=0) > 0:
            top, rest = log_masses_of(M, b, f, scale, tables, problem, numbers, ROWS, BLOCK, real)
            tl.debug_barrier()
            tl.store(tops + own_rows, top, mask=inside)
            tl.store(rests + own_rows, rest, mask=inside)
            tl.debug_barrier()
            log2_mass = load_rows(tops, tables, problem, rows, 0.0)
            log2_mass += tl.log2(load_rows(rests, tables, problem, rows, 0.0))
        old = load_rows(f, tables, problem, rows, -_INF)
        wanted = own
        if SOFT:
            tau = tl.load(numbers + TAU)
            old += soft_shift(old, own, tau)
            wanted = tl.where(own > 0, own * tl.exp(-old / tau), 0.0)
        error = tl.sum(tl.abs(wanted - mass), axis=0)
        new = moved(old, own, log2_mass, numbers, SOFT)
        tl.debug_barrier()
        tl.store(before + own_rows, old, mask=inside)
        tl.store(f + own_rows, new, mask=inside)
        tl.debug_barrier()
        done += 1
    tl.store(made + problem, done)


@triton.jit
def masses_of(
    M, b, f, scale, tables, problem, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """Masses of all suppliers of a small problem when every pixel's marginal holds (Eq. 10)."""
    rows = tl.arange(0, ROWS)
    bits = tl.load(numbers + BITS)
    potentials = load_rows(f, tables, problem, rows, -_INF)
    mass = tl.zeros([ROWS], tl.float64)
    for start in range(0, entry(tables, problem, PIXELS), BLOCK):
        pixels = start + tl.arange(0, BLOCK)
        costs = load_costs(M, tables, problem, rows, pixels)
        scores, _ = exponents(costs, potentials, bits, real)
        weights = tl.exp2(scores)
        demand = (load_demand(b, tables, problem, pixels, numbers) / scale).to(real)
        share = served_shares(demand, tl.sum(weights, axis=0))
        mass += tl.sum(weights * share[None, :], axis=1).to(tl.float64)
    return mass


@triton.jit
def log_masses_of(
    M, b, f, scale, tables, problem, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """The same masses as ``rest * 2**top``, however small they are."""
    rows = tl.arange(0, ROWS)
    bits = tl.load(numbers + BITS)
    potentials = load_rows(f, tables, problem, rows, -_INF)
    top = tl.full([ROWS], -_INF, real)
    rest = tl.zeros([ROWS], real)
    for start in range(0, entry(tables, problem, PIXELS), BLOCK):
        pixels = start + tl.arange(0, BLOCK)
        costs = load_costs(M, tables, problem, rows, pixels)
        scores, _ = exponents(costs, potentials, bits, real)
        demand = (load_demand(b, tables, problem, pixels, numbers) / scale).to(real)
        scores += tl.log2(served_shares(demand, tl.sum(tl.exp2(scores), axis=0)))[None, :]
        higher = tl.maximum(top, tl.max(scores, axis=1))
        anchor = tl.where(higher > -_INF, higher, 0.0)
        rest = rest * tl.exp2(top - anchor) + tl.sum(tl.exp2(scores - anchor[:, None]), axis=1)
        top = higher
    return top.to(tl.float64), rest.to(tl.float64)


@triton.jit(do_not_specialize=["M", "b", "tile_problem"])
def read_out(
    M, b, before, f, g, labels, partials, costs_out, errors_out, tables, tile_problem, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Potentials of the pixels, labels, and partial sums of marginals and cost, in float64, for one block."""
    tile = tl.program_id(0)
    problem = tl.load(tile_problem + tile)
    own = tile - entry(tables, problem, FIRST_TILE)
    rows = tl.arange(0, ROWS)
    pixels = own * BLOCK + tl.arange(0, BLOCK)
    inside = pixels < entry(tables, problem, PIXELS)
    bits = tl.load(numbers + BITS)
    costs = load_costs(M, tables, problem, rows, pixels).to(tl.float64)
    demand = load_demand(b, tables, problem, pixels, numbers)
    weights, best = exponents(costs, load_rows(before, tables, problem, rows, -_INF), bits, tl.float64)
    share = tl.log2(served_shares(demand, tl.sum(tl.exp2(weights), axis=0)))
    first = entry(tables, problem, FIRST_PIXEL)
    tl.store(g + first + pixels, share / bits - best, mask=inside)
    scores = load_rows(f, tables, problem, rows, -_INF)[:, None] - costs
    top = tl.max(scores, axis=0)
    label = tl.min(tl.where(scores == top[None, :], rows[:, None], ROWS), axis=0)
    tl.store(labels + first + pixels, label.to(tl.int64), mask=inside)
    plan = tl.exp2((scores - best[None, :]) * bits + share[None, :])
    target = partials + entry(tables, problem, FIRST_PARTIAL) + rows * entry(tables, problem, TILES) + own
    tl.store(target, tl.sum(plan, axis=1), mask=rows < entry(tables, problem, SUPPLIERS))
    tl.store(costs_out + tile, tl.sum(tl.sum(tl.where(plan > 0, plan * costs, 0.0), axis=0), axis=0))
    tl.store(errors_out + tile, tl.sum(tl.abs(tl.sum(plan, axis=0) - demand), axis=0))


@triton.jit
def finish(
    partials, tile_costs, tile_errors, capacity, f, total, masses, cost, pixel_error, error, tables, numbers,
    ROWS: tl.constexpr, CHUNK: tl.constexpr, SOFT: tl.constexpr,
):  # fmt: skip
    """Add up what :func:`read_out` left of one problem."""
    problem = tl.program_id(0)
    rows, lanes = tl.arange(0, ROWS), tl.arange(0, CHUNK)
    tiles = entry(tables, problem, TILES)
    inside = rows < entry(tables, problem, SUPPLIERS)
    mass = tl.zeros([ROWS], tl.float64)
    for start in range(0, tiles, CHUNK):
        columns = start + lanes
        source = partials + entry(tables, problem, FIRST_PARTIAL) + rows[:, None] * tiles + columns[None, :]
        mass += tl.sum(tl.load(source, mask=inside[:, None] & (columns < tiles)[None, :], other=0.0), axis=1)
    first = entry(tables, problem, FIRST_TILE)
    missed = sum_of(tile_errors + first, tiles, CHUNK)
    wanted = load_rows(capacity, tables, problem, rows, 0.0)
    if SOFT:
        settled = wanted * tl.exp(-load_rows(f, tables, problem, rows, 0.0) / tl.load(numbers + TAU))
        wanted = tl.where(wanted > 0, settled, 0.0)
    tl.store(masses + entry(tables, problem, FIRST_SUPPLIER) + rows, mass, mask=inside)
    tl.store(cost + problem, sum_of(tile_costs + first, tiles, CHUNK))
    tl.store(pixel_error + problem, missed)
    tl.store(error + problem, (tl.sum(tl.abs(wanted - mass), axis=0) + missed) / tl.load(total + problem))
