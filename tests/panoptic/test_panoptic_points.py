"""Point labels: drawn from masks, and kept in files."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.stats import chisquare

from point2mask_ot import PointTargets
from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.panoptic import (
    Category,
    PanopticImage,
    PicturePoints,
    Segment,
    read_coco_panoptic,
    read_point_set,
    read_points,
    read_voc,
    sample_points,
    write_point_set,
    write_points,
)

COIN, TABLE, PEN = Category(3, "coin", True), Category(0, "table", False), Category(12, "pen", True)
CATEGORIES = (TABLE, COIN, PEN)


@pytest.fixture
def image():
    """Two touching coins, a pen of two pixels, a crowd, a table, and void."""
    id_map = np.zeros((20, 30), np.int64)
    id_map[2:12, 2:12], id_map[2:12, 12:20] = 5, 70_000
    id_map[15, 3:5], id_map[16:19, 20:25], id_map[0:2, 10:] = 9, 4, 6
    segments = (
        Segment(9, 12, True),
        Segment(70_000, 3, True),
        Segment(5, 3, True),
        Segment(4, 3, True, True),
        Segment(6, 0, False),
    )
    return PanopticImage(id_map, segments, "name", "name.jpg")


def drawn_from(image, sampled):
    targets = sampled.targets
    return image.id_map[tuple(targets.points_yx.T)], sampled.segment_ids[targets.target]


@pytest.mark.parametrize("sampler", ["uniform", "center", "border"])
@pytest.mark.parametrize("n", [1, 10])
def test_points_lie_in_their_segments(sampler, n, image):
    sampled = sample_points(image, CATEGORIES, n=n, sampler=sampler, stuff=True)
    here, expected = drawn_from(image, sampled)
    assert np.array_equal(here, expected)
    assert sampled.segment_ids.tolist() == [9, 70_000, 5, 6]
    assert sampled.targets.category.tolist() == [1, 0, 0, 2]
    assert sampled.targets.is_thing.tolist() == [True, True, True, False]
    assert np.bincount(sampled.targets.target).tolist() == [min(n, 2), n, n, n]
    assert len(np.unique(sampled.targets.points_yx, axis=0)) == len(sampled.targets.points_yx)


def test_stuff_only_where_asked_and_channels_as_told(image):
    sampled = sample_points(image, CATEGORIES, channels={3: 7, 12: 5})
    assert sampled.segment_ids.tolist() == [9, 70_000, 5]
    assert sampled.targets.category.tolist() == [5, 7, 7]
    with pytest.raises(ArgumentError, match="sample_points: argument 'channels': got no channel for category 0"):
        sample_points(image, CATEGORIES, channels={3: 7, 12: 5}, stuff=True)


def test_nothing_to_draw_from():
    for segments, id_map in (((), [[0]]), ((Segment(1, 3, True, True),), [[1]])):
        sampled = sample_points(PanopticImage(id_map, segments), CATEGORIES, n=3, stuff=True)
        assert sampled.targets.num_targets == 0
        assert sampled.targets.points_yx.shape == (0, 2)
        assert sampled.segment_ids.tolist() == []


def test_the_draw_depends_on_seed_image_and_segment_only(image):
    def points_of(image, **options):
        sampled = sample_points(image, CATEGORIES, n=4, stuff=True, **options)
        targets = sampled.targets
        return {
            segment: targets.points_yx[targets.target == k].tolist()
            for k, segment in enumerate(sampled.segment_ids.tolist())
        }

    first = points_of(image)
    assert points_of(image) == first
    backwards = PanopticImage(image.id_map, image.segments[::-1], image.image_id)
    assert points_of(backwards) == first
    alone = PanopticImage(np.where(image.id_map == 5, 5, 0), (image.segments[2],), image.image_id)
    assert points_of(alone)[5] == first[5]
    assert points_of(image, seed=1)[5] != first[5]
    assert points_of(PanopticImage(image.id_map, image.segments, "other"))[5] != first[5]
    # The very pixels: a later version must draw the same ones.
    assert first[5] == [[5, 10], [9, 11], [3, 11], [11, 6]]
    # One point is the first of ten, so that P1 and P10 labels are comparable.
    one = sample_points(image, CATEGORIES, stuff=True).targets
    assert one.points_yx.tolist() == [points[0] for points in first.values()]


@pytest.mark.parametrize("n", [1, 3])
def test_the_draw_is_uniform(n):
    """Every pixel equally often, and every pixel equally often first (chi-square, 4,000 seeds)."""
    id_map = np.array([[1, 1, 0], [2, 1, 1], [2, 1, 2]])
    image = PanopticImage(id_map, (Segment(1, 3, True), Segment(2, 3, True)))
    counts, first = np.zeros((3, 3)), np.zeros((3, 3))
    for seed in range(4000):
        targets = sample_points(image, CATEGORIES, n=n, seed=seed).targets
        np.add.at(counts, tuple(targets.points_yx.T), 1)
        first[tuple(targets.points_yx[0])] += 1
    assert counts[0, 2] == 0
    if n == 3:
        assert (counts[id_map == 2] == 4000).all()
    else:
        assert chisquare(counts[id_map == 2]).pvalue > 1e-4
    assert chisquare(counts[id_map == 1]).pvalue > 1e-4
    assert chisquare(first[id_map == 1]).pvalue > 1e-4


def test_center_and_border_samplers(image):
    depth = distance_transform_edt(np.pad(image.id_map == 5, 1))[1:-1, 1:-1]
    inside = depth[image.id_map == 5]
    for sampler, within in (("center", lambda d: d >= 3), ("border", lambda d: d == 1)):
        seen = {
            tuple(point)
            for seed in range(300)
            for point in sample_points(image, CATEGORIES, seed=seed, sampler=sampler).targets.points_yx[2:].tolist()
        }
        assert 20 <= len(seen) <= 25
        assert all(within(depth[point]) for point in seen)
    assert (inside >= 3).sum() == 36


@pytest.mark.parametrize(
    ("options", "argument", "reason"),
    [
        ({"n": 0}, "n", ">= 1"),
        ({"n": 1.5}, "n", "integer"),
        ({"seed": -1}, "seed", ">= 0"),
        ({"sampler": "centre"}, "sampler", "did you mean 'center'"),
        ({"categories": [COIN, PEN]}, "image", "stuff of category 0"),
        ({"categories": [COIN, PEN, Category(0, "table", True)]}, "image", "stuff of category 0"),
        ({"categories": []}, "categories", "none"),
        ({"categories": ["coin"]}, "categories", "a list of Category"),
    ],
)
def test_sampling_refuses(options, argument, reason, image):
    with pytest.raises(ArgumentError, match=f"^sample_points: argument '{argument}': got") as refusal:
        sample_points(image, **{"categories": CATEGORIES, **options})
    assert reason in str(refusal.value)


@pytest.mark.shared
def test_real_masks_give_points_inside(shared_data):
    root = shared_data / "coco_panoptic_layout" / "annotations"
    nuclei = read_coco_panoptic(root / "panoptic_val.json", root / "panoptic_val")
    photographs = read_voc(shared_data / "voc_layout" / "VOCdevkit" / "VOC2012", "val")
    for dataset, total in ((nuclei, 4347), (photographs, 281 + 53)):
        count = 0
        for image in dataset:
            sampled = sample_points(image, dataset.categories, stuff=True)
            assert np.array_equal(*drawn_from(image, sampled))
            count += sampled.targets.num_targets
        assert count == total


# Files of points


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def summary(labels):
    """Points by target name order: (category name, thing, points x y)."""
    targets = labels.targets
    return [
        (
            labels.categories[targets.category[k]].name,
            bool(targets.is_thing[k]),
            targets.points_yx[targets.target == k][:, ::-1].tolist(),
        )
        for k in range(targets.num_targets)
    ]


EXPECTED = [
    ("coin", True, [[31, 12]]),
    ("table", False, [[1, 2], [3, 4]]),
    ("coin", True, [[5, 6]]),
    ("pen", True, [[7, 8], [9, 0]]),
]


def test_json_points(tmp_path):
    document = {
        "categories": [
            {"name": "table", "isthing": 0, "id": 8},
            {"name": "coin", "isthing": 1},
            {"name": "pen", "isthing": True, "id": 9},
        ],
        "points": [
            {"x": 31, "y": 12, "category": "coin"},
            {"x": 1, "y": 2, "category": "table"},
            {"x": 5, "y": 6, "category": 2, "target": None},
            {"x": 7, "y": 8, "category": 9, "target": "a"},
            {"x": 3.0, "y": 4, "category": 8},
            {"x": 9, "y": 0, "category": "pen", "target": "a"},
        ],
    }
    labels = read_points(write(tmp_path / "p.json", document), shape=(13, 32))
    assert summary(labels) == EXPECTED
    assert [(c.name, c.id) for c in labels.categories] == [("coin", 2), ("pen", 9), ("table", 8)]
    assert labels.targets.category.tolist() == [0, 2, 0, 1]
    assert labels.targets.points_yx.dtype == np.int64


@pytest.mark.parametrize("header", ["x,y,category,target,isthing", " x , y, category ,target, isthing\r"])
def test_csv_points(header, tmp_path):
    rows = ["31,12,coin,,", "1,2,table,,0", '5, 6 ,"coin",,1', "7,8,pen,a,true", "", "3,4,table,,false", "9,0,pen,a,1"]
    text = "\ufeff" + header + "\n" + "\n".join(rows)
    assert summary(read_points(write(tmp_path / "points", text.encode()))) == EXPECTED


def test_a_colon_in_a_name_is_a_colon(tmp_path):
    rows = ["x,y,category,isthing", "1,2,cat:tabby,", "3,4,person:staff:thing,", "5,6,role:staff,1", "7,8,a:b:stuff,"]
    points = read_points(write(tmp_path / "p.csv", "\n".join(rows)))
    assert [(c.name, c.is_thing) for c in points.categories] == [
        ("cat:tabby", True), ("person:staff", True), ("role:staff", True), ("a:b", False)
    ]  # fmt: skip


def test_background_is_stuff_and_floats_stay_floats(tmp_path):
    text = "category,y,x\nBackground,1.5,2\ncoin,3,4\ncoin,5,6.25\nBackground,7,8\n"
    labels = read_points(write(tmp_path / "p.csv", text))
    assert summary(labels) == [
        ("Background", False, [[2.0, 1.5], [8.0, 7.0]]),
        ("coin", True, [[4.0, 3.0]]),
        ("coin", True, [[6.25, 5.0]]),
    ]
    assert labels.targets.points_yx.dtype == np.float64


def test_the_pixel_of_a_point_must_be_in_the_picture(tmp_path):
    path = write(tmp_path / "p.csv", "x,y,category\n-0.5,3.49,coin\n9.4,0,coin\n")
    assert read_points(path, shape=(4, 10)).targets.num_targets == 2
    with pytest.raises(
        FileError, match=r"line 3: x=9\.4, y=0; expected a point inside HxW = 10x4 \(x and y swapped\?\)"
    ):
        read_points(path, shape=(10, 4))
    with pytest.raises(FileError, match=r"line 2: x=-0\.5, y=3\.49; expected a point inside HxW = 3x3$"):
        read_points(path, shape=(3, 3))


HEADER = "x,y,category,target\n"
CSV_REFUSED = {
    "empty": ("", "empty file"),
    "only white space": ("\n \n", "no points"),
    "only a header": (HEADER, "no points"),
    "no header": ("1,2,coin\n", "line 1: no column 'x' among ['1', '2', 'coin']"),
    "misspelt column": ("x,y,categroy\n", "did you mean 'category'"),
    "no category column": ("x,y,target\n1,2,3\n", "line 1: no column 'category'"),
    "column twice": ("x,y,x,category\n", "line 1: a column twice"),
    "too few values": (HEADER + "1,2,coin,\n1,2\n", "line 3: 2 values; expected 4"),
    "too many values": (HEADER + "1,2,coin,0,9\n", "line 2: 5 values"),
    "underscores": (HEADER + "2_0,3,coin,\n", "line 2: x='2_0', y='3'"),
    "a category that says otherwise": ("x,y,category,isthing\n1,2,wall:stuff,1\n", "line 2: isthing '1' of a category"),
    "decimal commas": ("x;y;category\n24,5;2,5;coin\n", "below 2147483648 in size (with a decimal point, not a comma)"),
    "a decimal comma": (
        "x;y;category;radius\n24;2;coin;15,5\n",
        "is not known (with a decimal point, not a comma)",
    ),
    "an open quote": (
        HEADER + '1,2,coin,\n3,4,"coin,\n5,6,coin,\n',
        "line 3: unexpected end of data; expected CSV, whose every quote is closed",
    ),
    "no number": (HEADER + "1,a,coin,\n", "line 2: x='1', y='a'"),
    "NaN": (HEADER + "nan,2,coin,\n", "line 2: x='nan'"),
    "infinity": (HEADER + "1,1e999,coin,\n", "line 2: x='1', y='1e999'"),
    "far away": (HEADER + "1,-1e300,coin,\n", "line 2: x='1', y='-1e300'"),
    "empty category": (HEADER + "1,2,,\n", "line 2: no category"),
    "target of two categories": (HEADER + "1,2,coin,0\n\n3,4,pen,0\n", "line 4: target '0' in ['coin', 'pen']"),
    "isthing": ("x,y,category,isthing\n1,2,coin,yes\n", "line 2: isthing 'yes'"),
    "thing and stuff": ("x,y,category,isthing\n1,2,a,1\n1,2,a,0\n", "line 3: category 'a' as thing and as stuff"),
    "a kind misspelt": (HEADER + "1,2,wall:stuf,\n", "line 2: category 'wall:stuf'; expected :thing or :stuff"),
    "a kind in capitals": (HEADER + "1,2,wall: Stuff,\n", "did you mean 'stuff'"),
    "kinds": (HEADER + "1,2,coin:things,\n", "did you mean 'thing'?), or coin:things:thing for a thing of that name"),
    "not UTF-8": (b"x,y,category\n1,2,\xff\n", "utf-8"),
}


@pytest.mark.parametrize("case", CSV_REFUSED)
def test_csv_refused(case, tmp_path):
    content, reason = CSV_REFUSED[case]
    with pytest.raises(FileError, match=r"^read_points: argument 'path': got .*p\.csv: .*; expected ") as refusal:
        read_points(write(tmp_path / "p.csv", content))
    assert reason in str(refusal.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_fault_c4_csv_as_people_have_it(delimiter, tmp_path):
    """Semicolons and tabs, columns of somebody's own, capitals, and the kind of a category behind a colon."""
    rows = ["Id,X,Y,Category,Comment", "7,3,4,wall:stuff,", "8,5,6,coin:thing,round", "9,5.5,1,coin,"]
    text = "\n".join(rows).replace(",", delimiter) + "\n"
    found = read_points(write(tmp_path / "p.csv", text))
    assert [(c.name, c.is_thing) for c in found.categories] == [("coin", True), ("wall", False)]
    assert found.targets.points_yx.tolist() == [[4, 3], [6, 5], [1, 5.5]]
    assert found.targets.category.tolist() == [1, 0, 0]


