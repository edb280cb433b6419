"""Algorithm 1 end to end: what the masks must be on pictures whose answer is known, and every switch of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pseudo_mask_cases import PRESETS, iou, scene
from scipy import ndimage

from point2mask_ot import ArgumentError, MapTerm, PointTargets, PseudoMaskConfig, PseudoMasker, label_picture
from point2mask_ot.masks import assignment, partition


@pytest.mark.parametrize("preset", PRESETS)
def test_finds_the_objects(preset):
    truth, semantic, boundary, targets = scene()
    stride = 1 if preset == "best" else 4
    result = PseudoMasker(preset, stride=stride, point_radius=2, step_cost=1e-3)(semantic, boundary, targets)
    found = [iou(result.masks[k], truth == (k if k < 3 else -1)) for k in range(4)]
    assert min(found) > (0.99 if preset == "best" else 0.8), found
    assert result.semantic[15, 12] == 1
    assert not result.void.any()


def test_everything_fits_together():
    _, semantic, boundary, targets = scene()
    result = PseudoMasker("best")(semantic, boundary, targets)
    masks = result.masks
    assert masks.dtype == bool
    assert masks.sum(0).max() == 1, "masks are disjoint"
    np.testing.assert_array_equal(masks, result.instance == np.arange(4)[:, None, None])
    np.testing.assert_array_equal(result.void, (result.instance < 0) & result.void)
    assert ((result.confidence >= 0) & (result.confidence <= 1)).all()
    for k, box in enumerate(result.boxes):
        ys, xs = np.nonzero(masks[k])
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    inside = result.instance >= 0
    np.testing.assert_array_equal(result.semantic[inside], targets.category[result.instance[inside]])
    notes = result.diagnostics
    assert notes.edges.shape == (4, 48, 64)
    assert notes.distances.shape == notes.cost.shape == (3, 48, 64)
    assert notes.capacities.sum() == notes.demand.sum()
    assert notes.transport.converged
    assert notes.transport.plan.shape == (3, 48 * 64)
    assert list(notes.seconds) == ["edges", "geodesic", "capacities", "transport", "confidence", "masks"]


def test_each_target_owns_about_its_capacity():
    _, semantic, boundary, targets = scene()
    result = PseudoMasker("best", method="exact")(semantic, boundary, targets)
    assert result.masks[:3].sum((1, 2)).tolist() == result.diagnostics.capacities.tolist()


def test_stuff_supplies_where_there_is_no_semantic_map():
    truth, _, _, targets = scene()
    # Thick enough that no diagonal step slips through a corner.
    inside = np.stack([ndimage.binary_erosion(truth == k, np.ones((3, 3)), border_value=1) for k in range(-1, 3)])
    edges = 1 - inside.any(0, keepdims=True).astype(np.float32)
    result = PseudoMasker("best", stuff="supply", capacity="nearest", beta=1.0, step_cost=1e-3)(None, edges, targets)
    assert [iou(result.masks[k], truth == (k if k < 3 else -1)) > 0.8 for k in range(4)] == [True] * 4
    assert not result.void.any()
    np.testing.assert_array_equal(result.diagnostics.suppliers, np.arange(4))


@pytest.mark.parametrize("method", ["newton", "sinkhorn", "exact", "minimum"])
@pytest.mark.parametrize("capacity", ["centroid", "nearest", "equal"])
def test_every_method_and_rule_gives_finite_masks(method, capacity):
    _, semantic, boundary, targets = scene()
    masker = PseudoMasker("best", method=method, capacity=capacity, max_iter=5000, tol=1e-3)
    result = masker(semantic, boundary, targets)
    assert (result.masks.sum((1, 2)) > 0).all()
    assert np.isfinite(result.confidence).all()


def test_minimum_cost_is_the_nearest_partition():
    _, semantic, boundary, targets = scene()
    result = PseudoMasker("best", method="minimum")(semantic, boundary, targets)
    demand = result.diagnostics.demand
    np.testing.assert_array_equal(result.instance[demand], result.diagnostics.nearest[demand])


@pytest.mark.parametrize("stride", [1, 8])
def test_a_rule_of_ones_own_can_be_the_centroid_rule(stride):
    """Each point to the centroid of its own cell, then one count for all points of a target, on a coarse grid too."""

    def by_cell(partition, targets, demand):
        points, owner = targets.points_yx, targets.target
        cells = np.where(demand, partition(points, np.arange(len(points))), -1)
        centres = np.floor(ndimage.center_of_mass(cells >= 0, cells, range(len(points))) + np.array(0.5)).astype(int)
        moves = (cells[tuple(centres.T)] == np.arange(len(points))) & (cells[tuple(points.T)] == np.arange(len(points)))
        labels = partition(np.where(moves[:, None], centres, points), owner)
        return np.bincount(labels[demand], minlength=targets.num_targets).astype(float)

    _, semantic, boundary, targets = scene()
    several = PointTargets(
        [(10, 8), (25, 24), (12, 28), (24, 44), (35, 12), (40, 48), (2, 2)],
        [0, 0, 1, 1, 2, 2, 3],
        targets.category,
        targets.is_thing,
    )
    settings = {"stride": stride, "point_radius": 1, "step_cost": 1e-3}
    built_in = PseudoMasker("paper", **settings)(semantic, boundary, several)
    own = PseudoMasker("paper", **settings, capacity=by_cell)(semantic, boundary, several)
    assert built_in.diagnostics.capacities.tolist() == own.diagnostics.capacities.tolist()


def test_released_code_first_phase_counts_all_pixels():
    truth, semantic, boundary, targets = scene()
    masker = PseudoMasker("official", stride=4, capacity="nearest", assign="cost", demand="all")
    result = masker(semantic, boundary, targets)
    nearest = result.diagnostics.nearest
    assert result.diagnostics.capacities.tolist() == np.bincount(nearest.ravel(), minlength=3).tolist()
    assert result.diagnostics.capacities.sum() == nearest.size
    assert iou(result.masks[3], truth == -1) > 0.8, "stuff is still decided by class"


def test_confidence_is_the_share_of_the_plan():
    _, semantic, boundary, targets = scene()
    result = PseudoMasker("best", reg=0.5)(semantic, boundary, targets)
    plan = result.diagnostics.transport.plan.reshape(3, 48, 64)
    clicked = np.zeros((48, 64), bool)
    clicked[tuple(targets.points_yx[targets.is_thing[targets.target]].T)] = True
    owned = result.diagnostics.demand & ~clicked
    share = plan.max(0)[owned] / plan.sum(0)[owned]
    np.testing.assert_allclose(result.confidence[owned], share, atol=1e-5)
    assert (result.confidence[clicked] == 1).all()
    assert share.min() < 0.9, "some pixels are contested"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stuff_first", [True, False])
def test_neighbouring_points_of_two_classes_keep_their_own_surroundings(preset, stuff_first):
    thing, stuff = (1, 0) if stuff_first else (0, 1)
    truth = np.zeros((48, 48), bool)
    truth[10:30, 20:40] = True
    semantic = np.zeros((2, 48, 48), np.float32)
    semantic[thing], semantic[stuff] = truth, ~truth
    targets = PointTargets([(28, 22), (33, 22)], category=[thing, stuff], is_thing=[True, False])
    masker = PseudoMasker(preset, stride=1, point_overlap="nearest")
    result = masker(semantic, None, targets)
    assert result.masks[0, 28, 22]
    assert result.masks[1, 33, 22]
    assert iou(result.masks[0], truth) > 0.8


def test_fractional_capacities_are_met_exactly():
    def rule(partition, targets, demand):
        share = demand.sum() / 3
        return np.full(3, share) + np.array([0.25, -0.5, 0.25])

    _, semantic, boundary, targets = scene()
    result = PseudoMasker("best", method="exact", capacity=rule)(semantic, boundary, targets)
    assert result.diagnostics.transport.converged
    assert np.abs(result.masks[:3].sum((1, 2)) - result.diagnostics.capacities).max() <= 2


@pytest.mark.parametrize("preset", PRESETS)
def test_batch_equals_loop_and_padding_changes_nothing(preset):
    _, semantic, boundary, targets = scene()
    features = np.random.default_rng(0).normal(size=(3, 48, 64)).astype(np.float32)
    features /= np.linalg.norm(features, axis=0)
    lab = MapTerm(np.random.default_rng(1).random((3, 48, 64)).astype(np.float32), 0.1)
    sizes = [(48, 64), (41, 53), (48, 64)]
    fewer = targets.select([0, 1, 3])
    nobody = PointTargets(np.zeros((0, 2)))
    inside = PointTargets([(15, 12), (20, 40), (2, 2)], category=[1, 1, 3], is_thing=[True, True, False])
    everyone = [fewer, inside, nobody]
    stack = [torch.from_numpy(np.stack([m] * 3)) for m in (semantic, boundary, features, lab.map)]
    stack[0][1, :, 41:], stack[0][1, :, :, 53:] = 0.3, 0.7  # padding that must not matter
    term = dataclasses.replace(lab, map=stack[3])
    masker = PseudoMasker(preset, stride=1 if preset == "best" else 8)
    together = masker(stack[0], stack[1], everyone, stack[2], terms=[term], sizes=sizes)
    for b, (height, width) in enumerate(sizes):
        cut = (b, slice(None), slice(0, height), slice(0, width))
        small = dataclasses.replace(lab, map=stack[3][cut])
        alone = masker(stack[0][cut], stack[1][cut], everyone[b], stack[2][cut], terms=[small])
        for name in ("instance", "masks", "semantic", "void", "confidence"):
            padded = getattr(together[b], name)
            assert torch.equal(padded[..., :height, :width], getattr(alone, name)), name
        for name in ("edges", "distances", "cost", "nearest", "demand", "capacities"):
            assert torch.equal(getattr(together[b].diagnostics, name), getattr(alone.diagnostics, name)), name
        assert together[b].void[height:].all()
        assert together[b].void[:, width:].all()
        assert torch.equal(together[b].boxes.nan_to_num(-1), alone.boxes.nan_to_num(-1))
        assert torch.equal(together[b].target_confidence, alone.target_confidence)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "exact", "centroid_rounds": 3},
        {"method": "minimum", "capacity": "equal"},
        {
            "stride": 4,
            "capacity": lambda cut, targets, demand: cut(targets.points_yx + 1, targets.target).flatten().bincount(),
        },
    ],
    ids=["exact", "minimum", "own rule"],
)
def test_a_batch_equals_its_images_under_other_settings(settings):
    _, semantic, boundary, targets = scene()
    shifted = dataclasses.replace(targets, points_yx=targets.points_yx + np.array([1, -1]))
    several = [(15, 12), (20, 40), (38, 30), (2, 2), (10, 22), (36, 45)]
    more = PointTargets(several, [0, 1, 2, 3, 0, 2], targets.category, targets.is_thing)
    everyone = [targets, shifted, more]
    masker = PseudoMasker("best", **settings)
    for b, together in enumerate(masker(np.stack([semantic] * 3), np.stack([boundary] * 3), everyone)):
        alone = masker(semantic, boundary, everyone[b])
        for name in ("instance", "boxes", "semantic", "void", "confidence", "target_confidence"):
            np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


@pytest.mark.parametrize(
    ("cost", "searches"),
    [
        ("path", ("geodesic_distances", "nearest_partition", "nearest_partition")),
        ("walk", ("random_walk_costs", "random_walk_partition", "random_walk_partition")),
    ],
)
def test_a_batch_takes_one_search_a_round(monkeypatch, cost, searches):
    calls = []

    def counting(room, name):
        function = getattr(room, name)

        def call(*arguments, **options):
            calls.append((name, len(arguments[0])))
            return function(*arguments, **options)

        monkeypatch.setattr(room, name, call)

    for name in {*searches}:
        counting(partition, name)
    counting(assignment, "solve")
    _, semantic, boundary, targets = scene()
    PseudoMasker(centroid_rounds=2, cost=cost)(np.stack([semantic] * 3), np.stack([boundary] * 3), [targets] * 3)
    assert calls == [(name, 3) for name in (*searches, "solve")]


def test_a_rule_learns_what_is_known_already_also_by_a_copy_of_the_points(monkeypatch):
    def rule(partition, targets, demand):
        labels = partition(targets.points_yx.copy(), targets.target.tolist())
        return torch.bincount(labels[demand], minlength=targets.num_targets)

    _, semantic, boundary, targets = scene()
    expected = PseudoMasker(capacity="nearest")(semantic, boundary, targets)
    monkeypatch.setattr(partition, "random_walk_partition", None)
    found = PseudoMasker(capacity=rule)(semantic, boundary, targets)
    assert found.diagnostics.capacities.tolist() == expected.diagnostics.capacities.tolist()


def test_things_alone_walk_and_stuff_sends_paths():
    """Both in one batch, each as alone."""
    _, _, boundary, targets = scene()
    things = targets.select(np.flatnonzero(targets.is_thing))
    masker = PseudoMasker(stuff="supply", step_cost=1e-3)
    together = masker(None, np.stack([boundary] * 3), [targets, things, targets])
    for own, found, cost in zip((targets, things, targets), together, ("path", "walk", "path"), strict=True):
        expected = PseudoMasker(masker.config, cost=cost)(None, boundary, own)
        np.testing.assert_array_equal(found.instance, expected.instance)
        np.testing.assert_array_equal(found.diagnostics.distances, expected.diagnostics.distances)


def test_within_class_keeps_to_the_class():
    """An island of a class goes to the target of its class that is nearest across the others."""
    category = np.full((20, 60), 2)
    category[:, :20] = category[:, 45:] = 0
    category[:, 25:30] = category[:, 40:45] = 1
    semantic = np.eye(3, dtype=np.float32)[category].transpose(2, 0, 1)
    targets = PointTargets([(5, 3), (15, 16), (10, 27)], category=[0, 0, 1])
    result = PseudoMasker(within_class=True, point_radius=0, step_cost=0.1)(semantic, None, targets)
    assert set(np.unique(result.instance[:, :20])) == {0, 1}
    assert (result.instance[category == 1] == 2).all()  # the island, too: there is nobody else
    assert (result.instance[:, 45:] == 1).all()  # whose point is nearer
    assert (result.instance[category == 2] == -1).all()
    assert (result.confidence[:, 40:45] == 1).all()
    assert (result.confidence[:, 45:] == 0.5).all()
    assert not result.void[category < 2].any()


def test_an_error_names_the_image_of_the_batch():
    _, semantic, _, targets = scene()
    broken = np.stack([semantic, semantic * np.nan])
    with pytest.raises(ArgumentError, match=r"NaN.*image 1 of the batch"):
        PseudoMasker()(broken, None, [targets] * 2)


def test_families_dtypes_and_purity():
    _, semantic, boundary, targets = scene()
    kept = semantic.copy(), boundary.copy()
    from_numpy = PseudoMasker()(semantic, boundary, targets)
    from_torch = PseudoMasker()(torch.from_numpy(semantic), torch.from_numpy(boundary), targets)
    for name in ("instance", "masks", "boxes", "semantic", "void", "confidence", "target_confidence"):
        assert isinstance(getattr(from_numpy, name), np.ndarray)
        np.testing.assert_array_equal(getattr(from_numpy, name), getattr(from_torch, name).numpy())
    assert isinstance(from_numpy.diagnostics.transport.plan, np.ndarray)
    assert isinstance(from_torch.diagnostics.transport.plan, torch.Tensor)
    np.testing.assert_array_equal(semantic, kept[0])
    np.testing.assert_array_equal(boundary, kept[1])
    half = PseudoMasker()(torch.from_numpy(semantic).half(), None, targets)
    assert half.confidence.dtype == torch.float32
    double = PseudoMasker()(torch.from_numpy(semantic).double(), None, targets)
    assert double.diagnostics.cost.dtype == torch.float64


def test_presence_silences_classes_without_a_point():
    _, semantic, boundary, targets = scene()
    semantic = semantic.copy()
    semantic[0, 10:20, 50:60], semantic[3, 10:20, 50:60] = 0.9, 0.05  # a class that nobody annotated
    kept = PseudoMasker("best", presence=False)(semantic, boundary, targets)
    silenced = PseudoMasker("best", presence=True)(semantic, boundary, targets)
    assert (kept.semantic[10:20, 50:60] == 0).all()
    assert (kept.instance[10:20, 50:60] == -1).all()
    assert (silenced.semantic[10:20, 50:60] == 3).all()
    assert silenced.masks[3, 10:20, 50:60].all()
    assert silenced.confidence[10:20, 50:60] == pytest.approx(0.05 / 0.09), "among the classes of the targets"


@pytest.mark.parametrize("preset", ["best", "paper", "official"])
def test_fault_c13_what_is_void_is_decided_among_the_classes_present(preset):
    semantic = np.empty((3, 4, 40), np.float32)
    semantic[:] = np.array([0.6, 0.3, 0.1])[:, None, None]
    semantic[:, :, :8] = np.array([1.0, 0.0, 0.0])[:, None, None]  # surely of the absent class: nothing is left
    targets = PointTargets([(2, 20), (2, 38)], category=[1, 2], is_thing=[False, True])
    settings = {"stride": 1, "point_radius": 1, "capacity": "nearest"}
    found = PseudoMasker(preset, **settings)(semantic, None, targets)
    assert found.masks[0, 0, 9:19].all()
    assert found.confidence[0, 10] == pytest.approx(0.75)
    assert found.void[0, :8].all()
    below, above = (PseudoMasker(preset, **settings, min_probability=p)(semantic, None, targets) for p in (0.74, 0.76))
    assert not below.void[0, 9:19].any()
    assert above.void[0, 9:19].all()
    # Edges are the paper's: of the silenced probabilities, here (0, .3, .1) beside (0, 0, 0), as they stand.
    power = PseudoMaskConfig.preset(preset).edge_power
    assert found.diagnostics.edges[0, 0, 7] == pytest.approx(0.4**power)


def test_box_rules():
    _, semantic, boundary, targets = scene()
    semantic = semantic.copy()
    semantic[:, 46:48, 20:24] = 0.02
    semantic[2, 46:48, 20:24] = 0.92  # a detached fragment of target 2
    settings = {"point_radius": 1, "step_cost": 1e-3, "capacity": "nearest"}
    whole = PseudoMasker("best", **settings)(semantic, boundary, targets)
    part = PseudoMasker("best", **settings, box_from="component")(semantic, boundary, targets)
    assert whole.boxes[2].tolist() == [10, 32, 50, 48]
    assert part.boxes[2].tolist() == [10, 32, 50, 44]


@pytest.mark.parametrize(
    ("rule", "box"), [("skip", [np.nan] * 4), ("point", [12, 15, 13, 16]), ("centre", [16, 12, 48, 36])]
)
def test_empty_mask_rules(rule, box):
    _, semantic, boundary, _ = scene()
    # Both at one pixel: every path costs the same for both, and the first target takes it all.
    targets = PointTargets([(15, 12), (15, 12)], category=[1, 1])
    result = PseudoMasker("best", capacity="nearest", empty_box=rule, on_conflict="first")(semantic, boundary, targets)
    assert not result.masks[1].any()
    np.testing.assert_array_equal(result.boxes[1], np.float32(box))
    assert result.diagnostics.capacities[1] == 0


def test_a_thin_edge_survives_a_coarse_grid():
    edge_map = np.zeros((1, 64, 64), np.float32)
    edge_map[0, :, 26] = 1
    grey = np.full((64, 64, 3), 127, np.uint8)
    targets = PointTargets([(32, 4), (32, 60)])
    for stride in (1, 4, 8, 16):
        result = label_picture(grey, targets, stride=stride, edge_map=edge_map)
        edges = result.diagnostics.edges
        assert edges[np.isfinite(edges)].max() == pytest.approx((0.1 + 0.001) ** 2)
    with pytest.raises(ArgumentError, match="'edge_map'"):
        label_picture(grey, targets, edge_map=edge_map[:, 1:])
    with pytest.raises(ArgumentError, match="name no class"):
        label_picture(grey, targets, "official")


@pytest.mark.parametrize("stride", [1, 4, 16])
@pytest.mark.parametrize("stuff", ["exclude", "supply"])
def test_a_clicked_pixel_is_its_targets_own(stuff, stride):
    """Also next to a click on another target, where a cell of the grid holds both."""
    rng = np.random.default_rng(3)
    semantic = rng.dirichlet(np.full(3, 0.3), (33, 50)).transpose(2, 0, 1).astype(np.float32)
    points = np.array([(10, 20), (10, 21), (11, 20), (11, 21), (30, 49), (31, 49), (0, 0)])
    targets = PointTargets(points, [0, 1, 2, 0, 3, 4, 2], category=[0, 1, 1, 0, 2], is_thing=[1, 1, 1, 1, 0])
    for settings in ({}, {"method": "minimum"}, {"method": "exact"}, {"cost": "path"}, {"cost": "walk"}):
        masker = PseudoMasker(stride=stride, stuff=stuff, **settings)
        for result in (masker(semantic, None, targets), masker(semantic[None], None, [targets])[0]):
            assert (result.instance[tuple(points.T)] == targets.target).all()
            assert result.masks[targets.target, points[:, 0], points[:, 1]].all()
            assert np.isfinite(result.confidence).all()


@pytest.mark.parametrize("categories", [[1, 3], [3, 1]])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("cost", ["path", "walk"])
def test_of_stuff_and_a_thing_on_one_pixel_the_first_owns_it(cost, order, categories):
    semantic = np.full((4, 8, 8), 0.25, np.float32)
    for is_thing in ([False, True], [True, False]):
        targets = PointTargets([(4, 4), (4, 4)], order, category=categories, is_thing=is_thing)
        result = PseudoMasker(cost=cost, point_radius=1, on_conflict="first", step_cost=1e-3)(semantic, None, targets)
        assert result.instance[4, 4] == 0
        assert result.semantic[4, 4] == categories[0]


def test_of_two_targets_on_one_pixel_the_first_owns_it():
    edges = np.zeros((1, 8, 8), np.float32)
    targets = PointTargets([(4, 4), (4, 4), (0, 0)], [1, 0, 2])
    result = PseudoMasker("best", stuff="supply", on_conflict="first", step_cost=1e-3)(None, edges, targets)
    assert result.instance[4, 4] == 0
