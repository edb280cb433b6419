"""What is no gradient's matter: labels and counts track none, and keep nothing of what their maps came from."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch

import point2mask_ot as p2m

H, W = 20, 24
FEW = p2m.PointTargets([(4, 4), (15, 18), (17, 3)], category=[0, 0, 2], is_thing=[True, True, False])
MANY = p2m.PointTargets(
    [(y, x) for y in range(1, H, 4) for x in range(1, W, 4)][:28] + [(0, x) for x in range(0, 24, 3)],
    category=[0] * 35 + [2],
    is_thing=[True] * 35 + [False],
)
SIZED = p2m.PointTargets([(4, 4), (15, 18), (17, 3)], None, [0, 0, 2], [True, True, False], [50, np.nan, 100])


class Backbone(torch.autograd.Function):
    """Holds an object for as long as anything remembers what it gave."""

    @staticmethod
    def forward(ctx, values, held):
        ctx.held = held
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class Held:
    pass


def metric(scale):
    return lambda k, l: (scale * (k - l)).square().sum(1)


def edges_of(semantic):
    return p2m.edge_costs(semantic, step_cost=0.01)


SCALE = torch.ones((), requires_grad=True)
CALLS = {
    "paper": lambda maps: p2m.PseudoMasker("paper", stride=2)(maps, maps[:1], FEW, terms=[p2m.MapTerm(maps)]),
    "official": lambda maps: p2m.PseudoMasker("official", stride=2)(maps, None, FEW),
    "best": lambda maps: p2m.PseudoMasker("best")(maps, None, FEW),
    "things": lambda maps: p2m.PseudoMasker("best")(maps, None, FEW.select([0, 1])),
    "crowd": lambda maps: p2m.PseudoMasker("best", stuff="supply", step_cost=0.01)(maps, None, MANY),
    "sizes": lambda maps: p2m.PseudoMasker("best", stuff="supply", unary_weight=0.5)(maps, maps[:1], SIZED),
    "classes": lambda maps: p2m.PseudoMasker(within_class=True, point_radius=0)(maps, None, FEW),
    "callable": lambda maps: p2m.PseudoMasker("best")(maps, None, FEW, terms=[p2m.MapTerm(maps, 1.0, metric(SCALE))]),
    "torch": lambda maps: p2m.PseudoMasker("best", backend="torch")(maps, None, FEW),
    "batch": lambda maps: p2m.PseudoMasker("best")(maps[None], None, [FEW]),
    "label_picture": lambda maps: p2m.label_picture(maps, FEW, features=torch.nn.functional.normalize(maps, dim=0)),
    "capacities": lambda maps: p2m.capacities(edges_of(maps), SIZED),
    "capacities of a list": lambda maps: p2m.capacities([edges_of(maps)], [FEW]),
    "shortest_path": lambda maps: p2m.shortest_path(
        edges_of(maps), p2m.geodesic_distances(edges_of(maps), FEW)[0], (15, 20)
    ),
}


def tensors(value, seen):
    """Every tensor that can be reached from a result, also what it makes when it is read."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part, seen)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()), seen)
    elif type(value).__module__.startswith("point2mask_ot"):
        names = {name for name, own in vars(type(value)).items() if isinstance(own, property) or hasattr(own, "func")}
        names |= {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        for name in sorted(names):
            yield from tensors(getattr(value, name, None), seen)
        yield from tensors(getattr(value, "__dict__", {}), seen)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore::point2mask_ot.ConvergenceWarning")
def test_results_track_no_gradient_and_keep_no_graph(call):
    held = Held()
    alive = weakref.ref(held)
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    plain = torch.stack([torch.sin(x / 3), torch.cos(y / 4), torch.sin((x + y) / 5)]).softmax(0)
    expected = list(tensors(CALLS[call](plain), set()))
    leaf = plain.requires_grad_()
    found = CALLS[call](Backbone.apply(leaf, held))
    del held
    results = list(tensors(found, set()))
    assert results
    assert len(results) == len(expected)
    assert not any(own.requires_grad for own in results)
    for own, other in zip(results, expected, strict=True):
        assert torch.equal(torch.nan_to_num(own), torch.nan_to_num(other))
    gc.collect()
    assert alive() is None


EDGES = torch.rand(4, 6, 7, generator=torch.Generator().manual_seed(0))
POINTS = [(1, 1), (4, 5)]
DIFFERENTIABLE = {
    "edge_costs": p2m.edge_costs,
    "geodesic_distances": lambda edges: p2m.geodesic_distances(edges, POINTS),
    "nearest_partition": lambda edges: p2m.nearest_partition(edges, POINTS).distance,
    "nearest_targets": lambda edges: p2m.nearest_targets(edges, POINTS, k=2).distances,
    "random_walk_costs": lambda edges: p2m.random_walk_costs(edges, POINTS),
    "solve": lambda M: p2m.solve(torch.full((4,), 10.5), torch.ones(42), M.flatten(1), reg=0.1).cost,
    "sinkhorn": lambda M: p2m.sinkhorn(torch.full((4,), 10.5), torch.ones(42), M.flatten(1), 0.1).cost,
}
TRANSFORMS = {
    "jvp": lambda call: torch.func.jvp(call, (EDGES,), (EDGES,)),
    "grad": lambda call: torch.func.grad(lambda edges: call(edges).sum())(EDGES),
    "vmap": lambda call: torch.func.vmap(call)(EDGES[None]),
    "dual": lambda call: with_dual(call),
}


def with_dual(call):
    with torch.autograd.forward_ad.dual_level():
        return call(torch.autograd.forward_ad.make_dual(EDGES, EDGES))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # by torch's own tangents
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_that_are_not_there_are_no_zeros(name, transform):
    with pytest.raises(NotImplementedError, match=r"transforms of torch\.func"):
        TRANSFORMS[transform](DIFFERENTIABLE[name])
