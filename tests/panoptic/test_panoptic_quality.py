"""Panoptic quality against panopticapi."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from panopticapi.evaluation import pq_compute_single_core

from point2mask_ot.checks import ArgumentError
from point2mask_ot.panoptic import (
    Category,
    ClassQuality,
    MeanQuality,
    PanopticImage,
    Segment,
    panoptic_quality,
    read_coco_panoptic,
    write_coco_panoptic,
)

CATEGORIES = (
    Category(5, "sky", False),
    Category(1, "cat", True),
    Category(9, "dog", True),
    Category(0, "grass", False),
)
BY_ID = {category.id: category for category in CATEGORIES}


def by_panopticapi(folder, predictions, truths, categories=CATEGORIES):
    """panopticapi's statistics, over files."""
    annotations = {}
    for name, images in (("truth", truths), ("guess", predictions)):
        write_coco_panoptic(images, folder / f"{name}.json", folder / name, categories)
        document = json.loads((folder / f"{name}.json").read_text())
        annotations[name] = document["annotations"]
    pairs = list(zip(annotations["truth"], annotations["guess"], strict=True))
    known = {category["id"]: category for category in document["categories"]}
    with contextlib.redirect_stdout(io.StringIO()):
        return known, pq_compute_single_core(0, pairs, str(folder / "truth"), str(folder / "guess"), known)


def assert_equal(quality, known, statistics):
    per_class = {i: (q.tp, q.fp, q.fn) for i, q in quality.per_class.items()}
    assert per_class == {i: (statistics[i].tp, statistics[i].fp, statistics[i].fn) for i in known}
    for i, ours in quality.per_class.items():
        assert ours.iou_sum == pytest.approx(statistics[i].iou, abs=1e-12)
    for ours, isthing in ((quality.all, None), (quality.things, True), (quality.stuff, False)):
        try:
            theirs, theirs_by_class = statistics.pq_average(known, isthing)
        except ZeroDivisionError:  # no category of the kind occurs
            assert ours == MeanQuality(0.0, 0.0, 0.0, 0)
            continue
        assert ours.count == theirs["n"]
        assert (ours.pq, ours.sq, ours.rq) == pytest.approx((theirs["pq"], theirs["sq"], theirs["rq"]), abs=1e-12)
        for i, values in theirs_by_class.items():
            one = quality.per_class[i]
            assert (one.pq, one.sq, one.rq) == pytest.approx((values["pq"], values["sq"], values["rq"]), abs=1e-12)


def random_image(rng, base, image_id, change):
    """A copy of ``base`` in which some blocks have another segment, with random categories and crowds."""
    id_map = base.copy()
    for _ in range(change):
        y, x = rng.integers(0, base.shape[0]), rng.integers(0, base.shape[1])
        height, width = rng.integers(1, 6, 2)
        id_map[y : y + height, x : x + width] = rng.choice([0, 1, 2, 300, 70_000, 2**24 - 1])
    segments = []
    for number in np.unique(id_map[id_map > 0]).tolist():
        category = CATEGORIES[(number % 7) % 4 if rng.random() < 0.8 else rng.integers(4)]
        segments.append(Segment(number, category.id, category.is_thing, bool(rng.random() < 0.3)))
    rng.shuffle(segments)
    return PanopticImage(id_map, tuple(segments), image_id, f"{image_id}.png")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), height=st.integers(1, 12), width=st.integers(1, 12), change=st.integers(0, 8))
