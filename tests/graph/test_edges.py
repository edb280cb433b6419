"""Edge costs against a loop over all pairs written from Eq. 2-3."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, ArgumentTypeError, MapTerm, edge_costs, nearest_partition
from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices


def naive(semantic, boundary, features, *, beta, feature_weight, step_cost):
    _, height, width = semantic.shape
    edges = np.full((4, height, width), np.inf)
    for index, (dy, dx) in enumerate(FORWARD_OFFSETS):
        for y in range(height):
            for x in range(width):
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                k, l = (slice(None), y, x), (slice(None), y + dy, x + dx)
                edges[index, y, x] = (
                    np.abs(semantic[k] - semantic[l]).sum()
                    + beta * max(boundary[k][0], boundary[l][0])
                    + feature_weight * max(0.0, 1 - features[k] @ features[l])
                    + step_cost
                )
    return edges


def maps(rng, height, width, channels=5, depth=4):
    logits = rng.normal(size=(channels, height, width))
    semantic = np.exp(logits) / np.exp(logits).sum(0)
    features = rng.normal(size=(depth, height, width))
    return semantic, rng.random((1, height, width)), features / np.linalg.norm(features, axis=0)


@pytest.mark.parametrize("size", [(6, 7), (1, 9), (8, 1), (1, 1), (2, 2)])
def test_equals_the_loop(rng, device, dtype, tolerance, size):
    given = maps(rng, *size)
    weights = {"beta": 0.3, "feature_weight": 0.2, "step_cost": 0.01}
    semantic, boundary, features = (torch.tensor(m, dtype=dtype, device=device) for m in given)
    edges = edge_costs(semantic, boundary, features=features, **weights)
    assert edges.dtype == dtype
    torch.testing.assert_close(edges.cpu().double(), torch.from_numpy(naive(*given, **weights)), **tolerance[dtype])


def test_large_map_is_cut_into_bands_without_a_seam(rng):
    semantic = rng.random((5, 300, 700)).astype(np.float32)
    edges = edge_costs(semantic)
    for index, offset in enumerate(FORWARD_OFFSETS):
        here, there = pair_slices(offset)
        expected = np.abs(semantic[:, *there] - semantic[:, *here]).sum(0)
        np.testing.assert_allclose(edges[index, *here], expected, rtol=1e-6, atol=1e-6)


def test_terms_add_up(rng):
    lab, low = rng.normal(size=(3, 5, 6)), rng.random((2, 5, 6))
    custom = MapTerm(lab, 2.0, lambda here, there: (here - there).square().sum(1))
    edges = edge_costs(terms=[MapTerm(lab, 0.5), MapTerm(low, 0.1, "max"), custom])
    right = (
        0.5 * np.abs(lab[:, :, 1:] - lab[:, :, :-1]).sum(0)
        + 0.1 * np.maximum(low[:, :, 1:], low[:, :, :-1]).sum(0)
        + 2.0 * np.square(lab[:, :, 1:] - lab[:, :, :-1]).sum(0)
    )
    np.testing.assert_allclose(edges[0, :, :-1], right, rtol=1e-12)
    assert np.isinf(edges[0, :, -1]).all()


@pytest.mark.parametrize("power", [1, 2, 2.5])
def test_power_is_of_the_sum(rng, dtype, tolerance, power):
    semantic, boundary, features = (torch.tensor(m, dtype=dtype) for m in maps(rng, 5, 6))
    plain = edge_costs(semantic, boundary, features=features, step_cost=0.01)
    raised = edge_costs(semantic, boundary, features=features, step_cost=0.01, power=power)
    torch.testing.assert_close(raised, plain**power, **tolerance[dtype])


def test_power_finds_an_outline_through_noise():
    """Many small steps against one large one: their sum is the larger, the sum of their squares is not."""
    picture = np.tile([0.0, 0.05], 40)[None, None, :].copy()
    picture[..., 60:] += 0.9
    ends, targets = [(0, 0), (0, 79)], np.array([0, 1])
    for power, border in ((1, 48), (2, 60)):
        edges = edge_costs(terms=[MapTerm(picture)], power=power)
        labels = nearest_partition(edges, ends, targets).labels
        assert abs(int((labels == 0).sum()) - border) <= 1


def test_batch_equals_loop(rng):
    stacks = [torch.from_numpy(np.stack(m)) for m in zip(*(maps(rng, 6, 5) for _ in range(3)), strict=True)]
    together = edge_costs(stacks[0], stacks[1], features=stacks[2])
    for b in range(3):
        alone = edge_costs(stacks[0][b], stacks[1][b], features=stacks[2][b])
        assert torch.equal(together[b], alone)


def test_families_dtypes_and_purity(rng):
    semantic, boundary, _ = (m.astype(np.float32) for m in maps(rng, 6, 7))
    before = semantic.copy()
    from_numpy = edge_costs(semantic, boundary)
    assert isinstance(from_numpy, np.ndarray)
    assert from_numpy.dtype == np.float32
    from_torch = edge_costs(torch.from_numpy(semantic), torch.from_numpy(boundary))
    assert np.array_equal(from_torch.numpy(), from_numpy)
    half = torch.from_numpy(semantic).to(torch.bfloat16)
    assert torch.equal(edge_costs(half), edge_costs(half.float()))
    semantic.setflags(write=False)
    assert np.array_equal(edge_costs(semantic, boundary), from_numpy)
    assert np.array_equal(semantic, before)
    flipped = edge_costs(np.ascontiguousarray(semantic[:, :, ::-1]))
    assert np.array_equal(edge_costs(semantic[:, :, ::-1]), flipped)


def test_compiles_without_a_graph_break(rng):
    semantic, boundary, features = (torch.from_numpy(m).float()[None] for m in maps(rng, 6, 7))
    compiled = torch.compile(edge_costs, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(semantic, boundary, features=features), edge_costs(semantic, boundary, features=features)
    )


GOOD = np.full((2, 4, 5), 0.5, np.float32)

REFUSALS = {
    "no map": ({}, "semantic", "no map at all"),
    "2-D": ({"semantic": GOOD[0]}, "semantic", "shape (4, 5)"),
    "integer": ({"semantic": GOOD.astype(int)}, "semantic", "floating-point"),
    "bool": ({"semantic": GOOD > 0}, "semantic", "floating-point"),
    "complex": ({"semantic": GOOD.astype(complex)}, "semantic", "floating-point"),
    "NaN": ({"semantic": np.full_like(GOOD, np.nan)}, "semantic", "NaN"),
    "one NaN in a corner": ({"terms": [MapTerm(np.array([[[0.0, np.nan]]]))]}, "terms[0]", "NaN"),
    "inf": ({"semantic": np.full_like(GOOD, np.inf)}, "semantic", "infinity"),
    "logits": ({"semantic": GOOD * 8}, "semantic", "look like logits"),
    "empty": ({"semantic": GOOD[:, :0]}, "semantic", "shape (2, 0, 5)"),
    "no channel": ({"features": GOOD[:0]}, "features", "shape (0, 4, 5)"),
    "boundary above 1": ({"boundary": GOOD[:1] + 1}, "boundary", "[0, 1]"),
    "boundary of two channels": ({"boundary": GOOD}, "boundary", "one channel"),
    "sizes differ": ({"semantic": GOOD, "boundary": GOOD[:1, :3]}, "boundary", "(1, 3, 5)"),
    "batches differ": ({"semantic": GOOD[None], "boundary": GOOD[:1]}, "boundary", "(1, 2, 4, 5)"),
    "mixed families": ({"semantic": GOOD, "boundary": torch.ones(1, 4, 5)}, "semantic", "no mixing"),
    "a list": ({"semantic": GOOD.tolist()}, "semantic", "NumPy array or a torch tensor"),
    "negative beta": ({"semantic": GOOD, "beta": -1}, "beta", ">= 0"),
    "beta as a string": ({"semantic": GOOD, "beta": "0.1"}, "beta", "a number"),
    "a power below one": ({"semantic": GOOD, "power": 0.5}, "power", ">= 1"),
    "an endless power": ({"semantic": GOOD, "power": np.inf}, "power", "finite"),
    "negative step": ({"semantic": GOOD, "step_cost": -0.1}, "step_cost", ">= 0"),
    "negative weight": ({"terms": [MapTerm(GOOD, -1)]}, "terms[0].weight", ">= 0"),
    "negative max map": ({"terms": [MapTerm(-GOOD, 1, "max")]}, "terms[0]", "non-negative"),
    "unknown kind": ({"terms": [MapTerm(GOOD, 1, "cosin")]}, "terms[0].kind", "did you mean 'cosine'"),
    "not a term": ({"terms": [GOOD]}, "terms[0]", "MapTerm"),
    "negative custom cost": ({"terms": [MapTerm(GOOD, 1, lambda k, l: -k.sum(1))]}, "terms[0].kind", ">= 0"),
    "custom cost of wrong shape": (
        {"terms": [MapTerm(GOOD, 1, lambda k, l: k)]},
        "terms[0].kind",
        "tensor of",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case):
    arguments, argument, words = REFUSALS[case]
    with pytest.raises(ArgumentError) as caught:
        edge_costs(**arguments)
    message = str(caught.value)
    assert message.startswith("edge_costs: ")
    assert f"'{argument}'" in message
    assert words in message


def test_kind_of_error():
    with pytest.raises(TypeError):
        edge_costs(GOOD.astype(int))
    assert issubclass(ArgumentTypeError, ArgumentError)
    assert issubclass(ArgumentError, ValueError)
