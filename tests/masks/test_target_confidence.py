"""How sure each mask is: 1 where everything agrees, less where something that might as well hold changes the mask."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from pseudo_mask_cases import PRESETS, scene

from point2mask_ot import Diagnostics, MapTerm, PointTargets, PseudoMasker, label_picture
from point2mask_ot.masks import partition
from point2mask_ot.masks.agreement import _firmness, _ious, _smoothness


def drawing(door=0):
    """Two white squares on black; a door in the second one's outline leads to a white field at the picture's border."""
    picture = np.zeros((60, 100, 3), np.float32)
    picture[20:40, 15:35] = picture[20:40, 55:75] = 1
    if door:
        picture[5:55, 85:] = picture[30 : 30 + door, 70:90] = 1
    targets = PointTargets([(30, 25), (30, 65), (5, 50), (55, 50)], [0, 1, 2, 2], [0, 0, 1], [True, True, False])
    return picture, targets


def test_is_one_where_everything_agrees():
    boundary = np.zeros((1, 21, 42), np.float32)
    boundary[0, :, 20:22] = 1
    masker = PseudoMasker(stuff="supply", step_cost=1e-4, method="exact", reg=1e-6)
    result = masker(None, boundary, PointTargets([(10, 10), (10, 31)]))
    assert result.target_confidence.tolist() == [1, 1]


def test_is_low_where_a_mask_runs_over():
    kept, leaked = (label_picture(*drawing(door)) for door in (0, 6))
    assert leaked.masks[1].sum() > 2 * kept.masks[1].sum()
    assert leaked.confidence[leaked.masks[1]].mean() > 0.99, "the plan does not see it"
    assert kept.target_confidence.min() > 0.95
    assert leaked.target_confidence[0] > 0.95
    assert leaked.target_confidence[1] < 0.5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("settings", [{}, {"stuff": "supply"}, {"method": "minimum"}], ids=str)
def test_is_a_share_for_each_target_and_zero_without_a_mask(preset, settings):
    _, semantic, boundary, targets = scene()
    if preset == "official":
        settings = {**settings, "assign": "cost", "marginal_floor": 0.0}
    lost = PointTargets([*targets.points_yx, (15, 12)], [*targets.target, 4], [1, 1, 2, 3, 1], [1, 1, 1, 0, 1])
    masker = PseudoMasker(preset, stride=1 if preset == "best" else 4, on_conflict="first", **settings)
    found = masker(semantic, boundary, lost, terms=[])
    assert found.target_confidence.dtype == np.float32
    assert found.target_confidence.shape == (5,)
    assert ((found.target_confidence >= 0) & (found.target_confidence <= 1)).all()
    assert (found.target_confidence[~found.masks.any((1, 2))] == 0).all()


def test_stuff_that_its_class_decides_is_as_sure_as_its_pixels():
    _, semantic, boundary, targets = scene()
    found = PseudoMasker()(semantic, boundary, targets)
    assert found.target_confidence[3] == pytest.approx(found.confidence[found.masks[3]].mean())


def test_a_part_of_a_class_without_a_point_is_a_guess():
    classes = np.zeros((20, 60), int)
    classes[5:15, 5:15] = classes[5:15, 25:35] = classes[5:15, 40:50] = 1
    semantic = np.eye(2, dtype=np.float32)[classes].transpose(2, 0, 1)
    things = PointTargets([(10, 10), (10, 30)], category=[1, 1])
    found = PseudoMasker(within_class=True, point_radius=0, step_cost=1e-3)(semantic, None, things)
    assert found.masks.sum((1, 2)).tolist() == [100, 200]
    assert found.target_confidence.tolist() == pytest.approx([1, 0.75])


def test_targets_and_pictures_turned_around():
    picture, targets = drawing(6)
    found = label_picture(picture, targets)
    order = np.array([2, 0, 1])
    swapped = label_picture(picture, targets.select(order))
    np.testing.assert_allclose(swapped.target_confidence, found.target_confidence[order], atol=1e-6)
    flipped = label_picture(picture[:, ::-1].copy(), targets.flip(picture.shape[:2]))
    np.testing.assert_allclose(flipped.target_confidence, found.target_confidence, atol=0.02)


def test_no_targets_have_no_confidence():
    found = label_picture(drawing()[0], PointTargets(np.zeros((0, 2))))
    assert found.target_confidence.shape == (0,)


def test_comes_through_pickles_and_padding():
    picture, targets = drawing(6)
    maps = [torch.from_numpy(picture).movedim(-1, 0)]
    maps.append(torch.nn.functional.pad(maps[0], (0, 9, 0, 5)))
    plain, padded = (
        PseudoMasker(stuff="supply", step_cost=1e-3)(
            None, torch.zeros(1, 1, *m.shape[1:]), [targets], terms=[MapTerm(m[None])], sizes=[(60, 100)]
        )[0]
        for m in maps
    )
    assert torch.equal(plain.target_confidence, padded.target_confidence)
    for copied in (pickle.loads(pickle.dumps(padded)), copy.deepcopy(padded)):
        assert torch.equal(copied.target_confidence, padded.target_confidence)


def test_the_border_is_asked_about_once_a_batch_and_only_where_there_is_news(monkeypatch):
    asked = []
    search = partition.nearest_partition
    monkeypatch.setattr(partition, "nearest_partition", lambda *a, **o: asked.append(len(a[0])) or search(*a, **o))
    _, targets = drawing()
    boundary = np.zeros((3, 1, 60, 100), np.float32)
    images = [targets, targets.select([0, 1]), targets]
    options = {"stuff": "supply", "step_cost": 1e-3, "cost": "path", "capacity": "nearest"}
    PseudoMasker(**options)(None, boundary, images)
    assert asked == [2]
    PseudoMasker(**options, border="background")(None, boundary[:1], images[:1])
    assert asked == [2]


class TestParts:
    def test_firmness_of_two_suppliers(self):
        cost = torch.tensor([[[0.0, 1.0, 2.0, 5.0]], [[9.0, 1.5, 1.0, 0.0]]])
        nearest = cost.argmin(0)
        found = Diagnostics(np.arange(2), None, None, cost, nearest, nearest >= 0, None, None, {})
        # The second pixel is 0.5 closer to the first, the third 1 closer to the second.
        assert _firmness(found, 0.6).tolist() == [1 / 2, 2 / 3]
        assert _firmness(found, 0.4).tolist() == [1, 1]

    def test_smoothness_counts_what_neighbours_do_not_outvote(self, rng):
        labels = rng.integers(-1, 3, (9, 11))
        edges = torch.zeros(4, 9, 11)
        edges[[0, 3], :, 5] = edges[1, :, 6] = torch.inf  # between columns 5 and 6
        kept = np.zeros_like(labels, bool)
        for y, x in np.ndindex(labels.shape):
            side = slice(0, 6) if x < 6 else slice(6, None)
            columns = range(11)[side]
            near = [j for j in columns if abs(j - x) <= 1]
            window = labels[max(y - 1, 0) : y + 2, near]
            kept[y, x] = 2 * (window == labels[y, x]).sum() > (window >= 0).sum()
        wanted = [(kept & (labels == k)).sum() / (labels == k).sum() for k in range(3)]
        assert _smoothness(torch.from_numpy(labels), edges, 3).tolist() == pytest.approx(wanted)

    def test_ious_are_those_of_the_definition(self, rng):
        a, b = rng.integers(-1, 3, (2, 9, 11))
        wanted = [((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in range(3)]
        assert _ious(torch.from_numpy(a), torch.from_numpy(b), 4).tolist() == pytest.approx([*wanted, 0])
