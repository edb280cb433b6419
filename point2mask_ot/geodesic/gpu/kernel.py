"""The GPU kernel: maps relaxed window by window, by programs that never wait for one another.

A map, the costs from one target on one image, is cut into square tiles. A *visit* reads the window around a tile, one
ring of its neighbours' pixels included so that its ``SIDE`` is a power of two, and relaxes all of it
along its eight directions until nothing changes; then it writes the tile back. A pixel of the ring that got cheaper
belongs to a neighbour, which will find that out by itself: its tile is marked *pending*, under the smallest such value.

One program owns a *region*, a square of tiles of one map, and visits the pending tile of the smallest value until none
is left. A tile of its own region is marked at once, one of another region for the next launch. So a launch needs no
barrier between programs, no waiting and no order, and reads from a neighbouring region may be old or new. The last
launch has regions as large as the maps: whatever the launches before left, it goes on until no tile is pending. They
are there for speed only, to spread a map over the multiprocessors, and need no test of convergence on the host.

Why that is exact. A value is at any time the sum of edge costs along some path, added up from its start, or +inf.
Take an edge from u to v that could still lower v, after the last launch, and the last visit to the tile of u. If v is
in that tile, the visit went on until the edge could not lower it; only visits to that tile write its pixels. Otherwise
v was in the ring: either the edge lowered it there, or the ring's value was low enough, and values never rise. If it
was lowered, v's tile became pending and was visited later, when the value of u could be seen: in a later launch, or
after a barrier of the same program. So there is no such edge, and by monotonicity of rounded addition the values are
the smallest of all sums, those of Dijkstra's algorithm to the bit. It ends, since each mark needs a value that went
down, and there are finitely many paths without a ring.

Labels are spread by the same kernel: along tight edges, those by which a cheapest path may reach a pixel, the cost is
zero, along others infinite, and a source starts with its label instead of zero.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

_STEPS = tl.constexpr(4)
"""Relaxations of a window between two tests for rest, each of which costs about as much as one."""
_LANES = tl.constexpr(128)
"""Tiles that are looked at together, a power of two."""


# Slices of one buffer lie at any address: compile once, not once for each alignment.
@triton.jit(do_not_specialize=["pending", "pending_later", "maps", "regions"])
def settle(
    values,
    edges,
    distance,
    pending,
    pending_later,
    scratch,
    maps,
    regions,
    TIGHT: tl.constexpr,
    SIDE: tl.constexpr,
):
    """Relax one region for each program until none of its tiles is pending.

    Args:
        values: all maps behind one another; lowered in place.
        edges: the (4, H, W) edges of all images behind one another.
        distance: settled maps, read where TIGHT.
        pending: for each tile of all maps the bits of the smallest value that makes it pending, those of +inf if it is
            not: bits of non-negative floats are ordered as they are. All of it is +inf after a launch.
        pending_later: the same, for tiles of other regions: the next launch's ``pending``.
        scratch: (programs, SIDE + 2, SIDE + 2) of +inf, a window with a rim.
        maps: (maps, 6) int64: H, W, tiles across, and where the map begins in ``values``, ``edges`` and ``pending``.
        regions: (programs, 5) int64: map, first row and column of tiles, and those behind the last.
        TIGHT: edges are free if tight in ``distance``, else closed.
        SIDE: pixels along a side of a window, a power of two; two more than along a side of a tile.
    """
    INNER: tl.constexpr = SIDE - 2
    nothing = tl.full((), float("inf"), values.dtype.element_ty).to(pending.dtype.element_ty, bitcast=True)
    region = regions + 5 * tl.program_id(0)
    place = maps + 6 * tl.load(region)
    top, left = tl.load(region + 1).to(tl.int32), tl.load(region + 2).to(tl.int32)
    bottom, right = tl.load(region + 3).to(tl.int32), tl.load(region + 4).to(tl.int32)
    height, width = tl.load(place).to(tl.int32), tl.load(place + 1).to(tl.int32)
    across = tl.load(place + 2).to(tl.int32)
    start, first_edge, first_tile = tl.load(place + 3), tl.load(place + 4), tl.load(place + 5)
    values += start
    distance += start
    edges += first_edge
    pending += first_tile
    pending_later += first_tile
    scratch += tl.program_id(0).to(tl.int64) * ((SIDE + 2) * (SIDE + 2))

    smallest, tile = _next_tile(pending, top, left, bottom, right, across, nothing)
    while smallest < nothing:
        tl.store(pending + tile, nothing)
        y = (tile // across) * INNER - 1 + tl.arange(0, SIDE)[:, None]
        x = (tile % across) * INNER - 1 + tl.arange(0, SIDE)[None, :]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        before = tl.load(values + y * width + x, mask=inside, other=float("inf"))
        after = _relax(before, edges, distance, scratch, y, x, height, width, TIGHT, SIDE)
        lower = inside & (after < before)
        row, column = y // INNER, x // INNER
        owner = row * across + column
        tl.store(values + y * width + x, after, mask=lower & (owner == tile))
        tl.debug_barrier()
        here = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        marks = tl.where(here, pending + owner, pending_later + owner)
        bits = after.to(pending.dtype.element_ty, bitcast=True)
        tl.atomic_min(marks, bits, mask=lower & (owner != tile), sem="relaxed")
        tl.debug_barrier()
        smallest, tile = _next_tile(pending, top, left, bottom, right, across, nothing)


@triton.jit
def _next_tile(pending, top, left, bottom, right, across, nothing):
    """The smallest value that makes a tile of the region pending, and the first such tile."""
    smallest = tl.load(pending + top * across + left, cache_modifier=".cg")
    found = top * across + left
    columns = right - left
    for first in range(0, (bottom - top) * columns, _LANES):
        index = first + tl.arange(0, _LANES)
        tile = (top + index // columns) * across + left + index % columns
        # Past the first-level cache, which does not see atomics.
        marks = tl.load(pending + tile, mask=index < (bottom - top) * columns, other=nothing, cache_modifier=".cg")
        least = tl.min(marks, axis=0)
        candidate = tl.min(tl.where(marks == least, tile, 2147483647), axis=0)
        found = tl.where(least < smallest, candidate, found)
        smallest = tl.minimum(smallest, least)
    return smallest, found


@triton.jit
def _relax(value, edges, distance, scratch, y, x, height, width, TIGHT: tl.constexpr, SIDE: tl.constexpr):
    """The window's values when no edge can lower any: all pixels at once, from the eight neighbours of each."""
    east = _cost(edges, distance, y, x, 0, 1, height, width, 0, TIGHT)
    west = _cost(edges, distance, y, x, 0, -1, height, width, 0, TIGHT)
    south_west = _cost(edges, distance, y, x, 1, -1, height, width, 1, TIGHT)
    north_east = _cost(edges, distance, y, x, -1, 1, height, width, 1, TIGHT)
    south = _cost(edges, distance, y, x, 1, 0, height, width, 2, TIGHT)
    north = _cost(edges, distance, y, x, -1, 0, height, width, 2, TIGHT)
    south_east = _cost(edges, distance, y, x, 1, 1, height, width, 3, TIGHT)
    north_west = _cost(edges, distance, y, x, -1, -1, height, width, 3, TIGHT)
    # Each thread hands its values to the others through memory; the window stays in the first-level cache.
    STRIDE: tl.constexpr = SIDE + 2
    cell = scratch + (tl.arange(0, SIDE)[:, None] + 1) * STRIDE + tl.arange(0, SIDE)[None, :] + 1
    above, below = cell - STRIDE, cell + STRIDE
    tl.store(cell, value)
    tl.debug_barrier()
    moving = 1
    while moving > 0:
        before = value
        for _ in tl.static_range(_STEPS):
            before = value
            value = tl.minimum(value, tl.load(cell + 1) + east)
            value = tl.minimum(value, tl.load(cell - 1) + west)
            value = tl.minimum(value, tl.load(below - 1) + south_west)
            value = tl.minimum(value, tl.load(above + 1) + north_east)
            value = tl.minimum(value, tl.load(below) + south)
            value = tl.minimum(value, tl.load(above) + north)
            value = tl.minimum(value, tl.load(below + 1) + south_east)
            value = tl.minimum(value, tl.load(above - 1) + north_west)
            tl.debug_barrier()
            tl.store(cell, value)
            tl.debug_barrier()
        moving = tl.max((value < before).to(tl.int32))
    return value


@triton.jit
def _cost(
    edges,
    distance,
    y,
    x,
    DY: tl.constexpr,
    DX: tl.constexpr,
    height,
    width,
    CHANNEL: tl.constexpr,
    TIGHT: tl.constexpr,
):
    """Cost of the step to each pixel from its neighbour (DY, DX) away; +inf where one of them is not in the image."""
    open_pair = (tl.maximum(y, y + DY) < height) & (tl.maximum(x, x + DX) < width)
    open_pair &= tl.minimum(tl.minimum(y, y + DY), tl.minimum(x, x + DX)) >= 0
    pixel = y * width + x
    neighbour = pixel + (DY * width + DX)
    # An edge is stored at the pixel that comes first in raster order.
    plane = edges + CHANNEL * height.to(tl.int64) * width
    cost = tl.load(plane + tl.minimum(pixel, neighbour), mask=open_pair, other=float("inf"))
    if TIGHT:
        origin = tl.load(distance + neighbour, mask=open_pair, other=float("inf"))
        end = tl.load(distance + pixel, mask=open_pair, other=float("inf"))
        is_tight = (origin + cost == end) & (end < float("inf"))
        cost = tl.where(is_tight, 0.0, float("inf")).to(cost.dtype)
    return cost
