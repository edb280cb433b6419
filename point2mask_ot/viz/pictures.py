"""Draw points, paths, partitions, masks and maps of costs.

Every function takes pictures as ``label_picture`` does, gives (H, W, 3) uint8, leaves its inputs alone, and draws the
same bits each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ..arrays import Array, as_tensors
from ..checks import check_integer, check_number, fail, fail_type
from ..maps.pictures import RANGE_TOLERANCE
from ..pixels import to_8_bits, without_alpha
from ..types import PointTargets
from .canvas import INK, WHITE, blend, borders, fill_disc, hatching, line_coverage, onto, to_bytes
from .colors import UNREACHABLE, heat_colors, target_colors


def draw_points(
    image: Array,
    targets: PointTargets,
    *,
    grid: tuple[int, ...] | None = None,
    radius: float | None = None,
    colors: np.ndarray | None = None,
) -> np.ndarray:
    """Draw each annotated point as a disc in its target's colour, with a white ring and a dark rim.

    Args:
        image: as in :func:`~point2mask_ot.label_picture`.
        targets: the points.
        grid: (height, width) of the picture that the points refer to, where ``image`` is a resized one.
        radius: of the coloured disc in pixels of ``image``; default: 1/75 of the longer side, at least 3.
        colors: (K, 3) uint8, one for each target; default :func:`target_colors`.

    Returns:
        A new (H, W, 3) uint8 picture.

    Raises:
        ArgumentTypeError, ArgumentError: not such a picture; radius <= 0; colors of another shape.

    Example:
        >>> marked = draw_points(np.zeros((20, 20, 3), np.uint8), PointTargets([(10, 10)]))
        >>> marked[10, 10].tolist()
        [230, 159, 0]
    """
    canvas = check_picture("draw_points", image).astype(np.float64)
    size = max(3.0, max(canvas.shape[:2]) / 75) if radius is None else radius
    size = check_number("draw_points", "radius", size, above=0)
    ring = max(1.5, size * 0.4)
    palette = target_colors(targets) if colors is None else np.asarray(colors)
    if palette.shape != (targets.num_targets, 3):
        fail("draw_points", "colors", f"shape {palette.shape}", f"({targets.num_targets}, 3): one for each target")
    for point, target in zip(onto(canvas.shape[:2], targets.points_yx, grid), targets.target, strict=True):
        fill_disc(canvas, point, size + ring + 1, INK)
        fill_disc(canvas, point, size + ring, WHITE)
        fill_disc(canvas, point, size, palette[target])
    return to_bytes(canvas)


def draw_paths(
    image: Array,
    paths: Iterable[np.ndarray],
    *,
    grid: tuple[int, ...] | None = None,
    width: float | None = None,
) -> np.ndarray:
    """Draw paths as white lines with a dark casing, which read on any background.

    Args:
        image: as in :func:`~point2mask_ot.label_picture`.
        paths: each (L, 2) row, column, as ``shortest_path`` returns it.
        grid: (height, width) of the grid that the paths run on, where it is not the picture's.
        width: of the white line in pixels; default: 1/300 of the longer side, at least 1.5.

    Returns:
        A new (H, W, 3) uint8 picture.

    Raises:
        ArgumentTypeError, ArgumentError: not such a picture; a path that is not (L, 2); width <= 0.
    """
    canvas = check_picture("draw_paths", image).astype(np.float64)
    line = max(1.5, max(canvas.shape[:2]) / 300) if width is None else width
    line = check_number("draw_paths", "width", line, above=0)
    drawn = []
    for path in paths:
        vertices = np.asarray(path)
        if vertices.ndim != 2 or vertices.shape[1] != 2:
            fail("draw_paths", "paths", f"a path of shape {vertices.shape}", "(L, 2): row, column")
        drawn.append(onto(canvas.shape[:2], vertices, grid))
    for color, stroke in ((INK, line + 2), (WHITE, line)):
        blend(canvas, line_coverage(canvas.shape[:2], drawn, stroke), color)
    return to_bytes(canvas)


def partition_map(
    image: Array, labels: np.ndarray, *, colors: np.ndarray | None = None, opacity: float = 0.6
) -> np.ndarray:
    """Tint each region of a label map, with white borders between regions and grey hatching where there is none.

    Args:
        image: as in :func:`~point2mask_ot.label_picture`.
        labels: (H, W) integers: index of the region, or negative for void.
        colors: (K, 3) uint8, one for each label; default :func:`target_colors`.
        opacity: of the tint, 0 (only the borders) to 1.

    Returns:
        A new (H, W, 3) uint8 picture.

    Raises:
        ArgumentTypeError, ArgumentError: not such a picture; labels of another size or kind, or without a colour;
            opacity outside [0, 1].

    Example:
        >>> labels = np.repeat([[0, 0, 0, 1, 1, 1]], 2, axis=0)
        >>> tinted = partition_map(np.zeros((2, 6, 3), np.uint8), labels, opacity=1)
        >>> tinted[0, [0, 2, 5]].tolist()
        [[230, 159, 0], [255, 255, 255], [0, 114, 178]]
    """
    picture = check_picture("partition_map", image)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        fail_type("partition_map", "labels", labels, "an integer NumPy array")
    if labels.shape != picture.shape[:2]:
        fail("partition_map", "labels", f"shape {labels.shape}", f"the picture's {picture.shape[:2]}")
    opacity = check_number("partition_map", "opacity", opacity, minimum=0, maximum=1)
    palette = target_colors(int(labels.max(initial=-1)) + 1) if colors is None else np.asarray(colors)
    if labels.max(initial=-1) >= len(palette):
        fail("partition_map", "labels", int(labels.max()), f"labels below {len(palette)}, the number of colors")
    void = labels < 0
    tint = hatching(labels.shape)
    tint[~void] = palette[labels[~void]]
    canvas = picture + opacity * (tint - picture)
    canvas[borders(labels)] = WHITE
    return to_bytes(canvas)


def overlay_masks(
    image: Array, masks: np.ndarray, *, colors: np.ndarray | None = None, opacity: float = 0.6
) -> np.ndarray:
    """Lay disjoint masks over a picture; pixels of no mask are hatched in grey.

    Args:
        image: as in :func:`~point2mask_ot.label_picture`.
        masks: (K, H, W) bool, disjoint.
        colors, opacity: as in :func:`partition_map`.

    Returns:
        A new (H, W, 3) uint8 picture.

    Raises:
        ArgumentTypeError, ArgumentError: not such a picture or masks; masks that overlap.
    """
    if not isinstance(masks, np.ndarray) or masks.dtype != bool or masks.ndim != 3:
        fail_type("overlay_masks", "masks", masks, "a boolean NumPy array (K, H, W)")
    cover = masks.sum(axis=0)
    if cover.max(initial=0) > 1:
        fail("overlay_masks", "masks", f"{int((cover > 1).sum())} pixels in several masks", "disjoint masks")
    labels = np.full(masks.shape[1:], -1)
    for index, mask in enumerate(masks):
        labels[mask] = index
    palette = target_colors(len(masks)) if colors is None else colors
    return partition_map(image, labels, colors=palette, opacity=opacity)


def heat_map(values: np.ndarray, *, maximum: float | None = None) -> np.ndarray:
    """Colour a map of costs: black at 0, through violet and orange, to pale yellow at the maximum; +inf is grey.

    Args:
        values: (H, W) non-negative floats.
        maximum: value shown in the last colour, larger ones too; default: the largest finite value.

    Returns:
        (H, W, 3) uint8 picture.

    Raises:
        ArgumentTypeError, ArgumentError: another shape or kind, NaN, negative values, maximum <= 0.

    Example:
        >>> heat_map(np.array([[0.0, 2.0, np.inf]]))[0].tolist()
        [[0, 0, 4], [252, 253, 191], [128, 128, 128]]
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        fail_type("heat_map", "values", values, "a floating-point NumPy array")
    if values.ndim != 2:
        fail("heat_map", "values", f"shape {values.shape}", "(H, W)")
    if not (values >= 0).all():
        fail("heat_map", "values", "NaN or negative values", "values >= 0")
    finite = np.isfinite(values)
    largest = float(values[finite].max(initial=0)) or 1.0
    top = check_number("heat_map", "maximum", largest if maximum is None else maximum, above=0)
    colored = heat_colors(np.minimum(np.where(finite, values, 0).astype(np.float64) / top, 1.0))
    colored[~finite] = UNREACHABLE
    return to_bytes(colored)


