"""Random-walk costs against a direct solver and scikit-image, and what they promise for hard inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from skimage.segmentation import random_walker

from point2mask_ot import ArgumentError, PointTargets, PseudoMasker, capacities, edge_costs, random_walk_costs
from point2mask_ot.walks import costs as walks

SPACING = 0.3


def by_direct_solver(edges: np.ndarray, points: np.ndarray, target: np.ndarray, spacing_cost: float) -> np.ndarray:
    """(K, H, W) probabilities from SciPy's LU decomposition; NaN where no walk arrives."""
    height, width = edges.shape[1:]
    index = np.arange(height * width).reshape(height, width)
    pairs = [(index[:, :-1], index[:, 1:], edges[0, :, :-1]), (index[:-1], index[1:], edges[2, :-1])]
    here, there, cost = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in range(3))
    open_ = np.isfinite(cost)
    count = target.max() + 1
    step = spacing_cost * np.sqrt(count / len(np.unique(np.concatenate([here[open_], there[open_]]))))
    weight = np.where(open_, 1 / (step + np.where(open_, cost, 0)), 0.0)
    graph = coo_matrix((weight, (here, there)), shape=(index.size, index.size)).tocsr()
    graph = graph + graph.T
    laplacian = (diags(np.asarray(graph.sum(1)).ravel()) - graph).tocsr()
    seeds = np.zeros((index.size, count))
    seeds[index[tuple(points.T)], target] = 1
    free = np.flatnonzero(seeds.sum(1) == 0)
    found = seeds.copy()
    system = laplacian[free][:, free] + 1e-12 * diags(np.ones(len(free)))
    found[free] = spsolve(system.tocsc(), -(laplacian[free] @ seeds)).reshape(len(free), count)
    return found.T.reshape(count, height, width)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return edge_costs(boundary=rng.random((1, height, width)).astype(np.float32), beta=0.3)


@pytest.mark.parametrize(("height", "width", "count"), [(33, 47, 4), (64, 20, 2), (1, 30, 3), (5, 1, 2), (2, 2, 2)])
def test_probabilities_are_harmonic(rng, height, width, count):
    edges = picture(rng, height, width)
    pixels = rng.choice(height * width, count + (height > 30), replace=False)
    points, target = np.stack(np.divmod(pixels, width), 1), np.arange(len(pixels)) % count
    cost = random_walk_costs(edges, points, target, spacing_cost=SPACING, cycles=3)
    expected = by_direct_solver(edges.astype(np.float64), points, target, SPACING)
    np.testing.assert_allclose(np.exp(-cost), expected, atol=2e-3)
    np.testing.assert_allclose(np.exp(-cost).sum(0), 1, atol=2e-3)


def test_without_contrast_it_is_the_random_walker_of_scikit_image(rng):
    points = np.array([(4, 5), (30, 8), (20, 33)])
    marks = np.zeros((40, 40), int)
    marks[tuple(points.T)] = [1, 2, 3]
    cost = random_walk_costs(np.zeros((4, 40, 40), np.float32), points, cycles=3)
    labels = random_walker(rng.random((40, 40)), marks, beta=0, mode="bf")
    assert (cost.argmin(0) + 1 == labels).mean() > 0.998


def test_one_cycle_give_the_labels_of_the_exact_solution(rng):
    edges = picture(rng, 120, 160)
    points = np.stack([rng.integers(0, 120, 6), rng.integers(0, 160, 6)], 1)
    cost = random_walk_costs(edges, points)
    expected = by_direct_solver(edges.astype(np.float64), points, np.arange(6), SPACING)
    assert (cost.argmin(0) == expected.argmax(0)).mean() > 0.995


