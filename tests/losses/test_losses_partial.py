"""Partial cross-entropy against a loop over the labelled pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from point2mask_ot import partial_cross_entropy
from point2mask_ot.losses import dilate_labels

IGNORE = 255


def naive_dilation(labels, window, ignore=IGNORE):
    """Each class's square planes, the lowest class winning, as the released code's argmax does."""
    grown = np.full_like(labels, ignore)
    half = window // 2
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] == ignore:
            continue
        square = grown[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
        square[...] = np.where(square == ignore, labels[y, x], np.minimum(square, labels[y, x]))
    return grown


def naive(logits, labels, dilation=1, valid=None):
    """(sum of -log p[label], number of labelled pixels) of one image."""
    valid = np.ones(labels.shape, bool) if valid is None else valid
    labels = naive_dilation(np.where(valid, labels, IGNORE), dilation)
    total, count = 0.0, 0
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] != IGNORE and valid[y, x]:
            z = logits[:, y, x]
            total += np.log(np.exp(z - z.max()).sum()) + z.max() - z[labels[y, x]]
            count += 1
    return total, count


def points(rng, batch, classes, height, width, share=0.05):
    labels = np.full((batch, height, width), IGNORE)
    chosen = rng.random(labels.shape) < share
    labels[chosen] = rng.integers(0, classes, chosen.sum())
    return labels


@pytest.mark.parametrize("dilation", [1, 3, 5, 17])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_loop(rng, device, dilation, masked):
    logits, labels = 3 * rng.normal(size=(3, 4, 9, 8)), points(rng, 3, 4, 9, 8)
    labels[1] = IGNORE
    valid = rng.random(labels.shape) < 0.8 if masked else None
    each = [
        naive(z, t, dilation, None if valid is None else valid[i])
        for i, (z, t) in enumerate(zip(logits, labels, strict=True))
    ]
    sums, counts = np.array(each).T
    expected = {"pixels": sums.sum() / counts.sum(), "images": (sums / np.maximum(counts, 1)).mean()}
    given = [torch.tensor(array, device=device) for array in (logits, labels)]
    mask = None if valid is None else torch.tensor(valid, device=device)
    for reduction, value in expected.items():
        loss = partial_cross_entropy(*given, dilation=dilation, reduction=reduction, valid=mask)
        assert loss.item() == pytest.approx(value, abs=1e-6)


def test_gradient_is_exact(rng):
    logits = torch.tensor(rng.normal(size=(2, 3, 5, 4)), requires_grad=True)
    labels = torch.tensor(points(rng, 2, 3, 5, 4, share=0.3))
    valid = torch.tensor(rng.random((2, 5, 4)) < 0.8)
    for reduction in ("pixels", "images"):
        assert torch.autograd.gradcheck(
            lambda z: partial_cross_entropy(z, labels, dilation=3, reduction=reduction, valid=valid),  # noqa: B023
            logits,
        )


def test_weights_and_sums_are_those_of_torch(rng):
    """Parts of a batch, summed, with weights for each class, are the whole; so are weighted means of all pixels."""
    logits, labels = torch.tensor(rng.normal(size=(3, 4, 6, 5))), torch.tensor(points(rng, 3, 4, 6, 5, share=0.3))
    weight = torch.tensor([0.5, 0.0, 2.0, 1e-3], dtype=torch.float64)
    for reduction, theirs in (("sum", "sum"), ("pixels", "mean")):
        expected = torch.nn.functional.cross_entropy(logits, labels, weight, ignore_index=IGNORE, reduction=theirs)
        found = partial_cross_entropy(logits, labels, weight=weight, reduction=reduction)
        torch.testing.assert_close(found, expected)
    whole = partial_cross_entropy(logits, labels, weight=weight, reduction="sum")
    parts = [partial_cross_entropy(*pair, weight=weight, reduction="sum") for pair in zip(logits, labels, strict=True)]
    torch.testing.assert_close(sum(parts), whole)
    with pytest.raises(ValueError, match=r"weight.*shape \(3,\); expected \(4,\)"):
        partial_cross_entropy(logits, labels, weight=weight[:3])


@pytest.mark.parametrize("reduction", ["pixels", "images"])
@pytest.mark.parametrize("dilation", [1, 3])
def test_no_label_is_zero_with_a_graph(reduction, dilation):
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.full((2, 4, 5), IGNORE)
    loss = partial_cross_entropy(logits, labels, dilation=dilation, reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_targets_are_left_as_they_were(rng):
    labels = torch.tensor(points(rng, 1, 3, 6, 6, share=0.3))
    before = labels.clone()
    partial_cross_entropy(torch.zeros(1, 3, 6, 6), labels, dilation=5, valid=torch.zeros(1, 6, 6, dtype=torch.bool))
    dilate_labels(labels, 5)
    torch.testing.assert_close(labels, before)


@pytest.mark.parametrize("ignore", [255, -1, -100, 2])
def test_any_ignore_index(rng, ignore):
    labels = points(rng, 1, 2, 6, 7, share=0.2)
    logits = torch.tensor(rng.normal(size=(1, 3, 6, 7)))
    expected = partial_cross_entropy(logits, torch.tensor(labels))
    renamed = torch.tensor(np.where(labels == IGNORE, ignore, labels))
    assert partial_cross_entropy(logits, renamed, ignore_index=ignore) == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("window", [1, 3, 17])
def test_dilation_equals_the_loop(rng, dtype, window):
    labels = points(rng, 2, 21, 14, 11)
    grown = dilate_labels(torch.tensor(labels, dtype=dtype), window)
    assert grown.dtype == dtype
    np.testing.assert_array_equal(grown.numpy(), [naive_dilation(image, window) for image in labels])


def test_dilation_never_spreads_from_or_into_padding():
    labels = torch.full((1, 1, 8), IGNORE)
    labels[0, 0, 3], labels[0, 0, 6] = 1, 0
    valid = torch.tensor([[[True] * 5 + [False] * 3]])
    logits = torch.zeros(1, 2, 1, 8, requires_grad=True)
    partial_cross_entropy(logits, labels, dilation=5, valid=valid).backward()
    touched = logits.grad[0, 1, 0] < 0
    assert touched.tolist() == [False, True, True, True, True, False, False, False]


def test_flip_and_class_order_change_nothing(rng):
    logits, labels = torch.tensor(rng.normal(size=(2, 4, 7, 6))), torch.tensor(points(rng, 2, 4, 7, 6))
    loss = partial_cross_entropy(logits, labels, dilation=3)
    torch.testing.assert_close(partial_cross_entropy(logits.flip(-1), labels.flip(-1), dilation=3), loss)
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.where(labels == IGNORE, IGNORE, order.argsort()[labels.clamp_max(3)])
    undilated = partial_cross_entropy(logits, labels)
    torch.testing.assert_close(partial_cross_entropy(logits[:, order], renamed), undilated)


def test_one_class_and_a_strip_cost_nothing():
    logits = torch.randn(1, 1, 1, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = partial_cross_entropy(logits, torch.zeros(1, 1, 9, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
