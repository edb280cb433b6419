"""Walks to many targets, who share solves, against a map for each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from point2mask_ot import edge_costs, random_walk_costs
from point2mask_ot.geodesic.arguments import PointedGraph
from point2mask_ot.nearest.costs import BLOCK, NearestCosts
from point2mask_ot.walks import costs as walks
from point2mask_ot.walks import solvers
from point2mask_ot.walks.colours import RINGS, RINGS_OF_LABELS, coloured
from point2mask_ot.walks.near import near_walks
from point2mask_ot.walks.solvers import walk_bytes
from point2mask_ot.walks.walk import Walk

SPACING, WINDOW = 0.3, 2.0


def scene(rng: np.random.Generator, height: int, width: int, count: int) -> tuple[torch.Tensor, np.ndarray]:
    """A picture with a jittered lattice of points."""
    edges = torch.from_numpy(edge_costs(boundary=rng.random((1, height, width)).astype(np.float32), beta=0.3))
    side = int(np.ceil(count**0.5))
    lattice = np.stack(np.divmod(np.arange(side**2), side), 1) + rng.uniform(0.2, 0.8, (side**2, 2))
    return edges, (lattice[rng.permutation(side**2)[:count]] / side * [height, width]).astype(np.int64)


def as_matrix(costs: NearestCosts) -> np.ndarray:
    """(K, N), +inf where nothing is listed."""
    full = np.full((costs.num_suppliers, costs.num_pixels), np.inf, np.float32)
    for block, pixel in enumerate(costs.pixel):
        own = slice(costs.first[block], costs.first[block + 1])
        assert (np.diff(costs.supplier[own]) > 0).all()
        full[costs.supplier[own][:, None], pixel[pixel >= 0]] = costs.cost[own][:, pixel >= 0]
    return full


def by_pixel(costs: NearestCosts, values: np.ndarray) -> np.ndarray:
    found = np.zeros(costs.num_pixels, values.dtype)
    found[costs.pixel[costs.pixel >= 0]] = values[costs.pixel >= 0]
    return found


def check_form(costs: NearestCosts) -> None:
    assert np.array_equal(np.sort(costs.pixel[costs.pixel >= 0]), np.arange(costs.num_pixels))
    assert costs.pixel.dtype == costs.supplier.dtype == np.int32
    assert costs.cost.shape == (costs.first[-1], BLOCK)
    assert (costs.cost >= 0).all()


def compare(found: NearestCosts, dense: np.ndarray, price: np.ndarray, window: float, error: float) -> None:
    check_form(found)
    listed, reduced = as_matrix(found), dense - price[:, None]
    best = reduced.min(0)
    served = np.isfinite(best)
    wanted = (reduced <= best + window - 2 * error) & served
    np.testing.assert_allclose(listed[wanted], dense[wanted], atol=error, rtol=0)
    floor = by_pixel(found, found.floor)
    np.testing.assert_allclose(floor[served], (best + window)[served], atol=error)
    assert np.isinf(floor[~served]).all()
    assert np.isinf(listed[:, ~served]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.booleans())
def test_few_targets_are_those_of_the_dense_costs(seed, count, has_rooms):
    """With several points to a target, targets on one pixel, and rooms without a door."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(9, 40, 2)
    edges = scene(rng, height, width, 4)[0]
    if has_rooms:
        column = int(rng.integers(0, width - 1))
        edges[0, :, column] = edges[1, :, column + 1] = edges[3, :, column] = torch.inf
    target = np.append(np.arange(count), rng.integers(0, count, 3))
    points = np.stack([rng.integers(0, side, len(target)) for side in (height, width)], 1)
    points[-1] = points[0]
    price = rng.uniform(-1, 1, count)
    found = near_walks(edges, points, target, count, price, WINDOW, spacing_cost=SPACING)
    dense = random_walk_costs(edges, points, target, spacing_cost=SPACING).numpy().reshape(count, -1)
    compare(found, dense, price, WINDOW, 1e-3)


def test_a_target_on_both_sides_of_a_wall_through_a_block(rng):
    """Each side lists it for the same block: it has one row there."""
    edges, _ = scene(rng, 16, 24, 1)
    edges[0, :, 11] = edges[1, :, 12] = edges[3, :, 11] = torch.inf
    points, target = np.array([(4, 10), (4, 13), (12, 3), (12, 20)]), np.array([0, 0, 1, 2])
    found = near_walks(edges, points, target, 3, np.zeros(3), WINDOW, spacing_cost=SPACING)
    dense = random_walk_costs(edges, points, target, spacing_cost=SPACING).numpy().reshape(3, -1)
    compare(found, dense, np.zeros(3), WINDOW, 1e-3)
    both = np.isfinite(as_matrix(found)[0].reshape(16, 24)[4])
    assert both[11]
    assert both[12]


