"""Pseudo-masks on disk as a map-style data set for torchvision's detectors and their kind (without torchvision).

``label_dataset`` turns a folder of pictures and a file of points into COCO panoptic files; ``PseudoMaskDataset``
gives (image, target) pairs of them, where the target has what Mask R-CNN's training wants.

    python examples/integrations/dataset.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from scenes import CATEGORIES, make_scene
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from point2mask_ot import label_dataset, read_coco_panoptic

Target = dict[str, Tensor]


class PseudoMaskDataset(Dataset[tuple[Tensor, Target]]):
    """(3, H, W) float image in [0, 1]; boxes (N, 4) xyxy, labels (N,), masks (N, H, W) uint8 of its N things."""

    def __init__(self, pictures: Path, labels: Path, transforms: Callable | None = None) -> None:
        self.files = read_coco_panoptic(labels / "panoptic.json", labels / "panoptic", pictures)
        self.transforms = transforms

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image = torch.from_numpy(self.files.picture(index)).permute(2, 0, 1) / 255
        labels = self.files[index]
        things = [segment for segment in labels.segments if segment.is_thing]
        ids = torch.tensor([segment.id for segment in things], dtype=torch.int64)
        masks = torch.from_numpy(labels.id_map.copy()) == ids[:, None, None]
        corners = [(*mask.nonzero().amin(0).flip(0), *(mask.nonzero().amax(0).flip(0) + 1)) for mask in masks]
        target = {
            "boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([segment.category_id for segment in things], dtype=torch.int64),
            "masks": masks.to(torch.uint8),
            "image_id": torch.tensor(index),
            "area": masks.sum((1, 2)),
            "iscrowd": torch.zeros(len(things), dtype=torch.int64),
        }
        return (image, target) if self.transforms is None else self.transforms(image, target)


def write_scenes(folder: Path, count: int) -> Path:
    """Save made pictures and the points file that ``label_dataset`` reads; its path."""
    entries = []
    for seed in range(count):
        picture, targets, truth = make_scene(seed)
        Image.fromarray(picture).save(folder / truth.file_name)
        clicks = zip(targets.points_yx.tolist(), targets.target.tolist(), strict=True)
        names = [CATEGORIES[c].name for c in targets.category]
        points = [{"x": x, "y": y, "target": k, "category": names[k]} for (y, x), k in clicks]
        entries.append({"file_name": truth.file_name, "points": points})
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in CATEGORIES]
    (folder / "points.json").write_text(json.dumps({"categories": categories, "images": entries}))
    return folder / "points.json"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        label_dataset(folder, write_scenes(folder, 6), folder / "labels", workers=0, progress=False)
        dataset = PseudoMaskDataset(folder, folder / "labels")
        loader = DataLoader(dataset, batch_size=3, collate_fn=lambda pairs: tuple(zip(*pairs, strict=True)))
        for images, targets in loader:
            print(len(images), "images", *(f"{key} {tuple(value.shape)}" for key, value in targets[0].items()))
