"""Pascal VOC files: written, read, and refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from panoptic_cases import CATEGORIES, ONE, panoptic_images, per_example_folder, same
from PIL import Image

from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.panoptic import (
    VOC_CATEGORIES,
    Category,
    PanopticImage,
    Segment,
    read_coco_panoptic,
    read_voc,
    voc_palette,
    write_coco_panoptic,
    write_voc,
)


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
