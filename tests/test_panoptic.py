"""Panoptic images and the two formats they are kept in."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from panopticapi.utils import rgb2id
from PIL import Image

from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.panoptic import (
    VOC_CATEGORIES,
    Category,
    PanopticImage,
    Segment,
    category_channels,
    read_coco_panoptic,
    read_voc,
    voc_palette,
    write_coco_panoptic,
    write_voc,
)

COIN, TABLE, CLOTH = Category(3, "coin", True, (9, 8, 7)), Category(0, "table", False), Category(12, "cloth", False)
CATEGORIES = (TABLE, COIN, CLOTH)

per_example_folder = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(a: PanopticImage, b: PanopticImage) -> bool:
    return np.array_equal(a.id_map, b.id_map) and a.segments == b.segments


@st.composite
def panoptic_images(draw, image_id=7, crowd=True):
    """Any picture: void, crowds, ids up to 2^24-1, one-pixel-wide sizes, no segment at all."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    ids = draw(st.lists(st.integers(1, 2**24 - 1), min_size=1, max_size=5, unique=True))
    cells = st.lists(st.sampled_from([0, *ids]), min_size=height * width, max_size=height * width)
    id_map = np.array(draw(cells)).reshape(height, width)
    present = [i for i in ids if (id_map == i).any()]
    segments = []
    for number in present:
        category = draw(st.sampled_from(CATEGORIES))
        segments.append(Segment(number, category.id, category.is_thing, crowd and draw(st.booleans())))
    return PanopticImage(id_map, tuple(segments), image_id, f"folder/{image_id}.jpg")


class TestPanopticImage:
    def test_keeps_a_read_only_copy(self):
        source = np.array([[1, 0]], np.uint8)
        image = PanopticImage(source, [Segment(1, 3, True)])
        source[:] = 9
        assert image.id_map.tolist() == [[1, 0]]
        assert image.id_map.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            image.id_map[0, 0] = 2

    @pytest.mark.parametrize(
        ("id_map", "segments", "argument", "reason"),
        [
            ([1, 2], (), "id_map", "(H, W) integers"),
            (np.zeros((0, 3), int), (), "id_map", "(0, 3)"),
            ([[0.5]], (), "id_map", "float64"),
            ([[-1]], (), "id_map", "-1"),
            ([[2**24]], (), "id_map", "16777215"),
            ([[4]], (), "segments", "id 4 in the map without a segment"),
            ([[0]], (Segment(4, 3, True),), "segments", "id 4 without a pixel"),
            ([[4]], (Segment(4, 3, True), Segment(4, 3, True)), "segments", "id 4 twice"),
        ],
    )
    def test_refuses(self, id_map, segments, argument, reason):
        with pytest.raises(ArgumentError, match=f"^PanopticImage: argument '{argument}': got") as refusal:
            PanopticImage(id_map, segments)
        assert reason in str(refusal.value)

    def test_from_masks(self):
        masks = np.zeros((4, 2, 3), bool)
        masks[0, 0], masks[2, 1, :2], masks[3, 1, 2] = True, True, True
        image = PanopticImage.from_masks(masks, [3, 3, 12, 0], [1, 1, 0, 0], "id", "a.jpg")
        assert image.id_map.tolist() == [[1, 1, 1], [3, 3, 4]]
        assert image.segments == (Segment(1, 3, True), Segment(3, 12, False), Segment(4, 0, False))
        assert PanopticImage.from_masks(np.zeros((0, 2, 3), bool), [], []).id_map.tolist() == [[0] * 3] * 2

    @pytest.mark.parametrize(
        ("masks", "category_ids", "argument", "reason"),
        [
            ([[[1, 1]], [[0, 1]]], [1, 1], "masks", "1 pixels in more than one mask"),
            ([[[2, 0]]], [1], "masks", "binary"),
            ([[[-1, 0]]], [1], "masks", "binary"),
            ([[[0.5, 0]]], [1], "masks", "float64"),
            ([[1, 0]], [1], "masks", "(K, H, W)"),
            ([[[1, 0]]], [1, 2], "category_ids", "one for each mask"),
        ],
    )
    def test_from_masks_refuses(self, masks, category_ids, argument, reason):
        with pytest.raises(ArgumentError, match=f"^from_masks: argument '{argument}': got") as refusal:
            PanopticImage.from_masks(masks, category_ids, [True] * len(category_ids))
        assert reason in str(refusal.value)


