"""Masks into other tools' files, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from panoptic.panoptic_cases import CATEGORIES, panoptic_images, per_example_folder
from PIL import Image
from scipy.ndimage import binary_dilation

from point2mask_ot import (
    ArgumentError,
    Category,
    FileError,
    PanopticImage,
    Segment,
    export_masks,
    import_points,
    read_coco_panoptic,
    write_coco_panoptic,
)
from point2mask_ot.cli import main
from point2mask_ot.formats import label_maps
from point2mask_ot.formats.outlines import joined, outlines
from point2mask_ot.formats.shapes import area, outline, polygon

COIN, PEN, TABLE = Category(3, "coin", True), Category(7, 'a "pen": blue', True), Category(0, "table", False)


def scene(name: str) -> PanopticImage:
    """A ring, a coin in two parts, a pen that touches both, a table, and void."""
    ids = np.full((40, 50), 9)
    ids[5:20, 5:20] = 400
    ids[9:16, 9:16] = 0
    ids[25:30, 3:9], ids[33:38, 4:20] = 70_000, 70_000
    ids[20:32, 12:16] = 5
    segments = (Segment(400, 3, True), Segment(70_000, 3, True), Segment(5, 7, True), Segment(9, 0, False))
    return PanopticImage(ids, segments, name, f"sub/{name}.jpg")


def written(folder, images, categories):
    folder.mkdir(exist_ok=True)
    write_coco_panoptic(images, folder / "masks.json", folder / "masks", categories)
    return read_coco_panoptic(folder / "masks.json", folder / "masks")


@pytest.fixture
def masks(tmp_path):
    return written(tmp_path, [scene("a"), scene("b")], [TABLE, COIN, PEN])


AREAS = [48, 15 * 15 - 7 * 7, 30 + 80]
"""Of the things, in the order of their ids."""


def polygons_of_yolo(path, size):
    for line in path.read_text().splitlines():
        number, *corners = line.split()
        yield int(number), np.array(corners, float).reshape(-1, 2) * (size[1], size[0])


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_outlines_enclose_the_pixels_and_nothing_else(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    mask = np.array(bits).reshape(height, width)
    rings = outlines(mask)
    assert sum(area(ring) for ring in rings) == mask.sum()
    assert area(joined(rings)) == mask.sum()
    assert len(outlines(np.ones_like(mask))[0]) == 4
    for drawn in (outline(rings), *(polygon(ring) for ring in rings)):
        assert all(mask[round(y), round(x)] for x, y in drawn.points)


OWN = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""pycocotools' decoder is of the time before NumPy 2."""


@OWN
@pytest.mark.parametrize("polygons", [False, True])
def test_coco_instances_are_what_coco_s_own_code_reads(polygons, masks, tmp_path, capsys):
    pycocotools = pytest.importorskip("pycocotools.coco", reason="needs the extra formats")
    assert export_masks(masks, "coco-instances", tmp_path / "out", polygons=polygons) == 2
    read = pycocotools.COCO(tmp_path / "out" / "instances.json")
    assert sorted(category["name"] for category in read.loadCats(read.getCatIds())) == ['a "pen": blue', "coin"]
    for image in masks:
        found = read.loadAnns(read.getAnnIds(imgIds=[image.image_id]))
        assert [entry["area"] for entry in found] == AREAS
        for entry, segment in zip(found, (5, 400, 70_000), strict=True):
            mask = read.annToMask(entry)
            assert np.array_equal(mask, image.id_map == segment)
            assert entry["bbox"] == list(Image.fromarray(mask).getbbox()[:2]) + entry["bbox"][2:]


