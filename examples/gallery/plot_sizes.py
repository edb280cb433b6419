"""
A click, and how large it is
============================

What a rough size beside a click gains: little where the picture shows sizes well, much where it does not.

With ``--data`` and a folder that holds VOC and COCO panoptic files, they are a photograph and nuclei from there.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from common import coins, draw_targets, mean_iou, save, show
from scipy.ndimage import gaussian_filter

from point2mask_ot import label_picture, read_coco_panoptic, read_voc
from point2mask_ot.viz import draw_points, overlay_masks

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
data = parser.parse_known_args()[0].data


# %%
# Pictures with true masks of their things, and of the ground last. Without data: coins, and nuclei that are drawn.
def drawn_nuclei():
    rng = np.random.default_rng(5)
    y, x = np.indices((140, 190))
    owner = np.full(y.shape, -1)
    for k, (row, column) in enumerate(np.argwhere(np.ones((3, 4))) * (42, 44) + (26, 28)):
        radii = rng.uniform(13, 25, 2)
        owner[np.hypot((y - row) / radii[0], (x - column) / radii[1]) < 1] = k
    masks = [owner == k for k in range(-1, 12)]
    light = np.where(owner < 0, 40, 130 + 12 * rng.normal(size=13)[owner]) + 60 * gaussian_filter(
        rng.normal(size=y.shape), 3
    )
    return np.repeat(light.clip(0, 255).astype(np.uint8)[..., None], 3, 2), np.stack([*masks[1:], masks[0]])


def from_data(pictures, index):
    image = pictures[index]
    things = [image.id_map == s.id for s in image.segments if s.is_thing and not s.is_crowd]
    return pictures.picture(index), np.stack([*things, ~np.any(things, axis=0)])


if data is None:
    scenes = {"coins": coins(), "nuclei, drawn": drawn_nuclei()}
else:
    coco = data / "coco_panoptic_layout"
    nuclei = read_coco_panoptic(coco / "annotations/panoptic_val.json", coco / "annotations/panoptic_val", coco / "val")
    photographs = read_voc(data / "voc_layout/VOCdevkit/VOC2012", "val")
    scenes = {"photograph": from_data(photographs, 3), "nuclei": from_data(nuclei, 11)}

# %%
figure, rows = plt.subplots(len(scenes), 4, figsize=(12, 2.6 * len(scenes)), layout="constrained")
rng = np.random.default_rng(0)
for axes, (name, (picture, truth)) in zip(rows, scenes.items(), strict=True):
    clicked = draw_targets(truth, on_ground=1)
    # Sizes as somebody would guess them: off by a third or so. The ground takes the rest.
    guess = truth.sum((1, 2)) * np.exp(rng.normal(0, np.log(1.35), len(truth)))
    sized = replace(clicked, size=np.where(clicked.is_thing, guess, np.nan))
    show(axes[0], draw_points(picture, clicked), f"{name}: a click each")
    for place, targets, given in ((axes[1], clicked, "points"), (axes[2], sized, "points and sizes")):
        masks = label_picture(picture, targets, sigma=2.0).masks
        score = mean_iou(masks, truth)
        print(f"{name}, {given}: mean IoU {score:.3f}")
        show(place, overlay_masks(picture, masks[:-1]), f"{given}: mean IoU {score:.2f}")
    show(axes[3], overlay_masks(picture, truth[:-1]), "truth")
save(figure)