def test_channels_put_things_first():
    assert category_channels(CATEGORIES) == {3: 0, 0: 1, 12: 2}
    assert list(category_channels(VOC_CATEGORIES)) == [*range(1, 21), 0]
    with pytest.raises(ArgumentError, match="category id 3 twice"):
        category_channels([COIN, COIN])


def test_needs_neither_torch_nor_numba():
    code = "import sys, point2mask_ot.panoptic; print({'torch', 'numba', 'scipy', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# COCO panoptic


@per_example_folder
@given(images=st.tuples(panoptic_images(1), panoptic_images("two"), panoptic_images(3)))
def test_coco_round_trip(images, tmp_path):
    write_coco_panoptic(images, tmp_path / "a.json", tmp_path / "a", CATEGORIES)
    dataset = read_coco_panoptic(tmp_path / "a.json", tmp_path / "a")
    assert dataset.categories == CATEGORIES
    assert [entry.id for entry in dataset.images] == [1, "two", 3]
    assert [entry.size for entry in dataset.images] == [image.size for image in images]
    for expected, read in zip(images, dataset, strict=True):
        assert same(expected, read)
        assert same(expected, dataset.by_id(expected.image_id))
        assert (read.image_id, read.file_name) == (expected.image_id, expected.file_name)


@per_example_folder
@given(image=panoptic_images())
def test_coco_files_are_what_others_expect(image, tmp_path):
    write_coco_panoptic([image], tmp_path / "a.json", tmp_path / "a", CATEGORIES, info={"by": "me"})
    document = json.loads((tmp_path / "a.json").read_text())
    annotation = document["annotations"][0]
    with Image.open(tmp_path / "a" / annotation["file_name"]) as png:
        id_map = rgb2id(np.array(png, dtype=np.uint32))
    assert np.array_equal(id_map, image.id_map)
    assert document["info"] == {"by": "me"}
    assert document["images"] == [
        {"id": 7, "file_name": "folder/7.jpg", "height": image.size[0], "width": image.size[1]}
    ]
    assert document["categories"][1] == {"id": 3, "name": "coin", "isthing": 1, "color": [9, 8, 7]}
    for info, segment in zip(annotation["segments_info"], image.segments, strict=True):
        rows, columns = np.nonzero(id_map == info["id"])
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert (info["area"], info["bbox"]) == (len(rows), box)
        assert (info["category_id"], info["iscrowd"]) == (segment.category_id, segment.is_crowd)


def test_same_input_same_bytes_and_no_rests(tmp_path):
    image = PanopticImage([[1, 2], [0, 2]], (Segment(1, 3, True), Segment(2, 0, False)), 1, "a.jpg")
    for name in ("first", "second", "second"):
        write_coco_panoptic([image], tmp_path / name / "p.json", tmp_path / name / "png", CATEGORIES)
        write_voc([image], tmp_path / name / "voc", categories=CATEGORIES)
    first, second = (sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in ("first", "second"))
    assert [p.relative_to(tmp_path / "first") for p in first] == [p.relative_to(tmp_path / "second") for p in second]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert len(first) == 5


def test_annotations_are_joined_on_the_image_id(tmp_path):
    images = [PanopticImage([[i]], (Segment(i, 3, True),), i, f"{i}.jpg") for i in (5, 6, 7)]
    write_coco_panoptic(images, tmp_path / "a.json", tmp_path / "a", CATEGORIES)
    document = json.loads((tmp_path / "a.json").read_text())
    document["annotations"].reverse()
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert [image.id_map.item() for image in read_coco_panoptic(tmp_path / "a.json", tmp_path / "a")] == [5, 6, 7]


def test_a_dataset_can_go_to_a_worker(coco):
    dataset = pickle.loads(pickle.dumps(read_coco_panoptic(coco / "a.json", coco / "a")))
    assert [image.image_id for image in dataset] == [1, 2]
    assert repr(dataset) == "CocoPanoptic(2 images, 3 categories)"


@pytest.fixture
def coco(tmp_path):
    """A small, valid data set to damage."""
    id_map = np.array([[1, 1, 300], [0, 70_000, 70_000]])
    segments = (Segment(1, 3, True), Segment(300, 0, False), Segment(70_000, 3, True, True))
    images = [PanopticImage(id_map, segments, i, f"{i}.png") for i in (1, 2)]
    write_coco_panoptic(images, tmp_path / "a.json", tmp_path / "a", CATEGORIES)
    (tmp_path / "pictures").mkdir()
    for i in (1, 2):
        Image.new("RGB", (3, 2)).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path


