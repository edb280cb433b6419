"""What users write, for `make types`: a type checker must take it, and know what comes back (FAULTS C14)."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
import torch

from point2mask_ot import PointTargets, PseudoMaskConfig, PseudoMasker, PseudoMasks, label_dataset, label_picture
from point2mask_ot.annotate import serve
from point2mask_ot.labelling import LabelSummary

assert_type(PointTargets([(1, 2)]).points_yx, np.ndarray)
targets = PointTargets([(1, 2), (3, 4)], target=[0, 1], category=(3, 4), is_thing=[True, False])
assert_type(targets.flip((20, 30)).category, np.ndarray)


def settings(picture: np.ndarray, out: Path) -> None:
    """Settings by name, which editors complete: a slip is an error before anything runs."""
    config = PseudoMaskConfig.preset("paper", stride=8, capacity=in_halves)
    assert_type(PseudoMasker(config, tau=None, cost="walk").config, PseudoMaskConfig)
    assert_type(label_picture(picture, targets, config, sigma=2.0, reg=0.2), PseudoMasks)
    assert_type(label_dataset(out, out / "points.csv", out, stride=2, output="voc", workers=0), LabelSummary)
    PseudoMaskConfig.preset("paper", strid=8)  # type: ignore[call-arg]
    config.changed(cost="paths")  # type: ignore[arg-type]
    PseudoMasker("best", reg="small")  # type: ignore[arg-type]
    label_picture(picture, targets, sigm=2.0)  # type: ignore[call-arg]
    label_dataset(out, out, out, worker=1)  # type: ignore[call-arg]
    serve("photo.jpg", pixel=100)  # type: ignore[call-arg]


def in_halves(partition: object, targets: PointTargets, demand: torch.Tensor) -> torch.Tensor:
    return torch.full((targets.num_targets,), 0.5, dtype=torch.float64) * demand.sum()
