"""Boundaries lie where pseudo-masks end: the boundary affinity loss (Eq. 6-7)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import Array, compute_dtype
from ..checks import check_choice, check_number, fail, fail_type
from ..graph.grid import FORWARD_OFFSETS, pair_slices
from ._inputs import check_labels, nan_if_any, read_batch


def boundary_affinity_loss(
    boundary: Array,
    instance: Array,
    semantic: Array,
    is_thing: Array,
    *,
    scale: float = 1.0,
    border: Literal["exclude", "zero"] = "exclude",
    eps: float = 0.0,
    ignore_index: int = 255,
    valid: Array | None = None,
) -> Any:
    """Neighbours of one mask are affine, neighbours of two are not (Eq. 6-7)::

        A_kl = 1 - max(b_k, b_l),   b = sigmoid(boundary),   l among the 8 neighbours of k
        L = -scale * ( mean over P_t of log A / 2  +  mean over P_s of log A / 2  +  mean over N of log(1 - A) )

    per image, and the mean over images. P_t holds the pairs inside one thing mask, P_s the pairs of one stuff class,
    N the pairs whose thing masks differ (one having none counts) or whose classes differ, both being known. An empty
    set adds zero. No class planes are made: pairs are compared label against label, each once.

    The released code differs in three numbers: ``scale=0.5``; ``border="zero"``, where each pair that leaves the
    image counts too, against a neighbour without boundary, without thing mask and of class 0, so that the image's
    border is learnt as a boundary; ``eps=1e-5`` inside the logarithms.

    Args:
        boundary: (B, 1, H, W) or (1, H, W) boundary scores before the sigmoid.
        instance: (B, H, W) or (H, W) integers: the target that owns the pixel, negative where none does
            (:attr:`PseudoMasks.instance`). Owners of stuff pixels do not matter.
        semantic: (B, H, W) or (H, W) integers: class of the pixel, ``ignore_index`` where it is unknown.
        is_thing: (C,) bool by class.
        scale: factor on the whole loss, >= 0.
        border: ``"exclude"`` takes only pairs inside the image (and inside ``valid``); ``"zero"`` see above.
        eps: added inside the logarithms, in [0, 1). 0 is exact and finite however sure the boundary is.
        ignore_index: the class of unknown pixels.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. Default: all.

    Returns:
        Scalar >= 0 (with ``eps``, > -eps), float64 for float64 scores, else float32.

    Raises:
        ArgumentTypeError: NumPy beside torch, label maps that are not integers, masks that are not bool.
        ArgumentError: sizes that differ, more than one boundary channel, options out of range, a class that is
            neither 0..C-1 nor ``ignore_index`` (NaN instead of an error on a GPU or in a compiled graph: nothing
            waits for the device).

    Example:
        >>> import torch
        >>> instance = torch.tensor([[0, 0, 1, 1]])
        >>> semantic = torch.zeros(1, 4, dtype=torch.long)
        >>> no_idea = torch.zeros(1, 1, 4)
        >>> loss = boundary_affinity_loss(no_idea, instance, semantic, torch.tensor([True]))
        >>> f"{loss.item():.4f}"  # log 2 / 2 for the pairs inside the two things, log 2 for the one between
        '1.0397'
    """
    name = "boundary_affinity_loss"
    maps, others, restore = read_batch(
        name,
        {"boundary": boundary},
        {"instance": instance, "semantic": semantic},
        {"valid": valid},
        {"is_thing": is_thing},
    )
    if maps["boundary"].shape[1] != 1:
        fail(name, "boundary", f"{maps['boundary'].shape[1]} channels", "1")
    things = _check_classes(others["is_thing"])
    scale = check_number(name, "scale", scale, minimum=0)
    eps = check_number(name, "eps", eps, minimum=0, maximum=0.99)
    check_choice(name, "border", border, ("exclude", "zero"))

    known, verdict = check_labels(name, "semantic", maps["semantic"], len(things), ignore_index, others["valid"])
    inside = torch.ones_like(known) if others["valid"] is None else others["valid"]
    pixels = _pixels(maps["boundary"][:, 0], maps["instance"], maps["semantic"], known, things, inside)
    if border == "zero":
        frame = zip(pixels, _OUTSIDE, strict=True)
        pixels = _Pixels(*(functional.pad(value, (1, 1, 1, 1), value=out) for value, out in frame))
    loss = scale * _loss(pixels, eps, 0.5 if border == "zero" else 0.0).mean()
    verdict = verdict + nan_if_any(maps["boundary"], others["valid"])
    return restore(loss + verdict.to(loss.dtype))


class _Pixels(NamedTuple):
    """(B, H, W) each."""

    score: Tensor
    thing: Tensor  # target id, -1 for none
    label: Tensor  # class, -1 where unknown
    stuff: Tensor  # bool: a known stuff class
    inside: Tensor  # bool


# A pixel outside the image: what the released code's zero padding makes of it. The score is a probability of zero
# that leaves logsigmoid finite.
_SUREST = 1e4
_OUTSIDE = (-_SUREST, -1, 0, False, False)


def _check_classes(is_thing: Tensor | None) -> Tensor:
    if is_thing is None or is_thing.dtype != torch.bool:
        fail_type("boundary_affinity_loss", "is_thing", is_thing, "a bool array, one entry a class")
    things = is_thing.reshape(-1)
    if things.numel() == 0 or is_thing.shape[-1] != things.numel():
        fail("boundary_affinity_loss", "is_thing", f"shape {tuple(is_thing.shape)}", "(C,): a bool for each class")
    return things


def _pixels(
    score: Tensor, instance: Tensor, semantic: Tensor, known: Tensor, is_thing: Tensor, inside: Tensor
) -> _Pixels:
    label = torch.where(known, semantic, 0).long()
    stuff = known & ~is_thing[label]
    thing = torch.where((instance >= 0) & ~stuff, instance, -1).long()
    score = score.to(compute_dtype(score)).clamp(-_SUREST, _SUREST)
    return _Pixels(
        torch.where(inside, score, _OUTSIDE[0]),
        torch.where(inside, thing, _OUTSIDE[1]),
        torch.where(known | ~inside, label, -1),
        stuff & inside,
        inside,
    )


def _loss(pixels: _Pixels, eps: float, half_outside: float) -> Tensor:
    """Plain form of Eq. 7: the means of -log A over P_t and P_s, half each, and that of -log(1 - A) over N; (B,).

    A pair with one end outside counts ``half_outside``: it is met from one side only.
    """
    zero = pixels.score.new_zeros(len(pixels.score))
    sums, counts = [zero, zero, zero], [zero, zero, zero]
    for offset in FORWARD_OFFSETS:
        here, there = pair_slices(offset)
        k, l = (_Pixels(*(value[..., *end] for value in pixels)) for end in (here, there))
        both, either = ((k.inside & l.inside).to(zero.dtype), (k.inside | l.inside).to(zero.dtype))
        weight = both + half_outside * (either - both)
        same_thing = (k.thing == l.thing) & (k.thing >= 0)
        same_stuff = k.stuff & l.stuff & (k.label == l.label)
        apart = (k.thing != l.thing) | ((k.label != l.label) & (k.label >= 0) & (l.label >= 0))
        affine, cut = _minus_log_affinity(k.score, l.score, eps)
        for i, (members, cost) in enumerate(((same_thing, affine), (same_stuff, affine), (apart, cut))):
            share = members * weight
            sums[i] = sums[i] + (share * cost).sum((1, 2))
            counts[i] = counts[i] + share.sum((1, 2))
    # The smallest number of pairs above none is a half.
    means = [total / count.clamp_min(0.5) for total, count in zip(sums, counts, strict=True)]
    return means[0] / 2 + means[1] / 2 + means[2]


def _minus_log_affinity(k: Tensor, l: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Plain form of Eq. 6: A_kl = 1 - max(b_k, b_l), b = sigmoid(score); returns -log A and -log(1 - A)."""
    strongest = torch.maximum(k, l)
    return _minus_log_sigmoid(-strongest, eps), _minus_log_sigmoid(strongest, eps)


def _minus_log_sigmoid(score: Tensor, eps: float) -> Tensor:
    return -functional.logsigmoid(score) if eps == 0 else -(score.sigmoid() + eps).log()
