"""What the gallery's notebooks share: photographed coins with points and outlines, scores, and panels."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import binary_fill_holes
from skimage import data, filters, measure, segmentation

from point2mask_ot import Category, PanopticImage, PointTargets, sample_points

CATEGORIES = (Category(1, "coin", True), Category(2, "ground", False))
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")
"""Colours of curves, from Okabe and Ito's palette, told apart by all kinds of eyes."""


def coins() -> tuple[np.ndarray, np.ndarray]:
    """Half of ``skimage.data.coins``: (H, W, 3) uint8, and the (K, H, W) true masks of its coins, then of the ground.

    The outlines are a watershed between two brightnesses that fit this photograph; they only draw and score.
    """
    grey = data.coins()[150:]
    seeds = np.where(grey < 30, 1, np.where(grey > 150, 2, 0))
    objects = measure.label(binary_fill_holes(segmentation.watershed(filters.sobel(grey), seeds) == 2))
    masks = np.stack([objects == region.label for region in measure.regionprops(objects) if region.area > 200])
    return np.repeat(grey[..., None], 3, axis=2), np.concatenate([masks, ~masks.any(axis=0, keepdims=True)])


def draw_targets(truth: np.ndarray, *, per_coin: int = 1, on_ground: int = 40, seed: int = 0) -> PointTargets:
    """Uniformly random pixels of each coin, and of the ground between them."""
    ground = len(truth) - 1
    is_coin = np.arange(len(truth)) < ground
    image = PanopticImage.from_masks(truth, np.where(is_coin, 1, 2), is_coin)
    coin_points, ground_points = (
        sample_points(image, CATEGORIES, n=n, seed=seed, stuff=True).targets for n in (per_coin, on_ground)
    )
    of_coin, of_ground = coin_points.target < ground, ground_points.target == ground
    return PointTargets(
        np.concatenate([coin_points.points_yx[of_coin], ground_points.points_yx[of_ground]]),
        np.concatenate([coin_points.target[of_coin], ground_points.target[of_ground]]),
        coin_points.category,
        coin_points.is_thing,
    )


def mean_iou(masks: np.ndarray, truth: np.ndarray) -> float:
    """Mean over all targets but the ground of intersection over union."""
    return float(np.mean([(m & t).sum() / (m | t).sum() for m, t in zip(masks[:-1], truth[:-1], strict=True)]))


def show(axes: Axes, picture: np.ndarray, title: str, **options: object) -> None:
    """A picture below its title, without ticks."""
    axes.imshow(picture, **options)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def save(figure: Figure) -> None:
    """Write the figure to ``--out``; without it the figure shows, as it does in a notebook and on the site."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    options, _ = parser.parse_known_args()
    if options.out is None:
        plt.show()
        return
    figure.savefig(options.out, dpi=120)
    plt.close(figure)
    print(f"picture in {options.out}")
