"""The instrument that judges masks: its scores against definitions, its protocols on a drawing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "quality"


@pytest.fixture(scope="module")
def instrument():
    """The benchmark's modules, which are scripts beside each other and no package."""
    before, names = list(sys.path), ("scenes", "protocols", "scores")
    sys.path[:0] = [str(FOLDER)]
    try:
        yield {name: __import__(name) for name in names}
    finally:
        sys.path[:] = before
        for name in names:
            sys.modules.pop(name, None)


def test_iou_is_that_of_the_definition(instrument, rng):
    truth, labels = rng.integers(-1, 3, (2, 20, 30))
    known = np.where(rng.random((20, 30)) < 0.2, -1, 0)
    found = instrument["scores"].instance_ious(labels, truth, known, 4)
    for k in range(3):
        mask, true = (labels == k) & (known >= 0), truth == k
        assert found[k] == pytest.approx((mask & true).sum() / (mask | true).sum())
    assert found[3] == 0


def test_intervals_are_those_of_independent_pictures(instrument, rng):
    values = rng.normal(1.0, 2.0, 400)
    low, high = instrument["scores"].interval(values, np.arange(400))
    assert (high - low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    copies = instrument["scores"].interval(np.repeat(values, 5), np.repeat(np.arange(400), 5))
    assert copies == pytest.approx((low, high), abs=1e-9)  # repeating a picture's value tells nothing new


def test_confidence_and_panoptic_quality(instrument):
    scores = instrument["scores"]
    assert scores.confidence_curve(np.array([0.9, 0.1, 0.5, 0.3]), np.array([4, 1, 3, 2]), bins=2) == [0.2, 0.7]
    assert scores.confidence_curve(np.array([0.9, 0.1, 0.5]), np.array([1, 1, 1]), bins=3) == [0.5] * 3, "none is first"
    # One match of IoU .75, one miss on both sides: .75 / (1 + 1/2 + 1/2)
    assert scores.panoptic_quality(np.array([0.75, 0.5])) == 0.375


def test_leaving_out_and_rank_correlation(instrument, rng):
    scores = instrument["scores"]
    iou, order = np.array([0.2, 0.8, 0.5]), np.array([1, 3, 2])
    assert scores.rejection_area(iou, order) == pytest.approx((0.8 + 1.3 / 2 + 1.5 / 3) / 3)
    assert scores.rejection_area(iou, np.ones(3)) == pytest.approx(0.5)
    assert scores.rank_correlation(iou, order) == pytest.approx(1)
    assert scores.rank_correlation(iou, -order) == pytest.approx(-1)
    assert scores.rank_correlation(iou, np.ones(3)) == 0


def test_protocols_pose_the_same_instances(instrument):
    scene = instrument["scenes"].draw_shapes(3)
    again = instrument["scenes"].draw_shapes(3)
    np.testing.assert_array_equal(scene.picture, again.picture)
    posed = {name: list(instrument["protocols"].problems(scene, name)) for name in ("union", "classes", "points")}
    (whole,), (alone,) = posed["classes"], posed["points"]
    assert len(whole.category) == len(scene.category) == len(alone.category) - 1
    assert not alone.is_thing[-1]
    assert sum(len(p.category) for p in posed["union"]) <= len(scene.category)
    assert all(p.touching.all() for p in posed["union"])
    assert whole.touching.sum() >= sum(len(p.category) for p in posed["union"])
    for problem in (whole, alone, *posed["union"]):
        targets = problem.targets(seed=1, points=3)
        rows, columns = targets.points_yx.T
        np.testing.assert_array_equal(problem.truth[rows, columns], targets.target)
        assert (problem.known[problem.truth >= 0] >= 0).all()


def test_touching_means_a_neighbour_of_the_same_class(instrument):
    truth = np.array([[0, -1, 1, 2], [-1, 3, -1, -1]])
    found = instrument["protocols"].touches(truth, np.array([5, 5, 6, 5]))
    assert found.tolist() == [True, True, False, True]
