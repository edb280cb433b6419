"""Points that move to the centroids of their regions: the sources of the centroid rule (Eq. 4), round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch

from ..arrays import to_device
from ..points import pixel_indices
from ..types import PointTargets
from .regions import centroids

Points: TypeAlias = tuple[np.ndarray, np.ndarray]
"""(N, 2) rows and columns, and (N,) what each point belongs to."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The points from which the regions of one image grow, at some round of the centroid rule."""

    points_yx: np.ndarray
    unit: np.ndarray
    """(N,) index of what moves as one, a target or a single point."""
    owner: np.ndarray
    """(U,) target of each unit."""
    movable: np.ndarray
    """(U,) bool: of a thing."""
    are_split: bool
    """The units are single points."""
    kept: Points | None
    """Those that stay beside the centroids, and their units."""

    @classmethod
    def of(cls, targets: PointTargets, *, by_cell: bool, keep: bool) -> Sources:
        """The targets' own points; ``by_cell`` each moves by itself, else those of a target as one."""
        points, unit, owner = targets.points_yx, targets.target, np.arange(targets.num_targets)
        are_split = by_cell and len(points) > len(owner)
        if are_split:
            order = np.argsort(unit, kind="stable")  # so that ties still go to the first target
            points, unit, owner = points[order], np.arange(len(points)), unit[order]
        return cls(points, unit, owner, targets.is_thing[owner], are_split, (points, unit) if keep else None)

    @property
    def by_unit(self) -> Points:
        return self.points_yx, self.unit

    @property
    def by_target(self) -> Points:
        return self.points_yx, self.owner[self.unit]


def moved(sources: Sequence[Sources], labels: Sequence[torch.Tensor]) -> list[Sources]:
    """Each movable unit at the centroid of its region, or where it was if that refuses it."""
    pixels = [pixel_indices("capacities", s.points_yx, *own.shape) for s, own in zip(sources, labels, strict=True)]
    reports = [_report(own, at, s) for own, at, s in zip(labels, pixels, sources, strict=True)]
    host = torch.cat(reports).cpu().split([len(report) for report in reports])  # the one wait for all images
    there = []
    for source, at, report in zip(sources, pixels, host, strict=True):
        count = len(source.owner)
        centres, holds_centre, at_home = np.split(report.numpy(), [2 * count, 3 * count])
        holds_source = np.zeros(count, bool)
        holds_source[source.unit[at_home > 0]] = True
        moves = source.movable & (holds_centre > 0) & holds_source
        stays = ~moves[source.unit]
        rest = (at[stays], source.unit[stays]) if source.kept is None else source.kept
        points_yx = np.concatenate([centres.reshape(count, 2)[moves], rest[0]])
        unit = np.concatenate([np.flatnonzero(moves), rest[1]])
        there.append(replace(source, points_yx=points_yx, unit=unit))
    return there


def _report(labels: torch.Tensor, pixels: np.ndarray, source: Sources) -> torch.Tensor:
    """What a move depends on, in one int64 row: each unit's rounded centroid (2U), whether that lies in the unit's
    region (U), and whether each point lies in its unit's region (N)."""
    count, width, device = len(source.owner), labels.shape[1], labels.device
    centres = centroids(labels, count)
    flat = labels.flatten()
    holds_centre = flat[centres[:, 0] * width + centres[:, 1]] == torch.arange(count, device=device)
    here = to_device(np.stack([pixels[:, 0] * width + pixels[:, 1], source.unit]), device)
    at_home = flat[here[0]] == here[1]
    return torch.cat([centres.flatten(), holds_centre.long(), at_home.long()])
