"""Problems of any shapes behind each other in flat buffers, and what a device solver makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch

MASS_MISMATCH = 1e-4
"""Relative difference of the totals beyond which marginals are refused rather than rescaled."""
LARGEST_RATIO = 1e14
"""A cost that is so much larger than those of the cheapest plan stands for "never", and rounds all others away."""
LARGEST_EXPONENT = 1e30
"""Largest cost over reg: beyond, exponents leave float32."""


@dataclass(frozen=True)
class Flat:
    """P problems; K and N may differ between them.

    Attributes:
        a: (sum of K) float64 capacities.
        b: (sum of N) float64 demands.
        M: (sum of K N) float32 or float64 costs, each problem's matrix row by row.
        shapes: (K, N) of each problem.
    """

    a: torch.Tensor
    b: torch.Tensor
    M: torch.Tensor
    shapes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, a: Iterable[torch.Tensor], b: Iterable[torch.Tensor], M: Iterable[torch.Tensor]) -> Flat:
        """From batches (B, K), (B, N), (B, K, N); a single one is not copied."""
        M = list(M)
        return cls(
            a=_joined([batch.to(torch.float64) for batch in a]),
            b=_joined([batch.to(torch.float64) for batch in b]),
            M=_joined(M),
            shapes=tuple((batch.shape[1], batch.shape[2]) for batch in M for _ in range(len(batch))),
        )

    def split(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Views of a (K,), b (N,) and M (K, N) of each problem."""
        parts = zip(
            self.a.split([K for K, _ in self.shapes]),
            self.b.split([N for _, N in self.shapes]),
            self.M.split([K * N for K, N in self.shapes]),
            self.shapes,
            strict=True,
        )
        return [(a, b, M.view(shape)) for a, b, M, shape in parts]


class FlatSolution(NamedTuple):
    """On the device of the problems; nothing waits for it.

    Attributes:
        f: (sum of K) float64 supplier potentials, -inf without capacity.
        g: (sum of N) float64 pixel potentials, -inf without demand.
        labels: (sum of N) int64.
        cost: (P,) float64 ``<plan, M>``.
        error: (P,) float64 L1 error of both marginals over the mass.
        rounds: (P,) int64 rounds made.
    """

    f: torch.Tensor
    g: torch.Tensor
    labels: torch.Tensor
    cost: torch.Tensor
    error: torch.Tensor
    rounds: torch.Tensor


def starts(lengths: Iterable[int]) -> list[int]:
    """Where each of several parts begins when they lie behind each other."""
    return [0, *accumulate(lengths)][:-1]


def _joined(batches: list[torch.Tensor]) -> torch.Tensor:
    flat = [batch.reshape(-1) for batch in batches]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
