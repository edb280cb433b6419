"""Task-oriented maps from a picture alone: smoothed CIELAB, its gradient, and structured edges."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array, as_tensors, compute_dtype
from ..checks import ArgumentTypeError, check_number, fail
from ..compiled.operators import operator
from ..pixels import to_8_bits, without_alpha
from .lab import srgb_to_lab

RANGE_TOLERANCE = 1e-3
"""How far outside [0, 1] a picture may lie (interpolation overshoots a little); such values are clamped."""

LAB_SCALE = 100.0
"""Black to white is 1: a CIELAB map divided by this has the weight of one class probability in Eq. 2."""

STRONG_EDGE_QUANTILE = 0.99
NOTICEABLE_GRADIENT = 1.0 / LAB_SCALE
_BAND = 1 << 17
"""Pixels that are converted at a time on the host."""
_VECTORS = 64
"""Values that fill some vectors on every processor."""


def smooth_lab(image: Array, sigma: float = 1.0) -> Array:
    """Smooth a picture's CIELAB values and scale them for an L1 difference between neighbours.

    L, a and b are divided by 100, so that black against white differs by 1. A Gaussian (cut off at four standard
    deviations, the border pixel repeated outside) takes out the noise that a shortest path would add up. Pass the
    result to ``edge_costs`` as ``MapTerm(smooth_lab(image), kind="l1")``.

    Args:
        image: sRGB picture. NumPy (H, W, 3), as pictures are loaded, or (B, 3, H, W); torch (3, H, W) or
            (B, 3, H, W). uint8 in 0..255, floats in [0, 1], or uint16, whose percentiles 1 and 99.8 become black and
            white. One channel (or none: (H, W)) is grey, a fourth one is alpha and must be opaque.
        sigma: standard deviation of the Gaussian in pixels; 0 leaves the values as they are.

    Returns:
        (3, H, W), or (B, 3, H, W) for a batch, in the family and on the device of ``image``; float64 for a float64
        picture, else float32. No gradient flows back (``losses`` has the differentiable conversion).

    Raises:
        ArgumentTypeError: other integers, booleans, complex numbers, a list, a masked array.
        ArgumentError: another shape (NumPy with channels first), transparent pixels, an empty picture, NaN, floats
            outside [0, 1] by more than 1e-3, a negative or non-finite sigma.

    Example:
        >>> import numpy as np
        >>> picture = np.zeros((4, 6, 3), np.uint8)
        >>> picture[:, 3:] = 255
        >>> smooth_lab(picture, sigma=0)[0, 0].round(3).tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    sigma = check_number("smooth_lab", "sigma", sigma, minimum=0)
    picture, restore, single = _unit_picture("smooth_lab", image)
    lab = _smooth_lab(picture, sigma)
    return restore(lab[0] if single else lab)


def lab_gradient(image: Array, sigma: float = 1.0) -> Array:
    """Mark a picture's edges: the gradient magnitude of its smoothed CIELAB values, a boundary map for Eq. 3.

    Central differences of all three channels, root of the sum of their squares. Each picture is divided by the
    99th percentile of its pixels and clipped at 1; the divisor is at least one CIELAB unit a pixel (about what
    the eye notices), so that the noise of a flat picture stays small and a constant picture gives zeros.

    Args:
        image: as in :func:`smooth_lab`.
        sigma: standard deviation of the smoothing in pixels.

    Returns:
        (1, H, W), or (B, 1, H, W) for a batch, in [0, 1]; family, device and dtype as in :func:`smooth_lab`.

    Raises:
        ArgumentError: as in :func:`smooth_lab`.

    Example:
        >>> import numpy as np
        >>> picture = np.zeros((4, 6, 3), np.uint8)
        >>> picture[:, 3:] = 255
        >>> lab_gradient(picture, sigma=0)[0, 0].tolist()
        [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    """
    sigma = check_number("lab_gradient", "sigma", sigma, minimum=0)
    picture, restore, single = _unit_picture("lab_gradient", image)
    edges = _gradient(_smooth_lab(picture, sigma))
    return restore(edges[0] if single else edges)


def lab_with_gradient(function: str, image: Array, sigma: float) -> tuple[Array, Array]:
    """What :func:`smooth_lab` and :func:`lab_gradient` return, smoothed once; errors name ``function``."""
    picture, restore, single = _unit_picture(function, image)
    lab = _smooth_lab(picture, sigma)
    edges = _gradient(lab)
    return (restore(lab[0]), restore(edges[0])) if single else (restore(lab), restore(edges))


