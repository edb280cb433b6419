"""The command as a person uses it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from point2mask_ot import __version__, read_coco_panoptic, read_picture, read_voc, sample_points, write_points
from point2mask_ot.cli import main


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "coffee.png"
    Image.fromarray(skimage.data.coffee()[::3, ::3]).save(path)
    return path


POINTS_CSV = "x,y,category,target\n95,60,cup,a\n60,40,cup,a\n20,120,background,\n180,10,background,\n"


def test_label_takes_the_points_of_this_picture_and_no_other(tmp_path, photo, capsys):
    """Of two of one name that of its folder; and none that were clicked on another file, or another size of it."""
    folder = tmp_path / "day 2"
    folder.mkdir()
    here = photo.rename(folder / photo.name)
    rows = ["coffee.png,95,60,cup", "coffee.png,20,120,background", "day 2/coffee.png,60,40,mug"]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,category", *rows, "day 2/coffee.png,5,5,background"]))
    words = ["label", str(here), "--out", str(tmp_path / "out"), "--points"]
    assert main([*words, str(tmp_path / "points.csv")]) == 0
    assert "mug" in (printed := capsys.readouterr().out)
    assert "cup" not in printed
    points = [{"x": 95, "y": 60, "category": "cup"}, {"x": 5, "y": 5, "category": "table"}]
    document = {"categories": [{"name": "cup", "isthing": 1}, {"name": "table", "isthing": 0}], "points": points}
    path, other = tmp_path / "points.json", tmp_path / "other"
    for digest, status in ((hashlib.sha256(here.read_bytes()).hexdigest(), 0), ("0" * 64, 2)):
        path.write_text(json.dumps(document | {"info": {"picture_sha256": digest}}))
        assert main([*words, str(path)]) == status
    assert "--points: got" in (complaint := capsys.readouterr().err)
    assert "clicked on another file than this coffee.png" in complaint
    path.write_text(
        json.dumps(
            {**document, "points": [], "images": [{"file_name": here.name, "width": 9, "height": 9, "points": points}]}
        )
    )
    assert main(["label", str(here), "--points", str(path), "--out", str(other)]) == 2
    assert "points on a picture of HxW (9, 9)" in capsys.readouterr().err
    assert not other.exists()


def test_demo(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for word in ("target", "category", "capacity", "coin", "background", "marginal error", "seconds: edges"):
        assert word in printed
    assert read_picture(tmp_path / "coins_stages.png").std() > 10
    dataset = read_coco_panoptic(tmp_path / "coins.json", tmp_path / "panoptic")
    truth = dataset[0]
    names = [c.name for s in truth.segments for c in dataset.categories if c.id == s.category_id]
    assert names.count("coin") == 24
    assert names.count("background") == 1
    coins = [s.id for s in truth.segments if s.is_thing]
    areas = np.bincount(truth.id_map.ravel())[coins]
    # A coin of this photograph covers some 1,000 to 5,000 pixels.
    assert areas.min() > 800
    assert areas.max() < 6000


def test_sizes_that_were_told_stand_beside_what_was_found(tmp_path, photo, capsys):
    points = tmp_path / "points.csv"
    points.write_text("x,y,category,size\n95,60,cup,3000\n20,120,background:stuff,\n180,10,background:stuff,\n")
    assert main(["label", str(photo), "--points", str(points), "--out", str(tmp_path / "masks")]) == 0
    header, cup, background = capsys.readouterr().out.splitlines()[:3]
    assert header.endswith("size told")
    assert cup.endswith(" 3000")
    assert len(background) < len(cup)


def test_demo_in_colour(tmp_path, capsys):
    assert main(["demo", "--picture", "coffee", "--out", str(tmp_path)]) == 0
    assert "spoon" in capsys.readouterr().out
    assert (tmp_path / "coffee_stages.png").is_file()


def test_demo_with_sizes(tmp_path):
    """One point of each target; the sizes that a person would guess, and what they change, in a row more."""
    strips, areas = [], []
    for name, words in (("plain", []), ("sized", ["--sizes"])):
        out = tmp_path / name
        assert main(["demo", "--picture", "coffee", *words, "--out", str(out)]) == 0
        strips.append(read_picture(out / "coffee_stages.png"))
        made = read_coco_panoptic(out / "coffee.json", out / "panoptic")[0]
        areas.append(np.bincount(made.id_map.ravel(), minlength=6)[1:])
    assert strips[0].shape[1] == strips[1].shape[1]
    assert 1.45 < strips[1].shape[0] / strips[0].shape[0] < 1.55
    told = np.pi / 4 * np.array([130, 200, 300, 70]) ** 2
    assert (areas[1][:4] < 2 * told).all(), "and no saucer as large as the table"


@pytest.mark.parametrize("preset", ["best", "paper", "official"])
def test_label_own_picture(photo, tmp_path, capsys, preset):
    points = tmp_path / "points.csv"
    points.write_text(POINTS_CSV)
    out = tmp_path / "out"
    if preset == "official":  # it assigns by class likelihood, which a picture alone does not give
        assert main(["label", str(photo), "--points", str(points), "--out", str(out), "--preset", preset]) == 2
        assert "colours name no class" in capsys.readouterr().err
        return
    assert main(["label", str(photo), "--points", str(points), "--out", str(out), "--preset", preset]) == 0
    truth = read_coco_panoptic(out / "coffee.json", out / "panoptic")[0]
    assert truth.size == skimage.data.coffee()[::3, ::3].shape[:2]
    assert len(truth.segments) == 2
    assert truth.file_name == "coffee.png"
    assert (out / "coffee_stages.png").is_file()


def test_one_folder_takes_many_pictures(photo, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text(POINTS_CSV)
    other = photo.with_name("tea.png")
    other.write_bytes(photo.read_bytes())
    for picture in (photo, other):
        assert main(["label", str(picture), "--points", str(points), "--out", str(tmp_path / "out")]) == 0
    for stem in ("coffee", "tea"):
        dataset = read_coco_panoptic(tmp_path / "out" / f"{stem}.json", tmp_path / "out" / "panoptic")
        assert dataset[0].file_name == f"{stem}.png"


def test_a_folder_that_cannot_take_the_results_is_an_error(photo, tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text(POINTS_CSV)
    (tmp_path / "out" / "coffee_stages.png").mkdir(parents=True)
    assert main(["label", str(photo), "--points", str(points), "--out", str(tmp_path / "out")]) == 2
    assert "coffee_stages.png" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/below", "folder"])
@pytest.mark.parametrize("command", ["label", "annotate", "demo"])
def test_a_file_in_place_of_the_folder_is_refused_before_the_work(command, out, photo, tmp_path, capsys):
    (tmp_path / "points.csv").write_text(POINTS_CSV)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/panoptic").write_text("")
    words = {"demo": [], "label": [photo, "--points", tmp_path / "points.csv"], "annotate": [photo, "--no-browser"]}
    assert main([command, *map(str, words[command]), "--out", str(tmp_path / out)]) == 2
    shown = capsys.readouterr()
    assert "which is a file; expected a folder" in shown.err
    assert "capacity" not in shown.out


def test_same_input_same_bytes(photo, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text(POINTS_CSV)
    for name in "ab":
        assert main(["label", str(photo), "--points", str(points), "--out", str(tmp_path / name)]) == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


REFUSALS = {
    "no photo": (["missing.png"], {}, "missing.png"),
    "point outside": ([], {"points": POINTS_CSV + "900,3,cup,b\n"}, "line 6"),
    "no such column": ([], {"points": "x,z,category\n1,2,cup\n"}, "z"),
    "not a number": ([], {"points": "x,y,category\none,2,cup\n"}, "line 2"),
    "unknown preset": (["--preset", "bets"], {}, "did you mean 'best'"),
    "stride too large": (["--stride", "1000"], {}, "stride"),
    "two targets on one pixel": ([], {"points": POINTS_CSV + "95,60,cup,b\n"}, "both at (y, x) = (60, 95)"),
    "no model": (["--edge-model", "missing.yml.gz"], {}, "missing.yml.gz"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses(case, photo, tmp_path, capsys):
    words, files, expected = REFUSALS[case]
    points = tmp_path / "points.csv"
    points.write_text(files.get("points", POINTS_CSV))
    picture = [str(photo)] if not words or words[0].startswith("--") else []
    status = main(["label", *picture, *words, "--points", str(points), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith("point2mask label: ")
    assert expected in error
    assert not (tmp_path / "out").exists()


def test_installed_command():
    command = Path(sys.executable).with_name("point2mask")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "demo" in shown
    assert "label" in shown


def test_the_package_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "point2mask_ot", "--version"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout.strip()) == (0, __version__)


def label_sampled_points(dataset, index, photo, folder):
    """Points drawn from the true masks, through a point file and the command, to a panoptic file of the same size."""
    truth = dataset[index]
    drawn = sample_points(truth, dataset.categories, stuff=True)
    write_points(folder / "points.json", drawn.targets, dataset.categories)
    out = folder / str(index)
    assert main(["label", str(photo), "--points", str(folder / "points.json"), "--out", str(out)]) == 0
    made = read_coco_panoptic(out / f"{photo.stem}.json", out / "panoptic")[0]
    assert made.size == truth.size
    assert len(made.segments) >= drawn.targets.num_targets - 2, "hardly any target is left without a pixel"


@pytest.mark.shared
def test_label_real_photographs_from_sampled_points(shared_data, tmp_path):
    root = shared_data / "voc_layout/VOCdevkit/VOC2012"
    dataset = read_voc(root, "val")
    for index in range(0, len(dataset), 20):
        label_sampled_points(dataset, index, root / "JPEGImages" / dataset.images[index].file_name, tmp_path)


@pytest.mark.shared
def test_label_real_nuclei_from_sampled_points(shared_data, tmp_path):
    root = shared_data / "coco_panoptic_layout"
    dataset = read_coco_panoptic(root / "annotations/panoptic_val.json", root / "annotations/panoptic_val")
    for index in range(0, len(dataset), 40):
        label_sampled_points(dataset, index, root / "val" / dataset.images[index].file_name, tmp_path)


@pytest.fixture
def clicks(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(POINTS_CSV)
    return path


def label(photo, clicks, out):
    return main(["label", str(photo), "--points", str(clicks), "--out", str(out)])


@pytest.mark.parametrize("name", ["day2/coffee.png", "coffee.jpg"])
def test_fault_a3_label_refuses_a_second_picture_of_one_name(photo, clicks, tmp_path, capsys, name):
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    Image.open(photo).rotate(180).save(other)
    out = tmp_path / "out"
    assert label(photo, clicks, out) == 0
    kept = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert len(kept) == 3
    capsys.readouterr()
    assert label(other, clicks, out) == 2
    assert capsys.readouterr().err == (
        f"point2mask label: --out: got {out}/coffee.json, of another picture than this {other.name}; "
        "expected a folder for the results of this picture alone, or that file moved away\n"
    )
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == kept
    moved = tmp_path / "archive" / photo.name
    moved.parent.mkdir()
    photo.rename(moved)
    assert label(moved, clicks, out) == 0, "again, wherever it lies"
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == kept


def test_fault_a3_label_does_not_replace_what_it_reads(photo, tmp_path, capsys):
    points = photo.with_suffix(".json")
    write = {"categories": [{"name": "cup", "isthing": 1}], "images": [{"file_name": photo.name, "points": CUPS}]}
    points.write_text(json.dumps(write))
    for folder, picture in ((tmp_path, photo), (tmp_path, tmp_path / "panoptic" / photo.name)):
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(photo.read_bytes())
        assert label(picture, points, folder) == 2
        assert "which is read and would be replaced" in capsys.readouterr().err
    assert json.loads(points.read_text()) == write


CUPS = [{"x": 95, "y": 60, "category": "cup"}, {"x": 20, "y": 120, "category": "cup"}]


@pytest.mark.parametrize("name", ["coffee_stages.png", "panoptic.json", ".job"])
def test_fault_a3_label_does_not_write_among_other_files(photo, clicks, tmp_path, capsys, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("{}")
    assert label(photo, clicks, tmp_path / "out") == 2
    assert f"{name}, which is not of this command" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_fault_a3_label_goes_on_after_a_run_that_was_killed(photo, clicks, tmp_path):
    (tmp_path / "out/panoptic").mkdir(parents=True)
    (tmp_path / "out/panoptic/coffee.png").write_bytes(photo.read_bytes())  # it is written first
    assert label(photo, clicks, tmp_path / "out") == 0


def test_fault_a3_demo_does_not_replace_the_results_of_ones_own_picture(tmp_path, capsys):
    photo = tmp_path / "coins.png"
    Image.fromarray(skimage.data.coins()[:100, :200]).save(photo)
    (tmp_path / "points.csv").write_text("x,y,category\n45,54,coin\n80,20,background\n")
    assert label(photo, tmp_path / "points.csv", tmp_path / "demo") == 0
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "demo: --out: got" in capsys.readouterr().err


def test_fault_c7_label_finds_its_picture_among_many(photo, tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text("image,x,y,category\ntea.png,9999,2,leaf\ncoffee.png,95,60,cup\ncoffee.png,20,120,background\n")
    assert label(photo, points, tmp_path / "out") == 0
    assert "leaf" not in capsys.readouterr().out
    points.write_text("image,x,y,category\ntea.png,9,2,leaf\ntee.png,9,2,leaf\n")
    assert label(photo, points, tmp_path / "none") == 2
    assert "coffee.png" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_fault_a3_masks_do_not_replace_the_points_of_a_picture_called_alike(photo, clicks, tmp_path, capsys):
    """The page keeps the clicks on coffee.png in coffee_points.json, which the masks of coffee_points.png would be."""
    drawn = {"categories": [{"name": "cup", "isthing": 1}], "points": CUPS}
    (tmp_path / "out").mkdir()
    (tmp_path / "out/coffee_points.json").write_text(json.dumps(drawn))
    assert label(photo.rename(tmp_path / "coffee_points.png"), clicks, tmp_path / "out") == 2
    assert "coffee_points.json, of another picture" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/coffee_points.json").read_text()) == drawn
