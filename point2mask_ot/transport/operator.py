"""The transport solvers as one operator of torch, opaque to ``torch.compile``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..checks import ArgumentError, fail
from ..compiled.backends import OUTSIDE_CUDA_GRAPHS, has_triton
from ..compiled.threads import run_parallel
from .checks import problems
from .flat import Flat, FlatSolution
from .problem import Method, Options, Problem, Solution
from .solvers import SERIAL_ENTRIES, solve_one

_POOL_ENTRIES = 1 << 15
"""Problems of fewer entries, all together, are solved on the calling thread."""

# Not custom_op: its first call imports torch._dynamo, which takes more than a second.
torch.library.define(
    "point2mask::transport",
    "(Tensor[] a, Tensor[] b, Tensor[] M, str function, str method, float reg, float tau, float tol, int max_iter, "
    "float marginal_floor, bool normalize, str backend) "
    "-> (Tensor[], Tensor[], Tensor[], Tensor[], Tensor[], Tensor[], Tensor[], Tensor[], Tensor[])",
    tags=OUTSIDE_CUDA_GRAPHS,
)


@torch.library.impl("point2mask::transport", "CompositeExplicitAutograd")
def _transport(
    a: list[torch.Tensor],
    b: list[torch.Tensor],
    M: list[torch.Tensor],
    function: str,
    method: Method,
    reg: float,
    tau: float,
    tol: float,
    max_iter: int,
    marginal_floor: float,
    normalize: bool,
    backend: str,
) -> tuple[list[torch.Tensor], ...]:
    """Solve batches of problems; within a batch all have one shape.

    Args:
        a: (B, K) capacities of each batch.
        b: (B, N) demands.
        M: (B, K, N) costs, float32 or float64, on one device.
        function: public function to name in messages.
        method: "sinkhorn", "newton" or "exact".
        reg: entropy weight; 0 for "exact".
        tau: softness of the capacities, inf for hard ones.
        tol: tolerance; negative for none.
        max_iter: rounds, passes or pivots to make at most.
        marginal_floor: added to both marginals.
        normalize: rescale capacities of any total.
        backend: "numba", "torch", "triton" or "auto".

    Returns:
        For each batch: f (B, K), g (B, N), labels (B, N), cost (B,), marginal error (B,), iterations (B,), converged
        (B,), and the entries of an exact plan: flat index (B, K + N) and mass (B, K + N), else (B, 0).
    """
    backend = _resolved(function, backend, method, M)
    options = Options(method, reg, tau, tol, max_iter, marginal_floor, normalize, backend)
    if backend == "numba":
        return _on_host(function, a, b, M, options)
    with torch.no_grad(), torch.autocast(M[0].device.type, enabled=False):
        return (_on_device if method == "sinkhorn" else _on_host)(function, a, b, M, options)


def _resolved(function: str, backend: str, method: Method, M: Sequence[torch.Tensor]) -> str:
    """The backend that "auto" stands for; refuses those that cannot take the call."""
    device, suppliers = M[0].device, max(costs.shape[1] for costs in M)
    if backend == "auto" and device.type == "cuda" and has_triton():
        from .gpu.launch import MOST_SUPPLIERS

        backend = "triton" if suppliers <= MOST_SUPPLIERS else "torch"
    elif backend == "auto":
        backend = "numba" if device.type == "cpu" else "torch"
    if device.type != "cpu" and (backend == "numba" or method == "exact"):
        fail(function, "M", f"a tensor on {device}", f"a CPU tensor: {method} with {backend} has no other kernels")
    if backend == "triton":
        _check_triton(function, device, suppliers)
    return backend


def _check_triton(function: str, device: torch.device, suppliers: int) -> None:
    if not has_triton():
        fail(function, "backend", "'triton' where it is not installed", "'auto' or 'torch'")
    from .gpu.launch import INTERPRETED, MOST_SUPPLIERS

    if suppliers > MOST_SUPPLIERS:
        fail(function, "backend", f"'triton' for {suppliers} suppliers", f"'auto', or {MOST_SUPPLIERS} at most")
    if device.type != "cuda" and not (INTERPRETED and device.type == "cpu"):
        fail(function, "backend", f"'triton' for tensors on {device}", "'auto', or tensors on a CUDA device")


def _checked(
    function: str, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], options: Options
) -> list[Problem]:
    found: list[Problem] = []
    for index, batch in enumerate(zip(a, b, M, strict=True)):
        try:
            found += problems(function, *batch, options.reg, options.normalize)
        except ArgumentError as error:
            if len(M) > 1:
                error.args = (f"{error} (problem {index} of the list)",)
            raise
    return found


def _on_host(
    function: str, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], options: Options
) -> tuple[list[torch.Tensor], ...]:
    """One problem at a time for each thread, driven by the host; the passes may be a device's."""
    checked = _checked(function, a, b, M, options)
    entries = [problem.M.numel() for problem in checked]
    # Larger problems spread over the threads one by one.
    together = options.backend == "numba" and sum(entries) > _POOL_ENTRIES and max(entries) < SERIAL_ENTRIES
    solutions = iter(run_parallel(lambda problem: solve_one(problem, options), checked, serial=not together))
    batches = [_stacked([next(solutions) for _ in range(len(costs))], options.tol, costs.device) for costs in M]
    return tuple(list(part) for part in zip(*batches, strict=True))


