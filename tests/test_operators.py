"""Every custom operator keeps its promises to PyTorch: schema, fake tensors, and gradients where it registers them."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

import point2mask_ot as p2m

# Operators are registered when their modules are first imported, which the package puts off until a name is needed.
OPERATORS = torch.ops.point2mask
USERS = (
    p2m.edge_costs, p2m.smooth_lab, p2m.geodesic_distances, p2m.random_walk_costs, p2m.solve, p2m.lab_affinity_loss,
    p2m.tree_filter,
)  # fmt: skip

DY, DX = [0, 1, 1], [1, -1, 0]
BATCH, CLASSES, HEIGHT, WIDTH = 2, 3, 4, 5


def plain(tensor):
    return tensor


def transposed(tensor):
    """The same values behind strides that are not contiguous."""
    if tensor.ndim < 2:
        return torch.stack([tensor, tensor], -1)[..., 0]
    return tensor.mT.contiguous().mT


layouts = pytest.mark.parametrize("layout", [plain, transposed])


@pytest.fixture
def uniform():
    generator = torch.Generator().manual_seed(20231002)

    def draw(*shape, dtype=torch.float32):
        return torch.rand(shape, generator=generator, dtype=dtype)

    return draw


def edges_and_points(uniform, layout):
    edges = p2m.edge_costs(uniform(CLASSES, HEIGHT, WIDTH))
    return layout(edges), layout(torch.tensor([[0, 0], [3, 4], [2, 1]])), layout(torch.tensor([0, 1, 1]))


@layouts
@pytest.mark.parametrize("kind", ["l1", "max", "cosine"])
def test_pair_cost(kind, layout, uniform):
    image = torch.nn.functional.normalize(uniform(BATCH, CLASSES, HEIGHT, WIDTH), dim=1)
    opcheck(OPERATORS.pair_cost.default, (layout(image), kind, "features"))
    opcheck(OPERATORS.pair_cost.default, (layout(image).requires_grad_(), kind, "features"))
    gradient = layout(uniform(BATCH, 4, HEIGHT, WIDTH))
    opcheck(OPERATORS.pair_cost_gradient.default, (gradient, layout(image.detach()), kind))


@layouts
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_unit_range(dtype, layout, uniform):
    picture = layout(uniform(BATCH, 3, HEIGHT, WIDTH).mul(1 if dtype.is_floating_point else 255).to(dtype))
    opcheck(OPERATORS.unit_range.default, (picture, "srgb_to_lab"))


@layouts
@pytest.mark.parametrize("masked", [False, True])
def test_pair_operators_of_the_lab_loss(layout, masked, uniform):
    colour = layout(uniform(BATCH, 3, HEIGHT, WIDTH))
    valid = layout(uniform(BATCH, HEIGHT, WIDTH) < 0.8) if masked else None
    opcheck(OPERATORS.similar_pairs.default, (colour, valid, DY, DX, 0.7))
    weights = layout(OPERATORS.similar_pairs(colour, valid, DY, DX, 0.7))
    assert 0 < weights.mean() < 0.6
    logits = layout(uniform(BATCH, CLASSES, HEIGHT, WIDTH)).requires_grad_()
    opcheck(OPERATORS.disagreement.default, (logits, weights, valid, DY, DX))
    _, ratios, total = OPERATORS.disagreement(logits.detach(), weights, valid, DY, DX)
    gradient = (torch.tensor(2.0), logits.detach(), layout(ratios), layout(total), valid, DY, DX)
    opcheck(OPERATORS.disagreement_gradient.default, gradient)


@layouts
@pytest.mark.parametrize(
    ("method", "reg", "backend"),
    [("sinkhorn", 0.1, "numba"), ("sinkhorn", 0.1, "torch"), ("newton", 0.1, "numba"), ("exact", 0.0, "auto")],
)
def test_transport(method, reg, backend, layout, uniform):
    M = layout(uniform(BATCH, 3, 7, dtype=torch.float64))
    a, b = torch.tensor([[1.0, 2.0, 4.0], [7.0, 0.0, 0.0]]), torch.ones(BATCH, 7)
    options = ("solve", method, reg, torch.inf, 1e-9, 500, 0.0, False, backend, 1e-9)
    given = [layout(a.double())], [layout(b.double())], [M]
    opcheck(OPERATORS.transport.default, (*given, *options))
    f, g, _, cost, error, _, converged, *kept = OPERATORS.transport(*given, *options)
    by_f = torch.zeros_like(f[0]) if method == "exact" else f[0] - f[0].nan_to_num(neginf=0).mean(-1, keepdim=True)
    incoming = [by_f.nan_to_num(neginf=0)], [torch.zeros_like(g[0])], [torch.ones_like(cost[0])]
    found = f, g, error, converged, *kept
    opcheck(OPERATORS.transport_gradient.default, (*given, *found, *incoming, True, True, *options))


def test_plan(uniform):
    f, g, M = uniform(BATCH, 3, dtype=torch.float64), uniform(BATCH, 7, dtype=torch.float64), uniform(BATCH, 3, 7)
    opcheck(OPERATORS.entropic_plan.default, (*(each.requires_grad_() for each in (f, g, M)), 0.5))


@layouts
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_geodesic_searches(backend, layout, uniform):
    edges, points, target = edges_and_points(uniform, layout)
    arguments = ([edges, layout(edges[..., 1:])], [points, points[:0]], [target, target[:0]], [2, 0], backend)
    opcheck(OPERATORS.geodesic_distances.default, arguments)
    opcheck(OPERATORS.nearest_partition.default, arguments)
    offsets = [layout(torch.tensor([0.5, 0.0], dtype=torch.float64)), torch.zeros(0, dtype=torch.float64)]
    opcheck(OPERATORS.nearest_targets.default, (*arguments[:4], offsets, 2, backend))


@layouts
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_walks(dtype, layout, uniform):
    edges, points, target = edges_and_points(uniform, layout)
    images = [image.detach().to(dtype).requires_grad_() for image in (edges, layout(edges[..., 1:]))]
    operands = (images, [points, points[:0]], [target, target[:0]], [2, 0])
    opcheck(OPERATORS.random_walk_costs.default, (*operands, 0.3, 2))
    with torch.no_grad():
        costs = OPERATORS.random_walk_costs(*operands, 0.3, 2)
    detached = ([image.detach() for image in images], *operands[1:])
    gradients = [layout(uniform(*cost.shape, dtype=dtype)) if len(cost) else cost for cost in costs]
    opcheck(OPERATORS.random_walk_gradient.default, (*detached, costs, gradients, 0.3, 2))


@layouts
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_geodesic_gradients(backend, layout, uniform):
    edges, points, target = edges_and_points(uniform, layout)
    leaves = [layout(edges).detach().requires_grad_(), layout(edges[..., 1:]).detach().requires_grad_()]
    points, target, counts = [points, points[:0]], [target, target[:0]], [2, 0]
    opcheck(OPERATORS.geodesic_distances.default, (leaves, points, target, counts, backend))
    # Its check of compiled gradients adds up all results, and fails where whole numbers are among them.
    utils = ("test_schema", "test_autograd_registration", "test_faketensor")
    opcheck(OPERATORS.nearest_partition.default, (leaves, points, target, counts, backend), test_utils=utils)
    offsets = [torch.zeros(2, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)]
    arguments = (leaves, points, target, counts, offsets, 2, backend)
    opcheck(OPERATORS.nearest_targets.default, arguments, test_utils=utils)
    images = [leaf.detach() for leaf in leaves]
    maps = OPERATORS.geodesic_distances(images, points, target, counts, backend)
    given = [layout(uniform(*own.shape)) for own in maps]
    opcheck(OPERATORS.geodesic_distances_gradient.default, (given, images, maps, points, target, backend))
    nearest = OPERATORS.nearest_targets(images, points, target, counts, offsets, 2, backend)
    given = [layout(uniform(*own.shape)) for own in nearest[1]]
    opcheck(OPERATORS.nearest_targets_gradient.default, (given, images, *nearest, points, target, counts, backend))


@layouts
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_tree_operators(backend, layout, uniform):
    picture, valid = layout(uniform(BATCH, 3, HEIGHT, WIDTH)), layout(uniform(BATCH, HEIGHT, WIDTH) < 0.8)
    opcheck(OPERATORS.minimum_spanning_tree.default, (picture, valid, backend))
    order, parent, distance = map(layout, OPERATORS.minimum_spanning_tree(picture, valid, backend))
    values = layout(uniform(BATCH, CLASSES, HEIGHT * WIDTH)).requires_grad_()
    affinity = layout(torch.exp(-distance)).requires_grad_()
    opcheck(OPERATORS.tree_filter.default, (values, affinity, order, parent, backend))
    detached = (values.detach(), layout(uniform(*values.shape)), affinity.detach(), order, parent, backend)
    opcheck(OPERATORS.tree_affinity_gradient.default, detached)


def test_every_operator_has_its_check_here():
    checked = {
        "pair_cost", "pair_cost_gradient", "unit_range", "similar_pairs", "disagreement", "disagreement_gradient",
        "transport", "transport_gradient", "entropic_plan", "geodesic_distances", "geodesic_distances_gradient",
        "nearest_partition", "nearest_targets", "nearest_targets_gradient", "minimum_spanning_tree", "tree_filter",
        "tree_affinity_gradient", "random_walk_costs", "random_walk_gradient",
    }  # fmt: skip
    registered = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("point2mask::")}
    assert {name.removeprefix("point2mask::") for name in registered} == checked


def test_a_gradient_of_a_gradient_is_refused(uniform):
    logits = uniform(1, CLASSES, HEIGHT, WIDTH).requires_grad_()
    loss = p2m.lab_affinity_loss(logits, uniform(1, 3, HEIGHT, WIDTH), threshold=0.0)
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated once more"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "call",
    [
        lambda values, number: p2m.edge_costs(values, power=number),
        lambda values, number: p2m.solve(torch.ones(3) * 5, torch.ones(15), values.flatten(1), reg=number).f,
    ],
    ids=["edge_costs", "solve"],
)
def test_compiles_with_numbers_that_change(call):
    """Then torch.compile traces with a symbol in place of the number."""
    torch.compiler.reset()
    compiled = torch.compile(call, dynamic=True, fullgraph=True, backend="eager")
    values = torch.rand(3, 3, 5, generator=torch.Generator().manual_seed(0))
    for number in (1.5, 2.5):
        torch.testing.assert_close(compiled(values, number), call(values, number))
