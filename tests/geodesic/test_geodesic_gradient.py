"""The gradient of distances to the edges: along the one path that the rule names, by loops, autograd and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from geodesic_cases import FAMILIES, close_border, constant, noise, random_points, ties, walls, zero
from gradient_oracles import by_the_rule, finite, unrolled
from hypothesis import given, settings
from hypothesis import strategies as st

from point2mask_ot import geodesic_distances, nearest_partition, nearest_targets

BACKENDS = ["numba", "torch"]
"""Each walks back in its own way; the heap as numba does, triton as torch."""
SHAPES = [(1, 1), (1, 9), (8, 1), (9, 8)]
TARGET = [0, 1, 2, 1, 0]

backends = pytest.mark.parametrize("backend", BACKENDS)
families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


def problem(family, shape, rng, dtype=torch.float64, device="cpu"):
    edges = torch.from_numpy(close_border(family(rng, *shape))).to(device, dtype)
    return edges, random_points(rng, len(TARGET), *shape)


def on(backend, device):
    return "auto" if device.type == "cuda" and backend != "torch" else backend


def weights(rng, values):
    return torch.from_numpy(rng.standard_normal(values.shape)).to(values)


def gradient(search, edges, given):
    """Of the weighted sum of what can be reached; elsewhere the weight is not a number, which must not matter."""
    leaf = edges.clone().requires_grad_()
    found = search(leaf)
    given = torch.where(found < torch.inf, given, torch.nan)
    return torch.autograd.grad(found, leaf, given)[0]


def searches(points, backend):
    """Each search, with its own weights of two of three targets where it tells them apart."""
    return {
        "distances": lambda edges: geodesic_distances(edges, points, TARGET, backend=backend),
        "partition": lambda edges: nearest_partition(edges, points, TARGET, backend=backend).distance,
        "nearest": lambda edges: (
            nearest_targets(edges, points, TARGET, k=2, offset=[0.0, 0.11, 0.2], backend=backend).distances
        ),
        "nearest of more than there are": lambda edges: (
            nearest_targets(edges, points, TARGET, k=4, backend=backend).distances
        ),
    }


@backends
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@families
def test_distances_follow_the_stated_rule(family, shape, backend, device, dtype, rng, tolerance):
    edges, points = problem(family, shape, rng, dtype, device)
    maps = geodesic_distances(edges, points, TARGET)
    given = weights(rng, maps)
    found = gradient(searches(points, on(backend, device))["distances"], edges, given)
    own = [points[np.array(TARGET) == k] for k in range(3)]
    host = edges.cpu().numpy(), maps.cpu().numpy(), given.cpu().numpy()
    expected = sum(by_the_rule(host[0], host[1][k], own[k], host[2][k]) for k in range(3))
    np.testing.assert_allclose(found.cpu(), expected, **tolerance[dtype])


@backends
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@families
def test_partition_follows_the_stated_rule_as_one_target(family, shape, backend, device, rng):
    edges, points = problem(family, shape, rng, device=device)
    distance = nearest_partition(edges, points, TARGET).distance
    given = weights(rng, distance)
    found = gradient(searches(points, on(backend, device))["partition"], edges, given)
    expected = by_the_rule(edges.cpu().numpy(), distance.cpu().numpy(), points, given.cpu().numpy())
    np.testing.assert_allclose(found.cpu(), expected, atol=1e-10)


@backends
@pytest.mark.parametrize("k", [1, 2, 4])
@families
def test_nearest_targets_follow_the_rule_among_those_that_hold_the_target(family, k, backend, device, rng):
    edges, points = problem(family, (8, 9), rng, device=device)
    offset = [0.0, 0.11, 0.2]
    backend = on(backend, device)
    labels, distances = nearest_targets(edges, points, TARGET, k=k, offset=offset, backend=backend)
    given = weights(rng, distances)
    found = gradient(lambda e: nearest_targets(e, points, TARGET, k=k, offset=offset, backend=backend)[1], edges, given)
    expected = np.zeros(edges.shape)
    for target in range(3):
        held = labels == target
        own = points[np.array(TARGET) == target]
        one = torch.where(held, distances, torch.inf).amin(0).cpu().numpy()
        theirs = torch.where(held, given, 0).sum(0).cpu().numpy()
        expected += by_the_rule(edges.cpu().numpy(), one, own, theirs)
    np.testing.assert_allclose(found.cpu(), expected, atol=1e-10)


@backends
def test_nearest_targets_take_the_whole_map_where_rounding_leaves_a_hole(backend):
    """Two ways that differ by less than rounding keeps: behind a large cost the smaller index comes first again."""
    edges = torch.full((4, 1, 4), torch.inf)
    edges[0, 0, :3] = torch.tensor([2**-22, 2**-24, 2**24])
    points, target = [(0, 0), (0, 1)], [0, 1]
    labels = nearest_targets(edges, points, target, k=1, backend=backend).labels
    assert labels[0, 0].tolist() == [0, 1, 1, 0]  # its parent is held by nobody
    leaf = edges.clone().requires_grad_()
    found = nearest_targets(leaf, points, target, k=1, backend=backend).distances
    given = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    (slope,) = torch.autograd.grad(found, leaf, given)
    whole = geodesic_distances(leaf, points, target)
    (expected,) = torch.autograd.grad(whole, leaf, torch.tensor([[[1.0, 0.0, 0.0, 1000.0]], [[0.0, 10.0, 100.0, 0.0]]]))
    assert slope[0, 0, :3].tolist() == [1000.0, 1100.0, 1000.0]
    assert torch.equal(slope, expected)


@pytest.mark.parametrize("name", ["distances", "partition", "nearest"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (4, 1), (4, 5)], ids=str)
@pytest.mark.parametrize("family", [noise, walls])
@backends
def test_gradcheck(backend, family, shape, name, rng):
    edges, points = problem(family, shape, rng)
    search, is_open = searches(points, backend)[name], edges < torch.inf

    def reached(costs):
        return finite(search(torch.where(is_open, costs, torch.inf)))

    leaf = torch.where(is_open, edges, 1.0).requires_grad_()
    assert torch.autograd.gradcheck(reached, leaf)


@pytest.mark.parametrize("shape", [(6, 7), (1, 12), (10, 3)], ids=str)
@pytest.mark.parametrize("family", [noise, walls])
@backends
def test_equals_autograd_through_relaxation(backend, family, shape, rng):
    edges, points = problem(family, shape, rng)
    leaf = edges.clone().requires_grad_()
    maps = torch.stack([unrolled(leaf, points[np.array(TARGET) == k]) for k in range(3)])
    given = weights(rng, maps)
    (expected,) = torch.autograd.grad(finite(maps), leaf, given)
    found = gradient(searches(points, backend)["distances"], edges, given)
    torch.testing.assert_close(found, torch.nan_to_num(expected), rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    k=st.integers(1, 4),
    backend=st.sampled_from(["numba", "torch"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_costs_are_the_edges_times_the_gradient(family, height, width, k, backend, seed):
    """They are homogeneous in the edges, also where ties and plateaus leave a choice."""
    rng = np.random.default_rng(seed)
    edges, points = problem(family, (height, width), rng)
    options = {"target": TARGET, "backend": backend}
    for search in (
        lambda e: geodesic_distances(e, points, **options),
        lambda e: nearest_partition(e, points, **options).distance,
        lambda e: nearest_targets(e, points, k=k, **options).distances,
    ):
        costs = search(edges)
        given = weights(rng, costs)
        slope = gradient(search, edges, given)
        assert torch.isfinite(slope).all()
        assert (slope[torch.isinf(edges)] == 0).all()
        torch.testing.assert_close((slope * finite(edges)).sum(), (finite(costs) * given).sum(), rtol=1e-8, atol=1e-8)


def test_float32_adds_in_double(rng):
    edges, points = problem(noise, (60, 70), rng, torch.float32)
    maps = geodesic_distances(edges, points, TARGET)
    slope = gradient(searches(points, "numba")["distances"], edges, torch.ones_like(maps))
    assert slope.dtype == torch.float32
    torch.testing.assert_close((slope * finite(edges)).double().sum(), maps.double().sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_gets_its_own_dtype_back(half, rng):
    edges, points = problem(noise, (7, 8), rng, torch.float32)
    edges = edges.to(half)
    slope = gradient(searches(points, "auto")["distances"], edges, torch.ones(3, 7, 8))
    wide = gradient(searches(points, "auto")["distances"], edges.float(), torch.ones(3, 7, 8))
    assert slope.dtype == half
    assert torch.equal(slope, wide.to(half))


def test_all_targets_on_one_pixel(rng):
    edges, _ = problem(noise, (5, 6), rng)
    points = np.array([(2, 3)] * 5)
    slopes = [gradient(search, edges, torch.ones(1)) for search in searches(points, "auto").values()]
    assert torch.allclose(slopes[0], 3 * slopes[1])
    assert torch.allclose(slopes[2], 2 * slopes[1])
    assert torch.allclose(slopes[3], slopes[0])


@pytest.mark.parametrize("backend", [*BACKENDS, "heap"])
def test_no_targets(backend):
    edges = torch.ones(4, 3, 4, requires_grad=True)
    for found in (
        geodesic_distances(edges, [], backend=backend),
        nearest_partition(edges, [], backend=backend).distance,
        nearest_targets(edges, [], backend=backend).distances,
    ):
        (slope,) = torch.autograd.grad(found, edges, torch.ones_like(found))
        assert (slope == 0).all()


@pytest.mark.parametrize("name", ["distances", "partition", "nearest"])
def test_batches_and_lists_equal_single_images(name, rng):
    images = [problem(family, (6, 7), rng)[0] for family in (noise, ties, zero)]
    points = [random_points(rng, 3, 6, 7) for _ in images]
    search = {
        "distances": geodesic_distances,
        "partition": nearest_partition,
        "nearest": lambda *image: nearest_targets(*image, k=2),
    }[name]

    def costs(found):
        return found if isinstance(found, torch.Tensor) else found[1]

    alone = [
        torch.autograd.grad((costs(search(leaf, own)) ** 2).sum(), leaf)[0]
        for leaf, own in zip([image.clone().requires_grad_() for image in images], points, strict=True)
    ]
    batch = torch.stack(images).requires_grad_()
    found = search(batch, points)
    parts = found.distance if name == "partition" else [costs(own) for own in found]
    loss = sum((part**2).sum() for part in parts)
    assert torch.equal(torch.autograd.grad(loss, batch)[0], torch.stack(alone))
    ragged = [image.clone().requires_grad_() for image in images]
    ragged[1].requires_grad_(False)
    found = search(ragged, points)
    loss = sum((costs(own) ** 2).sum() for own in found[:2])  # nobody looks at the last
    first, last = torch.autograd.grad(loss, [ragged[0], ragged[2]], allow_unused=True, materialize_grads=True)
    assert torch.equal(first, alone[0])
    assert (last == 0).all()


@pytest.mark.parametrize("name", ["distances", "partition", "nearest"])
@backends
def test_compiles_in_one_graph(backend, name, rng):
    torch.compiler.reset()
    edges, points = problem(constant, (7, 9), rng, torch.float32)
    search = searches(points.tolist(), backend)[name]

    def loss(edges):
        return (search(edges * 2) ** 2).sum()

    leaf = edges.clone().requires_grad_()
    (slope,) = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(leaf), leaf)
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.equal(slope, expected)
    assert slope.abs().sum() > 0


def test_threads_change_no_bit(rng):
    edges, _ = problem(noise, (150, 160), rng, torch.float32)
    points = random_points(rng, 11, 150, 160)
    slopes, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            for search in (
                lambda e: geodesic_distances(e, points),
                lambda e: nearest_targets(e, points, k=3).distances,
            ):
                slopes.append(gradient(search, edges, torch.ones(1)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(slope, slopes[i % 2]) for i, slope in enumerate(slopes))


def test_a_crowd_fills_boxes(rng):
    edges, _ = problem(noise, (60, 50), rng)
    points = random_points(rng, 90, 60, 50)
    costs = nearest_targets(edges, points, k=3).distances
    given = weights(rng, costs)
    numba, other = (
        gradient(lambda e, b=b: nearest_targets(e, points, k=3, backend=b).distances, edges, given)
        for b in ("numba", "torch")
    )
    torch.testing.assert_close(numba, other)


def test_triton_walks_back_like_torch(rng):
    pytest.importorskip("triton", reason="no Triton for this platform")
    from point2mask_ot.geodesic.gpu import launch

    device = "cpu" if launch.INTERPRETED else "cuda"
    edges, points = problem(noise, (4, 5), rng, torch.float32, device)
    given = weights(rng, torch.empty(3, 4, 5, device=device))
    slopes = [gradient(searches(points, backend)["distances"], edges, given) for backend in ("triton", "torch")]
    assert torch.equal(*slopes)


def test_edges_of_which_none_is_asked_for_leave_no_trace(rng):
    edges, points = problem(noise, (5, 6), rng)
    for search in searches(points, "auto").values():
        assert not search(edges).requires_grad
        with torch.no_grad():
            assert not search(edges.clone().requires_grad_()).requires_grad
    assert not nearest_targets(edges.requires_grad_(), points).labels.requires_grad
    assert not nearest_partition(edges, points).labels.requires_grad
    assert isinstance(geodesic_distances(edges.detach().numpy(), points), np.ndarray)


@pytest.mark.parametrize("name", ["distances", "partition", "nearest"])
def test_a_gradient_of_a_gradient_is_refused(name, rng):
    edges, points = problem(noise, (5, 6), rng)
    leaf = edges.requires_grad_()
    (slope,) = torch.autograd.grad((searches(points, "auto")[name](leaf) ** 2).sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated once more"):
        slope.sum().backward()
