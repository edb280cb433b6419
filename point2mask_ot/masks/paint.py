"""Masks that a person has mended: what is painted holds, whatever the transport says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..points import pixel_indices
from ..types import PointTargets, PseudoMasks


def painted_owner(owner: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Who owns each pixel after a brush and an eraser.

    A pixel painted for a target is the target's. One that is erased from the target that owns it goes to the next best
    owner: the one of the nearest pixel that another target owns and nobody has erased.

    Args:
        owner: (H, W) int64 target of each pixel, -1 for nobody.
        marks: (h, w) of the same picture, perhaps on a coarser grid, see :class:`~point2mask_ot.panoptic.paint.Paint`.

    Returns:
        (H, W) int64, a new array. Where no other target owns anything, what is erased is nobody's.
    """
    marks = marks[np.ix_(*(_nearest(*sides) for sides in zip(owner.shape, marks.shape, strict=True)))]
    made = np.where(marks > 0, marks - 1, owner)
    erased = (marks < 0) & (made == -marks - 1)
    before = made.copy()
    for target in np.unique(before[erased]):
        own = erased & (before == target)
        others = (before != target) & (before >= 0) & ~erased
        made[own] = before[_nearest_pixels(others, own)] if others.any() else -1
    return made


def _nearest(length: int, grid: int) -> np.ndarray:
    """For each of ``length`` pixels along an axis, the cell of a grid that its centre lies in."""
    return np.minimum(((np.arange(length) + 0.5) * grid / length).astype(np.int64), grid - 1)


def _is_erased(
    marks: np.ndarray, shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Whether a pixel was taken from a target by hand."""
    down, across = (_nearest(*sides) for sides in zip(shape, marks.shape, strict=True))
    return np.asarray(marks[down[rows], across[columns]] == -(target + 1))


def _nearest_pixels(of: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
    from scipy.ndimage import distance_transform_edt

    where = distance_transform_edt(~of, return_distances=False, return_indices=True)
    return tuple(axis[at] for axis in where)


def mend(masks: PseudoMasks, targets: PointTargets, marks: np.ndarray) -> PseudoMasks:
    """Pseudo-masks as NumPy arrays, with what was painted; how sure they are is as it was.

    The brush takes no pixel that a point of another target names: who clicked there has said whose it is.
    """
    import torch

    from .boxes import region_boxes

    before = np.where(masks.void, -1, np.asarray(masks.instance))
    owner = painted_owner(before, marks)
    rows, columns = pixel_indices("mend", targets.points_yx, *before.shape).T
    buried = (owner[rows, columns] != targets.target) & (before[rows, columns] == targets.target)
    buried &= ~_is_erased(marks, before.shape, rows, columns, targets.target)
    owner[rows[buried], columns[buried]] = targets.target[buried]
    boxes = region_boxes(torch.from_numpy(owner), targets.num_targets).numpy()
    category = np.append(targets.category, -1)
    semantic = np.where(owner >= 0, category[owner], np.asarray(masks.semantic))
    return replace(masks, instance=owner, void=owner < 0, boxes=boxes, semantic=semantic)
