"""The picture's border as background."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pseudo_mask_cases import scene

from point2mask_ot import ArgumentError, PointTargets, PseudoMasker, label_picture
from point2mask_ot.masks.border import CLEARANCE, SPACING, with_border


def bordered(targets, height, width):
    return with_border(targets, targets.points_yx, height, width)


def test_points_all_along_the_border_of_the_first_stuff():
    targets = PointTargets([(50, 60), (3, 60), (40, 40)], is_thing=[True, False, False], category=[0, 1, 2])
    more, pixels = bordered(targets, 100, 120)
    np.testing.assert_array_equal(more.points_yx, pixels)
    np.testing.assert_array_equal(pixels[:3], targets.points_yx)
    added = pixels[3:]
    assert (more.target[3:] == 1).all()
    assert more.num_targets == 3
    step = round(SPACING * 120)
    on_rows, on_columns = np.isin(added[:, 0], (0, 99)), np.isin(added[:, 1], (0, 119))
    assert (on_rows | on_columns).all()
    assert (added[on_rows & ~on_columns, 1] % step == 0).all()
    assert (added[on_columns & ~on_rows, 0] % step == 0).all()
    assert len(np.unique(added, axis=0)) == len(added)
    assert on_rows.sum() >= 2 * (120 // step)
    assert on_columns.sum() >= 2 * (100 // step)


def test_none_lies_close_to_a_thing_or_on_a_point():
    targets = PointTargets([(0, 60), (0, 0), (0, 20)], target=[0, 1, 1], is_thing=[True, False])
    added = bordered(targets, 100, 120)[1][3:]
    assert np.hypot(*(added - (0, 60)).T).min() > CLEARANCE * 120
    assert not (added == (0, 0)).all(1).any(), "stuff's own pixel is there already"
    assert np.hypot(*(added - (0, 20)).T).min() < CLEARANCE * 120, "what is close to stuff stays"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 4)])
def test_the_smallest_pictures(size):
    targets = PointTargets([(size[0] - 1, size[1] - 1), (0, 0)], is_thing=[True, False])
    if size == (1, 1):
        targets = targets.select([1])
    more, pixels = bordered(targets, *size)
    assert len(np.unique(pixels, axis=0)) == len(pixels)
    assert (pixels >= 0).all()
    assert (pixels < size).all()
    assert more.num_targets == targets.num_targets


def test_where_things_lie_all_along_the_border_nothing_changes(rng):
    rim = [(y, x) for y in range(4) for x in range(4) if {y, x} & {0, 3}]
    targets = PointTargets([*rim, (1, 1)], is_thing=[True] * 12 + [False])
    assert bordered(targets, 4, 4)[1].tolist() == targets.points_yx.tolist()
    picture = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    free, border = (label_picture(picture, targets, border=name) for name in ("free", "background"))
    np.testing.assert_array_equal(free.instance, border.instance)


def test_it_gives_the_border_to_the_background(rng):
    """A thing whose colour the border shares, and a background of which one corner was clicked."""
    pixels = np.full((60, 80, 3), 90)
    pixels[:, 40:] = 130
    pixels = (pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)
    targets = PointTargets([(30, 60), (2, 2)], is_thing=[True, False])
    free, border = (label_picture(pixels, targets, border=name) for name in ("free", "background"))
    rim = np.ones((60, 80), bool)
    rim[1:-1, 1:-1] = False
    assert (free.instance[rim] == 1).mean() < 0.6
    assert (border.instance[rim] == 1).mean() > 0.9
    assert border.instance[30, 60] == 0
    assert border.masks.shape == free.masks.shape
    assert border.diagnostics.suppliers.tolist() == [0, 1]


def test_a_batch_is_its_images_and_torch_is_numpy():
    _, semantic, boundary, targets = scene()
    masker = PseudoMasker(border="background", stuff="supply")
    alone = masker(semantic, boundary, targets)
    pair = masker(*(torch.from_numpy(np.stack([image] * 2)) for image in (semantic, boundary)), [targets] * 2)
    for one in pair:
        np.testing.assert_array_equal(one.instance.numpy(), alone.instance)


def test_a_thing_alone_has_no_background():
    with pytest.raises(ArgumentError, match=r"'config\.border': got 'background' without a point on a background"):
        label_picture(np.zeros((9, 9, 3), np.uint8), PointTargets([(3, 3), (7, 7)]), border="background")
    batch = torch.rand(2, 3, 9, 9).softmax(1)
    pair = [PointTargets([(3, 3), (7, 7)], is_thing=[True, False]), PointTargets([(3, 3)])]
    with pytest.raises(ArgumentError, match=r"or border='free' \(image 1 of the batch\)"):
        PseudoMasker(border="background", stuff="supply")(batch, None, pair)


def test_the_unary_term_is_minus_the_logarithm_of_the_class():
    _, semantic, boundary, targets = scene()
    plain, with_it = (
        PseudoMasker(stuff="supply", point_radius=0, unary_weight=w)(semantic, boundary, targets) for w in (0, 2.5)
    )
    probability = semantic[targets.category].copy()
    for (y, x), k in zip(targets.points_yx, targets.target, strict=True):
        probability[targets.category == targets.category[k], y, x] = 1
    expected = plain.diagnostics.cost - 2.5 * np.log(probability.clip(1e-6))
    np.testing.assert_allclose(with_it.diagnostics.cost, expected, rtol=1e-5)


@pytest.mark.parametrize("border", ["free", "background"])
@pytest.mark.parametrize("centroid_of", ["cell", "target"])
def test_the_unary_term_of_several_points_of_a_target(centroid_of, border):
    """Recounted among single points, whose classes are those of their targets."""
    truth, semantic, boundary, targets = scene()
    points = np.concatenate([targets.points_yx, [(10, 10), (25, 22)]])
    many = PointTargets(points, [*targets.target, 0, 0], targets.category, targets.is_thing)
    how = {"stuff": "supply", "point_radius": 0, "unary_weight": 1.0, "border": border, "centroid_of": centroid_of}
    made = PseudoMasker(**how)(semantic, boundary, many)
    assert made.diagnostics.transport.converged
    assert (made.instance == np.where(truth < 0, 3, truth)).mean() > 0.97
    np.testing.assert_allclose(made.diagnostics.counted, [400, 400, 480, 1792], atol=40)


def test_a_rule_that_cuts_among_more_than_targets_has_no_classes():
    _, semantic, boundary, targets = scene()

    def cells(partition, targets, demand):
        partition(targets.points_yx, np.arange(len(targets.points_yx)))
        raise AssertionError("it was refused")

    with pytest.raises(ArgumentError, match=r"'config\.capacity': got a rule that cuts among 5 of 4 targets"):
        PseudoMasker(stuff="supply", unary_weight=1.0, capacity=cells)(semantic, boundary, targets)
