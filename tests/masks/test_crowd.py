"""Images of many suppliers: the masks of the path that keeps a map for each, without those maps."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from point2mask_ot import (
    BackgroundWarning,
    ConvergenceWarning,
    MapTerm,
    NearestCosts,
    PointTargets,
    PseudoMasker,
    label_picture,
    read_coco_panoptic,
    read_picture,
    sample_points,
)
from point2mask_ot.masks import crowd
from point2mask_ot.masks.assignment import LEFT_OUT

SIZE = (70, 90)
COSTS = ["path", "walk"]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackgroundWarning)
        yield


def both(monkeypatch, call):
    """What a call gives with a map for each supplier, and as a crowd."""
    found = []
    for fewest in (1 << 30, 0):
        monkeypatch.setattr(crowd, "FEWEST", fewest)
        found.append(call())
    return found


def targets_on(rng, size, count, *, ground, several=False):
    """Things at random pixels, some with several points, and a ground with points of its own."""
    places = rng.choice(size[0] * size[1], count + 12, replace=False)
    target = np.concatenate([np.arange(count), rng.integers(0, count, 6) if several else [], np.full(6, count)])
    target = target[: None if ground else -6].astype(int)
    points = np.stack(np.divmod(places[: len(target)], size[1]), 1)
    return PointTargets(points, target, is_thing=np.arange(count + ground) < count)


def picture_of(rng, size):
    return rng.integers(0, 255, (*size, 3), dtype=np.uint8)


def smooth_picture(rng, size):
    noise = gaussian_filter(rng.standard_normal((*size, 3)), (4, 4, 0))
    return (128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def check_same(dense, sparse, *, reg=0.1, tau=None):
    if not isinstance(sparse.diagnostics.costs, NearestCosts):
        assert sparse.diagnostics.walks, "only walks to targets that are not spread evenly are taken back"
        np.testing.assert_array_equal(sparse.instance, dense.instance)
        return
    assert not isinstance(dense.diagnostics.costs, NearestCosts)
    differ = np.argwhere(np.asarray(sparse.instance) != np.asarray(dense.instance))
    assert all(is_halved(dense, sparse, tuple(pixel), reg) for pixel in differ), f"{len(differ)} labels"
    np.testing.assert_allclose(sparse.confidence, dense.confidence, atol=2e-3)
    if not len(differ):
        for name in ("semantic", "void", "boxes", "masks"):
            np.testing.assert_array_equal(getattr(sparse, name), getattr(dense, name), err_msg=name)
        area = np.maximum(np.bincount(np.ravel(dense.instance) + 1, minlength=len(dense.boxes) + 1)[1:], 1)
        apart = np.abs(np.asarray(sparse.target_confidence) - np.asarray(dense.target_confidence))
        assert (apart < 2e-3 + 1.5 / area).all(), "a pixel may contend or not, as prices are rounded"
    notes, expected = sparse.diagnostics, dense.diagnostics
    for name in ("nearest", "demand", "capacities", "counted"):
        np.testing.assert_array_equal(getattr(notes, name), getattr(expected, name), err_msg=name)
    if expected.transport is None:
        assert notes.transport is None
        return
    assert notes.transport.converged == expected.transport.converged
    assert notes.transport.bound <= LEFT_OUT
    check_plan(notes.transport, expected, reg, tau)


def is_halved(dense, sparse, pixel, reg):
    """Whether the plan shares a pixel between both labels alike, so that rounding decides."""
    if dense.diagnostics.transport is None:
        return False
    notes, place = dense.diagnostics, np.ravel_multi_index(pixel, dense.instance.shape)
    k = np.searchsorted(notes.suppliers, [dense.instance[pixel], sparse.instance[pixel]])
    shares = np.exp((notes.transport.f[k] + notes.transport.g[place] - notes.cost[k, *pixel].astype(float)) / reg)
    return abs(shares[0] - shares[1]) < 1e-3


def check_plan(found, expected, reg, tau):
    """What is reported holds against the plan over all pairs, in float64."""
    M = np.asarray(expected.cost, np.float64).reshape(len(expected.suppliers), -1)
    f, g = np.asarray(found.f), np.asarray(found.g)
    kept = np.isfinite(f)
    plan = np.exp((f[kept, None] + g - M[kept]) / reg)
    demand = np.asarray(expected.demand).ravel()
    mass = demand.sum()
    rounding = 2e-7 * M[np.isfinite(M)].max() / reg if expected.walks else 1e-7  # those of walks are not the same bits
    beyond = np.abs(plan.sum(0) - demand).sum() / mass
    assert beyond <= found.bound + rounding, "what was left out is as little as the bound says"
    assert beyond <= LEFT_OUT / 30 + rounding, "and in truth far less"
    if tau is None:
        missed = np.abs(plan.sum(1) - np.asarray(expected.capacities)[kept]).sum() / mass
        assert missed <= found.marginal_error + 2 * beyond + rounding


@pytest.mark.parametrize("method", ["newton", "minimum"])
@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("make", [picture_of, smooth_picture])
@pytest.mark.parametrize("cost", COSTS)
def test_the_same_masks(monkeypatch, rng, cost, make, ground, method):
    picture, targets = make(rng, SIZE), targets_on(rng, SIZE, 40, ground=ground, several=True)
    check_same(*both(monkeypatch, lambda: label_picture(picture, targets, cost=cost, method=method)))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), reg=st.sampled_from([1e-3, 0.01, 0.1, 1.0]), tau=st.sampled_from([None, 0.5, 10.0]))
def test_the_same_masks_whatever_reg_and_tau(seed, reg, tau):
    rng = np.random.default_rng(seed)
    picture, targets = smooth_picture(rng, (40, 50)), targets_on(rng, (40, 50), 36, ground=True)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dense, sparse = both(patch, lambda: label_picture(picture, targets, reg=reg, tau=tau))
    if dense.diagnostics.transport.converged:
        check_same(dense, sparse, reg=reg, tau=tau)


def test_prices_that_fall_where_entries_know_no_rival(monkeypatch):
    """Two neighbours that must give up a little, to suppliers that are among nobody's entries around them."""
    rng = np.random.default_rng(3642)
    picture, targets = smooth_picture(rng, (40, 50)), targets_on(rng, (40, 50), 36, ground=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dense, sparse = both(monkeypatch, lambda: label_picture(picture, targets, reg=0.1))
    assert dense.diagnostics.transport.converged
    assert sparse.diagnostics.transport.converged
    assert sparse.diagnostics.transport.iterations < 100
    check_same(dense, sparse, reg=0.1)


@pytest.mark.parametrize("cost", COSTS)
def test_classes_walls_and_islands(monkeypatch, rng, cost):
    """Known classes are walls: parts without a point, things told apart within their class alone."""
    count, classes = 40, 4
    targets = targets_on(rng, SIZE, count, ground=False)
    category = rng.integers(0, classes, count)
    targets = PointTargets(targets.points_yx, category=category)
    smooth = gaussian_filter(rng.standard_normal((classes, *SIZE)), (0, 5, 5))
    semantic = np.eye(classes, dtype=np.float32)[smooth.argmax(0)].transpose(2, 0, 1)
    masker = PseudoMasker("best", within_class=True, cost=cost, stuff="supply", step_cost=1e-3)
    check_same(*both(monkeypatch, lambda: masker(semantic, None, targets)))


@pytest.mark.parametrize("cost", COSTS)
def test_stuff_told_by_its_class(monkeypatch, rng, cost):
    targets = targets_on(rng, SIZE, 36, ground=True)
    score = gaussian_filter(rng.standard_normal((3, *SIZE)), (0, 3, 3)) * 20
    semantic = (np.exp(score) / np.exp(score).sum(0)).astype(np.float32)
    masker = PseudoMasker("best", cost=cost)
    check_same(*both(monkeypatch, lambda: masker(semantic, None, targets)))


def test_a_picture_of_one_colour(monkeypatch, rng):
    """Everything ties but for the steps."""
    targets = targets_on(rng, (32, 40), 36, ground=True)
    flat = np.full((32, 40, 3), 90, np.uint8)
    dense, sparse = both(monkeypatch, lambda: label_picture(flat, targets))
    check_same(dense, sparse)


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (7, 9)])
def test_tiny_pictures(monkeypatch, rng, shape):
    targets = targets_on(rng, shape, 20, ground=True)
    picture = picture_of(rng, shape)
    check_same(*both(monkeypatch, lambda: label_picture(picture, targets)))