def test_fault_c4_content_says_what_a_file_is(tmp_path):
    """JSON under another name, with COCO's own entries for categories."""
    categories = [{"id": 4, "name": "coin", "isthing": 1, "color": [1, 2, 3], "supercategory": "metal"}]
    document = {"categories": categories, "points": [{"x": 1, "y": 2, "category": 4}]}
    found = read_points(write(tmp_path / "points.txt", "\ufeff\n " + json.dumps(document)))
    assert found.categories == (Category(4, "coin", True, (1, 2, 3)),)


def named_points(path, names):
    """A points file where the picture of each name has its own row."""
    rows = [f"{name},1,{row},cat" for row, name in enumerate(names)]
    return write(path, "\n".join(["image,x,y,category", *rows, ""]))


def test_a_path_means_the_picture_whose_folders_it_has(tmp_path):
    path = named_points(tmp_path / "p.csv", ["plain.png", "s1/plain.png", "s2/plain.png", "s2/other.png"])
    rows = {"plain.png": 0, "photos/plain.png": 0, "s1/plain.png": 1, "/home/me/s2/plain.png": 2, "other.png": 3}
    for image, row in rows.items():
        assert read_points(path, image=image).targets.points_yx.tolist() == [[row, 1]], image
    folders = named_points(tmp_path / "q.csv", ["s1/plain.png", "s2/plain.png"])
    expected = r"several pictures 'plain.png'; expected one of \['s1/plain.png', 's2/plain.png'\], in whose folder"
    with pytest.raises(FileError, match=expected):
        read_points(folders, image="/home/me/plain.png")