@pytest.mark.parametrize("count", [1, 8, 11])
def test_both_solvers_agree(rng, count):
    """The kernels for single precision on the CPU, and the torch operations for everything else."""
    edges = picture(rng, 70, 90)
    points = np.stack([rng.integers(0, 70, count), rng.integers(0, 90, count)], 1)
    compiled = np.exp(-random_walk_costs(edges, points, cycles=3))
    plain = np.exp(-random_walk_costs(edges.astype(np.float64), points, cycles=3))
    np.testing.assert_allclose(compiled, plain, atol=2e-3)


def test_around_a_wall(rng):
    edges = picture(rng, 70, 90)
    edges[0, 20:50, 40] = np.inf
    points = np.stack([rng.integers(0, 70, 8), rng.integers(0, 90, 8)], 1)
    expected = by_direct_solver(edges.astype(np.float64), points, np.arange(8), SPACING)
    np.testing.assert_allclose(np.exp(-random_walk_costs(edges, points, cycles=3)), expected, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "least"), [(11, 0.99), (2, 0.97)])  # counted pixel by pixel, and on a coarser grid
def test_partition_is_the_most_probable_target(rng, dtype, count, least):
    edges = torch.from_numpy(picture(rng, 150, 200)).to(dtype)
    points, target = rng.integers(0, 150, (count, 2)), np.arange(count)
    (labels,) = walks.random_walk_partition([edges], [points], [target], spacing_cost=SPACING)
    expected = random_walk_costs(edges, points, cycles=3, spacing_cost=SPACING).argmin(0)
    assert labels.dtype == torch.int64
    assert (labels == expected).double().mean() > least


def test_partition_of_what_no_walk_reaches(rng):
    edges = torch.from_numpy(picture(rng, 20, 20))
    edges[2, 9] = edges[1, 9] = edges[3, 9] = np.inf
    parts = walks.random_walk_partition(
        [edges, edges], [np.array([(3, 3)]), np.zeros((0, 2))], [np.array([0]), np.zeros(0, int)], spacing_cost=SPACING
    )
    assert (parts[0][:10] == 0).all()
    assert (parts[0][10:] == -1).all()
    assert (parts[1] == -1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("size", "points", "target"),
    [
        (300, [(40, 40), *np.ndindex(8, 8)], [0] + [1] * 64),  # blocks without a pixel that is not given
        (1024, [(500, 504), (500, 508), (20, 20)], [0, 1, 2]),  # two points in a block
        (300, [(40, 40), (40, 40), (200, 200)], [1, 0, 2]),
    ],
)
def test_partition_gives_every_point_its_own_pixel(dtype, size, points, target):
    edges = torch.zeros(4, size, size, dtype=dtype)
    points, target = np.array(points), np.array(target)
    (labels,) = walks.random_walk_partition([edges], [points], [target], spacing_cost=SPACING)
    first = [target[(points == point).all(1)].min() for point in points]
    assert labels.numpy()[tuple(points.T)].tolist() == first


@pytest.mark.parametrize("size", [512, 1024])
def test_partition_of_a_walled_union_does_not_depend_on_what_lies_around(rng, size):
    union = picture(rng, 41, 61)
    edges = np.zeros((4, size, size), np.float32)
    edges[:, 200:241, 100:161] = union
    for offset, step in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        inside = np.zeros((size + 2, size + 2), bool)
        inside[201:242, 101:162] = True
        there = np.roll(inside, (-step[0], -step[1]), (0, 1))
        edges[offset][(inside != there)[1:-1, 1:-1]] = np.inf
    points, target = np.array([(5, 8), (30, 50)]), np.arange(2)
    alone, within = (
        walks.random_walk_partition([torch.from_numpy(e)], [p], [target], spacing_cost=SPACING)[0]
        for e, p in ((union, points), (edges, points + np.array([200, 100])))
    )
    assert (within >= 0).sum() == 41 * 61
    np.testing.assert_allclose(np.bincount(within[within >= 0]), np.bincount(alone.flatten()), atol=10)