def edit(document, path, value):
    """Set (or with ..., delete) the entry at a path of keys."""
    document = copy.deepcopy(document)
    target = document
    for key in path[:-1]:
        target = target[key]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return document


SEGMENT = ("annotations", 0, "segments_info", 0)
COCO_REFUSED_AT_ONCE = {
    "a list for the document": ((), [], "the file is []"),
    "no images": (("images",), ..., "no 'images'"),
    "no categories": (("categories",), [], "no categories"),
    "duplicate image id": (("images", 1, "id"), 1, "image id 1 twice"),
    "duplicate annotation": (("annotations", 1, "image_id"), 1, "image id 1 twice"),
    "image without annotation": (("annotations", 1), ..., "image id 2 without annotation"),
    "annotation without image": (("images", 1), ..., "annotation of unknown image id 2"),
    "duplicate category": (("categories", 1, "id"), 0, "category id 0"),
    "duplicate segment id": ((*SEGMENT, "id"), 300, "segment id 300 twice"),
    "void as a segment": ((*SEGMENT, "id"), 0, "segment id 0 out of range"),
    "id beyond RGB": ((*SEGMENT, "id"), 2**24, "out of range"),
    "unknown category": ((*SEGMENT, "category_id"), 99, "unknown category 99"),
    "no category": ((*SEGMENT, "category_id"), ..., "no 'category_id'"),
    "float id": ((*SEGMENT, "id"), 1.0, "'id' is 1.0"),
    "true for an id": (("images", 0, "id"), True, "'id' is True"),
    "crowd of 2": ((*SEGMENT, "iscrowd"), 2, "'iscrowd' is 2"),
    "isthing missing": (("categories", 0, "isthing"), ..., "no 'isthing'"),
    "a text for isthing": (("categories", 0, "isthing"), "1", "'isthing' is '1'"),
    "height of 0": (("images", 0, "height"), 0, "positive"),
    "a text for a size": (("images", 0, "width"), "3", "'width' is '3'"),
    "a number for a segment": (SEGMENT, 5, "segments_info is 5"),
    "a colour out of range": (("categories", 1, "color"), [1, 2, 256], "color"),
    "NaN": ((*SEGMENT, "area"), float("nan"), "NaN"),
    "Infinity": ((*SEGMENT, "bbox"), [float("inf")], "Infinity"),
}


@pytest.mark.parametrize("case", COCO_REFUSED_AT_ONCE)
def test_coco_refuses_at_once(case, coco):
    path, value, reason = COCO_REFUSED_AT_ONCE[case]
    document = json.loads((coco / "a.json").read_text())
    (coco / "a.json").write_text(json.dumps(edit(document, path, value) if path else value))
    expected = r"^read_coco_panoptic: argument 'json_path': got .*a\.json: .*; expected "
    with pytest.raises(FileError, match=expected) as refusal:
        read_coco_panoptic(coco / "a.json", coco / "a")
    assert reason in str(refusal.value)


@pytest.mark.parametrize(("limit", "reason"), [({"max_bytes": 100}, "100 bytes"), ({"max_depth": 3}, "6 deep")])
def test_coco_json_limits(limit, reason, coco):
    with pytest.raises(FileError, match=reason):
        read_coco_panoptic(coco / "a.json", coco / "a", **limit)


def png(values, mode="RGB"):
    return Image.fromarray(np.asarray(values, np.uint8)).convert(mode)


GOOD = np.stack([[[1, 1, 44], [0, 112, 112]], [[0, 0, 1], [0, 17, 17]], [[0, 0, 0], [0, 1, 1]]], axis=-1)
COCO_PNG_REFUSED = {
    "id missing in the JSON": (png(np.where(GOOD == 44, 45, GOOD)), "id 301 in the map without a segment"),
    "id missing in the PNG": (png(GOOD * (GOOD[..., 2:] == 0)), "a segment with id 70000 without a pixel"),
    "another size": (png(np.swapaxes(GOOD, 0, 1)), "3x2; expected the HxW (2, 3) of image 1"),
    "palette": (png(GOOD).quantize(), "mode P"),
    "grey": (png(GOOD, "L"), "mode L"),
    "RGBA": (png(GOOD, "RGBA"), "mode RGBA"),
    "16-bit": (Image.fromarray(np.ones((2, 3), np.uint16)), "16-bit"),
    "empty": (b"", "an empty file"),
    "no PNG": (b"BM" + bytes(100), "no readable picture"),
    "missing": (None, "No such file"),
}


