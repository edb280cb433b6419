"""Between the picture and the coarser grid on which its graph is built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..arrays import compute_dtype
from ..checks import surely_all

_ROUNDING = 1e-5
"""By how much the weights of a bilinear mean may miss a sum of 1."""


@dataclass(frozen=True)
class Raster:
    """A picture of ``height`` x ``width`` pixels on a grid of about one cell for ``stride`` x ``stride`` of them.

    Cells are floor(size / stride), at least one; the last rows and columns of a picture that does not divide
    evenly are shared out among all cells.

    Args:
        height, width: of the picture.
        stride: pixels a cell.
        floor_points: find a point's cell as floor(c / stride), as the released code does, in place of the cell
            that holds the pixel's centre. The two differ where the size is not a multiple of the stride.
    """

    height: int
    width: int
    stride: int
    floor_points: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) cells."""
        return max(1, self.height // self.stride), max(1, self.width // self.stride)

    def shrink(self, image: torch.Tensor, *, peaks: bool = False) -> torch.Tensor:
        """(C, H, W) -> (C, h, w), bilinear without anti-aliasing, or the largest value of each cell for ``peaks``.

        Thin ridges of a low-level edge map would be lost by point sampling, hence ``peaks``.
        """
        if self.stride == 1:
            return image
        work = image.to(compute_dtype(image))[None]
        if peaks:
            return functional.adaptive_max_pool2d(work, self.shape)[0]
        return functional.interpolate(work, self.shape, mode="bilinear", align_corners=False)[0]

    def enlarge(self, distances: torch.Tensor) -> torch.Tensor:
        """(K, h, w) -> (K, H, W), bilinear; a pixel whose nearest cell is unreachable stays at +inf."""
        if self.stride == 1 or not len(distances):
            return distances.new_zeros((0, self.height, self.width)) if not len(distances) else distances
        size = (self.height, self.width)
        reachable = torch.isfinite(distances)
        if surely_all(reachable):
            return functional.interpolate(distances[None], size, mode="bilinear", align_corners=False)[0]
        # inf would turn to NaN under a zero weight: interpolate the reachable values only.
        parts = torch.stack([torch.where(reachable, distances, 0), reachable.to(distances.dtype)])
        values, weight = functional.interpolate(parts, size, mode="bilinear", align_corners=False)
        partial = weight < 1 - _ROUNDING
        values = torch.where(partial, values / weight.clamp(min=torch.finfo(values.dtype).tiny), values)
        near = functional.interpolate(reachable.to(distances.dtype)[None], size, mode="nearest-exact")[0] > 0
        return torch.where(near, values, torch.inf)

    def cells(self, points_yx: np.ndarray) -> np.ndarray:
        """(N, 2) pixel coordinates -> (N, 2) cells."""
        if self.stride == 1:
            return points_yx
        grid, size, pixels = np.array(self.shape), np.array([self.height, self.width]), np.floor(points_yx + 0.5)
        # Pixel c covers (c, c + 1) of the picture's extent, as a cell does of the grid's.
        cells = pixels / self.stride if self.floor_points else (pixels + 0.5) * grid / size
        return np.clip(np.floor(cells), 0, grid - 1).astype(np.int64)