def test_partition_of_many_targets_takes_the_first_of_equals(rng):
    points = np.repeat(np.array([(5, 5), (5, 30)]), 20, 0)  # five groups, most of them with the same probabilities
    target = rng.permutation(40)
    (labels,) = walks.random_walk_partition([torch.zeros(4, 11, 36)], [points], [target], spacing_cost=SPACING)
    assert set(labels.unique().tolist()) == {target[:20].min(), target[20:].min()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("walls", [0, 5])
def test_huge_edges_give_finite_costs(rng, dtype, walls):
    edges = picture(rng, 20, 30).astype(dtype)
    edges[:, 5:9, 5:9] = np.float32(1e38)
    edges[0, :, 20] = np.finfo(dtype).max
    edges[0, :walls, 10] = np.inf
    for costs in (edges, np.full_like(edges, 1e38)):
        cost = random_walk_costs(costs, [(1, 1), (18, 12)], spacing_cost=1e-6)
        assert np.isfinite(cost).all()
        assert (cost >= 0).all()


def test_rough_costs_take_more_cycles(rng):
    costs = rng.lognormal(-3, 3, (4, 64, 64)).astype(np.float32)
    points = np.array([(5, 5), (50, 12), (30, 60)])
    found = np.exp(-random_walk_costs(costs, points, cycles=40))
    expected = by_direct_solver(costs.astype(np.float64), points, np.arange(3), SPACING)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_gap_in_a_wall_hardly_counts():
    boundary = np.zeros((1, 41, 41), np.float32)
    boundary[0, :, 20] = 1
    boundary[0, 20, 20] = 0
    edges = edge_costs(boundary=boundary, beta=10.0)
    points = [(20, 15), (35, 35)]  # the cheapest paths to the right all lead through the gap, from the left point
    right = random_walk_costs(edges, points).argmin(0)[:, 22:]
    assert right.mean() > 0.9


def test_walls_resolution_and_order(rng):
    edges = picture(rng, 24, 24)
    edges[0, :, 11] = edges[1, :, 12] = edges[3, :, 11] = np.inf
    one_side = random_walk_costs(edges, [(3, 3), (20, 5)])
    assert np.isinf(one_side[:, :, 12:]).all()
    assert np.isfinite(one_side[:, :, :12]).all()
    swapped = random_walk_costs(edges, [(20, 5), (3, 3)])
    np.testing.assert_allclose(swapped[::-1], one_side, rtol=1e-4, atol=1e-4)
    again = random_walk_costs(edges, [(3, 3), (20, 5)])
    np.testing.assert_array_equal(again, one_side)


def test_a_pocket_without_points_stays_out(rng):
    edges = picture(rng, 30, 30)
    inside = np.zeros((30, 30), bool)
    inside[7:18, 9:20] = True  # an odd offset: blocks of 2 x 2 straddle the wall
    wall = edge_costs(boundary=inside[None].astype(np.float32))
    crossing = edge_costs(boundary=(~inside)[None].astype(np.float32))
    edges = np.where((wall > 0) & (crossing > 0) & np.isfinite(wall), np.inf, edges).astype(np.float32)
    cost = random_walk_costs(edges, [(2, 2), (25, 25)])
    assert np.isinf(cost[:, inside]).all()
    assert np.isfinite(cost[:, ~inside]).all()


def test_families_batches_and_lists(rng):
    edges = picture(rng, 12, 10)
    alone = random_walk_costs(edges, [(1, 1), (9, 8)])
    tensor = random_walk_costs(torch.from_numpy(edges), [(1, 1), (9, 8)])
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), alone)
    batch = random_walk_costs(np.stack([edges, edges]), [[(1, 1), (9, 8)], [(0, 0)]])
    np.testing.assert_array_equal(batch[0], alone)
    assert batch[1].shape == (1, 12, 10)
    assert batch[1].max() < 1e-3
    assert random_walk_costs(edges, np.zeros((0, 2))).shape == (0, 12, 10)
    assert random_walk_costs(edges.astype(np.float64), [(1, 1)]).dtype == np.float64
    np.testing.assert_array_equal(np.stack([edges]), edges[None])  # the inputs are left alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing_cost": 0}, "spacing_cost"),
        ({"spacing_cost": 1e-50}, "spacing_cost"),
        ({"cycles": 0}, "cycles"),
        ({"points_yx": [(99, 0)]}, "points_yx"),
        ({"edges": np.zeros((3, 4, 4), np.float32)}, "edges"),
        ({"edges": np.full((4, 4, 4), np.nan, np.float32)}, "edges"),
        ({"edges": np.full((4, 4, 4), -1, np.float32)}, "edges"),
    ],
)
def test_refusals(change, message):
    call = {"edges": np.zeros((4, 4, 4), np.float32), "points_yx": [(0, 0)], **change}
    with pytest.raises(ArgumentError, match=f"^random_walk_costs: argument '{message}"):
        random_walk_costs(call.pop("edges"), call.pop("points_yx"), **call)


