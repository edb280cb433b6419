"""What a solver is given and what it gives back: the numbers of a call, problems in their forms, solutions.

A call brings batches (:class:`Batch`). The host solves them one checked :class:`Problem` at a time; a device takes all
at once, flat behind each other (:class:`Problems`). Either way there is one :class:`Solution`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple, get_type_hints

import numpy as np
import torch

from ..arrays import Restore

Method = Literal["sinkhorn", "newton", "exact"]


class Options(NamedTuple):
    """Numbers of a solver call, already checked: what the operator takes beside tensors, in its order.

    Attributes:
        method: of solution.
        reg: entropy weight; 0 for "exact".
        tau: softness of the capacities, inf for hard ones.
        tol: tolerance; negative for none.
        max_iter: rounds, passes or pivots to make at most.
        marginal_floor: added to both marginals.
        normalize: rescale capacities of any total.
        backend: "numba", "torch", "triton" or "auto".
        bound: the mass, over all of it, that pairs left out of :class:`..nearest.costs.NearestCosts` may have.
    """

    method: Method
    reg: float
    tau: float
    tol: float
    max_iter: int
    marginal_floor: float
    normalize: bool
    backend: str
    bound: float = -1.0


_KINDS = {bool: "bool", int: "int", float: "float"}
NUMBERS = ", ".join(f"{_KINDS.get(kind, 'str')} {name}" for name, kind in get_type_hints(Options).items())
"""Of :class:`Options`, in the schema of an operator; without defaults, which torch would keep from a gradient."""


class Solution(NamedTuple):
    """What a solver returns: of one problem; of many, flat; and, from the operator, a list of tensors for each batch.

    Attributes:
        f: supplier potentials, -inf without capacity.
        g: pixel potentials, -inf without demand.
        labels: suppliers of the pixels.
        cost: ``<P, M>``.
        error: L1 error of both marginals over the mass.
        iterations: rounds or passes made.
        converged: the error is within the tolerance, and the plan is optimal.
        entries: of an unregularised plan: supplier * N + pixel.
        moved: mass of each of them.
        path: potentials before and after each round, for their gradient, where :func:`keeps_path`.
    """

    f: Any
    g: Any
    labels: Any
    cost: Any
    error: Any
    iterations: Any
    converged: Any
    entries: Any
    moved: Any
    path: Any


class Part(NamedTuple):
    """One part of a solution: its dtype, and its axis if any (K suppliers, N pixels, E entries of a plan, R rounds)."""

    axis: str
    dtype: torch.dtype


PARTS = Solution(
    f=Part("K", torch.float64),
    g=Part("N", torch.float64),
    labels=Part("N", torch.int64),
    cost=Part("", torch.float64),
    error=Part("", torch.float64),
    iterations=Part("", torch.int64),
    converged=Part("", torch.bool),
    entries=Part("E", torch.int64),
    moved=Part("E", torch.float64),
    path=Part("R", torch.float64),
)


def within(error: Any, options: Options) -> Any:
    """Whether an error, or a tensor of them, is within the tolerance, if there is one."""
    return (error <= options.tol) & (options.tol > 0)


def is_compiled(device: torch.device, options: Options) -> bool:
    """Whether numba solves what lies there."""
    return device.type == "cpu" and options.backend in ("auto", "numba")


def keeps_path(device: torch.device, options: Options) -> bool:
    """Whether a solution has the potentials between the rounds, 2 K numbers each: where no device makes them."""
    return options.method == "sinkhorn" and options.tol <= 0 and is_compiled(device, options)


def axes(shape: tuple[int, int], device: torch.device, options: Options) -> dict[str, tuple[int, ...]]:
    """Shapes of the parts of the solution of a (K, N) problem: a basic plan has at most K + N - 1 entries."""
    K, N = shape
    entries = K + N if options.method == "exact" else 0
    rounds = options.max_iter if keeps_path(device, options) else 0
    return {"": (), "K": (K,), "N": (N,), "E": (entries,), "R": (rounds, 2, K)}


class ReadOut(NamedTuple):
    """What a pass reads out of a plan without storing it.

    Attributes:
        g: (N,) pixel potentials, -inf without demand.
        labels: (N,) int64 suppliers of largest f - M, the smallest index of a tie.
        cost: ``<P, M>``.
        masses: (K,) row sums of the plan.
        pixel_error: L1 error of its column sums.
    """

    g: Any
    labels: Any
    cost: Any
    masses: Any
    pixel_error: Any


@dataclass(frozen=True)
class Batch:
    """Tensors of one call, with a batch axis.

    Attributes:
        a: (B, K).
        b: (B, N).
        M: (B, K, N) float32 or float64.
        batched: the caller gave the batch axis.
        restore: turns a tensor into the family of the inputs.
    """

    a: torch.Tensor
    b: torch.Tensor
    M: torch.Tensor
    batched: bool
    restore: Restore


@dataclass(frozen=True)
class Problem:
    """One problem, checked, for a solver that the host drives.

    Attributes:
        a: (K,) float64 capacities, scaled to the total of the demand.
        b: (N,) float64 demand.
        M: (K, N) float32 or float64 costs.
        span: range of the finite costs.
        magnitude: largest absolute value among them.
        masked: M holds +inf.
        resolution: relative rounding error of the marginals as they were given.
    """

    a: np.ndarray
    b: np.ndarray
    M: torch.Tensor
    span: float
    magnitude: float
    masked: bool
    resolution: float


@dataclass(frozen=True)
class Problems:
    """P problems behind each other in flat buffers, for a solver on a device; K and N may differ between them.

    Attributes:
        a: (sum of K) float64 capacities.
        b: (sum of N) float64 demands.
        M: (sum of K N) float32 or float64 costs, each problem's matrix row by row.
        shapes: (K, N) of each problem.
        batches: how many of them each batch of the call has.
    """

    a: torch.Tensor
    b: torch.Tensor
    M: torch.Tensor
    shapes: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]

    @classmethod
    def of(cls, a: Iterable[torch.Tensor], b: Iterable[torch.Tensor], M: Iterable[torch.Tensor]) -> Problems:
        """From batches (B, K), (B, N), (B, K, N); a single one is not copied."""
        M = list(M)
        return cls(
            a=_joined([batch.to(torch.float64) for batch in a]),
            b=_joined([batch.to(torch.float64) for batch in b]),
            M=_joined(M),
            shapes=tuple((batch.shape[1], batch.shape[2]) for batch in M for _ in range(len(batch))),
            batches=tuple(len(batch) for batch in M),
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


def starts(lengths: Iterable[int]) -> list[int]:
    """Where each of several parts begins when they lie behind each other."""
    return [0, *accumulate(lengths)][:-1]


def _joined(batches: list[torch.Tensor]) -> torch.Tensor:
    flat = [batch.reshape(-1) for batch in batches]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
