"""The few targets that matter to a pixel, against the maps of all targets."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from geodesic_cases import FAMILIES, close_border, noise, random_points, ties, walls
from hypothesis import given, settings
from hypothesis import strategies as st

from point2mask_ot import ArgumentError, PointTargets, geodesic_distances, nearest_targets
from point2mask_ot.geodesic.near_costs import near_costs

BACKENDS = ["numba", "heap", "torch"]
SHAPES = [(1, 1), (1, 30), (9, 8), (24, 37)]


def problem(family, shape, count, seed):
    """Float32 edges, and points of which some targets have several and some pixels too."""
    rng = np.random.default_rng(seed)
    edges = close_border(family(rng, *shape)).astype(np.float32)
    extra = count // 2
    target = np.append(np.arange(count), rng.integers(0, max(count, 1), extra)).astype(np.int64)
    return edges, random_points(rng, count + extra, *shape).astype(np.int64), target, rng


problems = st.builds(
    problem, st.sampled_from(FAMILIES), st.sampled_from(SHAPES), st.integers(1, 24), st.integers(0, 2**31)
)


def ranked(maps, k, offset):
    """The k smallest of (K, H, W) maps by value plus offset, the first of equals first."""
    order = np.argsort(maps + offset.astype(maps.dtype)[:, None, None], axis=0, kind="stable")[:k]
    distances = np.take_along_axis(maps, order, 0)
    missing = ((0, k - len(order)), (0, 0), (0, 0))
    distances = np.pad(distances, missing, constant_values=np.inf)
    return np.where(np.isinf(distances), -1, np.pad(order, missing)), distances


@settings(max_examples=80, deadline=None)
@given(problems, st.sampled_from([1, 3, 30]), st.sampled_from([0, 0.5, 20, 1e4]))
def test_nearest_are_the_smallest_of_all_maps(given_problem, k, spread):
    edges, points, target, rng = given_problem
    offset = spread * (rng.random(target.max() + 1) - 0.5)
    labels, distances = ranked(geodesic_distances(edges, points, target), k, offset)
    found = nearest_targets(edges, points, target, k=k, offset=offset if spread else None)
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.distances, distances)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", [noise, ties, walls])
def test_nearest_on_every_backend(backend, family, dtype, rng):
    edges = torch.from_numpy(close_border(family(rng, 11, 19))).to(dtype)
    points, target, offset = random_points(rng, 13, 11, 19), [*range(11), 4, 4], rng.random(11)
    maps = geodesic_distances(edges, points, target, backend=backend).numpy()
    found = nearest_targets(edges, points, target, k=4, offset=offset, backend=backend)
    labels, distances = ranked(maps, 4, offset)
    assert found.labels.dtype == torch.int64
    assert found.distances.dtype == dtype
    assert np.array_equal(found.labels.numpy(), labels)
    assert np.array_equal(found.distances.numpy(), distances)


def test_nearest_of_batches_lists_and_nobody(rng):
    edges = np.stack([close_border(noise(rng, 7, 9).astype(np.float32)) for _ in range(3)])
    points = [random_points(rng, 3, 7, 9), [], PointTargets([(0, 0), (6, 8)], [0, 0])]
    offsets = [[0.1, 0.2, 0.3], None, [2.0]]
    found = nearest_targets(edges, points, k=2, offset=offsets)
    again = nearest_targets(list(edges), points, k=2, offset=offsets)
    for image, own, offset, pair, other in zip(edges, points, offsets, found, again, strict=True):
        single = nearest_targets(image, own, k=2, offset=offset)
        for values in (pair, other):
            assert np.array_equal(values.labels, single.labels)
            assert np.array_equal(values.distances, single.distances)
    assert (found[1].labels == -1).all()
    assert np.isinf(found[1].distances).all()
    assert nearest_targets(edges[:0], []) == []


def test_nearest_refuses():
    edges, points = np.ones((4, 2, 2), np.float32), [(0, 0), (1, 1)]
    for options, argument, message in (
        ({"k": 0}, "k", ">= 1"),
        ({"k": 1.5}, "k", "integer"),
        ({"offset": [0.0]}, "offset", r"\(2,\)"),
        ({"offset": [0.0, np.nan]}, "offset", "finite"),
        ({"backend": "cuda"}, "backend", "numba"),
    ):
        with pytest.raises(ArgumentError, match=message) as caught:
            nearest_targets(edges, points, **options)
        assert (caught.value.function, caught.value.argument) == ("nearest_targets", argument)
    with pytest.raises(ArgumentError, match="2 images"):
        nearest_targets([edges, edges], [points, points], offset=[0.0, 0.0, 0.0])


@pytest.mark.parametrize("offset", [None, [0.5, 0.0]], ids=["plain", "offset"])
def test_nearest_compiles_in_one_graph(offset, rng):
    torch.compiler.reset()
    edges = torch.from_numpy(close_border(ties(rng, 7, 9).astype(np.float32)))

    def nearest(edges):
        return tuple(nearest_targets(edges * 2, [(0, 1), (6, 8)], k=3, offset=offset))

    compiled = torch.compile(nearest, fullgraph=True, backend="aot_eager")
    for result, expected in zip(compiled(edges), nearest(edges), strict=True):
        assert torch.equal(result, expected)


def spread_out(costs):
    """(K, N) costs and (N,) floors of NearestCosts, with +inf for what is left out."""
    whole = np.full((costs.num_suppliers, costs.num_pixels), np.inf, np.float32)
    floor = np.full(costs.num_pixels, np.nan, np.float32)
    for block, pixel in enumerate(costs.pixel):
        inside = pixel >= 0
        floor[pixel[inside]] = costs.floor[block, inside]
        entries = slice(costs.first[block], costs.first[block + 1])
        own = costs.supplier[entries]
        assert (np.diff(own) > 0).all()
        assert np.isinf(costs.cost[entries][:, ~inside]).all()
        whole[own[:, None], pixel[inside]] = costs.cost[entries][:, inside]
    assert sorted(costs.pixel[costs.pixel >= 0].tolist()) == list(range(costs.num_pixels))
    return whole, floor


def check_window(costs, maps, price, window):
    whole, floor = spread_out(costs)
    maps = maps.reshape(len(maps), -1)
    reduced = maps - price[:, None]
    is_near = reduced <= reduced.min(0) + window
    assert np.array_equal(whole, np.where(is_near, maps, np.inf))
    assert (floor <= np.where(is_near, np.inf, reduced).min(0)).all()


@settings(max_examples=80, deadline=None)
@given(problems, st.sampled_from([0, 0.7, 20]), st.sampled_from([0.0, 0.3, 3.0, np.inf]))
def test_a_window_holds_exactly_the_near_pairs(given_problem, spread, window):
    edges, points, target, rng = given_problem
    maps = geodesic_distances(edges, points, target)
    price = spread * rng.random(len(maps))
    costs = near_costs(edges, points, target, len(maps), price, window)
    check_window(costs, maps, price, window)
    other = spread * rng.random(len(maps))
    check_window(pickle.loads(pickle.dumps(costs)).search(other, 0.5), maps, other, 0.5)


def test_a_window_without_targets():
    none = np.zeros((0, 2), np.int64)
    costs = near_costs(np.ones((4, 9, 5), np.float32), none, none[:, 0], 0, np.zeros(0), 1.0)
    assert costs.first.tolist() == [0, 0, 0]
    assert np.isinf(costs.floor).all()


def test_a_window_in_several_helpings_and_one_too_large():
    """Where all ties, every target has an entry in each block: more than is made room for at first."""
    edges, points = np.zeros((4, 40, 40), np.float32), np.argwhere(np.ones((6, 5)))
    everyone = np.arange(len(points))
    costs = near_costs(edges, points, everyone, len(points), np.zeros(len(points)), 0.0, most_entries=750)
    assert len(costs.supplier) == 30 * 25
    assert (spread_out(costs)[0] == 0).all()
    with pytest.raises(MemoryError, match="749"):
        near_costs(edges, points, everyone, len(points), np.zeros(len(points)), 0.0, most_entries=749)
