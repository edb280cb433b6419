"""Gradients of random-walk costs against finite differences, and against autograd through a dense direct solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from point2mask_ot import ArgumentError, PointTargets, PseudoMasker, checks, random_walk_costs
from point2mask_ot.walks import costs as walks

SPACING = 0.3
MANY = 16
"""Cycles after which nothing is left to gain in double precision."""
LEAST = 1e-6


def by_dense_solver(edges: torch.Tensor, points, target) -> torch.Tensor:
    """(K, H, W) costs that autograd can follow, from the Laplacian of the whole picture; +inf where no walk arrives."""
    height, width = edges.shape[1:]
    count, index = max(target) + 1, torch.arange(height * width).view(height, width)
    here = torch.cat([index[:, :-1].ravel(), index[:-1].ravel()])
    there = torch.cat([index[:, 1:].ravel(), index[1:].ravel()])
    cost = torch.cat([edges[0, :, :-1].ravel(), edges[2, :-1].ravel()])
    open_ = torch.isfinite(cost)
    graph = coo_matrix((open_.numpy(), (here, there)), shape=(height * width, height * width))
    part = torch.from_numpy(connected_components(graph, directed=False)[1])
    places = [y * width + x for y, x in points]
    seeds = torch.zeros(height * width, count, dtype=edges.dtype)
    seeds[places, list(target)] = 1
    reached = torch.zeros_like(seeds, dtype=torch.bool)
    for place, own in zip(places, target, strict=True):
        reached[:, own] |= part == part[place]
    step = SPACING * (count / reached.any(1).sum()) ** 0.5
    conductance = torch.where(open_, step / (torch.where(open_, cost, 0) + step), 0)
    joined = torch.zeros(height * width, height * width, dtype=edges.dtype)
    joined = joined.index_put((here, there), conductance).index_put((there, here), conductance)
    laplacian = torch.diag(joined.sum(1)) - joined
    free = ((seeds.sum(1) == 0) & reached.any(1)).nonzero()[:, 0]
    seeds = seeds / seeds.sum(1, keepdim=True).clamp(min=1)
    solved = torch.linalg.solve(laplacian[free][:, free], -(laplacian[free] @ seeds))
    found = seeds.index_put((free,), solved).clamp(min=LEAST).log().neg()
    return found.masked_fill(~reached, torch.inf).T.view(count, height, width)


def gradient(costs, edges: torch.Tensor, weight: torch.Tensor, *graph, **options) -> torch.Tensor:
    """By the edges, of the weighted sum of the costs that are finite."""
    edges = edges.detach().clone().requires_grad_()
    found = costs(edges, *graph, **options)
    loss = torch.where(torch.isfinite(found), found * weight.to(found.dtype), 0)
    return torch.autograd.grad(loss.sum(), edges)[0]


def picture(rng, height, width, dtype=torch.float64, scale=0.3) -> torch.Tensor:
    return torch.from_numpy(scale * rng.random((4, height, width), np.float32)).to(dtype)


def weights(rng, count, edges) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((count, *edges.shape[1:])))


def with_walls(edges: torch.Tensor) -> torch.Tensor:
    """A wall through and a wall half across."""
    edges = edges.clone()
    edges[0, :, 5] = torch.inf
    edges[2, 3, 7:9] = torch.inf
    return edges


def corridor(dtype=torch.float64) -> tuple[torch.Tensor, list[tuple[int, int]], list[int]]:
    """Where the first target's probability falls to a quarter with each pixel, far below what costs can say."""
    points = [(0, 0), *((1, x) for x in range(1, 16)), (0, 17)]
    return torch.full((4, 2, 18), 0.1, dtype=dtype), points, [0] + [1] * 15 + [2]


CASES = {
    "points": ((6, 7), [(0, 0), (5, 6), (3, 2)], [0, 1, 2]),
    "points of a target": ((6, 7), [(0, 0), (5, 6), (3, 2)], [0, 1, 0]),
    "shared": ((5, 6), [(1, 1), (1, 1), (4, 4), (0, 5)], [0, 1, 1, 2]),
    "all on one pixel": ((4, 5), [(2, 2), (2, 2), (2, 2)], [0, 1, 2]),
    "row": ((1, 9), [(0, 1), (0, 7)], [0, 1]),
    "column": ((8, 1), [(1, 0), (6, 0), (3, 0)], [0, 1, 0]),
    "pixel": ((1, 1), [(0, 0)], [0]),
    "shared pixel": ((1, 1), [(0, 0), (0, 0)], [0, 1]),
    "one": ((4, 5), [(2, 2)], [0]),
    "everything given": ((2, 2), [(0, 0), (0, 1), (1, 0), (1, 1)], [0, 1, 0, 1]),
    "none": ((3, 4), np.zeros((0, 2)), []),
}


def differences_agree(function, edges) -> bool:
    """Along random directions; entry by entry the direct solver tells."""
    return torch.autograd.gradcheck(function, edges, fast_mode=True)


