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
from panoptic_segformer.config import Config
from panoptic_segformer.data import NO_POINTS, Sample, SyntheticSamples, collate, resized
from panoptic_segformer.inference import Tally, predict
from panoptic_segformer.network import PanopticSegformer
from panoptic_segformer.pictures import overlay
from panoptic_segformer.run_folder import read_config
from PIL import Image
from safetensors.torch import load_model
from tqdm import tqdm

from point2mask_ot import (
    Category,
    PanopticImage,
    read_coco_panoptic,
    read_picture,
    write_coco_panoptic,
)
from point2mask_ot.files.pictures import PICTURE_SUFFIXES


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
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def load_network(run: Path, device: str) -> tuple[PanopticSegformer, Config, tuple[Category, ...]]:
    """The network of a run, in evaluation mode."""
    config, categories = read_config(run)
    things = sum(category.is_thing for category in categories)
    network = PanopticSegformer(config.network, things, len(categories) - things)
    load_model(network, str(run / "network.safetensors"))
    return network.to(device).eval(), config, categories


def pictures_of(options: Options, config: Config) -> Iterator[tuple[Sample, PanopticImage | None]]:
    """Pictures, and their true segments where they are known."""
    if options.pictures is None and config.data.pictures is not None:
        raise SystemExit("predict: --pictures: missing, expected a folder, since the run learnt from pictures in files")
    if options.pictures is None:
        synthetic = SyntheticSamples(config.seed + 1, config.data.synthetic_val, config.data.min_side[-1])
        for index in range(len(synthetic)):
            yield synthetic[index], synthetic.truth(index)
    elif options.truth is not None:
        truths = read_coco_panoptic(options.truth, options.truth.with_suffix(""), images_dir=options.pictures)
        for index, truth in enumerate(truths):
            yield Sample(truths.picture(index), NO_POINTS, truth.image_id), truth
    else:
        paths = [path for path in sorted(options.pictures.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES]
        if not paths:
            raise SystemExit(f"predict: --pictures: none in {options.pictures}, expected {', '.join(PICTURE_SUFFIXES)}")
        for path in paths:
            yield Sample(read_picture(path), NO_POINTS, path.name), None


def main(arguments: Sequence[str] | None = None) -> None:
    """Segment, write, score."""
    options = tyro.cli(Options, args=arguments)
    network, config, categories = load_network(options.run, options.device)
    threshold = config.score_threshold if options.threshold is None else options.threshold
    tally = Tally(categories)

    def segmented() -> Iterator[PanopticImage]:
        for sample, truth in tqdm(pictures_of(options, config)):
            small = resized(sample, config.data.min_side[-1], config.data.max_side)
            batch = collate([small]).to(torch.device(options.device))
            found = predict(network, batch, categories, [sample.picture.shape[:2]], threshold)[0]
            if truth is not None:
                tally.add(found, truth)
            name = str(sample.image_id) if truth is None else truth.file_name
            path = (options.out / "overlays" / name).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(overlay(sample.picture, found, categories)).save(path)
            yield replace(found, file_name=name)

    # One at a time: data sets of any size fit.
    write_coco_panoptic(segmented(), options.out / "panoptic.json", options.out / "panoptic", categories)
    print(f"{options.out / 'panoptic.json'}, overlays in {options.out / 'overlays'}")
    if tally.counts.any():
        scores = tally.scores()
        for name, mean in scores.items():
            parts = "  ".join(f"{key.upper()} {100 * mean[key]:5.1f}" for key in ("pq", "sq", "rq"))
            print(f"{name:7s} {parts}  ({mean['count']} classes)")
        (options.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
