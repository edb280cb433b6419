"""Pictures of the stages: what must be seen in them, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import color

from point2mask_ot import (
    ArgumentError,
    Diagnostics,
    PointTargets,
    PseudoMasks,
    geodesic_distances,
    label_picture,
    viz,
)
from point2mask_ot.graph.edges import edge_costs

WHITE = (255, 255, 255)


@pytest.fixture
def photo(rng) -> np.ndarray:
    return rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def targets() -> PointTargets:
    """Two things and one kind of stuff with two points."""
    return PointTargets([(10, 20), (45, 60), (50, 5), (5, 75)], [0, 1, 2, 2], [0, 0, 1], [True, True, False])


# --- colours --------------------------------------------------------------------------------------------------


def lab(colors: np.ndarray) -> np.ndarray:
    return color.rgb2lab(colors[None].astype(np.float64) / 255)[0]


def test_colors_are_fixed_by_index_distinct_and_set_stuff_apart(targets):
    many = viz.target_colors(21)
    np.testing.assert_array_equal(many[:5], viz.target_colors(5))
    gaps = color.deltaE_ciede2000(lab(many)[:, None], lab(many)[None]) + 100 * np.eye(21)
    assert gaps.min() > 7  # a difference of 1 is just noticeable
    mixed = viz.target_colors(targets)
    np.testing.assert_array_equal(mixed[:2], many[:2])
    assert lab(mixed)[2, 0] < 35  # stuff is dark


def test_first_colors_differ_for_the_colour_blind():
    # Without red-green vision only lightness and the blue-yellow axis (b) are left.
    left = lab(viz.target_colors(7))[:, [0, 2]]
    gaps = np.hypot(*(left[:, None] - left[None]).T) + 100 * np.eye(7)
    assert gaps.min() > 8


def test_heat_map_rises_in_lightness_and_shows_the_unreachable():
    ramp = np.linspace(0, 3, 200)[None]
    picture = viz.heat_map(ramp)
    assert (np.diff(lab(picture[0])[:, 0]) > -0.5).all()
    values = np.array([[0.0, np.inf, 3.0, 9.0]], np.float32)
    low, wall, middle, high = viz.heat_map(values, maximum=3)[0]
    assert tuple(wall) == (128, 128, 128)
    np.testing.assert_array_equal(middle, high)
    assert low.sum() < 10
    assert not viz.heat_map(np.zeros((2, 2)))[..., 0].any()
    assert (viz.heat_map(np.full((2, 2), np.inf)) == 128).all()


# --- points, paths, partitions --------------------------------------------------------------------------------


def test_points_read_on_any_background(targets):
    colors = viz.target_colors(targets)
    for level in (0, 128, 255):
        image = np.full((60, 80, 3), level, np.uint8)
        marked = viz.draw_points(image, targets, radius=4)
        for (y, x), target in zip(targets.points_yx, targets.target, strict=True):
            np.testing.assert_array_equal(marked[y, x], colors[target])
            column = marked[:, x].astype(int).sum(axis=-1)
            near = column[max(0, y - 8) : y + 9]
            assert near.max() == 3 * 255  # the white ring
            assert near.min() <= 3 * 80  # and its dark rim
        assert (marked[30, 30] == level).all()
        assert (image == level).all()


def test_points_of_a_resized_picture_and_outside_it():
    small = PointTargets([(0.0, 0.0), (9.0, 19.0), (500, -300)])
    marked = viz.draw_points(np.zeros((100, 200, 3), np.uint8), small, grid=(10, 20), radius=3)
    for y, x, target in ((4, 4, 0), (5, 5, 0), (94, 194, 1), (95, 195, 1)):  # the centre of a cell of ten pixels
        np.testing.assert_array_equal(marked[y, x], viz.target_colors(3)[target])


def test_paths_cover_their_vertices(photo):
    path = np.array([(5, 5), (6, 6), (6, 7), (30, 7)])
    drawn = viz.draw_paths(photo, [path, np.zeros((0, 2), int), path[:1]], width=3)
    for y, x in ((6, 6), (15, 7), (29, 7)):
        np.testing.assert_array_equal(drawn[y, x], WHITE)
    np.testing.assert_array_equal(drawn[40:], photo[40:])
    np.testing.assert_array_equal(viz.draw_paths(photo, []), photo)
    coarse = viz.draw_paths(photo, [np.array([(0, 0), (2, 3)])], grid=(3, 4), width=3)
    np.testing.assert_array_equal(coarse[10, 10], WHITE)
    np.testing.assert_array_equal(coarse[49, 69], WHITE)


def test_partition_has_tints_borders_and_hatched_void(photo):
    labels = np.zeros((60, 80), np.int64)
    labels[:, 40:] = 1
    labels[:20] = -1
    tinted = viz.partition_map(photo, labels, opacity=1.0)
    colors = viz.target_colors(2)
    assert (tinted[22:, :39] == colors[0]).all()
    assert (tinted[22:, 41:] == colors[1]).all()
    assert (tinted[20:, 39:41] == WHITE).all()
    assert (tinted[19:21] == WHITE).all()
    void = tinted[:19]
    assert (np.ptp(void, axis=-1) == 0).all()
    assert len(np.unique(void)) == 2
    np.testing.assert_array_equal(viz.partition_map(photo, np.zeros((60, 80), int), opacity=0), photo)


def test_masks_are_drawn_as_the_partition_they_make(photo):
    masks = np.zeros((3, 60, 80), bool)
    masks[0, :30], masks[2, 40:] = True, True
    labels = np.full((60, 80), -1)
    labels[:30], labels[40:] = 0, 2
    np.testing.assert_array_equal(viz.overlay_masks(photo, masks), viz.partition_map(photo, labels))
    assert viz.overlay_masks(photo, np.zeros((0, 60, 80), bool)).shape == photo.shape


# --- sheets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "across"), [(1, 1), (3, 3), (4, 2), (5, 3), (6, 3), (7, 4)])
def test_strip_lays_panels_out_in_rows(count, across):
    panel = np.zeros((30, 60, 3), np.uint8)
    sheet = viz.stage_strip([(f"Panel {i}", panel) for i in range(count)], panel_size=120)
    assert (sheet[0] == 255).all()
    dark_columns = (sheet == 0).all(axis=-1).sum(axis=0) >= 60
    assert np.diff(np.pad(dark_columns, 1).astype(int)).clip(0).sum() == across
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet, viz.stage_strip([(f"Panel {i}", panel) for i in range(count)], panel_size=120))


def test_strip_fits_pictures_and_titles_of_any_size():
    pictures = [np.full(shape, 9, np.uint8) for shape in ((1, 1, 3), (1, 50, 3), (900, 3, 3), (700, 700, 3))]
    sheet = viz.stage_strip(
        [("A title far too long for its panel " * 3, p) for p in pictures], panel_size=64, columns=4
    )
    assert sheet.shape[1] <= 4 * 64 + 5 * 8
    inked = (sheet[:, -4:] < 200).any()
    assert not inked  # the long titles stay clear of the margin


def test_fit_keeps_the_aspect():
    assert viz.fit(np.zeros((30, 60, 3), np.uint8), 600).shape == (300, 600, 3)
    assert viz.fit(np.zeros((600, 30, 3), np.uint8), 60).shape == (60, 3, 3)
    assert viz.fit(np.zeros((1, 900, 3), np.uint8), 30).shape == (1, 30, 3)


def result(shape, targets, stride=1, wall=False, tensors=False) -> PseudoMasks:
    """Minimum-cost masks, in the form that PseudoMasker gives."""
    h, w = max(1, shape[0] // stride), max(1, shape[1] // stride)
    boundary = np.random.default_rng(0).random((1, h, w), dtype=np.float32)
    edges = edge_costs(boundary=boundary, beta=1.0)
    if wall:  # the right quarter cannot be reached
        edges[:, :, -(w // 4) - 1 :] = np.inf
        edges[1, :, -(w // 4)] = np.inf
    cells = (targets.points_yx + 0.5) * np.array([h, w]) / np.array(shape) - 0.5
    distances = geodesic_distances(edges, np.clip(np.rint(cells), 0, [h - 1, w - 1]), targets.target)
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, (h, w), strict=True))
    cost = distances[:, rows[:, None], columns]
    void = ~np.isfinite(cost).any(axis=0)
    owner = np.where(void, -1, cost.argmin(axis=0))
    masks = np.stack([owner == k for k in range(len(cost))])
    maps = (
        owner,
        np.zeros((len(cost), 4), np.float32),
        owner,
        void,
        (~void).astype(np.float32),
        np.ones(len(cost), np.float32),
    )
    inside = (edges, distances, cost, owner, ~void, masks.sum(axis=(1, 2)).astype(float))
    if tensors:
        maps, inside = (tuple(map(torch.from_numpy, group)) for group in (maps, inside))
    return PseudoMasks(*maps, Diagnostics(np.arange(len(cost)), *inside, transport=None, seconds={}))


@pytest.mark.parametrize("tensors", [False, True], ids=["numpy", "torch"])
@pytest.mark.parametrize(("stride", "wall"), [(1, False), (4, False), (1, True)])
def test_stages_show_every_step(photo, targets, stride, wall, tensors):
    if wall:
        targets = targets.select([0, 1])
    masks = result((60, 80), targets, stride, wall, tensors)
    panels = viz.stages(photo, targets, masks, size=200)
    assert [title[0] for title, _ in panels] == list("123456")
    assert {picture.shape for _, picture in panels} == {(150, 200, 3)}
    pictures = [picture for _, picture in panels]
    assert len({picture.tobytes() for picture in pictures}) == 6
    unreachable = (pictures[2][::7, -20:] == 128).all(axis=-1).mean()
    assert (unreachable > 0.8) == wall
    assert panels[5][0].endswith("0.0%")
    again = viz.stages(photo, targets, masks, size=200)
    assert all((one == two[1]).all() for one, two in zip(pictures, again, strict=True))
    assert viz.stage_strip(panels).shape[2] == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 5)])
def test_stages_of_tiny_pictures(shape):
    targets = PointTargets([(0, 0)])
    picture = np.full((*shape, 3), 100, np.uint8)
    viz.stage_strip(viz.stages(picture, targets, result(shape, targets)))


def test_stages_without_targets(photo):
    none = PointTargets(np.zeros((0, 2)))
    empty = np.zeros((0, 60, 80))
    void = np.ones((60, 80), bool)
    inside = Diagnostics(
        np.zeros(0, int), np.zeros((4, 60, 80)), empty, empty, np.full((60, 80), -1), ~void, np.zeros(0), None, {}
    )
    nothing = np.full((60, 80), -1)
    sure = np.zeros((60, 80), np.float32), np.zeros(0, np.float32)
    masks = PseudoMasks(nothing, np.zeros((0, 4)), nothing, void, *sure, inside)
    assert len(viz.stages(photo, none, masks)) == 6


def test_pictures_are_taken_as_label_picture_takes_them(photo, targets):
    masks = label_picture(photo / 255, targets)
    planes = torch.from_numpy(photo.transpose(2, 0, 1).copy())
    drawn = viz.draw_points(photo, targets)
    expected = viz.stages(photo, targets, masks, size=80)
    for given in (photo / 255, (photo / 255).astype(np.float32), planes, planes / 255):
        np.testing.assert_array_equal(viz.draw_points(given, targets), drawn)
        for (title, panel), (other, wanted) in zip(viz.stages(given, targets, masks, size=80), expected, strict=True):
            assert title == other
            np.testing.assert_array_equal(panel, wanted)
    paths = [np.array([(3, 4), (40, 70)])]
    np.testing.assert_array_equal(viz.draw_paths(planes, paths), viz.draw_paths(photo, paths))


# --- refusals -------------------------------------------------------------------------------------------------

PICTURE = np.zeros((6, 8, 3), np.uint8)
LABELS = np.zeros((6, 8), int)
POINT = PointTargets([(1, 1)])


@pytest.mark.parametrize(
    ("call", "function", "argument"),
    [
        (lambda: viz.draw_points(PICTURE + 1.5, POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE, POINT, colors=np.zeros((2, 3), np.uint8)), "draw_points", "colors"),
        (lambda: viz.draw_points(PICTURE * np.nan, POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE.astype(int), POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE.tolist(), POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE[0, :, 0], POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE[:0], POINT), "draw_points", "image"),
        (lambda: viz.draw_points(PICTURE, POINT, radius=0), "draw_points", "radius"),
        (lambda: viz.draw_paths(torch.zeros(6, 8, 3), []), "draw_paths", "image"),
        (lambda: viz.draw_paths(PICTURE, [np.zeros(4)]), "draw_paths", "paths"),
        (lambda: viz.draw_paths(PICTURE, [], width=-1), "draw_paths", "width"),
        (lambda: viz.partition_map(PICTURE, LABELS.T), "partition_map", "labels"),
        (lambda: viz.partition_map(PICTURE, LABELS * 1.0), "partition_map", "labels"),
        (lambda: viz.partition_map(PICTURE, LABELS + 2, colors=PICTURE[0, :2]), "partition_map", "labels"),
        (lambda: viz.partition_map(PICTURE, LABELS, opacity=1.5), "partition_map", "opacity"),
        (lambda: viz.overlay_masks(PICTURE, np.ones((2, 6, 8), bool)), "overlay_masks", "masks"),
        (lambda: viz.overlay_masks(PICTURE, np.ones((1, 6, 8), int)), "overlay_masks", "masks"),
        (lambda: viz.heat_map(np.array([[1, 2]])), "heat_map", "values"),
        (lambda: viz.heat_map(np.array([0.5])), "heat_map", "values"),
        (lambda: viz.heat_map(np.array([[np.nan]])), "heat_map", "values"),
        (lambda: viz.heat_map(np.array([[-1.0]])), "heat_map", "values"),
        (lambda: viz.heat_map(np.array([[1.0]]), maximum=0), "heat_map", "maximum"),
        (lambda: viz.stage_strip([]), "stage_strip", "panels"),
        (lambda: viz.stage_strip([("a", PICTURE)], columns=0), "stage_strip", "columns"),
        (lambda: viz.stage_strip([("a", PICTURE)], panel_size=3), "stage_strip", "panel_size"),
        (lambda: viz.stages(PICTURE, POINT, result((8, 6), POINT)), "stages", "masks"),
        (lambda: viz.fit(PICTURE, 0), "fit", "size"),
    ],
)
def test_refusals(call, function, argument):
    with pytest.raises(ArgumentError, match=f"{function}: argument '{argument}'") as caught:
        call()
    assert (caught.value.function, caught.value.argument) == (function, argument)