@pytest.mark.parametrize("count", [60, 150])
def test_many_targets_share_solves(rng, count):
    edges, points = scene(rng, 190, 203, count)
    price = rng.uniform(0, 0.8, count)
    found = near_walks(edges, points, np.arange(count), count, price, WINDOW, spacing_cost=SPACING)
    dense = random_walk_costs(edges, points, spacing_cost=SPACING).numpy().reshape(count, -1)
    compare(found, dense, price, WINDOW, 0.04)
    labels = (as_matrix(found) - price[:, None]).argmin(0)
    assert (labels != (dense - price[:, None]).argmin(0)).mean() < 1e-4
    assert len(found.cost) < 20 * len(found.pixel)


def test_search_chooses_entries_anew(rng):
    edges, points = scene(rng, 60, 70, 9)
    first = near_walks(edges, points, np.arange(9), 9, np.zeros(9), 0.5, spacing_cost=SPACING)
    price = rng.uniform(-2, 2, 9)
    assert first.search is not None
    dense = random_walk_costs(edges, points, spacing_cost=SPACING).numpy().reshape(9, -1)
    compare(first.search(price, 3.0), dense, price, 3.0, 1e-3)
    assert len(first.search(np.zeros(9), 3.0).cost) > len(first.cost)


@pytest.mark.parametrize("walls", [0, 20])
def test_walls_and_double_precision(rng, walls):
    edges, points = scene(rng, 70, 80, 60)
    edges[0, 30 : 30 + walls, 40] = torch.inf
    dense = random_walk_costs(edges, points, spacing_cost=SPACING, cycles=3).numpy().reshape(60, -1)
    for own in (edges, edges.double()):
        found = near_walks(own, points, np.arange(60), 60, np.zeros(60), WINDOW, spacing_cost=SPACING, cycles=3)
        compare(found, dense, np.zeros(60), WINDOW, 0.05)


def test_nobody_and_one(rng):
    edges, _ = scene(rng, 9, 17, 1)
    nobody = near_walks(edges, np.zeros((0, 2), int), np.zeros(0, int), 0, np.zeros(0), 1.0, spacing_cost=SPACING)
    check_form(nobody)
    assert len(nobody.cost) == 0
    assert np.isinf(nobody.floor).all()
    one = near_walks(edges, np.array([(3, 3)]), np.array([0]), 1, np.zeros(1), 1.0, spacing_cost=SPACING)
    np.testing.assert_allclose(as_matrix(one), 0, atol=1e-3)


def test_partition_of_many_targets(rng):
    edges, points = scene(rng, 190, 203, 150)
    (labels,) = walks.random_walk_partition([edges], [points], [np.arange(150)], spacing_cost=SPACING)
    dense = random_walk_costs(edges, points, spacing_cost=SPACING, cycles=1)
    assert (labels != dense.argmin(0)).double().mean() < 2e-3
    assert labels.numpy()[tuple(points.T)].tolist() == list(range(150))


def test_rings_of_a_partition_add_little_to_what_one_cycle_leaves(rng, monkeypatch):
    edges, points = scene(rng, 190, 203, 150)
    exact, wrong = random_walk_costs(edges, points, spacing_cost=SPACING, cycles=5).argmin(0), []
    for rings in (RINGS_OF_LABELS, 12):
        monkeypatch.setattr(solvers, "RINGS_OF_LABELS", rings)
        (labels,) = walks.random_walk_partition([edges], [points], [np.arange(150)], spacing_cost=SPACING)
        wrong.append(float((labels != exact).double().mean()))
    assert wrong[0] < 1.3 * wrong[1]


def test_targets_of_a_colour_lie_apart(rng):
    edges, points = scene(rng, 190, 203, 150)
    step = torch.tensor(0.01)
    walk = Walk(PointedGraph(edges, points, np.arange(150), 150), torch.ones(190, 203, dtype=torch.bool), step)
    few, more, many = (coloured(walk, rings, many=2) for rings in (4, RINGS_OF_LABELS, RINGS))
    assert few.walk.count < more.walk.count < many.walk.count <= 150
    for found in (few, more, many):
        cells, colours = np.nonzero(found.owner >= 0)
        of_target = np.full(150, -1)
        of_target[found.owner[cells, colours]] = colours
        assert (of_target[found.owner[cells, colours]] == colours).all()
        assert (found.owner[np.arange(150), of_target] == np.arange(150)).all()  # everybody is near its own cell


def test_memory_does_not_grow_with_targets():
    assert walk_bytes(1000, 1000, 5000) == walk_bytes(1000, 1000, 20)
    assert walk_bytes(1000, 1000, 5000, labels=True) < walk_bytes(1000, 1000, 5000)
    assert walk_bytes(1000, 1000, 50, dense=True) > walk_bytes(1000, 1000, 20, dense=True)


def test_threads_change_no_bit(rng):
    edges, points = scene(rng, 190, 203, 11)  # in vectors of 16, 8 or 4
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(random_walk_costs(edges, points, spacing_cost=SPACING))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
