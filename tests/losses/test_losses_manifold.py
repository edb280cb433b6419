"""The contrastive loss of points against pseudo-mask means, against a loop over the points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import manifold_contrastive_loss

TARGETS = 5


def naive(f, instance, points, target, *, temperature=0.07, empty="zero", columns=None, valid=None):
    """One image: cross-entropy of each point among the mean embeddings of the masks."""
    valid = np.ones(instance.shape, bool) if valid is None else valid
    columns = np.ones(TARGETS, bool) if columns is None else columns
    means = {}
    for n in np.flatnonzero(columns):
        pixels = np.argwhere((instance == n) & valid)
        if len(pixels):
            means[n] = np.mean([f[:, y, x] for y, x in pixels], axis=0)
        elif empty == "zero":
            means[n] = np.zeros(len(f))
    costs = []
    for (y, x), n in zip(points, target, strict=True):
        if n < 0 or n not in means:
            continue
        scores = {m: f[:, y, x] @ mean / temperature for m, mean in means.items()}
        top = max(scores.values())
        costs.append(top + np.log(sum(np.exp(s - top) for s in scores.values())) - scores[n])
    return np.mean(costs) if costs else 0.0


def scene(rng, height, width, count=6):
    """Target 3 has points but no mask, target 4 neither; the last point only fills the batch."""
    f = rng.normal(size=(4, height, width))
    f /= np.linalg.norm(f, axis=0)
    instance = rng.integers(-1, 3, (height, width))
    points = np.stack([rng.integers(0, height, count), rng.integers(0, width, count)], 1)
    target = rng.integers(0, 4, count)
    target[0], target[-1] = 3, -1
    points[-1] = -1
    return f, instance, points, target


def tensors(arrays, device="cpu"):
    return [torch.tensor(array, device=device) for array in arrays]


@pytest.mark.parametrize("empty", ["zero", "skip"])
@pytest.mark.parametrize("size", [(7, 8), (1, 9), (1, 1)])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_loop(rng, device, size, empty, temperature):
    given = scene(rng, *size)
    options = {"empty": empty, "temperature": temperature}
    loss = manifold_contrastive_loss(*tensors(given, device), num_targets=TARGETS, **options)
    assert loss.item() == pytest.approx(naive(*given, **options), abs=1e-6)


@pytest.mark.parametrize("empty", ["zero", "skip"])
def test_columns_and_valid_equal_the_loop(rng, empty):
    f, instance, points, target = scene(rng, 8, 9)
    valid = rng.random((8, 9)) < 0.8
    valid[points[:-1, 0], points[:-1, 1]] = True
    columns = np.array([True, True, False, True, False])
    loss = manifold_contrastive_loss(
        f, instance, points, target, num_targets=TARGETS, empty=empty, columns=columns, valid=valid
    )
    expected = naive(f, instance, points, target, empty=empty, columns=columns, valid=valid)
    assert loss == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("empty", ["zero", "skip"])
def test_gradient_is_exact(rng, empty):
    f, *rest = tensors(np.stack(values) for values in zip(scene(rng, 4, 5), scene(rng, 4, 5), strict=True))
    columns = torch.tensor([[True] * 5, [True, True, True, False, False]])
    assert torch.autograd.gradcheck(
        lambda x: manifold_contrastive_loss(
            x, *rest, num_targets=TARGETS, temperature=0.5, empty=empty, columns=columns
        ),
        f.requires_grad_(),
    )


@pytest.mark.parametrize("empty", ["zero", "skip"])
def test_degenerate_scenes_are_finite(empty):
    """No mask at all, no point at all, one target only."""
    f = torch.zeros(3, 2, 2, requires_grad=True)
    nobody, point = torch.full((2, 2), -1), torch.tensor([[0, 1]])
    cases = [
        (nobody, point, torch.tensor([0]), 2),
        (nobody, point, torch.tensor([-1]), 2),
        (nobody + 1, torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), 2),
        (nobody + 1, point, torch.tensor([0]), 1),
    ]
    for instance, points, target, count in cases:
        loss = manifold_contrastive_loss(f, instance, points, target, num_targets=count, empty=empty)
        (grad,) = torch.autograd.grad(loss, f)
        assert loss.isfinite()
        assert (grad == 0).all()


def test_flip_renaming_and_float_points_change_nothing(rng):
    f, instance, points, target = tensors(scene(rng, 7, 8))
    loss = manifold_contrastive_loss(f, instance, points, target, num_targets=TARGETS)
    mirrored = torch.where(target[:, None] >= 0, torch.stack((points[:, 0], 7 - points[:, 1]), 1), -1)
    flipped = manifold_contrastive_loss(f.flip(-1), instance.flip(-1), mirrored, target, num_targets=TARGETS)
    torch.testing.assert_close(flipped, loss)
    names = torch.tensor([4, 2, 0, 1, 3, -1])
    renamed = manifold_contrastive_loss(f, names[instance], points, names[target], num_targets=TARGETS)
    torch.testing.assert_close(renamed, loss)
    near = points + 0.4 * torch.tensor(rng.uniform(-1, 1, points.shape))
    assert manifold_contrastive_loss(f, instance, near, target, num_targets=TARGETS) == loss


def test_fewer_targets_in_one_image_of_a_batch(rng):
    """An image with three targets, batched with one of five, costs what it costs alone."""
    f, instance, points, target = tensors(scene(rng, 6, 6))
    target = target.clamp_max(2)
    alone = manifold_contrastive_loss(f, instance, points, target, num_targets=3)
    columns = torch.arange(TARGETS) < 3
    widened = manifold_contrastive_loss(f, instance, points, target, num_targets=TARGETS, columns=columns)
    torch.testing.assert_close(widened, alone)
