"""``point2mask prepare``: what training from points reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..checks import fail
from ..files.io import origin_of
from ..formats import export_masks, import_points
from ..formats.exports import ExportFormat
from ..formats.imports import ImportFormat
from ..labelling.settings import Sampling
from ..panoptic import (
    CocoPanoptic,
    check_points,
    import_psps,
    prepare_points,
    prepare_voc,
    read_coco_panoptic,
    read_point_set,
    write_point_set,
)
from ..panoptic.point_set import refuse_to_replace
from ..panoptic.points import is_json
from ..panoptic.sampling import Sampler
from .options import Commands, Option


@dataclass(frozen=True, kw_only=True)
class Voc:
    """Pascal VOC 2012, and SBD, as COCO panoptic"""

    voc: Annotated[Path, Option(says=("read_voc",))]
    """The folder VOCdevkit/VOC2012."""
    sbd: Path | None = None
    """The folder benchmark_RELEASE/dataset of SBD."""
    out: Annotated[Path, Option(says=("write_coco_panoptic",))]
    """Folder for the JSON files and masks."""
    follow_links: bool = False
    """Read files and folders that are links out of VOC's."""

    def run(self, prog: str) -> None:
        """Write the data sets."""
        for name, count in prepare_voc(self.voc, self.out, sbd=self.sbd, follow_links=self.follow_links).items():
            print(f"wrote {self.out / name}: {count} pictures")


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Where the masks are."""

    panoptic: Annotated[Path, Option(says=("read_coco_panoptic",))]
    """COCO panoptic JSON."""
    png: Annotated[Path | None, Option(says=("read_coco_panoptic.png_dir",))] = None
    """Folder of the PNGs (default: beside the JSON, with its name; if there is none, panoptic)."""
    follow_links: bool = False
    """Read PNGs that are links out of their folder."""

    def read(self) -> CocoPanoptic:
        """The data set."""
        folder = self.png or self.panoptic.with_suffix("")
        shared = self.panoptic.with_name("panoptic")  # of all pictures that label and annotate put there
        if self.png is None and shared.is_dir() and not folder.is_dir():
            folder = shared
        return read_coco_panoptic(self.panoptic, folder, follow_links=self.follow_links)


@dataclass(frozen=True, kw_only=True)
class Points(Masks):
    """Draw points from masks"""

    out: Annotated[Path, Option(says=("write_point_set", "write_coco_panoptic", "prepare_points.path"))]
    """The JSON file to write."""
    n: Annotated[int, Option(of=(Sampling, "n"))]
    seed: Annotated[int, Option(of=(Sampling, "seed"))]
    sampler: Annotated[Sampler, Option(of=(Sampling, "sampler"))]
    no_stuff: bool = False
    """Draw from things only."""
    size_error: float | None = None
    """Also sizes of the things, as guessed: off by a factor, typically this one; 1: the true ones.

    It tells what such hints would be worth on one's own data: label the points with and without them.
    """
    write_png: bool = False
    """Also as PNGs for PSPS and Point2Mask: NAME_png.json, folder NAME_png."""

    def run(self, prog: str) -> None:
        """Write the points."""
        how: dict[str, Any] = {"n": self.n, "seed": self.seed, "sampler": self.sampler, "stuff": not self.no_stuff}
        how |= {"size_error": self.size_error, "write_png": self.write_png}
        count = prepare_points(self.read(), self.out, **how)
        print(f"wrote {self.out}: points of {count} pictures")


@dataclass(frozen=True, kw_only=True)
class ImportPsps(Masks):
    """Take over point PNGs made for PSPS or Point2Mask"""

    png: Annotated[Path, Option(says=("read_coco_panoptic.png_dir", "import_psps.png_dir"))] = (
        field()
    )  # required: no default is inherited
    """Folder of the PNGs."""
    out: Annotated[Path, Option(says=("write_point_set", "import_psps.path"))]
    """The JSON file to write."""

    def run(self, prog: str) -> None:
        """Write the points."""
        count, lost = import_psps(self.read(), self.png, self.out)
        print(f"wrote {self.out}: points of {count} pictures; {lost} segments have no point")


@dataclass(frozen=True, kw_only=True)
class Check(Masks):
    """Compare points with the masks they came from"""

    points: Annotated[Path, Option(positional=True, says=("read_point_set",))]
    """The JSON file of points."""
    images: Path | None = None
    """Folder of pictures: report those missing."""

    def run(self, prog: str) -> int:
        """Say what is at odds."""
        origin = origin_of(prog, "points", self.points)
        if self.points.is_file() and not is_json(origin):
            origin.fail("no JSON", "JSON, which `point2mask prepare import FILE --format csv --out points.json` makes")
        counts, problems = check_points(read_point_set(self.points), self.read(), self.images)
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for problem in problems:
            print(problem)
        print(f"{len(problems)} problems")
        return min(len(problems), 1)


@dataclass(frozen=True, kw_only=True)
class Import:
    """Take over points, boxes, circles and outlines drawn in other tools"""

    path: Annotated[Path, Option(positional=True)]
    """A file, or a folder of such files."""
    out: Annotated[Path, Option(says=("write_point_set",))]
    """The JSON file to write."""
    format: ImportFormat | None = None
    """What the files are (default: as the content of each says)."""
    columns: str | None = None
    """With csv or napari: what the file calls ours, as x=cx,y=cy,category=label,image=file."""
    category: str = "object"
    """Of what has none."""
    stuff: str = ""
    """Categories that are stuff, as sky,grass; "background" is."""
    images: Path | None = None
    """Folder of the pictures, for files that do not name theirs; points must lie inside."""

    def run(self, prog: str) -> None:
        """Write the points."""
        refuse_to_replace(self.out, function=prog, argument="out")
        columns = None if self.columns is None else _renamed(prog, self.columns)
        how: dict[str, Any] = {"format": self.format, "columns": columns, "category": self.category}
        how |= {"stuff": [name.strip() for name in self.stuff.split(",") if name.strip()], "images": self.images}
        found = import_points(self.path, **how)
        write_point_set(self.out, found.pictures, found.categories, found.info)
        targets = sum(picture.targets.num_targets for picture in found.pictures)
        sizes = sum(int(np.isfinite(picture.targets.size).sum()) for picture in found.pictures)
        print(f"wrote {self.out}: {targets} targets, {sizes} with a size, in {len(found.pictures)} pictures")
        for category in found.categories:
            print(f"{category.name}: {'thing' if category.is_thing else 'stuff'}")


@dataclass(frozen=True, kw_only=True)
class Export(Masks):
    """Write masks for other tools"""

    panoptic: Annotated[Path, Option(positional=True, says=("read_coco_panoptic",))]
    """COCO panoptic JSON, as label, annotate and label-dataset write it."""
    to: Annotated[ExportFormat, Option(says=("export_masks.to", "export_masks.dataset"))]
    """What to write."""
    out: Annotated[Path, Option(says=("export_masks.out",))]
    """Folder for the files."""
    stuff: bool = False
    """Stuff, too, as if each kind in a picture were an object."""
    polygons: bool = False
    """In coco-instances, polygons instead of run lengths."""

    def run(self, prog: str) -> None:
        """Write the files."""
        count = export_masks(self.read(), self.to, self.out, stuff=self.stuff, polygons=self.polygons)
        print(f"wrote {self.out}: {self.to} of {count} pictures")


def _renamed(prog: str, text: str) -> dict[str, str]:
    """``x=cx,y=cy``"""
    pairs = [[word.strip() for word in pair.split("=")] for pair in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        fail(prog, "columns", repr(text), "pairs of our name and the file's, as x=cx,y=cy")
    return {pair[0]: pair[1] for pair in pairs}


PREPARE = Commands(
    "Make, import, export and check files of points and masks",
    {"voc": Voc, "points": Points, "import": Import, "export": Export, "import-psps": ImportPsps, "check": Check},
)
