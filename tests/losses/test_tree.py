"""Spanning tree and tree filter against explicit paths and scipy; what they have in common with the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_spanning_tree
from tree_cases import backends, path_affinities, picture_graph, smooth_picture

from point2mask_ot import ArgumentError, ArgumentTypeError
from point2mask_ot.losses.tree import SpanningTree, minimum_spanning_tree, tree_affinity_loss, tree_filter


def scipy_weight(image: np.ndarray) -> float:
    return scipy_spanning_tree(picture_graph(image)).sum() - (image[0].size - 1)


def edges_of(tree: SpanningTree) -> coo_array:
    order, parent, distance = (np.asarray(field) for field in (tree.order, tree.parent, tree.distance))
    return coo_array((distance[1:].astype(float) + 1, (order[1:], parent[1:])), shape=(order.size, order.size))


# The tree


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 9), (1, 8, 1), (3, 17, 23), (5, 40, 31)])
@backends
def test_tree_spans_the_picture_at_the_least_weight(rng, shape, dtype, backend):
    image = (rng.integers(0, 40, shape) if dtype == np.uint8 else rng.random(shape)).astype(dtype)
    tree = minimum_spanning_tree(image, backend=backend)
    pixels = shape[1] * shape[2]
    assert sorted(tree.order.tolist()) == list(range(pixels))
    assert tree.order[0] == tree.parent[0] == tree.distance[0] == 0
    listed = set()
    for pixel, parent in zip(tree.order.tolist(), tree.parent.tolist(), strict=True):
        (y, x), (v, u) = divmod(pixel, shape[2]), divmod(parent, shape[2])
        assert abs(y - v) + abs(x - u) == (1 if listed else 0)
        assert parent in listed or not listed
        listed.add(pixel)
    colours = image.reshape(shape[0], -1).astype(float)
    steps = ((colours[:, tree.order] - colours[:, tree.parent]) ** 2).sum(0)
    np.testing.assert_allclose(tree.distance, steps, rtol=1e-5, atol=1e-12)
    assert float(tree.total_weight) == pytest.approx(scipy_weight(image), rel=1e-5, abs=1e-9)


def test_distinct_weights_leave_one_tree(rng):
    image = rng.random((3, 14, 11))
    ours, theirs = edges_of(minimum_spanning_tree(image)), scipy_spanning_tree(picture_graph(image)).tocoo()

    def undirected(edges):
        return {frozenset(pair) for pair in zip(edges.coords[0].tolist(), edges.coords[1].tolist(), strict=True)}

    assert undirected(ours) == undirected(theirs)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_both_backends_build_the_same_tree_whatever_the_ties(height, width, levels, seed):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, levels, (2, 3, height, width)).astype(np.uint8)
    valid = generator.random((2, height, width)) < 0.8
    compiled, jumping = (minimum_spanning_tree(image, valid=valid, backend=b) for b in ("numba", "torch"))
    for field in ("order", "parent", "distance"):
        np.testing.assert_array_equal(getattr(compiled, field), getattr(jumping, field))
    whole = minimum_spanning_tree(image)
    assert whole.total_weight.tolist() == [scipy_weight(picture) for picture in image]


@pytest.mark.parametrize("ramp", [np.arange(60_000.0), np.arange(60_000.0)[::-1] ** 1.1, np.zeros(60_000)])
def test_long_chains_cost_no_more_than_others(ramp):
    # Squared differences that grow all along the row: every lightest edge points the same way.
    image = np.cumsum(ramp)[None, None]
    tree = minimum_spanning_tree(image)
    assert float(tree.total_weight) == pytest.approx((np.diff(image[0, 0]) ** 2).sum())


def test_eight_bit_and_float_pictures_give_one_tree(rng):
    image = rng.integers(0, 256, (3, 30, 20)).astype(np.uint8)
    trees = [minimum_spanning_tree(image.astype(dtype)) for dtype in (np.uint8, np.float32, np.float64, np.float16)]
    for other in trees[1:]:
        np.testing.assert_array_equal(other.order, trees[0].order)
        np.testing.assert_array_equal(other.distance, trees[0].distance)
    assert [tree.distance.dtype for tree in trees] == [np.float32, np.float32, np.float64, np.float32]


# The filter


@backends
def test_filter_is_the_sum_over_explicit_paths(rng, dtype, tolerance, backend):
    image = smooth_picture(rng, 3, 7, 9)
    values = rng.standard_normal((11, 7, 9))
    tree = minimum_spanning_tree(image)
    affinity = path_affinities(edges_of(tree), 0.004)
    plain = (affinity @ values.reshape(11, -1).T).T.reshape(values.shape)
    given_values = torch.from_numpy(values).to(dtype)
    options = {"theta": 0.004, "backend": backend}
    total = tree_filter(given_values, tree.to("cpu"), normalize=False, **options)
    average = tree_filter(given_values, tree.to("cpu"), **options)
    assert total.dtype == average.dtype == dtype
    torch.testing.assert_close(total.double(), torch.from_numpy(plain), **tolerance[dtype])
    expected = torch.from_numpy(plain / affinity.sum(1).reshape(7, 9))
    torch.testing.assert_close(average.double(), expected, **tolerance[dtype])


@backends
def test_gradients_to_values_and_features(rng, backend):
    tree = minimum_spanning_tree(torch.from_numpy(smooth_picture(rng, 1, 3, 3, 4)))
    values = torch.from_numpy(rng.standard_normal((1, 9, 3, 4))).requires_grad_()
    features = torch.from_numpy(rng.standard_normal((1, 2, 3, 4))).requires_grad_()
    for normalize in (True, False):
        assert torch.autograd.gradcheck(
            lambda x, f, n=normalize: tree_filter(x, tree, theta=2.0, features=f, normalize=n, backend=backend),
            (values, features),
        )
    assert torch.autograd.gradgradcheck(lambda x: tree_filter(x, tree, theta=0.004, backend=backend), (values,))


def test_the_pictures_own_colours_as_features_change_nothing(rng):
    image = torch.from_numpy(smooth_picture(rng, 3, 8, 8))
    values = torch.from_numpy(rng.standard_normal((4, 8, 8)))
    tree = minimum_spanning_tree(image)
    with_features = tree_filter(values, tree, theta=0.01, features=image)
    torch.testing.assert_close(with_features, tree_filter(values, tree, theta=0.01))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 10), st.floats(1e-3, 10), st.integers(0, 2**32 - 1))
def test_filter_is_a_symmetric_average(height, width, channels, theta, seed):
    generator = np.random.default_rng(seed)
    tree = minimum_spanning_tree(generator.random((3, height, width)))
    left, right = generator.standard_normal((2, channels, height, width))
    sums = [tree_filter(x, tree, theta=theta, normalize=False) for x in (left, right)]
    assert (sums[0] * right).sum() == pytest.approx((left * sums[1]).sum(), abs=1e-8)
    average = tree_filter(right, tree, theta=theta)
    low, high = right.min((1, 2), keepdims=True), right.max((1, 2), keepdims=True)
    assert ((average >= low - 1e-9) & (average <= high + 1e-9)).all()
    constant = tree_filter(np.full((1, height, width), 0.7), tree, theta=theta)
    np.testing.assert_allclose(constant, 0.7, rtol=1e-12)


@backends
def test_affinity_ends_at_invalid_pixels(rng, backend):
    image = torch.from_numpy(smooth_picture(rng, 1, 3, 5, 8))
    valid = torch.ones(1, 5, 8, dtype=torch.bool)
    valid[:, :, 4] = False  # a wall between two rooms
    image[:, :, :, 4] = torch.nan
    tree = minimum_spanning_tree(image, valid=valid, backend=backend)
    values = torch.zeros(1, 1, 5, 8, dtype=torch.float64)
    values[..., :4], values[..., 5:] = 1.0, -3.0
    features = image.clone().requires_grad_()
    for guide in (None, features):
        rooms = tree_filter(values, tree, theta=0.01, features=guide, backend=backend)
        torch.testing.assert_close(rooms, values)
    rooms.sum().backward()
    assert features.grad.isfinite().all()
    assert torch.isinf(tree.distance).any()
    assert tree.total_weight.isfinite().all()


# Kinds, precision, compilation


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(rng, half):
    image = torch.from_numpy(smooth_picture(rng, 1, 3, 8, 8)).to(half)
    logits = torch.from_numpy(rng.standard_normal((1, 4, 8, 8))).to(half).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = tree_affinity_loss(logits, image)
        tree = minimum_spanning_tree(image)
        filtered = tree_filter(logits, tree, theta=0.01)
    loss.backward()
    assert loss.dtype == filtered.dtype == tree.distance.dtype == torch.float32
    assert logits.grad.dtype == half
    torch.testing.assert_close(loss, tree_affinity_loss(logits.detach().float(), image.float()))


def test_inputs_are_left_alone_and_numpy_stays_numpy(rng):
    image, logits = smooth_picture(rng, 3, 6, 5), rng.standard_normal((4, 6, 5))
    before = image.copy(), logits.copy()
    tree = minimum_spanning_tree(image)
    for field in (tree.order, tree.parent, tree.distance, tree_filter(logits, tree, theta=0.1)):
        assert isinstance(field, np.ndarray)
    assert np.ndim(tree_affinity_loss(logits, image)) == 0
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(logits, before[1])


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_do_not_change_a_bit(rng, threads):
    image = torch.from_numpy(smooth_picture(rng, 2, 3, 120, 100)).float()
    values = torch.from_numpy(rng.standard_normal((2, 20, 120, 100))).float().requires_grad_()
    features = image.clone().requires_grad_()

    def run():
        filtered = tree_filter(values, minimum_spanning_tree(image), theta=0.01, features=features)
        return (filtered, *torch.autograd.grad(filtered.square().sum(), (values, features)))

    expected = run()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for got, wanted in zip(run(), expected, strict=True):
            assert torch.equal(got, wanted)
    finally:
        torch.set_num_threads(before)


@backends
def test_compiles_into_one_graph(rng, backend):
    image = torch.from_numpy(smooth_picture(rng, 2, 3, 12, 10)).float()
    features = torch.from_numpy(rng.standard_normal((2, 2, 6, 5))).float().requires_grad_()
    logits = torch.from_numpy(rng.standard_normal((2, 4, 6, 5))).float().requires_grad_()
    valid = torch.from_numpy(rng.random((2, 6, 5)) < 0.9)

    def losses(scores):
        tree = minimum_spanning_tree(features.detach(), backend=backend)
        refined = tree_filter(scores, tree, theta=2.0, features=features, backend=backend)
        return tree_affinity_loss(scores, image, valid=valid, backend=backend) + refined.square().mean()

    expected = losses(logits)
    gradients = torch.autograd.grad(expected, (logits, features))
    compiled = torch.compile(losses, fullgraph=True, backend="aot_eager")(logits)
    torch.testing.assert_close(compiled, expected)
    for got, wanted in zip(torch.autograd.grad(compiled, (logits, features)), gradients, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.gpu
def test_gpu_equals_cpu(rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    image = torch.from_numpy(smooth_picture(rng, 2, 3, 33, 21))
    logits = torch.from_numpy(rng.standard_normal((2, 9, 33, 21))).requires_grad_()
    there = logits.detach().cuda().requires_grad_()
    tree, moved = minimum_spanning_tree(image), minimum_spanning_tree(image.cuda())
    assert torch.equal(tree.order, moved.order.cpu())
    loss, far = tree_affinity_loss(logits, image), tree_affinity_loss(there, image.cuda())
    torch.testing.assert_close(far.cpu(), loss)
    loss.backward()
    far.backward()
    torch.testing.assert_close(there.grad.cpu(), logits.grad)
    assert torch.equal(far, tree_affinity_loss(there, image.cuda()))


# Refusals

GOOD_LOGITS, GOOD_IMAGE = torch.zeros(1, 2, 4, 5), torch.zeros(1, 3, 4, 5)
GOOD_TREE = SpanningTree(*(torch.zeros(1, 20) for _ in range(3)), size=(4, 5))


def call_tree(image=GOOD_IMAGE, **options):
    return minimum_spanning_tree(image, **options)


def call_filter(values=GOOD_LOGITS, tree=GOOD_TREE, theta=0.1, **options):
    return tree_filter(values, tree, theta=theta, **options)


def call_loss(logits=GOOD_LOGITS, image=GOOD_IMAGE, **options):
    return tree_affinity_loss(logits, image, **options)


REFUSALS = [
    (call_tree, {"image": [[1.0]]}, ArgumentTypeError, "image"),
    (call_tree, {"image": torch.zeros(3, 4, 5, dtype=torch.int64)}, ArgumentTypeError, "image"),
    (call_tree, {"image": None}, ArgumentTypeError, "image"),
    (call_filter, {"values": None}, ArgumentTypeError, "values"),
    (call_tree, {"image": torch.zeros(4, 5)}, ArgumentError, "image"),
    (call_tree, {"image": torch.zeros(3, 0, 5)}, ArgumentError, "image"),
    (call_tree, {"image": torch.full((3, 4, 5), torch.nan)}, ArgumentError, "image"),
    (call_tree, {"image": torch.full((3, 4, 5), torch.inf)}, ArgumentError, "image"),
    (call_tree, {"valid": np.ones((1, 4, 5), bool)}, ArgumentTypeError, "valid"),
    (call_tree, {"valid": torch.ones(1, 4, 5)}, ArgumentTypeError, "valid"),
    (call_tree, {"valid": torch.ones(4, 5, dtype=torch.bool)}, ArgumentError, "valid"),
    (call_tree, {"backend": "cuda"}, ArgumentError, "backend"),
    (
        call_tree,
        {"image": torch.zeros(3, 4, 5, device="meta"), "backend": "numba"},
        ArgumentError,
        "image",
    ),  # it holds no values (FAULTS B6)
    (call_filter, {"tree": GOOD_IMAGE}, ArgumentTypeError, "tree"),
    (call_filter, {"values": np.zeros((1, 2, 4, 5))}, ArgumentTypeError, "values"),
    (call_filter, {"values": torch.zeros(1, 2, 4, 5, dtype=torch.int64)}, ArgumentTypeError, "values"),
    (call_filter, {"values": torch.zeros(1, 2, 5, 4)}, ArgumentError, "values"),
    (call_filter, {"values": torch.zeros(2, 2, 4, 5)}, ArgumentError, "values"),
    (call_filter, {"values": torch.zeros(2, 4, 5)}, ArgumentError, "values"),
    (call_filter, {"features": torch.zeros(1, 2, 4, 4)}, ArgumentError, "features"),
    (call_filter, {"theta": 0.0}, ArgumentError, "theta"),
    (call_filter, {"theta": "1e-2"}, ArgumentTypeError, "theta"),
    (SpanningTree, {**vars(GOOD_TREE), "size": (5, 5)}, ArgumentError, "size"),
    (call_loss, {"logits": torch.zeros(1, 2, 4, 5, dtype=torch.int64)}, ArgumentTypeError, "logits"),
    (call_loss, {"logits": torch.zeros(2, 2, 4, 5)}, ArgumentError, "image"),
    (call_loss, {"image": None}, ArgumentTypeError, "image"),
    (call_loss, {"image": 255 * torch.ones(1, 3, 4, 5)}, ArgumentError, "image"),
    (call_loss, {"image": torch.zeros(1, 1, 4, 5)}, ArgumentError, "image"),
    (call_loss, {"image": torch.zeros(1, 3, 4, 5, dtype=torch.uint8)}, ArgumentTypeError, "image"),
    (call_loss, {"logits": torch.zeros(1, 2, 5, 4), "image": GOOD_TREE}, ArgumentError, "image"),
    (call_loss, {"theta": -1.0}, ArgumentError, "theta"),
    (call_loss, {"region": "unlabeled"}, ArgumentError, "region"),
    (call_loss, {"norm": "pixel"}, ArgumentError, "norm"),
    (call_loss, {"norm": "unlabelled"}, ArgumentError, "labels"),
    (call_loss, {"labels": torch.full((1, 4, 5), 2)}, ArgumentError, "labels"),
    (call_loss, {"valid": torch.ones(1, 4, 4, dtype=torch.bool)}, ArgumentError, "valid"),
]


@pytest.mark.parametrize(("call", "arguments", "error", "argument"), REFUSALS)
def test_refusals_name_the_argument(call, arguments, error, argument):
    with pytest.raises(error) as caught:
        call(**arguments)
    assert caught.value.argument == argument
