"""``point2mask prepare``: VOC and SBD to COCO panoptic, points to one file, other people's points, checks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from point2mask_ot import (
    VOC_CATEGORIES,
    ArgumentError,
    Category,
    FileError,
    PanopticImage,
    PointTargets,
    Segment,
    read_coco_panoptic,
    read_voc,
    write_coco_panoptic,
    write_points,
    write_voc,
)
from point2mask_ot.cli import main
from point2mask_ot.panoptic import PicturePoints, PointSet, check_points, read_point_set, write_point_set

CAT, DOG, SKY = Category(8, "cat", True), Category(3, "dog", True), Category(0, "sky", False)
CATEGORIES = (CAT, DOG, SKY)


def scene(name: str, shift: int = 0) -> PanopticImage:
    ids = np.full((12, 16), 9)
    ids[1:6, 2 + shift : 7 + shift] = 1
    ids[6:11, 1:9] = 2
    ids[0, 0] = 0
    return PanopticImage(
        ids, (Segment(1, CAT.id, True), Segment(2, DOG.id, True), Segment(9, SKY.id, False)), name, f"{name}.jpg"
    )


@pytest.fixture
def masks(tmp_path):
    """A COCO panoptic data set of three pictures: its JSON."""
    path = tmp_path / "masks.json"
    write_coco_panoptic([scene("a"), scene("b", 2), scene("c", 5)], path, path.with_suffix(""), CATEGORIES)
    return path


def test_point_set_round_trip(tmp_path):
    pictures = [
        PicturePoints("a.jpg", 7, PointTargets([(1, 2), (3.5, 4), (0, 0)], [1, 0, 1], [1, 0])),
        PicturePoints("sub/b.jpg", "b", PointTargets(np.zeros((0, 2), np.int64))),
        PicturePoints("c.jpg", 3, PointTargets([(5, 6)], category=[2], is_thing=[False])),
    ]
    assert write_point_set(tmp_path / "p.json", pictures, CATEGORIES, {"seed": 3}) == 3
    found = read_point_set(tmp_path / "p.json")
    assert found.categories == CATEGORIES
    assert found.info == {"seed": 3}
    assert [(p.file_name, p.image_id) for p in found.pictures] == [(p.file_name, p.image_id) for p in pictures]
    for ours, theirs in zip(pictures, found.pictures, strict=True):
        # Targets are numbered as they appear, and written target by target.
        order = np.argsort(ours.targets.target, kind="stable")
        np.testing.assert_array_equal(theirs.targets.points_yx, ours.targets.points_yx[order])
        np.testing.assert_array_equal(theirs.targets.category, ours.targets.category)


def test_pictures_without_id_are_numbered_as_a_labelling_job_numbers_them(tmp_path):
    pictures = [PicturePoints(name, number, PointTargets([(0, 0)])) for name, number in (("a.jpg", 8), ("b.jpg", 9))]
    write_point_set(tmp_path / "p.json", pictures, CATEGORIES)
    document = json.loads((tmp_path / "p.json").read_text())
    for entry in document["images"]:
        del entry["id"]
    (tmp_path / "p.json").write_text(json.dumps(document))
    assert [picture.image_id for picture in read_point_set(tmp_path / "p.json").pictures] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"].append(d["images"][0]), r"images\[3\]: 'a.jpg' again"),
        (lambda d: (d["images"][0].pop("id"), d["images"][2].update(id=1)), r"images\[2\]: id 1 again"),
        (lambda d: d["images"][1]["points"][0].update(x="left"), r"b.jpg: points\[0\]"),
        (lambda d: d["images"][1]["points"][0].update(x=float("nan")), "NaN"),
        (lambda d: d["images"][2].update(boxes=[]), r"images\[2\]: field 'boxes'"),
        (lambda d: d["images"][0]["points"][0].update(category="cta"), "did you mean 'cat'"),
        (lambda d: d.pop("categories"), "categories"),
        (lambda d: d.update(images={}), "images"),
        (lambda d: d.update(info=3), "info"),
    ],
)
def test_damaged_point_sets(masks, tmp_path, change, message):
    assert main(["prepare", "points", "--panoptic", str(masks), "--out", str(tmp_path / "p.json")]) == 0
    document = json.loads((tmp_path / "p.json").read_text())
    change(document)
    (tmp_path / "p.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=message) as caught:
        read_point_set(tmp_path / "p.json")
    assert "read_point_set" in str(caught.value)


def test_writing_refuses(tmp_path):
    good = PicturePoints("a.jpg", 1, PointTargets([(1, 2)]))
    stuff_as_thing = PicturePoints("a.jpg", 1, PointTargets([(1, 2)], category=[2]))
    for pictures, categories, message in [
        ([], CATEGORIES, "at least one picture"),
        ([stuff_as_thing], CATEGORIES, "a thing target of category 2"),
        ([good], CATEGORIES[::-1], "stuff before things"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            write_point_set(tmp_path / "p.json", pictures, categories)
        assert not (tmp_path / "p.json").exists()
        assert list(tmp_path.iterdir()) == []


def test_points_lie_in_their_masks_whatever_the_order(masks, tmp_path, capsys):
    words = ["prepare", "points", "--panoptic", str(masks), "--n", "4", "--seed", "5"]
    assert main([*words, "--out", str(tmp_path / "p.json")]) == 0
    found = read_point_set(tmp_path / "p.json")
    assert found.info["n"] == 4
    truth = {image.file_name: image for image in read_coco_panoptic(masks, masks.with_suffix(""))}
    for picture in found.pictures:
        targets, image = picture.targets, truth[picture.file_name]
        segment = image.id_map[tuple(targets.points_yx.T)]
        assert sorted(set(segment.tolist())) == [1, 2, 9]
        assert len(targets.points_yx) == len(np.unique(targets.points_yx, axis=0)) == 12
        category_of = {s.id: s.category_id for s in image.segments}
        named = [found.categories[targets.category[t]].id for t in targets.target]
        assert named == [category_of[s] for s in segment.tolist()]
    # The same masks in another order give each picture the same points.
    write_coco_panoptic(list(truth.values())[::-1], tmp_path / "r.json", tmp_path / "r", CATEGORIES)
    words = ["prepare", "points", "--panoptic", str(tmp_path / "r.json"), "--n", "4", "--seed", "5"]
    assert main([*words, "--out", str(tmp_path / "q.json")]) == 0
    turned = read_point_set(tmp_path / "q.json")
    for ours, theirs in zip(found.pictures, turned.pictures[::-1], strict=True):
        np.testing.assert_array_equal(ours.targets.points_yx, theirs.targets.points_yx)
    assert "points of 3 pictures" in capsys.readouterr().out


def test_check_finds_what_is_wrong(masks, tmp_path, capsys):
    path = tmp_path / "p.json"
    assert main(["prepare", "points", "--panoptic", str(masks), "--out", str(path)]) == 0
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (16, 12)).save(tmp_path / "pictures" / f"{name}.jpg")
    assert main(["prepare", "check", str(path), "--panoptic", str(masks)]) == 0
    assert "3 pictures, 9 targets, 9 points, 0 pictures without things" in capsys.readouterr().out
    words = ["prepare", "check", str(path), "--panoptic", str(masks), "--images", str(tmp_path / "pictures")]
    assert main(words) == 1
    assert "c.jpg: no such picture" in capsys.readouterr().out

    good = read_point_set(path)
    first = good.pictures[0]
    moved = first.targets.points_yx.copy()
    moved[0] = (0, 0)  # void
    moved[1] = (50, 3)
    wrong = [
        replace(first, targets=PointTargets(moved, None, first.targets.category, first.targets.is_thing)),
        replace(good.pictures[1], file_name="z.jpg"),
        replace(good.pictures[2], targets=PointTargets([(2, 8), (3, 9), (4, 10)], category=[0, 0, 0])),
    ]
    dataset = read_coco_panoptic(masks, masks.with_suffix(""))
    others = (*good.categories[:2], replace(good.categories[2], name="heaven"))
    _, problems = check_points(PointSet(others, tuple(wrong), {}), dataset)
    for expected in (
        "category 'heaven' (id 0): in one of the two files only",
        "category 'sky' (id 0): in one of the two files only",
        "b.jpg: in the masks, not in the points",
        "z.jpg: in the points, not in the masks",
        "a.jpg: point x=0, y=0 of target 0: on segment 0, which is no 'cat'",
        "a.jpg: point x=3, y=50 of target 1: outside the picture of 12x16",
        "c.jpg: point x=9, y=3 of target 1: segment 1 is target 0 already",
        "c.jpg: point x=10, y=4 of target 2: segment 1 is target 0 already",
    ):
        assert expected in problems
    assert len(problems) == 8


def test_psps_points(masks, tmp_path, capsys):
    dataset = read_coco_panoptic(masks, masks.with_suffix(""))
    (tmp_path / "points").mkdir()
    for entry, image in zip(dataset.images, dataset, strict=True):
        rgb = np.zeros((*image.size, 3), np.uint8)
        rgb[3, 7, 0] = 1
        rgb[8, 2:4, 0] = 2  # two points; the sky has none
        Image.fromarray(rgb).save(tmp_path / "points" / entry.mask_file)
    words = ["prepare", "import-psps", "--panoptic", str(masks), "--png", str(tmp_path / "points")]
    assert main([*words, "--out", str(tmp_path / "p.json")]) == 0
    assert "3 segments have no point" in capsys.readouterr().out
    targets = read_point_set(tmp_path / "p.json").pictures[1].targets
    assert targets.points_yx.tolist() == [[3, 7], [8, 2], [8, 3]]
    assert targets.target.tolist() == [0, 1, 1]
    assert targets.category.tolist() == [0, 1]
    Image.fromarray(np.full((12, 16, 3), 200, np.uint8)).save(tmp_path / "points" / dataset.images[1].mask_file)
    assert main([*words, "--out", str(tmp_path / "p.json")]) == 2
    assert "expected ids that the JSON lists" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--n", "3"], ["--no-stuff"]])
def test_points_as_psps_reads_them(masks, tmp_path, words):
    assert (
        main(["prepare", "points", "--panoptic", str(masks), "--out", f"{tmp_path}/p.json", "--write-png", *words]) == 0
    )
    # Read back as others wrote them, they are the same points.
    again = ["prepare", "import-psps", "--panoptic", f"{tmp_path}/p_png.json", "--png", f"{tmp_path}/p_png"]
    assert main([*again, "--out", f"{tmp_path}/q.json"]) == 0
    drawn, read = (read_point_set(tmp_path / name) for name in ("p.json", "q.json"))
    assert drawn.categories == read.categories
    for ours, theirs in zip(drawn.pictures, read.pictures, strict=True):
        listed = [sorted(zip(p.targets.target, p.targets.points_yx.tolist(), strict=True)) for p in (ours, theirs)]
        assert listed[0] == listed[1]
        assert ours.targets.category.tolist() == theirs.targets.category.tolist()


def test_nothing_but_points_that_were_made_so_is_replaced(masks, tmp_path, capsys):
    """The masks that are read, clicks, files of other names, and a folder of PNGs stay as they are."""
    points, png = ["prepare", "points", "--panoptic", str(masks)], tmp_path / "p_png"
    assert main([*points, "--out", f"{tmp_path}/p.json", "--write-png"]) == 0
    psps = ["prepare", "import-psps", "--panoptic", f"{png}.json", "--png", str(png)]
    clicks = tmp_path / "clicks.json"
    write_points(clicks, PointTargets([(1, 1)], category=[0]), [Category(1, "cat", True)], info={"state": "done"})
    table = tmp_path / "points.csv"
    table.write_text("image,x,y,category\na.png,1,1,cat\n")
    (tmp_path / "mine_png").mkdir()
    (tmp_path / "mine_png/mask.png").write_bytes(b"work")
    kept = [masks, clicks, table, png.with_suffix(".json"), *png.iterdir(), tmp_path / "mine_png/mask.png"]
    before = [path.read_bytes() for path in kept]
    refused = [[*words, "--out", str(path)] for words in (points, psps) for path in (masks, clicks, table)]
    refused += [[*psps, "--out", f"{png}.json"], [*points, "--out", f"{tmp_path}/mine.json", "--write-png"]]
    refused += [
        ["prepare", "import", str(table), "--format", "csv", "--out", str(path)] for path in (masks, clicks, table)
    ]
    for words in refused:
        assert main(words) == 2, words
        assert "--out: got" in capsys.readouterr().err
    assert [path.read_bytes() for path in kept] == before
    for words in (
        [*points, "--out", f"{tmp_path}/p.json", "--write-png", "--n", "2"],
        [*psps, "--out", f"{tmp_path}/q.json"],
    ):
        assert main(words) == main(words) == 0, "what was made so before may be made again"
    assert main(["prepare", "check", str(table), "--panoptic", str(masks)]) == 2
    assert "--format csv --out points.json` makes" in capsys.readouterr().err


def voc_scene(name: str) -> PanopticImage:
    ids = np.full((10, 12), 7)
    ids[2:5, 2:6], ids[5:9, 1:9], ids[2:9, 11] = 1, 2, 0
    return PanopticImage(ids, (Segment(1, 15, True), Segment(2, 12, True), Segment(7, 0, False)), name, f"{name}.jpg")


def test_voc_and_sbd(tmp_path, capsys):
    voc, sbd, out = tmp_path / "VOC2012", tmp_path / "dataset", tmp_path / "out"
    write_voc([voc_scene("2007_1"), voc_scene("2007_2")], voc, "train")
    write_voc([voc_scene("2008_9")], voc, "val")
    (sbd / "inst").mkdir(parents=True)
    (sbd / "train.txt").write_text("2008_9\n2010_5\n")  # the first is one of VOC's validation pictures
    (sbd / "val.txt").write_text("2007_2\n2010_4\n")
    ids = np.zeros((6, 8), np.uint8)
    ids[1:3, 1:4], ids[3:5, 2:8] = 1, 2
    for name in ("2010_4", "2010_5"):
        record = {"Segmentation": ids, "Categories": np.array([[3], [20]], np.uint8)}
        savemat(sbd / "inst" / f"{name}.mat", {"GTinst": record})
    assert main(["prepare", "voc", "--voc", str(voc), "--sbd", str(sbd), "--out", str(out)]) == 0
    assert "voc_panoptic_train_aug.json: 4 pictures" in capsys.readouterr().out
    train = read_coco_panoptic(out / "voc_panoptic_train_aug.json", out / "voc_panoptic_train_aug")
    assert train.categories == VOC_CATEGORIES
    assert [image.file_name for image in train] == ["2007_1.jpg", "2007_2.jpg", "2010_4.jpg", "2010_5.jpg"]
    np.testing.assert_array_equal(train[0].id_map, read_voc(voc, "train")[0].id_map)
    assert [s.category_id for s in train[2].segments] == [3, 20, 0]
    np.testing.assert_array_equal(train[2].id_map, np.where(ids, ids, 3))
    val = read_coco_panoptic(out / "voc_panoptic_val.json", out / "voc_panoptic_val")
    assert [image.file_name for image in val] == ["2008_9.jpg"]

    assert main(["prepare", "voc", "--voc", str(voc), "--out", str(out)]) == 0
    assert "voc_panoptic_train.json: 2 pictures" in capsys.readouterr().out
    for content, message in (
        ({"GTinst": {"Segmentation": ids, "Categories": np.array([[3]])}}, "an object of classes 1..20 for each id"),
        ({"GTinst": {"Segmentation": ids, "Categories": np.array([[3], [21]])}}, "an object of classes 1..20"),
        ({"other": 1}, "GTinst with Segmentation and Categories"),
    ):
        savemat(sbd / "inst" / "2010_4.mat", content)
        assert main(["prepare", "voc", "--voc", str(voc), "--sbd", str(sbd), "--out", str(out)]) == 2
        assert message in capsys.readouterr().err
    (sbd / "inst" / "2010_4.mat").write_bytes(b"no MATLAB file")
    assert main(["prepare", "voc", "--voc", str(voc), "--sbd", str(sbd), "--out", str(out)]) == 2


@pytest.mark.shared
def test_real_photographs(shared_data, tmp_path):
    voc = shared_data / "voc_layout" / "VOCdevkit" / "VOC2012"
    assert main(["prepare", "voc", "--voc", str(voc), "--out", str(tmp_path)]) == 0
    masks = tmp_path / "voc_panoptic_val.json"
    assert main(["prepare", "points", "--panoptic", str(masks), "--out", str(tmp_path / "p.json")]) == 0
    pictures = ["--images", str(voc / "JPEGImages")]
    assert main(["prepare", "check", str(tmp_path / "p.json"), "--panoptic", str(masks), *pictures]) == 0
