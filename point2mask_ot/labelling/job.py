"""The whole job: from a folder of pictures and their points to a data set of pseudo-masks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..checks import check_choice, check_integer, fail
from ..files.io import origin_of
from ..masks.config import PseudoMaskConfig
from ..masks.masker import PseudoMasker
from ..panoptic import MAX_PIXELS
from .finish import write_results
from .folder import JobFolder
from .labeller import Labeller, Outcome, Task, set_aside, stopping_on_full_disk
from .maps import MapFunction, is_plug_in, map_names, plug_in_parts
from .points_file import categories_of, index_points
from .progress import Progress
from .report.summary import LabelSummary
from .settings import ENGINES, Settings, parse_shard
from .shards import adopt_shards, shard_folder
from .stopping import JobInterrupted, JobStopped, listening
from .table import Table, open_table
from .truth import Sampling, Truth, check_same_categories, file_digest
from .workers.pool import Crew, Pool
from .workers.processes import Processes
from .workers.ray import Actors, connected, import_ray

_NAME = "label_dataset"
NamesOf = Callable[[str], list[str]]


def label_dataset(
    images: str | os.PathLike[str] | None,
    points: str | os.PathLike[str] | Sampling,
    out: str | os.PathLike[str],
    config: PseudoMaskConfig | str = "best",
    *,
    maps: str | os.PathLike[str] | MapFunction | None = None,
    edge_model: str | os.PathLike[str] | None = None,
    sigma: float = 1.0,
    color_weight: float = 1.0,
    output: str = "coco",
    truth: str | os.PathLike[str] | None = None,
    split: str = "train",
    engine: str = "local",
    workers: int | None = None,
    shard: str | tuple[int, int] | None = None,
    merge: bool = False,
    max_errors: int | None = None,
    max_pixels: int = MAX_PIXELS,
    exif: str = "refuse",
    fresh: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> LabelSummary:
    """Make the pseudo-masks of a whole data set, as files that any trainer reads.

    The points of all pictures come in one JSON file, ::

        {"categories": [{"id": 1, "name": "coin", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}],
         "images": [{"file_name": "a.jpg", "points": [{"x": 31, "y": 12, "category": "coin"}, ...]}, ...]}

    (an image may have an ``id``, else its position in the list, from 1; a point a ``target``, as in
    :func:`~point2mask_ot.read_points`); or in a CSV with the columns image, x, y, category and, if wanted, target and
    isthing; or they are drawn from true masks (:class:`Sampling`). ``out`` receives ``panoptic.json`` and
    ``panoptic/*.png`` (COCO), or ``SegmentationClass``, ``SegmentationObject`` and
    ``ImageSets/Segmentation/train.txt`` (VOC); ``summary.json``, ``timing.json``, ``set_aside.csv`` and
    ``report.html``.

    Every file appears whole or not at all, and the same call goes on where a job was interrupted, killed or ran
    out of disk; the results are the same bytes however often that happened, and whatever the number of workers or
    shards (``timing.json`` and ``report.html``, which tell the time, excepted). A picture that cannot be labelled is
    set aside with its reason, and tried again by the next call, as is one whose file has changed since. Memory
    does not grow with the number of pictures, except that a COCO truth is read whole when a job begins.

    Needs POSIX file locks. Processes are spawned: a script must call it below ``if __name__ == "__main__":``.

    Args:
        images: folder of the pictures, which may move; with points from VOC's layout, None for its ``JPEGImages``.
        points: JSON or CSV file, or a :class:`Sampling`.
        out: folder for the results, new or of the same job.
        config: settings or the name of a preset.
        maps: what the picture's colours do not say: a folder with ``NAME.npy`` (semantic probabilities), ``NAME.npz``
            or ``NAME.safetensors`` (of ``semantic`` (C, H, W), ``boundary`` (1, H, W), ``features`` (D, H, W)) for
            every picture; ``"module:function"``, or a callable, from a picture (H, W, 3) uint8 to such maps by name;
            ``"module:Class:argument"``, whose instance is such a callable, for example ``"my_maps:Network:best.pt"``
            (where the argument is a file, or a folder with a ``config.json``, a change of its content or of the
            ``config.json`` beside it is a change of the job; so is a change of what a callable object holds). Maps of
            another size are resized. The channels of ``semantic`` are the categories,
            things first. Without ``semantic``, colours stand in for it and every target supplies; without
            ``boundary``, the CIELAB gradient.
        edge_model: OpenCV structured-edge model, in place of the gradient.
        sigma, color_weight: as in :func:`~point2mask_ot.label_picture`.
        output: ``"coco"`` or ``"voc"`` (category ids are palette indices then).
        truth: COCO panoptic ``NAME.json`` beside the folder ``NAME``, or a folder in VOC's layout, to score against.
        split: of a truth in VOC's layout.
        engine: ``"local"`` for processes of this machine, ``"ray"`` for actors of a Ray cluster whose machines see the
            same folders under the same names: of the Ray that the caller has initialised, or the one that runs on this
            machine, or one begun for this call. Needs ``pip install point2mask-ot[ray]``. A job that one engine began
            the other may end. Actors ask Ray for one CPU and no GPU: where maps come from a network on a GPU, give as
            many ``workers`` as there are GPUs.
        workers: how many, with one thread each; default: one for each core. 0: in this process (local alone).
        shard: ``"i/n"`` for the i-th of n parts, on as many machines; results go to ``out/shard-i-of-n``.
        merge: take over what the parts in ``out`` have finished, and do what they have not.
        max_errors: stop when more pictures than this were set aside.
        max_pixels: largest picture.
        exif: ``"refuse"`` pictures that a camera's tag turns, or ``"apply"`` it.
        fresh: forget the job in ``out`` and its results.
        progress: tell on standard error how far the job is.
        overrides: fields of the configuration to change.

    Returns:
        :class:`LabelSummary`.

    Raises:
        ArgumentError: a bad argument; a job with other settings in ``out`` that has labelled something (naming what
            changed), or one at work there; a folder with none of the pictures; names that its disk does not tell
            apart; categories that the truth does not have.
        FileError: points or truth that are damaged, naming the entry.
        JobStopped: a full disk, a folder that cannot be written to or locked, more than ``max_errors`` pictures set
            aside, workers that cannot start. The same call goes on.
        JobInterrupted: SIGINT or SIGTERM, after the pictures at hand. A second signal does not wait for them.

    Example:
        >>> import pathlib, tempfile, numpy as np
        >>> from PIL import Image
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> pixels = np.zeros((10, 20, 3), np.uint8); pixels[:, 12:] = 200
        >>> Image.fromarray(pixels).save(folder / "a.png")
        >>> points = folder / "points.csv"
        >>> _ = points.write_text("image,x,y,category\\na.png,2,5,cat\\na.png,18,5,dog\\n")
        >>> made = label_dataset(folder, points, folder / "out", workers=0, progress=False)
        >>> made.labelled, made.set_aside
        (1, 0)
    """
    check_choice(_NAME, "engine", engine, ENGINES)
    if workers is None and engine == "local":
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers is not None:
        workers = check_integer(_NAME, "workers", workers, minimum=int(engine == "ray"))
    if max_errors is not None:
        check_integer(_NAME, "max_errors", max_errors, minimum=0)
    part = parse_shard(shard)
    sampling = points if isinstance(points, Sampling) else None
    place = Truth(Path(sampling.truth), sampling.split, "points") if sampling else None
    settings = Settings(
        images=_images(images, place),
        out=str(shard_folder(_absolute("out", out), part)),
        config=PseudoMasker(config, **overrides).config,
        maps=_maps(maps),
        edge_model=str(_absolute("edge_model", edge_model)) if edge_model is not None else None,
        sigma=sigma,
        color_weight=color_weight,
        output=output,
        max_pixels=check_integer(_NAME, "max_pixels", max_pixels, minimum=1),
        exif=exif,
        sampling=sampling,
        truth=Truth(_absolute("truth", truth), split, "truth") if truth is not None else None,
    )
    settings.check(travels=workers != 0)
    if engine == "ray":
        import_ray()
    source = place.digest() if place else file_digest(origin_of(_NAME, "points", points))
    job = _Job(settings, source, part, engine, workers, max_errors, progress)
    fingerprint = settings.fingerprint(source, part)
    with stopping_on_full_disk(), job.folder.locked():
        job.folder.claim(fingerprint, fresh=fresh)
        job.index(place, points)
        job.folder.begin(fingerprint)
        if merge:
            adopt_shards(job.folder, fingerprint)
        return job.run(fingerprint)


def _absolute(argument: str, path: object) -> Path:
    """Workers may have another working folder."""
    return Path(os.path.abspath(origin_of(_NAME, argument, path).path))


def _images(images: str | os.PathLike[str] | None, place: Truth | None) -> str:
    if images is None and place is not None and place.pictures is not None:
        return str(place.pictures)
    return str(_absolute("images", images))


def _maps(maps: Any) -> Any:
    if isinstance(maps, str) and is_plug_in(maps):
        module, attribute, argument = plug_in_parts(maps)
        if argument is None or not os.path.exists(argument):
            return maps
        return f"{module}:{attribute}:{os.path.abspath(argument)}"
    if not isinstance(maps, (str, os.PathLike)):
        return maps
    return str(_absolute("maps", maps))


@dataclass
class _Job:
    """One run of a job, in a folder that it has locked."""

    settings: Settings
    source: str
    part: tuple[int, int]
    engine: str
    workers: int | None
    max_errors: int | None
    progress: bool
    folder: JobFolder = field(init=False)
    table: Table = field(init=False)
    truth: Table | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = JobFolder(self.settings.out)

    def index(self, place: Truth | None, points: Any) -> None:
        """Check the points and the truth and keep them in tables, unless that was done before."""
        path = self.folder.job / "points.sqlite"
        table = open_table(path, self.source)
        if table is None and place is not None:
            table = place.index(path, self.source)
        elif table is None:
            table = index_points(origin_of(_NAME, "points", points), path, self.source)
        self.table = table
        self._check_names()
        self.settings = replace(self.settings, categories=categories_of(table))
        self.settings.check_categories()
        truth = self.settings.truth
        if truth is None:
            return
        digest = truth.digest()
        path = self.folder.job / "truth.sqlite"
        self.truth = open_table(path, digest) or truth.index(path, digest)
        known = categories_of(self.truth)
        check_same_categories(self.settings.categories, known)
        self.settings = replace(self.settings, truth_digest=digest, truth_categories=known)

    def _check_names(self) -> None:
        """Refuse a folder that has nothing of what the points name, and names that the disk takes for one.

        The first would set every picture aside, and delete the labels that earlier runs made: a disk that is not
        mounted is such a folder.
        """
        folders: dict[str, tuple[str, NamesOf]] = {"images": (self.settings.images, lambda name: [name])}
        if isinstance(self.settings.maps, str) and not is_plug_in(self.settings.maps):
            folders["maps"] = (self.settings.maps, map_names)
        for argument, (folder, names) in folders.items():
            if not any(_is_file(Path(folder, name)) for row in self.table for name in names(row.name)):
                got = f"{folder}, with a file for none of the {self.table.size} pictures that the points name"
                fail(_NAME, argument, got, "the folder that their names are relative to")
        twins = None if self.folder.tells_case() else self.table.twins()
        if twins:
            got = f"the pictures {twins[0]!r} and {twins[1]!r}"
            fail(_NAME, "points", got, "names that differ in more than case, which the disk of `out` does not tell")

    def run(self, fingerprint: dict[str, Any]) -> LabelSummary:
        """Label what is not labelled, then write what holds for all pictures."""
        begun = time.monotonic()
        i, n = self.part
        shown = Progress(len(range(i - 1, self.table.size, n)), sys.stderr if self.progress else None)
        with listening() as heard:
            for outcome in self._outcomes(heard):
                if outcome is not None:
                    shown.add(outcome.kind)
                    self._check_errors(shown.counts["set aside"], outcome)
                shown.show()
            shown.show(final=True)
            if heard and shown.done < shown.total:
                raise JobInterrupted(heard[0])
            run = {
                "seconds": round(time.monotonic() - begun, 3),
                "engine": self.engine,
                "workers": self.workers,
                **shown.counts,
            }
            scores = write_results(self.settings, self.folder, self.table, fingerprint, run) if n == 1 else None
        counts = shown.counts
        done, seconds = counts["labelled"] + counts["kept"], time.monotonic() - begun
        return LabelSummary(self.folder.root, shown.total, done, counts["set aside"], scores, seconds)

    def _check_errors(self, count: int, last: Outcome) -> None:
        if self.max_errors is not None and count > self.max_errors and last.kind == "set aside":
            message = f"{count} pictures set aside, more than max_errors={self.max_errors}; the last: {last.reason}"
            raise JobStopped(message)

    def _tasks(self) -> Iterator[Task]:
        i, n = self.part
        for row in self.table.rows(i - 1, n):
            yield Task(row, self.truth.find(row.name) if self.truth else None)

    def _outcomes(self, heard: list[int]) -> Iterator[Outcome | None]:
        if self.engine == "ray":
            ray = import_ray()
            with connected(ray) as cores:
                self.workers = self.workers or cores
                yield from self._by(Actors(ray, self.settings), self.workers, heard)
            return
        if self.workers:
            yield from self._by(Processes(self.settings), self.workers, heard)
            return
        labeller = Labeller(self.settings)
        for task in self._tasks():
            if heard:
                return
            yield _twice(labeller, task)

    def _by(self, crew: Crew, workers: int, heard: list[int]) -> Iterator[Outcome | None]:
        return Pool(crew, workers, lambda: bool(heard), self._set_aside).run(self._tasks())

    def _set_aside(self, task: Task, reason: str) -> Outcome:
        return set_aside(self.settings, task.row, reason)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _twice(labeller: Labeller, task: Task) -> Outcome:
    """In the job's own process, running out of memory is the one kind of death to come back from."""
    try:
        return labeller(task)
    except MemoryError:
        pass
    try:
        return labeller(task)
    except MemoryError as error:
        return set_aside(labeller.settings, task.row, f"out of memory: {error}")
