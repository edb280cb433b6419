"""What people bring to a data-set job, taken for what it is or refused: the lines of FAULTS.md that concern it."""

from __future__ import annotations

import json
import multiprocessing
import unicodedata
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from labelling_jobs import entry, make_set, results, write_document
from PIL import Image

from point2mask_ot import (
    ArgumentError,
    Category,
    FileError,
    PanopticImage,
    Segment,
    label_dataset,
    read_coco_panoptic,
    read_voc,
    write_coco_panoptic,
    write_voc,
)
from point2mask_ot.annotate.listing import list_pictures
from point2mask_ot.cli import main
from point2mask_ot.files.pictures import upright
from point2mask_ot.labelling import JobStopped, Sampling
from point2mask_ot.labelling.maps import as_map_tensors
from point2mask_ot.labelling.workers.pool import Pool, Worker, WorkerDiedError
from point2mask_ot.panoptic import safe_join


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A call that labels three small pictures in this process."""
    images, points = make_set(tmp_path, 3)
    monkeypatch.chdir(tmp_path)

    def call(out="out", **settings):
        given = {"images": images, "points": points, "out": tmp_path / out, "workers": 0, "progress": False}
        return label_dataset(**{**given, **settings})

    call.images, call.points = images, points
    return call


def reasons(made) -> dict[str, str]:
    listed = json.loads((made.out / "summary.json").read_text())["set_aside_first"]
    return {one["picture"]: one["reason"] for one in listed}


# ---------------------------------------------------------------------------------------------- folders and pictures


def clicked(folder: Path, name: str, **info: str) -> None:
    """The file of a picture that the page writes."""
    folder.mkdir(exist_ok=True)
    document = json.loads(write_document(folder / "written.json", [entry(name)]).read_text()) | {"info": info}
    (folder / "written.json").unlink()
    (folder / f"{name.removesuffix('.png')}_points.json").write_text(json.dumps(document))


def test_another_picture_of_that_name_is_not_labelled_with_its_points(job, tmp_path):
    for name in ("p000.png", "p001.png"):
        clicked(tmp_path / "clicks", name, picture_sha256=sha256((job.images / "p000.png").read_bytes()).hexdigest())
    made = job(points=tmp_path / "clicks")
    assert (made.labelled, made.set_aside) == (1, 1)
    assert "another file than the one that its points were made on" in reasons(made)["p001.png"]


def test_another_picture_than_a_file_of_points_tells_is_not_labelled(job, tmp_path):
    """By the page's digest, or by its size."""
    for name, count in (("p000.png", 1), ("p001.png", 0)):
        clicked(tmp_path / "clicks", name, picture_sha256=sha256((job.images / "p000.png").read_bytes()).hexdigest())
        made = job(name, points=tmp_path / f"clicks/{name.removesuffix('.png')}_points.json")
        assert (made.labelled, made.set_aside) == (count, 1 - count)
    sized = [entry("p000.png") | {"height": 24, "width": 32}, entry("p001.png") | {"height": 48, "width": 64}]
    made = job("sized", points=write_document(tmp_path / "sized.json", sized))
    assert reasons(made).keys() == {"p001.png"}
    assert "HxW [24, 32]; expected [48, 64], as the points file says" in reasons(made)["p001.png"]


