"""One run of a job: who labels what, and what is said of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import fail
from ..files.io import origin_of
from ..files.names import names_in, spelled_there
from ..types import PointTargets
from .asked import first_positions, positions_named
from .changed_points import Change, drop_changed
from .finish import write_results
from .folder import JobFolder
from .job_settings import JobSettings
from .labeller import Labeller, Outcome, Task, set_aside
from .maps import map_names
from .plug_ins import is_plug_in
from .points_file import categories_of, targets_of
from .points_folder import index_points
from .progress import Progress
from .report.summary import LabelSummary
from .settings import RunSettings
from .sizes import typical_of
from .stopping import JobInterrupted, JobStopped, listening
from .table import Row, Table, open_table
from .truth import Truth, check_same_categories
from .workers.pool import Crew, Pool
from .workers.processes import GUARD, Processes
from .workers.ray import Actors, connected, import_ray

_NAME = "label_dataset"
NamesOf = Callable[[str], list[str]]


@dataclass
class Run:
    """One run of a job, in a folder that is locked.

    Attributes:
        settings: of the labels.
        how: the job runs.
        source: digest of where the points come from.
        workers: how many; 0 for this process, None until Ray has said it.
        folder: of the results.
        table: the pictures and their points.
        points: where they come from.
        asked: the positions of the pictures to label; None for all.
        change: what became of labels of other points, which the job went on from.
        truth: what is known of their true masks, if anything.
    """

    settings: JobSettings
    how: RunSettings
    source: str
    workers: int | None = field(init=False)
    folder: JobFolder = field(init=False)
    table: Table = field(init=False)
    points: Any = field(init=False)
    asked: frozenset[int] | None = field(init=False, default=None)
    change: Change = field(init=False, default=Change())
    truth: Table | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.folder = JobFolder(self.settings.out)
        self.names = None if self.how.only is None else names_in(_NAME, "only", self.how.only)
        self.workers = self.how.workers
        if self.workers is None and self.how.engine == "local":
            self.workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def index(self, place: Truth | None, points: Any) -> None:
        """Check the points and the truth and keep them in tables, unless that was done before."""
        path = self.folder.table_path(self.source)
        table = open_table(path, self.source)
        if table is None and place is not None:
            table = place.index(path, self.source)
        elif table is None:
            table = index_points(origin_of(_NAME, "points", points), path, self.source)
        self.table, self.points = table, points
        if self.names is not None:
            self.asked = positions_named(table, self.names, points)
        self._check_names()
        if self.how.limit is not None:
            self.asked = first_positions(self._rows(), self.how.limit, self._is_there)
        categories = categories_of(table)
        self.settings = replace(self.settings, categories=categories)
        typical = typical_of(_NAME, self.settings.sizes, categories, self.pictures)
        self.settings = replace(self.settings, typical=typical)
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

    def pictures(self) -> Iterable[PointTargets]:
        """The targets of all pictures of the job; for those whose points are drawn, one of every category stands."""
        categories = self.settings.categories
        if self.settings.sampling:
            is_thing = [category.is_thing for category in categories]
            return [PointTargets(np.zeros((len(categories), 2)), None, np.arange(len(categories)), is_thing)]
        return (targets_of(row.body, categories) for row in self.table.rows())

    def _check_names(self) -> None:
        """Refuse a folder that has nothing of what the points name, and names that the disk takes for one.

        The first would set every picture aside, and delete the labels that earlier runs made: a disk that is not
        mounted is such a folder.
        """
        folders: dict[str, tuple[str, NamesOf]] = {"images": (self.settings.images, lambda name: [name])}
        if isinstance(self.settings.maps, str) and not is_plug_in(self.settings.maps):
            folders["maps"] = (self.settings.maps, map_names)
        for argument, (folder, names) in folders.items():
            if not any(_has(folder, name) for row in self._rows() for name in names(row.name)):
                count, of = (
                    (self.table.size, "the points name") if self.asked is None else (len(self.asked), "are asked")
                )
                got = f"{folder}, with a file for none of the {count} pictures that {of}"
                fail(_NAME, argument, got, "the folder that their names are relative to")
        twins = None if self.folder.tells_case() else self.table.twins()
        if twins:
            got = f"the pictures {twins[0]!r} and {twins[1]!r}"
            fail(_NAME, "points", got, "names that differ in more than case, which the disk of `out` does not tell")

    def begin(self, fingerprint: dict[str, Any]) -> None:
        """From now on the folder is this job's: without labels of other points, if it was the job's before."""
        before = self.folder.fingerprint()
        if before is not None and before["points"] != self.source:
            self.change = drop_changed(self.folder, before, self.table, self.settings)
        self.folder.begin(fingerprint)

    def finish(self, fingerprint: dict[str, Any]) -> LabelSummary:
        """Label what is not labelled, then write what holds for all pictures."""
        begun = time.monotonic()
        _, n = self.how.part
        shown = Progress(self._count(), sys.stderr if self.how.progress else None)
        if any(self.change):
            shown.say(str(self.change))
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
                "engine": self.how.engine,
                "workers": self.workers,
                **shown.counts,
                **({"dropped": self.change.dropped} if self.change.dropped else {}),
            }
            found: dict[str, Any] = {}
            if n == 1:
                found = write_results(self.settings, self.folder, self.table, fingerprint, run, self.points, self.asked)
        counts, scores = shown.counts, found.get("scores")
        return LabelSummary(
            out=self.folder.root,
            pictures=shown.total,
            labelled=counts["labelled"] + counts["kept"],
            set_aside=counts["set aside"],
            kept=counts["kept"],
            dropped=self.change.dropped,
            scores=scores and {name: value for name, value in scores.items() if not isinstance(value, list)},
            seconds=time.monotonic() - begun,
            no_background=found.get("pictures_without_background", 0),
        )

    def _check_errors(self, count: int, last: Outcome) -> None:
        if self.how.max_errors is not None and count > self.how.max_errors and last.kind == "set aside":
            message = f"{count} pictures set aside, more than max_errors={self.how.max_errors}; the last: {last.reason}"
            raise JobStopped(message)

    def _rows(self, i: int = 1, n: int = 1) -> Iterator[Row]:
        """The pictures asked for, or part i of n of them."""
        if self.asked is None:
            return self.table.rows(i - 1, n)
        return (self.table.at(position) for position in sorted(self.asked) if position % n == i - 1)

    def _count(self) -> int:
        i, n = self.how.part
        positions = range(self.table.size) if self.asked is None else self.asked
        return sum(position % n == i - 1 for position in positions)

    def _is_there(self, row: Row) -> bool:
        return _has(self.settings.images, row.name)

    def _tasks(self) -> Iterator[Task]:
        for row in self._rows(*self.how.part):
            yield Task(row, self.truth.find(row.name) if self.truth else None)

    def _outcomes(self, heard: list[int]) -> Iterator[Outcome | None]:
        if self.how.engine == "ray":
            ray = import_ray()
            with connected(ray) as cores:
                self.workers = self.workers or cores
                yield from self._by(Actors(ray, self.settings), self.workers, heard)
            return
        if self.workers:
            hint = f" (a script calls label_dataset {GUARD})"
            yield from self._by(Processes(self.settings), self.workers, heard, hint)
            return
        labeller = Labeller(self.settings)
        for task in self._tasks():
            if heard:
                return
            yield _twice(labeller, task)

    def _by(self, crew: Crew, workers: int, heard: list[int], hint: str = "") -> Iterator[Outcome | None]:
        return Pool(crew, workers, lambda: bool(heard), self._set_aside, hint).run(self._tasks())

    def _set_aside(self, task: Task, reason: str) -> Outcome:
        return set_aside(self.settings, task.row, reason)


def _has(folder: str, name: str) -> bool:
    """Whether a folder has a file of that name."""
    try:
        return Path(folder, spelled_there(folder, name)).is_file()
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
