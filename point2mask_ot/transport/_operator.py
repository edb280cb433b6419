"""The transport solvers as one operator of torch, opaque to ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .._threads import run_parallel
from ..checks import fail
from ._problem import problems
from ._solvers import SERIAL_ENTRIES, Method, Options, Solution, solve_one

_POOL_ENTRIES = 1 << 15
"""Batches of fewer entries are solved on the calling thread."""

# Not custom_op: its first call imports torch._dynamo, which takes more than a second.
torch.library.define(
    "point2mask::transport",
    "(Tensor a, Tensor b, Tensor M, str function, str method, float reg, float tau, float tol, int max_iter, "
    "float marginal_floor, bool normalize, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@torch.library.impl("point2mask::transport", "CompositeExplicitAutograd")
def _transport(
    a: torch.Tensor,
    b: torch.Tensor,
    M: torch.Tensor,
    function: str,
    method: Method,
    reg: float,
    tau: float,
    tol: float,
    max_iter: int,
    marginal_floor: float,
    normalize: bool,
    backend: str,
) -> tuple[torch.Tensor, ...]:
    """Solve a batch of problems of one shape.

    Args:
        a: (B, K) capacities.
        b: (B, N) demands.
        M: (B, K, N) costs, contiguous float32 or float64.
        function: public function to name in messages.
        method: "sinkhorn", "newton" or "exact".
        reg: entropy weight; 0 for "exact".
        tau: softness of the capacities, inf for hard ones.
        tol: tolerance; negative for none.
        max_iter: rounds, passes or pivots to make at most.
        marginal_floor: added to both marginals.
        normalize: rescale capacities of any total.
        backend: "numba", "torch" or "auto".

    Returns:
        f (B, K), g (B, N), labels (B, N), cost (B,), marginal error (B,), iterations (B,), converged (B,), and
        the entries of an exact plan: flat index (B, K + N) and mass (B, K + N), else (B, 0).
    """
    if backend == "auto":
        backend = "numba" if M.device.type == "cpu" else "torch"
    if M.device.type != "cpu" and (backend == "numba" or method == "exact"):
        fail(function, "M", f"a tensor on {M.device}", f"a CPU tensor: {method} with {backend} has no other kernels")
    options = Options(method, reg, tau, tol, max_iter, marginal_floor, normalize, backend)
    checked = list(problems(function, a, b, M, reg, normalize))
    # Larger problems spread over the threads one by one.
    together = backend == "numba" and M.numel() > _POOL_ENTRIES and M[0].numel() < SERIAL_ENTRIES
    with torch.no_grad(), torch.autocast(M.device.type, enabled=False):
        solutions = run_parallel(lambda problem: solve_one(problem, options), checked, serial=not together)
    errors = np.array([s.error for s in solutions])
    converged = np.array([0 <= s.error <= tol and s.finished for s in solutions])
    return _stacked(solutions, errors, converged, M.device)


def _stacked(
    solutions: list[Solution], errors: np.ndarray, converged: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, ...]:
    def stack(values: list[Any]) -> torch.Tensor:
        return torch.stack([torch.as_tensor(value, device=device) for value in values])

    empty = (np.zeros(0, np.int64), np.zeros(0))
    flows = [solution.flow or empty for solution in solutions]
    return (
        stack([s.f for s in solutions]),
        stack([s.g for s in solutions]),
        stack([s.labels for s in solutions]),
        torch.tensor([s.cost for s in solutions], dtype=torch.float64, device=device),
        torch.as_tensor(errors, device=device),
        torch.tensor([s.iterations for s in solutions], dtype=torch.int64, device=device),
        torch.as_tensor(converged, device=device),
        stack([flow[0] for flow in flows]),
        stack([flow[1] for flow in flows]),
    )


@torch.library.register_fake("point2mask::transport")
def _shapes(
    a: torch.Tensor, b: torch.Tensor, M: torch.Tensor, function: str, method: Method, *rest: object
) -> tuple[torch.Tensor, ...]:
    B, K, N = M.shape
    entries = K + N if method == "exact" else 0
    real, integer = torch.float64, torch.int64
    return (
        M.new_empty((B, K), dtype=real),
        M.new_empty((B, N), dtype=real),
        M.new_empty((B, N), dtype=integer),
        M.new_empty((B,), dtype=real),
        M.new_empty((B,), dtype=real),
        M.new_empty((B,), dtype=integer),
        M.new_empty((B,), dtype=torch.bool),
        M.new_empty((B, entries), dtype=integer),
        M.new_empty((B, entries), dtype=real),
    )


transport: Callable[..., tuple[torch.Tensor, ...]] = torch.ops.point2mask.transport
