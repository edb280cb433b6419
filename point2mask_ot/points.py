"""Annotated points and their targets, as users write them, checked and turned to indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import fail, fail_type, refuse_masked, refuse_sparse


def pixel_indices(function: str, points_yx: Any, height: int, width: int, *, argument: str = "points_yx") -> np.ndarray:
    """The pixel of each point: the one whose centre is nearest, ``floor(c + 0.5)``.

    Args:
        function: public function named in error messages.
        points_yx: (N, 2) row and column, integers or floats: a list of pairs, a NumPy array or a CPU tensor.
        height: H of the image.
        width: W of the image.
        argument: name of the argument in error messages.

    Returns:
        (N, 2) int64; N may be zero.

    Raises:
        ArgumentTypeError: not numbers, or a ragged list.
        ArgumentError: not (N, 2), not finite, on another device than the host, or outside the image.
    """
    points = coordinates(function, argument, points_yx)
    pixels = np.floor(points + 0.5) if points.dtype.kind == "f" else points
    inside = (pixels >= 0) & (pixels < (height, width))
    if not inside.all():
        y, x = points[int(np.argmin(inside.all(1)))].tolist()
        swapped = (pixels >= 0) & (pixels < (width, height))
        hint = " (x before y? the swapped coordinates would fit)" if swapped.all() else ""
        fail(function, argument, f"({y:g}, {x:g})", f"row, column inside the {height}x{width} image{hint}")
    return pixels.astype(np.int64, copy=False)


def coordinates(function: str, argument: str, points_yx: Any) -> np.ndarray:
    """(N, 2) float64 or int64 coordinates, wherever they lie.

    Raises:
        ArgumentTypeError: not numbers, or a ragged list.
        ArgumentError: not (N, 2), not finite, or on another device than the host.
    """
    points = host_array(function, argument, points_yx)
    if points.size == 0 and points.ndim <= 2:
        return np.zeros((0, 2), np.int64)
    if points.ndim != 2 or points.shape[1] != 2:
        fail(function, argument, f"shape {points.shape}", "(N, 2): row, column")
    if points.dtype.kind == "f" and not np.isfinite(points).all():
        fail(function, argument, "NaN or infinity", "finite coordinates")
    return points


def integers(function: str, argument: str, values: Any) -> np.ndarray:
    """(N,) int64: the target of each point, or the category of each target.

    Raises:
        ArgumentTypeError: not a list of integers (floats without a fraction are).
    """
    array = host_array(function, argument, values)
    if array.size and (array.ndim != 1 or not (array == np.floor(array)).all()):
        fail_type(function, argument, values, "a list of integers")
    return array.reshape(-1).astype(np.int64)


def check_targets(function: str, target: np.ndarray, num_targets: int, num_points: int) -> None:
    """Refuse another length than the points, ids that are not 0..K-1, and a target without a point."""
    if len(target) != num_points:
        fail(function, "target", f"{len(target)} entries", f"one for each of the {num_points} points")
    present = np.unique(target)
    if len(present) != num_targets or (num_targets and present[0] != 0):
        shown = present[:8].tolist()
        got = f"ids {shown}" + (f" and {len(present) - 8} more" if len(present) > 8 else "")
        fail(function, "target", got, "ids 0..K-1, with a point for each target")


def host_array(function: str, argument: str, values: Any) -> np.ndarray:
    """A float64 or int64 copy of numbers that lie on the host."""
    if type(values) is not np.ndarray:  # which is neither masked nor on another device
        check_on_host(function, argument, values)
        refuse_masked(function, argument, values)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # a ragged list, or tensors in it that have no NumPy form
        fail_type(function, argument, values, "numbers in a regular shape")
    if array.dtype.kind not in "iuf":
        fail_type(function, argument, values, "integers or floats")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def check_on_host(function: str, argument: str, values: Any) -> None:
    """Refuse a tensor that has no NumPy form: points are annotations, made and kept on the host."""
    refuse_sparse(function, argument, values)
    device = getattr(values, "device", "cpu")
    if getattr(device, "type", device) != "cpu":
        fail(function, argument, f"a tensor on {device}", "host data: call .cpu() first")
    if getattr(values, "requires_grad", False):
        fail(function, argument, "a tensor that requires a gradient", "plain numbers: call .detach() first")
    if str(getattr(values, "dtype", "")) == "torch.bfloat16":
        fail(function, argument, "a tensor of torch.bfloat16", "a dtype that NumPy has: call .float() first")
