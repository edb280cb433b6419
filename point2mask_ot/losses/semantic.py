"""The semantic loss of Point2Mask (Eq. 5): few labels, spread by colour near and far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..arrays import Array, compute_dtype
from ..checks import check_number, fail_type
from .color import lab_affinity_loss
from .partial import partial_cross_entropy
from .tree import tree_affinity_loss


def semantic_loss(
    logits: Array,
    labels: Array,
    image: Array,
    *,
    lab_weight: float = 3.0,
    tree_weight: float = 3.0,
    partial_options: Mapping[str, Any] | None = None,
    lab_options: Mapping[str, Any] | None = None,
    tree_options: Mapping[str, Any] | None = None,
    ignore_index: int = 255,
    valid: Array | None = None,
) -> Any:
    """Learn a semantic map from points: partial cross-entropy + alpha1 * LAB + alpha2 * tree affinity (Eq. 5).

    To log the terms one by one, or to ramp one up, call them yourself and add: this is nothing but their sum.

    Args:
        logits: (B, C, H, W) or (C, H, W) class scores.
        labels: (B, H, W) or (H, W) integer class of the labelled pixels, ``ignore_index`` elsewhere. Grow them with
            :func:`~point2mask_ot.losses.dilate_labels` first where the tree term too should take the grown points for
            labelled.
        image: (B, 3, h, w) or (3, h, w) sRGB in [0, 1], resized bilinearly where its size is not that of the logits.
        lab_weight: alpha1, >= 0; 0 skips the term.
        tree_weight: alpha2, >= 0; 0 skips the term.
        partial_options: further keyword arguments of :func:`partial_cross_entropy`.
        lab_options: further keyword arguments of :func:`lab_affinity_loss`.
        tree_options: further keyword arguments of :func:`tree_affinity_loss`.
        ignore_index: the label of unlabelled pixels.
        valid: (B, H, W) or (H, W) bool; False is padding, whose values never matter. Default: all.

    Returns:
        Scalar >= 0, float64 for float64 logits, else float32.

    Raises:
        ArgumentTypeError, ArgumentError: as the three losses do; options that are not a mapping; negative weights.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 8, 8, requires_grad=True)
        >>> labels = torch.full((8, 8), 255)
        >>> labels[0, 0] = 1
        >>> semantic_loss(logits, labels, torch.rand(3, 8, 8)).backward()
        >>> bool(logits.grad[1, 0, 0] < 0)  # the labelled pixel's score must rise
        True
    """
    name = "semantic_loss"
    lab_weight = check_number(name, "lab_weight", lab_weight, minimum=0)
    tree_weight = check_number(name, "tree_weight", tree_weight, minimum=0)
    partial, lab, tree = (
        _options(argument, given)
        for argument, given in (
            ("partial_options", partial_options),
            ("lab_options", lab_options),
            ("tree_options", tree_options),
        )
    )
    if isinstance(logits, torch.Tensor) and logits.is_floating_point():
        logits = logits.to(compute_dtype(logits))  # so that the three gradients add up in float32
    known: dict[str, Any] = {"labels": labels, "ignore_index": ignore_index, "valid": valid}
    # Plain form of Eq. 5: L_partial + alpha1 L_LAB + alpha2 L_tree.
    loss = partial_cross_entropy(logits, **known, **partial)
    if lab_weight:
        loss = loss + lab_weight * lab_affinity_loss(logits, image, valid=valid, **lab)
    if tree_weight:
        loss = loss + tree_weight * tree_affinity_loss(logits, image, **known, **tree)
    return loss


def _options(argument: str, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        fail_type("semantic_loss", argument, given, "a mapping of keyword arguments")
    return given or {}