def test_a_size_of_the_stored_picture_is_told_of_the_turn(job, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    with Image.open(job.images / "p000.png") as image:
        image.save(job.images / "turned.jpg", exif=exif)
    told = entry("turned.jpg") | {"height": 24, "width": 32}
    points = write_document(tmp_path / "turned.json", [told, entry("p001.png")])
    assert "EXIF orientation 6: of the picture that exif='ignore'" in reasons(job(points=points))["turned.jpg"]
    assert job("stored", points=points, exif="ignore").labelled == 2


def test_an_umlaut_in_either_of_its_spellings(job, tmp_path):
    """A Mac takes an ö apart, most tables do not."""
    composed, taken_apart = (unicodedata.normalize(form, "größe.png") for form in ("NFC", "NFD"))
    (job.images / "p000.png").rename(job.images / taken_apart)
    made = job(points=write_document(tmp_path / "p.json", [entry(composed), entry("p001.png"), entry("p002.png")]))
    assert (made.labelled, made.set_aside) == (3, 0)
    assert json.loads((made.out / "summary.json").read_text())["pictures_without_points"] == 0


def test_a_point_outside_is_told_as_people_see_it(job, tmp_path):
    outside = {"file_name": "p000.png", "points": [{"x": 40, "y": 5, "category": "left"}]}
    made = job(points=write_document(tmp_path / "far.json", [outside, entry("p001.png")]))
    assert "p000.png: x=40, y=5; expected points inside the picture, which is 32 wide" in reasons(made)["p000.png"]


@pytest.mark.parametrize("wrong", ["points", "images", "sizes", "merge"])
def test_a_call_that_is_refused_deletes_nothing(job, tmp_path, wrong):
    """Neither one to start over, nor another job in the folder of one that has labelled nothing."""
    job()
    gone = write_document(tmp_path / "gone.json", [entry("gone.png"), entry("p001.png")])
    (hidden := tmp_path / "p001.png").write_bytes((job.images / "p001.png").read_bytes())
    (job.images / "p001.png").write_bytes(b"")
    assert job("nothing", points=gone).labelled == 0
    (job.images / "p001.png").write_bytes(hidden.read_bytes())
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{}")
    changes = {"points": {"points": tmp_path / "bad.json"}, "images": {"images": tmp_path / "empty"}}
    changes |= {"sizes": {"sizes": {"nobody": 30}}, "merge": {"merge": True}}
    for out, fresh in (("out", True), ("nothing", False)):
        before = results(tmp_path / out)
        with pytest.raises(ArgumentError):
            job(out, fresh=fresh, **changes[wrong])
        assert results(tmp_path / out) == before


def test_to_start_over_with_a_few_pictures_deletes_no_more_labels_than_it_makes(job):
    job()
    for few in ({"only": ["p001.png"]}, {"only": ["p001.png"] * 4}, {"limit": 2}):
        with pytest.raises(ArgumentError, match=r"'fresh': got a call for [12] pictures, which would delete .* 3"):
            job(fresh=True, **few)
    assert job(fresh=True).labelled == 3
    assert job("few", limit=1).labelled == job("few", limit=1, fresh=True, beta=0.3).labelled == 1


@pytest.mark.parametrize("argument", ["images", "points"])
def test_results_do_not_lie_among_what_is_read(argument, job, tmp_path):
    clicked(tmp_path / "clicks", "p000.png")
    folder = {"images": job.images, "points": tmp_path / "clicks"}[argument]
    with pytest.raises(ArgumentError, match=f"'out'.*which is the folder of `{argument}`"):
        job(points=tmp_path / "clicks", out=folder)
    inside = job(points=tmp_path / "clicks", out=folder / "labels")  # is passed over where it is read again
    assert inside.labelled == job("else", points=tmp_path / "clicks").labelled == 1
    assert job(points=tmp_path / "clicks", out=folder / "labels").labelled == 1
    assert "p000.png" in list_pictures(job.images, tmp_path / "a").names
    assert len(list_pictures(job.images, tmp_path / "a").names) == 3


# ------------------------------------------------------------------------------------------------------- maps (A4)

SIZE, CATEGORIES = (48, 64), 3
MISREAD = {
    "height, width, channels": ("semantic", (48, 64, 3), "look like (H, W, C)"),
    "the same, coarser": ("semantic", (12, 16, 3), "look like (H, W, C)"),
    "width before height": ("semantic", (3, 64, 48), "look like (C, W, H)"),
    "width, height, channels": ("features", (64, 48, 7), "look like (W, H, C)"),
    "one channel more": ("semantic", (4, 48, 64), "(3, 48, 64): channels are one for each category"),
    "a channel short": ("semantic", (2, 48, 64), "one for each category"),
    "two boundaries": ("boundary", (2, 48, 64), "(1, 48, 64): channels are one"),
    "a boundary at the end": ("boundary", (48, 64, 1), "look like (H, W, C)"),
    "another proportion": ("semantic", (3, 48, 48), "on one scale"),
    "another proportion, coarse": ("semantic", (3, 5, 5), "(3, 5, 5); expected (3, 48, 64) as"),
    "features of a crop": ("features", (7, 24, 28), "on one scale"),
}


@pytest.mark.parametrize("case", MISREAD)
def test_fault_a4_maps_are_refused_not_reinterpreted(case):
    name, shape, word = MISREAD[case]
    with pytest.raises(ArgumentError, match=f"label_dataset: argument 'maps': got '{name}' from x.npy") as caught:
        as_map_tensors({name: np.zeros(shape, np.float32)}, SIZE, "x.npy", CATEGORIES)
    assert word in str(caught.value)


@pytest.mark.parametrize("shape", [(48, 64), (24, 32), (96, 128), (3, 4), (4, 5), (4, 6), (49, 64), (1, 1)])
def test_fault_a4_maps_of_one_scale_are_resized(shape):
    maps = {"semantic": np.full((CATEGORIES, *shape), 0.25, np.float32), "features": np.ones((2, *shape), np.float32)}
    found = as_map_tensors(maps, SIZE, "x.npz", CATEGORIES)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "semantic": (3, 48, 64),
        "features": (2, 48, 64),
    }
    assert np.allclose(found["semantic"], 0.25)


