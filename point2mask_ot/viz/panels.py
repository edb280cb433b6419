"""How points became pseudo-masks: a titled picture of each stage, and the sheet that they are laid out on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..arrays import Array
from ..checks import check_integer, fail
from ..types import Diagnostics, PointTargets, PseudoMasks
from .canvas import INK, WHITE, enlarge, fit_text
from .colors import target_colors
from .pictures import check_picture, draw_paths, draw_points, fit, heat_map, partition_map

PATHS_PER_TARGET = 3
SUPPLIERS_WITH_PATHS = 12
"""Of a crowd, whose paths would hide one another."""
DISPLAY_QUANTILE = 0.99


def stage_strip(
    panels: Sequence[tuple[str, np.ndarray]], *, panel_size: int = 520, columns: int | None = None
) -> np.ndarray:
    """Lay titled pictures out on a white sheet, each below its title.

    Args:
        panels: (title, (H, W, 3) uint8 picture) in reading order.
        panel_size: longer side of each picture on the sheet, in pixels; pictures are scaled up or down to it.
        columns: pictures in a row; default: one row of up to three, two rows of up to six, then rows of four.

    Returns:
        (H, W, 3) uint8 sheet.

    Raises:
        ArgumentTypeError, ArgumentError: no panel, something that is not such a picture, panel_size < 16,
            columns < 1.
    """
    size = check_integer("stage_strip", "panel_size", panel_size, minimum=16)
    pictures = [fit(check_picture("stage_strip", picture), size) for _, picture in panels]
    if not pictures:
        fail("stage_strip", "panels", "none", "at least one (title, picture)")
    count = len(pictures)
    default = count if count <= 3 else math.ceil(count / 2) if count <= 6 else 4
    across = check_integer("stage_strip", "columns", default if columns is None else columns, minimum=1)
    across = min(across, count)
    gap, caption = max(4, size // 24), max(10, size // 18)
    cell_width = max(picture.shape[1] for picture in pictures)
    cell_height = max(picture.shape[0] for picture in pictures) + caption * 8 // 5
    rows = math.ceil(count / across)
    sheet = Image.new("RGB", (gap + across * (cell_width + gap), gap + rows * (cell_height + gap)), WHITE)
    pen = ImageDraw.Draw(sheet)
    for index, ((title, _), picture) in enumerate(zip(panels, pictures, strict=True)):
        left = gap + index % across * (cell_width + gap)
        top = gap + index // across * (cell_height + gap)
        text, font = fit_text(title, caption, cell_width)
        pen.text((left, top), text, fill=INK, font=font)
        sheet.paste(Image.fromarray(picture), (left, top + caption * 8 // 5))
    return np.asarray(sheet).copy()


def stages(image: Array, targets: PointTargets, masks: PseudoMasks, *, size: int = 520) -> list[tuple[str, np.ndarray]]:
    """Show how the points became pseudo-masks, as panels for :func:`stage_strip`.

    Args:
        image: the photograph, as in :func:`~point2mask_ot.label_picture`.
        targets: the annotated points, in its pixels.
        masks: what ``PseudoMasker`` made of them, for this one image (on any device; copied to the host).
        size: longer side of the panels in pixels.

    Returns:
        (title, picture) of: the photograph with its points; the edge costs; the cost to the nearest point, with a few
        shortest paths where costs are those of paths (a walk has none); the partition by that cost; the pseudo-masks;
        and the pixels that transport gave to another target than the nearest, in their new colour on a faint grey
        photograph.

    Raises:
        ArgumentTypeError, ArgumentError: not such a picture, or masks of another picture's size.
    """
    picture = check_picture("stages", image)
    grid = picture.shape[:2]
    steps = masks.diagnostics
    if tuple(masks.instance.shape) != grid:
        fail("stages", "masks", f"masks of {tuple(masks.instance.shape)}", f"the picture's {grid}")
    photo = fit(picture, size)
    canvas = photo.shape[:2]
    colors = target_colors(targets)
    edges = _host(steps.edges)
    strength = np.where(np.isfinite(edges), edges, 0).max(axis=0)
    reach, paths = _from_few(steps, edges, targets) if callable(steps.raw_distances) else _from_all(steps, edges)
    nearest = np.append(steps.suppliers, -1)[_host(steps.nearest)]
    owner = _owner(masks)

    edge_map, cost_map = (heat_map(enlarge(m, canvas), maximum=_high(m)) for m in (strength, reach))
    cost_title = "3  Cost of a walk to the nearest point"
    if not steps.walks:
        cost_title = "3  Cost to the nearest point, paths"
        cost_map = draw_paths(cost_map, paths, grid=reach.shape)
    partition, final = (partition_map(photo, enlarge(labels, canvas), colors=colors) for labels in (nearest, owner))
    moved = _host(steps.demand) & (nearest != owner) & (owner >= 0)
    return [
        ("1  Photograph, points", draw_points(photo, targets, grid=grid)),
        ("2  Boundaries: edge costs", edge_map),
        (cost_title, draw_points(cost_map, targets, grid=grid)),
        ("4  Nearest point by cost", draw_points(partition, targets, grid=grid)),
        ("5  Pseudo-masks", final),
        (f"6  Moved by transport: {moved.mean():.1%}", _moved_pixels(photo, np.where(moved, owner, -1), colors)),
    ]


def _host(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def _high(values: np.ndarray) -> float:
    """A maximum for display that a few outliers do not set."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, DISPLAY_QUANTILE)) or 1.0 if finite.size else 1.0


