"""Triton kernels for what Newton's method asks of the costs beyond a pass: links, and masses that underflow."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from .kernels import log_mass
from .memory import BITS, PIXELS, F, entry, load_costs, load_rows, of_suppliers


@triton.jit(do_not_specialize=["M"])
def links(
    M, b, state, g, out, tables, numbers,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, ROW_TILES: tl.constexpr,
):  # fmt: skip
    """sum_j b_j p_ij p_kj of one problem for a square of suppliers, over every so many-th block of pixels.

    ``g`` are the pixels' potentials in bits. Products are float32 through the tensor cores (TF32), which is
    enough for a Hessian. A program writes its square of ``out`` (splits, ROW_TILES * ROWS, ROW_TILES * ROWS).
    """
    split, across, down = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    splits = tl.num_programs(0)
    left = down * ROWS + tl.arange(0, ROWS)
    right = across * ROWS + tl.arange(0, ROWS)
    f_left = load_rows(state, tables, 0, left, F, -float("inf"))
    f_right = load_rows(state, tables, 0, right, F, -float("inf"))
    total = tl.zeros([ROWS, ROWS], tl.float32)
    for start in range(split * BLOCK, entry(tables, 0, PIXELS), splits * BLOCK):
        pixels = start + tl.arange(0, BLOCK)
        inside = pixels < entry(tables, 0, PIXELS)
        demand = tl.load(b + pixels, mask=inside, other=0.0)
        level = tl.load(g + pixels, mask=inside, other=-float("inf"))
        level = tl.where(demand > 0, level - 0.5 * tl.log2(demand), -float("inf"))
        weights = scaled(M, f_left, level, tables, left, pixels, numbers)
        others = weights
        if ROW_TILES > 1:
            others = scaled(M, f_right, level, tables, right, pixels, numbers)
        total = tl.dot(weights, tl.trans(others), total, input_precision="tf32")
    side = ROWS * ROW_TILES
    target = out + split.to(tl.int64) * side * side + left[:, None] * side + right[None, :]
    tl.store(target, total)


@triton.jit
def scaled(M, f, level, tables, rows, pixels, numbers):
    """Entries of the plan over the roots of their pixels' demands."""
    costs = load_costs(M, tables, 0, rows, pixels).to(tl.float64)
    scores = (f[:, None] - costs) * tl.load(numbers + BITS) + level[None, :]
    return tl.exp2(scores.to(tl.float32))


@triton.jit(do_not_specialize=["M"])
def log_masses(M, g, state, wanted, out, tables, numbers, CHUNK: tl.constexpr):
    """log2 of the mass of one of the suppliers in ``wanted``, from the pixels' potentials in bits."""
    slot = tl.program_id(0)
    i = tl.load(wanted + slot)
    f = tl.load(of_suppliers(state, tables, 0, F) + i)
    tl.store(out + slot, log_mass(M, g, tables, 0, i, f, tl.load(numbers + BITS), CHUNK))
