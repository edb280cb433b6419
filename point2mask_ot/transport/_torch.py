"""The passes of :mod:`._passes` in plain torch, for any device.

Shares are log-softmaxes over the suppliers: nothing is left out of a pass, and every pass writes matrices of the
size of M.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

_CHUNK_ENTRIES = 1 << 24
"""Entries of M that the float64 read-out takes at once."""


class TorchPasses:
    """Passes over (K, N) costs with a fixed demand; methods and arguments as in :class:`._passes.CpuPasses`."""

    def __init__(self, M: torch.Tensor, b: np.ndarray, rows: np.ndarray) -> None:
        self.M, self.b, self.rows = M, b, rows
        self.single = M.dtype == torch.float32
        self._live = torch.as_tensor(rows, device=M.device)
        self._costs = M if len(rows) == len(M) else M[self._live]
        self._demand = torch.as_tensor(b, device=M.device)

    def subset(self, pixels: np.ndarray) -> TorchPasses:
        """Passes over some of the pixels only."""
        index = torch.as_tensor(pixels, device=self.M.device)
        return TorchPasses(self.M[:, index], self.b[pixels], self.rows)

    def masses(self, f: np.ndarray, reg: float, precise: bool, links: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Mass of each supplier when every pixel's marginal holds, and the links sum_j b_j p_ij p_kj."""
        dtype = torch.float64 if precise else self.M.dtype
        weights = torch.softmax(self._scores(self._potentials(f), reg, dtype), dim=0)
        demand = self._demand.to(dtype)
        masses = np.zeros(len(f))
        masses[self.rows] = (weights * demand).sum(dim=1, dtype=torch.float64).cpu().numpy()
        pairs = np.zeros((len(f), len(f)) if links else (0, 0))
        if links:
            weights = weights * demand.sqrt()
            pairs[np.ix_(self.rows, self.rows)] = (weights @ weights.T).double().cpu().numpy()
            np.fill_diagonal(pairs, 0.0)
        return masses, pairs

    def log_masses(self, f: np.ndarray, reg: float, wanted: np.ndarray) -> np.ndarray:
        """Natural logarithms of the same masses for some suppliers, however small; -inf where there is none."""
        scores = self._scores(self._potentials(f), reg, torch.float64)
        shares = torch.log_softmax(scores, dim=0) + self._demand.log()
        found = np.full(len(f), -np.inf)
        found[self.rows] = _log_totals(shares).cpu().numpy()
        return found[wanted]

    def rounds(
        self, f: np.ndarray, a: np.ndarray, reg: float, tau: float, tol: float, limit: int, precise: bool
    ) -> tuple[int, np.ndarray]:
        """Sinkhorn rounds; changes ``f``. Without a tolerance the host never waits for the device."""
        dtype = torch.float64 if precise else self.M.dtype
        log_b = self._demand.log().to(dtype)
        capacity = torch.as_tensor(a[self.rows], device=self.M.device)
        old = new = self._potentials(f)
        done, error = 0, math.inf
        while done < limit and error > tol:
            old = new
            if math.isfinite(tau):
                old = old + tau * (torch.logsumexp(capacity.log() - old / tau, 0) - capacity.sum().log())
            shares = torch.log_softmax(self._scores(old, reg, dtype), dim=0) + log_b  # Eq. 10
            log_masses = _log_totals(shares)
            hard = old + reg * (capacity.log() - log_masses)  # Eq. 11
            hard = torch.where(log_masses > -math.inf, hard, old)
            new = hard * (tau / (tau + reg)) if math.isfinite(tau) else hard
            done += 1
            if tol >= 0:
                error = float((capacity * torch.exp(-old / tau) - log_masses.exp()).abs().sum())
        before = f.copy()
        before[self.rows] = old.cpu().numpy()
        f[self.rows] = new.cpu().numpy()
        return done, before

    def read_out(self, f_before: np.ndarray, f: np.ndarray, reg: float) -> dict[str, Any]:
        """Pixel potentials from ``f_before``, then labels, marginals and cost of the plan of ``f`` and those."""
        device = self.M.device
        old, new = self._potentials(f_before)[:, None], self._potentials(f)[:, None]
        size = max(1, _CHUNK_ENTRIES // max(1, len(self.rows)))
        potentials, labels = [], []
        masses = torch.zeros(len(f), dtype=torch.float64, device=device)
        cost = pixel_error = 0.0
        for costs, demand in zip(self._costs.split(size, 1), self._demand.split(size), strict=True):
            costs = costs.double()
            g = reg * (demand.log() - torch.logsumexp((old - costs) / reg, dim=0))
            g = torch.where(demand > 0, g, -math.inf)
            scores = new - costs
            best = scores.argmax(dim=0)
            labels.append(torch.where(scores.amax(dim=0) > -math.inf, self._live[best], 0))
            plan = torch.exp((scores + g) / reg)
            masses[self._live] += plan.sum(dim=1)
            cost += float(torch.where(plan > 0, plan * costs, 0.0).sum())
            pixel_error += float((plan.sum(dim=0) - demand).abs().sum())
            potentials.append(g)
        return {
            "g": torch.cat(potentials),
            "labels": torch.cat(labels),
            "masses": masses.cpu().numpy(),
            "cost": cost,
            "pixel_error": pixel_error,
        }

    def _potentials(self, f: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(f[self.rows], device=self.M.device)

    def _scores(self, f: torch.Tensor, reg: float, dtype: torch.dtype) -> torch.Tensor:
        """(f - M) / reg; columns that nobody reaches are set to zero, so that no share of theirs is NaN."""
        scores = (f[:, None].to(dtype) - self._costs.to(dtype)) / reg
        return torch.where(scores.amax(dim=0) > -math.inf, scores, 0.0)


def _log_totals(logs: torch.Tensor) -> torch.Tensor:
    """Row-wise log-sum-exp with a float64 total: in float32, rounding it would make the potentials drift."""
    top = logs.amax(dim=1, keepdim=True)
    top = torch.where(top > -math.inf, top, 0.0)
    return top[:, 0].double() + (logs - top).exp().sum(dim=1, dtype=torch.float64).log()
