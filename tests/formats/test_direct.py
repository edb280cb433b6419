"""Other tools' files in the place of points files."""

from __future__ import annotations

import csv
import json

import pytest
from labelling_jobs import picture, results
from PIL import Image

from point2mask_ot import FileError, import_points, label_dataset
from point2mask_ot.cli import main
from point2mask_ot.formats.direct import all_targets, points_on
from point2mask_ot.labelling import JobStopped

DOTS = {"left": (2, 12), "right:stuff": (29, 12)}
"""On the pictures of labelling_jobs, by category."""


def labelme(name, width=32):
    shapes = [{"label": label, "shape_type": "point", "points": [[x + 0.5, y + 0.5]]} for label, (x, y) in DOTS.items()]
    return {"shapes": shapes, "imagePath": name, "imageHeight": 24, "imageWidth": width}


def coco(names):
    kinds = [{"id": 4, "name": "left"}, {"id": 9, "name": "right", "isthing": 0}]
    images = [{"id": 10 + k, "file_name": name, "height": 24, "width": 32} for k, name in enumerate(names)]
    annotations = [
        {"image_id": image["id"], "category_id": kind["id"], "keypoints": [x, y, 2]}
        for image in images
        for kind, (x, y) in zip(kinds, DOTS.values(), strict=True)
    ]
    return {"images": images, "annotations": annotations, "categories": kinds}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png")):
        Image.fromarray(picture(index)).save(folder / name)
    return folder


def written(path, document):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def job(photos, points, out):
    return label_dataset(photos, points, out, workers=0, progress=False)


def test_a_job_reads_them_as_our_own(photos, tmp_path):
    with open(tmp_path / "own.csv", "w", newline="") as file:
        rows = [(name, x, y, label) for name in ("a.png", "b.png") for label, (x, y) in DOTS.items()]
        csv.writer(file).writerows([("image", "x", "y", "category"), *rows])
    for name in "ab":
        written(tmp_path / "labelme" / f"{name}.json", labelme(f"{name}.png"))
    own = job(photos, tmp_path / "own.csv", tmp_path / "out1")
    theirs = job(photos, tmp_path / "labelme", tmp_path / "out2")
    assert own.labelled == theirs.labelled == 2
    masks = [
        {name: data for name, data in results(made.out).items() if name.endswith(".png")} for made in (own, theirs)
    ]
    assert masks[0] == masks[1]
    again = job(photos, tmp_path / "labelme", tmp_path / "out2")
    assert again.labelled == 2
    numbered = job(photos, written(tmp_path / "coco.json", coco(["a.png", "b.png"])), tmp_path / "out3")
    document = json.loads((numbered.out / "panoptic.json").read_text())
    assert [image["id"] for image in document["images"]] == [10, 11]
    assert [(kind["id"], kind["isthing"]) for kind in document["categories"]] == [(4, 1), (9, 0)]


def test_a_job_sets_aside_what_was_drawn_on_another_size(photos, tmp_path):
    written(tmp_path / "labelme" / "a.json", labelme("a.png", width=64))
    written(tmp_path / "labelme" / "b.json", labelme("b.png"))
    made = job(photos, tmp_path / "labelme", tmp_path / "out")
    assert (made.labelled, made.set_aside) == (1, 1)
    assert "[24, 64], as the points file says" in (made.out / "set_aside.csv").read_text()


def test_a_job_needs_names(photos, tmp_path):
    (tmp_path / "a.csv").write_text("index,axis-0,axis-1\n0,12,2\n")
    with pytest.raises((FileError, JobStopped), match=r"that is not named; expected .*point2mask prepare import"):
        job(photos, tmp_path / "a.csv", tmp_path / "out")


def test_label_takes_them(photos, tmp_path, capsys):
    path = written(tmp_path / "x.json", labelme("a.png"))
    words = ["label", str(photos / "a.png"), "--points", str(path)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "left" in capsys.readouterr().out
    masks, coins = tmp_path / "out" / "a.json", tmp_path / "labelme"
    assert main(["prepare", "export", str(masks), "--to", "labelme", "--out", str(coins), "--stuff"]) == 0
    drawn = import_points(coins, stuff=["right"])
    assert [category.name for category in drawn.categories] == ["left", "right"]
    assert drawn.pictures[0].file_name == "a.png"
    written(path, labelme("a.png", width=64))
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "--points: got" in capsys.readouterr().err


def test_points_of_one_picture_among_many(tmp_path):
    path = written(tmp_path / "coco.json", coco(["sub/a.png", "b.png"]))
    found = points_on(path, image="a.png", shape=(24, 32))
    assert found.targets.points_yx.tolist() == [[12, 2], [12, 29]]
    assert [category.is_thing for category in found.categories] == [True, False]
    assert len(all_targets(path)) == 2
    with pytest.raises(FileError, match=r"no picture 'c\.png'"):
        points_on(path, image="c.png", shape=(24, 32))
    (tmp_path / "layer.csv").write_text("index,axis-0,axis-1\n0,12,2\n")
    assert points_on(tmp_path / "layer.csv", image="any.tif", shape=(24, 32)).targets.points_yx.tolist() == [[12, 2]]


def test_masks_are_still_no_points(tmp_path):
    document = {"images": [], "categories": [], "annotations": [{"image_id": 1, "segments_info": []}]}
    path = written(tmp_path / "panoptic.json", document)
    with pytest.raises(FileError, match="masks in COCO's format"):
        points_on(path, image="a.png", shape=(24, 32))
