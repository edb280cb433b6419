"""The operators behind the tree losses: kernels by device, autograd, and shapes for ``torch.compile``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import fail
from ..compiled.operators import operator, refuse_gradient
from . import _tree_portable

# Work below about a millisecond stays on the calling thread.
_SERIAL_PIXELS = 20_000
_SERIAL_VALUES = 300_000


def _tree_shapes(image: Tensor, valid: Tensor | None, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    shape = (image.shape[0], image.shape[2] * image.shape[3])
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    order, parent = (image.new_empty(shape, dtype=torch.int32) for _ in range(2))
    return order, parent, image.new_empty(shape, dtype=dtype)


@operator("minimum_spanning_tree(Tensor image, Tensor? valid, str backend) -> (Tensor, Tensor, Tensor)", _tree_shapes)
def minimum_spanning_tree(image: Tensor, valid: Tensor | None, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """(B, D, H, W) picture, (B, H, W) mask -> (B, N) order, parent (int32 pixels) and squared distance."""
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    if valid is None:
        valid = image.new_ones((image.shape[0], *image.shape[2:]), dtype=torch.bool)
    if backend == "torch":
        return _tree_portable.spanning_tree(_tree_portable.colour_distances(image, valid, dtype))
    return _spanning_tree_on_cpu(image, valid, dtype)


def _spanning_tree_on_cpu(image: Tensor, valid: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    from ..compiled.threads import run_parallel
    from ._tree_cpu import colour_distances, preorder, spanning_edges

    if image.is_floating_point() and not bool((image.isfinite().all(1) | ~valid).all()):
        fail("minimum_spanning_tree", "image", "NaN or infinity at a valid pixel", "finite colours")
    batch, _, height, width = image.shape
    plain = image if image.dtype in (torch.uint8, torch.float32, torch.float64) else image.to(dtype)
    pictures, masks = plain.contiguous().numpy(), valid.contiguous().numpy()
    order, parent = (image.new_empty((batch, height * width), dtype=torch.int32) for _ in range(2))
    distance = image.new_empty((batch, height * width), dtype=dtype)
    outputs = order.numpy(), parent.numpy(), distance.numpy()

    def build(b: int) -> None:
        distances = image.new_zeros((2, height, width), dtype=dtype).numpy()
        colour_distances(pictures[b], masks[b], distances)
        links = spanning_edges(distances, distances.view(f"u{distances.itemsize}"))
        preorder(links, distances, *(out[b] for out in outputs))

    run_parallel(build, range(batch), serial=valid.numel() < _SERIAL_PIXELS)
    return order, parent, distance


def _filtered_shape(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor, backend: str) -> Tensor:
    return torch.empty_like(values, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, affinity, order, parent, ctx.backend = inputs
    ctx.save_for_backward(values if ctx.needs_input_grad[1] else None, affinity, order, parent)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
    values, affinity, order, parent = ctx.saved_tensors
    to_values = to_affinity = None
    if ctx.needs_input_grad[0]:  # the matrix is symmetric
        to_values = tree_filter(grad, affinity, order, parent, ctx.backend)
    if ctx.needs_input_grad[1]:
        to_affinity = affinity_gradient(grad, values, affinity, order, parent, ctx.backend)
    return to_values, to_affinity, None, None, None


@operator(
    "tree_filter(Tensor values, Tensor affinity, Tensor order, Tensor parent, str backend) -> Tensor",
    _filtered_shape,
    backward=_backward,
    remember=_remember,
)
def tree_filter(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor, backend: str) -> Tensor:
    """Unnormalised filter of (B, C, N) values: the symmetric matrix of path affinities times the values."""
    if backend == "torch":
        return _tree_portable.tree_filter(values, affinity, order, parent)
    from ..compiled.threads import run_parallel
    from ._tree_cpu import LANES, filter_channels

    filtered = torch.empty_like(values, memory_format=torch.contiguous_format)
    x, w, nodes, above, out = _arrays(values, affinity, order, parent, filtered)
    tasks = [(b, first) for b in range(values.shape[0]) for first in range(0, values.shape[1], LANES)]
    run_parallel(
        lambda task: filter_channels(x[task[0]], task[1], w[task[0]], nodes[task[0]], above[task[0]], out[task[0]]),
        tasks,
        serial=values.numel() < _SERIAL_VALUES,
    )
    return filtered


def _gradient_shape(left: Tensor, right: Tensor, affinity: Tensor, *rest: object) -> Tensor:
    return affinity.new_empty(affinity.shape)


@operator(
    "tree_affinity_gradient(Tensor left, Tensor right, Tensor affinity, Tensor order, Tensor parent, str backend) "
    "-> Tensor",
    _gradient_shape,
    backward=refuse_gradient,
)
def affinity_gradient(
    left: Tensor, right: Tensor, affinity: Tensor, order: Tensor, parent: Tensor, backend: str
) -> Tensor:
    """(B, N): derivative of <left, tree_filter(right)> by the affinities."""
    if backend == "torch":
        return _tree_portable.affinity_gradient(left, right, affinity, order, parent)
    from ..compiled.threads import run_parallel
    from . import _tree_cpu

    batch, channels, size = left.shape
    firsts = range(0, channels, _tree_cpu.LANES)
    parts = left.new_empty((batch, len(firsts), size))
    u, v, w, nodes, above, out = _arrays(left, right, affinity, order, parent, parts)

    def differentiate(task: tuple[int, int]) -> None:
        b, group = task
        _tree_cpu.affinity_gradient(u[b], v[b], firsts[group], w[b], nodes[b], above[b], out[b, group])

    tasks = [(b, group) for b in range(batch) for group in range(len(firsts))]
    run_parallel(differentiate, tasks, serial=left.numel() < _SERIAL_VALUES)
    return parts.sum(1)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
