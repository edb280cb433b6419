"""Maps for ``point2mask label-dataset`` from a checkpoint of the reference model: a stronger labeller than colours.

A class named on the command line, with the weights of a run of ``train_voc.py`` behind it; the file beside them,
``config.json``, says what network they belong to::

    PYTHONPATH=examples point2mask label-dataset --images JPEGImages --points voc_points.json --out labels \\
        --maps network_maps:NetworkMaps:runs/voc/network.safetensors

The categories of the points must be those that the run learnt, in the same order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from panoptic_segformer.data import Sample, collate, resized, to_device
from predict import NO_POINTS, load_network
from torch import Tensor
from torch.nn import functional


class NetworkMaps:
    """From a picture to what the network says of it, as pseudo-masks are made of during training.

    Args:
        weights: ``network.safetensors`` of a run, with its ``config.json`` beside it.
        device: default: a GPU if there is one.

    Raises:
        ValueError: a file of another name, whose configuration nobody knows.
    """

    def __init__(self, weights: str, device: str | None = None) -> None:
        if Path(weights).name != "network.safetensors":
            raise ValueError(f"weights: got {weights!r}; expected network.safetensors of a run")
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network, config, _ = load_network(Path(weights).parent, self.device)
        self.min_side, self.max_side = config.data.min_side[-1], config.data.max_side

    def __call__(self, picture: np.ndarray) -> dict[str, Tensor]:
        """``semantic`` (C, H, W), ``boundary`` (1, H, W), ``features`` (D, H, W) of an (H, W, 3) uint8 picture."""
        sample = resized(Sample(picture, NO_POINTS, 0), self.min_side, self.max_side)
        batch = to_device(collate([sample]), torch.device(self.device))
        with torch.no_grad():
            outputs = self.network(batch.pictures, batch.inside)
            semantic, boundary, features = (
                functional.interpolate(maps.float(), picture.shape[:2], mode="bilinear", align_corners=False)[0]
                for maps in (outputs.semantic[-1], outputs.boundary, outputs.embeddings)
            )
        return {
            "semantic": semantic.softmax(0),
            "boundary": boundary.sigmoid(),
            "features": functional.normalize(features, dim=0),
        }