def touching_discs() -> tuple[np.ndarray, np.ndarray]:
    """Two discs that overlap a little, and a wall around their union."""
    y, x = np.indices((40, 70))
    left, right = np.hypot(y - 20, x - 20) < 17, np.hypot(y - 20, x - 50) < 17
    truth = np.where(left & (x < 35), 0, np.where(right, 1, -1))
    return truth, np.where(truth >= 0, 0.0, 1.0)[None].astype(np.float32)


def test_masker_splits_at_the_neck():
    truth, outside = touching_discs()
    targets = PointTargets([(20, 6), (10, 40)])  # each near its disc's edge, one near the neck

    def accuracy(**switches: object) -> float:
        masker = PseudoMasker("best", stuff="supply", beta=100.0, typical_cost=None, **switches)
        labels = masker(None, outside, targets).instance
        return float((labels == truth)[truth >= 0].mean())

    walk = {"cost": "walk", "spacing_cost": 0.3, "keep_points": True, "centroid_rounds": 3, "reg": 0.01}
    assert accuracy(**walk) > 0.95
    assert accuracy(**walk) > accuracy(cost="path", method="minimum", step_cost=1e-3) + 0.05


def test_kept_points_stay_sources():
    edges = edge_costs(boundary=np.zeros((1, 1, 12), np.float32), step_cost=1.0)
    targets = PointTargets([(0, 0), (0, 5)])
    assert capacities(edges, targets, iterations=1).tolist() == [5.0, 7.0]
    assert capacities(edges, targets, iterations=1, keep_points=True).tolist() == [4.0, 8.0]


def test_rooms_without_a_door_are_solved_apart(rng):
    edges = rng.random((4, 12, 20)).astype(np.float32)
    edges[:, :, 7] = np.inf  # the wall
    edges[:, :, 6][[0, 1, 3]] = np.inf
    edges[0, :, -1], edges[2, -1] = np.inf, np.inf
    edges[1, :, 8] = np.inf
    points, target = np.array([(2, 1), (9, 5), (5, 12), (10, 18), (1, 3)]), np.array([0, 1, 1, 2, 0])
    costs = random_walk_costs(edges, points, target, cycles=20)
    left, right = costs[:, :, :7], costs[:, :, 8:]
    assert np.isinf(left[2]).all()
    assert np.isinf(right[0]).all()
    assert np.isinf(costs[:, :, 7]).all()
    np.testing.assert_allclose(np.exp(-left).sum(0), 1, atol=1e-2)
    np.testing.assert_allclose(np.exp(-right).sum(0), 1, atol=1e-2)
    alone = random_walk_costs(
        edges, points[[0, 1, 4]], target[[0, 1, 4]], cycles=20, spacing_cost=0.3 * np.sqrt(1.5 * 7 / 19)
    )
    np.testing.assert_allclose(np.exp(-left[:2]), np.exp(-alone[:, :, :7]), atol=1e-2)