def test_boxes_of_components(monkeypatch, rng):
    picture, targets = picture_of(rng, SIZE), targets_on(rng, SIZE, 40, ground=True)
    settings = {"box_from": "component", "empty_box": "point", "capacity": "equal"}
    check_same(*both(monkeypatch, lambda: label_picture(picture, targets, **settings)))


def test_a_batch_of_a_crowd_and_of_few(rng):
    """Each as alone, in the family of the maps."""
    boundary = torch.from_numpy(rng.random((2, 1, *SIZE), np.float32))
    everyone = [targets_on(rng, SIZE, 40, ground=True), targets_on(rng, SIZE, 3, ground=True)]
    masker = PseudoMasker("best", stuff="supply", step_cost=1e-3)
    for b, together in enumerate(masker(None, boundary, everyone)):
        alone = masker(None, boundary[b], everyone[b])
        assert isinstance(together.diagnostics.costs, NearestCosts) == (b == 0)
        assert isinstance(together.diagnostics.cost, torch.Tensor)
        assert together.diagnostics.cost.shape == (everyone[b].num_targets, *SIZE)
        torch.testing.assert_close(together.instance, alone.instance)


def test_what_is_made_when_asked_for(monkeypatch, rng):
    picture, targets = picture_of(rng, SIZE), targets_on(rng, SIZE, 40, ground=True)
    dense, sparse = both(monkeypatch, lambda: label_picture(picture, targets))
    np.testing.assert_array_equal(sparse.diagnostics.distances, dense.diagnostics.distances)
    kept, whole = sparse.diagnostics.cost, dense.diagnostics.cost
    near = np.isfinite(kept)
    np.testing.assert_array_equal(kept[near], whole[near])
    owners = np.take_along_axis(near, sparse.instance[None], 0)
    assert owners.all(), "the pairs that matter are there"
    plan, expected = sparse.diagnostics.transport.plan, dense.diagnostics.transport.plan
    assert np.abs(plan.toarray() - expected).sum() <= 3e-7 * expected.sum() + 1e-5
    again = pickle.loads(pickle.dumps(sparse))
    np.testing.assert_array_equal(again.masks, sparse.masks)
    np.testing.assert_array_equal(again.diagnostics.distances, sparse.diagnostics.distances)


