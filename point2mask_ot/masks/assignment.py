"""From capacities and costs to one label for each pixel of demand (Eq. 9-11), as the configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..nearest import NearestCosts
from ..transport import sinkhorn, solve
from ..types import TransportResult
from .config import PseudoMaskConfig

LEFT_OUT = 1e-4
"""What the worst case may be of the mass that suppliers left out would have: ten thousand times what it is."""


def transport(
    config: PseudoMaskConfig,
    counts: Sequence[torch.Tensor],
    demand: Sequence[torch.Tensor],
    costs: Sequence[torch.Tensor] | Sequence[NearestCosts],
) -> list[TransportResult | None]:
    """From the capacities to one label for each pixel of demand (Eq. 9-11); None where there is nothing to do.

    Args:
        config: the method and its numbers.
        counts: (S,) capacities of each image.
        demand: (H, W) of each.
        costs: (S, H * W) of each, or for each those of the suppliers near its pixels.
    """
    results: list[TransportResult | None] = [None] * len(counts)
    if config.method == "minimum":
        return results
    masses = torch.stack([count.sum() for count in counts]).tolist()
    busy = [b for b, mass in enumerate(masses) if mass > 0]
    if not busy:
        return results
    supply, M = [counts[b] for b in busy], [costs[b] for b in busy]
    wanted = [demand[b].flatten().to(counts[b].dtype) for b in busy]
    for b, result in zip(busy, _solve(config, supply, wanted, M), strict=True):
        results[b] = result
    return results


def _solve(
    config: PseudoMaskConfig, a: list[torch.Tensor], b: list[torch.Tensor], M: list[Any]
) -> list[TransportResult]:
    normalize = callable(config.capacity)  # an estimate of the user's own need not sum to the demand
    if config.method == "sinkhorn":
        return sinkhorn(
            a,
            b,
            M,
            config.reg,
            max_iter=config.max_iter or (80 if config.tol is None else 10_000),
            tol=config.tol,
            tau=config.tau,
            marginal_floor=config.marginal_floor,
            normalize=normalize,
        )
    return solve(
        a,
        b,
        M,
        reg=0.0 if config.method == "exact" else config.reg,
        method=config.method,
        tau=config.tau,
        tol=1e-7 if config.tol is None else config.tol,
        bound=LEFT_OUT,
        max_iter=config.max_iter,
        normalize=normalize,
    )
