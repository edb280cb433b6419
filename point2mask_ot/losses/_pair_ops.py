"""Which pairs of pixels are alike, and how much they disagree on their class: two operators.

The disagreement is  sum over pairs of -w_ij log <p_i, p_j>  with p = softmax(z), and its gradient::

    dL/dz_i = p_i * (sum_j w_ij - sum_j w_ij p_j / <p_i, p_j>)

so that one number a pair, w_ij / <p_i, p_j>, is all that the backward pass needs beside z. Both passes shift the map
once for both ends of a pair, a few channels at a time. Autograd would store the shifted maps, and a compiler would
take a minute over the shifts and gain nothing; the operators are opaque to both.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..arrays import compute_dtype
from ..compiled.operators import operator, refuse_gradient
from ..graph.grid import pair_slices

Offset: TypeAlias = tuple[int, int]
"""(dy, dx) from the first pixel of a pair to the second; dy >= 0."""

# Probabilities below e^-60 count as e^-60: the product of two never leaves float32, and two pixels that are sure
# of different classes are still pulled together.
_SMALLEST = math.exp(-60)

# Elements worked on at a time: what stays in a core's cache; elsewhere what fills a GPU.
_CACHE_BLOCK, _DEVICE_BLOCK = 2**17, 2**25


def similar_pairs(colour: Tensor, valid: Tensor | None, offsets: list[Offset], reach: float) -> Tensor:
    """(S, B, H, W): 1 where a pixel and its neighbour at offsets[s] are both in the image and valid, and their
    (B, D, H, W) colours at most ``reach`` apart; else 0. In the dtype of the colours."""
    return _similar_pairs(colour, valid, [dy for dy, _ in offsets], [dx for _, dx in offsets], reach)


def disagreement(logits: Tensor, weights: Tensor, valid: Tensor | None, offsets: list[Offset]) -> Tensor:
    """The sum over pairs, a scalar.

    Args:
        logits: (B, C, H, W) scores z.
        weights: (S, B, H, W) weight of the pair of each pixel with its neighbour at offsets[s], 0 where there is none.
        valid: (B, H, W); where False the scores are never looked at. Pairs there must have no weight.
        offsets: S forward offsets.
    """
    return _disagreement(logits, weights, valid, [dy for dy, _ in offsets], [dx for _, dx in offsets])[0]


def _pairs_shape(colour: Tensor, valid: Tensor | None, dy: list[int], dx: list[int], reach: float) -> Tensor:
    batch, _, height, width = colour.shape
    return colour.new_empty(len(dy), batch, height, width)


@operator("similar_pairs(Tensor colour, Tensor? valid, SymInt[] dy, SymInt[] dx, float reach) -> Tensor", _pairs_shape)
def _similar_pairs(colour: Tensor, valid: Tensor | None, dy: list[int], dx: list[int], reach: float) -> Tensor:
    batch, _, height, width = colour.shape
    similar = colour.new_zeros(len(dy), batch, height, width)
    for s, offset in enumerate(zip(dy, dx, strict=True)):
        here, there = pair_slices(offset)
        alike = (colour[..., *here] - colour[..., *there]).square().sum(1) <= reach**2
        if valid is not None:
            alike = alike & valid[..., *here] & valid[..., *there]
        similar[s, ..., *here] = alike.to(colour.dtype)
    return similar


def _disagreement_shapes(logits: Tensor, weights: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor]:
    return weights.new_empty(()), torch.empty_like(weights), torch.empty_like(weights[0])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, _, valid, ctx.dy, ctx.dx = inputs
    ctx.save_for_backward(logits, output[1], output[2], valid)


def _backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None, None]:
    logits, ratios, total, valid = ctx.saved_tensors
    return _gradient(grad, logits, ratios, total, valid, ctx.dy, ctx.dx), None, None, None, None


@operator(
    "disagreement(Tensor logits, Tensor weights, Tensor? valid, SymInt[] dy, SymInt[] dx) -> (Tensor, Tensor, Tensor)",
    _disagreement_shapes,
    backward=_backward,
    remember=_remember,
)
def _disagreement(
    logits: Tensor, weights: Tensor, valid: Tensor | None, dy: list[int], dx: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, the (S, B, H, W) ratios w_ij / <p_i, p_j>, and the (B, H, W) weight of all pairs of a pixel."""
    p = _probabilities(logits, valid)
    agreement, total = torch.zeros_like(weights), torch.zeros_like(weights[0])
    ends = [pair_slices(offset) for offset in zip(dy, dx, strict=True)]
    for block in _channel_blocks(p):
        for s, (here, there) in enumerate(ends):
            agreement[s, ..., *here] += (block[..., *here] * block[..., *there]).sum(1)
    for s, (here, there) in enumerate(ends):
        total[..., *here] += weights[s][..., *here]
        total[..., *there] += weights[s][..., *here]
    agreement = torch.where(weights > 0, agreement.clamp(max=1), 1.0)  # rounding may exceed 1
    # Plain form of Eq. 13: the sum over pairs of -w_ij log <p_i, p_j>, p = softmax(z).
    loss = -(weights * agreement.log()).sum()
    return loss, weights / agreement, total


def _gradient_shape(grad: Tensor, logits: Tensor, *rest: object) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


@operator(
    "disagreement_gradient(Tensor grad, Tensor logits, Tensor ratios, Tensor total, Tensor? valid, SymInt[] dy, "
    "SymInt[] dx) -> Tensor",
    _gradient_shape,
    backward=refuse_gradient,
)
def _gradient(
    grad: Tensor, logits: Tensor, ratios: Tensor, total: Tensor, valid: Tensor | None, dy: list[int], dx: list[int]
) -> Tensor:
    """The gradient of the loss, times ``grad``, like ``logits``."""
    p = _probabilities(logits, valid)
    scaled, constant = (ratios * grad)[:, :, None], (total * grad)[:, None]
    for block in _channel_blocks(p):
        pull = constant.repeat(1, block.shape[1], 1, 1)
        for s, offset in enumerate(zip(dy, dx, strict=True)):
            here, there = pair_slices(offset)
            ratio = scaled[s][..., *here]
            pull[..., *here].addcmul_(ratio, block[..., *there], value=-1)
            pull[..., *there].addcmul_(ratio, block[..., *here], value=-1)
        block.mul_(pull)  # p is ours, and these channels are not read again: they become the gradient
    return p.to(logits.dtype)


def _probabilities(logits: Tensor, valid: Tensor | None) -> Tensor:
    """softmax(z), newly made and contiguous, never smaller than e^-60."""
    p = logits.contiguous().softmax(1, dtype=compute_dtype(logits)).clamp_min_(_SMALLEST)
    return p if valid is None else p.masked_fill_(~valid[:, None], _SMALLEST)


def _channel_blocks(p: Tensor) -> tuple[Tensor, ...]:
    """Views of a few channels each."""
    plane = p.shape[0] * p.shape[2] * p.shape[3]
    return p.split(max(1, (_CACHE_BLOCK if p.device.type == "cpu" else _DEVICE_BLOCK) // plane), dim=1)
