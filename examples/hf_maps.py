"""Maps of strong networks of your own for ``point2mask label`` and ``label-dataset``: any that transformers loads.

A folder with ``backbone/``, ``promptable/`` or both, as ``save_pretrained`` or ``hf download --local-dir`` leave them::

    PYTHONPATH=examples point2mask label-dataset --images photos/ --points points.json --out labels \\
        --maps hf_maps:HfMaps:models/ --add-colors

``backbone/`` (DINOv2, Swin, ConvNeXt, ...: what ``AutoBackbone`` knows) gives features, whose cosine distance makes
edges cost. ``promptable/`` (SAM, SAM 2, EdgeTAM, ...: what ``AutoModelForMaskGeneration`` knows) is prompted by the
points of each target; of its masks a semantic map is made, and their areas are rough sizes of the targets.

**Nothing here was measured**: no such weights could be had. The tests run the real classes at tiny sizes with random
weights, which says that points and pictures go to the right places and masks come back from there, and no more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForMaskGeneration
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

from point2mask_ot import PointTargets
from point2mask_ot.panoptic import LabelledPoints

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation of the colours that most learnt with
SIDE = 518  # the longer side of a picture, as the backbone sees it: 37 patches of DINOv2
PADDED = ("sam", "sam_hq")  # these see a picture in its shape, in a corner of a square; others stretched to a square


class HfMaps:
    """From an (H, W, 3) uint8 picture and its points to ``features`` (D, h, w) and ``semantic`` (C, H, W).

    Raises:
        ValueError: a folder without either model, a backbone that ``AutoBackbone`` does not know.
    """

    def __init__(self, folder: str, device: str | None = None) -> None:
        backbone, promptable = Path(folder, "backbone"), Path(folder, "promptable")
        if not backbone.is_dir() and not promptable.is_dir():
            raise ValueError(f"got {folder}; expected a folder that holds backbone/, promptable/ or both")
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.backbone = self.promptable = None
        if backbone.is_dir():
            config = AutoConfig.from_pretrained(backbone, local_files_only=True)
            if type(config) not in MODEL_FOR_BACKBONE_MAPPING:
                raise ValueError(f"got a {config.model_type} in {backbone}; expected a model that AutoBackbone knows")
            kind = MODEL_FOR_BACKBONE_MAPPING[type(config)]  # AutoBackbone itself would ask the hub
            self.backbone = kind.from_pretrained(backbone, local_files_only=True).to(self.device).eval()
        if promptable.is_dir():
            model = AutoModelForMaskGeneration.from_pretrained(promptable, local_files_only=True)
            self.promptable = model.to(self.device).eval()

    def __call__(self, picture: np.ndarray, points: LabelledPoints) -> dict[str, Tensor]:
        maps = {} if self.backbone is None else {"features": self.features(picture)}
        if self.promptable is not None:
            masks = self.masks(picture, points.targets)
            maps["semantic"] = class_probabilities(masks, points.targets, len(points.categories))
        return maps

    def sizes(self, picture: np.ndarray, targets: PointTargets) -> np.ndarray:
        """(K,) areas of the masks in pixels of the picture, as hints of the targets' sizes; NaN for stuff."""
        areas = (self.masks(picture, targets) > 0.5).sum((1, 2)).double().numpy()
        return np.where(targets.is_thing, areas, np.nan)

    @torch.no_grad()
    def features(self, picture: np.ndarray) -> Tensor:
        """(D, h, w) unit vectors of the last stage, in the shape of the picture."""
        patch = getattr(self.backbone.config, "patch_size", None) or 32
        scale = SIDE / max(picture.shape[:2])
        size = [patch * max(1, round(length * scale / patch)) for length in picture.shape[:2]]
        found = self.backbone(self._seen(picture, size)).feature_maps[-1][0]
        return functional.normalize(found.float().cpu(), dim=0)

    @torch.no_grad()
    def masks(self, picture: np.ndarray, targets: PointTargets) -> Tensor:
        """(K, H, W) probabilities: for each target the mask that the model itself thinks best, of its points alone."""
        side, size = self.promptable.config.prompt_encoder_config.image_size, picture.shape[:2]
        seen = (side, side)
        if self.promptable.config.model_type in PADDED:
            seen = tuple(max(1, round(length * side / max(size))) for length in size)
        pixels = functional.pad(self._seen(picture, seen), (0, side - seen[1], 0, side - seen[0]))
        known = self.promptable.get_image_embeddings(pixels)
        prompts = torch.from_numpy(targets.resize(size, seen).points_yx[:, ::-1].copy()).float().to(self.device)
        masks = []
        for k in range(targets.num_targets):
            said = self.promptable(image_embeddings=known, input_points=prompts[targets.target == k][None, None])
            best = said.pred_masks[0, 0, said.iou_scores[0, 0].argmax()]
            square = _resized(best[None, None].float(), (side, side))[..., : seen[0], : seen[1]]
            masks.append(_resized(square, size)[0, 0].sigmoid().cpu())
        return torch.stack(masks)

    def _seen(self, picture: np.ndarray, size: tuple[int, ...] | list[int]) -> Tensor:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(self.device) / 255
        mean, deviation = torch.tensor(IMAGENET, device=self.device)[..., None, None]
        return (_resized(pixels, size) - mean) / deviation


def class_probabilities(masks: Tensor, targets: PointTargets, classes: int) -> Tensor:
    """(C, H, W) from (K, H, W): a thing's class is as probable as its likeliest mask; stuff shares what is left."""
    found = torch.zeros(classes, *masks.shape[1:])
    for mask, category in zip(masks, targets.category, strict=True):
        found[category] = found[category].maximum(mask)
    stuff = np.unique(targets.category[~targets.is_thing])
    if len(stuff):
        things = np.unique(targets.category[targets.is_thing])
        left = 1 - found[things].amax(0) if len(things) else 1.0
        found[stuff] = left * functional.normalize(found[stuff] + 1e-6, p=1, dim=0)
    return functional.normalize(found, p=1, dim=0)


def _resized(maps: Tensor, size: tuple[int, ...] | list[int]) -> Tensor:
    return functional.interpolate(maps, tuple(size), mode="bilinear", antialias=True)
