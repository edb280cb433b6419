"""What the gradient of transport asks of the costs, in plain torch: derivatives of the pixels' shares.

At potentials f a pixel divides its demand among the suppliers by the shares ``s_ij = exp((f_i - M_ij) / reg)`` over
their sum. Both gradients, through the optimum and through rounds, are made of two sums over pixels: :meth:`Shares.pull`
and :meth:`Shares.links`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

_CHUNK_ENTRIES = 1 << 20
"""Entries that are taken at once: a few matrices of them in float64 stay in a cache, and no copy of M is made."""


class Weights(NamedTuple):
    """(K,) numbers w for the suppliers, over their masses where those are given.

    Attributes:
        values: w, or w times the mass.
        log_mass: logarithms of the masses, which may be so small that shares vanish and w does not fit.
    """

    values: Tensor
    log_mass: Tensor | None = None


Round = tuple[Tensor, Weights]
"""(K,) potentials, and weights to pull at."""


class Pulled(NamedTuple):
    """What :meth:`Shares.pull` finds: the gradient by the potentials, and by the demand where it weighs shares.

    Attributes:
        f: (K,).
        mean: (N,) the weights' mean over the suppliers, by the pixel's shares; it may be in the dtype of M.
    """

    f: Tensor
    mean: Tensor


class Shares(Protocol):
    """The shares of one problem. All numbers are float64 tensors on its device; suppliers without capacity have none.

    :class:`TorchShares` is the plain form; :class:`.cpu.pullback.CpuShares` goes through M once.
    """

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """The gradient of ``sum_ij w_i b_j s_ij + sum_j d_j reg ln sum_i exp((f_i - M_ij) / reg)``.

        It is ``s_ij q_ij`` by f_i, summed over pixels, and ``-s_ij q_ij`` by M_ij, where
        ``q_ij = b_j (w_i - mean_j) / reg + d_j``.

        Args:
            f: (K,) potentials.
            weights: w, (K,).
            by_log_sum: d, (N,); None for zeros.
            M_gradient: in the shape and dtype of M; that by the costs is added to it. None where nobody asks for it.
        """
        ...

    def pull_rounds(self, rounds: Sequence[Round], M_gradient: Tensor | None) -> Tensor:
        """The gradient by the costs of the first sum alone, of many potentials f and weights w together.

        Returns:
            (N,) the weights' means, summed over the rounds.
        """
        return sum((self.pull(f, weights, None, M_gradient).mean for f, weights in rounds), torch.zeros(()))

    def links(self, f: Tensor) -> Any:
        """(K, K) ``sum_j b_j s_ij s_kj``, a NumPy array or a scipy.sparse.csr_array; those of weak ones may lack."""
        ...

    def cost_parts(self, f: Tensor, g: Tensor, factor: float, M_gradient: Tensor | None) -> tuple[Tensor, Tensor]:
        """The gradient of ``factor <P, M>``, P = exp((f + g - M) / reg), by f, (K,), and by g, (N,); and by M."""
        ...


class TorchShares(Shares):
    """See :class:`Shares`.

    Args:
        M: (K, N) costs.
        b: (N,) demand.
        reg: entropy weight.
    """

    def __init__(self, M: Tensor, b: Tensor, reg: float) -> None:
        self.M, self.b, self.reg = M, b, reg

    def pull(self, f: Tensor, weights: Weights, by_log_sum: Tensor | None, M_gradient: Tensor | None) -> Pulled:
        """See :class:`Shares`."""
        total, mean, log_mass = torch.zeros_like(f), torch.zeros_like(self.b), weights.log_mass
        for pixels in self._chunks():
            log_share = self._log_shares(f, pixels)
            share = log_share.exp()
            weighted = weights.values[:, None] * (share if log_mass is None else (log_share - log_mass[:, None]).exp())
            # Beside a mass that is nearly none, a share of a pixel without demand is infinite, and times 0 no number.
            weighted = torch.where(self.b[pixels] > 0, weighted, 0.0)
            mean[pixels] = weighted.sum(0)
            pulled = (self.b[pixels] / self.reg) * (weighted - share * mean[pixels])
            if by_log_sum is not None:
                pulled += share * by_log_sum[pixels]
            if M_gradient is not None:
                M_gradient[:, pixels] -= pulled
            total += pulled.sum(1)
        return Pulled(total, mean)

    def links(self, f: Tensor) -> Any:
        """See :class:`Shares`."""
        total = f.new_zeros(len(f), len(f))
        for pixels in self._chunks():
            share = self._log_shares(f, pixels).exp()
            total.addmm_(share * self.b[pixels], share.T)
        return total.fill_diagonal_(0.0).cpu().numpy()

    def cost_parts(self, f: Tensor, g: Tensor, factor: float, M_gradient: Tensor | None) -> tuple[Tensor, Tensor]:
        """See :class:`Shares`."""
        by_f, by_g = torch.zeros_like(f), torch.zeros_like(g)
        for pixels in self._chunks():
            M = self.M[:, pixels].double()
            plan = factor * ((f[:, None] + g[pixels] - M) / self.reg).exp()
            paid = torch.where(M.isposinf(), 0.0, plan * M) / self.reg
            by_g[pixels] = paid.sum(0)
            by_f += paid.sum(1)
            if M_gradient is not None:
                M_gradient[:, pixels] += plan - paid
        return by_f, by_g

    def _chunks(self) -> Iterator[slice]:
        step = max(1, _CHUNK_ENTRIES // len(self.M))
        return (slice(first, first + step) for first in range(0, self.M.shape[1], step))

    def _log_shares(self, f: Tensor, pixels: slice) -> Tensor:
        """-inf throughout for pixels that nobody reaches."""
        exponents = (f[:, None] - self.M[:, pixels].double()) / self.reg
        total = torch.logsumexp(exponents, 0)
        return exponents - torch.where(total.isneginf(), 0.0, total)
