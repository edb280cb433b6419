"""
Capacity rules
==============

What the transport is told about sizes decides what it makes. A rule of one's own is a function.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import coins, draw_targets, mean_iou, save, show
from skimage.morphology import convex_hull_image

from point2mask_ot import label_picture
from point2mask_ot.viz import draw_points, overlay_masks

photograph, truth = coins()
targets = draw_targets(truth)
areas = truth.sum((1, 2)).astype(float)


# %%
# A rule of one's own: from the partition by any points, the targets and the demand. Coins are round, so a coin has
# the convex hull of what falls to it.
def convex(partition, targets, demand):
    nearest = np.asarray(partition(targets.points_yx, targets.target))
    hulls = [convex_hull_image(nearest == k).sum() for k in np.flatnonzero(targets.is_thing)]
    return np.array([*hulls, nearest.size - sum(hulls)], float)


# %%
rules = {
    "equal": {"capacity": "equal"},
    "nearest": {"capacity": "nearest"},
    "centroid (Eq. 4)": {"capacity": "centroid"},
    "own rule, convex": {"capacity": convex},
    "the true sizes": {"capacity": lambda partition, targets, demand: areas},
}
results = {name: label_picture(photograph, targets, sigma=2.0, **rule) for name, rule in rules.items()}
for name, result in results.items():
    off = np.abs(result.diagnostics.capacities - areas)[:-1].sum() / areas[:-1].sum()
    print(f"{name}: mean IoU {mean_iou(result.masks, truth):.3f}, coins' capacities {off:.0%} off")

# %%
figure, axes = plt.subplots(2, 3, figsize=(11, 3.9), layout="constrained")
show(axes.flat[0], draw_points(photograph, targets), "photograph and points")
for place, (name, result) in zip(axes.flat[1:], results.items(), strict=True):
    show(place, overlay_masks(photograph, result.masks), f"{name}: IoU {mean_iou(result.masks, truth):.2f}")
save(figure)
