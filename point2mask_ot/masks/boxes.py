"""Bounding boxes of regions."""

from __future__ import annotations

import numpy as np
import torch

from ..arrays import to_device
from ..graph.regions import extents


def region_boxes(instance: torch.Tensor, count: int) -> torch.Tensor:
    """(H, W) owners, -1 for nobody -> (count, 4) float32 xyxy, right and bottom exclusive; NaN for none."""
    top, left, bottom, right = extents(instance, count).unbind(1)
    boxes = torch.stack([left, top, right + 1, bottom + 1], dim=1).to(torch.float32)
    return torch.where((right < left)[:, None], torch.nan, boxes)


def components_with_points(instance: torch.Tensor, pixels: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Keep of each target's region the 8-connected components that hold a point of it (found on the host).

    A region that holds none of its target's points keeps everything.
    """
    from skimage.measure import label

    owner = instance.cpu().numpy()
    part = label(owner, connectivity=2, background=-1)
    rows, columns = pixels.T
    held = owner[rows, columns] == target
    keeps_all = np.ones(int(target.max(initial=-1)) + 1, bool)
    keeps_all[target[held]] = False
    kept = np.zeros(int(part.max(initial=0)) + 1, bool)
    kept[part[rows[held], columns[held]]] = True
    keep = kept[part] | (np.append(keeps_all, True)[owner])
    return torch.from_numpy(np.where(keep, owner, -1)).to(instance.device)


def replace_empty(
    boxes: torch.Tensor, rule: str, pixels: np.ndarray, target: np.ndarray, size: tuple[int, int]
) -> torch.Tensor:
    """Fill the NaN boxes of empty masks by ``rule``: "skip", "point" or "centre"; ``pixels`` are the points'."""
    if rule == "skip":
        return boxes
    height, width = size
    fill = np.tile(np.array([width / 4, height / 4, 3 * width / 4, 3 * height / 4], np.float32), (len(boxes), 1))
    if rule == "point":
        for index in range(len(boxes)):
            own = pixels[target == index]
            fill[index] = (*own.min(0)[::-1], *(own.max(0)[::-1] + 1))
    return torch.where(boxes.isnan(), to_device(fill, boxes.device), boxes)
