"""Cross-entropy on the few pixels that carry a label, and the squares that grow them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import Array, as_tensors, check_floating, compute_dtype
from ..checks import check_choice, check_integer, fail, fail_type
from ._inputs import check_labels, nan_if_any, read_batch

_NOT_A_TARGET = -100


def partial_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    dilation: int = 1,
    reduction: Literal["pixels", "images", "sum"] = "pixels",
    weight: Array | None = None,
    ignore_index: int = 255,
    valid: Array | None = None,
) -> Any:
    """Mean of -log softmax(logits)[label] over the labelled pixels (the first term of Eq. 5).

    Without any label the loss is zero, and still has a graph.

    Args:
        logits: (B, C, H, W) or (C, H, W) class scores.
        labels: (B, H, W) or (H, W) integer class of the labelled pixels, ``ignore_index`` elsewhere. Not changed.
        dilation: side of the square that each labelled pixel is grown to first, odd; 1 grows nothing, 17 is the
            released code's (at the size of the picture). See :func:`~point2mask_ot.losses.dilate_labels`.
        reduction: ``"pixels"``, as the released code: every labelled pixel of the batch weighs the same;
            ``"images"``: every image does, one without labels adding zero; ``"sum"``: the sum over pixels, for
            batches that are spread over processes or steps.
        weight: (C,) factor on the pixels of each class, as in :func:`torch.nn.functional.cross_entropy`: means are
            over the sum of weights. Default: all 1.
        ignore_index: the label of unlabelled pixels.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. Default: all.

    Returns:
        Scalar >= 0, float64 for float64 logits, else float32.

    Raises:
        ArgumentTypeError: NumPy beside torch, labels that are not integers, a mask that is not bool.
        ArgumentError: sizes that differ, weights that are not one for each class, an even dilation, a label that is
            neither 0..C-1 nor ``ignore_index`` (NaN instead of an error on a GPU or in a compiled graph: nothing waits
            for the device).

    Example:
        >>> import torch
        >>> logits = torch.zeros(4, 6, 6)
        >>> labels = torch.full((6, 6), 255)
        >>> labels[2, 3] = 1
        >>> f"{partial_cross_entropy(logits, labels).item():.4f}"  # log 4
        '1.3863'
    """
    name = "partial_cross_entropy"
    others = {"weight": weight}
    maps, masks, restore = read_batch(name, {"logits": logits}, {"labels": labels}, {"valid": valid}, others)
    check_choice(name, "reduction", reduction, ("pixels", "images", "sum"))
    window = _check_window(name, "dilation", dilation)
    scores, targets, inside = maps["logits"], maps["labels"], masks["valid"]
    labelled, verdict = check_labels(name, "labels", targets, scores.shape[1], ignore_index, inside)
    targets = torch.where(labelled, targets, _NOT_A_TARGET).long()
    if window > 1:
        targets = _grow(targets, window, _NOT_A_TARGET)
    if inside is not None:
        targets = torch.where(inside, targets, _NOT_A_TARGET)
        scores = scores.masked_fill(~inside[:, None], 0)

    scores = scores.to(compute_dtype(scores))
    factors = _class_weights(masks["weight"], scores)
    surprise = functional.cross_entropy(scores, targets, factors, ignore_index=_NOT_A_TARGET, reduction="none")
    known = targets.ne(_NOT_A_TARGET)
    count = (known if factors is None else factors[targets.clamp_min(0)] * known).sum((1, 2))
    if reduction == "images":
        loss = (surprise.sum((1, 2)) / count.where(count > 0, 1)).mean()
    else:
        total = count.sum()
        loss = surprise.sum() / (total.where(total > 0, 1) if reduction == "pixels" else 1)
    return restore(loss + (verdict + nan_if_any(maps["logits"], inside)).to(loss.dtype))


def _class_weights(weight: Tensor | None, scores: Tensor) -> Tensor | None:
    if weight is None:
        return None
    name, classes = "partial_cross_entropy", scores.shape[1]
    check_floating(name, "weight", weight)
    if weight.numel() != classes or weight.shape[-1] != classes:
        fail(name, "weight", f"shape {tuple(weight.shape)}", f"({classes},): one for each class")
    return weight.reshape(-1).to(scores.dtype)


def dilate_labels(labels: Array, window: int, *, ignore_index: int = 255) -> Any:
    """Grow every labelled pixel to a ``window`` x ``window`` square; where squares overlap the lowest class wins.

    The rule holds for the labelled pixels themselves too: inside the square of a lower class a point loses its
    pixel, as in the released code's argmax over dilated class planes.

    Args:
        labels: (B, H, W) or (H, W) integers in [0, 2^24), ``ignore_index`` where there is none.
        window: side of the square, odd.
        ignore_index: the label of unlabelled pixels.

    Returns:
        A new map of the shape and dtype of ``labels``.

    Raises:
        ArgumentTypeError: labels that are not integers.
        ArgumentError: another shape, an even or non-positive window.

    Example:
        >>> import torch
        >>> dilate_labels(torch.tensor([[9, 9, 2, 9, 1, 9, 9]]), 3, ignore_index=9).tolist()
        [[9, 2, 2, 1, 1, 1, 9]]
    """
    (given,), restore = as_tensors("dilate_labels", labels=labels)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        fail_type("dilate_labels", "labels", given.dtype, "an integer label map")
    if given.ndim not in (2, 3) or 0 in given.shape:
        fail("dilate_labels", "labels", f"shape {tuple(given.shape)}", "a non-empty (H, W) or (B, H, W)")
    grown = _grow(given, _check_window("dilate_labels", "window", window), ignore_index)
    return restore(grown)


def _check_window(function: str, argument: str, window: int) -> int:
    side = check_integer(function, argument, window, minimum=1)
    if side % 2 == 0:
        fail(function, argument, side, "an odd number of pixels, so that the square has a centre")
    return side


def _grow(labels: Tensor, window: int, ignore_index: int) -> Tensor:
    # The lowest label of a window is a max-pool of the negated labels, one row and one column window in turn;
    # float32 holds every integer below 2^24, and pooling has no integer kernel.
    negated = torch.where(labels == ignore_index, -torch.inf, -labels.float())[..., None, :, :]
    half = window // 2
    rows = functional.max_pool2d(negated, (1, window), stride=1, padding=(0, half))
    lowest = -functional.max_pool2d(rows, (window, 1), stride=1, padding=(half, 0)).squeeze(-3)
    grown = torch.where(lowest == torch.inf, float(ignore_index), lowest)
    return grown.to(labels.dtype)
