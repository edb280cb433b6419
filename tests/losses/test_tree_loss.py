"""Tree affinity loss against the formula, summed over explicit paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_spanning_tree
from tree_cases import IMAGENET_STD, backends, path_affinities, picture_graph, smooth_picture

from point2mask_ot.losses.tree import minimum_spanning_tree, tree_affinity_loss


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def naive_loss(logits: np.ndarray, image: np.ndarray, theta: float = 0.02) -> np.ndarray:
    """(N,) sum over classes of |P - T(P)| at every pixel, from Eq. 14-15, with scipy's tree and explicit paths."""
    affinity = path_affinities(scipy_spanning_tree(picture_graph(image / IMAGENET_STD)).tocoo(), theta)
    P = softmax(logits).reshape(len(logits), -1)
    loss = np.zeros(P.shape[1])
    for i in range(P.shape[1]):
        for c in range(len(P)):
            average = sum(affinity[i, j] * P[c, j] for j in range(P.shape[1])) / affinity[i].sum()
            loss[i] += abs(P[c, i] - average)
    return loss


@backends
def test_loss_equals_the_loop_over_pixels_and_classes(rng, backend):
    image = smooth_picture(rng, 2, 3, 6, 5)
    logits = 2 * rng.standard_normal((2, 4, 6, 5))
    expected = np.mean([naive_loss(*pair).mean() for pair in zip(logits, image, strict=True)])
    loss = tree_affinity_loss(logits, image, backend=backend)
    assert loss == pytest.approx(expected, abs=1e-6)
    single = tree_affinity_loss(logits[1], image[1], backend=backend)
    assert single == pytest.approx(naive_loss(logits[1], image[1]).mean(), abs=1e-6)
    narrow = tree_affinity_loss(logits.astype(np.float32), image.astype(np.float32), backend=backend)
    assert narrow.dtype == np.float32
    assert narrow == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("region", ["all", "unlabelled"])
@pytest.mark.parametrize("norm", ["pixels", "unlabelled"])
def test_region_and_normaliser(rng, region, norm):
    image, logits = smooth_picture(rng, 3, 4, 6), rng.standard_normal((3, 4, 6))
    labels = np.full((4, 6), 255)
    labels[0, :2], labels[3, 5] = 1, 2
    unlabelled = labels.ravel() == 255
    each = naive_loss(logits, image)
    expected = each[unlabelled if region == "unlabelled" else slice(None)].sum() / (
        unlabelled.sum() if norm == "unlabelled" else labels.size
    )
    loss = tree_affinity_loss(logits, image, region=region, norm=norm, labels=labels)
    assert loss == pytest.approx(expected, abs=1e-6)


def test_theta_is_measured_in_normalised_colours(rng):
    logits, grey = rng.standard_normal((3, 5, 5)), np.repeat(smooth_picture(rng, 1, 5, 5), 3, 0)
    plain_theta = 0.02 * 3 / (1 / IMAGENET_STD**2).sum()
    assert plain_theta == pytest.approx(0.001, rel=0.05)
    plain = tree_affinity_loss(logits, grey, imagenet=False, theta=plain_theta)
    assert plain == pytest.approx(tree_affinity_loss(logits, grey), abs=1e-9)


@backends
def test_loss_gradient(rng, backend):
    image = torch.from_numpy(smooth_picture(rng, 2, 3, 3, 4))
    logits = torch.from_numpy(rng.standard_normal((2, 3, 3, 4))).requires_grad_()
    valid = torch.from_numpy(rng.random((2, 3, 4)) < 0.8)
    assert torch.autograd.gradcheck(lambda x: tree_affinity_loss(x, image, valid=valid, backend=backend), (logits,))


