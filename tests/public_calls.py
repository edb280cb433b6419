"""A call of every public function on small inputs: what a sweep over all of them runs through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import point2mask_ot as p2m

H, W = 24, 28


def _semantic() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(H, device="cpu"), torch.arange(W, device="cpu"), indexing="ij")
    planes = [torch.sin(x.float() / 3), torch.cos(y.float() / 4), torch.sin((x + y).float() / 5)]
    return torch.stack(planes).softmax(0)


def _targets() -> p2m.PointTargets:
    return p2m.PointTargets([(4, 4), (18, 22), (20, 3)], category=[0, 0, 2], is_thing=[True, True, False])


def _sized() -> p2m.PointTargets:
    """Targets of which one has a size told and one a typical size."""
    things = [(4, 4), (12, 14), (18, 22)]
    category, is_thing, size = [0, 0, 0, 2], [True, True, True, False], [60, np.nan, 90, np.nan]
    told = p2m.PointTargets([*things, (20, 3)], None, category, is_thing, size)
    return p2m.fill_sizes(told, p2m.typical_sizes(told, least=2))


def _crowd() -> p2m.PointTargets:
    """So many that none has a map."""
    points = [(y, x) for y in range(1, H, 4) for x in range(1, W, 4)][:37]
    return p2m.PointTargets(points, category=[0] * 36 + [2], is_thing=[True] * 36 + [False])


def _supplying() -> p2m.PseudoMasker:
    return p2m.PseudoMasker("best", stuff="supply", step_cost=0.001)


def _labels() -> torch.Tensor:
    labels = torch.full((1, H, W), 255, dtype=torch.int64, device="cpu")
    labels[0, 4, 4], labels[0, 18, 22] = 0, 2
    return labels


def _image() -> torch.Tensor:
    return _semantic()[None]


def _edges() -> torch.Tensor:
    return p2m.edge_costs(_semantic())


def _problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    M = torch.stack([_semantic()[0].flatten(), _semantic()[1].flatten()])
    pixels = float(M.shape[1])
    ones = torch.ones(M.shape[1], dtype=torch.float64, device="cpu")
    return torch.tensor([pixels - 200, 200.0], dtype=torch.float64, device="cpu"), ones, M


def _bytes() -> torch.Tensor:
    return (_semantic() * 255).to(torch.uint8)


def _whole(*values: int) -> torch.Tensor:
    return torch.tensor(values, device="cpu")


def _instance() -> torch.Tensor:
    instance = torch.full((1, H, W), -1, dtype=torch.int64, device="cpu")
    instance[0, 2:9, 2:9], instance[0, 14:21, 18:26] = 0, 1
    return instance


def _walled() -> torch.Tensor:
    edges = _edges().clone()
    edges[[0, 1, 3], :, W // 2] = torch.inf
    edges[1, :, W // 2 + 1] = torch.inf
    return edges


CALLS: dict[str, Callable[[], Any]] = {
    "edge_costs": lambda: p2m.edge_costs(
        _semantic(), _semantic()[:1], features=torch.nn.functional.normalize(_semantic(), dim=0),
        terms=[p2m.MapTerm(_semantic(), 0.5), p2m.MapTerm(_semantic(), 0.5, lambda k, l: (k - l).square().sum(1))],
    ),
    "geodesic_distances": lambda: p2m.geodesic_distances(_edges(), _targets()),
    "geodesic_distances, torch": lambda: p2m.geodesic_distances(_edges(), _targets(), backend="torch"),
    "nearest_partition": lambda: tuple(p2m.nearest_partition(_edges(), _targets())),
    "nearest_partition, torch": lambda: tuple(p2m.nearest_partition(_edges(), _targets(), backend="torch")),
    "nearest_targets": lambda: tuple(p2m.nearest_targets(_edges(), _targets(), k=2, offset=[0.1, 0.0, 0.3])),
    "nearest_targets, torch": lambda: tuple(p2m.nearest_targets(_edges(), _targets(), k=4, backend="torch")),
    "shortest_path": lambda: p2m.shortest_path(_edges(), p2m.geodesic_distances(_edges(), [(4, 4)])[0], (20, 20)),
    "random_walk_costs": lambda: p2m.random_walk_costs(_edges(), _targets()),
    "random_walk_costs, walls": lambda: p2m.random_walk_costs(_walled(), _targets()),
    "random_walk_costs, double": lambda: p2m.random_walk_costs(_edges().double(), _targets()),
    "capacities": lambda: p2m.capacities(_edges(), _targets(), iterations=2),
    "sinkhorn": lambda: p2m.sinkhorn(*_problem(), 0.1),
    "sinkhorn, torch": lambda: p2m.sinkhorn(*_problem(), 0.1, tau=1.0, backend="torch"),
    "solve, newton": lambda: p2m.solve(*_problem(), reg=0.05),
    "solve, newton, torch": lambda: p2m.solve(*_problem(), reg=0.05, backend="torch"),
    "solve, exact": lambda: p2m.solve(*_problem()),
    "PseudoMasker, best": lambda: p2m.PseudoMasker("best")(_semantic(), None, _targets()),
    "PseudoMasker, things": lambda: p2m.PseudoMasker("best")(_semantic(), None, _targets().select([0, 1])),
    "PseudoMasker, paper": lambda: p2m.PseudoMasker("paper", stride=4)(_semantic(), None, _targets()),
    "PseudoMasker, official": lambda: p2m.PseudoMasker("official", stride=4)(_semantic(), None, _targets()),
    "PseudoMasker, classes": lambda: p2m.PseudoMasker(within_class=True, point_radius=0)(_semantic(), None, _targets()),
    "PseudoMasker, sizes": lambda: p2m.PseudoMasker("best", stuff="supply", border="background", unary_weight=0.5)(
        _semantic(), None, _sized()
    ),
    "PseudoMasker, crowd": lambda: _supplying()(_semantic(), None, _crowd()),
    "PseudoMasker, crowd of things": lambda: _supplying()(_semantic(), None, _crowd().select(range(36))),
    "solve, near costs": lambda: p2m.solve(
        *_problem()[:2], p2m.NearestCosts.from_dense(_problem()[2].numpy()), reg=0.05
    ),
    "capacities, sizes": lambda: p2m.capacities(_edges(), _sized()),
    "label_picture": lambda: p2m.label_picture(_semantic(), _targets()),
    "smooth_lab": lambda: p2m.smooth_lab(_semantic()),
    "lab_gradient": lambda: p2m.lab_gradient(_semantic()),
    "smooth_lab, bytes": lambda: p2m.smooth_lab(_bytes()),
    "label_picture, bytes": lambda: p2m.label_picture(_bytes(), _targets(), cost="walk", method="minimum"),
    "tree_affinity_loss, bytes": lambda: p2m.tree_affinity_loss(_semantic()[None], _bytes()[None].float() / 255),
    "tree_filter, bytes": lambda: p2m.tree_filter(
        _semantic()[None], p2m.minimum_spanning_tree(_bytes()[None]), theta=0.02
    ),
    "geodesic_distances, lists": lambda: p2m.geodesic_distances([_edges(), _edges()], [[(4, 4)], [(1, 2), (3, 4)]]),
    "capacities, weights": lambda: p2m.capacities(_edges(), _targets(), demand=_semantic()[0], method="equal"),
    "sinkhorn, whole numbers": lambda: p2m.sinkhorn(
        _whole(3, 6), _whole(2, 2, 5), _whole(3, 6)[:, None] * _whole(2, 2, 5), 0.5
    ),
    "partial_cross_entropy": lambda: p2m.partial_cross_entropy(_semantic()[None], _labels(), dilation=3),
    "lab_affinity_loss": lambda: p2m.lab_affinity_loss(_semantic()[None], _image()),
    "tree_affinity_loss": lambda: p2m.tree_affinity_loss(_semantic()[None], _image()),
    "semantic_loss": lambda: p2m.semantic_loss(_semantic()[None], _labels(), _image()),
    "boundary_affinity_loss": lambda: p2m.boundary_affinity_loss(
        _semantic()[None, :1], _instance(), _instance().clamp(min=0), torch.tensor([True, False], device="cpu")
    ),
    "manifold_contrastive_loss": lambda: p2m.manifold_contrastive_loss(
        _semantic()[None], _instance(), torch.tensor([[[4, 4], [18, 22]]], device="cpu"),
        torch.tensor([[0, 1]], device="cpu"), num_targets=2,
    ),
    "minimum_spanning_tree, tree_filter": lambda: p2m.tree_filter(
        _semantic()[None], p2m.minimum_spanning_tree(_image()), theta=0.02
    ),
}  # fmt: skip
"""On CPU tensors, made so whatever the ambient state of torch is."""


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Every array in a result, as NumPy."""
    if isinstance(value, torch.Tensor):
        yield value.detach().cpu().numpy()
    elif isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from arrays(part)
    elif isinstance(value, p2m.TransportResult):
        yield from arrays([value.f, value.g, value.labels, value.cost, value.marginal_error, value.plan])
    elif isinstance(value, p2m.PseudoMasks):
        notes = value.diagnostics
        yield from arrays([value.instance, value.masks, value.boxes, value.semantic, value.void])
        yield from arrays([value.confidence, value.target_confidence])
        yield from arrays([notes.edges, notes.distances, notes.cost, notes.nearest, notes.demand])
        yield from arrays([notes.capacities, notes.counted])