def test_fault_a4_a_picture_with_such_maps_is_set_aside(job, tmp_path):
    (tmp_path / "maps").mkdir()
    good = np.zeros((2, 24, 32), np.float32)
    good[0, :, :16], good[1, :, 16:] = 1, 1
    for index, maps in enumerate((good, good.transpose(1, 2, 0), np.concatenate([good, good[:1]]))):
        np.save(tmp_path / "maps" / f"p{index:03}.npy", maps)
    found = reasons(job(maps="maps"))
    assert list(found) == ["p001.png", "p002.png"]
    assert "p001.npy of shape (24, 32, 2)" in found["p001.png"]
    assert "(2, 24, 32): channels are one for each category" in found["p002.png"]


# ------------------------------------------------------------------------------------------------------ links (C8)


@pytest.fixture
def linked(tmp_path):
    """A folder whose only picture, and a folder whose only map, is a link into a cache elsewhere."""
    images, points = make_set(tmp_path / "cache", 1)
    semantic = np.zeros((2, 24, 32), np.float32)
    semantic[0, :, :16], semantic[1, :, 16:] = 1, 1
    np.save(tmp_path / "cache" / "blob.npy", semantic)
    for folder, name, target in (("images", "p000.png", images / "p000.png"), ("maps", "p000.npy", "cache/blob.npy")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).symlink_to(tmp_path / target)
    return tmp_path / "images", points, tmp_path / "maps"


def test_fault_c8_links_are_followed_where_asked(linked, tmp_path):
    images, points, maps = linked
    how = {"workers": 0, "progress": False}
    refused = label_dataset(images, points, tmp_path / "out", **how)
    assert "a link that leads out of the folder" in reasons(refused)["p000.png"]
    assert "follow_links=True follows it" in reasons(refused)["p000.png"]
    assert label_dataset(images, points, tmp_path / "out", follow_links=True, **how).labelled == 1, "the same job"
    by_maps = label_dataset(images, points, tmp_path / "by maps", maps=maps, follow_links=True, **how)
    assert by_maps.labelled == 1
    (images / "p000.png").unlink()
    (images / "p000.png").write_bytes((tmp_path / "cache" / "images" / "p000.png").read_bytes())
    refused = label_dataset(images, points, tmp_path / "only maps", maps=maps, **how)
    assert "follow_links=True" in reasons(refused)["p000.png"]


def test_fault_c8_a_link_is_no_way_around_names_that_leave(linked, tmp_path):
    images, _, _ = linked
    for name in ("../cache/images/p000.png", "/etc/passwd", "", ".", "a/../../x", "nul\0"):
        with pytest.raises(FileError, match=r"stays inside \S+$"):
            safe_join(images, name, follow_links=True)
    assert safe_join(images, "a/../p000.png", follow_links=True) == images / "p000.png"


def test_fault_c8_masks_behind_links(tmp_path):
    kinds = [Category(1, "coin", True), Category(0, "table", False)]
    truth = PanopticImage([[1, 2]], (Segment(1, 1, True), Segment(2, 0, False)), "a", "a.jpg")
    write_voc([truth], tmp_path / "real", categories=kinds)
    (tmp_path / "voc").mkdir()
    for folder in ("ImageSets", "SegmentationClass", "SegmentationObject"):
        (tmp_path / "voc" / folder).symlink_to(tmp_path / "real" / folder)
    with pytest.raises(FileError, match=r"follow_links=True"):
        read_voc(tmp_path / "voc", categories=kinds)
    assert read_voc(tmp_path / "voc", categories=kinds, follow_links=True)[0].id_map.tolist() == [[1, 2]]


# ------------------------------------------------------------------------------------------- pictures (C1 and C2)