@pytest.mark.parametrize("make", [picture_of, smooth_picture])
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("ground", [False, True])
def test_sizes(monkeypatch, rng, cost, make, ground):
    """Hints that counts do not agree with make far pixels dearer."""
    picture, plain = make(rng, SIZE), targets_on(rng, SIZE, 40, ground=ground, several=True)
    told = plain.is_thing & (rng.random(plain.num_targets) < 0.8)
    size = np.where(told, rng.uniform(20, 300, len(told)), np.nan)
    targets = PointTargets(plain.points_yx, plain.target, plain.category, plain.is_thing, size)
    check_same(*both(monkeypatch, lambda: label_picture(picture, targets, cost=cost)))


def test_sizes_among_walls(monkeypatch, rng):
    """Who competes with whom is told by parts."""
    category = np.repeat([0, 1, 2, 3], 10)
    size = np.where(rng.random(40) < 0.5, rng.uniform(20, 300, 40), np.nan)
    targets = PointTargets(targets_on(rng, SIZE, 40, ground=False).points_yx, category=category, size=size)
    smooth = gaussian_filter(rng.standard_normal((4, *SIZE)), (0, 5, 5))
    semantic = np.eye(4, dtype=np.float32)[smooth.argmax(0)].transpose(2, 0, 1)
    masker = PseudoMasker("best", within_class=True, cost="path", stuff="supply", step_cost=1e-3)
    check_same(*both(monkeypatch, lambda: masker(semantic, None, targets)))


