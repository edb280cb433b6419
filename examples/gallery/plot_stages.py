"""
Each stage, called by itself
============================

Algorithm 1 taken apart: from a photograph and one point per coin to masks.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import LINES, coins, draw_targets, mean_iou, save, show

from point2mask_ot import (
    MapTerm,
    capacities,
    edge_costs,
    geodesic_distances,
    lab_gradient,
    shortest_path,
    smooth_lab,
    solve,
)
from point2mask_ot.viz import draw_paths, draw_points, heat_map, overlay_masks, partition_map

# %%
# A photograph and the points: one on each coin, forty on the ground, which has no centre and many edges.
photograph, truth = coins()
targets = draw_targets(truth)

# %%
# Edge costs (Eq. 2-3). Colour stands in for a network's class probabilities, its gradient for the boundary map.
sigma = 2.0
terms = [MapTerm(smooth_lab(photograph, sigma)), MapTerm(lab_gradient(photograph, sigma), 0.1, "max")]
edges = edge_costs(terms=terms, step_cost=1e-3)

# %%
# What the cheapest path from each target's points to each pixel costs, and a few of these paths.
distances = geodesic_distances(edges, targets.points_yx, targets.target)
nearest = distances.argmin(axis=0)
ends = [np.argwhere(mask)[:: max(1, mask.sum() // 3)] for mask in truth[:-1]]
paths = [shortest_path(edges, distances[k], end) for k, some in enumerate(ends) for end in some]

# %%
# Capacities (Eq. 4): the pixels that each coin should own, counted from the centroids of its nearest pixels.
sizes = capacities(edges, targets)

# %%
# Transport (Eq. 1, 9-11): every pixel wants one unit, and a coin gives no more than its capacity. Costs are scaled so
# that the median over the pixels of the largest one is 10, which gives reg its meaning.
cost = distances * (10 / np.median(distances.max(axis=0)))
plan = solve(sizes, np.ones(nearest.size), cost.reshape(len(cost), -1), reg=1e-2)
owner = plan.labels.reshape(nearest.shape)
masks = owner == np.arange(targets.num_targets)[:, None, None]
print(f"mean IoU: nearest point {mean_iou(nearest == np.arange(len(truth))[:, None, None], truth):.3f}")
print(f"          transport     {mean_iou(masks, truth):.3f}")

# %%
# All of them.
figure, axes = plt.subplots(3, 2, figsize=(11, 7.6), layout="constrained")
strength = np.where(np.isfinite(edges), edges, 0).max(axis=0)
reach = distances.min(axis=0)
show(axes[0, 0], draw_points(photograph, targets), "1  Photograph and points")
show(axes[0, 1], heat_map(strength, maximum=float(np.quantile(strength, 0.99))), "2  Edge costs")
show(
    axes[1, 0],
    draw_paths(heat_map(reach, maximum=float(np.quantile(reach, 0.99))), paths),
    "3  Cost to the nearest point, and cheapest paths",
)
show(axes[1, 1], partition_map(photograph, nearest), "4  Nearest point by cost")
place, width = np.arange(len(truth) - 1), 0.27
bars = {
    "nearest point": np.bincount(nearest.ravel(), minlength=len(truth)),
    "capacity": sizes,
    "true": truth.sum((1, 2)),
}
for offset, color, (name, areas) in zip((-width, 0, width), (LINES[0], LINES[1], "#999999"), bars.items(), strict=True):
    axes[2, 0].bar(place + offset, areas[:-1], width, color=color, label=name)
axes[2, 0].set(title="5  Pixels of each coin", xticks=[], xlabel="coin", ylabel="pixels")
axes[2, 0].title.set_fontsize(10)
axes[2, 0].legend(fontsize=8)
show(axes[2, 1], overlay_masks(photograph, masks), "6  Pseudo-masks by transport")
save(figure)