def save_deep(images, values):
    """p000.png as a TIFF of 16 bits."""
    (images / "p000.png").unlink(missing_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(images / "p000.tif")


def test_fault_c1_deep_pictures_and_their_levels(job, tmp_path):
    grey = np.asarray(Image.open(job.images / "p000.png"))[..., 1].astype(int)
    points = write_document(tmp_path / "deep.json", [entry("p000.tif")])
    plain = job("plain", points=write_document(tmp_path / "plain.json", [entry("p000.png")]))
    save_deep(job.images, grey * 200)
    for out, settings in (("own", {}), ("given", {"levels": (0, 51_000)})):
        made = job(out, points=points, **settings)
        assert made.labelled == 1
        assert np.array_equal(ids_of(made, "p000"), ids_of(plain, "p000"))
    with pytest.raises(ArgumentError, match=r"levels: \[0.*\] -> None"):
        job("given", points=points)
    assert ids_of(job("dark", points=points, levels=(60_000, 61_000)), "p000").max() <= 2
    with pytest.raises(ArgumentError, match="label_dataset: argument 'levels'"):
        job("bad", points=points, levels=(3, 2))
    unnamed = json.loads((plain.out / "summary.json").read_text())["pictures_without_points_first"]
    assert unnamed == ["p001.png", "p002.png"]
    found = json.loads(
        (
            job("other", points=write_document(tmp_path / "other.json", [entry("p001.png")])).out / "summary.json"
        ).read_text()
    )
    assert "p000.tif" in found["pictures_without_points_first"], "a TIFF is a picture"


def ids_of(made, stem) -> np.ndarray:
    return np.asarray(Image.open(made.out / "panoptic" / f"{stem}.png"))[..., 0]


@pytest.fixture
def turned(job, tmp_path):
    """One picture that a camera turned, and its true masks."""
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.asarray(Image.open(job.images / "p000.png"))
    Image.fromarray(pixels[::-1, ::-1]).save(job.images / "p000.png", exif=exif)  # as it is stored
    kinds = [Category(4, "left", True), Category(9, "right", False)]
    shown = PanopticImage(
        np.where(pixels[..., 0] < 128, 1, 2), (Segment(1, 4, True), Segment(2, 9, False)), 1, "p000.png"
    )
    write_coco_panoptic([shown], tmp_path / "truth.json", tmp_path / "truth", kinds)
    return write_document(tmp_path / "one.json", [entry("p000.png")])


def test_fault_c2_turned_pictures_are_turned(job, turned):
    assert ids_of(job(points=turned), "p000")[12, [2, 29]].tolist() == [1, 2]
    assert ids_of(job("stored", points=turned, exif="ignore"), "p000")[12, [2, 29]].tolist() == [1, 2]
    assert "exif='ignore'" in reasons(job("refused", points=turned, exif="refuse"))["p000.png"]


def test_fault_c2_of_masks_that_give_points_one_says_which(job, turned):
    drawn = {"points": Sampling("truth.json")}
    assert "EXIF orientation 3" in reasons(job("drawn", **drawn))["p000.png"]
    assert job("drawn shown", exif="apply", **drawn).labelled == 1


def test_no_label_depends_on_the_truth_of_a_turned_picture(job, turned):
    """Upside down, nothing tells what the masks are of, and the picture is not scored unless one says it."""
    alone, beside = job("alone", points=turned), job("beside", points=turned, truth="truth.json")
    assert (beside.labelled, beside.scores["scored"]) == (1, 0)
    np.testing.assert_array_equal(ids_of(alone, "p000"), ids_of(beside, "p000"))
    assert job("alone", points=turned, truth="truth.json").scores["scored"] == 0, "labels that were there before"
    assert job("said", exif="apply", points=turned, truth="truth.json").scores["pq"] > 0.9


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("kept", [False, True])
def test_a_quarter_turn_is_told_by_the_sides_of_the_true_masks(job, turned, tmp_path, orientation, kept):
    shown, exif = upright(np.asarray(Image.open(job.images / "p000.png")), 3), Image.Exif()
    exif[0x0112] = orientation
    back = {6: 8, 8: 6}.get(orientation, orientation)
    Image.fromarray(np.ascontiguousarray(upright(shown, back))).save(job.images / "p000.png", exif=exif)
    if kept:
        job("out", points=turned)
    assert job("out", points=turned, truth="truth.json").scores["pq"] > 0.9, "the masks are of what is shown"
    dataset = read_coco_panoptic(tmp_path / "truth.json", tmp_path / "truth")
    stored = replace(dataset[0], id_map=upright(dataset[0].id_map, back))
    write_coco_panoptic([stored], tmp_path / "truth.json", tmp_path / "truth", dataset.categories)
    made = job("out", points=turned, truth="truth.json")
    assert (made.set_aside, made.scores["scored"]) == (0, 1)
    assert made.scores["pq"] > 0.9, "the masks are of what is stored"


# -------------------------------------------------------------------------------- a part of what the points name (C9)


@pytest.fixture
def split(job, tmp_path):
    """A command over points of 8 pictures, of which the folder has the three p000.png, p001.png and p002.png."""
    points = write_document(tmp_path / "split.json", [entry(f"p{index:03}.png") for index in range(-5, 3)])

    def call(*words, out="out"):
        words = ["--images", job.images, "--points", points, "--out", tmp_path / out, "--workers", 0, "--quiet", *words]
        return main(["label-dataset", *map(str, words)])

    call.out = tmp_path / "out"
    return call


def test_fault_c9_what_was_not_asked_for_is_no_error(split, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("p002\n\np000.png\n", encoding="utf-8-sig")
    for words, count in ((["--limit", 30], 3), (["--limit", 2], 2), (["--only", "names.txt"], 2)):
        out = f"out{count}{words[0]}"
        assert split(*words, out=out) == 0
        assert f"{count} of {count} pictures labelled, 0 set aside" in capsys.readouterr().out
        summary = json.loads((tmp_path / out / "summary.json").read_text())
        assert (summary["pictures"], summary["set_aside"], summary["pictures_not_asked_for"]) == (count, 0, 8 - count)
        assert len((tmp_path / out / "set_aside.csv").read_text().splitlines()) == 1
        assert len(json.loads((tmp_path / out / "panoptic.json").read_text())["images"]) == count
    assert split() == 1
    assert "3 of 8 pictures labelled, 5 set aside" in capsys.readouterr().out
    assert split("--limit", 1) == 0, "what an earlier call set aside was not asked for now"
    assert "1 of 1 pictures labelled, 0 set aside" in capsys.readouterr().out
    assert len(json.loads((split.out / "panoptic.json").read_text())["images"]) == 3, "labels stay in the results"


def test_fault_c9_a_picture_that_was_asked_for_by_name_is_missed(split, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("p000\np-05.png\n")
    assert split("--only", "names.txt") == 1
    assert "1 of 2 pictures labelled, 1 set aside" in capsys.readouterr().out
    assert split("--only", "names.txt", "--limit", 5, out="both") == 0
    for text, word in (("p00O.png", "did you mean 'p00"), ("", "1 to"), ("\n", "at least one"), ("\xff", "UTF-8")):
        (tmp_path / "names.txt").write_bytes(text.encode("latin-1"))
        assert split("--only", "names.txt") == 2
        said = capsys.readouterr().err
        assert "--only" in said
        assert word in said


def test_fault_c9_names_from_python_and_in_parts(job):
    assert job(only=["p001"]).labelled == 1
    for bad in ([], [1], 3):
        with pytest.raises(ArgumentError, match="label_dataset: argument 'only'"):
            job(only=bad)
    with pytest.raises(ArgumentError, match="label_dataset: argument 'limit'"):
        job(limit=0)
    counts = [job("parts", only=["p000", "p002"], shard=(i, 2)).pictures for i in (1, 2)]
    assert counts == [2, 0]
    assert job("parts", only=["p000", "p002"], merge=True).labelled == 2


# ----------------------------------------------------------------------------------------- a folder of points (C7)


def save_points(path, name, categories, points):
    """As the page saves what was clicked on one picture."""
    listed = [{"id": i, "name": name, "isthing": thing} for i, (name, thing) in enumerate(categories, start=1)]
    images = [{"file_name": name, "points": points}]
    path.write_text(json.dumps({"categories": listed, "images": images}))


def test_fault_c7_a_folder_of_points(job, tmp_path):
    folder = tmp_path / "clicked"
    folder.mkdir()
    left, right = {"x": 2, "y": 12, "category": "left"}, {"x": 29, "y": 12, "category": "right"}
    save_points(folder / "p000_points.json", "p000.png", [("left", 1), ("right", 0)], [left, right])
    by_id = [{**right, "category": 1}, {**left, "category": 2}]
    save_points(folder / "p001_points.json", "p001.png", [("right", 0), ("left", 1)], by_id)
    (folder / "more.csv").write_text("image,x,y,category\np002.png,2,12,left\np002.png,29,12,right:stuff\n")
    masks = {"images": [], "annotations": [1], "categories": []}
    (folder / "p000.json").write_text(json.dumps(masks))  # what the page saves beside the points
    (folder / "notes.json").write_text('{"by": "me"}')
    (folder / "strip.png").write_bytes(b"")
    made = job(points=folder)
    assert made.labelled == 3
    document = json.loads((made.out / "panoptic.json").read_text())
    assert [(c["id"], c["name"], c["isthing"]) for c in document["categories"]] == [(1, "left", 1), (2, "right", 0)]
    assert [image["file_name"] for image in document["images"]] == ["p002.png", "p000.png", "p001.png"]
    whole = job("whole")
    for stem in ("p000", "p002"):
        assert np.array_equal(ids_of(made, stem), ids_of(whole, stem))
    assert np.array_equal(3 - ids_of(made, "p001"), ids_of(whole, "p001")), "stuff was clicked first"
    assert job(points=folder).labelled == 3, "the same job"
    (folder / "p000.json").unlink()
    assert job(points=folder).labelled == 3, "masks are none of its business"
    save_points(folder / "p000_points.json", "p000.png", [("left", 1), ("right", 0)], [left, {**right, "x": 30}])
    again = job(points=folder)
    assert (again.labelled, again.kept) == (3, 2)


def test_fault_c7_folders_that_mean_nothing(job, tmp_path):
    folder = tmp_path / "clicked"
    folder.mkdir()
    with pytest.raises(FileError, match=r"clicked: no points file"):
        job(points=folder)
    left = {"x": 2, "y": 12, "category": "left"}
    save_points(folder / "a.json", "p000.png", [("left", 1)], [left])
    save_points(folder / "b.json", "p001.png", [("left", 0)], [left])
    with pytest.raises(FileError, match=r"b.json: category 'left' as stuff; expected thing, as in a.json"):
        job(points=folder)
    save_points(folder / "b.json", "p000.png", [("left", 1)], [left])
    with pytest.raises(FileError, match=r"b.json: points of 'p000.png', whose points are in a.json, too"):
        job(points=folder)
    (folder / "b.json").unlink()
    (folder / "b.csv").write_text("image,x,y,category\np000.png,2,12,left\n")
    with pytest.raises(FileError, match=r"b.csv: points of 'p000.png', whose points are in a.json, too"):
        job(points=folder)
    (folder / "b.csv").unlink()
    save_points(folder / "b.json", "p001.png", [("left", 1)], [{**left, "category": "lift"}])
    with pytest.raises(FileError, match=r"b.json: p001.png: points\[0\]: category 'lift'.*did you mean 'left'"):
        job(points=folder)


def test_fault_c7_what_is_no_file_of_points_of_many_pictures_is_explained(job, tmp_path):
    one = {"categories": [{"name": "left", "isthing": 1}], "points": [{"x": 2, "y": 12, "category": "left"}]}
    (tmp_path / "one.json").write_text(json.dumps(one))
    with pytest.raises(FileError, match=r'"points" of a picture that has no name; expected "images"'):
        job(points="one.json")
    made = job()
    with pytest.raises(FileError, match=r"masks in COCO's format; expected .*point2mask prepare"):
        job("again", points=made.out / "panoptic.json")


# -------------------------------------------------------------------------------- no main guard, no children (B5)


def test_fault_b5_a_worker_that_runs_the_script_again_says_what_is_missing(job, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)  # as in such a worker
    with pytest.raises(ArgumentError, match=r'below `if __name__ == "__main__":`.*or workers=0'):
        job(workers=2)


def test_fault_b5_a_daemonic_process_has_no_workers(job, monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    for workers in (None, 2):
        with pytest.raises(ArgumentError, match=r"'workers': got .* in a daemonic process.*; expected workers=0"):
            job(workers=workers)
    assert job(workers=0).labelled == 3


def test_fault_b5_the_job_says_it_where_workers_do_not_begin():
    class Stillborn(Worker):
        def receive(self):
            raise WorkerDiedError("exit status 1")

        def end(self):
            pass

    crew = SimpleNamespace(start=Stillborn, wait=lambda workers, seconds: list(workers))
    with pytest.raises(JobStopped, match=r"before they begin: exit status 1 \(the guard\)"):
        list(Pool(crew, 1, lambda: False, lambda task, reason: None, " (the guard)").run(iter(())))