def test_equals_panopticapi(seed, height, width, change, tmp_path):
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for image_id in range(3):
        base = rng.choice([0, 1, 2, 300], (height, width // 3 + 1)).repeat(3, axis=1)[:, :width]
        truths.append(random_image(rng, base, image_id, change))
        predictions.append(random_image(rng, base, image_id, change))
    quality = panoptic_quality(iter(predictions), iter(truths), CATEGORIES)
    assert_equal(quality, *by_panopticapi(tmp_path, predictions, truths))


def one_row(*cells, categories, crowds=()):
    """A picture of one row; segment i has the category ``categories[i]``."""
    segments = tuple(Segment(i, c, BY_ID[c].is_thing, i in crowds) for i, c in categories.items())
    return PanopticImage([cells], segments)


def test_void_and_crowd_by_hand():
    truth = one_row(0, 0, 0, 1, 1, 2, 2, 2, 3, 3, categories={1: 1, 2: 1, 3: 5}, crowds={2})
    # 1 covers a cat (2 of 3 pixels, one in void), 2 lies in void, 3 in the crowd, 4 misses, 5 is stuff by half.
    guess = one_row(4, 4, 1, 1, 1, 3, 3, 0, 5, 6, categories={1: 1, 3: 1, 4: 1, 5: 5, 6: 9})
    quality = panoptic_quality([guess], [truth], CATEGORIES)
    assert quality.per_class == {
        0: ClassQuality(0, 0, 0, 0.0),
        1: ClassQuality(1, 0, 0, 1.0),
        5: ClassQuality(0, 1, 1, 0.0),
        9: ClassQuality(0, 1, 0, 0.0),
    }
    assert quality.things == MeanQuality(0.5, 0.5, 0.5, 2)
    assert quality.stuff == MeanQuality(0.0, 0.0, 0.0, 1)
    assert (quality.pq, quality.sq, quality.rq, quality.all.count) == (1 / 3, 1 / 3, 1 / 3, 3)


def test_nothing_to_score():
    empty = PanopticImage([[0, 0]])
    for images in ([], [empty]):
        assert panoptic_quality(images, images, CATEGORIES).all == MeanQuality(0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("predictions", "truths", "reason"),
    [
        ([PanopticImage([[0]])], [], "got 0 images"),
        ([], [PanopticImage([[0]])], "got 0 images"),
        ([PanopticImage([[0]], (), 1)], [PanopticImage([[0]], (), 2)], "image 1 of size"),
        ([PanopticImage([[0]])], [PanopticImage([[0, 0]])], "(1, 2)"),
        ([PanopticImage([[1]], (Segment(1, 4, True),))], [PanopticImage([[0]])], "category 4"),
        ([PanopticImage([[0]])], [PanopticImage([[1]], (Segment(1, 5, True),))], "thing of category 5"),
        ([np.zeros((1, 1), int)], [PanopticImage([[0]])], "expected PanopticImage"),
    ],
)
def test_refuses(predictions, truths, reason):
    with pytest.raises(ArgumentError, match=r"^panoptic_quality: argument '(predictions|truths)': got") as refusal:
        panoptic_quality(predictions, truths, CATEGORIES)
    assert reason in str(refusal.value)


def test_memory_does_not_grow_with_the_number_of_images(rng):
    base = rng.choice([0, 1, 2, 300], (64, 64))

    def peak(count):
        tracemalloc.start()
        images = (random_image(np.random.default_rng(i), base, i, 5) for i in range(count))
        twins = (random_image(np.random.default_rng(i), base, i, 5) for i in range(count))
        panoptic_quality(images, twins, CATEGORIES)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(5)
    assert peak(200) < 1.2 * peak(20)


@pytest.mark.shared
def test_real_nuclei_shifted_by_two_pixels(shared_data, tmp_path):
    root = shared_data / "coco_panoptic_layout" / "annotations"
    dataset = read_coco_panoptic(root / "panoptic_val.json", root / "panoptic_val")
    truths = [dataset[i] for i in range(0, len(dataset), 4)]
    predictions = []
    for image in truths:
        moved = np.roll(image.id_map, (2, 1), (0, 1))
        predictions.append(PanopticImage(moved, image.segments, image.image_id, image.file_name))
    quality = panoptic_quality(predictions, truths, dataset.categories)
    assert 0.3 < quality.things.pq < 0.95
    assert_equal(quality, *by_panopticapi(tmp_path, predictions, truths, dataset.categories))
