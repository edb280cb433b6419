"""Triton kernel that makes all Sinkhorn rounds of a small problem: one launch in place of two a round."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from .kernels import (
    in_force,
    moved,
    shared_out,
    soft_shift,
    vanishing,
)
from .memory import (
    BEFORE,
    BITS,
    CAPACITY,
    MADE,
    PIXELS,
    REST,
    SUPPLIERS,
    TAU,
    TOL,
    TOP,
    TOTAL,
    UNIT,
    F,
    entry,
    load_rows,
    of_problem,
    of_suppliers,
)

_INF: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit(do_not_specialize=["M", "b", "limit"])
def all_rounds(
    M, b, state, tables, numbers, limit,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, SOFT: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """All rounds of one small problem in one program: nothing to launch in between.

    Masses, ``rest * 2**top``, and potentials pass from one step to the next through memory: the layout in which the
    sums come out of a block repeats every supplier in many threads, too many for arithmetic in float64.
    """
    problem = tl.program_id(0)
    rows = tl.arange(0, ROWS)
    inside = rows < entry(tables, problem, SUPPLIERS)
    scale = tl.load(of_problem(state, tables, problem, UNIT))
    goal = tl.load(numbers + TOL) * tl.load(of_problem(state, tables, problem, TOTAL)) / scale
    tops, rests = of_suppliers(state, tables, problem, TOP) + rows, of_suppliers(state, tables, problem, REST) + rows
    # Not constants, which a loop could not change.
    error, done = tl.full((), _INF, tl.float64), tl.full((), 0, tl.int32)
    while (done < limit) & (error > goal):
        mass = masses_of(M, b, state, scale, tables, problem, numbers, ROWS, BLOCK, real)
        tl.store(rests, mass, mask=inside)
        tl.debug_barrier()
        own = load_rows(state, tables, problem, rows, CAPACITY, 0.0) / scale
        mass = tl.load(rests, mask=inside, other=0.0)
        log2_mass = tl.log2(mass)
        lost = (own > 0) & (mass < vanishing(tables, problem, real))
        if tl.max(lost.to(tl.int32), axis=0) > 0:
            top, rest = log_masses_of(M, b, state, scale, tables, problem, numbers, ROWS, BLOCK, real)
            tl.debug_barrier()
            tl.store(tops, top, mask=inside)
            tl.store(rests, rest, mask=inside)
            tl.debug_barrier()
            log2_mass = tl.load(tops, mask=inside, other=0.0) + tl.log2(tl.load(rests, mask=inside, other=0.0))
        old = load_rows(state, tables, problem, rows, F, -_INF)
        wanted = own
        if SOFT:
            tau = tl.load(numbers + TAU)
            old += soft_shift(old, own, tau)
            wanted = in_force(old, own, tau)
        error = tl.sum(tl.abs(wanted - mass), axis=0)
        new = moved(old, own, log2_mass, numbers, SOFT)
        tl.debug_barrier()
        tl.store(of_suppliers(state, tables, problem, BEFORE) + rows, old, mask=inside)
        tl.store(of_suppliers(state, tables, problem, F) + rows, new, mask=inside)
        tl.debug_barrier()
        done += 1
    tl.store(of_problem(state, tables, problem, MADE), done.to(tl.float64))


@triton.jit
def masses_of(
    M, b, state, scale, tables, program, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """Masses of all suppliers of a small problem when every pixel's marginal holds (Eq. 10)."""
    f, bits = load_rows(state, tables, program, tl.arange(0, ROWS), F, -_INF), tl.load(numbers + BITS)
    mass = tl.zeros([ROWS], tl.float64)
    for start in range(0, entry(tables, program, PIXELS), BLOCK):
        pixels = start + tl.arange(0, BLOCK)
        _, _, weights, share = shared_out(M, b, f, bits, scale, tables, program, pixels, numbers, real)
        mass += tl.sum(weights * share[None, :], axis=1).to(tl.float64)
    return mass


@triton.jit
def log_masses_of(
    M, b, state, scale, tables, program, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, real: tl.constexpr,
):  # fmt: skip
    """The same masses as ``rest * 2**top``, however small they are."""
    f, bits = load_rows(state, tables, program, tl.arange(0, ROWS), F, -_INF), tl.load(numbers + BITS)
    top = tl.full([ROWS], -_INF, real)
    rest = tl.zeros([ROWS], real)
    for start in range(0, entry(tables, program, PIXELS), BLOCK):
        pixels = start + tl.arange(0, BLOCK)
        scores, _, _, share = shared_out(M, b, f, bits, scale, tables, program, pixels, numbers, real)
        scores += tl.log2(share)[None, :]
        higher = tl.maximum(top, tl.max(scores, axis=1))
        anchor = tl.where(higher > -_INF, higher, 0.0)
        rest = rest * tl.exp2(top - anchor) + tl.sum(tl.exp2(scores - anchor[:, None]), axis=1)
        top = higher
    return top.to(tl.float64), rest.to(tl.float64)
