"""``point2mask prepare``: what training from points reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_prepare(commands: Any) -> None:
    """Add the command to the parsers of ``point2mask``."""
    prepare = commands.add_parser("prepare", help="make the files that training from points reads")
    kinds = prepare.add_subparsers(required=True, metavar="WHAT")

    voc = kinds.add_parser("voc", help="Pascal VOC 2012, and SBD, as COCO panoptic")
    voc.add_argument("--voc", type=Path, required=True, help="the folder VOCdevkit/VOC2012")
    voc.add_argument("--sbd", type=Path, help="the folder benchmark_RELEASE/dataset of SBD")
    voc.add_argument("--out", type=Path, required=True, help="folder for the JSON files and masks")
    voc.set_defaults(run=_voc)

    points = kinds.add_parser("points", help="draw points from masks")
    _add_masks(points)
    points.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    points.add_argument("--n", type=int, default=1, help="points in each mask (default: 1)")
    points.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    points.add_argument("--sampler", default="uniform", help="uniform, center or border (default: uniform)")
    points.add_argument("--no-stuff", action="store_true", help="draw from things only")
    points.add_argument(
        "--write-png", action="store_true", help="also as PNGs for PSPS and Point2Mask: NAME_png.json, folder NAME_png"
    )
    points.set_defaults(run=_points)

    psps = kinds.add_parser("import-psps", help="take over point PNGs made for PSPS or Point2Mask")
    _add_masks(psps, png_required=True)
    psps.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    psps.set_defaults(run=_psps)

    check = kinds.add_parser("check", help="compare points with the masks they came from")
    check.add_argument("points", type=Path, help="the JSON file of points")
    _add_masks(check)
    check.add_argument("--images", type=Path, help="folder of pictures: report those missing")
    check.set_defaults(run=_check)


def _add_masks(command: argparse.ArgumentParser, *, png_required: bool = False) -> None:
    command.add_argument("--panoptic", type=Path, required=True, help="COCO panoptic JSON")
    help = "folder of the PNGs" + ("" if png_required else " (default: beside the JSON, with its name)")
    command.add_argument("--png", type=Path, required=png_required, help=help)


def _masks(options: argparse.Namespace) -> Any:
    from ..panoptic import read_coco_panoptic

    return read_coco_panoptic(options.panoptic, options.png or options.panoptic.with_suffix(""))


def _voc(options: argparse.Namespace) -> None:
    from ..panoptic import prepare_voc

    for name, count in prepare_voc(options.voc, options.out, sbd=options.sbd).items():
        print(f"wrote {options.out / name}: {count} pictures")


def _points(options: argparse.Namespace) -> None:
    from ..panoptic import prepare_points

    settings = {"n": options.n, "seed": options.seed, "sampler": options.sampler, "stuff": not options.no_stuff}
    count = prepare_points(_masks(options), options.out, **settings, write_png=options.write_png)
    print(f"wrote {options.out}: points of {count} pictures")


def _psps(options: argparse.Namespace) -> None:
    from ..panoptic import import_psps

    count, lost = import_psps(_masks(options), options.png, options.out)
    print(f"wrote {options.out}: points of {count} pictures; {lost} segments have no point")


def _check(options: argparse.Namespace) -> int:
    from ..panoptic import check_points, read_point_set

    counts, problems = check_points(read_point_set(options.points), _masks(options), options.images)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return min(len(problems), 1)
