"""``point2mask label-dataset``: all pictures of a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..labelling.settings import LabelSettings, RunSettings, Sampling
from ..panoptic.sampling import Sampler
from .masks import MaskOptions
from .options import Option
from .words import in_words

_SOURCE = tyro.conf.create_mutex_group(required=True, title="points")


@dataclass(frozen=True)
class Draw:
    """How --sample draws points"""

    per_target: Annotated[int, Option(of=(Sampling, "n"))]
    seed: Annotated[int, Option(of=(Sampling, "seed"))]
    sampler: Annotated[Sampler, Option(of=(Sampling, "sampler"))]


@dataclass(frozen=True)
class Run(RunSettings):
    """How the job runs: no label depends on it"""

    thumbnails: Annotated[bool, Option(hidden=True)] = True
    no_thumbnails: bool = False
    """Do not draw every picture small for the report, which takes some 20 KB each, and 10 more with a truth."""
    progress: Annotated[bool, Option(hidden=True)] = True
    quiet: bool = False
    """No progress on standard error."""

    @property
    def settings(self) -> dict[str, Any]:
        """As :func:`~point2mask_ot.label_dataset` has them."""
        turned = {"progress": not self.quiet, "thumbnails": not self.no_thumbnails}
        return {field.name: getattr(self, field.name) for field in fields(RunSettings)} | turned


@dataclass(frozen=True, kw_only=True)
class LabelDataset:
    """Label all pictures of a folder; goes on where it stopped

    OUT gets the labels (panoptic.json and panoptic/*.png, or VOC's folders), report.html to look at, summary.json,
    doubtful.txt for annotate --only, and set_aside.csv with the pictures that could not be labelled and why. A job that
    was interrupted, killed or ran out of disk goes on where it stopped when the same command is given again.
    """

    images: Path | None = None
    """Folder of the pictures (default: that of VOC's layout)."""
    out: Path
    """Folder for the results."""
    points: Annotated[Path | None, Option(either=_SOURCE)] = None
    """JSON or CSV file with the points of all pictures, a folder of such files, or those of another tool."""
    sample: Annotated[Path | None, Option(either=_SOURCE, of=(Sampling, "truth"), says=("label_dataset.points",))] = (
        None
    )
    draw: Draw
    mask: MaskOptions
    label: LabelSettings
    job: Run

    def run(self, prog: str) -> int:
        """Label the pictures, and say how many were."""
        from ..labelling import label_dataset

        points: Any = self.points
        if self.sample is not None:
            points = Sampling(str(self.sample), self.job.split, self.draw.per_target, self.draw.seed, self.draw.sampler)
        settings = {**vars(self.label), **self.job.settings, **self.mask.changes}
        made = label_dataset(self.images, points, self.out, self.mask.config, **settings)
        print(f"{made.labelled} of {made.pictures} pictures labelled, {made.set_aside} set aside")
        if made.set_aside and not self.job.shard:
            first = json.loads((made.out / "summary.json").read_text())["set_aside_first"][0]
            print(f"{made.out / 'set_aside.csv'} says why; the first: {in_words(first['reason'], self)}")
        for name, value in (made.scores or {}).items():
            print(f"{name} {value:.4g}")
        print(f"wrote {made.out}" + ("" if self.job.shard else f"; {made.out / 'report.html'} shows it"))
        return 1 if made.set_aside else 0
