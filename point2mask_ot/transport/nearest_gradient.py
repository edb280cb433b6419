"""The gradient of a solution over near pairs, :class:`..nearest.costs.NearestCosts`: on the host, block by block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..nearest import NearestCosts
from .cpu.nearest_passes import NearestPasses
from .gradient import Differential, Incoming, scaled, through_optimum, through_rounds, unconverged, unscaled
from .problem import Options
from .pullback import Pulled, Shares, Weights
from .sinkhorn import log_shares

_CHUNK_ENTRIES = 1 << 14
"""Of 64 costs, taken at once."""


class Solved(NamedTuple):
    """What a gradient needs of a problem and its solution.

    Attributes:
        function: public one, to name in messages.
        costs: the entries that were chosen last.
        passes: over them, made when asked for.
        rounds: (rounds, 2, K) potentials before and after each of fixed rounds, made when asked for.
        a, b: (K,) and (N,) float64 capacities and demand as they came.
        options: of the call.
        error: L1 error of the marginals over the mass.
    """

    function: str
    costs: NearestCosts
    passes: Callable[[], NearestPasses]
    rounds: Callable[[], np.ndarray]
    a: np.ndarray
    b: np.ndarray
    options: Options
    error: float


class NearSolution(torch.autograd.Function):
    """Potentials and cost, which the solver found on the host, as results of a, b and the costs given as a tensor."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, costs: Tensor | None, found: tuple[Tensor, ...], solved: Solved) -> Any:
        """``costs`` are those that ``solved.costs`` was made from, if they may have a gradient."""
        ctx.solved = solved
        ctx.save_for_backward(*found)
        ctx.set_materialize_grads(False)
        return tuple(each.view_as(each) for each in found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_f: Tensor | None, by_g: Tensor | None, by_cost: Tensor | None) -> Any:
        """See :mod:`.gradient`."""
        solved: Solved = ctx.solved
        f, g, _ = ctx.saved_tensors
        options = solved.options
        if options.tol > 0 and not solved.error <= options.tol:
            raise unconverged(solved.function, options, solved.error)
        incoming = Incoming(
            torch.zeros_like(f) if by_f is None else by_f,
            torch.zeros_like(g) if by_g is None else by_g,
            0.0 if by_cost is None else float(by_cost),
        )
        into = torch.zeros(solved.costs.cost.shape, dtype=torch.float64) if ctx.needs_input_grad[2] else None
        a, b = torch.from_numpy(solved.a), torch.from_numpy(solved.b)
        capacity, demand = scaled(a, b, options)
        shares = NearShares(solved.costs, demand, options.reg, solved.passes)
        of_marginals = any(ctx.needs_input_grad[:2])
        problem = Differential(shares, capacity, demand, f, g, options, of_marginals)
        if options.tol > 0:
            found = through_optimum(problem, incoming, into)
        else:
            path = [(before, after) for before, after in torch.from_numpy(solved.rounds())]
            found = through_rounds(problem, path, incoming, into)
        given = unscaled(found, a, b, options)
        return given.a, given.b, None if into is None else _by_origin(solved.costs, into), None, None


def _by_origin(costs: NearestCosts, by_entries: Tensor) -> Tensor:
    """(k, N) of what is (E, 64)."""
    labels = costs.origin.labels  # type: ignore[union-attr]
    pixels = np.broadcast_to(np.arange(costs.num_pixels), labels.shape)
    entry, (_, lane) = costs.entries_of(labels, pixels), costs.places()
    return torch.from_numpy(np.where(entry >= 0, by_entries.numpy()[entry, lane], 0.0))


