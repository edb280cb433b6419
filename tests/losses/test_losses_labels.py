"""What the losses make of small integer label maps, of infinite scores, and of NaN."""

from __future__ import annotations

import pytest
import torch

import point2mask_ot as p2m

IGNORE = 255
CLASSES, TARGETS = 4, 3
SHAPE = (2, 7, 6)
SMALL = [torch.uint8, torch.int16, torch.int32]


@pytest.fixture
def given():
    """Maps for all losses: one label in three is known, every pixel has an owner."""
    generator = torch.Generator().manual_seed(20231002)

    def draw(*channels):
        return torch.randn(SHAPE[0], *channels, *SHAPE[1:], generator=generator)

    labels = torch.randint(CLASSES, SHAPE, generator=generator)
    return {
        "logits": draw(CLASSES),
        "labels": labels.where(draw() > 0.5, IGNORE),
        "image": draw(3).sigmoid(),
        "boundary": draw(1),
        "semantic": labels.where(draw() > -1, IGNORE),
        "instance": torch.randint(TARGETS, SHAPE, generator=generator),
        "is_thing": torch.tensor([True, True, False, False]),
        "embeddings": torch.nn.functional.normalize(draw(5), dim=1),
        "points_yx": torch.randint(6, (SHAPE[0], 4, 2), generator=generator),
        "target": torch.randint(TARGETS, (SHAPE[0], 4), generator=generator),
    }


def manifold(**arguments):
    return p2m.manifold_contrastive_loss(**arguments, num_targets=TARGETS)


def boundary_as_released(**arguments):
    return p2m.boundary_affinity_loss(**arguments, border="zero", eps=1e-5)


def dilated(**arguments):
    return p2m.partial_cross_entropy(**arguments, dilation=3)


LOSSES = {
    "partial": (p2m.partial_cross_entropy, ("logits", "labels")),
    "dilated": (dilated, ("logits", "labels")),
    "semantic": (p2m.semantic_loss, ("logits", "labels", "image")),
    "lab": (p2m.lab_affinity_loss, ("logits", "image")),
    "tree": (p2m.tree_affinity_loss, ("logits", "image")),
    "boundary": (p2m.boundary_affinity_loss, ("boundary", "instance", "semantic", "is_thing")),
    "boundary_as_released": (boundary_as_released, ("boundary", "instance", "semantic", "is_thing")),
    "manifold": (manifold, ("embeddings", "instance", "points_yx", "target")),
}


def loss_and_gradient(name, given, **changes):
    """The loss ``name`` and its gradient by its first argument, the map that learns."""
    loss, arguments = LOSSES[name]
    chosen = {argument: (given | changes)[argument] for argument in arguments}
    scores = chosen[arguments[0]].detach().clone().requires_grad_()
    value = loss(**(chosen | {arguments[0]: scores}), **{k: v for k, v in changes.items() if k == "valid"})
    return value.detach(), torch.autograd.grad(value, scores)[0]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("partial", ["labels"]),
        ("dilated", ["labels"]),
        ("semantic", ["labels"]),
        ("boundary", ["semantic"]),
        ("boundary", ["instance"]),
        ("boundary_as_released", ["instance", "semantic"]),
        ("manifold", ["instance"]),
        ("manifold", ["target"]),
    ],
)
def test_small_integers_are_labels_like_any(name, maps, dtype, padded, given):
    changes = {}
    if padded:
        changes["valid"] = torch.ones(SHAPE, dtype=torch.bool)
        changes["valid"][..., 6:, :] = False
    expected = loss_and_gradient(name, given, **changes)
    assert expected[0] > 0
    found = loss_and_gradient(name, given, **changes, **{key: given[key].to(dtype) for key in maps})
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
@pytest.mark.parametrize("name", ["boundary", "boundary_as_released", "manifold"])
def test_pixels_of_nobody_in_small_signed_integers(name, dtype, given):
    nobody = given["instance"] - 1
    expected = loss_and_gradient(name, given, instance=nobody)
    found = loss_and_gradient(name, given, instance=nobody.to(dtype))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert expected[0] != loss_and_gradient(name, given)[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1, None], ids=["boundary", "interior", "both"])
@pytest.mark.parametrize("name", ["boundary", "boundary_as_released"])
def test_infinitely_sure_boundaries(name, sign, dtype, given):
    scores = given["boundary"].sign() if sign is None else torch.full_like(given["boundary"], sign)
    loss, gradient = loss_and_gradient(name, given, boundary=(scores * torch.inf).to(dtype))
    assert loss > 1, "there are wrong pairs, and they are told so"
    assert loss.isfinite()
    assert gradient.isfinite().all()
    one = given["boundary"].to(dtype)
    one[0, 0, 3, 3] = torch.inf if sign is None else sign * torch.inf
    loss, gradient = loss_and_gradient(name, given, boundary=one)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("name", ["partial", "dilated", "semantic", "lab", "tree", "boundary", "boundary_as_released"])
def test_nan_anywhere_inside_is_seen_and_outside_is_not(name, given):
    learnt = LOSSES[name][1][0]
    valid = torch.ones(SHAPE, dtype=torch.bool)
    valid[1, :, 4:] = False
    expected = loss_and_gradient(name, given, valid=valid)
    assert expected[0].isfinite()
    for channel in range(given[learnt].shape[1]):
        for y, x in [(0, 0), (3, 2), (6, 3), (2, 5)]:
            spoilt = given[learnt].clone()
            spoilt[1, channel, y, x] = torch.nan
            assert loss_and_gradient(name, given, **{learnt: spoilt})[0].isnan(), (channel, y, x)
            found = loss_and_gradient(name, given, **{learnt: spoilt}, valid=valid)
            if valid[1, y, x]:
                assert found[0].isnan(), (channel, y, x)
            else:
                torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["partial", "dilated", "boundary", "boundary_as_released"])
def test_more_classes_than_the_labels_can_count(name, given):
    """300 classes of which one byte holds those that occur: no bound may wrap around in the labels' own type."""
    generator = torch.Generator().manual_seed(7)
    many = {
        "logits": torch.randn(SHAPE[0], 300, *SHAPE[1:], generator=generator),
        "is_thing": torch.arange(300) < 2,
    }
    expected = loss_and_gradient(name, given | many)
    small = {key: given[key].to(torch.uint8) for key in ("labels", "semantic")}
    torch.testing.assert_close(loss_and_gradient(name, given | many | small), expected, rtol=0, atol=0)
