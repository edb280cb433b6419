"""The methods compared: peers on the same picture, points and knowledge, and settings of this library."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from protocols import Problem
from scipy import ndimage
from skimage import segmentation

from point2mask_ot import BackgroundWarning, ConvergenceWarning, MapTerm, PointTargets, PseudoMasker
from point2mask_ot.masks.picture import STEP_COST

BASELINE = "minimum cost"


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method says.

    Attributes:
        labels: (H, W) target of each pixel, -1 for none.
        confidence: (K,) how sure the method is of each target's mask.
        plan_share: (K,) mean over the mask of what the plan gives to it: how clear-cut the choice was.
    """

    labels: np.ndarray
    confidence: np.ndarray | None = None
    plan_share: np.ndarray | None = None


Method = Callable[[Problem, PointTargets], Answer]


# ---------------------------------------------------------------------------------------------------------- peers


def by_region(split: Callable[[Problem, np.ndarray, np.ndarray], np.ndarray]) -> Method:
    """A peer that knows no classes, run for each class within its pixels.

    ``split(problem, inside, marks)`` -> (H, W) mark of each pixel; ``marks`` is 0 where nothing is told.
    """

    def method(problem: Problem, targets: PointTargets) -> Answer:
        labels = np.full(problem.truth.shape, -1)
        marks = np.zeros_like(labels)
        marks[tuple(targets.points_yx.T.astype(int))] = targets.target + 1
        for region in range(problem.known.max() + 1):
            inside = problem.known == region
            present = np.unique(marks[inside & (marks > 0)])
            if len(present) == 1:
                labels[inside] = present[0] - 1
            elif len(present):
                own = np.where(inside, np.searchsorted(present, marks) + 1, 0) * (marks > 0)
                found = split(problem, inside, own)
                labels[inside] = np.append(present - 1, -1)[np.where(found > 0, found - 1, -1)][inside]
        return Answer(labels)

    return method


@by_region
def euclidean(problem: Problem, inside: np.ndarray, marks: np.ndarray) -> np.ndarray:
    return _nearest_mark(marks)


def _nearest_mark(marks: np.ndarray) -> np.ndarray:
    row, column = ndimage.distance_transform_edt(marks == 0, return_distances=False, return_indices=True)
    return marks[row, column]


@by_region
def watershed(problem: Problem, inside: np.ndarray, marks: np.ndarray) -> np.ndarray:
    return segmentation.watershed(problem.gradient[0], marks, mask=inside)


def random_walker(beta: float) -> Method:
    @by_region
    def split(problem: Problem, inside: np.ndarray, marks: np.ndarray) -> np.ndarray:
        marks = np.where(inside, marks, -1)
        # skimage refuses to start where a marker leaves nothing to decide; then the markers are the answer.
        if not (marks == 0).any():
            return marks
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on islands without a marker, which are scored as misses
            lab = problem.lab.transpose(1, 2, 0).astype(np.float64)
            return segmentation.random_walker(lab, marks, beta=beta, mode="cg_j", channel_axis=-1)

    return split


@by_region
def grabcut(problem: Problem, inside: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Each mark in turn against the others, two rounds from the nearest mark; a pixel claimed twice goes to it."""
    import cv2

    picture = np.ascontiguousarray((problem.picture[..., ::-1] * 255).astype(np.uint8))
    nearest = _nearest_mark(marks)
    claimed, claims = np.zeros_like(marks), np.zeros_like(marks)
    for mark in range(1, marks.max() + 1):
        mask = np.where(nearest == mark, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        mask[~inside | ((marks > 0) & (marks != mark))] = cv2.GC_BGD
        mask[marks == mark] = cv2.GC_FGD
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        with contextlib.suppress(cv2.error):  # no pixel left for one of the two models
            cv2.grabCut(picture, mask, None, *models, 2, cv2.GC_INIT_WITH_MASK)
        own = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))
        claimed[own], claims[own] = mark, claims[own] + 1
    return np.where(claims == 1, claimed, nearest) * inside


# -------------------------------------------------------------------------------------------------- this library


def wall(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """No path between what is in the union and what is not."""
    return torch.where((here != there)[:, 0], torch.inf, 0.0)


def point2mask(problem: Problem, targets: PointTargets, preset: str = "best", **overrides: object) -> Answer:
    config = PseudoMasker(preset, **overrides).config
    stride = min(config.stride, *problem.truth.shape)
    config = config.changed(stride=stride, step_cost=config.step_cost or STEP_COST)
    semantic, terms = None, [MapTerm(problem.lab)]
    if problem.known.max() > 0:  # classes, of which each pixel's is certain
        semantic = np.eye(problem.known.max() + 2, dtype=np.float32)[problem.known].transpose(2, 0, 1)
        config = config.changed(stuff="exclude", within_class=stride == 1, point_radius=0)
    else:
        config = config.changed(stuff="supply")
    if problem.known.min() < problem.known.max() == 0:
        terms.append(MapTerm(problem.known[None].astype(np.float32), kind=wall))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", BackgroundWarning)  # a union that fills its box has no walls
        result = PseudoMasker(config)(semantic, problem.gradient, targets, terms=terms)
    owned = result.instance >= 0
    count = len(problem.category)
    sums = np.bincount(result.instance[owned], weights=result.confidence[owned], minlength=count)
    share = sums / np.maximum(np.bincount(result.instance[owned], minlength=count), 1)
    return Answer(result.instance, result.target_confidence, share)


def true_capacities(problem: Problem, targets: PointTargets, **overrides: object) -> Answer:
    """Not a method: the room above, if the number of pixels of each target were known."""
    sizes = torch.bincount(torch.from_numpy(problem.truth[problem.truth >= 0]), minlength=len(problem.category))
    return point2mask(problem, targets, capacity=lambda partition, targets, demand: sizes.double(), **overrides)


METHODS: dict[str, Method] = {
    "nearest point (Euclidean)": euclidean,
    "watershed (scikit-image)": watershed,
    "GrabCut (OpenCV)": grabcut,
    "random walker, beta 100 (scikit-image)": random_walker(100),
    "random walker, beta 1000 (scikit-image)": random_walker(1000),
    BASELINE: partial(point2mask, preset="paper", stride=1, method="minimum"),
    "paper, stride 16": partial(point2mask, preset="paper"),
    "paper, full resolution": partial(point2mask, preset="paper", stride=1),
    "best": point2mask,
    "best, given the true capacities": true_capacities,
}
