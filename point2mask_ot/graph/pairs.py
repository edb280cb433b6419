"""Each pixel beside its forward neighbours: what a map says they differ by, and how that pulls at the map."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .grid import FORWARD_OFFSETS, pair_slices

_CODES = {"l1": 0, "cosine": 1, "max": 2}
"""Of edge_kernels, which is imported where it is needed."""
_SERIAL = 1_000_000
"""Values that are not worth a thread."""


def pair_costs(image: torch.Tensor, kind: str) -> torch.Tensor:
    """(B, C, H, W) map -> (B, 4, H, W) cost of each pair inside the image, 0 elsewhere."""
    if kind == "max":
        image = image.clamp(min=0)  # resizing may leave values a little below zero, where no cost may lie
    if image.device.type == "cpu":
        pairs = _compare_on_cpu(image, kind)
    elif kind == "max":
        pairs = _compare_by_shifts(image, lambda here, there: torch.maximum(here, there).sum(1))
    elif kind == "cosine":
        pairs = _products(image, kind)
    else:
        pairs = _compare_by_shifts(image, _l1)
    return (1 - pairs).clamp_(min=0) if kind == "cosine" else pairs


def _l1(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Plain form of Eq. 2: d_s(k, l) = sum_c |P_c(k) - P_c(l)|."""
    return (here - there).abs().sum(1)


def _products(image: torch.Tensor, kind: str) -> torch.Tensor:
    return _compare_by_shifts(image, lambda here, there: (here * there).sum(1))


def _compare_by_shifts(
    image: torch.Tensor, compare: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    pairs = image.new_zeros((image.shape[0], 4, *image.shape[-2:]))
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        pairs[:, index, *here] = compare(image[:, :, *here], image[:, :, *there])
    return pairs


def _compare_on_cpu(image: torch.Tensor, kind: str) -> torch.Tensor:
    from ..compiled.threads import run_parallel
    from .edge_kernels import compare_pixels

    batch, _, height, width = image.shape
    pairs = image.new_zeros((batch, 4, height, width))
    maps, sums = image.contiguous().flatten(2).numpy(), pairs.flatten(2).numpy()
    run_parallel(
        lambda band: compare_pixels(maps[band[0]], _CODES[kind], sums[band[0]], width, *band[1:]),
        _bands(image),
        serial=image.numel() < _SERIAL,
    )
    return pairs


def pair_gradient(gradient: torch.Tensor, image: torch.Tensor, kind: str) -> torch.Tensor:
    """(B, C, H, W) gradient to the map, from that to its (B, 4, H, W) costs."""
    weight = _of_pairs(gradient)
    if kind == "cosine":
        compare = _compare_on_cpu if image.device.type == "cpu" else _products
        weight = torch.where(compare(image, kind) > 1, 0, weight.neg_())
    return (_pull_on_cpu if image.device.type == "cpu" else _pull_by_shifts)(image, weight, kind)


def _of_pairs(gradient: torch.Tensor) -> torch.Tensor:
    """A copy that is 0 for the pairs that leave the image, whatever was there: their cost is a constant."""
    weight = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, _ = pair_slices(offset)
        weight[:, index, *here] = gradient[:, index, *here]
    return weight


def _pull_by_shifts(image: torch.Tensor, weight: torch.Tensor, kind: str) -> torch.Tensor:
    pulled = torch.zeros_like(image, memory_format=torch.contiguous_format)
    values = image.clamp(min=0) if kind == "max" else image
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        own = weight[:, index, *here].unsqueeze(1)
        for one, other in ((here, there), (there, here)):
            left, right = values[:, :, *one], values[:, :, *other]
            if kind == "cosine":
                slope = right
            else:
                slope = torch.sign(left - right)
                slope = slope if kind == "l1" else slope.add_(1).mul_(0.5)
            pulled[:, :, *one] += own * slope
    return pulled.masked_fill_(image < 0, 0) if kind == "max" else pulled


def _pull_on_cpu(image: torch.Tensor, weight: torch.Tensor, kind: str) -> torch.Tensor:
    from ..compiled.threads import run_parallel
    from .edge_kernels import pull_pixels

    width = image.shape[3]
    pulled = torch.empty_like(image, memory_format=torch.contiguous_format)
    maps, weights, sums = (t.contiguous().flatten(2).numpy() for t in (image, weight, pulled))
    run_parallel(
        lambda band: pull_pixels(maps[band[0]], _CODES[kind], weights[band[0]], sums[band[0]], width, *band[1:]),
        _bands(image),
        serial=image.numel() < _SERIAL,
    )
    return pulled


def _bands(image: torch.Tensor) -> list[tuple[int, int, int]]:
    """``(b, start, stop)``: the pixels of 64 rows of each image."""
    batch, _, height, width = image.shape
    tops = range(0, height, 64)
    return [(b, top * width, min(top + 64, height) * width) for b in range(batch) for top in tops]
