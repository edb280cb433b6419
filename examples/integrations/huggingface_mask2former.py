"""Train transformers' Mask2Former on pseudo-masks: COCO panoptic files in, its ``mask_labels`` and ``class_labels``.

The network is a small one with random weights, so that this runs in seconds; for real work load a checkpoint with
``from_pretrained`` and leave the rest. No image processor is used, hence no torchvision.

    python examples/integrations/huggingface_mask2former.py
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scenes import CATEGORIES, make_scene
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from point2mask_ot import PanopticImage, label_picture, read_coco_panoptic, write_coco_panoptic


def pseudo_labels(count: int) -> Iterator[PanopticImage]:
    """Pseudo-masks of made pictures, one picture after the other."""
    for seed in range(count):
        scene = make_scene(seed)
        instance = label_picture(scene.picture, scene.targets).instance
        yield PanopticImage.from_targets(instance, scene.targets, CATEGORIES, seed, scene.truth.file_name)


def training_labels(labels: PanopticImage) -> dict[str, Tensor]:
    """A mask and a class for every segment, things and stuff; void pixels are in no mask."""
    channel = {category.id: index for index, category in enumerate(CATEGORIES)}
    masks = np.stack([labels.id_map == segment.id for segment in labels.segments])
    classes = [channel[segment.category_id] for segment in labels.segments]
    return {"mask_labels": torch.from_numpy(masks).float(), "class_labels": torch.tensor(classes)}


def small_network() -> Mask2FormerForUniversalSegmentation:
    """Mask2Former with a Swin backbone, everything as narrow as it goes."""
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 4, 8], window_size=4, out_features=stages)
    width = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32)
    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=swin, **width, encoder_feedforward_dim=64, encoder_layers=1, dim_feedforward=64,
            decoder_layers=3, num_attention_heads=4, num_queries=10, train_num_points=512, num_labels=len(CATEGORIES),
        )
    )  # fmt: skip


def main() -> None:
    """Label, write, read, train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "labels.json"), Path(folder, "labels")
        write_coco_panoptic(pseudo_labels(4), *files, CATEGORIES)
        labels = [training_labels(image) for image in read_coco_panoptic(*files)]
    pictures = np.stack([make_scene(seed).picture for seed in range(4)])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    batch = {name: [entry[name] for entry in labels] for name in ("mask_labels", "class_labels")}
    network = small_network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for step in range(steps):
        loss = network(pixel_values=pixels, **batch).loss.squeeze()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step + 1}: loss {loss.item():.2f}", flush=True)


if __name__ == "__main__":
    main()
