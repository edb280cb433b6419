"""What all losses promise alike: families, batches, padding, precision, compilation, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import point2mask_ot as p2m

IGNORE = 255
CLASSES = 4


class Case(NamedTuple):
    """A loss, what makes its arguments (the first is the map that learns), and its options."""

    loss: Callable[..., Any]
    arguments: Callable[..., dict[str, np.ndarray]]
    options: dict[str, Any]


def logits_and_labels(rng, batch, height, width):
    labels = np.where(
        rng.random((batch, height, width)) < 0.2, rng.integers(0, CLASSES, (batch, height, width)), IGNORE
    )
    return {"logits": rng.normal(size=(batch, CLASSES, height, width)), "labels": labels}


def logits_and_image(rng, batch, height, width):
    image = np.where(np.arange(width) < width // 2, 0.3, 0.7) + 0.02 * rng.random((batch, 3, height, width))
    return {"logits": rng.normal(size=(batch, CLASSES, height, width)), "image": image}


def logits_labels_and_image(rng, *shape):
    return logits_and_labels(rng, *shape) | {"image": logits_and_image(rng, *shape)["image"]}


def boundary_and_masks(rng, batch, height, width):
    return {
        "boundary": rng.normal(size=(batch, 1, height, width)),
        "instance": rng.integers(-1, 2, (batch, height, width)),
        "semantic": rng.integers(0, CLASSES, (batch, height, width)),
        "is_thing": np.array([True, True, False, False]),
    }


def embeddings_and_points(rng, batch, height, width):
    return {
        "embeddings": rng.normal(size=(batch, 5, height, width)),
        "instance": rng.integers(-1, 3, (batch, height, width)),
        "points_yx": rng.integers(0, min(height, width), (batch, 4, 2)),
        "target": rng.integers(-1, 3, (batch, 4)),
    }


CASES = {
    "partial": Case(p2m.partial_cross_entropy, logits_and_labels, {"reduction": "images", "dilation": 3}),
    "lab": Case(p2m.lab_affinity_loss, logits_and_image, {}),
    "tree": Case(p2m.tree_affinity_loss, logits_and_image, {}),
    "semantic": Case(p2m.semantic_loss, logits_labels_and_image, {"partial_options": {"reduction": "images"}}),
    "boundary": Case(p2m.boundary_affinity_loss, boundary_and_masks, {}),
    "boundary_zero": Case(p2m.boundary_affinity_loss, boundary_and_masks, {"border": "zero", "eps": 1e-5}),
    "manifold": Case(p2m.manifold_contrastive_loss, embeddings_and_points, {"num_targets": 4}),
    "manifold_skip": Case(p2m.manifold_contrastive_loss, embeddings_and_points, {"num_targets": 4, "empty": "skip"}),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def tensors(arguments, dtype=torch.float64, **changes):
    """Torch arguments, floating maps in ``dtype``, the first with a gradient."""
    given = {name: torch.tensor(value) for name, value in arguments.items()} | changes
    given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in given.items()}
    next(iter(given.values())).requires_grad_()
    return given


def loss_and_gradient(case, given, function=None):
    learnt = next(iter(given.values()))
    loss = (function or case.loss)(**given, **case.options)
    (gradient,) = torch.autograd.grad(loss, learnt)
    return loss, gradient


def test_one_scalar_with_a_gradient(case, rng):
    loss, gradient = loss_and_gradient(case, tensors(case.arguments(rng, 2, 9, 8)))
    assert loss.shape == ()
    assert loss > 0
    assert gradient.abs().sum() > 0


def test_numpy_in_numpy_out(case, rng):
    arguments = case.arguments(rng, 2, 9, 8)
    loss = case.loss(**arguments, **case.options)
    assert isinstance(loss, (np.ndarray, np.floating))
    assert loss == case.loss(**tensors(arguments), **case.options).item()


def test_batch_is_the_mean_of_its_images(case, rng):
    arguments = case.arguments(rng, 3, 9, 8)
    shared = {"is_thing"}
    each = [
        case.loss(**{k: v if k in shared else v[i] for k, v in arguments.items()}, **case.options) for i in range(3)
    ]
    assert case.loss(**arguments, **case.options) == pytest.approx(np.mean(each), rel=1e-12)


def test_padding_changes_nothing_whatever_it_holds(case, rng):
    """NaN scores, NaN pictures and wild labels outside ``valid`` reach neither loss nor gradient."""
    arguments = case.arguments(rng, 2, 7, 6)
    padded, valid = {}, np.zeros((2, 10, 11), bool)
    valid[:, :7, :6] = True
    for name, value in arguments.items():
        spatial = value.shape[-2:] == (7, 6)
        padded[name] = np.full((*value.shape[:-2], 10, 11), np.nan if value.dtype.kind == "f" else 77, value.dtype)
        padded[name][..., :7, :6] = value if spatial else 0
        padded[name] = padded[name] if spatial else value
    loss, gradient = loss_and_gradient(case, tensors(arguments))
    loss_padded, gradient_padded = loss_and_gradient(case, tensors(padded, valid=torch.tensor(valid)))
    torch.testing.assert_close(loss_padded, loss)
    torch.testing.assert_close(gradient_padded[..., :7, :6], gradient)
    gradient_padded[..., :7, :6] = 0
    assert (gradient_padded == 0).all()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32(case, rng, half):
    given = tensors(case.arguments(rng, 2, 9, 8), half)
    wide = {name: value.detach().float() if value.is_floating_point() else value for name, value in given.items()}
    next(iter(wide.values())).requires_grad_()
    loss, gradient = loss_and_gradient(case, given)
    expected, wide_gradient = loss_and_gradient(case, wide)
    assert loss.dtype == torch.float32
    assert gradient.dtype == half
    assert loss == expected
    torch.testing.assert_close(gradient, wide_gradient.to(half))


def test_autocast_is_off_inside(case, rng):
    given = tensors(case.arguments(rng, 2, 9, 8), torch.float32)
    loss, gradient = loss_and_gradient(case, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = case.loss(**given, **case.options)
    assert inside == loss
    assert (torch.autograd.grad(inside, next(iter(given.values())))[0] == gradient).all()


def test_same_bits_and_inputs_left_alone(case, rng):
    given = tensors(case.arguments(rng, 2, 9, 8), torch.float32)
    before = {name: value.detach().clone() for name, value in given.items()}
    first, second = loss_and_gradient(case, given), loss_and_gradient(case, given)
    assert first[0] == second[0]
    assert (first[1] == second[1]).all()
    for name, value in given.items():
        torch.testing.assert_close(value.detach(), before[name], rtol=0, atol=0)


@pytest.mark.gpu
def test_nothing_waits_for_the_device(case, rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    given = {
        name: value.detach().cuda() for name, value in tensors(case.arguments(rng, 2, 9, 8), torch.float32).items()
    }
    next(iter(given.values())).requires_grad_()
    loss_and_gradient(case, given)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss_and_gradient(case, given)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_compiles_as_one_graph(case, rng):
    given = tensors(case.arguments(rng, 2, 9, 8), torch.float32, valid=torch.ones(2, 9, 8, dtype=torch.bool))
    torch.compiler.reset()
    compiled = torch.compile(case.loss, fullgraph=True, backend="aot_eager")
    for expected, found in zip(loss_and_gradient(case, given), loss_and_gradient(case, given, compiled), strict=True):
        torch.testing.assert_close(found, expected)


def test_wrong_values_in_a_compiled_graph_make_the_loss_nan():
    """A graph cannot raise on what data hold without waiting for the device; it never lets them pass either."""
    compiled = torch.compile(p2m.partial_cross_entropy, fullgraph=True, backend="aot_eager")
    logits, labels = torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), IGNORE)
    assert compiled(logits, labels) == 0
    labels[0, 1, 1] = 3
    assert compiled(logits, labels).isnan()


LOGITS, IMAGE = torch.zeros(2, CLASSES, 5, 6), torch.zeros(2, 3, 5, 6)
LABELS, BOUNDARY, THINGS = torch.zeros(2, 5, 6, dtype=torch.long), torch.zeros(2, 1, 5, 6), torch.ones(CLASSES) > 0
POINTS, TARGET = torch.zeros(2, 3, 2), torch.zeros(2, 3, dtype=torch.long)
PARTIAL = (p2m.partial_cross_entropy, {"logits": LOGITS, "labels": LABELS})
LAB = (p2m.lab_affinity_loss, {"logits": LOGITS, "image": IMAGE})
SEMANTIC = (p2m.semantic_loss, {"logits": LOGITS, "labels": LABELS, "image": IMAGE})
EDGES = (
    p2m.boundary_affinity_loss,
    {"boundary": BOUNDARY, "instance": LABELS, "semantic": LABELS, "is_thing": THINGS},
)
MANIFOLD = (
    p2m.manifold_contrastive_loss,
    {"embeddings": LOGITS, "instance": LABELS, "points_yx": POINTS, "target": TARGET, "num_targets": 2},
)
VALUE, TYPE = p2m.ArgumentError, p2m.ArgumentTypeError

REFUSED = [
    (PARTIAL, {"logits": LOGITS[0, 0]}, VALUE, "logits"),
    (PARTIAL, {"logits": LOGITS.long()}, TYPE, "logits"),
    (PARTIAL, {"logits": None}, VALUE, "logits"),
    (PARTIAL, {"logits": LOGITS[:, :0]}, VALUE, "logits"),
    (PARTIAL, {"logits": LOGITS.numpy()}, TYPE, "logits"),
    (PARTIAL, {"labels": None}, TYPE, "labels"),
    (PARTIAL, {"labels": LABELS[:, :4]}, VALUE, "labels"),
    (PARTIAL, {"labels": LABELS[:1]}, VALUE, "labels"),
    (PARTIAL, {"labels": LABELS[0]}, VALUE, "labels"),
    (PARTIAL, {"labels": LABELS.float()}, TYPE, "labels"),
    (PARTIAL, {"labels": LABELS + CLASSES}, VALUE, "labels"),
    (PARTIAL, {"labels": LABELS - 1}, VALUE, "labels"),
    (PARTIAL, {"valid": LABELS}, TYPE, "valid"),
    (PARTIAL, {"valid": LABELS[0] > 0}, VALUE, "valid"),
    (PARTIAL, {"dilation": 4}, VALUE, "dilation"),
    (PARTIAL, {"dilation": 0}, VALUE, "dilation"),
    (PARTIAL, {"dilation": 3.0}, TYPE, "dilation"),
    (PARTIAL, {"reduction": "image"}, VALUE, "reduction"),
    (LAB, {"image": IMAGE[:, :2]}, VALUE, "image"),
    (LAB, {"image": IMAGE[:1]}, VALUE, "image"),
    (LAB, {"image": IMAGE[0]}, VALUE, "image"),
    (LAB, {"image": None}, TYPE, "image"),
    (LAB, {"image": IMAGE + 1.1}, VALUE, "image"),
    (LAB, {"image": IMAGE - 0.1}, VALUE, "image"),
    (LAB, {"image": IMAGE * torch.nan}, VALUE, "image"),
    (LAB, {"image": IMAGE.byte()}, TYPE, "image"),
    (LAB, {"kernels": ((4, 1, 1.0),)}, VALUE, "kernels[0][0]"),
    (LAB, {"kernels": ((1, 1, 1.0),)}, VALUE, "kernels[0][0]"),
    (LAB, {"kernels": ((3, 1, 1.0), (3, 0, 1.0))}, VALUE, "kernels[1][1]"),
    (LAB, {"kernels": ((3, 1, -1.0),)}, VALUE, "kernels[0][2]"),
    (LAB, {"kernels": (3, 1, 1.0)}, TYPE, "kernels"),
    (LAB, {"kernels": 3}, TYPE, "kernels"),
    (LAB, {"kernels": ()}, VALUE, "kernels"),
    (LAB, {"threshold": 1.5}, VALUE, "threshold"),
    (LAB, {"threshold": "0.3"}, TYPE, "threshold"),
    (LAB, {"theta": 0}, VALUE, "theta"),
    (SEMANTIC, {"lab_weight": -1}, VALUE, "lab_weight"),
    (SEMANTIC, {"tree_weight": float("nan")}, VALUE, "tree_weight"),
    (SEMANTIC, {"lab_options": 0.3}, TYPE, "lab_options"),
    (EDGES, {"boundary": LOGITS}, VALUE, "boundary"),
    (EDGES, {"instance": LABELS.double()}, TYPE, "instance"),
    (EDGES, {"semantic": LABELS + CLASSES}, VALUE, "semantic"),
    (EDGES, {"is_thing": THINGS.long()}, TYPE, "is_thing"),
    (EDGES, {"is_thing": THINGS[:0]}, VALUE, "is_thing"),
    (EDGES, {"is_thing": THINGS.expand(2, -1)}, VALUE, "is_thing"),
    (EDGES, {"scale": -0.5}, VALUE, "scale"),
    (EDGES, {"eps": 1.0}, VALUE, "eps"),
    (EDGES, {"border": "zeros"}, VALUE, "border"),
    (MANIFOLD, {"instance": LABELS + 2}, VALUE, "instance"),
    (MANIFOLD, {"points_yx": POINTS[:, :, :1]}, VALUE, "points_yx"),
    (MANIFOLD, {"points_yx": POINTS + 5}, VALUE, "points_yx"),
    (MANIFOLD, {"points_yx": POINTS - 1}, VALUE, "points_yx"),
    (MANIFOLD, {"points_yx": POINTS * torch.nan}, VALUE, "points_yx"),
    (MANIFOLD, {"points_yx": POINTS > 0}, TYPE, "points_yx"),
    (MANIFOLD, {"valid": LABELS > 0}, VALUE, "points_yx"),
    (MANIFOLD, {"points_yx": None}, TYPE, "points_yx"),
    (MANIFOLD, {"target": None}, TYPE, "target"),
    (MANIFOLD, {"target": TARGET[:, :2]}, VALUE, "target"),
    (MANIFOLD, {"target": TARGET + 2}, VALUE, "target"),
    (MANIFOLD, {"target": TARGET.float()}, TYPE, "target"),
    (MANIFOLD, {"num_targets": 0}, VALUE, "num_targets"),
    (MANIFOLD, {"temperature": 0.0}, VALUE, "temperature"),
    (MANIFOLD, {"empty": "none"}, VALUE, "empty"),
    (MANIFOLD, {"columns": torch.ones(2, 3) > 0}, VALUE, "columns"),
    (MANIFOLD, {"columns": torch.ones(2, 2)}, TYPE, "columns"),
]


@pytest.mark.parametrize(("good", "change", "error", "argument"), REFUSED)
def test_refused_with_the_name_of_the_argument(good, change, error, argument):
    loss, arguments = good
    loss(**arguments)
    with pytest.raises(error) as caught:
        loss(**(arguments | change))
    assert caught.value.argument == argument
    assert type(caught.value) is error


def test_semantic_loss_is_the_sum_of_its_terms(rng):
    given = tensors(logits_labels_and_image(rng, 2, 9, 8))
    logits, labels, image = given.values()
    partial = p2m.partial_cross_entropy(logits, labels, dilation=3)
    lab = p2m.lab_affinity_loss(logits, image, theta=1.0)
    tree = p2m.tree_affinity_loss(logits, image)
    options = {"partial_options": {"dilation": 3}, "lab_options": {"theta": 1.0}}
    torch.testing.assert_close(p2m.semantic_loss(**given, **options), partial + 3 * lab + 3 * tree)
    mixed = p2m.semantic_loss(**given, **options, lab_weight=0, tree_weight=0.5)
    torch.testing.assert_close(mixed, partial + 0.5 * tree)