def test_an_umlaut_in_either_of_its_spellings(tmp_path):
    composed, taken_apart = (unicodedata.normalize(form, "größe.png") for form in ("NFC", "NFD"))
    for there, asked in ((composed, taken_apart), (taken_apart, composed)):
        path = named_points(tmp_path / "p.csv", ["other.png", there])
        assert read_points(path, image=f"/photos/{asked}").targets.points_yx.tolist() == [[1, 1]]


def test_points_on_a_picture_of_another_size(tmp_path):
    entry = {"file_name": "a.png", "width": 640, "height": 480, "points": [{"x": 3, "y": 4, "category": "cat"}]}
    path = write(tmp_path / "p.json", json.dumps({"categories": [{"name": "cat", "isthing": 1}], "images": [entry]}))
    assert read_points(path, image="a.png", shape=(480, 640)).targets.num_targets == 1
    with pytest.raises(FileError, match=r"picture of HxW \(480, 640\); expected those of the picture, \(96, 64\)$"):
        read_points(path, image="a.png", shape=(96, 64))
    with pytest.raises(FileError, match=r"\(640, 480\) \(x and y swapped would fit\)"):
        read_points(path, image="a.png", shape=(640, 480))


def test_fault_c7_one_format_for_one_picture_and_for_many(tmp_path):
    """What is written for one picture, or a set, is read as either; CSV likewise."""
    targets = PointTargets([(4, 3), (6, 5), (9, 9)], [0, 1, 1], [0, 1], [True, False])
    categories = (Category(4, "coin", True, (1, 2, 3)), Category(9, "wall", False))
    for name in ("one.json", "one.csv"):
        write_points(tmp_path / name, targets, categories, image="day1/a.png")
        for image in (None, "day1/a.png", "a.png"):
            found = read_points(tmp_path / name, image=image)
            assert found.targets.points_yx.tolist() == targets.points_yx.tolist()
        with pytest.raises(FileError, match=r"no picture 'b\.png'; expected one of \['day1/a.png'\]"):
            read_points(tmp_path / name, image="b.png")
    assert read_point_set(tmp_path / "one.json").categories == categories
    assert [p.file_name for p in read_point_set(tmp_path / "one.json").pictures] == ["day1/a.png"]

    both = [PicturePoints(name, number, targets) for number, name in enumerate(("a.png", "b.png"))]
    write_point_set(tmp_path / "set.json", both, categories)
    assert read_points(tmp_path / "set.json", image="b.png").targets.num_targets == 2
    with pytest.raises(FileError, match=r"points of 2 pictures; expected .*image=, one of \['a.png', 'b.png'\]"):
        read_points(tmp_path / "set.json")