def _gradient(lab: Tensor) -> Tensor:
    magnitude = _in_bands(_slope, lab, 1)
    flat = magnitude.flatten(1)
    rank = math.ceil(STRONG_EDGE_QUANTILE * flat.shape[1])
    strong = flat.kthvalue(rank, dim=1).values.clamp_min(NOTICEABLE_GRADIENT)
    return (magnitude / strong[:, None, None, None]).clamp_max(1.0)


def _slope(lab: Tensor) -> Tensor:
    squares = sum(_central_difference(lab, axis).square() for axis in (-2, -1))
    return squares.sum(dim=1, keepdim=True).sqrt()  # type: ignore[union-attr]  # sum() of tensors


def structured_edges(image: Array, model_path: str | os.PathLike[str], *, suppress: bool = True) -> Array:
    """Detect edges with a structured forest (Dollar & Zitnick, ICCV 2013): the paper's low-level boundary, P_low.

    Runs OpenCV's ``ximgproc`` detector on the CPU, with RGB channels as OpenCV documents it. The trained model is
    not part of this package: OpenCV publishes one as ``model.yml.gz`` in its ``opencv_extra`` test data. The
    last model read is kept in memory.

    Args:
        image: as in :func:`smooth_lab`; a tensor must be on the CPU. A picture smaller than the model's patch is
            mirrored up to its size.
        model_path: model in OpenCV's YAML format, plain or gzipped. It is checked before use, since OpenCV loops
            for ever or reads foreign memory on a damaged one.
        suppress: thin the edges by non-maximum suppression. The detector's own map is several pixels wide.

    Returns:
        (1, H, W), or (B, 1, H, W) for a batch, float32 in [0, 1], in the family of ``image``.

    Raises:
        FileError: the model is missing, unreadable, or not a structured forest.
        ArgumentError: as in :func:`smooth_lab`, or a tensor on an accelerator.

    Example:
        >>> from point2mask_ot import read_picture
        >>> boundary = structured_edges(read_picture("a.jpg"), "model.yml.gz")  # doctest: +SKIP
        >>> boundary.shape  # doctest: +SKIP
        (1, 333, 500)
    """
    from . import structured_forest

    picture, restore, single = _unit_picture("structured_edges", image)
    if picture.device.type != "cpu":
        fail("structured_edges", "image", f"a tensor on {picture.device}", "host data: call .cpu() first")
    forest = structured_forest.load(model_path)
    pictures = picture.movedim(1, -1).float().contiguous().numpy()
    edges = torch.from_numpy(np.stack([forest.edges(rgb, suppress=bool(suppress)) for rgb in pictures]))[:, None]
    return restore(edges[0] if single else edges)


def _unit_picture(function: str, image: Array) -> tuple[Tensor, Any, bool]:
    """(B, 3, H, W) floats in [0, 1], the way back to the caller's family, and whether there was no batch axis."""
    (tensor,), restore = as_tensors(function, image=image)
    of_numpy = isinstance(image, np.ndarray)
    layout = "(H, W, 3)" if of_numpy else "(3, H, W)"
    layout += " sRGB pixels, or a batch (B, 3, H, W); 1 channel if grey, 4 with alpha"
    single = tensor.ndim != 4
    if tensor.ndim == 2:
        batch = tensor[None, None]
    elif tensor.ndim == 3:
        batch = (tensor.movedim(2, 0) if of_numpy else tensor)[None]
    else:
        batch = tensor
    if batch.ndim != 4 or batch.shape[1] not in (1, 3, 4):
        got = f"shape {tuple(tensor.shape)}"
        if of_numpy and tensor.ndim == 3 and tensor.shape[0] in (1, 3, 4):
            layout += " (channels first? image.transpose(1, 2, 0) is channels last)"
        elif tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4):
            layout += " (channels last? image.permute(2, 0, 1) is channels first)"
        fail(function, "image", got, layout)
    if 0 in tensor.shape:
        fail(function, "image", f"shape {tuple(tensor.shape)}", "at least one pixel")
    if tensor.dtype not in (torch.uint8, torch.uint16) and not tensor.is_floating_point():
        raise ArgumentTypeError(function, "image", tensor.dtype, "uint8, uint16, or floats in [0, 1]")
    return _to_unit_range(batch.detach(), function), restore, single