def fit(image: Array, size: int) -> np.ndarray:
    """Resize a picture up or down so that its longer side is ``size`` pixels; the shorter keeps at least one.

    Example:
        >>> fit(np.zeros((10, 20, 3), np.uint8), 100).shape
        (50, 100, 3)
    """
    picture = check_picture("fit", image)
    height, width = picture.shape[:2]
    scale = check_integer("fit", "size", size, minimum=1) / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.LANCZOS)).copy()


def check_picture(function: str, image: Any) -> np.ndarray:
    """(H, W, 3) uint8 of a picture as :func:`~point2mask_ot.label_picture` takes it."""
    (tensor,), _ = as_tensors(function, image=image)
    floats = tensor.is_floating_point()
    pixels = (tensor.detach().double() if floats else tensor).cpu().numpy()
    if not floats and pixels.dtype not in (np.uint8, np.uint16):
        fail_type(function, "image", image, "uint8, uint16, or floats in [0, 1]")
    if pixels.ndim == 3 and not isinstance(image, np.ndarray):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        got, of = f"shape {tuple(tensor.shape)}", "(H, W, 3)" if isinstance(image, np.ndarray) else "(3, H, W)"
        fail(function, "image", got, f"{of}, at least one pixel")
    if floats:
        if not (np.abs(pixels - 0.5) <= 0.5 + RANGE_TOLERANCE).all():  # nor NaN
            fail(function, "image", "NaN or floats outside [0, 1]", "floats in [0, 1]")
        pixels = to_bytes(255 * pixels)
    colors = without_alpha(function, "image", pixels)
    return colors if colors.dtype == np.uint8 else to_8_bits(function, "image", colors)
