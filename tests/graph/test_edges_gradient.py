"""The gradient of edge costs to their maps, against autograd through plain shifts and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import MapTerm, edge_costs
from point2mask_ot.graph import FORWARD_OFFSETS, pair_slices, pairs

SIZES = [(1, 1), (1, 6), (5, 1), (2, 2), (5, 6), (130, 7)]
KINDS = ["l1", "max", "cosine"]

sizes = pytest.mark.parametrize("size", SIZES, ids=str)
kinds = pytest.mark.parametrize("kind", KINDS)


def image(rng, kind, size, channels=3, *, on_kinks=False):
    """(C, H, W) float64; with ``on_kinks`` many neighbours are equal."""
    values = rng.random((channels, *size))
    values = values.round(1) if on_kinks else values
    if kind == "cosine":
        values = (values + 0.1) / np.linalg.norm(values + 0.1, axis=0)
    return torch.from_numpy(values)


def by_shifts(maps, kind):
    """(4, H, W) costs that autograd differentiates; 0 where a pair leaves the image."""
    if kind == "max":
        maps = maps.clamp(min=0)
    compare = {
        "l1": lambda k, l: (k - l).abs().sum(0),
        "max": lambda k, l: torch.maximum(k, l).sum(0),
        "cosine": lambda k, l: (1 - (k * l).sum(0)).clamp(min=0),
    }[kind]
    costs = []
    for offset in FORWARD_OFFSETS:
        here, there = pair_slices(offset)
        cost = maps.new_zeros(maps.shape[1:])
        rows, columns = (torch.arange(n, device=maps.device)[part] for n, part in zip(cost.shape, here, strict=True))
        costs.append(cost.index_put((rows[:, None], columns), compare(maps[:, *here], maps[:, *there])))
    return torch.stack(costs)


def finite(values):
    return torch.where(values < torch.inf, values, 0)


def costs_of(maps, kind, **options):
    return edge_costs(terms=[MapTerm(maps, 1.0, kind)], **options)


@sizes
@kinds
def test_kinks_take_the_stated_subgradient(kind, size, rng, device, dtype, tolerance):
    maps = image(rng, kind, size, on_kinks=True).to(device, dtype)
    if kind == "max":
        maps[..., ::2] -= 5e-4
        maps = torch.where(maps < 0.3, maps - maps.clamp(min=0) - 1e-4, maps)
    given = torch.from_numpy(rng.standard_normal((4, *size))).to(maps)
    leaf = maps.clone().requires_grad_()
    (expected,) = torch.autograd.grad(by_shifts(leaf, kind), leaf, given)
    costs = costs_of(leaf, kind)
    (found,) = torch.autograd.grad(costs, leaf, torch.where(costs < torch.inf, given, torch.nan))
    torch.testing.assert_close(found, expected, **tolerance[dtype])


@sizes
@kinds
def test_shifts_give_what_the_kernel_gives(kind, size, rng):
    maps = image(rng, kind, size, on_kinks=True)[None]
    weight = pairs._of_pairs(torch.from_numpy(rng.standard_normal((1, 4, *size))))
    torch.testing.assert_close(
        pairs._pull_by_shifts(maps, weight, kind), pairs._pull_on_cpu(maps, weight, kind), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("power", [1.0, 2.5])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 5)], ids=str)
def test_gradcheck(size, power, rng):
    shorter = 0.9  # so that no product is near 1, where the cosine's kink is
    leaves = [(shorter * image(rng, kind, size, 1 if kind == "max" else 2)).requires_grad_() for kind in 2 * KINDS]

    def costs(semantic, boundary, features, *maps):
        terms = [MapTerm(own, 0.5 + i, kind) for i, (own, kind) in enumerate(zip(maps, KINDS, strict=True))]
        terms.append(MapTerm(semantic, 0.7, lambda k, l: (k * l).square().sum(1)))
        options = {"beta": 0.3, "feature_weight": 0.2, "terms": terms, "power": power}
        return finite(edge_costs(semantic, boundary, features=features, **options))

    assert torch.autograd.gradcheck(costs, leaves)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_power_gives_none_to_flat_ground_and_walls(power):
    flat = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
    cost = torch.ones(1, 3, 4, dtype=torch.float64, requires_grad=True)

    def wall(k, l):
        return torch.where(torch.arange(l.shape[3]) > 1, torch.inf, k + l).sum(1)

    edges = edge_costs(flat, terms=[MapTerm(cost, 0.5, wall)], power=power)
    edges = edges + edge_costs(flat, power=power)
    to_flat, to_cost = torch.autograd.grad(finite(edges).sum(), [flat, cost])
    assert (to_flat == 0).all()
    assert torch.isfinite(to_cost).all()
    assert (to_cost != 0).any()


def test_a_callable_is_differentiated_with_all_it_holds(rng):
    maps = image(rng, "l1", (4, 5)).requires_grad_()
    scale = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)

    def metric(k, l):
        return (scale[:, None, None] * (k - l)).square().sum(1)

    plain = sum(
        (scale[:, None, None] * (maps[:, *here] - maps[:, *there])).square().sum()
        for here, there in map(pair_slices, FORWARD_OFFSETS)
    )
    found = finite(edge_costs(terms=[MapTerm(maps, 1.0, metric)])).sum()
    expected = torch.autograd.grad(plain, [maps, scale])
    for own, other in zip(torch.autograd.grad(found, [maps, scale]), expected, strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_gets_its_own_dtype_back(half, rng):
    maps = image(rng, "l1", (5, 6)).to(half).requires_grad_()
    wide = maps.detach().float().requires_grad_()
    (found,) = torch.autograd.grad(finite(edge_costs(maps)).sum(), maps)
    (expected,) = torch.autograd.grad(finite(edge_costs(wide)).sum(), wide)
    assert found.dtype == half
    assert torch.equal(found, expected.to(half))


@kinds
def test_batch_equals_single_images(kind, rng):
    batch = torch.stack([image(rng, kind, (6, 7)) for _ in range(3)]).requires_grad_()
    given = torch.from_numpy(rng.standard_normal((3, 4, 6, 7)))
    (found,) = torch.autograd.grad(costs_of(batch, kind), batch, given)
    for b in range(3):
        leaf = batch[b].detach().clone().requires_grad_()
        assert torch.equal(torch.autograd.grad(costs_of(leaf, kind), leaf, given[b])[0], found[b])


def test_any_layout_and_large_maps(rng):
    maps = image(rng, "l1", (530, 700)).float().mT
    given = torch.from_numpy(rng.standard_normal((4, 700, 530))).float().mT.contiguous().mT
    slopes = []
    for values in (maps, maps.contiguous()):
        leaf = values.detach().requires_grad_()
        slopes.append(torch.autograd.grad(edge_costs(leaf), leaf, given)[0])
    assert torch.equal(*slopes)
    leaf = maps.detach().requires_grad_()
    (expected,) = torch.autograd.grad(by_shifts(leaf, "l1"), leaf, given)
    torch.testing.assert_close(slopes[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_compiles_in_one_graph(power, rng):
    torch.compiler.reset()
    leaves = [image(rng, kind, (6, 7), 1 if kind == "max" else 3).float().requires_grad_() for kind in KINDS]

    def loss(semantic, boundary, features):
        edges = edge_costs(semantic, boundary, features=features, power=power)
        return (finite(edges) ** 2).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(*leaves), leaves)
    for own, expected in zip(found, torch.autograd.grad(loss(*leaves), leaves), strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_gradient_changes_no_bit_of_the_costs(power, rng):
    maps = image(rng, "l1", (8, 9)).float()
    bound = image(rng, "max", (8, 9), 1).float()
    plain = edge_costs(maps, bound, power=power, step_cost=0.1)
    assert not plain.requires_grad
    assert isinstance(edge_costs(maps.numpy()), np.ndarray)
    traced = edge_costs(maps.requires_grad_(), bound, power=power, step_cost=0.1)
    assert traced.requires_grad
    assert torch.equal(traced, plain)


def test_a_gradient_of_a_gradient_is_refused(rng):
    maps = image(rng, "l1", (4, 5)).requires_grad_()
    (slope,) = torch.autograd.grad((finite(edge_costs(maps)) ** 2).sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated once more"):
        slope.sum().backward()
