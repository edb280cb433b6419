"""Pictures of every stage: points, boundaries, geodesic costs and paths, partitions, pseudo-masks.

Every function takes pictures as ``label_picture`` does, gives (H, W, 3) uint8, leaves its inputs alone, and draws the
same bits each time.
"""

from __future__ import annotations

from .colors import target_colors
from .panels import stage_strip, stages
from .pictures import draw_paths, draw_points, fit, heat_map, overlay_masks, partition_map

__all__ = [
    "draw_paths",
    "draw_points",
    "fit",
    "heat_map",
    "overlay_masks",
    "partition_map",
    "stage_strip",
    "stages",
    "target_colors",
]