def _on_device(
    function: str, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], options: Options
) -> tuple[list[torch.Tensor], ...]:
    """Sinkhorn for all batches at once, without waiting for the device unless there is a tolerance."""
    if M[0].device.type == "cpu":
        _checked(function, a, b, M, options)  # for their messages
    if options.backend == "triton":
        from .gpu.launch import sinkhorn
    else:
        from .portable import sinkhorn
    found: FlatSolution = sinkhorn(function, Flat.of(a, b, M), options)
    converged = (found.error <= options.tol) & (options.tol > 0)

    def parts(values: torch.Tensor, axis: int | None = None) -> list[torch.Tensor]:
        shapes = [(len(costs),) if axis is None else (len(costs), costs.shape[axis]) for costs in M]
        flat = torch.ops.aten.split_with_sizes_copy(values, [math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(flat, shapes, strict=True)]

    return (
        parts(found.f, 1), parts(found.g, 2), parts(found.labels, 2), parts(found.cost), parts(found.error),
        parts(found.rounds), parts(converged),
        [costs.new_empty((len(costs), 0), dtype=torch.int64) for costs in M],
        [costs.new_empty((len(costs), 0), dtype=torch.float64) for costs in M],
    )  # fmt: skip


def _stacked(solutions: list[Solution], tol: float, device: torch.device) -> tuple[torch.Tensor, ...]:
    def stack(values: list[Any]) -> torch.Tensor:
        tensors = [torch.as_tensor(value, device=device) for value in values]
        return torch.stack(tensors) if len(tensors) > 1 else tensors[0][None]

    def scalars(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    empty = (np.zeros(0, np.int64), np.zeros(0))
    flows = [solution.flow or empty for solution in solutions]
    return (
        stack([s.f for s in solutions]),
        stack([s.g for s in solutions]),
        stack([s.labels for s in solutions]),
        scalars([s.cost for s in solutions], torch.float64),
        scalars([s.error for s in solutions], torch.float64),
        scalars([s.iterations for s in solutions], torch.int64),
        scalars([0 <= s.error <= tol and s.finished for s in solutions], torch.bool),
        stack([flow[0] for flow in flows]),
        stack([flow[1] for flow in flows]),
    )


@torch.library.register_fake("point2mask::transport")
def _shapes(
    a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], function: str, method: Method, *rest: object
) -> tuple[list[torch.Tensor], ...]:
    real, integer = torch.float64, torch.int64

    def like(shape: Callable[[int, int, int], tuple[int, ...]], dtype: torch.dtype) -> list[torch.Tensor]:
        return [costs.new_empty(shape(*costs.shape), dtype=dtype) for costs in M]

    def entries(B: int, K: int, N: int) -> tuple[int, ...]:
        return B, (K + N if method == "exact" else 0)

    return (
        like(lambda B, K, N: (B, K), real),
        like(lambda B, K, N: (B, N), real),
        like(lambda B, K, N: (B, N), integer),
        like(lambda B, K, N: (B,), real),
        like(lambda B, K, N: (B,), real),
        like(lambda B, K, N: (B,), integer),
        like(lambda B, K, N: (B,), torch.bool),
        like(entries, integer),
        like(entries, real),
    )


transport: Callable[..., tuple[list[torch.Tensor], ...]] = torch.ops.point2mask.transport
