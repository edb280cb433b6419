"""Sinkhorn and Newton's passes in plain torch, for devices without other kernels and as an oracle for those.

Problems of different shapes are padded to one: suppliers without capacity, pixels without demand, costs of +inf.
Every round writes matrices of the size of M some ten times; pixels go in chunks, so that these stay small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import to_device
from ..checks import require_all
from .flat import LARGEST_EXPONENT, LARGEST_RATIO, MASS_MISMATCH, Flat, FlatSolution
from .problem import Options

_CHUNK_ENTRIES = 1 << 24
"""Entries of M that are taken at once."""
_SYNC_EVERY = 16
"""Rounds between two looks at whether all problems have reached the tolerance."""


@dataclass(frozen=True)
class _Padded:
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
    def of(cls, flat: Flat) -> _Padded:
        device, P = flat.M.device, len(flat.shapes)
        lengths = to_device(np.array(flat.shapes), device)
        K, N = (max(lengths) for lengths in zip(*flat.shapes, strict=True))
        suppliers = torch.arange(K, device=device) < lengths[:, :1]
        pixels = torch.arange(N, device=device) < lengths[:, 1:]
        if len(set(flat.shapes)) == 1:
            return cls(flat.a.view(P, K), flat.b.view(P, N), flat.M.view(P, K, N), suppliers, pixels)
        a, b, M = flat.a.new_zeros(P, K), flat.b.new_zeros(P, N), flat.M.new_full((P, K, N), math.inf)
        for p, (own_a, own_b, own_M) in enumerate(flat.split()):
            a[p, : len(own_a)], b[p, : len(own_b)], M[p, : len(own_a), : len(own_b)] = own_a, own_b, own_M
        return cls(a, b, M, suppliers, pixels)

    def chunks(self) -> Iterator[slice]:
        """Ranges of pixels."""
        P, K, N = self.M.shape
        step = max(1, _CHUNK_ENTRIES // (P * K))
        return (slice(first, first + step) for first in range(0, N, step))


def sinkhorn(function: str, flat: Flat, options: Options) -> FlatSolution:
    """Rounds for all problems; without a tolerance the host never waits for the device."""
    padded = _Padded.of(flat)
    _check(function, padded, options)
    floor = options.marginal_floor
    capacity = padded.a * (padded.b.sum(1) / padded.a.sum(1))[:, None] + floor * padded.suppliers.double()
    demand = padded.b + floor * padded.pixels.double()
    f, before, made = _rounds(padded, capacity, demand, options)
    g, labels, masses, cost, pixel_error = _read_out(padded, demand, before, f, options.reg)
    wanted = _in_force(capacity, f, options.tau)
    error = ((wanted - masses).abs().sum(1) + pixel_error) / demand.sum(1)
    return FlatSolution(_parts(f, flat, 0), _parts(g, flat, 1), _parts(labels, flat, 1), cost, error, made)


def _parts(padded: torch.Tensor, flat: Flat, axis: int) -> torch.Tensor:
    """Flat again, without the padding."""
    return torch.cat([row[: shape[axis]] for row, shape in zip(padded, flat.shapes, strict=True)])


def _check(function: str, padded: _Padded, options: Options) -> None:
    a, b, M = padded.a, padded.b, padded.M
    for name, marginal in (("a", a), ("b", b)):
        total = marginal.sum(1)  # NaN and infinity come through
        proper = (marginal >= 0).all(1) & (total > 0) & (total < math.inf)
        require_all(function, name, proper, "masses that are not", "finite masses >= 0 and some mass")
    if not options.normalize:
        supply, demand = a.sum(1), b.sum(1)
        close = (supply - demand).abs() <= MASS_MISMATCH * torch.maximum(supply, demand)
        require_all(function, "a", close, "another total", "the same total as b (normalize=True rescales a)")
    cheapest = M.amin(1)
    require_all(function, "M", cheapest > -math.inf, "NaN or -inf", "costs that are numbers or +inf")
    require_all(function, "M", (cheapest < math.inf) | (b == 0), "pixels out of reach",
                "a finite cost in the column of every pixel with b > 0")  # fmt: skip
    require_all(function, "M", (M.amin(2) < math.inf) | (a == 0), "suppliers cut off",
                "a finite cost in the row of every supplier with a > 0")  # fmt: skip
    low, high = cheapest.amin(1).double(), M.masked_fill(M.isposinf(), -math.inf).amax((1, 2)).double()
    magnitude = torch.maximum(low.abs(), high.abs())
    dearest = torch.where(b > 0, cheapest, 0.0).abs().amax(1).double()
    sane = (high - low < math.inf) & (magnitude <= LARGEST_EXPONENT * options.reg)
    sane &= (magnitude <= LARGEST_RATIO * dearest) | (dearest == 0)
    require_all(function, "M", sane, "costs that floating point cannot hold beside each other",
                "costs of a sane scale, and +inf for a forbidden pair")  # fmt: skip


def _rounds(
    padded: _Padded, capacity: torch.Tensor, demand: torch.Tensor, options: Options
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Potentials after the rounds, before the last update of theirs, and the rounds made."""
    reg, tau = options.reg, options.tau
    count = padded.pixels.sum(1) if options.marginal_floor > 0 else (padded.b > 0).sum(1)
    unit = (demand.sum(1) / count)[:, None]  # demands near 1: float32 logarithms of small numbers are coarse
    real = padded.M.dtype if 1e-30 < reg < 1e30 else torch.float64
    own, log_b = capacity / unit, (demand / unit).log().to(real)
    goal = options.tol * demand.sum(1) / unit[:, 0]
    f = torch.where(capacity > 0, 0.0, -math.inf).double()
    before = f
    made = torch.zeros(len(f), dtype=torch.int64, device=f.device)
    running = torch.ones_like(made, dtype=torch.bool)[:, None]
    for done in range(1, options.max_iter + 1):
        log_masses = _log_masses(padded, f, reg, real, log_b)
        old = f + _soft_shift(own, f, tau) if math.isfinite(tau) else f
        new = old + reg * (own.log() - log_masses)  # Eq. 11
        new = new * (tau / (tau + reg)) if math.isfinite(tau) else new
        new = torch.where((log_masses > -math.inf) & (own > 0), new, old)
        before, f = torch.where(running, old, before), torch.where(running, new, f)
        made += running[:, 0]
        if options.tol > 0:
            error = (_in_force(own, old, tau) - log_masses.exp()).abs().sum(1)
            running = running & (error > goal)[:, None]
            if done % _SYNC_EVERY == 0 and not running.any():
                break
    return f, before, made