@OWN
@per_example_folder
@given(panoptic_images())
def test_any_picture_through_coco_s_own_code(tmp_path_factory, image):
    pycocotools = pytest.importorskip("pycocotools.coco", reason="needs the extra formats")
    folder = tmp_path_factory.mktemp("any")
    masks = written(folder, [image], CATEGORIES)
    for polygons in (False, True):
        export_masks(masks, "coco-instances", folder / f"{polygons}", stuff=True, polygons=polygons)
        read = pycocotools.COCO()
        read.dataset = json.loads((folder / f"{polygons}" / "instances.json").read_text())
        read.createIndex()
        found = read.loadAnns(read.getAnnIds())
        segments = sorted(image.segments, key=lambda segment: segment.id)
        assert [entry["iscrowd"] for entry in found] == [segment.is_crowd for segment in segments]
        for entry, segment in zip(found, segments, strict=True):
            assert np.array_equal(read.annToMask(entry), image.id_map == segment.id)


@pytest.mark.parametrize(("to", "suffix"), [("labels-tiff", ".tif"), ("labels-png", ".png")])
@pytest.mark.parametrize("stuff", [False, True])
def test_label_pictures_are_exact(to, suffix, stuff, masks, tmp_path):
    assert export_masks(masks, to, tmp_path / "out", stuff=stuff) == 2
    path = tmp_path / "out" / "sub" / f"a{suffix}"
    found = tifffile.imread(path) if suffix == ".tif" else np.array(Image.open(path))
    assert found.dtype == np.uint16
    number = {0: 0, 5: 1, 9: 2 if stuff else 0, 400: 2 + stuff, 70_000: 3 + stuff}
    assert np.array_equal(found, np.vectorize(number.get)(masks[0].id_map))


def test_label_pictures_hold_so_many_and_no_more():
    count = 2**16
    ids = np.arange(1, count + 1).reshape(256, 256)
    image = PanopticImage(ids, tuple(Segment(k, 3, True) for k in range(1, count + 1)), 1, "a.png")
    with pytest.raises(ArgumentError, match=r"65536 objects in 'a.png'; expected at most 65535"):
        label_maps.png(image, stuff=False)


def test_yolo_has_one_polygon_for_each_object(masks, tmp_path):
    export_masks(masks, "yolo", tmp_path / "out")
    assert (tmp_path / "out" / "data.yaml").read_text().splitlines()[3:] == [
        "names:",
        '  0: "coin"',
        '  1: "a \\"pen\\": blue"',
    ]
    found = list(polygons_of_yolo(tmp_path / "out" / "labels" / "sub" / "a.txt", (40, 50)))
    assert [number for number, _ in found] == [1, 0, 0]
    np.testing.assert_allclose([area(ring) for _, ring in found], AREAS, rtol=1e-5)


@pytest.mark.parametrize("stuff", [False, True])
@pytest.mark.parametrize("to", ["labelme", "coco-instances"])
def test_there_and_back(to, stuff, masks, tmp_path):
    """As many targets, as large, with their points inside."""
    export_masks(masks, to, tmp_path / "out", stuff=stuff, polygons=to == "coco-instances")
    found = import_points(tmp_path / "out", stuff=["table"] if stuff else [])
    assert [picture.file_name for picture in found.pictures] == ["sub/a.jpg", "sub/b.jpg"]
    for picture, image in zip(found.pictures, masks, strict=True):
        targets = picture.targets
        assert sorted(targets.size[targets.is_thing]) == sorted(AREAS)
        assert (~targets.is_thing).sum() == stuff
        owner = image.id_map[tuple(np.floor(targets.points_yx + 0.5).astype(int).T)]
        kinds = {segment.id: segment.category_id for segment in image.segments}
        for target in range(targets.num_targets):
            (segment,) = set(owner[targets.target == target].tolist())
            assert kinds[segment] == found.categories[targets.category[target]].id or to == "labelme"


