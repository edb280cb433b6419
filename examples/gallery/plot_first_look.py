"""
Clicks in, masks out
====================

A photograph and a piece of tissue, a few clicks on each, and the masks that they become: no network, no training.
"""

import matplotlib.pyplot as plt
import numpy as np
from common import save, show
from skimage import data

from point2mask_ot import PointTargets, label_picture
from point2mask_ot.viz import draw_points, overlay_masks

# %%
# A cup of coffee (CC0 by Rachel Michetti, from scikit-image): cup, saucer and spoon are things, and the table is stuff.
# What has several colours needs a click on each; the table has many. Points are (row, column).
cup = [(165, 290), (75, 345), (220, 290), (265, 225), (215, 215)]
saucer = [(165, 130), (280, 150), (350, 300), (215, 450)]
spoon = [(285, 362), (305, 380), (300, 350), (90, 412)]
table = [(30, 130), (100, 95), (200, 20), (330, 60), (60, 530), (150, 505), (240, 570), (370, 500), (390, 300)]
coffee = PointTargets(
    cup + saucer + spoon + table,
    target=np.repeat([0, 1, 2, 3], [len(cup), len(saucer), len(spoon), len(table)]),
    category=[0, 1, 2, 3],
    is_thing=[True, True, True, False],
)

# %%
# Nuclei between the glands of a colon, stained blue (Center for Microscopy And Molecular Imaging, no known copyright
# restrictions, from scikit-image). One click on each, and a few on what lies between them.
tissue = data.immunohistochemistry()[310:440, 160:254]
left = [(15, 32), (25, 46), (12, 80), (44, 28), (70, 35), (43, 62), (82, 20), (96, 17), (106, 26)]
right = [(68, 66), (81, 68), (87, 59), (74, 77), (94, 80), (113, 13), (117, 49), (125, 62)]
nuclei = left + right
between = [
    (5, 50),
    (30, 15),
    (55, 12),
    (60, 48),
    (100, 48),
    (30, 75),
    (60, 84),
    (100, 68),
    (120, 30),
    (90, 5),
    (90, 40),
]
cells = PointTargets(
    nuclei + between,
    target=[*range(len(nuclei)), *[len(nuclei)] * len(between)],
    category=[0] * len(nuclei) + [1],
    is_thing=[True] * len(nuclei) + [False],
)

# %%
# One call each. ``sigma`` smooths the colours that costs are made of: less where things are small. The tissue is
# drawn at four times its size.
scenes = [(data.coffee(), coffee, 2.0, 1), (tissue, cells, 0.7, 4)]
widths = np.repeat([picture.shape[1] / picture.shape[0] for picture, *_ in scenes], 2)
figure, axes = plt.subplots(1, 4, figsize=(11, 2.75), layout="constrained", width_ratios=widths)
for (before, after), (picture, targets, sigma, zoom) in zip(axes.reshape(2, 2), scenes, strict=True):
    result = label_picture(picture, targets, sigma=sigma)
    things = result.masks[np.asarray(targets.is_thing)]
    large = picture.repeat(zoom, 0).repeat(zoom, 1)
    clicked = draw_points(large, targets, grid=picture.shape[:2], radius=len(large) / 75)
    show(before, clicked, f"{len(targets.points_yx)} clicks")
    show(after, overlay_masks(large, things.repeat(zoom, 1).repeat(zoom, 2)), f"{len(things)} masks")
save(figure)