@pytest.mark.parametrize("case", CASES)
def test_finite_differences_agree(case, rng):
    (height, width), points, target = CASES[case]
    edges = picture(rng, height, width).add(0.01).requires_grad_()
    target = np.array(target, int)
    assert differences_agree(lambda e: random_walk_costs(e, points, target, cycles=MANY), edges)


@pytest.mark.parametrize("cut_apart", [True, False], ids=["by parts", "whole"])
def test_finite_differences_agree_between_walls(cut_apart, rng, monkeypatch):
    """Part by part, and on the whole, as where a look at values would make somebody wait."""
    if not cut_apart:
        monkeypatch.setattr(checks, "values_at_hand", lambda tensor: False)
    edges = with_walls(picture(rng, 7, 10).add(0.01))
    open_ = torch.isfinite(edges)
    points, target = [(0, 0), (6, 3), (2, 8), (6, 9)], np.array([0, 1, 1, 2])
    if not cut_apart:
        monkeypatch.setattr(torch, "_assert_async", lambda *_: None)
    reached = torch.isfinite(random_walk_costs(edges, points, target))
    assert not reached.all()

    def finite(values):
        return random_walk_costs(edges.masked_scatter(open_, values), points, target, cycles=MANY)[reached]

    assert differences_agree(finite, edges[open_].requires_grad_())


@pytest.mark.parametrize("scale", [0.3, 30.0])
@pytest.mark.parametrize("walled", [False, True])
def test_double_precision_is_that_of_the_direct_solver(walled, scale, rng):
    edges = picture(rng, 20, 17, scale=scale)
    edges = with_walls(edges) if walled else edges
    graph = [(2, 3), (15, 13), (8, 8), (8, 8), (18, 2)], [0, 1, 2, 1, 3]
    weight = weights(rng, 4, edges)
    expected = gradient(by_dense_solver, edges, weight, *graph)
    found = gradient(random_walk_costs, edges, weight, *graph, cycles=MANY)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * expected.abs().max())
    assert (found[[1, 3]] == 0).all()
    assert (found[torch.isinf(edges)] == 0).all()


@pytest.mark.parametrize("loss", ["costs", "probabilities", "likelihood"])
@pytest.mark.parametrize("walled", [False, True])
def test_single_precision_is_near_it(walled, loss, rng):
    """With the default of two cycles; compiled, and with the walls that the compiled kernels leave alone."""
    edges = picture(rng, 30, 26)
    edges = with_walls(edges) if walled else edges
    points = np.stack([rng.integers(0, 30, 20), rng.integers(0, 26, 20)], 1)
    graph, weight = (points, np.arange(20)), weights(rng, 20, edges)
    own = torch.from_numpy(rng.integers(0, 20, (30, 26)))

    def found(edges, **options):
        edges = edges.clone().requires_grad_()
        costs = random_walk_costs(edges, *graph, **options)
        value = {
            "costs": lambda: torch.where(torch.isfinite(costs), costs * weight.to(costs.dtype), 0).sum(),
            "probabilities": lambda: (torch.exp(-costs) * weight.to(costs.dtype)).sum(),
            "likelihood": lambda: torch.nn.functional.cross_entropy(-costs[None], own[None], reduction="none")[
                torch.isfinite(costs.gather(0, own[None]))
            ].sum(),
        }[loss]()
        return torch.autograd.grad(value, edges)[0]

    expected, near = found(edges, cycles=MANY), found(edges.float())
    assert near.dtype == torch.float32
    assert (near - expected).norm() < 0.01 * expected.norm()
    nearer = found(edges.float(), cycles=8)
    assert (nearer - expected).norm() < 0.002 * expected.norm()


