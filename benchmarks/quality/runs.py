"""One method after the other on one problem."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from experiments import TABLES
from protocols import Problem
from scores import instance_ious


@dataclass
class Run:
    """What one method reached: an entry for each scored instance and seed."""

    iou: list[float] = field(default_factory=list)
    seed: list[int] = field(default_factory=list)
    picture: list[str] = field(default_factory=list)
    touching: list[bool] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    plan_share: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    """Seconds of each call."""

    @property
    def seconds(self) -> float:
        return sum(self.calls)

    def extend(self, other: Run) -> None:
        for name in vars(self):
            getattr(self, name).extend(getattr(other, name))


def run_problem(problem: Problem, table: str, seeds: int, points: int, sampler: str) -> dict[str, Run]:
    """Every method of a table on one problem, over all seeds."""
    torch.set_num_threads(1)
    runs: dict[str, Run] = defaultdict(Run)
    things = problem.is_thing
    for seed in range(seeds):
        targets = problem.targets(seed, points, sampler)
        for name, method in TABLES[table].items():
            start = time.process_time()
            answer = method(problem, targets)
            seconds = time.process_time() - start
            ious = instance_ious(answer.labels, problem.truth, problem.known, len(things))[things]
            count = len(ious)
            sure, share = (
                [] if told is None else told[things].tolist() for told in (answer.confidence, answer.plan_share)
            )
            touching = problem.touching[things].tolist()
            run = Run(ious.tolist(), [seed] * count, [problem.picture_name] * count, touching, sure, share, [seconds])
            runs[name].extend(run)
    return dict(runs)
