"""Sinkhorn's algorithm in the log domain: its equations in plain form, and the loop over interchangeable rounds.

Potentials start equal. A round enforces every pixel's marginal first and moves the suppliers last, to where their
masses m meet their capacities. No pixel's potential is kept between the two: ``f_i + reg (ln a_i - ln m_i)`` needs the
masses alone. Capacities that are soft with strength tau are ``a exp(-f / tau)`` at f; since f and ``f + constant`` have
the same plan, f is shifted before an update to where those sum to the demand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch

from ..compiled.operators import operator

_PLAN_ENTRIES = 1 << 22
"""Entries of a plan that are computed in float64 at once."""


class Rounds(Protocol):
    """The rounds of one implementation, which holds the potentials of a problem, or of many at once.

    :class:`.portable.TorchRounds` is the plain one; the others (:class:`.cpu.rounds.CpuRounds`,
    :class:`.gpu.launch.TritonRounds`) take one exponential an entry where that takes several matrices.
    """

    def make(self, limit: int) -> int:
        """Make a round, or up to ``limit`` where it is cheaper not to return in between; returns how many."""
        ...

    def settled(self, made: int) -> bool:
        """Whether no more are needed; where a look makes a device wait, asked about some of the rounds only."""
        ...


def iterate(rounds: Rounds, limit: int) -> int:
    """Make rounds until they have settled, ``limit`` at most; returns how many."""
    made = 0
    while True:
        made += rounds.make(limit - made)
        if made >= limit or rounds.settled(made):
            return made


def pixel_shares(exponents: torch.Tensor, log_b: torch.Tensor) -> torch.Tensor:
    """Plain form of Eq. 10: the pixels' potentials over reg at which every column of the plan sums to its demand.

    ``g_j = reg ln b_j - reg ln sum_i exp((f_i - M_ij) / reg)``

    Args:
        exponents: (..., K, N) ``(f_i - M_ij) / reg``, or those against anything of each pixel, as the result then is.
        log_b: (..., N).

    Returns:
        (..., N), -inf for pixels that nobody reaches.
    """
    total = torch.logsumexp(exponents, -2)
    return torch.where(total > -math.inf, log_b - total, -math.inf)


def log_shares(exponents: torch.Tensor) -> torch.Tensor:
    """Logarithms of the shares of a pixel's demand that each supplier serves, once that pixel's marginal holds.

    Args:
        exponents: (..., K, N) ``(f_i - M_ij) / reg``.

    Returns:
        The same shape, -inf for pairs that are forbidden, without a gradient there.
    """
    allowed = exponents > -math.inf
    reached = allowed.any(-2, keepdim=True)
    logs = torch.log_softmax(torch.where(reached, exponents, 0.0), -2)
    return torch.where(allowed, logs, -math.inf)


def supplier_potentials(f: Any, log_a: Any, log_masses: Any, reg: float, tau: float) -> Any:
    """Plain form of Eq. 11: the suppliers' potentials at which every row of the plan sums to its capacity.

    ``f_i = reg ln a_i - reg ln sum_j exp((g_j - M_ij) / reg)``, written with the masses of the plan of the old f and g;
    where capacities are soft, the row then sums to ``a_i exp(-f_i / tau)`` of the new f.

    Args:
        f: potentials, an array or a tensor.
        log_a: logarithms of the capacities at f = 0.
        log_masses: logarithms of the masses.
        reg: entropy weight.
        tau: softness of the capacities, inf for hard ones.
    """
    new = f + reg * (log_a - log_masses)
    return new * (tau / (tau + reg)) if math.isfinite(tau) else new


def _plan_shape(f: torch.Tensor, g: torch.Tensor, M: torch.Tensor, reg: float) -> torch.Tensor:
    return torch.empty_like(M)


def _remember_plan(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    *_, ctx.reg = inputs
    ctx.save_for_backward(output)


def _plan_backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
    (plan,) = ctx.saved_tensors
    entries = gradient * plan / ctx.reg
    return entries.sum(-1, dtype=torch.float64), entries.sum(-2, dtype=torch.float64), -entries, None


@operator(
    "entropic_plan(Tensor f, Tensor g, Tensor M, float reg) -> Tensor",
    _plan_shape,
    backward=_plan_backward,
    remember=_remember_plan,
)
def entropic_plan(f: torch.Tensor, g: torch.Tensor, M: torch.Tensor, reg: float) -> torch.Tensor:
    """Plain form of Eq. 9: the plan P = exp((f + g - M) / reg), of least ``<P, M> + reg sum P (ln P - 1)``.

    Computed in float64 a few rows at a time and kept in the dtype of M.

    Args:
        f, g: (B, K) and (B, N) float64 potentials.
        M: (B, K, N) costs.
        reg: entropy weight.
    """
    plan = torch.empty_like(M)
    for image in range(M.shape[0]):
        for rows, entries in _plan_rows(f[image], g[image], M[image], reg):
            plan[image, rows] = entries
    return plan


def _plan_rows(f: torch.Tensor, g: torch.Tensor, M: torch.Tensor, reg: float) -> Iterator[tuple[slice, torch.Tensor]]:
    """Some rows at a time of the plan of one problem, in float64."""
    step = max(1, _PLAN_ENTRIES // M.shape[1])
    for i in range(0, M.shape[0], step):
        rows = slice(i, i + step)
        yield rows, torch.exp((f[rows, None] - M[rows] + g) / reg)


def missed_mass(
    f: torch.Tensor, g: torch.Tensor, M: torch.Tensor, reg: float, capacity: torch.Tensor, demand: torch.Tensor
) -> float:
    """L1 error of both marginals of the plan that the potentials give, with all that rounding does to it.

    Passes measure their error from differences of costs, which are exact where sums of potentials are not.
    """
    received, missed = torch.zeros_like(g), torch.zeros_like(g[:1])
    for rows, entries in _plan_rows(f, g, M, reg):
        received += entries.sum(0)
        missed += (entries.sum(1) - capacity[rows]).abs().sum()
    return float(missed + (received - demand).abs().sum())
