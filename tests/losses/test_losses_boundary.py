"""The boundary affinity loss against a loop over pairs written from Eq. 6-7."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import boundary_affinity_loss

IGNORE = 255
THINGS = np.array([True, True, False, False])
NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def naive(score, instance, semantic, *, scale=1.0, border="exclude", eps=0.0, valid=None):
    """Every ordered pair of one image. Outside lies zero padding: no boundary, no mask, class 0."""
    b = 1 / (1 + np.exp(-score))
    height, width = b.shape
    valid = np.ones(b.shape, bool) if valid is None else valid

    def is_inside(v, u):
        return 0 <= v < height and 0 <= u < width and valid[v, u]

    def pixel(v, u):
        if not is_inside(v, u):
            return 0.0, None, 0
        label = None if semantic[v, u] == IGNORE else semantic[v, u]
        owned = instance[v, u] >= 0 and (label is None or THINGS[label])
        return b[v, u], instance[v, u] if owned else None, label

    sets = {"thing": [], "stuff": [], "negative": []}
    for y, x in np.ndindex(height, width):
        for dy, dx in NEIGHBOURS:
            if not is_inside(y, x) or (border == "exclude" and not is_inside(y + dy, x + dx)):
                continue
            (b_k, thing_k, label_k), (b_l, thing_l, label_l) = pixel(y, x), pixel(y + dy, x + dx)
            affinity = 1 - max(b_k, b_l)
            if thing_k is not None and thing_k == thing_l:
                sets["thing"].append(-np.log(affinity + eps))
            if label_k is not None and label_k == label_l and not THINGS[label_k]:
                sets["stuff"].append(-np.log(affinity + eps))
            if thing_k != thing_l or (None not in (label_k, label_l) and label_k != label_l):
                sets["negative"].append(-np.log(1 - affinity + eps))
    thing, stuff, negative = (np.mean(costs) if costs else 0.0 for costs in sets.values())
    return scale * (thing / 2 + stuff / 2 + negative)


def scene(rng, height, width):
    """Things, stuff, unknown and unowned pixels in patches, so that every set of pairs has members."""
    patch = rng.integers(0, 6, (height // 3 + 1, width // 3 + 1)).repeat(3, 0).repeat(3, 1)[:height, :width]
    semantic = np.array([0, 1, 1, 2, 3, IGNORE])[patch]
    instance = np.where(patch < 3, patch, -1)
    instance[patch == 3] = 7  # a stuff target's own region: an owner that must not matter
    instance[patch == 5] = rng.integers(-1, 2, (patch == 5).sum())
    return rng.normal(size=(height, width)), instance, semantic


def as_tensors(score, instance, semantic, device="cpu"):
    arrays = (score[..., None, :, :], instance, semantic, THINGS)
    return [torch.tensor(array, device=device) for array in arrays]


OPTIONS = [{}, {"scale": 0.5, "border": "zero", "eps": 1e-5}, {"border": "zero"}, {"eps": 0.1}]


@pytest.mark.parametrize("size", [(10, 13), (1, 12), (12, 1), (1, 1)])
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_the_loop(rng, device, size, options):
    given = scene(rng, *size)
    loss = boundary_affinity_loss(*as_tensors(*given, device), **options)
    assert loss.item() == pytest.approx(naive(*given, **options), abs=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_valid_equals_the_loop(rng, options):
    given, valid = scene(rng, 9, 10), rng.random((9, 10)) < 0.7
    loss = boundary_affinity_loss(*as_tensors(*given), **options, valid=torch.tensor(valid))
    assert loss.item() == pytest.approx(naive(*given, **options, valid=valid), abs=1e-6)


def test_zero_border_of_one_instance_counts_as_the_released_code_counts():
    """92 of the 512 pairs of an 8x8 instance leave the image; with b = 0.25 each costs -log 0.25."""
    score = np.full((8, 8), np.log(0.25 / 0.75))
    given = as_tensors(score, np.zeros((8, 8), int), np.zeros((8, 8), int))
    inside = -np.log(0.75) / 2
    assert boundary_affinity_loss(*given).item() == pytest.approx(inside)
    assert boundary_affinity_loss(*given, border="zero").item() == pytest.approx(inside - np.log(0.25))


@pytest.mark.parametrize("options", OPTIONS)
def test_gradient_is_exact(rng, options):
    batch = [np.stack(values) for values in zip(*(scene(rng, 6, 7) for _ in range(2)), strict=True)]
    score, instance, semantic, things = as_tensors(*batch)
    valid = torch.tensor(rng.random((2, 6, 7)) < 0.8)
    assert torch.autograd.gradcheck(
        lambda s: boundary_affinity_loss(s, instance, semantic, things, **options, valid=valid), score.requires_grad_()
    )


def test_flip_and_renaming_change_nothing(rng):
    score, instance, semantic, things = as_tensors(*scene(rng, 9, 10))
    loss = boundary_affinity_loss(score, instance, semantic, things)
    flipped = [value.flip(-1) for value in (score, instance, semantic)]
    torch.testing.assert_close(boundary_affinity_loss(*flipped, things), loss)
    order = torch.tensor([2, 0, 3, 1])
    classes = torch.where(semantic == IGNORE, IGNORE, order.argsort()[semantic.clamp_max(3)])
    targets = torch.where(instance >= 0, 9 - instance, -1)
    torch.testing.assert_close(boundary_affinity_loss(score, targets, classes, things[order]), loss)


@pytest.mark.parametrize("border", ["exclude", "zero"])
@pytest.mark.parametrize("certainty", [1e3, -1e3])
@pytest.mark.parametrize("shape", [(5, 6), (1, 9), (1, 1)])
def test_empty_sets_and_certain_boundaries_stay_finite(border, certainty, shape):
    score = torch.full((1, *shape), certainty, requires_grad=True)
    nothing = torch.full(shape, -1), torch.full(shape, IGNORE)
    loss = boundary_affinity_loss(score, *nothing, torch.tensor(THINGS), border=border)
    loss.backward()
    assert loss.item() == 0
    assert (score.grad == 0).all()
    stuff = torch.full(shape, -1), torch.full(shape, 2)
    loss = boundary_affinity_loss(score, *stuff, torch.tensor(THINGS), border=border)
    (grad,) = torch.autograd.grad(loss, score)
    assert loss.isfinite()
    assert grad.isfinite().all()
