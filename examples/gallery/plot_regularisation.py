"""
What the regularisation does
============================

A larger ``reg`` blurs the plan, and in the end the masks.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import LINES, coins, draw_targets, mean_iou, save, show

from point2mask_ot import label_picture
from point2mask_ot.viz import overlay_masks

photograph, truth = coins()
targets = draw_targets(truth)

# %%
# Every plan is converged; ``typical_cost`` (10) scales the costs so that ``reg`` means the same on every picture.
# A pixel's confidence is the share of it that its mask gets. Where two coins share a pixel, it is low.
regs = np.array([1e-3, 1e-2, 1e-1, 0.3, 1.0, 3.0])
results = [label_picture(photograph, targets, sigma=2.0, reg=float(reg)) for reg in regs]
scores = [mean_iou(result.masks, truth) for result in results]
confidence = [result.confidence.mean() for result in results]
for reg, score, share in zip(regs, scores, confidence, strict=True):
    print(f"reg {reg:g}: mean IoU {score:.3f}, mean confidence {share:.3f}")

# %%
# Without regularisation each pixel has one owner, but for the few that the capacities split.
exact = label_picture(photograph, targets, sigma=2.0, method="exact")
print(f"exact: mean IoU {mean_iou(exact.masks, truth):.3f}, mean confidence {exact.confidence.mean():.3f}")

# %%
figure = plt.figure(figsize=(11, 6.6), layout="constrained")
grid = figure.add_gridspec(3, 6, height_ratios=[1, 1, 1.2])
for column, index in enumerate((1, 4, 5)):
    top, bottom = (figure.add_subplot(grid[row, 2 * column : 2 * column + 2]) for row in (0, 1))
    show(top, overlay_masks(photograph, results[index].masks), f"reg {regs[index]:g}: masks")
    show(bottom, results[index].confidence, "confidence", cmap="magma", vmin=0, vmax=1)
figure.colorbar(bottom.images[0], ax=bottom, shrink=0.8)
for position, values, limit, title in (
    (grid[2, :3], scores, mean_iou(exact.masks, truth), "Mean IoU of the coins"),
    (grid[2, 3:], confidence, float(exact.confidence.mean()), "Mean confidence"),
):
    axes = figure.add_subplot(position)
    axes.semilogx(regs, values, "o-", color=LINES[0], label="converged plan")
    axes.axhline(limit, color=LINES[1], linestyle="--", label="exact plan (reg 0)")
    axes.set(xlabel="reg", ylim=(0, 1.05))
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="lower left")
save(figure)