def test_supervision_reads_what_is_written(tmp_path):
    """Run lengths as they are; polygons with OpenCV, which draws the pixels right of and below an edge, too."""
    supervision = pytest.importorskip("supervision", reason="needs the extra integrations")
    image = replace(scene("a"), file_name="a.jpg")
    masks = written(tmp_path, [image], [TABLE, COIN, PEN])
    (tmp_path / "images").mkdir()
    Image.new("RGB", (50, 40)).save(tmp_path / "images" / "a.jpg")
    truth = np.stack([image.id_map == segment for segment in (5, 400, 70_000)])
    fat = truth | np.roll(truth, 1, 1) | np.roll(truth, 1, 2) | np.roll(truth, (1, 1), (1, 2))
    for polygons in (False, True):
        out = tmp_path / f"{polygons}"
        export_masks(masks, "coco-instances", out, polygons=polygons)
        paths = str(tmp_path / "images"), str(out / "instances.json")
        ((_, _, found),) = supervision.DetectionDataset.from_coco(*paths, force_masks=True)
        assert np.array_equal(found.mask, truth) or polygons
        assert (truth <= found.mask).all()
        assert (found.mask <= fat).all()
    export_masks(masks, "yolo", tmp_path / "yolo")
    paths = str(tmp_path / "images"), str(tmp_path / "yolo" / "labels"), str(tmp_path / "yolo" / "data.yaml")
    read = supervision.DetectionDataset.from_yolo(*paths, force_masks=True)
    assert read.classes == [COIN.name, PEN.name]
    ((_, _, found),) = read
    assert found.class_id.tolist() == [1, 0, 0]
    wide = np.ones((1, 3, 3), bool)  # it cuts off fractions of a pixel, also such as come of 32 bits
    assert (truth <= binary_dilation(found.mask, wide)).all()
    outside = (found.mask & ~binary_dilation(truth, wide)).sum((1, 2))
    assert outside.tolist() == [0, 0, 1]  # and draws the way between two parts, which has no width


def test_nothing_is_replaced(masks, tmp_path):
    for to, name in (("labels-png", "sub/a.png"), ("labelme", "sub/b.json"), ("coco-instances", "instances.json")):
        there = tmp_path / to / name
        there.parent.mkdir(parents=True)
        there.write_text("mine")
        with pytest.raises(ArgumentError, match=r"argument 'out'.*which is there; expected a folder for these"):
            export_masks(masks, to, tmp_path / to)
        assert there.read_text() == "mine"
        assert [path for path in (tmp_path / to).rglob("*") if path.is_file()] == [there]
    with pytest.raises(ArgumentError, match="which is there"):
        export_masks(masks, "labels-png", tmp_path / "masks")


def test_what_export_masks_refuses(masks, tmp_path):
    with pytest.raises(ArgumentError, match=r"argument 'to': got 'yolov8'.*did you mean 'yolo'"):
        export_masks(masks, "yolov8", tmp_path / "out")
    with pytest.raises(ArgumentError, match=r"argument 'polygons'.*to='coco-instances'"):
        export_masks(masks, "yolo", tmp_path / "out", polygons=True)
    document = json.loads((tmp_path / "masks.json").read_text())
    for name, error in (("../x.jpg", "a path that stays inside"), ("sub/b.png", "differ in more than the suffix")):
        document["images"][0]["file_name"] = name
        (tmp_path / "masks.json").write_text(json.dumps(document))
        with pytest.raises(ArgumentError, match=error):
            export_masks(read_coco_panoptic(tmp_path / "masks.json", tmp_path / "masks"), "yolo", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    damaged = masks.images[1].mask_file
    (tmp_path / "masks" / damaged).write_bytes(b"no picture")
    with pytest.raises(FileError, match="no readable picture"):
        export_masks(masks, "coco-instances", tmp_path / "out", polygons=True)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_run_lengths_without_pycocotools(masks, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(ArgumentError, match=r"pip install 'point2mask-ot\[formats\]' first, or polygons=True"):
        export_masks(masks, "coco-instances", tmp_path / "out")


def test_the_command(masks, tmp_path, capsys):
    words = ["prepare", "export", str(tmp_path / "masks.json"), "--out", str(tmp_path / "out")]
    assert main([*words, "--to", "labelme"]) == 0
    assert "labelme of 2 pictures" in capsys.readouterr().out
    assert main([*words, "--to", "labelme"]) == 2
    assert "--out: got" in capsys.readouterr().err
    assert main([*words, "--to", "yolo", "--polygons"]) == 2
    assert "expected --to coco-instances with it" in capsys.readouterr().err