def test_fault_c7_masks_are_told_from_points(tmp_path):
    document = {"categories": [], "images": [], "annotations": []}
    for read in (read_points, read_point_set):
        with pytest.raises(FileError, match=r"masks in COCO's format; expected .* sample_points"):
            read(write(tmp_path / "panoptic.json", json.dumps(document)))


POINT, CLASS = {"x": 1, "y": 2, "category": "coin"}, {"name": "coin", "isthing": 1}
JSON_REFUSED = {
    "a list": ([], "the file is []"),
    "no categories": ({"points": [POINT]}, "no 'categories'"),
    "empty categories": ({"categories": [], "points": [POINT]}, "no categories"),
    "no points": ({"categories": [CLASS], "points": []}, "no points"),
    "name twice": ({"categories": [CLASS, CLASS], "points": [POINT]}, "categories[1]: id 2, name 'coin'"),
    "id twice": ({"categories": [{**CLASS, "id": 2}, {"name": "pen", "isthing": 1}]}, "categories[1]: id 2"),
    "a list for a point": ({"categories": [CLASS], "points": [[1, 2]]}, "points[0] is [1, 2]"),
    "unknown category": ({"categories": [CLASS], "points": [{**POINT, "category": "coins"}]}, "did you mean 'coin'"),
    "unknown category id": ({"categories": [CLASS], "points": [{**POINT, "category": 0}]}, "points[0]: category 0"),
    "misspelt field": ({"categories": [CLASS], "points": [{**POINT, "traget": 1}]}, "did you mean 'target'"),
    "misspelt isthing": ({"categories": [{"name": "coin", "is_thing": 1}]}, "did you mean 'isthing'"),
    "no isthing": ({"categories": [{"name": "coin"}]}, "categories[0]: no 'isthing'"),
    "text for x": ({"categories": [CLASS], "points": [{**POINT, "x": "1"}]}, "points[0]: 'x' is '1'"),
    "true for y": ({"categories": [CLASS], "points": [POINT, {**POINT, "y": True}]}, "points[1]: 'y' is True"),
    "huge x": ({"categories": [CLASS], "points": [{**POINT, "x": 10**400}]}, "points[0]: x=1000"),
    "float target": ({"categories": [CLASS], "points": [{**POINT, "target": 0.5}]}, "'target' is 0.5"),
    "NaN": ({"categories": [CLASS], "points": [{**POINT, "x": float("nan")}]}, "NaN"),
    "broken": (b'{"points": [', "line 1 column"),
}


