"""The LAB affinity loss against a loop over pairs written from Eq. 12-13."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.data import astronaut

from point2mask_ot import lab_affinity_loss
from point2mask_ot.losses import srgb_to_lab

PAPER = ((3, 1, 1.0),)
CODE = ((3, 2, 0.35), (5, 2, 0.65))


def naive(logits, image, kernels=CODE, threshold=0.3, theta=2.0, valid=None):
    """Every ordered pair of one image, as the equations have it."""
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    lab = rgb2lab(image.transpose(1, 2, 0))
    height, width = lab.shape[:2]
    valid = np.ones((height, width), bool) if valid is None else valid
    total = 0.0
    for kernel, dilation, weight in kernels:
        reach = range(-(kernel // 2) * dilation, kernel // 2 * dilation + 1, dilation)
        costs = []
        for y, x in np.ndindex(height, width):
            for dy in reach:
                for dx in reach:
                    v, u = y + dy, x + dx
                    if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                        continue
                    affinity = np.exp(-np.linalg.norm(lab[y, x] - lab[v, u]) / theta)
                    if affinity >= threshold and valid[y, x] and valid[v, u]:
                        costs.append(-np.log(p[:, y, x] @ p[:, v, u]))
        total += weight * (np.mean(costs) if costs else 0.0)
    return total


def picture(rng, height, width):
    """Two soft regions, so that some neighbours are alike and some are not."""
    base = np.where(np.arange(width) < width // 2, 0.3, 0.7)[None, None]
    return np.clip(base + 0.01 * rng.normal(size=(3, height, width)), 0, 1)


@pytest.mark.parametrize("size", [(9, 11), (1, 12), (12, 1), (1, 1), (3, 2)])
@pytest.mark.parametrize("kernels", [PAPER, CODE, ((5, 1, 0.5), (3, 2, 0.25), (7, 1, 1.0))])
def test_equals_the_loop(rng, device, size, kernels):
    logits, image = 2 * rng.normal(size=(4, *size)), picture(rng, *size)
    loss = lab_affinity_loss(torch.tensor(logits, device=device), torch.tensor(image, device=device), kernels=kernels)
    assert loss.item() == pytest.approx(naive(logits, image, kernels), abs=1e-6)


@pytest.mark.parametrize(("threshold", "theta"), [(0.0, 2.0), (0.1, 0.5), (0.6, 5.0), (1.0, 2.0)])
def test_options_equal_the_loop(rng, threshold, theta):
    logits, image = rng.normal(size=(3, 7, 8)), picture(rng, 7, 8)
    image[:, 2:4, 2:6] = 0.5
    loss = lab_affinity_loss(logits, image, threshold=threshold, theta=theta)
    assert loss == pytest.approx(naive(logits, image, threshold=threshold, theta=theta), abs=1e-6)
    assert loss > 0


def test_valid_equals_the_loop(rng):
    logits, image, valid = rng.normal(size=(3, 8, 9)), picture(rng, 8, 9), rng.random((8, 9)) < 0.7
    assert lab_affinity_loss(logits, image, valid=valid) == pytest.approx(naive(logits, image, valid=valid), abs=1e-6)


def test_gradient_is_exact(rng):
    logits = torch.tensor(rng.normal(size=(2, 3, 6, 5)), requires_grad=True)
    image = torch.tensor(np.stack([picture(rng, 6, 5), picture(rng, 6, 5)]))
    valid = torch.tensor(rng.random((2, 6, 5)) < 0.8)
    assert torch.autograd.gradcheck(lambda z: lab_affinity_loss(z, image, valid=valid), logits)
    assert torch.autograd.gradcheck(lambda z: 7 * lab_affinity_loss(z, image, kernels=PAPER).square(), logits)


def test_many_channels_in_a_large_map_need_no_other_path(rng):
    """The blocks of channels that the loss works on meet without a seam."""
    logits = torch.tensor(rng.normal(size=(1, 7, 300, 310)), requires_grad=True)
    image = torch.tensor(picture(rng, 300, 310))[None]
    loss = lab_affinity_loss(logits, image, kernels=PAPER, threshold=0.0)
    (grad,) = torch.autograd.grad(loss, logits)
    p = logits.softmax(1)
    pairs = [
        (p[..., :, 1:] * p[..., :, :-1]).sum(1),
        (p[..., 1:, :] * p[..., :-1, :]).sum(1),
        (p[..., 1:, 1:] * p[..., :-1, :-1]).sum(1),
        (p[..., 1:, :-1] * p[..., :-1, 1:]).sum(1),
    ]
    expected = -torch.cat([pair.flatten() for pair in pairs]).log().mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])


def test_flip_and_class_order_change_nothing(rng):
    logits, image = torch.tensor(rng.normal(size=(5, 9, 8))), torch.tensor(picture(rng, 9, 8))
    loss = lab_affinity_loss(logits, image)
    for axes in ([-1], [-2], [-2, -1]):
        torch.testing.assert_close(lab_affinity_loss(logits.flip(axes), image.flip(axes)), loss)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(lab_affinity_loss(logits[order], image), loss)


@pytest.mark.parametrize("shape", [(1, 6, 6), (4, 6, 6), (4, 1, 9), (4, 1, 1)])
def test_constant_picture(shape):
    """All neighbours alike: equal logits cost log C, one class nothing, and nothing is infinite."""
    logits = torch.zeros(shape, requires_grad=True)
    loss = lab_affinity_loss(logits, torch.full((3, *shape[1:]), 0.5))
    loss.backward()
    expected = np.log(shape[0]) * (0.0 if shape[1:] == (1, 1) else 1.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=1e-6)


def test_sure_neighbours_of_different_classes_still_attract():
    """Probabilities that underflow cost a finite number and pull, whichever the floor is."""
    logits = torch.zeros(3, 1, 8)
    logits[0, :, :4] = logits[1, :, 4:] = 500.0
    logits.requires_grad_()
    loss = lab_affinity_loss(logits, torch.zeros(3, 1, 8), kernels=PAPER)
    loss.backward()
    assert 1 < loss.item() < 100
    assert logits.grad[1, 0, 3] < -0.01
    assert logits.grad[0, 0, 3] > 0.01
    assert logits.grad.isfinite().all()


def test_masked_classes_may_be_minus_infinity(rng):
    logits = torch.tensor(rng.normal(size=(4, 5, 6)))
    image = torch.tensor(picture(rng, 5, 6))
    padded = torch.cat([logits, torch.full((2, 5, 6), -torch.inf, dtype=logits.dtype)])
    torch.testing.assert_close(lab_affinity_loss(padded, image), lab_affinity_loss(logits, image))


def test_picture_gets_no_gradient(rng):
    image = torch.tensor(picture(rng, 5, 6), requires_grad=True)
    logits = torch.tensor(rng.normal(size=(4, 5, 6)), requires_grad=True)
    lab_affinity_loss(logits, image).backward()
    assert image.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cielab_equals_scikit_image(rng, dtype):
    photograph = astronaut()[::4, ::4] / 255.0
    noise = rng.random((40, 50, 3)) ** 3
    for rgb in (photograph, noise):
        lab = srgb_to_lab(torch.tensor(rgb.transpose(2, 0, 1), dtype=dtype))
        np.testing.assert_allclose(lab.permute(1, 2, 0), rgb2lab(rgb), rtol=0, atol=1e-4)


def test_picture_of_another_size_is_resized(rng):
    logits, image = torch.tensor(rng.normal(size=(2, 3, 6, 7))), torch.tensor(rng.random((2, 3, 12, 10)))
    resized = torch.nn.functional.interpolate(image, (6, 7), mode="bilinear", align_corners=False)
    assert lab_affinity_loss(logits, image, theta=20.0) == lab_affinity_loss(logits, resized, theta=20.0) > 0
