"""The ``point2mask`` command."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..checks import ArgumentError
from .annotate import add_annotate
from .prepare import add_prepare

if TYPE_CHECKING:
    import numpy as np

    from ..panoptic import LabelledPoints
    from ..types import PseudoMasks

DEMO_PICTURES = ("coins", "coffee")
_DATASET = """Label all pictures of a folder. OUT gets the labels (panoptic.json and panoptic/*.png, or VOC's folders),
report.html to look at, summary.json, and set_aside.csv with the pictures that could not be labelled and why. A job that
was interrupted, killed or ran out of disk goes on where it stopped when the same command is given again."""
_DATASET_SETTINGS = (
    "maps",
    "output",
    "truth",
    "split",
    "engine",
    "workers",
    "shard",
    "merge",
    "max_errors",
    "max_pixels",
    "exif",
    "fresh",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; default ``sys.argv[1:]``.

    Returns:
        Exit status: 0; 1 where ``label-dataset`` set pictures aside or ``prepare check`` found problems; 2 with a
        message on standard error when an input is refused or the results cannot be written; 130 or 143 after SIGINT
        or SIGTERM.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options) or 0
        sys.stdout.flush()
    except ArgumentError as error:
        return _complain(error)
    except OSError as error:  # nobody takes what is printed: a full disk, a closed pipe
        with open(os.devnull, "w") as nowhere, contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python complains again when it exits
        return _complain(error)
    return status


def _complain(error: BaseException) -> int:
    with contextlib.suppress(OSError):
        print(f"point2mask: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="point2mask", description="From one point per target to panoptic pseudo-masks."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="label a photograph that scikit-image ships")
    demo.add_argument("--picture", choices=DEMO_PICTURES, default=DEMO_PICTURES[0], help="default: coins")
    demo.set_defaults(run=_demo)

    label = commands.add_parser("label", help="label your own picture from your own points")
    label.add_argument("photo", type=Path, help="a PNG, JPEG, WebP or BMP picture")
    label.add_argument(
        "--points", type=Path, required=True, help="JSON, or CSV with the columns x, y, category[, target]"
    )
    label.set_defaults(run=_label)

    words = "label all pictures of a folder; goes on where it stopped"
    dataset = commands.add_parser("label-dataset", help=words, description=_DATASET)
    _add_dataset_options(dataset)
    dataset.set_defaults(run=_label_dataset)

    add_prepare(commands)
    annotate = add_annotate(commands)

    folders = {demo: Path("demo"), annotate: Path("annotations")}
    for command in (demo, label, dataset, annotate):
        out = folders.get(command)
        words = "folder for the results" + (f" (default: {out})" if out else "")
        command.add_argument("--out", type=Path, required=out is None, default=out, help=words)
        command.add_argument("--preset", default="best", help="best or paper (default: best)")
        command.add_argument("--stride", type=int, help="pixels per cell of the graph (default: the preset's)")
        command.add_argument("--beta", type=float, help="weight of the boundary map (default: 0.1)")
        command.add_argument(
            "--color-weight", type=float, default=1.0, help="weight of the colour difference (default: 1)"
        )
        sigma = 2.0 if command is demo else 1.0  # the reliefs on the demo's coins are finer than their outlines
        command.add_argument("--sigma", type=float, default=sigma, help=f"smoothing in pixels (default: {sigma:g})")
        command.add_argument("--edge-model", type=Path, help="OpenCV structured-edge model to find boundaries with")
    return parser


def _add_dataset_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=Path, help="folder of the pictures")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--points", type=Path, help="JSON or CSV file with the points of all pictures")
    source.add_argument(
        "--sample", type=Path, help="draw the points from true masks: COCO panoptic JSON, or a folder like VOC2012"
    )
    command.add_argument("--truth", type=Path, help="score the labels against true masks, given as for --sample")
    command.add_argument("--split", default="train", help="list of pictures in VOC's layout (default: train)")
    command.add_argument("--per-target", type=int, default=1, help="points drawn for each segment (default: 1)")
    command.add_argument("--seed", type=int, default=0, help="of the points that are drawn (default: 0)")
    command.add_argument("--sampler", default="uniform", help="uniform, center or border (default: uniform)")
    command.add_argument(
        "--maps", help="folder of NAME.npy, .npz or .safetensors; or module:function or module:Class:argument"
    )
    command.add_argument("--output", default="coco", help="coco or voc (default: coco)")
    command.add_argument("--engine", default="local", help="local, or ray for a cluster (default: local)")
    command.add_argument("--workers", type=int, help="how many pictures at a time (default: one for each core)")
    command.add_argument("--shard", help="i/n: only the i-th of n parts, into OUT/shard-i-of-n")
    command.add_argument("--merge", action="store_true", help="take over what the parts have finished")
    command.add_argument("--max-errors", type=int, help="stop when more pictures are set aside (default: never)")
    command.add_argument("--max-pixels", type=int, default=2**26, help="largest picture (default: 67 million pixels)")
    command.add_argument("--exif", default="refuse", help="pictures that a camera's tag turns: refuse or apply")
    command.add_argument("--fresh", action="store_true", help="forget the job in OUT and its results")
    command.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _demo(options: argparse.Namespace) -> None:
    import skimage.data

    from ..panoptic import read_points

    image = getattr(skimage.data, options.picture)()
    if image.ndim == 2:
        image = image[:, :, None].repeat(3, axis=2)
    with resources.as_file(resources.files("point2mask_ot.cli") / "assets" / f"{options.picture}_points.json") as path:
        points = read_points(path, shape=image.shape[:2])
    _run(options, image, points, f"{options.picture}.png", warm_up=True)


def _label(options: argparse.Namespace) -> None:
    from ..panoptic import read_picture, read_points

    image = read_picture(options.photo, function="point2mask label", argument="photo")
    points = read_points(options.points, shape=(image.shape[0], image.shape[1]))
    _run(options, image, points, options.photo.name, warm_up=False)


def _label_dataset(options: argparse.Namespace) -> int:
    from ..labelling import JobInterrupted, JobStopped, Sampling, label_dataset

    points = options.points
    if options.sample:
        points = Sampling(options.sample, options.split, options.per_target, options.seed, options.sampler)
    passed = (*_DATASET_SETTINGS, "edge_model", "sigma", "color_weight")
    settings = {name: getattr(options, name) for name in passed} | _switches(options)
    settings["progress"] = not options.quiet
    try:
        made = label_dataset(options.images, points, options.out, options.preset, **settings)
    except JobStopped as error:
        return _complain(error)
    except JobInterrupted as error:
        _complain(error)
        return 128 + error.signal
    print(f"{made.labelled} of {made.pictures} pictures labelled, {made.set_aside} set aside")
    for name, value in (made.scores or {}).items():
        print(f"{name} {value:.4g}")
    print(f"wrote {made.out}" + ("" if options.shard else f"; {made.out / 'report.html'} shows it"))
    return 1 if made.set_aside else 0


def _switches(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the preset that the command line changes."""
    return {key: getattr(options, key) for key in ("stride", "beta") if getattr(options, key) is not None}


def _run(options: argparse.Namespace, image: np.ndarray, points: LabelledPoints, name: str, *, warm_up: bool) -> None:
    from ..maps import structured_edges
    from ..masks.picture import label_picture

    edge_map = structured_edges(image, options.edge_model) if options.edge_model else None
    settings = {"sigma": options.sigma, "color_weight": options.color_weight, "edge_map": edge_map}
    settings |= _switches(options)
    if warm_up:  # the first call compiles the kernels, which says nothing of how long a stage takes
        label_picture(image, points.targets, options.preset, **settings)
    result = label_picture(image, points.targets, options.preset, **settings)
    print(summary(points, result))
    for path in _write(options.out, image, points, result, name):
        print(f"wrote {path}")


def summary(points: LabelledPoints, result: PseudoMasks) -> str:
    """What the masks are like, as a table: a line for each target, then the transport and the time per stage."""
    notes = result.diagnostics
    lines = [f"{'target':>6}  {'category':<14}{'pixels':>9}{'capacity':>10}{'confidence':>12}"]
    for k, category in enumerate(points.targets.category):
        mask: Any = result.masks[k]
        confidence = float(result.confidence[mask].mean()) if mask.any() else 0.0
        name = points.categories[category].name
        lines.append(f"{k:>6}  {name:<14}{int(mask.sum()):>9}{float(notes.capacities[k]):>10.0f}{confidence:>12.2f}")
    if notes.transport is not None:
        plan = notes.transport
        state = "converged" if plan.converged else "stopped"
        lines.append(
            f"transport {state} after {plan.iterations} passes, marginal error {float(plan.marginal_error):.1e}"
        )
    lines.append("seconds: " + ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in notes.seconds.items()))
    return "\n".join(lines)


def _write(folder: Path, image: np.ndarray, points: LabelledPoints, result: PseudoMasks, name: str) -> list[Path]:
    """COCO panoptic JSON and PNG, and the strip of pictures."""
    from ..files.pictures import encode_png
    from ..panoptic import PanopticImage, atomic_write, write_coco_panoptic
    from ..viz import stage_strip, stages

    targets = points.targets
    instance: Any = result.instance
    panoptic = PanopticImage.from_targets(instance, targets, points.categories, image_id=1, file_name=name)
    stem = Path(name).stem  # one folder may take the results of many pictures
    json_path, png_dir, strip_path = folder / f"{stem}.json", folder / "panoptic", folder / f"{stem}_stages.png"
    write_coco_panoptic([panoptic], json_path, png_dir, points.categories)
    atomic_write(strip_path, encode_png(stage_strip(stages(image, targets, result))))
    return [strip_path, json_path, png_dir / f"{stem}.png"]
