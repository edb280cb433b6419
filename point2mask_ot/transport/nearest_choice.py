"""A problem over one choice of entries of its costs, and what these know of the rest."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np

from ..nearest import NearestCosts
from .checks import Statistics
from .cpu import nearest_fused as fused
from .cpu.nearest_passes import NearestPasses
from .newton import ROUGH, Semidual, float32_error
from .problem import Options
from .sinkhorn import iterate

_FEW_PAIRS = 1 << 26
"""So many of supplier and pixel are no trouble, if they must be."""


class Choice:
    """A problem over one choice of entries.

    Args:
        costs: the entries.
        a: (K,) capacities.
        b: (N,) demand, of the same total.
        options: of the call.
    """

    def __init__(self, costs: NearestCosts, a: np.ndarray, b: np.ndarray, options: Options) -> None:
        self.costs, self.a, self.b, self.options = costs, a, b, options
        self.rows = np.flatnonzero(a > 0)
        self.demand = np.where(costs.pixel >= 0, b[costs.pixel], 0.0)
        self.found, self.absent, reached = _statistics(costs, a, self.demand)
        self.total, self.stranded = float(self.demand.sum()), float(np.where(reached, 0.0, self.demand).sum())
        served, self.supply = self.demand, a  # the same array mostly, for its memory
        if self.stranded:
            served = np.where(reached, self.demand, 0.0)
            self.supply = a * (served.sum() / self.total)
        cut = 100.0 if options.method == "sinkhorn" else 44.0  # rounds tell who lost everything by masses
        self.passes = NearestPasses(costs, served, self.rows, cut)

    @property
    def span(self) -> float:
        """Range of the finite costs."""
        return self.found.highest - self.found.lowest  # type: ignore[no-any-return]

    @property
    def magnitude(self) -> float:
        """Largest absolute value among them."""
        return max(abs(self.found.lowest), abs(self.found.highest))

    @property
    def is_small(self) -> bool:
        """Whether all pairs would fit, too."""
        return self.costs.num_suppliers * self.costs.num_pixels <= _FEW_PAIRS

    @cached_property
    def dual(self) -> Semidual:
        """What Newton climbs."""
        return Semidual(self.passes, self.supply, self.options.reg, self.options.tau, self.span, self.magnitude)

    def rounds(
        self, f: np.ndarray, reg: float, tol: float, limit: int, path: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Sinkhorn's rounds from potentials f: those before the last update and after it, and the rounds made.

        ``path``, (n, 2, K), is filled with the same of the first n rounds.
        """
        from .cpu.rounds import CpuRounds

        options, worst = self.options, tol if tol > 0 else ROUGH
        precise = not self.passes.single or worst < float32_error(self.magnitude, reg)
        passes = cast(Any, self.passes)  # which have what rounds ask of CpuPasses
        path = np.empty((0, 2, len(f))) if path is None else path
        rounds = CpuRounds(passes, self.supply, reg, options.tau, tol, precise, path)
        rounds.suppliers.f[:] = f
        made = iterate(rounds, limit)
        return rounds.suppliers.before, rounds.suppliers.f, made

    def fixed_rounds(self) -> np.ndarray:
        """(rounds, 2, K) potentials before and after each of the rounds asked for, from the prices of the entries."""
        options, path = self.options, np.empty((self.options.max_iter, 2, len(self.a)))
        self.rounds(np.where(self.a > 0, self.costs.price, 0.0), options.reg, options.tol, options.max_iter, path)
        return path

    def least_prices(self) -> np.ndarray:
        """(K,) at which a supplier has a pixel yet where nobody whose entry is left out may be better."""
        costs = self.costs
        block = np.repeat(np.arange(len(costs.pixel)), np.diff(costs.first))
        with np.errstate(invalid="ignore"):
            least = np.where(costs.cost < np.inf, costs.cost - costs.floor[block], np.inf).min(1)
        found = np.full(costs.num_suppliers, np.inf)
        np.minimum.at(found, costs.supplier, least)
        return np.where(found < np.inf, found, -np.inf)

    def asking_price(self, f: np.ndarray, window: float) -> np.ndarray:
        """(K,) potentials at which to choose anew; who takes no part asks too much to be among the entries."""
        price = np.full(len(f), f[self.rows].min() - self.span - 2 * window)
        price[self.rows] = f[self.rows]
        return price


def _statistics(costs: NearestCosts, a: np.ndarray, demand: np.ndarray) -> tuple[Statistics, np.ndarray, np.ndarray]:
    """What the rules judge; suppliers with capacity and without an entry; lanes that any with capacity reaches."""
    reach = fused.Reach(np.zeros(len(a), bool), np.zeros(demand.shape, bool))
    read = fused.NearCosts(costs.first, costs.supplier, costs.cost, demand, 1.0, 0.0)
    lowest, highest, dearest, unreached = fused.cost_range(read, costs.floor, a > 0, reach)
    absent = (a > 0) & ~reach.supplier
    supply, total, least = float(a.sum()), float(demand.sum()), float(demand.min())
    found = Statistics(supply, total, float(a.min()), least, lowest, highest, dearest, unreached, absent)
    return found, np.flatnonzero(absent), reach.pixel