@pytest.mark.parametrize("points", ["in a corner", "in a clump"])
def test_walks_to_targets_that_are_spread_unevenly(monkeypatch, rng, points):
    """Far from all of them none is the nearest by much, so that neighbours are not enough to know."""
    corner = [(y, x) for y in range(8) for x in range(8)]
    clump = np.unique((rng.normal(0, 6, (90, 2)) + 40).round().astype(int).clip(0, 79), axis=0)
    targets = PointTargets(corner if points == "in a corner" else clump)
    picture = np.zeros((80, 80, 3), np.uint8)
    dense, sparse = both(monkeypatch, lambda: label_picture(picture, targets))
    np.testing.assert_array_equal(sparse.instance, dense.instance)
    assert sparse.diagnostics.transport.converged


def test_walks_to_capacities_that_are_not_what_regions_are(monkeypatch, rng):
    """Prices then differ by more than neighbours say."""
    picture, targets = smooth_picture(rng, SIZE), targets_on(rng, SIZE, 60, ground=False)
    dense, sparse = both(monkeypatch, lambda: label_picture(picture, targets, capacity="equal"))
    np.testing.assert_array_equal(sparse.instance, dense.instance)


def test_settings_that_need_all_maps_keep_them(monkeypatch, rng):
    monkeypatch.setattr(crowd, "FEWEST", 0)
    boundary, targets = rng.random((1, *SIZE), np.float32), targets_on(rng, SIZE, 40, ground=True)
    for change in ({"stride": 4}, {"method": "sinkhorn"}, {"backend": "torch"}):
        found = PseudoMasker("best", stuff="supply", step_cost=1e-3, **change)(None, boundary, targets)
        assert not isinstance(found.diagnostics.costs, NearestCosts), change


def test_terms_that_build_walls(monkeypatch, rng):
    """Parts of the picture that nobody reaches are void, others belong to those inside."""
    fence = np.zeros((1, *SIZE), np.float32)
    fence[0, :, 45] = fence[0, 30] = 1

    def wall(a, b):
        return torch.where((a != b).any(0), torch.inf, 0.0)

    targets = targets_on(rng, SIZE, 40, ground=False)
    left = PointTargets(targets.points_yx[targets.points_yx[:, 1] < 45])
    masker = PseudoMasker("best", stuff="supply", step_cost=1e-3)
    terms = [MapTerm(fence, 1.0, wall), MapTerm(rng.random((1, *SIZE), np.float32))]
    check_same(*both(monkeypatch, lambda: masker(None, None, left, terms=terms)))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["20b20ab049372d18", "4217e25defac94ff"])
def test_nuclei_whose_prices_have_far_to_go(shared_data, name):
    """Small targets of clear outline, and a ground that takes nearly all: prices ran away, and all pairs were kept."""
    folder = shared_data / "coco_panoptic_layout"
    found = read_coco_panoptic(folder / "annotations" / "panoptic_val.json", folder / "annotations" / "panoptic_val")
    truth = next(image for image in found if image.file_name.startswith(name))
    targets = sample_points(truth, found.categories, seed=0, stuff=True).targets
    masks = label_picture(read_picture(folder / "val" / f"{name}.png"), targets)
    assert isinstance(masks.diagnostics.costs, NearestCosts)
    assert masks.diagnostics.transport.converged
