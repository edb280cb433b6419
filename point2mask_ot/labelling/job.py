"""``label_dataset``: from a folder of pictures and their points to a data set of pseudo-masks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Unpack

from ..checks import BackgroundWarning, fail, fail_type
from ..files.io import origin_of
from ..masks.config import PseudoMaskConfig
from ..masks.masker import NO_BACKGROUND, PseudoMasker
from ..masks.picture import refuse_idle
from ..masks.settings import sort_changes
from .idle import refuse_idle_sizes
from .job_settings import JobSettings
from .overrides import DatasetOverrides
from .plug_ins import is_plug_in, plug_in_parts
from .points_folder import points_digest
from .report.summary import LabelSummary
from .run import Run
from .settings import BACKGROUND_HINT, DatasetSettings, LabelSettings, Sampling
from .shards import adopt_shards, shard_folder, shards_of
from .stopping import stopping_on_full_disk
from .truth import Truth
from .workers.processes import refuse_no_children
from .workers.ray import import_ray

_NAME = "label_dataset"


def label_dataset(
    images: str | os.PathLike[str] | None,
    points: str | os.PathLike[str] | Sampling,
    out: str | os.PathLike[str],
    config: PseudoMaskConfig | str = "best",
    *,
    settings: DatasetSettings | None = None,
    **changes: Unpack[DatasetOverrides],
) -> LabelSummary:
    """Make the pseudo-masks of a whole data set, as files that any trainer reads.

    The points of all pictures come in one JSON file, ::

        {"categories": [{"id": 1, "name": "coin", "isthing": 1}, {"id": 2, "name": "table", "isthing": 0}],
         "images": [{"file_name": "a.jpg", "points": [{"x": 31, "y": 12, "category": "coin"}, ...]}, ...]}

    (an image may have an ``id``, else its position in the list, from 1; a point a ``target`` and a ``size``, as in
    :func:`~point2mask_ot.read_points`); or in a CSV with the columns image, x, y, category and, if wanted, target,
    isthing and size; or in a folder of such files, as the page of ``annotate`` fills it; or they are drawn from true
    masks (:class:`.Sampling`). ``out`` receives ``panoptic.json`` and ``panoptic/*.png`` (COCO), or
    ``SegmentationClass``, ``SegmentationObject`` and ``ImageSets/Segmentation/train.txt`` (VOC); ``summary.json``,
    ``timing.json``, ``set_aside.csv``, ``doubtful.txt`` (names for ``annotate --only``, the most doubtful first), and
    ``report.html`` with the folder ``report`` of all pictures, small.

    Every file appears whole or not at all, and the same call goes on where a job was interrupted, killed or ran
    out of disk; the results are the same bytes however often that happened, and whatever the number of workers or
    shards (``timing.json`` and the report's pages, which tell the time, excepted). A picture that cannot be labelled is
    set aside with its reason, and tried again by the next call, as is one whose file has changed since. Where the
    points have changed and nothing else, pictures of which they say what they said keep their labels, the others are
    labelled again, and those that they name no more lose theirs: the results are those of a new job, sooner. (Not so
    with a change of the categories or of learned sizes, which all labels depend on; with points that are drawn, in a
    part of a job, or with ``merge``, changed points are other settings.) Memory does not grow with the number of
    pictures, except that a COCO truth is read whole when a job begins.

    Needs POSIX file locks. Processes are spawned: a script must call it below ``if __name__ == "__main__":``.

    Args:
        images: folder of the pictures, which may move; with points from VOC's layout, None for its ``JPEGImages``.
        points: JSON or CSV file; a folder of them with its sub folders, each of one or more pictures, whose categories
            are one where they have one name (where their ids clash, they are numbered as they appear; files of masks,
            hidden ones and pictures that were skipped on the page of ``annotate`` are left alone); files of another
            tool that name their pictures, see :func:`~point2mask_ot.import_points`, which are held in memory while they
            are read; or a :class:`.Sampling`.
        out: folder for the results, new or of the same job, whose points may have changed.
        config: settings or the name of a preset.
        settings: what else there is to say of the data set and of how the job runs, see
            :class:`~point2mask_ot.labelling.DatasetSettings`.
        changes: fields of the settings (``maps=``, ``output=``, ``workers=``, ...) or of the configuration
            (``stride=``, ...) to change.

    Returns:
        :class:`.LabelSummary`.

    Raises:
        ArgumentError: a bad argument, or an unknown one (the message suggests the nearest); a job with other settings
            in ``out`` that has labelled something (naming what changed), with points of none of these pictures, or at
            work there; a folder with none of
            the pictures; names that its disk does not tell apart; categories that the truth does not have.
        FileError: points or truth that are damaged, naming the entry.
        JobStopped: a full disk, a folder that cannot be written to or locked, more than ``max_errors`` pictures set
            aside, workers that cannot start. The same call goes on.
        JobInterrupted: SIGINT or SIGTERM, after the pictures at hand. A second signal does not wait for them.

    Warns:
        BackgroundWarning: once, where pictures have things alone and nothing limits their masks; the report and
            ``summary.json`` say in how many.

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
    settings = DatasetSettings() if settings is None else settings
    if not isinstance(settings, DatasetSettings):
        fail_type(_NAME, "settings", settings, "DatasetSettings")
    ours, theirs = sort_changes(_NAME, changes, DatasetSettings, PseudoMaskConfig)
    settings = replace(settings, **ours)
    sampling = points if isinstance(points, Sampling) else None
    links = settings.follow_links
    place = Truth(Path(sampling.truth), sampling.split, "points", links) if sampling else None
    job = JobSettings(
        **_label_settings(settings),
        images=_images(images, place),
        out=str(shard_folder(_absolute("out", out), settings.part)),
        config=PseudoMasker(config, **theirs).config,
        follow_links=links,
        thumbnails=settings.thumbnails,
        sampling=sampling,
        truth=None
        if settings.truth is None
        else Truth(_absolute("truth", settings.truth), settings.split, "truth", links),
    )
    _refuse_inputs(Path(job.out), {"images": job.images, "points": points})
    if settings.maps is None:
        refuse_idle(_NAME, config, theirs)
    if settings.engine == "local":
        refuse_no_children(settings.workers)
    job.check(travels=settings.workers != 0)
    if settings.engine == "ray":
        import_ray()
    source = place.digest() if place else points_digest(origin_of(_NAME, "points", points))
    run = Run(job, settings, source)
    fingerprint = job.fingerprint(source, settings.part)
    other_points = sampling is None and settings.part == (1, 1) and not settings.merge
    with stopping_on_full_disk(), run.folder.locked():
        anew = run.folder.claim(fingerprint, fresh=settings.fresh, other_points=other_points)
        run.index(place, points)
        _refuse_loss(run)
        refuse_idle_sizes(_NAME, config, theirs, settings.sizes, run.settings.typical, run.pictures)
        parts = shards_of(run.folder, fingerprint) if settings.merge else []
        if anew:  # only now, when all has been looked at that was given
            run.folder.start_over()
        run.begin(fingerprint)
        adopt_shards(run.folder, parts)
        made = run.finish(fingerprint)
    if made.no_background:
        where = f"in {made.no_background} of the {made.labelled} labelled pictures"
        warnings.warn(f"{where} {NO_BACKGROUND}. {BACKGROUND_HINT}", BackgroundWarning, stacklevel=2)
    return made


def _refuse_inputs(out: Path, folders: Mapping[str, Any]) -> None:
    """Labels among pictures would be taken for pictures, and tables of results for points."""
    for argument, folder in folders.items():
        if not isinstance(folder, Sampling) and out.is_dir() and os.path.isdir(folder) and out.samefile(folder):
            fail(_NAME, "out", f"{out}, which is the folder of `{argument}`", "a folder of its own")


def _refuse_loss(run: Run) -> None:
    """To start over with a few pictures of a job would delete the labels of all others."""
    if run.how.fresh and run.asked is not None:
        labelled = sum("files" in record for _, record in run.folder.records())
        if labelled > len(run.asked):
            got = f"a call for {len(run.asked)} pictures, which would delete the labels of {labelled}"
            fail(_NAME, "fresh", got, "no `only` and no `limit` with it, or another `out`")


def _label_settings(settings: DatasetSettings) -> dict[str, Any]:
    """What the labels depend on, as it travels."""
    values = {field.name: getattr(settings, field.name) for field in fields(LabelSettings)}
    model = None if settings.edge_model is None else str(_absolute("edge_model", settings.edge_model))
    return values | {"maps": _maps(settings.maps), "edge_model": model}


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