@pytest.mark.parametrize("case", JSON_REFUSED)
def test_json_refused(case, tmp_path):
    content, reason = JSON_REFUSED[case]
    with pytest.raises(FileError, match=r"^read_points: argument 'path': got .*p\.json: .*; expected ") as refusal:
        read_points(write(tmp_path / "p.json", content))
    assert reason in str(refusal.value)


coordinates = st.integers(-(2**31) + 1, 2**31 - 1) | st.floats(-1e9, 1e9)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(["json", "csv"]))
def test_points_round_trip(data, suffix, tmp_path):
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)
    names = data.draw(st.lists(text, min_size=2, max_size=4, unique=True))
    things = data.draw(st.integers(0, len(names)))
    categories = [Category(10 * i, name, i < things) for i, name in enumerate(names)]
    # CSV keeps categories that have a point, in the order of their first.
    channels = data.draw(st.lists(st.integers(0, len(names) - 1), max_size=4))
    channels = [*range(len(names)), *channels]
    owners = [*range(len(channels)), *data.draw(st.lists(st.integers(0, len(channels) - 1), max_size=5))]
    points = [(data.draw(coordinates), data.draw(coordinates)) for _ in owners]
    targets = PointTargets(points, owners, channels, [c < things for c in channels])
    path = tmp_path / f"p.{suffix}"
    write_points(path, targets, categories)
    written = path.read_bytes()
    labels = read_points(path)
    order = np.argsort(owners, kind="stable")
    assert np.array_equal(labels.targets.points_yx, targets.points_yx[order])
    assert labels.targets.target.tolist() == sorted(owners)
    assert labels.targets.category.tolist() == channels
    assert labels.targets.is_thing.tolist() == targets.is_thing.tolist()
    assert [(c.name, c.is_thing) for c in labels.categories] == [(c.name, c.is_thing) for c in categories]
    if suffix == "json":
        assert list(labels.categories) == categories
    write_points(path, targets, categories)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("targets", "categories", "argument", "reason"),
    [
        (PointTargets(np.zeros((0, 2))), [COIN], "targets", "no points"),
        (PointTargets([(1, 2)], category=[1]), [COIN], "targets", "category 1"),
        (PointTargets([(1, 2)], category=[1]), [COIN, TABLE], "targets", "a thing target of category 1"),
        (PointTargets([(1, 2)]), [TABLE, COIN], "categories", "stuff before things"),
        (PointTargets([(1, 2)]), [COIN, Category(4, "coin", True)], "categories", "unique names"),
        (PointTargets([(1, 2)]), [Category(4, " coin", True)], "categories", "white space"),
        (PointTargets([(1, 2)]), [Category(4, "", True)], "categories", "unique names"),
    ],
)
def test_write_points_refuses(targets, categories, argument, reason, tmp_path):
    with pytest.raises(ArgumentError, match=f"^write_points: argument '{argument}': got") as refusal:
        write_points(tmp_path / "p.json", targets, categories)
    assert reason in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_sizes_of_pictures_are_kept_and_checked(tmp_path):
    coin, points = Category(7, "coin", True), PointTargets([(1, 1)])
    known = [PicturePoints("a.jpg", 1, points, (30, 40)), PicturePoints("b.jpg", 2, points)]
    write_point_set(tmp_path / "p.json", known, [coin])
    assert [entry.size for entry in read_point_set(tmp_path / "p.json").pictures] == [(30, 40), None]
    for wrong in ('"height":0', '"height":"30"', '"heigth":30'):
        text = (tmp_path / "p.json").read_text().replace('"height":30', wrong)
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(FileError, match=r"images\[0\]|heigth"):
            read_point_set(tmp_path / "wrong.json")
