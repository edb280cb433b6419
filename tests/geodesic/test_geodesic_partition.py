"""nearest_partition and shortest_path against the maps of geodesic_distances; the operators under torch.compile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from geodesic_cases import FAMILIES, close_border, noise, random_points, ties, walls

from point2mask_ot import PointTargets, geodesic_distances, nearest_partition, shortest_path
from point2mask_ot.checks import ArgumentError
from point2mask_ot.graph import FORWARD_OFFSETS

BACKENDS = ["numba", "heap", "torch"]


def cost_between(edges, first, second):
    """Cost of the edge between two neighbours."""
    for start, end in ((first, second), (second, first)):
        step = (end[0] - start[0], end[1] - start[1])
        if step in FORWARD_OFFSETS:
            return edges[FORWARD_OFFSETS.index(step)][tuple(start)]
    raise AssertionError(f"{first} and {second} are no neighbours")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("shape", [(1, 30), (13, 1), (24, 37)], ids=str)
def test_partition_is_argmin_and_min(family, shape, dtype, rng):
    edges = torch.from_numpy(close_border(family(rng, *shape))).to(dtype)
    points, target = random_points(rng, 7, *shape), [3, 0, 1, 2, 2, 0, 3]
    maps = geodesic_distances(edges, points, target)
    distance, labels = maps.min(0).values, maps.argmin(0)
    labels = torch.where(torch.isinf(distance), -1, (maps == distance).int().argmax(0))
    for backend in BACKENDS:
        result = nearest_partition(edges, points, target, backend=backend)
        assert result.labels.dtype == torch.int64
        assert torch.equal(result.distance, distance)
        assert torch.equal(result.labels, labels)


@pytest.mark.parametrize("backend", BACKENDS)
def test_smallest_index_wins_every_tie(backend):
    edges = close_border(np.ones((4, 3, 5), np.float32))
    labels, _ = nearest_partition(edges, [(1, 4), (1, 0), (1, 0)], backend=backend)
    assert labels[1].tolist() == [1, 1, 0, 0, 0]
    labels, _ = nearest_partition(np.zeros_like(edges), [(1, 4), (1, 0)], [1, 0], backend=backend)
    assert (labels == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_label_attains_the_minimum_where_rounding_makes_a_tie(backend):
    edges = close_border(np.ones((4, 1, 4), np.float32))
    edges[0, 0, 0] = 2.0**-30
    points = [(0, 0), (0, 1)]
    maps, (labels, distance) = geodesic_distances(edges, points), nearest_partition(edges, points, backend=backend)
    assert (maps[:, 0, 2] == 1).all()
    assert np.array_equal(np.take_along_axis(maps, labels[None], 0)[0], distance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_partition_without_points_and_in_a_batch(backend, rng):
    edges = np.stack([close_border(walls(rng, 7, 9).astype(np.float32)) for _ in range(3)])
    points = [random_points(rng, 3, 7, 9), [], PointTargets([(0, 0), (6, 8)], [0, 0])]
    result = nearest_partition(edges, points, backend=backend)
    assert result.labels.shape == result.distance.shape == (3, 7, 9)
    for index in range(3):
        single = nearest_partition(edges[index], points[index], backend=backend)
        assert np.array_equal(result.labels[index], single.labels)
        assert np.array_equal(result.distance[index], single.distance)
    assert (result.labels[1] == -1).all()
    assert (result.distance[1] == np.inf).all()
    assert nearest_partition(edges[:0], [], backend=backend).labels.shape == (0, 7, 9)


def test_partition_names_itself_in_errors():
    with pytest.raises(ArgumentError, match=r"^nearest_partition: argument 'points_yx'.*2x2"):
        nearest_partition(np.ones((4, 2, 2), np.float32), [(5, 5)])
    with pytest.raises(ArgumentError, match=r"^nearest_partition: argument 'edges'.*NaN"):
        nearest_partition(np.full((4, 2, 2), np.nan, np.float32), [(0, 0)])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_path_adds_up_to_the_distance(family, dtype, rng):
    edges = torch.from_numpy(close_border(family(rng, 24, 37))).to(dtype).numpy()
    point = (5, 11)
    distance = geodesic_distances(edges, [point])[0]
    reachable = np.argwhere(np.isfinite(distance))
    for end in reachable[:: max(1, len(reachable) // 12)]:
        path = shortest_path(edges, distance, end, points_yx=[point])
        assert path.dtype == np.int64
        assert path[0].tolist() == list(end)
        assert path[-1].tolist() == list(point)
        assert len(np.unique(path, axis=0)) == len(path)
        total = edges.dtype.type(0)
        for first, second in zip(path[:0:-1], path[-2::-1], strict=True):
            total += cost_between(edges, tuple(first.tolist()), tuple(second.tolist()))
        assert total == distance[tuple(end)]
        assert distance[tuple(shortest_path(edges, distance, end)[-1])] == 0


def test_path_crosses_a_plateau_of_zeros():
    edges = close_border(np.zeros((4, 6, 8), np.float32))
    distance = geodesic_distances(edges, [(0, 0)])[0]
    assert shortest_path(edges, distance, (5, 7)).tolist() == [[5, 7]]
    path = shortest_path(edges, distance, (5, 7), points_yx=[(0, 0)])
    assert len(path) == 8
    again = shortest_path(torch.from_numpy(edges), torch.from_numpy(distance), (5, 7), points_yx=[(0, 0)])
    assert torch.equal(again, torch.from_numpy(path))


def test_path_from_the_point_itself(rng):
    edges = close_border(noise(rng, 4, 4))
    assert shortest_path(edges, geodesic_distances(edges, [(2, 1)])[0], (2, 1)).tolist() == [[2, 1]]


def test_path_refuses(rng):
    edges = close_border(noise(rng, 5, 9).astype(np.float32))
    distance = geodesic_distances(edges, [(2, 2)])[0]
    walled = np.full_like(edges, np.inf)
    cases = [
        ((edges, distance, (9, 5)), {}, "end_yx", "5x9"),
        ((edges, distance, (1, 2, 3)), {}, "end_yx", r"\(N, 2\)"),
        ((walled, geodesic_distances(walled, [(2, 2)])[0], (0, 0)), {}, "end_yx", "no path"),
        ((edges, distance.T.copy(), (0, 0)), {}, "distances_k", r"\(9, 5\)"),
        ((edges, distance.astype(np.float64), (0, 0)), {}, "distances_k", "float32"),
        ((edges, distance * 2, (0, 0)), {}, "distances_k", "exactly these edges"),
        ((edges, distance, (0, 0)), {"points_yx": [(4, 8)]}, "distances_k", "exactly these edges"),
        ((np.stack([edges] * 2), distance, (0, 0)), {}, "edges", "one image"),
        ((-edges, distance, (0, 0)), {}, "edges", "-"),
        ((edges, torch.from_numpy(distance), (0, 0)), {}, "edges", "no mixing"),
    ]
    for arguments, options, name, message in cases:
        with pytest.raises(ArgumentError, match=message) as caught:
            shortest_path(*arguments, **options)
        assert (caught.value.function, caught.value.argument) == ("shortest_path", name)


POINTS, TARGET = [(0, 1), (6, 8), (3, 3)], [1, 0, 1]


@pytest.mark.parametrize(
    ("points", "target"),
    [
        (POINTS, TARGET),
        (POINTS, None),
        (np.array(POINTS), None),
        (torch.tensor(POINTS), TARGET),
        (torch.tensor(POINTS), None),
        (PointTargets(POINTS, TARGET), None),
    ],
    ids=["list-target", "list", "numpy", "tensor-target", "tensor", "PointTargets"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_in_one_graph(points, target, backend, rng):
    torch.compiler.reset()
    edges = torch.from_numpy(close_border(ties(rng, 7, 9).astype(np.float32)))

    def both(edges, points):
        partition = nearest_partition(edges * 2, points, target, backend=backend)
        return geodesic_distances(edges * 2, points, target, backend=backend) + 1, *partition

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    for result, expected in zip(compiled(edges, points), both(edges, points), strict=True):
        assert torch.equal(result, expected)
    with pytest.raises(ArgumentError, match="-"):
        compiled(-edges, points)


def test_operators_pass_torch_checks(rng):
    edges = torch.from_numpy(close_border(noise(rng, 5, 6)))
    arguments = ([edges], [torch.tensor(POINTS[:1])], [torch.tensor([0])], [1], "auto")
    for operator in (torch.ops.point2mask.geodesic_distances, torch.ops.point2mask.nearest_partition):
        torch.library.opcheck(operator.default, arguments)
