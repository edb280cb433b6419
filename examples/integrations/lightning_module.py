"""One training step of Point2Mask's first branch as a LightningModule: maps from points, masks from maps, losses.

Points and colours teach the semantic map (Eq. 5); the masks that transport makes of the maps teach the boundary map
(Eq. 6-7), from which the next masks are made.

    python examples/integrations/lightning_module.py
"""

from __future__ import annotations

import argparse

import lightning
import torch
from scenes import CATEGORIES, Scene, make_scene
from torch import Tensor, nn
from torch.utils.data import DataLoader

import point2mask_ot as p2m

UNKNOWN = 255
Batch = tuple[Tensor, Tensor, list[p2m.PointTargets]]


def collate(scenes: list[Scene]) -> Batch:
    """(B, 3, H, W) images in [0, 1], (B, H, W) classes of the points, and the points themselves."""
    images = torch.stack([torch.from_numpy(scene.picture) for scene in scenes]).permute(0, 3, 1, 2) / 255
    labels = torch.full((len(scenes), *images.shape[2:]), UNKNOWN)
    for plane, scene in zip(labels, scenes, strict=True):
        rows, columns = torch.from_numpy(scene.targets.points_yx.copy()).T
        plane[rows, columns] = torch.from_numpy(scene.targets.category[scene.targets.target])
    return images, labels, [scene.targets for scene in scenes]


class PointSupervised(lightning.LightningModule):
    """A small network with a semantic and a boundary head."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.ReLU()
        )
        self.semantic, self.boundary = nn.Conv2d(width, len(CATEGORIES), 1), nn.Conv2d(width, 1, 1)
        self.masker = p2m.PseudoMasker("best", stride=2)
        self.register_buffer("is_thing", torch.tensor([category.is_thing for category in CATEGORIES]))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        images, labels, targets = batch
        return images.to(device), labels.to(device), targets  # points stay on the host

    def training_step(self, batch: Batch, index: int) -> Tensor:
        images, labels, targets = batch
        maps = self.body(4 * images - 2)
        logits, boundary = self.semantic(maps), self.boundary(maps)
        results = self.masker(logits.softmax(1), boundary.sigmoid(), targets)  # carries no gradient
        instance = torch.stack([masks.instance for masks in results])
        semantic = torch.stack([masks.semantic.masked_fill(masks.void, UNKNOWN) for masks in results])
        losses = {
            "partial": p2m.partial_cross_entropy(logits, labels, dilation=5),
            "lab": p2m.lab_affinity_loss(logits, images),
            "tree": p2m.tree_affinity_loss(logits, images, labels=labels),
            "boundary": p2m.boundary_affinity_loss(boundary, instance, semantic, self.is_thing),
        }
        self.log_dict(losses, prog_bar=True, batch_size=len(images))
        print(f"step {index + 1}:", ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items()), flush=True)
        return sum(losses.values())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    lightning.seed_everything(0, verbose=False)
    loader = DataLoader([make_scene(seed) for seed in range(2 * steps)], batch_size=2, collate_fn=collate)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    lightning.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(PointSupervised(), loader)
