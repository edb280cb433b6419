"""COCO panoptic files: written, read, and refused."""

from __future__ import annotations

import copy
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panoptic_cases import CATEGORIES, ONE, panoptic_images, per_example_folder, same
from panopticapi.utils import rgb2id
from PIL import Image

from point2mask_ot.checks import ArgumentError, FileError
from point2mask_ot.panoptic import PanopticImage, Segment, read_coco_panoptic, write_coco_panoptic, write_voc


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


def test_fault_c6_coco_instances_are_told_from_coco_panoptic(tmp_path):
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 5}],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 18, "segmentation": [[0, 0, 4, 0, 4, 3]], "iscrowd": 0}
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=r"COCO instances: each annotation is one object.*expected COCO panoptic"):
        read_coco_panoptic(tmp_path / "instances.json", tmp_path)


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
