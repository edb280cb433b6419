"""Segment pictures with a trained network: COCO panoptic and overlays out, and scores where there is truth.

python examples/predict.py --run runs/train --out predictions               # the synthetic validation pictures
python examples/predict.py --run runs/voc --pictures photos/ --out predictions
python examples/predict.py --run runs/voc --pictures JPEGImages/ --truth voc_panoptic_val.json --out predictions
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from panoptic_segformer.checkpoint import read_config
from panoptic_segformer.config import Config
from panoptic_segformer.data import Samples, batch_of
from panoptic_segformer.evaluation import predict, summary
from panoptic_segformer.network import PanopticSegformer
from pictures import overlay
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_model
from samples import FileSamples, SyntheticSamples
from tqdm import tqdm

from point2mask_ot import ArgumentError, Category, PanopticImage, write_coco_panoptic
from point2mask_ot.panoptic import PanopticEvaluator

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Options:
    """What to segment."""

    run: Path
    """Folder of a training run."""
    out: Path
    pictures: Path | None = None
    """Folder of pictures; default: the run's synthetic validation pictures."""
    truth: Path | None = None
    """COCO panoptic JSON, masks in the folder of its name: only its pictures are segmented, and scored."""
    threshold: float | None = None
    """Score below which a segment is left out; default: the run's."""
    device: str = DEVICE


def load_network(run: Path, device: str = DEVICE) -> tuple[PanopticSegformer, Config, tuple[Category, ...]]:
    """The network of a run, in evaluation mode.

    Raises:
        ValueError: there is none in that folder, or it is damaged.
    """
    try:
        config, categories = read_config(run)
        things = sum(category.is_thing for category in categories)
        network = PanopticSegformer(config.network, things, len(categories) - things)
        load_model(network, str(run / "network.safetensors"))
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{run}: no trained network to be read ({error}), expected the folder of a run") from error
    return network.to(device).eval(), config, categories


def samples_of(options: Options, config: Config) -> Samples:
    """The pictures, and their true segments where they are known."""
    if options.pictures is not None:
        return FileSamples(options.pictures, None, options.truth)
    if config.data.pictures is not None:
        raise ValueError("--pictures: missing, expected a folder, since the run learnt from pictures in files")
    return SyntheticSamples(config.seed + 1, config.data.synthetic_val, config.data.min_side[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Segment, write, score."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    try:
        network, config, categories = load_network(options.run, options.device)
    except ValueError as error:
        raise SystemExit(f"predict: --run: {error}") from error
    try:
        samples = samples_of(options, config)
    except (ValueError, OSError) as error:
        raise SystemExit(f"predict: {error}") from error
    threshold = config.score_threshold if options.threshold is None else options.threshold
    evaluator = PanopticEvaluator(categories)

    def segmented() -> Iterator[PanopticImage]:
        for index in tqdm(range(len(samples))):
            sample, truth = samples[index], samples.truth(index)
            batch = batch_of(sample, config.data).to(options.device)
            found = predict(network, batch, categories, [sample.picture.shape[:2]], threshold)[0]
            if truth is not None:
                evaluator.add(found, truth)
            name = str(sample.image_id) if truth is None else truth.file_name
            path = (options.out / "overlays" / name).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(overlay(sample.picture, found, categories)).save(path)
            yield replace(found, file_name=name)

    try:  # One at a time: data sets of any size fit.
        write_coco_panoptic(segmented(), options.out / "panoptic.json", options.out / "panoptic", categories)
    except ArgumentError as error:
        raise SystemExit(f"predict: {error}") from error
    print(f"{options.out / 'panoptic.json'}, overlays in {options.out / 'overlays'}")
    if evaluator.counts.any():
        scores = summary(evaluator)
        print("  ".join(f"{name} {100 * value:.1f}" for name, value in scores.items()))
        (options.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