def test_the_sum_of_probabilities_has_no_gradient(rng):
    edges = picture(rng, 40, 34, torch.float32).requires_grad_()
    costs = random_walk_costs(edges, [(3, 3), (30, 8), (20, 30)])
    (one,) = torch.autograd.grad(torch.exp(-costs)[0].sum(), edges, retain_graph=True)
    (every,) = torch.autograd.grad(torch.exp(-costs).sum(), edges)
    assert every.norm() < 1e-4 * one.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_probability_that_was_cut_off_pulls_nothing(dtype):
    edges, points, target = corridor(dtype)
    costs = random_walk_costs(edges, points, target, cycles=MANY)
    cut = torch.exp(-costs[0, 0]) < LEAST * 1.001
    assert 2 < cut.sum() < 14
    weight = torch.zeros(3, 2, 18, dtype=torch.float64)
    weight[0, 0] = cut.double()
    assert (gradient(random_walk_costs, edges, weight, points, target, cycles=MANY) == 0).all()
    weight[0, 0] = 1 - cut.double()
    expected = gradient(by_dense_solver, edges.double(), weight, points, target)
    found = gradient(random_walk_costs, edges, weight, points, target, cycles=MANY)
    tolerance = 1e-6 if dtype == torch.float64 else 0.1  # single precision knows nothing of what was cut off
    assert (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unreachable_pixels_are_ignored(dtype, rng):
    edges = with_walls(picture(rng, 8, 12, dtype)).requires_grad_()
    points, target = [(0, 0), (7, 2), (4, 5)], np.array([0, 1, 2])
    costs = random_walk_costs(edges, points, target)
    away = torch.isinf(costs)
    assert away[:, :, 6:].all()
    weight = weights(rng, 3, edges).to(dtype)
    clean, *others = (
        torch.autograd.grad(costs, edges, weight.masked_fill(away, value), retain_graph=True)[0]
        for value in (0, torch.nan, torch.inf)
    )
    assert (clean[:, :, 6:] == 0).all()
    assert clean.norm() > 0
    assert all(torch.equal(other, clean) for other in others)


def test_edges_at_the_least_conductance_pull_nothing(rng):
    edges = picture(rng, 6, 8, torch.float32)
    edges[0, :, 4] = 1e38
    found = gradient(random_walk_costs, edges, torch.ones(2, 6, 8), [(1, 1), (4, 6)], [0, 1], spacing_cost=1e-6)
    assert (found[0, :, 4] == 0).all()
    assert torch.isfinite(found).all()


def test_batches_and_lists_are_their_images(rng):
    edges = torch.stack([picture(rng, 9, 11, torch.float32) for _ in range(2)]).requires_grad_()
    points = [[(1, 1), (7, 9)], [(0, 0), (8, 8), (3, 4)]]
    batch = random_walk_costs(edges, points)
    (together,) = torch.autograd.grad(sum(costs.sum() for costs in batch), edges)
    alone = [gradient(random_walk_costs, image, torch.ones(1), own) for image, own in zip(edges, points, strict=True)]
    assert torch.equal(together, torch.stack(alone))
    (second,) = torch.autograd.grad(random_walk_costs(edges, points)[1].sum(), edges)
    assert torch.equal(second, torch.stack([torch.zeros_like(alone[0]), alone[1]]))
    images = [edges[0].detach().clone().requires_grad_(), edges[1, :, :, :6].detach()]  # one learns
    listed = random_walk_costs(images, [points[0], points[1][:1]])
    assert torch.equal(torch.autograd.grad(sum(costs.sum() for costs in listed), images[0])[0], alone[0])
    half = edges[0].detach().half().requires_grad_()
    assert torch.autograd.grad(random_walk_costs(half, points[0]).sum(), half)[0].dtype == torch.float16


@pytest.mark.parametrize("count", [5, 40])
def test_threads_change_no_bit(count, rng):
    edges = picture(rng, 150, 160, torch.float32)
    points = np.stack([rng.integers(0, 150, count), rng.integers(0, 160, count)], 1)
    weight, threads, found = weights(rng, count, edges), torch.get_num_threads(), []
    try:
        for number in (1, 2, 7):
            torch.set_num_threads(number)
            found.append(gradient(random_walk_costs, edges, weight, points))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("as_tensor", [True, False], ids=["tensor", "list"])
def test_compiles_in_one_graph(as_tensor, rng):
    torch.compiler.reset()
    edges, points = picture(rng, 9, 11, torch.float32), [(1, 1), (7, 9), (4, 4)]

    def costs(edges, points):
        return random_walk_costs(edges * 2, torch.tensor(points) if as_tensor else points) + 1

    compiled = torch.compile(costs, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(edges, points), costs(edges, points))
    weight = weights(rng, 3, edges)
    assert torch.equal(gradient(compiled, edges, weight, points), gradient(costs, edges, weight, points))
    with pytest.raises(ArgumentError, match=r"^random_walk_costs: argument 'edges': got a cost of -"):
        compiled(-edges, points)


def test_nothing_is_kept_but_what_the_caller_holds(rng):
    edges, kept = picture(rng, 9, 11, torch.float32).requires_grad_(), []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        costs = random_walk_costs(edges, [(1, 1), (7, 9)])
        assert {tensor.data_ptr() for tensor in kept if tensor.numel() > 4} == {edges.data_ptr(), costs.data_ptr()}
        kept.clear()
        with torch.no_grad():
            assert not random_walk_costs(edges, [(1, 1), (7, 9)]).requires_grad
        assert not random_walk_costs(edges.detach(), [(1, 1), (7, 9)]).requires_grad
    assert not kept


def test_a_gradient_of_a_gradient_is_refused(rng):
    edges = picture(rng, 5, 6).requires_grad_()
    costs = random_walk_costs(edges, [(1, 1), (4, 4)])
    (found,) = torch.autograd.grad(costs.square().sum(), edges, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated once more"):
        found.sum().backward()


def test_what_else_walks_follows_no_gradient(rng):
    boundary = torch.from_numpy(rng.random((1, 24, 28), np.float32)).requires_grad_()
    masks = PseudoMasker("best", cost="walk", stuff="supply")(None, boundary, PointTargets([(4, 4), (18, 22)]))
    notes = masks.diagnostics
    assert not any(maps.requires_grad for maps in (masks.confidence, notes.edges, notes.distances, notes.cost))
    edges = picture(rng, 12, 13, torch.float32).requires_grad_()
    (labels,) = walks.random_walk_partition([edges], [np.array([(1, 1)])], [np.array([0])], spacing_cost=SPACING)
    assert not labels.requires_grad
