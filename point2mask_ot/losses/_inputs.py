"""What every loss does first: bring its arguments to one batch, and refuse what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import Array, Restore, as_optional_tensors, check_floating, compute_dtype
from ..checks import fail, fail_type, values_at_hand

_NOTHING: Mapping[str, Any] = {}


def read_batch(
    function: str,
    maps: Mapping[str, Array],
    labels: Mapping[str, Array] = _NOTHING,
    masks: Mapping[str, Array | None] = _NOTHING,
    others: Mapping[str, Array | None] = _NOTHING,
) -> tuple[dict[str, Tensor], dict[str, Tensor | None], Restore]:
    """Check kinds and shapes of one call's arguments and give each its batch axis.

    Args:
        function: public loss named in error messages.
        maps: floating (B, C, H, W) or, all of them, (C, H, W); the first sets B, H and W.
        labels: integer (B, H, W).
        masks: bool (B, H, W), or None.
        others: arrays whose shape the caller checks, only held to the device and the family of the rest.

    Returns:
        The maps and labels by name; the masks and others by name (None stays None); and the function that turns
        the result into the family of the inputs.
    """
    given = {**maps, **labels, **masks, **others}
    tensors, restore = as_optional_tensors(function, **given)
    by_name = dict(zip(given, tensors, strict=True))
    reference = next(iter(maps))
    shape = _shape(function, reference, by_name[reference])
    single = len(shape) == 3
    for name in given:
        value = by_name[name]
        if name in others or (value is None and name in masks):
            continue
        if value is None:
            fail_type(function, name, None, "an array")
        _check_kind(function, name, value, "map" if name in maps else "label" if name in labels else "mask")
        expected = (*shape[:-3], *value.shape[-3:-2], *shape[-2:]) if name in maps else (*shape[:-3], *shape[-2:])
        if value.ndim != len(expected) or tuple(value.shape) != expected:
            fail(function, name, f"shape {tuple(value.shape)}", _expected_shape(reference, shape, name in maps))
        # Label maps are often uint8, in which a marker such as -1 would wrap around.
        wide = value.long() if name in labels else value
        by_name[name] = wide[None] if single else wide
    for name in others:
        value = by_name[name]
        by_name[name] = value[None] if single and value is not None else value
    required = {name: by_name[name] for name in (*maps, *labels)}
    return required, {name: by_name[name] for name in (*masks, *others)}, restore  # type: ignore[return-value]


def _shape(function: str, name: str, value: Tensor | None) -> tuple[int, ...]:
    if value is None or value.ndim not in (3, 4) or 0 in value.shape:
        got = "None" if value is None else f"shape {tuple(value.shape)}"
        fail(function, name, got, "a non-empty (C, H, W) or (B, C, H, W)")
    return tuple(value.shape)


def _expected_shape(reference: str, shape: tuple[int, ...], is_map: bool) -> str:
    channels = ("channels",) if is_map else ()
    wanted = ", ".join(map(str, (*shape[:-3], *channels, *shape[-2:])))
    return f"({wanted}), the batch and size of '{reference}' (resize to it first)"


def _check_kind(function: str, name: str, value: Tensor, kind: str) -> None:
    if kind == "map":
        check_floating(function, name, value)
    if kind == "label" and (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool):
        fail_type(function, name, value.dtype, "an integer label map")
    if kind == "mask" and value.dtype != torch.bool:
        fail_type(function, name, value.dtype, "a bool mask")


def refuse(function: str, argument: str, wrong: Tensor, got: str, expected: str) -> Tensor:
    """Refuse values without making a device wait.

    On the CPU, outside a compiled graph, looking at the data is free: any True in ``wrong`` raises. Elsewhere the
    scalar that is returned, to be added to the loss, is NaN instead of 0: wrong data never passes as a loss.
    """
    if values_at_hand(wrong) and bool(wrong.any()):
        fail(function, argument, got, expected)
    return torch.where(wrong.any(), torch.nan, 0.0)


def check_labels(
    function: str, argument: str, labels: Tensor, count: int, ignore_index: int, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Where a pixel carries a label 0..count-1, and :func:`refuse`'s scalar for labels that are neither those nor
    ``ignore_index`` (what lies outside ``valid`` does not matter)."""
    labelled = labels != ignore_index
    if valid is not None:
        labelled = labelled & valid
    known = (labels >= 0) & (labels < count)
    expected = f"0..{count - 1}, or ignore_index={ignore_index}"
    verdict = refuse(function, argument, labelled & ~known, "a label out of range", expected)
    return labelled & known, verdict


def picture_like(function: str, argument: str, image: Tensor | None, scores: Tensor) -> Tensor:
    """A (B, 3, h, w) picture, bilinearly at the (H, W) of ``scores``, without a gradient."""
    if image is None:
        fail_type(function, argument, None, "a floating-point picture")
    check_floating(function, argument, image)
    if image.ndim != 4 or len(image) != len(scores) or image.shape[1] != 3 or 0 in image.shape:
        fail(function, argument, f"shape {tuple(image.shape)}", f"(3, h, w) for each of 'logits' {tuple(scores.shape)}")
    image = image.detach().to(compute_dtype(image))
    if image.shape[-2:] == scores.shape[-2:]:
        return image
    return functional.interpolate(image, scores.shape[-2:], mode="bilinear", align_corners=False)


def check_picture(function: str, argument: str, image: Tensor, valid: Tensor | None) -> Tensor:
    """Refuse values that are not sRGB in [0, 1]; :func:`refuse`'s scalar."""
    wrong = ~((image >= -1e-3) & (image <= 1 + 1e-3)).all(1)
    if valid is not None:
        wrong = wrong & valid
    return refuse(function, argument, wrong, "values out of range, or NaN", "sRGB in [0, 1], not 0-255, not normalised")


def nan_if_any(scores: Tensor, valid: Tensor | None) -> Tensor:
    """0, or NaN where a valid (B, C, H, W) score is NaN: it would spoil the gradient, also where no loss looks."""
    wrong = scores.detach().isnan().any(1)
    if valid is not None:
        wrong = wrong & valid
    return torch.where(wrong.any(), torch.nan, 0.0)
