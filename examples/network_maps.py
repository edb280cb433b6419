"""Maps for ``point2mask label-dataset`` from a checkpoint of the reference model: a stronger labeller than colours.

A class named on the command line, with the weights of a run of ``train_voc.py`` behind it; the file beside them,
``config.json``, says what network they belong to::

    PYTHONPATH=examples point2mask label-dataset --images JPEGImages --points voc_points.json --out labels \\
        --maps network_maps:NetworkMaps:runs/voc/network.safetensors

The channels of the semantic map are the run's categories: the points must be of the same ones, in the same order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from panoptic_segformer.data import NO_POINTS, Sample, batch_of
from predict import load_network
from torch import Tensor

from point2mask_ot.panoptic import read_point_set


class NetworkMaps:
    """From a picture to what the network says of it, as pseudo-masks are made of during training.

    Args:
        weights: ``network.safetensors`` of a run, with its ``config.json`` beside it.
        device: default: a GPU if there is one.
        points: the file of points that the maps are for, to be refused if it is of other categories.

    Attributes:
        categories: what the channels of ``semantic`` are.

    Raises:
        ValueError: a file of another name, whose configuration nobody knows; points of other categories than the run
            learnt, or of the same in another order.
    """

    def __init__(self, weights: str, device: str | None = None, points: str | Path | None = None) -> None:
        if Path(weights).name != "network.safetensors":
            raise ValueError(f"weights: got {weights!r}; expected network.safetensors of a run")
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network, config, self.categories = load_network(Path(weights).parent, self.device)
        if points is not None:
            learnt, given = (
                [(c.id, c.name, c.is_thing) for c in kinds]
                for kinds in (self.categories, read_point_set(points).categories)
            )
            if given != learnt:
                raise ValueError(f"points: got {given} in {points}; expected the run's (id, name, is_thing): {learnt}")
        self.data = config.data

    def __call__(self, picture: np.ndarray) -> dict[str, Tensor]:
        """``semantic`` (C, H, W), ``boundary`` (1, H, W), ``features`` (D, H, W) of an (H, W, 3) uint8 picture."""
        batch = batch_of(Sample(picture, NO_POINTS, 0), self.data).to(self.device)
        with torch.no_grad():
            maps = self.network(batch.pictures, batch.inside).maps(picture.shape[:2])
        return {name: found[0] for name, found in zip(("semantic", "boundary", "features"), maps, strict=True)}
