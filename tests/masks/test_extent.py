"""How far a thing of known size goes: compactness and reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, PointTargets, PseudoMaskConfig, PseudoMasker, label_picture
from point2mask_ot.capacity import Estimate
from point2mask_ot.masks.extent import SLACK, with_extent

NAN = math.nan
H, W = 40, 50
POINTS = [(20, 12), (20, 30), (2, 2), (37, 47)]
OWNER, THING = [0, 1, 2, 2], [True, True, False]


def targets_of(size, points=POINTS, is_thing=THING) -> PointTargets:
    return PointTargets(points, OWNER, is_thing=is_thing, size=size)


def problem(size, *, doubt=1.0, dtype=torch.float64, device="cpu", **settings):
    """What :func:`with_extent` is given: equal costs, and capacities that are the sizes."""
    targets = targets_of(size)
    known = np.where(np.isfinite(targets.size), targets.size, 1)
    known[2] = H * W - known[:2].sum()
    capacities = torch.tensor(known, dtype=torch.float64, device=device)
    told = Estimate(capacities, capacities, torch.tensor(doubt, dtype=torch.float64, device=device))
    cost = torch.ones(3, H, W, dtype=dtype, device=device)
    demand = torch.ones(H, W, dtype=torch.bool, device=device)
    return PseudoMaskConfig(**settings), cost, told, demand, targets


def distance(targets, k):
    y, x = np.mgrid[:H, :W]
    points = targets.points_yx[targets.target == k]
    return np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1]).min(-1)


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ([NAN] * 3, {"reach": 1.0}),
        ([NAN, NAN, 900], {"reach": 1.0}),
        ([100, 100, 900], {"reach": 1.0}),
        ([100, 100, NAN], {"compactness": 0}),
    ],
    ids=["no sizes", "of stuff alone", "of all", "both off"],
)
def test_nothing_is_changed(size, settings):
    config, cost, told, demand, targets = problem(size, **settings)
    found = with_extent(config, cost, told, demand, targets)
    assert found[0] is cost
    assert found[1] is told.capacities


def test_compactness_is_the_squared_distance_in_radii(device, dtype):
    config, cost, told, demand, targets = problem([100, NAN, NAN], doubt=0.5, dtype=dtype, device=device)
    found, capacities = with_extent(config, cost, told, demand, targets)
    assert found.dtype == dtype
    radius = math.sqrt(100 / math.pi) + SLACK
    expected = 1 + config.compactness * 0.5**2 * (distance(targets, 0) / radius) ** 2
    np.testing.assert_allclose(found[0].cpu(), expected, rtol=1e-5 if dtype == torch.float32 else 1e-12)
    assert torch.equal(found[1:], cost[1:])
    assert capacities is told.capacities
    sure = with_extent(config, cost, told._replace(doubt=told.doubt * 0), demand, targets)[0]
    assert torch.equal(sure, cost), "where hints bear the counts out, distance costs nothing"


def test_reach_leaves_nothing_beyond():
    config, cost, told, demand, targets = problem([100, 300, NAN], reach=2.0, compactness=0)
    found, capacities = with_extent(config, cost, told, demand, targets)
    for k, size in enumerate((100, 300)):
        within = distance(targets, k) <= 2 * math.sqrt(size / math.pi) + SLACK
        np.testing.assert_array_equal(np.isfinite(found[k].numpy()), within)
        assert (found[k].numpy()[within] == 1).all()
    assert torch.isfinite(found[2]).all()
    torch.testing.assert_close(capacities, told.capacities)


def test_capacities_can_be_met_where_points_are_crowded():
    """Ten things in one corner, each said to be as large as all of what they reach."""
    points = [(i // 5, i % 5) for i in range(10)] + [(39, 49)]
    targets = PointTargets(points, is_thing=[True] * 10 + [False], size=[200.0] * 10 + [NAN])
    capacities = torch.tensor([200.0] * 10 + [0.0], dtype=torch.float64)
    capacities[10] = H * W * 2 - 2000
    told = Estimate(capacities, capacities, torch.tensor(0.0, dtype=torch.float64))
    demand = torch.full((H, W), 2.0, dtype=torch.float64)
    config = PseudoMaskConfig(reach=1.0, compactness=0)
    cost, cut = with_extent(config, torch.ones(11, H, W, dtype=torch.float64), told, demand, targets)
    assert float(cut.sum()) == pytest.approx(float(capacities.sum()))
    finite = torch.isfinite(cost[:10])
    for chosen in (range(10), range(5), [0, 9]):
        reached = finite[list(chosen)].any(0)
        assert float(cut[list(chosen)].sum()) <= 2 * int(reached.sum()) * (1 + 1e-12)
    assert (cut[:10] > 0).all()


def scene(rng):
    pixels = rng.normal(120, 25, (H, W, 1)).clip(0, 255)
    return np.repeat(pixels, 3, 2).astype(np.uint8)


@pytest.mark.parametrize("size", [[60, 200, NAN], [600, NAN, NAN], [1, 1e6, NAN]])
@pytest.mark.parametrize("settings", [{"reach": 1.0}, {"reach": 2.0, "compactness": 0}, {}])
def test_masks_within_reach_and_transport_that_converges(size, settings, rng):
    targets = targets_of(size)
    made = label_picture(scene(rng), targets, **settings)
    notes = made.diagnostics
    assert notes.transport.converged
    assert float(notes.capacities.sum()) == pytest.approx(H * W)
    for k in np.flatnonzero(np.isfinite(targets.size)) if "reach" in settings else ():
        far, reached = distance(targets, k), np.isfinite(notes.cost[k])
        np.testing.assert_array_equal(reached, far <= far[reached].max(), err_msg="a disc")
        limit = settings["reach"] * math.sqrt(notes.capacities[k] / math.pi) + SLACK
        assert far[reached].max() >= min(limit - math.sqrt(2), far.max())
        assert reached[made.masks[k]].all()


def test_a_batch_is_its_images(rng):
    pictures = [torch.from_numpy(scene(rng)).permute(2, 0, 1).float() / 255 for _ in range(2)]
    targets = [targets_of([60, 200, NAN]), targets_of([NAN, NAN, NAN])]
    masker = PseudoMasker(stuff="supply", reach=1.5, step_cost=1e-3)
    together = masker(None, torch.stack([p[:1] for p in pictures]), targets)
    for one, picture, own in zip(together, pictures, targets, strict=True):
        assert torch.equal(one.instance, masker(None, picture[:1], own).instance)


@pytest.mark.parametrize("setting", [{"reach": 0}, {"reach": -1}, {"compactness": -1}, {"compactness": NAN}])
def test_refuses(setting):
    with pytest.raises(ArgumentError, match=f"'{next(iter(setting))}'"):
        PseudoMaskConfig(**setting)