def _in_force(capacity: torch.Tensor, f: torch.Tensor, tau: float) -> torch.Tensor:
    """Capacities at f: ``a exp(-f / tau)`` where they are soft."""
    if math.isinf(tau):
        return capacity
    return torch.where(capacity > 0, capacity * torch.exp(-f / tau), 0.0)


def _soft_shift(capacity: torch.Tensor, f: torch.Tensor, tau: float) -> torch.Tensor:
    """What to add to f so that the capacities in force sum to those of f = 0."""
    exponents = torch.where(capacity > 0, capacity.log() - f / tau, -math.inf)
    return tau * (torch.logsumexp(exponents, 1) - capacity.sum(1).log())[:, None]


def _log_masses(padded: _Padded, f: torch.Tensor, reg: float, real: torch.dtype, log_b: torch.Tensor) -> torch.Tensor:
    """Logarithms of the suppliers' masses when every pixel's marginal holds (Eq. 10)."""
    found = []
    for pixels in padded.chunks():
        exponents, _ = _exponents(f, padded.M[:, :, pixels], reg, real)
        total = torch.logsumexp(exponents, 1)
        share = torch.where(total > -math.inf, log_b[:, pixels] - total, -math.inf)
        found.append(_log_totals(exponents + share[:, None]))
    return found[0] if len(found) == 1 else torch.logsumexp(torch.stack(found), 0)


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


def _read_out(
    padded: _Padded, demand: torch.Tensor, before: torch.Tensor, f: torch.Tensor, reg: float
) -> tuple[torch.Tensor, ...]:
    """Pixel potentials from ``before``; labels, masses, cost and the pixels' error of the plan of ``f`` and those."""
    potentials, labels, masses, costs, errors = [], [], [], [], []
    for pixels in padded.chunks():
        M, b = padded.M[:, :, pixels].double(), demand[:, pixels]
        exponents, best = _exponents(before, M, reg, torch.float64)
        total = torch.logsumexp(exponents, 1)
        g = torch.where(total > -math.inf, reg * (b.log() - total) - best, -math.inf)
        scores = f[..., None] - M
        plan = torch.exp((scores + g[:, None]) / reg)
        potentials.append(g)
        labels.append(scores.argmax(1))
        masses.append(plan.sum(2))
        costs.append(torch.where(plan > 0, plan * M, 0.0).sum((1, 2)))
        errors.append((plan.sum(1) - b).abs().sum(1))
    sums = [torch.stack(parts).sum(0) for parts in (masses, costs, errors)]
    return torch.cat(potentials, 1), torch.cat(labels, 1), *sums


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
        total = torch.logsumexp(exponents, 0)
        shares = torch.where(total > -math.inf, self._demand.log() - total, -math.inf)
        return _log_totals(exponents + shares).cpu().numpy()[wanted]

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> dict[str, Any]:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        one = torch.ones(1, 1, dtype=torch.bool, device=self.M.device)
        whole = _Padded(one, one, self.M[None], one, one)
        before, after = self._potentials(f_before)[None], self._potentials(f)[None]
        g, labels, masses, cost, pixel_error = _read_out(whole, self._demand[None], before, after, reg)
        sums = torch.cat([masses[0], cost, pixel_error]).cpu().numpy()
        K = len(f)
        return {
            "g": g[0],
            "labels": labels[0],
            "masses": sums[:K],
            "cost": float(sums[K]),
            "pixel_error": float(sums[K + 1]),
        }

    def _potentials(self, f: np.ndarray) -> torch.Tensor:
        """-inf for suppliers that take no part."""
        live = np.full(len(f), -math.inf)
        live[self.rows] = f[self.rows]
        return to_device(live, self.M.device)