def _owner(masks: PseudoMasks) -> np.ndarray:
    """(H, W) target of each pixel, -1 in void."""
    return np.where(_host(masks.void), -1, _host(masks.instance))


def _moved_pixels(photo: np.ndarray, owner: np.ndarray, colors: np.ndarray) -> np.ndarray:
    labels = enlarge(owner, photo.shape[:2])
    faint = 128 + np.asarray(Image.fromarray(photo).convert("L")) // 2
    picture = np.repeat(faint[..., None], 3, axis=-1)
    picture[labels >= 0] = colors[labels[labels >= 0]]
    return picture


def _from_all(steps: Diagnostics, edges: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The cost to the nearest point, and paths of every supplier, where there is a map for each."""
    distances = _host(steps.distances)
    reach = distances.min(axis=0, initial=np.inf)
    if steps.walks or not len(distances):
        return reach, []
    nearest = np.where(np.isfinite(reach), distances.argmin(axis=0), -1)
    maps = enumerate(distances)
    return reach, [path for k, own in maps for path in _paths(edges, own, np.argwhere(nearest == k))]


def _from_few(steps: Diagnostics, edges: np.ndarray, targets: PointTargets) -> tuple[np.ndarray, list[np.ndarray]]:
    """The same of a crowd: the path's cost also where costs are those of walks, and paths of a few suppliers."""
    from ..geodesic import geodesic_distances, nearest_partition

    own = targets.select(steps.suppliers)
    reach = np.asarray(nearest_partition(edges, own).distance)
    if steps.walks:
        return reach, []
    paths = []
    for k in np.linspace(0, own.num_targets - 1, SUPPLIERS_WITH_PATHS).astype(int).tolist():
        distance = np.asarray(geodesic_distances(edges, own.select([k])))[0]
        paths += _paths(edges, distance, np.argwhere(_host(steps.nearest) == k))
    return reach, paths


def _paths(edges: np.ndarray, distance: np.ndarray, region: np.ndarray) -> list[np.ndarray]:
    """A few shortest paths of one supplier, from well-spread cells (n, 2) of its region back to its points."""
    from scipy.ndimage import distance_transform_edt

    from ..geodesic import shortest_path

    if not len(region):
        return []
    gap, paths = distance_transform_edt(distance > 0)[tuple(region.T)], []
    for _ in range(PATHS_PER_TARGET):
        end = region[gap.argmax()]
        paths.append(np.asarray(shortest_path(edges, distance, end)))
        gap = np.minimum(gap, np.hypot(*(region - end).T))
    return paths