@pytest.mark.parametrize("case", COCO_PNG_REFUSED)
def test_coco_refuses_png(case, coco):
    content, reason = COCO_PNG_REFUSED[case]
    path = coco / "a" / "1.png"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.save(path)
    dataset = read_coco_panoptic(coco / "a.json", coco / "a")
    with pytest.raises(FileError, match=r"^read_coco_panoptic: argument 'png_dir': got .*1\.png: ") as refusal:
        dataset[0]
    assert reason in str(refusal.value)
    assert dataset[1].size == (2, 3)


def test_coco_png_of_the_good_table_is_accepted(coco):
    png(GOOD).save(coco / "a" / "1.png")
    dataset = read_coco_panoptic(coco / "a.json", coco / "a", max_pixels=6)
    assert same(dataset[0], dataset[1])
    with pytest.raises(FileError, match="at most 5 pixels"):
        read_coco_panoptic(coco / "a.json", coco / "a", max_pixels=5)[0]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "link.png", "folder/secret.png", "a\0b"])
def test_coco_names_stay_in_their_folders(name, coco):
    (coco / "secret.png").write_bytes((coco / "a" / "1.png").read_bytes())
    for folder in ("a", "pictures"):
        os.symlink(coco / "secret.png", coco / folder / "link.png")
        os.symlink(coco, coco / folder / "folder")
    document = json.loads((coco / "a.json").read_text())
    for path, argument in ((("annotations", 0, "file_name"), "png_dir"), (("images", 0, "file_name"), "images_dir")):
        (coco / "a.json").write_text(json.dumps(edit(document, path, name)))
        dataset = read_coco_panoptic(coco / "a.json", coco / "a", coco / "pictures")
        read = dataset.__getitem__ if argument == "png_dir" else dataset.picture
        with pytest.raises(FileError, match=f"^read_coco_panoptic: argument '{argument}': got .* stays inside"):
            read(0)


def test_coco_pictures(coco):
    dataset = read_coco_panoptic(coco / "a.json", coco / "a", coco / "pictures")
    assert dataset.picture(0).shape == (2, 3, 3)
    Image.new("RGB", (2, 3)).save(coco / "pictures" / "1.png")
    with pytest.raises(FileError, match=r"argument 'images_dir': got .*1\.png: 3x2; expected HxW = 2x3"):
        dataset.picture(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(coco / "pictures" / "1.png", exif=exif)
    with pytest.raises(FileError, match="EXIF orientation 6"):
        dataset.picture(0)
    with pytest.raises(ArgumentError, match="argument 'images_dir': got None"):
        read_coco_panoptic(coco / "a.json", coco / "a").picture(0)
    with pytest.raises(ArgumentError, match="argument 'image_id': got 9"):
        dataset.by_id(9)


ONE = PanopticImage([[1]], (Segment(1, 3, True),), 1, "a.jpg")
WRITE_REFUSED = {
    "duplicate id": ([ONE, PanopticImage([[0]], (), 1, "b.jpg")], "twice"),
    "duplicate name": ([ONE, PanopticImage([[0]], (), 2, "a.png")], "twice"),
    "no name": ([PanopticImage([[0]], (), 1)], "without file_name"),
    "unknown category": ([PanopticImage([[1]], (Segment(1, 4, True),), 1, "a")], "thing of category 4"),
    "stuff as thing": ([PanopticImage([[1]], (Segment(1, 0, True),), 1, "a")], "thing of category 0"),
    "name outside": ([PanopticImage([[0]], (), 1, "../a.jpg")], "stays inside"),
    "absolute name": ([PanopticImage([[0]], (), 1, "/a.jpg")], "stays inside"),
    "name behind a link": ([PanopticImage([[0]], (), 1, "link/a.jpg")], "stays inside"),
    "no image": ([np.zeros((1, 1))], "expected PanopticImage"),
    "name of a link": ([PanopticImage([[0]], (), 1, "alias.jpg")], "stays inside"),
}


@pytest.mark.parametrize("case", WRITE_REFUSED)
def test_coco_write_refuses(case, tmp_path):
    images, reason = WRITE_REFUSED[case]
    folder = tmp_path / "png"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / "alias.png").symlink_to(tmp_path / "precious")
    with pytest.raises(ArgumentError, match=r"^write_coco_panoptic: argument 'images': got ") as refusal:
        write_coco_panoptic(images, tmp_path / "a.json", folder, CATEGORIES)
    assert reason in str(refusal.value)
    assert not (tmp_path / "a.json").exists()
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_coco_info_must_be_json(tmp_path):
    for info in ({"rate": float("nan")}, {"when": object()}):
        with pytest.raises(ArgumentError, match=r"^write_coco_panoptic: argument 'info': got .*; expected"):
            write_coco_panoptic([ONE], tmp_path / "a.json", tmp_path / "png", CATEGORIES, info=info)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"^write_coco_panoptic: argument 'png_dir': got .*; expected a folder"):
        write_coco_panoptic([ONE], tmp_path / "a.json", tmp_path / "file" / "png", CATEGORIES)