class NearShares(Shares):
    """See :class:`.pullback.Shares`; the gradient by M is one by the entries, (E, 64)."""

    def __init__(self, costs: NearestCosts, b: Tensor, reg: float, passes: Callable[[], NearestPasses]) -> None:
        self.costs, self.b, self.reg, self._passes = costs, b, reg, passes

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """See :class:`.pullback.Shares`."""
        values, total, mean = weights.values.numpy(), np.zeros(len(f)), np.zeros(len(self.b))
        log_mass = np.zeros(len(f)) if weights.log_mass is None else weights.log_mass.numpy()
        demand = np.append(self.b.numpy() / self.reg, 0.0)  # of pixel -1, which is none
        extra = np.zeros(len(self.b) + 1) if by_log_sum is None else np.append(by_log_sum.numpy(), 0.0)
        for part in self._parts():
            exponents = (f.numpy()[part.supplier, None] - part.cost) / self.reg
            top = part.largest(exponents)
            exponents -= part.each(np.where(top > -np.inf, top, 0.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                logs = exponents - part.each(np.log(part.sums(np.exp(exponents))))
            logs[exponents == -np.inf] = -np.inf
            share = np.exp(logs)
            with np.errstate(over="ignore", invalid="ignore"):
                weighted = values[part.supplier, None] * np.exp(logs - log_mass[part.supplier, None])
            weighted = np.where(part.each(demand[part.pixel]) > 0, weighted, 0.0)  # see .pullback
            average = part.sums(weighted)
            mean[part.pixel[part.pixel >= 0]] = average[part.pixel >= 0]
            pulled = part.each(demand[part.pixel]) * (weighted - share * part.each(average))
            pulled += share * part.each(extra[part.pixel])
            total += np.bincount(part.supplier, pulled.sum(1), len(f))
            if M_gradient is not None:
                M_gradient.numpy()[part.entries] -= pulled
        return Pulled(torch.from_numpy(total), torch.from_numpy(mean))

    def links(self, f: Tensor) -> Any:
        """See :class:`.pullback.Shares`; the passes count demand in units of their own."""
        passes = self._passes()
        return passes.masses(f.numpy(), self.reg, precise=True, links=True)[1] * (float(self.b.sum()) / passes.b.sum())

    def cost_parts(self, f: Tensor, g: Tensor, factor: float, M_gradient: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :class:`.pullback.Shares`."""
        by_f, by_g, prices = np.zeros(len(f)), np.zeros(len(g)), np.append(g.numpy(), -np.inf)
        for part in self._parts():
            plan = np.exp((f.numpy()[part.supplier, None] + part.each(prices[part.pixel]) - part.cost) / self.reg)
            plan *= factor
            paid = np.where(part.cost < np.inf, plan * np.where(part.cost < np.inf, part.cost, 0.0), 0.0) / self.reg
            by_f += np.bincount(part.supplier, paid.sum(1), len(f))
            by_g[part.pixel[part.pixel >= 0]] = part.sums(paid)[part.pixel >= 0]
            if M_gradient is not None:
                M_gradient.numpy()[part.entries] += plan - paid
        return torch.from_numpy(by_f), torch.from_numpy(by_g)

    def _parts(self) -> Iterator[_Part]:
        """Blocks that have entries, some at a time."""
        first = self.costs.first
        filled = np.flatnonzero(np.diff(first))
        bounds = np.searchsorted(first[filled], np.arange(0, first[-1] + _CHUNK_ENTRIES, _CHUNK_ENTRIES))
        for start, stop in itertools.pairwise(np.append(bounds, len(filled))):
            if stop > start:
                yield _Part.of(self.costs, filled[start:stop])


class _Part(NamedTuple):
    """Some blocks in a row and their entries.

    Attributes:
        entries: those.
        starts: (blocks,) where those of each block begin.
        counts: (blocks,) how many they are.
        pixel: (blocks, 64).
        supplier: (n,).
        cost: (n, 64) float64.
    """

    entries: slice
    starts: np.ndarray
    counts: np.ndarray
    pixel: np.ndarray
    supplier: np.ndarray
    cost: np.ndarray

    @classmethod
    def of(cls, costs: NearestCosts, blocks: np.ndarray) -> _Part:
        first = costs.first
        entries = slice(int(first[blocks[0]]), int(first[blocks[-1] + 1]))
        counts = first[blocks + 1] - first[blocks]
        cost = costs.cost[entries].astype(np.float64)
        starts = first[blocks] - entries.start
        return cls(entries, starts, counts, costs.pixel[blocks], costs.supplier[entries], cost)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """(blocks, 64) of (n, 64)."""
        return np.maximum.reduceat(values, self.starts)  # type: ignore[no-any-return]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(blocks, 64) of (n, 64)."""
        return np.add.reduceat(values, self.starts)  # type: ignore[no-any-return]

    def each(self, values: np.ndarray) -> np.ndarray:
        """(n, 64): those of its block, (blocks, 64), at every entry."""
        return np.repeat(values, self.counts, axis=0)


def near_log_shares(costs: NearestCosts, f: Tensor, reg: float, pixels: Tensor, suppliers: Tensor) -> Tensor:
    """(n,) of some pairs, -inf for those without an entry; with a gradient by f, and by the costs given as a tensor."""
    block, lane = (each[pixels] for each in costs.places())
    count = np.diff(costs.first)[block]
    entry = costs.first[block] + np.arange(max(int(count.max(initial=0)), 1))[:, None]  # (entries of a block, n)
    inside = np.arange(len(entry))[:, None] < count
    entry = np.where(inside, entry, 0)
    who = torch.from_numpy(costs.supplier[entry].astype(np.int64)) if len(costs.supplier) else torch.zeros(entry.shape)
    own = _costs_of(costs, entry, lane, pixels, f.requires_grad)
    exponents = torch.where(torch.from_numpy(inside) & (own < math.inf), (f[who.long()] - own) / reg, -math.inf)
    logs, asked = log_shares(exponents), torch.from_numpy(inside) & (who == suppliers)
    return torch.where(asked.any(0), torch.where(asked, logs, 0.0).sum(0), -math.inf)


def _costs_of(costs: NearestCosts, entry: np.ndarray, lane: np.ndarray, pixels: Tensor, with_gradient: bool) -> Tensor:
    """(m, n) float64 costs of entries at pixels that lie in these lanes."""
    if not len(costs.supplier):
        return torch.full(entry.shape, math.inf, dtype=torch.float64)
    own = torch.from_numpy(costs.cost[entry, lane].astype(np.float64))
    if costs.origin is None or not with_gradient:
        return own
    same = costs.origin.labels[:, None, pixels] == costs.supplier[entry]  # (k, m, n)
    listed = costs.origin.current()[torch.from_numpy(same.argmax(0)), pixels].double()
    return torch.where(torch.from_numpy(same.any(0)), listed, own)
