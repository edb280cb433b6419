"""Sizes that are told beside sizes that are counted: what capacities become of both."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from point2mask_ot import PointTargets, PseudoMasker, capacities, edge_costs, label_picture
from point2mask_ot.sizes import LEAST_REST, with_hints

NAN = math.nan


def targets_of(size, is_thing=None, error=None) -> PointTargets:
    is_thing = [True] * len(size) if is_thing is None else is_thing
    return PointTargets([(i, 0) for i in range(len(size))], is_thing=is_thing, size=size, size_error=error)


def put_together(counted, size, is_thing=None, *, first=None, error=None):
    """Capacities and doubt, in NumPy."""
    before = None if first is None else torch.tensor(first, dtype=torch.float64)
    count = torch.tensor(counted, dtype=torch.float64)
    found, doubt = with_hints(count, before, targets_of(size, is_thing, error))
    return found.numpy(), float(doubt)


def test_without_hints_the_counts_are_untouched():
    counted = torch.tensor([3.0, 5, 8], dtype=torch.float64)
    found, doubt = with_hints(counted, None, targets_of([NAN] * 3))
    assert found is counted
    assert float(doubt) == 0


def test_without_hints_masks_are_the_same_bits(rng):
    picture = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    points, is_thing = [(5, 5), (20, 30), (28, 2)], [True, True, False]
    plain = label_picture(picture, PointTargets(points, is_thing=is_thing))
    unknown = label_picture(picture, PointTargets(points, is_thing=is_thing, size=[NAN] * 3, size_error=7))
    for name in ("instance", "confidence", "void", "boxes"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(unknown, name))
    notes, same = plain.diagnostics, unknown.diagnostics
    np.testing.assert_array_equal(notes.capacities, same.capacities)
    np.testing.assert_array_equal(notes.counted, notes.capacities)
    np.testing.assert_array_equal(notes.cost, same.cost)


def test_a_trusted_hint_where_the_count_is_wrong_is_obeyed():
    """The count changed by a factor of five, so that it says nothing; the background takes the rest."""
    found, doubt = put_together([500, 60, 440], [100, NAN, NAN], [True, True, False], first=[100, 60, 840], error=1.0)
    np.testing.assert_allclose(found[0], 100, rtol=0.01)
    assert found[1] == 60, "who has no hint keeps the count"
    assert found.sum() == pytest.approx(1000)
    assert 0 < doubt < 1


def test_a_hint_gives_way_where_counts_are_sure():
    """Off by a factor of two, where the hints of the others bear their counts out and no centroid moved."""
    counted, is_thing = [100, 110, 90, 105, 595], [True] * 4 + [False]
    for off in (2, 1 / 2):
        size = [100, 110, 90, 105 * off, NAN]
        found, doubt = put_together(counted, size, is_thing, first=counted)
        np.testing.assert_allclose(found[:3], counted[:3], rtol=0.05)
        assert abs(math.log(found[3] / counted[3])) < math.log(2) / 4
        agreed, sure = put_together(counted, [100, 110, 90, 105, NAN], is_thing, first=counted)
        np.testing.assert_allclose(agreed, counted, rtol=0.02)
        assert sure < doubt < 0.5


def test_counts_that_no_hint_agrees_with_lose_their_credit():
    """The same target, the same hint and count; what differs is whether the others bear the counts out."""
    count, is_thing = [100, 100, 100, 100, 600], [True] * 4 + [False]
    alone, little = put_together(count, [200, 100, 100, 100, NAN], is_thing, first=count)
    among, much = put_together(count, [200, 184, 208, 192, NAN], is_thing, first=count)
    assert alone[0] < 120 < 160 < among[0]
    assert little < 0.2 < 0.5 < much


def test_a_hint_that_is_trusted_less_counts_for_less():
    found = [
        put_together([100, 900], [400, NAN], [True, False], first=[150, 850], error=error)[0][0]
        for error in (1.05, 1.35, 2, 8)
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 250 < found[0]


def test_where_all_are_told_only_proportions_matter():
    counted, first = [500, 300, 200], [450, 350, 200]
    found = [put_together(counted, scale * np.array([1.0, 3, 2]), first=first)[0] for scale in (1, 170, 1e-6, 1e9)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-9)
    assert found[0].sum() == pytest.approx(1000)
    assert found[0][0] < 500


def test_the_background_takes_the_rest_in_proportion_and_never_nothing():
    is_thing = [True, False, False]
    found, _ = put_together([700, 200, 100], [300, NAN, NAN], is_thing, first=[100, 600, 300], error=1.0)
    assert found[1] / found[2] == pytest.approx(2)
    assert found[1:].sum() == pytest.approx(1000 - found[0])
    greedy, _ = put_together([700, 200, 100], [1e7, NAN, NAN], is_thing, first=[100, 600, 300], error=1.0)
    assert greedy[1:].sum() == pytest.approx(LEAST_REST * 300)
    assert greedy.sum() == pytest.approx(1000)


def test_stuff_whose_size_was_told_is_as_a_thing():
    found, _ = put_together([500, 500], [NAN, 200], [True, False], first=[800, 200], error=1.0)
    assert found.sum() == pytest.approx(1000), "nobody takes the rest, so that all are scaled"
    assert found[1] < 500


numbers = st.floats(1e-300, 1e300)
one = st.tuples(st.floats(0, 1e9), st.floats(0, 1e9), numbers | st.just(NAN), st.floats(1, 1e300), st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(one, min_size=1, max_size=6))
def test_capacities_are_finite_and_keep_the_sum(rows):
    counted, first, size, error, is_thing = map(list, zip(*rows, strict=True))
    found, doubt = put_together(counted, size, is_thing, first=first, error=error)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(sum(counted), rel=1e-6)
    assert 0 <= doubt <= 1


# Through the public functions

SIZED = PointTargets([(5, 5), (20, 30), (28, 2)], is_thing=[True, True, False], size=[80, 300, NAN], size_error=1.5)
PLAIN = PointTargets([(3, 3), (25, 10)], is_thing=[True, False])


def edges_of(rng, dtype=torch.float32):
    return edge_costs(boundary=torch.from_numpy(rng.random((1, 30, 40))).to(dtype), step_cost=0.1)


@pytest.mark.parametrize("method", ["centroid", "nearest", "equal"])
def test_a_batch_is_its_images(method, rng):
    edges = torch.stack([edges_of(rng) for _ in range(3)])
    together = capacities(edges, [SIZED, PLAIN, SIZED], method=method)
    for one, image, targets in zip(together, edges, [SIZED, PLAIN, SIZED], strict=True):
        assert torch.equal(one, capacities(image, targets, method=method))
        assert float(one.sum()) == pytest.approx(30 * 40)


def test_a_rule_of_ones_own_is_put_together_with_hints(rng):
    found = capacities(edges_of(rng), SIZED, method=lambda partition, targets, demand: np.array([400.0, 400, 400]))
    assert found[0] < 400
    assert float(found.sum()) == pytest.approx(1200)


def test_families_and_devices(device, dtype, rng):
    edges = edges_of(rng, dtype)
    expected = capacities(edges.numpy(), SIZED)
    assert isinstance(expected, np.ndarray)
    found = capacities(edges.to(device), SIZED)
    assert found.device.type == device.type
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-9)


def test_sizes_are_in_units_of_the_demand(rng):
    """Pixels that ask for half are half a pixel; sizes are told in what is asked for."""
    edges, half = edges_of(rng), torch.full((30, 40), 0.5, dtype=torch.float64)
    halved = PointTargets(*list(vars(SIZED).values())[:4], SIZED.size / 2, SIZED.size_error)
    np.testing.assert_allclose(2 * capacities(edges, halved, demand=half), capacities(edges, SIZED), rtol=1e-9)


def test_masks_of_a_batch_and_of_a_picture_of_half_the_size(rng):
    semantic = torch.from_numpy(rng.dirichlet([1, 1], (30, 40)).transpose(2, 0, 1)).float()
    masker = PseudoMasker(stuff="supply")
    pair = masker(torch.stack([semantic, semantic.flip(1)]), None, [SIZED, PLAIN])
    assert torch.equal(pair[0].instance, masker(semantic, None, SIZED).instance)
    assert torch.equal(pair[1].instance, masker(semantic.flip(1), None, PLAIN).instance)
    picture = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    smaller = SIZED.resize((60, 80), (30, 40))
    np.testing.assert_array_equal(smaller.size, [20, 75, NAN])
    told = label_picture(picture[::2, ::2], smaller).diagnostics
    own = PointTargets(*list(vars(smaller).values())[:4], [20, 75, NAN], 1.5)
    np.testing.assert_array_equal(told.capacities, label_picture(picture[::2, ::2], own).diagnostics.capacities)