# VOC


def test_voc_palette_and_classes():
    palette = voc_palette().tolist()
    assert palette[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[15] == [192, 128, 128]
    assert palette[255] == [224, 224, 192]
    assert VOC_CATEGORIES[0] == Category(1, "aeroplane", True, (128, 0, 0))
    assert VOC_CATEGORIES[-1] == Category(0, "background", False, (0, 0, 0))
    assert len(VOC_CATEGORIES) == 21


@per_example_folder
@given(image=panoptic_images(crowd=False))
def test_voc_round_trip(image, tmp_path):
    stuff = [segment.category_id for segment in image.segments if not segment.is_thing]
    if len(set(stuff)) < len(stuff):
        with pytest.raises(ArgumentError, match="two stuff segments of one category"):
            write_voc([image], tmp_path, "val", categories=CATEGORIES)
        return
    write_voc([image], tmp_path, "val", categories=CATEGORIES)
    dataset = read_voc(tmp_path, "val", categories=CATEGORIES)
    (read,) = dataset
    assert dataset.images[0].id == "7"
    assert np.array_equal(read.id_map == 0, image.id_map == 0)
    assert len(read.segments) == len(image.segments)
    for segment in image.segments:
        (number,) = np.unique(read.id_map[image.id_map == segment.id])
        (twin,) = (other for other in read.segments if other.id == number)
        assert (twin.category_id, twin.is_thing) == (segment.category_id, segment.is_thing)
    write_voc([read], tmp_path, "again", categories=CATEGORIES)
    assert same(read_voc(tmp_path, "again", categories=CATEGORIES)[0], read)


def save_voc(root, name, classes, objects, names=None):
    for folder, values in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        (root / folder).mkdir(exist_ok=True)
        image = Image.fromarray(np.asarray(values, np.uint8))
        image.putpalette(voc_palette().tobytes())
        image.save(root / folder / f"{name}.png")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text(names if names is not None else f"{name}\n")


def test_voc_rules(tmp_path):
    classes = [[0, 0, 15, 15, 15], [255, 2, 0, 255, 7]]
    objects = [[0, 0, 9, 9, 4], [255, 4, 9, 9, 0]]
    save_voc(tmp_path, "2007_000001", classes, objects)
    image = read_voc(tmp_path)[0]
    # Object 4 has one pixel each of classes 15 and 2: the smaller wins. A class 7 without object is void.
    assert image.id_map.tolist() == [[10, 10, 9, 9, 4], [0, 4, 9, 0, 0]]
    assert image.segments == (Segment(4, 2, True), Segment(9, 15, True), Segment(10, 0, False))
    assert (image.image_id, image.file_name) == ("2007_000001", "2007_000001.jpg")


def test_voc_files_are_what_others_expect(tmp_path):
    segments = (Segment(50, 15, True), Segment(7, 2, True), Segment(3, 0, False), Segment(8, 15, True, True))
    write_voc([PanopticImage([[50, 7, 3, 8, 0]], segments, 1, "sub/x.jpg")], tmp_path)
    expected = {"SegmentationClass": [15, 2, 0, 255, 255], "SegmentationObject": [1, 2, 0, 255, 255]}
    for folder, values in expected.items():
        with Image.open(tmp_path / folder / "x.png") as image:
            assert image.mode == "P"
            assert np.asarray(image).tolist() == [values]
            assert image.getpalette() == voc_palette().ravel().tolist()
    assert (tmp_path / "ImageSets" / "Segmentation" / "train.txt").read_text() == "x\n"


VOC_REFUSED = {
    "unknown class": ([[21, 0]], [[1, 0]], None, "class 21"),
    "object on the background": ([[0, 0]], [[1, 0]], None, "object 1 of class 'background'"),
    "sizes differ": ([[0, 0]], [[0], [0]], None, "(2, 1)"),
    "empty list": ([[0]], [[0]], "\n", "no names"),
    "name twice": ([[0]], [[0]], "a\nb\na\n", "a name twice"),
    "name outside": ([[0]], [[0]], "../../a\n", "stays inside"),
    "missing maps": ([[0]], [[0]], "b\n", "No such file"),
}


@pytest.mark.parametrize("case", VOC_REFUSED)
def test_voc_refuses(case, tmp_path):
    classes, objects, names, reason = VOC_REFUSED[case]
    save_voc(tmp_path, "a", classes, objects, names)
    with pytest.raises(FileError, match=r"^read_voc: argument '(root|split)': got .*; expected ") as refusal:
        list(read_voc(tmp_path))
    assert reason in str(refusal.value)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("folder", ["SegmentationClass", "SegmentationObject"])
def test_voc_refuses_all_but_palettes(mode, folder, tmp_path):
    save_voc(tmp_path, "a", [[0]], [[0]])
    Image.new(mode, (1, 1)).save(tmp_path / folder / "a.png")
    with pytest.raises(FileError, match=f"PNG of mode {mode}; expected mode P"):
        read_voc(tmp_path)[0]


def test_voc_lists_and_pictures(tmp_path):
    with pytest.raises(FileError, match=r"argument 'split': got .*val\.txt: No such file"):
        read_voc(tmp_path, "val")
    with pytest.raises(FileError, match=r"argument 'split': got .* stays inside"):
        read_voc(tmp_path, "../../../val")
    with pytest.raises(ArgumentError, match="category id 255"):
        read_voc(tmp_path, categories=[Category(255, "x", True)])
    save_voc(tmp_path, "a", [[0, 0]], [[0, 0]])
    (tmp_path / "JPEGImages").mkdir()
    Image.new("L", (2, 1), 9).save(tmp_path / "JPEGImages" / "a.jpg")
    assert read_voc(tmp_path).picture(0).shape == (1, 2, 3)
    Image.new("L", (1, 2), 9).save(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(FileError, match=r"argument 'images_dir': got .*a\.jpg: 2x1; expected HxW = 1x2"):
        read_voc(tmp_path).picture(0)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([ONE, PanopticImage([[0]], (), 2, "x/a.png")], "the name 'a'"),
        ([PanopticImage([[0]], (), "a b")], "the name 'a b'"),
        ([PanopticImage([[0]], (), "../../a")], "stays inside"),
        ([], "none"),
        (
            [PanopticImage([range(1, 256)], tuple(Segment(i, 3, True) for i in range(1, 256)), 1)],
            "255 things",
        ),
    ],
)
def test_voc_write_refuses(images, reason, tmp_path):
    with pytest.raises(ArgumentError, match=r"^write_voc: argument 'images': got ") as refusal:
        write_voc(images, tmp_path / "voc", categories=CATEGORIES)
    assert reason in str(refusal.value)
    assert not (tmp_path / "voc" / "ImageSets").exists()


