"""Bounding boxes of masks."""

from __future__ import annotations

import numpy as np
import torch

from ..arrays import to_device


def mask_boxes(masks: torch.Tensor) -> torch.Tensor:
    """(K, H, W) bool -> (K, 4) float32 xyxy, right and bottom exclusive; NaN for an empty mask."""
    spans = []
    bits = masks.view(torch.uint8)  # a maximum of bytes is ten times as fast as any()
    for axis in (1, 2):  # rows are summed away for x, columns for y
        hit = bits.amax(axis)
        first = hit.argmax(1)
        last = hit.shape[1] - hit.flip(1).argmax(1)
        spans.append((first, last))
    (left, right), (top, bottom) = spans
    boxes = torch.stack([left, top, right, bottom], dim=1).to(torch.float32)
    return torch.where(hit.amax(1, keepdim=True) > 0, boxes, torch.nan)


def components_with_points(masks: torch.Tensor, pixels: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Keep of each (K, H, W) mask the 8-connected components that hold a point of its target (found on the host).

    A mask that holds none of its points keeps everything.
    """
    from scipy import ndimage

    kept = masks.cpu().numpy().copy()
    for index, mask in enumerate(kept):
        parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        hit = np.setdiff1d(parts[tuple(pixels[target == index].T)], [0])
        if hit.size:
            kept[index] = np.isin(parts, hit)
    return torch.from_numpy(kept).to(masks.device)


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
