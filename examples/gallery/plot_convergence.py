"""
Why a plan should be converged
==============================

Sinkhorn's rounds at a small ``reg`` barely leave the nearest point.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import LINES, coins, draw_targets, save, show

from point2mask_ot import label_picture, sinkhorn, solve
from point2mask_ot.viz import overlay_masks

photograph, truth = coins()
targets = draw_targets(truth)

# %%
# The transport problem of this picture. Capacities are the true sizes here: what is told should be done.
steps = label_picture(photograph, targets, sigma=2.0, capacity="nearest").diagnostics
a, M = truth.sum((1, 2)).astype(float), steps.cost.reshape(len(truth), -1)
b = np.ones(M.shape[1])

# %%
# How far both marginals are from what was asked for, in shares of the mass, after so many rounds.
rounds = (1, 5, 20, 80, 320)
curves = {reg: [float(sinkhorn(a, b, M, reg, max_iter=n).marginal_error) for n in rounds] for reg in (1e-3, 1e-2, 1e-1)}
solved = {reg: solve(a, b, M, reg=reg) for reg in curves}
for reg, result in solved.items():
    print(f"reg {reg:g}: after {rounds[-1]} rounds {curves[reg][-1]:.1e}", end="; ")
    print(f"solve {float(result.marginal_error):.1e} in {result.iterations} iterations")

# %%
# The paper's setting, 80 rounds at reg 0.001, against the converged plan of the same problem.
stopped = sinkhorn(a, b, M, 1e-3, max_iter=80)
plans = {"nearest point": M.argmin(axis=0), "80 rounds": stopped.labels, "converged": solved[1e-3].labels}
owners = {name: labels.reshape(truth.shape[1:]) for name, labels in plans.items()}

# %%
figure = plt.figure(figsize=(11, 5.6), layout="constrained")
grid = figure.add_gridspec(2, 6, height_ratios=[1, 2])
for column, (name, owner) in enumerate(owners.items()):
    masks = owner == np.arange(len(truth))[:, None, None]
    off = np.abs(masks.sum((1, 2)) - a)[:-1].sum() / a[:-1].sum()
    title = f"{name}: coins' sizes {off:.0%} off"
    show(figure.add_subplot(grid[0, 2 * column : 2 * column + 2]), overlay_masks(photograph, masks), title)
    print(f"{title}; {np.mean(owner != owners['converged']):.1%} of the pixels differ from the converged plan's")
axes = figure.add_subplot(grid[1, 1:5])
for color, marker, (reg, errors) in zip(LINES, "os^", curves.items(), strict=False):
    axes.loglog(rounds, errors, f"{marker}-", color=color, label=f"Sinkhorn, reg {reg:g}")
    axes.plot(solved[reg].iterations, float(solved[reg].marginal_error), marker, color=color, markersize=9, mfc="white")
axes.plot([], [], "ko", mfc="white", markersize=9, label="solve")
axes.set(xlabel="rounds or iterations", ylabel="error of the marginals, share of the mass")
axes.grid(alpha=0.3)
axes.legend(fontsize=8)
save(figure)