# Real files


@pytest.mark.shared
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_nuclei(split, shared_data):
    root = shared_data / "coco_panoptic_layout"
    dataset = read_coco_panoptic(
        root / "annotations" / f"panoptic_{split}.json", root / "annotations" / f"panoptic_{split}", root / split
    )
    assert len(dataset) == {"train": 470, "val": 94}[split]
    document = json.loads((root / "annotations" / f"panoptic_{split}.json").read_text())
    areas = {
        (annotation["image_id"], info["id"]): info["area"]
        for annotation in document["annotations"]
        for info in annotation["segments_info"]
    }
    for index in range(0, len(dataset), 1 if split == "val" else 10):
        image = dataset[index]
        assert dataset.picture(index).shape == (*image.size, 3)
        ids, counts = np.unique(image.id_map[image.id_map > 0], return_counts=True)
        assert [areas[image.image_id, i] for i in ids.tolist()] == counts.tolist()


@pytest.mark.shared
def test_real_photographs(shared_data, tmp_path):
    dataset = read_voc(shared_data / "voc_layout" / "VOCdevkit" / "VOC2012", "val")
    images = list(dataset)
    assert len(images) == 53
    assert sum(segment.is_thing for image in images for segment in image.segments) == 281
    assert all(dataset.picture(i).shape == (*image.size, 3) for i, image in enumerate(images))
    write_voc(images, tmp_path, "val")
    write_coco_panoptic(images, tmp_path / "val.json", tmp_path / "val", dataset.categories)
    assert all(same(a, b) for a, b in zip(images, read_voc(tmp_path, "val"), strict=True))
    assert all(
        same(a, b) for a, b in zip(images, read_coco_panoptic(tmp_path / "val.json", tmp_path / "val"), strict=True)
    )