def _unit_range_shape(picture: Tensor, function: str) -> Tensor:
    return picture.new_empty((len(picture), 3, *picture.shape[2:]), dtype=compute_dtype(picture))


@operator("unit_range(Tensor picture, str function) -> Tensor", _unit_range_shape)
def _to_unit_range(picture: Tensor, function: str) -> Tensor:
    """(B, 1 | 3 | 4, H, W) pixels -> (B, 3, H, W) floats: grey repeated, alpha dropped, deep ones stretched."""
    if picture.dtype == torch.uint16:  # of which torch knows little; as files are read
        planes = [plane.transpose(1, 2, 0) for plane in picture.cpu().numpy()]
        opaque = [to_8_bits(function, "image", without_alpha(function, "image", plane)) for plane in planes]
        picture = torch.from_numpy(np.stack(opaque)).to(picture.device).movedim(-1, 1)
    if picture.shape[1] == 4:
        _refuse_transparency(function, picture[:, 3])
        picture = picture[:, :3]
    values = _checked_range(function, picture)
    return values if values.shape[1] == 3 else values.repeat(1, 3, 1, 1)


def _refuse_transparency(function: str, alpha: Tensor) -> None:
    opaque = 255 if alpha.dtype == torch.uint8 else 1 - RANGE_TOLERANCE
    if not bool((alpha >= opaque).all()):
        fail(function, "image", "transparent pixels", "an opaque picture")


def _checked_range(function: str, picture: Tensor) -> Tensor:
    """A copy as floats in [0, 1]."""
    if picture.dtype == torch.uint8:
        return picture.contiguous().float() / 255.0
    values = picture.to(compute_dtype(picture), memory_format=torch.contiguous_format, copy=True)
    low, high = (bound.item() for bound in torch.aminmax(values))
    if math.isnan(low) or math.isnan(high):
        fail(function, "image", "NaN", "finite values in [0, 1]")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        hint = "; divide 0..255 pictures by 255" if high > 2 else ""
        fail(function, "image", f"values in [{low:.4g}, {high:.4g}]", f"floats in [0, 1]{hint}")
    return values.clamp_(0, 1)


def _smooth_lab(picture: Tensor, sigma: float) -> Tensor:
    def smooth(band: Tensor) -> Tensor:
        return _gaussian(_gaussian(srgb_to_lab(band) / LAB_SCALE, sigma, -2), sigma, -1)

    return _in_bands(smooth, picture, _radius(sigma))


def _in_bands(function: Callable[[Tensor], Tensor], values: Tensor, reach: int) -> Tensor:
    """The same, some rows at a time, whose intermediate values stay in cache; a row depends on ``reach`` about it.

    Bands begin and end with whole vectors: what is left over of one is not rounded as they are.
    """
    height, width = values.shape[-2:]
    whole = _VECTORS // math.gcd(_VECTORS, width)
    reach = -(-reach // whole) * whole
    rows = max(-(-_BAND // (width * whole)) * whole, 4 * reach)
    if values.device.type != "cpu" or height < 2 * rows:
        return function(values)
    bands = []
    for start in range(0, height, rows):
        stop, first = min(start + rows, height), max(start - reach, 0)
        bands.append(function(values[..., first : stop + reach, :]).narrow(-2, start - first, stop - start))
    return torch.cat(bands, -2)


def _radius(sigma: float) -> int:
    return int(4.0 * sigma + 0.5)


def _gaussian(values: Tensor, sigma: float, axis: int) -> Tensor:
    radius = _radius(sigma)
    if radius == 0:
        return values
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    total = math.fsum(weights)
    # A sum of shifts rather than a convolution: autocast and TF32 leave it alone, and its bits do not vary.
    length = values.shape[axis]
    padded = _repeat_border(values, radius, axis)
    smooth = torch.zeros_like(values)
    for start, weight in enumerate(weights):
        smooth.add_(padded.narrow(axis, start, length), alpha=weight / total)
    return smooth


def _central_difference(values: Tensor, axis: int) -> Tensor:
    length = values.shape[axis]
    padded = _repeat_border(values, 1, axis)
    return (padded.narrow(axis, 2, length) - padded.narrow(axis, 0, length)) / 2


def _repeat_border(values: Tensor, width: int, axis: int) -> Tensor:
    indices = torch.arange(-width, values.shape[axis] + width, device=values.device)
    return values.index_select(axis, indices.clamp(0, values.shape[axis] - 1))