@backends
def test_padding_changes_neither_loss_nor_gradient(rng, backend):
    image = torch.from_numpy(smooth_picture(rng, 3, 6, 7)).requires_grad_()
    logits = torch.from_numpy(rng.standard_normal((4, 6, 7)))
    padded_image = torch.full((1, 3, 9, 12), torch.nan, dtype=torch.float64)
    padded_logits = torch.full((1, 4, 9, 12), torch.nan, dtype=torch.float64)
    padded_image[0, :, 2:8, 3:10], padded_logits[0, :, 2:8, 3:10] = image.detach(), logits
    valid = torch.zeros(1, 9, 12, dtype=torch.bool)
    valid[0, 2:8, 3:10] = True
    logits.requires_grad_()
    padded_logits.requires_grad_()
    loss = tree_affinity_loss(logits, image, backend=backend)
    padded = tree_affinity_loss(padded_logits, padded_image, valid=valid, backend=backend)
    torch.testing.assert_close(padded, loss, rtol=1e-10, atol=0)
    loss.backward()
    padded.backward()
    torch.testing.assert_close(padded_logits.grad[0, :, 2:8, 3:10], logits.grad)
    assert padded_logits.grad[0].masked_fill(valid[0], 0).abs().max() == 0
    assert image.grad is None


def test_batch_flip_and_class_order_change_nothing(rng):
    image, logits = smooth_picture(rng, 3, 3, 8, 6), rng.standard_normal((3, 10, 8, 6))
    loss = tree_affinity_loss(logits, image)
    one_by_one = [tree_affinity_loss(*pair) for pair in zip(logits, image, strict=True)]
    assert loss == pytest.approx(np.mean(one_by_one), rel=1e-12)
    assert tree_affinity_loss(logits[..., ::-1], image[..., ::-1]) == pytest.approx(loss, rel=1e-9)
    assert tree_affinity_loss(logits[:, rng.permutation(10)], image) == pytest.approx(loss, rel=1e-12)
    assert tree_affinity_loss(logits, image) == loss  # to the bit


def test_a_shared_tree_gives_the_same_loss(rng):
    image, logits = smooth_picture(rng, 2, 3, 8, 6), rng.standard_normal((2, 4, 8, 6))
    tree = minimum_spanning_tree(image / IMAGENET_STD)
    assert tree_affinity_loss(logits, tree) == tree_affinity_loss(logits, image)
    one = minimum_spanning_tree(image[0] / IMAGENET_STD)
    assert tree_affinity_loss(logits[0], one) == tree_affinity_loss(logits[0], image[0])


def test_the_picture_is_resized_to_the_logits(rng):
    image, logits = torch.from_numpy(smooth_picture(rng, 1, 3, 16, 12)), torch.from_numpy(rng.random((1, 4, 8, 6)))
    small = torch.nn.functional.interpolate(image, (8, 6), mode="bilinear")
    assert tree_affinity_loss(logits, image) == tree_affinity_loss(logits, small)


CHECKERBOARD = (torch.arange(5.0)[:, None] + torch.arange(4)) % 2
DEGENERATE = {
    "one class": (torch.zeros(1, 1, 5, 4), torch.rand(1, 3, 5, 4)),
    "constant picture": (torch.randn(1, 3, 5, 4), torch.zeros(1, 3, 5, 4)),
    "one row": (torch.randn(1, 3, 1, 6), torch.rand(1, 3, 1, 6)),
    "one column": (torch.randn(1, 3, 6, 1), torch.rand(1, 3, 6, 1)),
    "one pixel": (torch.randn(1, 3, 1, 1), torch.rand(1, 3, 1, 1)),
    "no two neighbours alike": (torch.randn(1, 3, 5, 4), CHECKERBOARD.expand(1, 3, 5, 4)),
    "certain of everything": (1e30 * torch.randn(1, 3, 5, 4), torch.rand(1, 3, 5, 4)),
}


@pytest.mark.parametrize("case", DEGENERATE)
@backends
def test_degenerate_input_has_finite_values_and_gradients(case, backend):
    logits, image = (tensor.clone() for tensor in DEGENERATE[case])
    logits.requires_grad_()
    loss = tree_affinity_loss(logits, image, backend=backend)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    if case in ("one class", "one pixel"):
        assert loss == 0


@backends
def test_an_image_without_valid_pixels_adds_zero_with_a_graph(rng, backend):
    image, logits = torch.rand(2, 3, 4, 5), torch.randn(2, 3, 4, 5, requires_grad=True)
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[1] = False
    both = tree_affinity_loss(logits, image, valid=valid, backend=backend)
    alone = tree_affinity_loss(logits[0], image[0], backend=backend)
    torch.testing.assert_close(both, alone / 2)
    nothing = tree_affinity_loss(logits[1], image[1], valid=valid[1], backend=backend)
    nothing.backward()
    assert nothing == 0
    assert (logits.grad == 0).all()
