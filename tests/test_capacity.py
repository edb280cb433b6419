"""Capacities: what Eq. 4 counts, the fallbacks of the centroid rule, and that they sum to the demand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from point2mask_ot import ArgumentError, PointTargets, capacities, edge_costs, nearest_partition


def flat_edges(height, width, step=1.0):
    return edge_costs(boundary=np.zeros((1, height, width), np.float32), step_cost=step)


def wall(edges, column):
    """Cut the image in two: no path from ``column`` to ``column + 1``."""
    edges = edges.copy()
    edges[0, :, column] = np.inf
    edges[1, :, column + 1] = np.inf
    edges[3, :, column] = np.inf
    return edges


def test_nearest_counts_the_partition(rng):
    edges = edge_costs(boundary=rng.random((1, 20, 30)).astype(np.float32), step_cost=0.01)
    targets = PointTargets([(3, 4), (15, 20), (8, 28), (9, 29)], target=[0, 1, 2, 2])
    labels = nearest_partition(edges, targets.points_yx, targets.target).labels
    assert capacities(edges, targets, method="nearest").tolist() == np.bincount(labels.ravel()).tolist()


def test_centroid_counts_the_partition_by_the_nearest_centroid(rng):
    edges = edge_costs(boundary=rng.random((1, 20, 30)).astype(np.float32), step_cost=1.0)
    points = np.array([(3, 4), (15, 20), (8, 28)])
    for rounds in (1, 2, 5):
        sources = points
        labels = nearest_partition(edges, points).labels
        for _ in range(rounds):
            centres = ndimage.center_of_mass(np.ones_like(labels), labels, range(3))
            rounded = np.floor(np.array(centres) + 0.5).astype(int)
            holds = [labels[tuple(rounded[i])] == i and labels[tuple(sources[i])] == i for i in range(3)]
            sources = np.where(np.array(holds)[:, None], rounded, sources)
            labels = nearest_partition(edges, sources).labels
        result = capacities(edges, PointTargets(points), iterations=rounds)
        assert result.tolist() == np.bincount(labels.ravel(), minlength=3).tolist()


def test_centroid_moves_the_border_to_the_middle():
    # Two points near each other on a line of 20 pixels: by centroids the halves come closer to equal.
    edges = flat_edges(1, 20)
    targets = PointTargets([(0, 2), (0, 5)])
    nearest = capacities(edges, targets, method="nearest")
    rounds = [capacities(edges, targets, iterations=n)[0] for n in (1, 2, 20)]
    assert nearest.tolist() == [4, 16]
    assert nearest[0] < rounds[0] < rounds[1]
    assert abs(rounds[2] - 10) <= 1, "as even as whole pixels allow"


def test_a_crescent_keeps_its_point():
    # Target 0 owns a ring around target 1: its centroid lies in target 1's pixels.
    boundary = np.zeros((1, 15, 15), np.float32)
    boundary[0, 4:11, 4:11] = 1
    boundary[0, 5:10, 5:10] = 0
    edges = edge_costs(boundary=boundary, beta=100.0, step_cost=0.01)
    targets = PointTargets([(0, 0), (7, 7)])
    assert capacities(edges, targets).tolist() == capacities(edges, targets, method="nearest").tolist()


def test_stuff_keeps_its_points():
    edges = flat_edges(1, 30)
    targets = PointTargets([(0, 8), (0, 0), (0, 25)], [0, 1, 1], [0, 1], [True, False])
    labels = nearest_partition(edges, targets.points_yx, targets.target).labels
    centre = int(np.flatnonzero(labels[0] == 0).mean() + 0.5)
    assert centre != 8, "the thing does move"
    moved = nearest_partition(edges, [(0, centre), (0, 0), (0, 25)], [0, 1, 1]).labels
    assert capacities(edges, targets).tolist() == np.bincount(moved[0]).tolist()


def test_several_points_of_a_thing_move_each_by_itself_or_as_one():
    edges = flat_edges(1, 40)
    # Out of order, to see that the points find their targets again.
    targets = PointTargets([(0, 2), (0, 30), (0, 12)], target=[0, 1, 0])
    apart = nearest_partition(edges, [(0, 4), (0, 15), (0, 31)], [0, 0, 1]).labels  # of cells 0-7, 8-21, 22-39
    together = nearest_partition(edges, [(0, 11), (0, 31)]).labels
    assert capacities(edges, targets).tolist() == np.bincount(apart[0]).tolist()
    assert capacities(edges, targets, centroid_of="target").tolist() == np.bincount(together[0]).tolist()


def test_equal_gives_whole_pixels():
    assert capacities(flat_edges(1, 11), PointTargets([(0, 0), (0, 3), (0, 9)]), method="equal").tolist() == [4, 4, 3]


def test_own_rule_sees_partition_and_demand():
    def rule(partition, targets, demand):
        labels = partition(targets.points_yx, targets.target)
        assert labels.shape == demand.shape
        return torch.tensor([1.0, 2.0])

    result = capacities(flat_edges(4, 5), PointTargets([(0, 0), (3, 4)]), method=rule)
    assert result.tolist() == [1.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(2, 9),
    count=st.integers(1, 4),
    method=st.sampled_from(["centroid", "nearest", "equal"]),
    seed=st.integers(0, 10_000),
)
def test_sum_is_the_reachable_demand(height, width, count, method, seed):
    rng = np.random.default_rng(seed)
    edges = edge_costs(boundary=rng.integers(0, 2, (1, height, width)).astype(np.float32), beta=1.0)
    edges = wall(edges, int(rng.integers(0, width - 1)))
    points = rng.integers(0, (height, width), (count + 1, 2))
    targets = PointTargets(points, target=[*range(count), 0])  # the last point may lie beyond the wall
    demand = rng.integers(0, 2, (height, width)).astype(bool)
    reachable = nearest_partition(edges, targets.points_yx, targets.target).labels >= 0
    result = capacities(edges, targets, method=method, demand=demand, iterations=2)
    assert (result >= 0).all()
    assert result.sum() == (demand & reachable).sum()


def test_families_and_batch(rng):
    edges = torch.from_numpy(edge_costs(boundary=rng.random((2, 1, 9, 8)).astype(np.float32)))
    targets = [PointTargets([(0, 0), (8, 7)]), PointTargets([(4, 4)])]
    together = capacities(edges, targets)
    assert [r.dtype for r in together] == [torch.float64] * 2
    for b in range(2):
        assert torch.equal(together[b], capacities(edges[b], targets[b]))
    assert capacities(edges[0].numpy(), targets[0]).tolist() == together[0].tolist()
    assert capacities(edges[0], PointTargets(np.zeros((0, 2)))).shape == (0,)


def ragged(rng):
    """Images of different sizes, targets with several points, and nobody at all; a weight for each pixel."""
    edges, targets, demand = [], [], []
    for (height, width), count in zip([(9, 8), (5, 17), (12, 12), (1, 6)], [3, 2, 0, 1], strict=True):
        edges.append(edge_costs(boundary=rng.random((1, height, width)).astype(np.float32), step_cost=0.1))
        points = rng.permutation(height * width)[: 2 * count]
        targets.append(PointTargets(np.stack(np.divmod(points, width), 1), [*range(count), *range(count)]))
        demand.append(rng.integers(0, 3, (height, width)))
    return edges, targets, demand


@pytest.mark.parametrize("centroid_of", ["cell", "target"])
@pytest.mark.parametrize("method", ["centroid", "nearest", "equal", lambda p, t, d: np.ones(t.num_targets)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_list_equals_the_images_one_by_one(rng, method, centroid_of, weighted):
    edges, targets, demand = ragged(rng)
    options = {"method": method, "centroid_of": centroid_of, "iterations": 3}
    together = capacities(edges, targets, **options, demand=demand if weighted else None)
    for b, counts in enumerate(together):
        alone = capacities(edges[b], targets[b], **options, demand=demand[b] if weighted else None)
        assert isinstance(counts, np.ndarray)
        np.testing.assert_array_equal(counts, alone)


def test_all_images_share_one_search_a_round(rng, monkeypatch):
    calls = []

    def counting(edges, *arguments, **options):
        calls.append(len(edges))
        return nearest_partition(edges, *arguments, **options)

    monkeypatch.setattr("point2mask_ot.capacity.nearest_partition", counting)
    edges, targets, _ = ragged(rng)
    capacities(edges, targets, iterations=2)
    assert calls == [4, 4, 4]


def test_nothing_in_nothing_out():
    assert capacities([], []) == []


EDGES = flat_edges(4, 5)
POINTS = PointTargets([(0, 0), (3, 4)])

REFUSALS = {
    "unknown method": ({"method": "centriod"}, "method", "did you mean 'centroid'"),
    "no round": ({"iterations": 0}, "iterations", ">= 1"),
    "rounds as a float": ({"iterations": 1.5}, "iterations", "an integer"),
    "demand of another size": ({"demand": np.ones((4, 4))}, "demand", "(4, 5)"),
    "negative demand": ({"demand": -np.ones((4, 5))}, "demand", ">= 0"),
    "NaN demand": ({"demand": np.full((4, 5), np.nan)}, "demand", "finite"),
    "demand of another family": ({"demand": torch.ones(4, 5)}, "edges", "no mixing"),
    "a list of targets for one image": ({"targets": [POINTS]}, "targets", "single image"),
    "one target set for a batch": ({"edges": EDGES[None]}, "targets", "a sequence of 1"),
    "a list of demands that is too short": (
        {"edges": [EDGES], "targets": [POINTS], "demand": []},
        "demand",
        "0 images",
    ),
    "one demand for a list": ({"edges": [EDGES], "targets": [POINTS], "demand": EDGES[0]}, "demand", "a list"),
    "a batch in a list": ({"edges": [EDGES[None]], "targets": [POINTS]}, "edges[0]", "(4, H, W)"),
    "complex demand": ({"demand": np.ones((4, 5), complex)}, "demand", "complex"),
    "rule of wrong length": ({"method": lambda p, t, d: torch.ones(3)}, "method", "(3,)"),
    "rule of NaN": ({"method": lambda p, t, d: torch.full((2,), torch.nan)}, "method", "non-finite"),
    "rule of a list": ({"method": lambda p, t, d: [1, 2]}, "method", "list"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case):
    change, argument, words = REFUSALS[case]
    with pytest.raises(ArgumentError) as caught:
        capacities(**{"edges": EDGES, "targets": POINTS, **change})
    assert str(caught.value).startswith("capacities: ")
    assert f"'{argument}'" in str(caught.value)
    assert words in str(caught.value)


def test_refuses_a_point_outside():
    with pytest.raises(ArgumentError, match="inside the 4x5 image"):
        capacities(EDGES, PointTargets([(0, 0), (4, 4)]))


def test_fault_c14_a_rule_is_described_and_sees_suppliers_only():
    from point2mask_ot import CapacityRule, PseudoMasker

    assert "sees suppliers only" in CapacityRule.__doc__
    seen = []

    def rule(partition, targets, demand):
        seen.append(targets.is_thing.tolist())
        return np.full(targets.num_targets, 1.0)

    semantic = np.full((2, 8, 8), 0.5, np.float32)
    targets = PointTargets([(1, 1), (6, 6)], category=[0, 1], is_thing=[True, False])
    PseudoMasker("best", capacity=rule)(semantic, None, targets)
    assert seen == [[True]]
