"""The transport solvers as one operator of torch, opaque to ``torch.compile``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..checks import fail
from ..compiled.backends import OUTSIDE_CUDA_GRAPHS, has_triton
from ..compiled.operators import keep_lists, kept_lists, operator
from ..compiled.threads import run_parallel
from .checks import checked
from .gradient_operator import transport_gradient
from .problem import NUMBERS, PARTS, Method, Options, Part, Problems, Solution, axes
from .solvers import SERIAL_ENTRIES, solve_one

_POOL_ENTRIES = 1 << 15
"""Problems of fewer entries, all together, are solved on the calling thread."""

_SCHEMA = (
    f"transport(Tensor[] a, Tensor[] b, Tensor[] M, str function, {NUMBERS}) -> "
    f"({', '.join('Tensor[]' for _ in PARTS)})"
)


def _shape(part: Part, costs: torch.Tensor, options: Options) -> tuple[int, ...]:
    """Of a part of the solution of a batch of problems."""
    B, K, N = costs.shape
    return B, *axes((K, N), costs.device, options)[part.axis]


def _shapes(
    a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], function: str, *numbers: Any
) -> tuple[list[torch.Tensor], ...]:
    options = Options(*numbers)
    return tuple([costs.new_empty(_shape(part, costs, options), dtype=part.dtype) for costs in M] for part in PARTS)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[list[torch.Tensor], ...]) -> None:
    a, b, M, ctx.function, *ctx.numbers = inputs
    found = Solution(*output)
    keep_lists(ctx, a, b, M, found.f, found.g, found.error, found.converged, found.entries, found.moved, found.path)


def _backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
    by = Solution(*gradients)
    a, b, M, f, g, error, converged, entries, moved, path = kept_lists(ctx, 10)
    wanted = [any(each) for each in ctx.needs_input_grad[:3]]
    by_f, by_g, by_cost = (
        [torch.zeros_like(like) if value is None else value for value, like in zip(values, likes, strict=True)]
        for values, likes in ((by.f, f), (by.g, g), (by.cost, error))
    )
    asked_for = wanted[0] or wanted[1], wanted[2], ctx.function
    solution = f, g, error, converged, entries, moved, path
    found = transport_gradient(a, b, M, *solution, by_f, by_g, by_cost, *asked_for, *ctx.numbers)
    none = [None] * (1 + len(ctx.numbers))
    return (*(each if asked else [None] * len(f) for each, asked in zip(found, wanted, strict=True)), *none)


@operator(_SCHEMA, _shapes, tags=OUTSIDE_CUDA_GRAPHS, backward=_backward, remember=_remember)
def transport(
    a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], function: str, *numbers: Any
) -> tuple[list[torch.Tensor], ...]:
    """Solve batches of problems; within a batch all have one shape.

    Args:
        a: (B, K) capacities of each batch.
        b: (B, N) demands.
        M: (B, K, N) costs, float32 or float64, on one device.
        function: public function to name in messages.
        numbers: those of :class:`Options`.

    Returns:
        The parts of a :class:`Solution`: of each a list with a tensor for every batch.
    """
    a, b, M = ([tensor.detach() for tensor in tensors] for tensors in (a, b, M))  # others have no NumPy view
    options = Options(*numbers)
    options = options._replace(backend=_resolved(function, options.backend, options.method, M))
    if options.backend == "numba":
        return _on_host(function, a, b, M, options)
    with torch.no_grad(), torch.autocast(M[0].device.type, enabled=False):
        return (_on_device if options.method == "sinkhorn" else _on_host)(function, a, b, M, options)


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


def _on_host(
    function: str, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], options: Options
) -> tuple[list[torch.Tensor], ...]:
    """One problem at a time for each thread, driven by the host; the passes may be a device's."""
    problems = checked(function, a, b, M, options)
    entries = [problem.M.numel() for problem in problems]
    # Larger problems spread over the threads one by one.
    together = options.backend == "numba" and sum(entries) > _POOL_ENTRIES and max(entries) < SERIAL_ENTRIES
    solutions = iter(run_parallel(lambda problem: solve_one(problem, options), problems, serial=not together))
    batches = [_stacked([next(solutions) for _ in range(len(costs))], costs.device) for costs in M]
    return tuple(map(list, zip(*batches, strict=True)))


def _stacked(solutions: list[Solution], device: torch.device) -> list[torch.Tensor]:
    """The parts of the solutions of a batch."""
    parts = []
    for part, *values in zip(PARTS, *solutions, strict=True):
        if not part.axis:
            parts.append(torch.tensor(values, dtype=part.dtype, device=device))
            continue
        tensors = [torch.from_numpy(v).to(device) if isinstance(v, np.ndarray) else v for v in values]
        parts.append(torch.stack(tensors) if len(tensors) > 1 else tensors[0][None])
    return parts


def _on_device(
    function: str, a: list[torch.Tensor], b: list[torch.Tensor], M: list[torch.Tensor], options: Options
) -> tuple[list[torch.Tensor], ...]:
    """Sinkhorn for all batches at once, without waiting for the device unless there is a tolerance."""
    if options.backend == "triton":
        from .gpu.launch import sinkhorn
    else:
        from .portable import sinkhorn
    found: Solution = sinkhorn(function, Problems.of(a, b, M), options)

    def batches(part: Part, values: torch.Tensor) -> list[torch.Tensor]:
        shapes = [_shape(part, costs, options) for costs in M]
        pieces = torch.ops.aten.split_with_sizes_copy(values, [math.prod(shape) for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    return tuple(map(batches, PARTS, found))
