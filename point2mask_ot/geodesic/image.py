"""What a search is given: the graph of one image and the points on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch


class Image(NamedTuple):
    """One image of a call, with all its values checked."""

    edges: torch.Tensor
    """(4, H, W) float32 or float64."""
    pixels: np.ndarray
    """(N, 2) int64 rows and columns of the points, on the host."""
    target: np.ndarray
    """(N,) int64 target of each point."""
    num_targets: int
    """K."""
