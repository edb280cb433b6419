"""Sinkhorn and Newton's passes in plain torch, for devices without other kernels and as an oracle for those.

Problems of different shapes are padded to one: suppliers without capacity, pixels without demand, costs of +inf.
Every round writes matrices of the size of M some ten times; pixels go in chunks, so that these stay small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..arrays import to_device
from .checks import Statistics, judge_all
from .problem import Options, Problems, ReadOut, Solution, within
from .sinkhorn import iterate, pixel_shares, supplier_potentials

_CHUNK_ENTRIES = 1 << 24
"""Entries of M that are taken at once."""
_SYNC_EVERY = 16
"""Rounds between two looks at whether all problems have reached the tolerance."""


@dataclass(frozen=True)
class Padded:
    """P problems of one shape.

    Attributes:
        a, b: (P, K) and (P, N) float64 marginals.
        M: (P, K, N) costs.
        suppliers, pixels: (P, K) and (P, N), False in the padding.
    """

    a: torch.Tensor
    b: torch.Tensor
    M: torch.Tensor
    suppliers: torch.Tensor
    pixels: torch.Tensor

    @classmethod
    def of(cls, problems: Problems) -> Padded:
        """Of problems of any shapes."""
        device, P = problems.M.device, len(problems.shapes)
        lengths = to_device(np.array(problems.shapes), device)
        K, N = (max(lengths) for lengths in zip(*problems.shapes, strict=True))
        suppliers = torch.arange(K, device=device) < lengths[:, :1]
        pixels = torch.arange(N, device=device) < lengths[:, 1:]
        if len(set(problems.shapes)) == 1:
            return cls(problems.a.view(P, K), problems.b.view(P, N), problems.M.view(P, K, N), suppliers, pixels)
        a, b, M = problems.a.new_zeros(P, K), problems.b.new_zeros(P, N), problems.M.new_full((P, K, N), math.inf)
        for p, (own_a, own_b, own_M) in enumerate(problems.split()):
            a[p, : len(own_a)], b[p, : len(own_b)], M[p, : len(own_a), : len(own_b)] = own_a, own_b, own_M
        return cls(a, b, M, suppliers, pixels)

    def floored(self, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Capacities, scaled to the total of the demand, and demand, both with a floor added."""
        capacity = self.a * (self.b.sum(1) / self.a.sum(1))[:, None] + floor * self.suppliers.double()
        return capacity, self.b + floor * self.pixels.double()

    def statistics(self) -> Statistics:
        """What the rules want to know."""
        a, b, M = self.a, self.b, self.M
        cheapest = M.amin(1)  # NaN and -inf come through a minimum
        return Statistics(
            supply=a.sum(1),
            demand=b.sum(1),
            least_capacity=a.amin(1),
            least_demand=b.amin(1),
            lowest=cheapest.amin(1).double(),
            highest=M.masked_fill(M.isposinf(), -math.inf).amax((1, 2)).double(),
            dearest=torch.where(b > 0, cheapest, 0.0).abs().amax(1).double(),
            unreached=((cheapest == math.inf) & (b > 0)).sum(1),
            cut_off=(M.amin(2) == math.inf) & (a > 0),
        )

    def chunks(self) -> Iterator[slice]:
        """Ranges of pixels."""
        P, K, N = self.M.shape
        step = max(1, _CHUNK_ENTRIES // (P * K))
        return (slice(first, first + step) for first in range(0, N, step))


def sinkhorn(function: str, problems: Problems, options: Options) -> Solution:
    """Rounds for all problems; without a tolerance the host never waits for the device."""
    padded = Padded.of(problems)
    judge_all(function, padded.statistics(), options, problems.batches)
    capacity, demand = padded.floored(options.marginal_floor)
    rounds = TorchRounds(padded, capacity, demand, options)
    iterate(rounds, options.max_iter)
    found = _read_out(padded, demand, rounds.before, rounds.f, options.reg)
    wanted = _in_force(capacity, rounds.f, options.tau)
    error = ((wanted - found.masses).abs().sum(1) + found.pixel_error) / demand.sum(1)

    def flat(values: torch.Tensor, axis: int) -> torch.Tensor:
        """Without the padding."""
        return torch.cat([row[: shape[axis]] for row, shape in zip(values, problems.shapes, strict=True)])

    return Solution(
        flat(rounds.f, 0), flat(found.g, 1), flat(found.labels, 1), found.cost, error, rounds.made,
        within(error, options), *nothing_kept(demand.device),
    )  # fmt: skip


class TorchRounds:
    """Sinkhorn's rounds in plain form, for padded problems; see :class:`.sinkhorn.Rounds`.

    Attributes:
        f: (P, K) potentials.
        before: those before the last update.
        made: (P,) rounds made of each problem.
    """

    def __init__(self, padded: Padded, capacity: torch.Tensor, demand: torch.Tensor, options: Options) -> None:
        count = padded.pixels.sum(1) if options.marginal_floor > 0 else (padded.b > 0).sum(1)
        unit = (demand.sum(1) / count)[:, None]  # demands near 1: float32 logarithms of small numbers are coarse
        self._real = padded.M.dtype if 1e-30 < options.reg < 1e30 else torch.float64
        self._padded, self._options = padded, options
        self._capacity, self._log_b = capacity / unit, (demand / unit).log().to(self._real)
        self._goal = options.tol * demand.sum(1) / unit[:, 0]
        self.f = torch.where(capacity > 0, 0.0, -math.inf).double()
        self.before = self.f
        self.made = torch.zeros(len(capacity), dtype=torch.int64, device=capacity.device)
        self._running = torch.ones_like(self.made, dtype=torch.bool)[:, None]

    def make(self, limit: int) -> int:
        """One round of those that have not settled."""
        capacity, reg, tau, tol = self._capacity, self._options.reg, self._options.tau, self._options.tol
        log_masses = self._log_masses()
        old = self.f + _soft_shift(capacity, self.f, tau) if math.isfinite(tau) else self.f
        new = supplier_potentials(old, capacity.log(), log_masses, reg, tau)
        new = torch.where((log_masses > -math.inf) & (capacity > 0), new, old)
        self.before, self.f = torch.where(self._running, old, self.before), torch.where(self._running, new, self.f)
        self.made += self._running[:, 0]
        if tol > 0:
            error = (_in_force(capacity, old, tau) - log_masses.exp()).abs().sum(1)
            self._running = self._running & (error > self._goal)[:, None]
        return 1

    def settled(self, made: int) -> bool:
        """Whether all are within the tolerance."""
        return self._options.tol > 0 and made % _SYNC_EVERY == 0 and not self._running.any()

    def _log_masses(self) -> torch.Tensor:
        """Logarithms of the suppliers' masses when every pixel's marginal holds."""
        found = []
        for pixels in self._padded.chunks():
            exponents, _ = _exponents(self.f, self._padded.M[:, :, pixels], self._options.reg, self._real)
            shares = pixel_shares(exponents, self._log_b[:, pixels])
            found.append(_log_totals(exponents + shares[:, None]))
        return found[0] if len(found) == 1 else torch.logsumexp(torch.stack(found), 0)


def _in_force(capacity: torch.Tensor, f: torch.Tensor, tau: float) -> torch.Tensor:
    """Capacities at f: ``a exp(-f / tau)`` where they are soft."""
    if math.isinf(tau):
        return capacity
    return torch.where(capacity > 0, capacity * torch.exp(-f / tau), 0.0)


def _soft_shift(capacity: torch.Tensor, f: torch.Tensor, tau: float) -> torch.Tensor:
    """What to add to f so that the capacities in force sum to those of f = 0; exact however large tau is."""
    live = capacity > 0
    low = torch.where(live, f, math.inf).amin(1, keepdim=True)
    held = torch.where(live, capacity * torch.exp((low - f) / tau), 0.0)
    return tau * (held.sum(1, keepdim=True) / torch.where(live, capacity, 0.0).sum(1, keepdim=True)).log() - low


def _exponents(f: torch.Tensor, M: torch.Tensor, reg: float, real: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(f - M) / reg against the largest of each pixel, and f - M of that largest (0 where nobody reaches).

    Float64 potentials meet float32 costs in a difference whose rounding error is kept (Knuth's two-sum), and only
    what remains of it against the pixel's best is scaled: exponents are accurate however small ``reg`` is.
    """
    M = M.to(real)
    high = f.to(real)[..., None]
    gap = high - M
    best = gap.amax(-2, keepdim=True)
    best = torch.where(best > -math.inf, best, 0.0)
    behind = gap - best
    if real == torch.float32:
        back = gap - high
        lost = (high - (gap - back)) - (M + back) + (f[..., None] - high.double()).float()
        behind = torch.where(gap > -math.inf, behind + lost, -math.inf)
    return behind / reg, best.squeeze(-2)


def _log_totals(logs: torch.Tensor) -> torch.Tensor:
    """Row-wise log-sum-exp with a float64 total: in float32, rounding it would make the potentials drift."""
    top = logs.amax(dim=-1, keepdim=True)
    top = torch.where(top > -math.inf, top, 0.0)
    return top[..., 0].double() + (logs - top).exp().sum(dim=-1, dtype=torch.float64).log()


def _read_out(padded: Padded, demand: torch.Tensor, before: torch.Tensor, f: torch.Tensor, reg: float) -> ReadOut:
    """Pixel potentials from ``before``, and what the plan of ``f`` and those comes to: tensors, of P problems each."""
    potentials, labels, masses, costs, errors = [], [], [], [], []
    for pixels in padded.chunks():
        M, b = padded.M[:, :, pixels].double(), demand[:, pixels]
        exponents, best = _exponents(before, M, reg, torch.float64)
        g = reg * pixel_shares(exponents, b.log()) - best
        scores = f[..., None] - M
        plan = torch.exp((scores + g[:, None]) / reg)
        potentials.append(g)
        labels.append(scores.argmax(1))
        masses.append(plan.sum(2))
        costs.append(torch.where(plan > 0, plan * M, 0.0).sum((1, 2)))
        errors.append((plan.sum(1) - b).abs().sum(1))
    mass, cost, error = (torch.stack(parts).sum(0) for parts in (masses, costs, errors))
    return ReadOut(torch.cat(potentials, 1), torch.cat(labels, 1), cost, mass, error)


class TorchPasses:
    """Passes over (K, N) costs with a fixed demand; methods and arguments as in :class:`.cpu.passes.CpuPasses`."""

    def __init__(self, M: torch.Tensor, b: np.ndarray, rows: np.ndarray) -> None:
        self.M, self.b, self.rows = M, b, rows
        self.single = M.dtype == torch.float32
        self._demand = to_device(b, M.device)

    def subset(self, pixels: np.ndarray) -> TorchPasses:
        """Passes over some of the pixels only."""
        return TorchPasses(self.M[:, to_device(pixels, self.M.device)], self.b[pixels], self.rows)

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mass of each supplier when every pixel's marginal holds, and the links sum_j b_j p_ij p_kj."""
        K = len(f)
        real = torch.float64 if precise else self.M.dtype
        exponents, _ = _exponents(self._potentials(f), self.M, reg, real)
        weights = exponents.exp()
        total = weights.sum(0)
        weights *= torch.where(total > 0, self._demand.sqrt().to(real) / total, 0.0)
        masses = (weights * self._demand.sqrt().to(real)).sum(1, dtype=torch.float64)
        if not links:
            return masses.cpu().numpy(), np.zeros((0, 0))
        both = torch.cat([masses, (weights @ weights.T).double().reshape(-1)]).cpu().numpy()
        pairs = both[K:].reshape(K, K)
        np.fill_diagonal(pairs, 0.0)
        return both[:K], pairs

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        exponents, _ = _exponents(self._potentials(f), self.M, reg, torch.float64)
        return _log_totals(exponents + pixel_shares(exponents, self._demand.log())).cpu().numpy()[wanted]

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> ReadOut:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        one = torch.ones(1, 1, dtype=torch.bool, device=self.M.device)
        whole = Padded(one, one, self.M[None], one, one)
        found = _read_out(whole, self._demand[None], self._potentials(f_before)[None], self._potentials(f)[None], reg)
        return fetched(found.g[0], found.labels[0], found.masses[0], found.cost, found.pixel_error)

    def _potentials(self, f: np.ndarray) -> torch.Tensor:
        """-inf for suppliers that take no part."""
        live = np.full(len(f), -math.inf)
        live[self.rows] = f[self.rows]
        return to_device(live, self.M.device)


def fetched(
    g: torch.Tensor, labels: torch.Tensor, masses: torch.Tensor, cost: torch.Tensor, pixel_error: torch.Tensor
) -> ReadOut:
    """Of one problem: what is as long as its pixels stays on the device, the rest comes to the host in one copy."""
    *sums, total, error = torch.cat([masses, cost, pixel_error]).tolist()
    return ReadOut(g, labels, total, np.array(sums), error)


def nothing_kept(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """In a solution by rounds of a device: no entries of a plan, which is dense, and no path."""
    none = torch.empty(0, dtype=torch.float64, device=device)
    return none.long(), none, none.clone()
