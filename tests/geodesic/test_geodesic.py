"""geodesic_distances against scipy, plain loops, and itself on the other backend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from geodesic_cases import (
    FAMILIES,
    bellman_ford,
    close_border,
    lognormal,
    maze,
    noise,
    random_points,
    scipy_distances,
    ties,
    walls,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask_ot import PointTargets, geodesic_distances, nearest_partition
from point2mask_ot.checks import ArgumentError, ArgumentTypeError
from point2mask_ot.geodesic.cpu import sweeps, tile_search, tiles

SHAPES = [(1, 1), (1, 23), (19, 1), (2, 3), (8, 8), (9, 17), (33, 47)]
BACKENDS = ["numba", "heap", "torch"]


def same_bits(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_equals_scipy(family, shape, dtype, rng, tolerance):
    numpy_dtype = np.dtype(str(dtype).removeprefix("torch."))
    edges = close_border(family(rng, *shape).astype(numpy_dtype))
    points = random_points(rng, 3, *shape)
    expected = scipy_distances(edges, points)
    results = [geodesic_distances(edges, points, backend=backend) for backend in BACKENDS]
    assert results[0].dtype == numpy_dtype
    assert np.array_equal(np.isinf(results[0]), np.isinf(expected))
    np.testing.assert_allclose(results[0], expected, **tolerance[dtype])
    assert all(same_bits(result, results[0]) for result in results)


@pytest.mark.parametrize("family", [noise, maze, lognormal], ids=lambda family: family.__name__)
def test_equals_scipy_on_larger_images(family, rng, tolerance):
    edges = close_border(family(rng, 250, 303).astype(np.float32))
    points = random_points(rng, 3, 250, 303)
    result = geodesic_distances(edges, points)
    np.testing.assert_allclose(result, scipy_distances(edges, points), **tolerance[torch.float32])
    assert same_bits(result, geodesic_distances(edges, points, backend="heap"))


@settings(max_examples=150, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    target=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    seed=st.integers(0, 2**32 - 1),
)
def test_tiles_equal_the_heap_to_the_bit(family, height, width, target, seed):
    rng = np.random.default_rng(seed)
    edges = close_border(family(rng, height, width).astype(np.float32))
    points = random_points(rng, len(target), height, width)
    target = np.unique(target, return_inverse=True)[1]
    tiles, heap = (geodesic_distances(edges, points, target, backend=name) for name in ("numba", "heap"))
    assert same_bits(tiles, heap)


@pytest.mark.parametrize("slots", [(0,), (0, 1), (0, 1, 2, 3)], ids=len)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_any_number_of_searches_in_step_gives_the_same_bits(family, slots, rng):
    """Processors differ in how many tiles their vector registers hold."""
    edges = close_border(family(rng, 41, 67).astype(np.float32))
    points, bounds = random_points(rng, 8, 41, 67), np.array([0, 1, 2, 2, 5, 6, 7, 8])  # the third has no point
    result = np.empty((7, 41, 67), np.float32)
    tile_search.search(tiles.pack_costs(edges), points, bounds, result, slots)
    single = geodesic_distances(edges, points, backend="heap")
    groups = [single[start:stop] for start, stop in pairwise(bounds)]
    assert same_bits(result, np.stack([group.min(0, initial=np.inf) for group in groups]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 23), (19, 1), (16, 24), (37, 50)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_sweeps_equal_the_heap_to_the_bit_and_may_give_up(family, shape, rng):
    edges = close_border(family(rng, *shape).astype(np.float32))
    points, bounds = random_points(rng, 28, *shape), np.array([0, 3, *range(4, 29)])  # 16 targets and 10 more
    heap = geodesic_distances(edges, points, [0, 0, 0, *range(1, 26)], backend="heap")
    for limits, least in (
        ((10**6, 10**6), 0 if np.isinf(edges).mean() > 0.2 else 26),
        ((2, 10**6), 0),
        ((10**6, 1), 0),
    ):
        result = np.empty_like(heap)
        done = sweeps.sweep(tiles.pad(edges), points, bounds, result, limits)
        assert done >= least
        assert same_bits(result[:done], heap[:done])
    assert same_bits(geodesic_distances(edges, points, [0, 0, 0, *range(1, 26)]), heap)


@settings(max_examples=60, deadline=None)
@given(
    edges=hnp.arrays(
        np.float32,
        st.tuples(st.just(4), st.integers(1, 5), st.integers(1, 5)),
        elements=st.one_of(
            st.sampled_from([0.0, 1.0, np.inf, 2.0**-140, 2.0**127]),
            st.floats(0, 10, width=32),
            st.floats(0, 2.0**-20, width=32),
        ),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_plain_loops_to_the_bit(edges, seed):
    rng = np.random.default_rng(seed)
    points = random_points(rng, 4, *edges.shape[1:])
    target = [0, 1, 0, 1]
    with np.errstate(over="ignore"):
        expected = [bellman_ford(edges, [tuple(p) for p in points[k::2]]) for k in (0, 1)]
    for backend in BACKENDS:
        assert same_bits(geodesic_distances(edges, points, target, backend=backend), np.stack(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_target_takes_the_minimum_over_its_points(backend, rng):
    edges = close_border(walls(rng, 21, 30).astype(np.float32))
    points, target = random_points(rng, 6, 21, 30), [2, 0, 1, 1, 2, 2]
    single = geodesic_distances(edges, points, backend=backend)
    expected = np.stack([single[np.array(target) == k].min(0) for k in range(3)])
    assert same_bits(geodesic_distances(edges, points, target, backend=backend), expected)
    assert same_bits(geodesic_distances(edges, PointTargets(points, target), backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_points_of_one_target_on_one_pixel(backend):
    edges = close_border(np.ones((4, 2, 4), np.float32))
    result = geodesic_distances(edges, [(0, 1)] * 3, [0, 0, 0], backend=backend)
    assert same_bits(result, geodesic_distances(edges, [(0, 1)]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_region_behind_walls_is_unreachable(backend):
    edges = np.ones((4, 5, 9), np.float32)
    edges[0, :, 3] = edges[3, :, 3] = np.inf
    edges[1, :, 4] = np.inf
    result = geodesic_distances(close_border(edges), [(2, 0)], backend=backend)[0]
    assert np.isfinite(result[:, :4]).all()
    assert (result[:, 4:] == np.inf).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_maze_needs_more_steps_than_height_plus_width(backend, rng):
    edges = maze(rng, 41, 40)
    edges[np.isfinite(edges)] = 1
    result = geodesic_distances(close_border(edges), [(0, 0)], backend=backend)[0]
    assert result[40].max() > 9 * (41 + 40)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_points_give_no_maps(backend):
    assert geodesic_distances(np.ones((4, 3, 5), np.float32), [], backend=backend).shape == (0, 3, 5)
    assert geodesic_distances(np.ones((4, 3, 5), np.float32), [], [], backend=backend).shape == (0, 3, 5)


def test_costs_of_pairs_that_leave_the_image_are_ignored(rng):
    edges = noise(rng, 6, 7).astype(np.float32)
    for backend in BACKENDS:
        assert same_bits(
            geodesic_distances(edges, [(2, 3)], backend=backend), geodesic_distances(close_border(edges), [(2, 3)])
        )


@pytest.mark.parametrize("height_width", [(6, 9), (40, 50)])
def test_batch_equals_loop(height_width, rng):
    edges = np.stack([close_border(f(rng, *height_width).astype(np.float32)) for f in (noise, ties, walls)])
    points = [random_points(rng, count, *height_width) for count in (3, 0, 4)]
    target = [None, None, [0, 1, 1, 0]]
    for backend in BACKENDS:
        results = geodesic_distances(edges, points, target, backend=backend)
        loop = [geodesic_distances(*item, backend=backend) for item in zip(edges, points, target, strict=True)]
        assert all(map(same_bits, results, loop))
        assert [len(result) for result in results] == [3, 0, 2]


@pytest.mark.parametrize("family", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_list_of_different_sizes_equals_loop(family, rng):
    sizes, points = [(6, 9), (1, 1), (17, 4)], [[(0, 0), (5, 8), (2, 2)], PointTargets([(0, 0)]), []]
    edges = [family(close_border(walls(rng, *size).astype(np.float32))) for size in sizes]
    target = [[1, 0, 1], None, None]
    for backend in BACKENDS:
        maps = geodesic_distances(edges, points, target, backend=backend)
        parts = nearest_partition(edges, points, target, backend=backend)
        for result, part, *item in zip(maps, parts, edges, points, target, strict=True):
            assert same_bits(result, geodesic_distances(*item, backend=backend))
            alone = nearest_partition(*item, backend=backend)
            assert same_bits(part.labels, alone.labels)
            assert same_bits(part.distance, alone.distance)
    assert geodesic_distances([], []) == nearest_partition([], []) == []


def test_batch_of_point_targets_and_tensors(rng):
    edges = torch.from_numpy(np.stack([close_border(noise(rng, 6, 9).astype(np.float32))] * 2))
    targets = [PointTargets([(0, 1), (5, 5)], [0, 0]), PointTargets([(3, 3)])]
    first, second = geodesic_distances(edges, targets)
    assert first.shape == second.shape == (1, 6, 9)
    assert torch.equal(second, geodesic_distances(edges[1], torch.tensor([[3, 3]])))


def test_points_in_every_form(rng):
    edges = close_border(noise(rng, 12, 9).astype(np.float32))
    expected = geodesic_distances(edges, [(3, 4), (11, 0)])
    forms = [
        np.array([[3, 4], [11, 0]]),
        np.array([[3, 4], [11, 0]], np.uint8),
        [(3.4, 3.5), (10.9, -0.5)],
        np.array([[2.5, 4.2], [11.49, 0.1]], np.float32),
        torch.tensor([[3, 4], [11, 0]]),
        torch.tensor([[3.0, 4.0], [11.0, 0.0]], dtype=torch.float16),
        PointTargets([(3, 4), (11, 0)]),
    ]
    for points in forms:
        assert same_bits(geodesic_distances(edges, points), expected)
        assert same_bits(geodesic_distances(torch.from_numpy(edges), points), torch.from_numpy(expected))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(half, rng):
    edges = torch.from_numpy(close_border(noise(rng, 12, 9))).to(half)
    assert same_bits(geodesic_distances(edges, [(3, 4)]), geodesic_distances(edges.float(), [(3, 4)]))


def test_inputs_in_any_layout_are_unchanged(rng):
    base = noise(rng, 9, 12).astype(np.float32)
    expected = geodesic_distances(base.copy(), [(3, 4)])
    for edges in (np.asfortranarray(base), np.repeat(base, 2, 2)[:, :, ::2], base.astype(">f4")):
        before, points = edges.copy(), np.array([[3, 4]])
        edges.setflags(write=False)
        assert same_bits(geodesic_distances(edges, points), expected)
        assert np.array_equal(edges, before)
        assert points.tolist() == [[3, 4]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_eight_threads_at_once_give_equal_bits(backend, rng):
    edges = close_border(noise(rng, 64, 80).astype(np.float32))
    points = random_points(rng, 5, 64, 80)
    expected = geodesic_distances(edges, points, backend=backend)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: geodesic_distances(edges, points, backend=backend), range(16)))
    assert all(same_bits(result, expected) for result in results)


def test_torch_backend_on_every_device(device, dtype, rng):
    edges = torch.from_numpy(close_border(walls(rng, 37, 50))).to(dtype)
    points = random_points(rng, 3, 37, 50)
    result = geodesic_distances(edges.to(device), points)
    assert result.device.type == device.type
    assert same_bits(result.cpu(), geodesic_distances(edges, points, backend="numba"))


EDGES = np.ones((4, 5, 9), np.float32)
NAN, NEGATIVE = EDGES.copy(), EDGES.copy()
NAN[1, 2, 3], NEGATIVE[2, 1, 1] = np.nan, -0.5
REFUSALS = [
    ((np.ones((8, 5, 9), np.float32), [(0, 0)]), {}, "edges", r"\(8, 5, 9\).*\(4, H, W\)"),
    ((np.ones((4, 5), np.float32), [(0, 0)]), {}, "edges", r"\(4, 5\)"),
    ((np.ones((4, 0, 9), np.float32), []), {}, "edges", r"\(4, 0, 9\)"),
    ((np.ones((4, 5, 0), np.float32), []), {}, "edges", r"\(4, 5, 0\)"),
    ((NAN, [(0, 0)]), {}, "edges", "NaN"),
    ((NEGATIVE, [(0, 0)]), {}, "edges", "-0.5"),
    ((np.ones((4, 5, 9), np.int32), [(0, 0)]), {}, "edges", "floating"),
    ((np.ones((4, 5, 9), np.complex64), [(0, 0)]), {}, "edges", "floating"),
    ((np.ones((4, 5, 9), bool), [(0, 0)]), {}, "edges", "floating"),
    ((EDGES.tolist(), [(0, 0)]), {}, "edges[0]", "NumPy array or a torch tensor"),
    ((EDGES, [(0, 0, 0)]), {}, "points_yx", r"\(1, 3\).*\(N, 2\)"),
    ((EDGES, [0, 0]), {}, "points_yx", r"\(N, 2\)"),
    ((EDGES, [(0, 0), (1,)]), {}, "points_yx", "regular shape"),
    ((EDGES, [("a", "b")]), {}, "points_yx", "integers or floats"),
    ((EDGES, [(1j, 0)]), {}, "points_yx", "integers or floats"),
    ((EDGES, [(float("nan"), 0)]), {}, "points_yx", "NaN"),
    ((EDGES, [(0, float("inf"))]), {}, "points_yx", "infinity"),
    ((EDGES, [(8, 2)]), {}, "points_yx", "5x9 image.*swapped"),
    ((EDGES, [(8, 2), (2, 8)]), {}, "points_yx", r"\(8, 2\).*5x9 image$"),
    ((EDGES, [(-1, 0)]), {}, "points_yx", r"\(-1, 0\).*5x9"),
    ((EDGES, [(4.5, 0)]), {}, "points_yx", r"\(4.5, 0\)"),
    ((EDGES, torch.empty(1, 2, device="meta")), {}, "points_yx", "cpu"),
    ((EDGES, [(0, 0), (1, 1)], [0]), {}, "target", "1 entries"),
    ((EDGES, [(0, 0), (1, 1)], [0, 2]), {}, "target", r"\[0, 2\]"),
    ((EDGES, [(0, 0), (1, 1)], [1, 1]), {}, "target", r"\[1\]"),
    ((EDGES, [(0, 0), (1, 1)], [-1, 0]), {}, "target", r"\[-1, 0\]"),
    ((EDGES, [(0, 0), (1, 1)], [0.5, 1]), {}, "target", "integers"),
    ((EDGES, [(0, 0), (1, 1)], ["a", "b"]), {}, "target", "integers"),
    ((EDGES, PointTargets([(0, 0)]), [0]), {}, "target", "PointTargets"),
    ((EDGES, PointTargets([(8, 0)])), {}, "points_yx", "5x9"),
    ((EDGES, [(0, 0)]), {"backend": "nunba"}, "backend", "did you mean 'numba'"),
    ((np.stack([EDGES] * 2), [[(0, 0)]]), {}, "points_yx", "1 items.*2 images"),
    ((np.stack([EDGES] * 2), PointTargets([(0, 0)])), {}, "points_yx", "2 images"),
    ((np.stack([EDGES] * 2), [[(0, 0)]] * 2, [[0]]), {}, "target", "2 images"),
    (([EDGES, EDGES], [[(0, 0)]]), {}, "points_yx", "1 items.*2 images"),
    (([EDGES, EDGES[0]], [[], []]), {}, "edges[1]", r"\(5, 9\).*\(4, H, W\)"),
    (([EDGES, EDGES.astype(int)], [[], []]), {}, "edges[1]", "floating"),
    (([EDGES, EDGES.astype(float)], [[], []]), {}, "edges", "one precision"),
    (([EDGES, torch.from_numpy(EDGES)], [[], []]), {}, "edges[0]", "no mixing"),
]


@pytest.mark.parametrize(("arguments", "options", "name", "message"), REFUSALS)
def test_refuses(arguments, options, name, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        geodesic_distances(*arguments, **options)
    assert caught.value.function == "geodesic_distances"
    assert caught.value.argument == name
    assert "expected" in str(caught.value)


def test_wrong_kinds_are_type_errors():
    for arguments in [(EDGES.astype(int), [(0, 0)]), (EDGES, [("a", "b")]), (EDGES, [(0, 0)], [0.5])]:
        with pytest.raises(ArgumentTypeError):
            geodesic_distances(*arguments)


@pytest.mark.gpu
def test_numba_refuses_another_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    with pytest.raises(ArgumentError, match=r"cuda.*torch"):
        geodesic_distances(torch.ones(4, 5, 9, device="cuda"), [(0, 0)], backend="numba")
