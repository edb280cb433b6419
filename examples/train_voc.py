"""Train Panoptic SegFormer from single points, end to end.

    python examples/train_voc.py                          # synthetic pictures, on a CPU, in minutes
    python examples/train_voc.py tiny --optimiser.epochs 3 --out runs/short
    python examples/train_voc.py --resume                 # a run that was stopped; --overwrite begins it anew
    python examples/train_voc.py voc_r50 --network.weights resnet50.pth --data.pictures VOC2012/JPEGImages \\
        --data.points points.json --data.val-pictures VOC2012/JPEGImages --data.val-truth voc_panoptic_val.json
    torchrun --nproc_per_node 8 examples/train_voc.py voc_r50 ...

``--help`` lists the presets, after a preset every setting. Files: see ``point2mask prepare --help``; each number of the
paper: docs/reproduce.md.
"""

from __future__ import annotations

import sys

import tyro
from panoptic_segformer.config import Config
from panoptic_segformer.data import Samples
from panoptic_segformer.presets import PRESETS
from panoptic_segformer.training import Trainer
from samples import FileSamples, SyntheticSamples

from point2mask_ot import ArgumentError


def make_samples(config: Config) -> tuple[Samples, Samples]:
    """Pictures to learn from, and pictures to score the predictions on."""
    data = config.data
    if data.pictures is None:
        files = ("points", "truth", "val_pictures", "val_truth", "low_boundary")
        if idle := [name for name in files if getattr(data, name) is not None]:
            raise ValueError(f"data.{idle[0]}: got a path without data.pictures, expected the folder of its pictures")
        counts = enumerate((data.synthetic_train, data.synthetic_val))
        return tuple(SyntheticSamples(config.seed + n, count, data.min_side[-1]) for n, count in counts)
    if data.points is None:
        raise ValueError("data.points: missing, expected the file that `point2mask prepare points` wrote")
    if config.labels.supervision == "masks" and data.truth is None:
        raise ValueError("data.truth: missing, expected the masks that --labels.supervision masks trains on")
    learn = FileSamples(data.pictures, data.points, data.truth, data.low_boundary)
    return learn, FileSamples(data.val_pictures or data.pictures, None, data.val_truth)


def main(arguments: list[str] | None = None) -> None:
    """Parse the settings and train."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not {"-h", "--help", *PRESETS} & set(arguments[:1]):
        arguments = ["tiny", *arguments]
    config = tyro.extras.overridable_config_cli(PRESETS, args=arguments, description=__doc__)
    try:
        trainer = Trainer(config, *make_samples(config))
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"train_voc: {error}") from error
    if config.data.pictures is None:
        trainer.say("data.pictures: none given, so the pictures are drawn")
    try:
        scores = trainer.run()
    except ArgumentError as error:  # of the files: they are read when their turn comes
        raise SystemExit(f"train_voc: {error}") from error
    for name, values in scores.items():
        trainer.say(f"{name.replace('_', ' ')}: " + ", ".join(f"{key} {100 * v:.1f}" for key, v in values.items()))
    trainer.say(f"pictures in {config.out / 'pictures.png'}, log in {config.out / 'log.jsonl'}")


if __name__ == "__main__":
    main()
