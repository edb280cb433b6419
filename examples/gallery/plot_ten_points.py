"""
Ten points against one
======================

More points give better masks, and leave less to the transport.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import LINES, coins, draw_targets, mean_iou, save, show

from point2mask_ot import label_picture
from point2mask_ot.viz import draw_points, overlay_masks

photograph, truth = coins()

# %%
# Random points, three draws of them; a draw of ten begins with the draw of one.
counts, seeds = (1, 2, 5, 10), range(3)


def scores_of(**settings):
    def score(n, seed):
        targets = draw_targets(truth, per_coin=n, seed=seed)
        return mean_iou(label_picture(photograph, targets, sigma=2.0, **settings).masks, truth)

    return np.array([[score(n, seed) for seed in seeds] for n in counts])


scores = {"best": scores_of(), "minimum cost": scores_of(method="minimum")}
for name, values in scores.items():
    print(name, *(f"{n}: {row.mean():.3f} ± {row.std():.3f}" for n, row in zip(counts, values, strict=True)), sep=", ")

# %%
figure = plt.figure(figsize=(11, 6.6), layout="constrained")
grid = figure.add_gridspec(3, 2)
for row, n in enumerate((1, 10)):
    targets = draw_targets(truth, per_coin=n)
    masks = label_picture(photograph, targets, sigma=2.0).masks
    show(
        figure.add_subplot(grid[row, 0]), draw_points(photograph, targets, radius=3), f"{n} point{'s' * (n > 1)} a coin"
    )
    score = mean_iou(masks, truth)
    show(figure.add_subplot(grid[row, 1]), overlay_masks(photograph, masks), f"their masks: mean IoU {score:.2f}")
axes = figure.add_subplot(grid[2, :])
for color, marker, (name, values) in zip(LINES, "os", scores.items(), strict=False):
    axes.errorbar(counts, values.mean(1), values.std(1), color=color, marker=marker, capsize=4, label=name)
axes.set(xlabel="points a coin", ylabel="mean IoU, three draws", xticks=counts)
axes.grid(alpha=0.3)
axes.legend(fontsize=8, loc="lower right")
save(figure)
