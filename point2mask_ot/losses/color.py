"""Pixels of one colour share one class: the CIELAB affinity loss (Eq. 12-13)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..arrays import Array, compute_dtype
from ..checks import check_integer, check_number, fail, fail_type
from ..maps.lab import srgb_to_lab
from ._inputs import check_picture, nan_if_any, picture_like, read_batch
from ._pair_ops import Offset, disagreement, similar_pairs

Neighbourhood: TypeAlias = tuple[int, int, float]
"""(kernel, dilation, weight): the kernel x kernel pixels around one, ``dilation`` pixels apart."""

DEFAULT_KERNELS: tuple[Neighbourhood, ...] = ((3, 2, 0.35), (5, 2, 0.65))
"""The neighbourhoods of the released code; ``((3, 1, 1.0),)`` is the N8 of the paper's text."""


def lab_affinity_loss(
    logits: Array,
    image: Array,
    *,
    kernels: Sequence[Neighbourhood] = DEFAULT_KERNELS,
    threshold: float = 0.3,
    theta: float = 2.0,
    valid: Array | None = None,
) -> Any:
    """Neighbours of similar colour should agree on their class (Eq. 12-13)::

        A_ij = exp(-|LAB_i - LAB_j| / theta)
        L = mean over images of  sum over kernels of  weight * mean over {ij: A_ij >= threshold} of -log <p_i, p_j>

    with p = softmax(logits). Only pairs inside the image (and inside ``valid``) count; the released code also takes
    the border of a dark picture for a neighbour. A kernel that finds no similar pair in an image adds zero.

    Each pair is computed once, for both its ends, by shifting the map: beside the logits and their gradient the
    loss keeps one number a pair, whatever the number of classes. Agreement below e^-60 counts as e^-60.

    Args:
        logits: (B, C, H, W) or (C, H, W) class scores.
        image: (B, 3, h, w) or (3, h, w) sRGB in [0, 1], resized bilinearly where its size is not that of the logits
            (colours then mix across the border of padding: mark such pixels invalid, or crop before). It gets no
            gradient.
        kernels: (kernel, dilation, weight) each: odd kernel >= 3, dilation >= 1, weight >= 0. The default is the
            released code's; ``((3, 1, 1.0),)`` is the eight neighbours of the paper's text.
        threshold: smallest affinity of a pair that counts, in [0, 1].
        theta: LAB distance at which the affinity is 1/e, > 0.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. Default: all.

    Returns:
        Scalar >= 0, float64 for float64 logits, else float32.

    Raises:
        ArgumentTypeError: NumPy beside torch, integer maps, a mask that is not bool, kernels that are not triples.
        ArgumentError: sizes that differ, a picture outside [0, 1] (NaN instead of an error on a GPU or in a compiled
            graph: nothing waits for the device), kernels, threshold or theta out of range.

    Example:
        >>> import torch
        >>> image = torch.rand(3, 8, 8)
        >>> undecided = torch.zeros(2, 8, 8)
        >>> f"{lab_affinity_loss(undecided, image, threshold=0).item():.4f}"  # -log(1/2)
        '0.6931'
    """
    name = "lab_affinity_loss"
    maps, others, restore = read_batch(name, {"logits": logits}, masks={"valid": valid}, others={"image": image})
    scores, inside = maps["logits"], others["valid"]
    offsets, shares = _offsets(kernels)
    threshold = check_number(name, "threshold", threshold, minimum=0, maximum=1)
    reach = _reach(threshold, check_number(name, "theta", theta, above=0))
    picture = picture_like(name, "image", others["image"], scores)
    verdict = check_picture(name, "image", picture, inside)

    lab = srgb_to_lab(picture).to(compute_dtype(scores))
    weights = _pair_weights(similar_pairs(lab, inside, offsets, reach), offsets, shares)
    loss = disagreement(scores, weights, inside, offsets)
    return restore(loss + (verdict + nan_if_any(scores, inside)).to(loss.dtype))


def _reach(threshold: float, theta: float) -> float:
    """Plain form of Eq. 12: A_ij = exp(-|LAB_i - LAB_j| / theta), solved for the distance at which it is the threshold.

    A pair is alike up to there; its affinity itself enters nothing.
    """
    return -theta * math.log(threshold) if threshold else math.inf


def _offsets(kernels: Sequence[Neighbourhood]) -> tuple[list[Offset], list[dict[Offset, float]]]:
    """The forward half of all offsets without repeats, and per kernel its weight at each of its own."""
    if not isinstance(kernels, Sequence) or not all(isinstance(k, Sequence) and len(k) == 3 for k in kernels):
        fail_type("lab_affinity_loss", "kernels", kernels, "a list of (kernel, dilation, weight)")
    if not kernels:
        fail("lab_affinity_loss", "kernels", "none", "at least one (kernel, dilation, weight)")
    shares = []
    for i, (kernel, dilation, weight) in enumerate(kernels):
        size = check_integer("lab_affinity_loss", f"kernels[{i}][0]", kernel, minimum=3)
        if size % 2 == 0:
            fail("lab_affinity_loss", f"kernels[{i}][0]", size, "an odd kernel")
        step = check_integer("lab_affinity_loss", f"kernels[{i}][1]", dilation, minimum=1)
        share = check_number("lab_affinity_loss", f"kernels[{i}][2]", weight, minimum=0)
        half = size // 2
        steps = [(dy, dx) for dy in range(half + 1) for dx in range(-half, half + 1) if (dy, dx) > (0, 0)]
        shares.append({(dy * step, dx * step): share for dy, dx in steps})
    return sorted({offset for share in shares for offset in share}), shares


def _pair_weights(similar: Tensor, offsets: list[Offset], shares: list[dict[Offset, float]]) -> Tensor:
    """(S, B, H, W) 0 or 1 -> what each pair counts in the loss: a share of its kernels' means and of the batch."""
    pairs = similar.sum((2, 3))
    scales = [torch.zeros_like(pairs[0]) for _ in offsets]
    for share in shares:
        members = [s for s, offset in enumerate(offsets) if offset in share]
        count = sum((pairs[s] for s in members), torch.zeros_like(pairs[0])).clamp_min(1)
        for s in members:
            scales[s] = scales[s] + share[offsets[s]] / (len(count) * count)
    return similar * torch.stack(scales)[:, :, None, None]
