"""Rough sizes in a data-set job and in ``label``: from the points, by category, learned, and what is said of them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from labelling_jobs import make_set, results, write_document
from PIL import Image

from point2mask_ot import (
    ArgumentError,
    Category,
    PointTargets,
    label_dataset,
    label_picture,
    read_coco_panoptic,
    read_points,
)
from point2mask_ot.cli import main
from point2mask_ot.labelling import Sampling
from point2mask_ot.labelling.sizes import named_sizes, size_notes

CATEGORIES = [{"id": 1, "name": "bead", "isthing": 1}, {"id": 2, "name": "wall", "isthing": 0}]
CENTRES = [(14, 14), (14, 46), (40, 30)]
RADIUS = 9
WALL = [(2, 2), (2, 57), (52, 2), (52, 57)]


def beads(seed: int) -> np.ndarray:
    """Three discs that a gradient of light crosses."""
    y, x = np.mgrid[:55, :60]
    rng = np.random.default_rng(seed)
    pixels = 90 + x + rng.normal(0, 8, y.shape)
    for row, column in CENTRES:
        pixels[np.hypot(y - row, x - column) <= RADIUS] += 25
    return np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def points(sizes=()) -> list[dict]:
    """Of one picture, with the sizes of the first beads."""
    things = [{"x": x, "y": y, "category": "bead"} for y, x in CENTRES]
    for thing, size in zip(things, sizes, strict=False):
        thing |= size
    return things + [{"x": x, "y": y, "category": "wall"} for y, x in WALL]


def targets_of(sizes=None) -> PointTargets:
    owner, category = [0, 1, 2] + [3] * 4, [0, 0, 0, 1]
    return PointTargets([*CENTRES, *WALL], owner, category, [True] * 3 + [False], sizes)


@pytest.fixture
def job(tmp_path):
    """A call that labels pictures of beads, given what the points of each say of sizes."""
    images = tmp_path / "images"
    images.mkdir()

    def call(told, out="out", **settings):
        for i in range(len(told)):
            Image.fromarray(beads(i)).save(images / f"{i}.png")
        entries = [{"file_name": f"{i}.png", "points": points(sizes)} for i, sizes in enumerate(told)]
        document = write_document(tmp_path / "points.json", entries, CATEGORIES)
        return label_dataset(images, document, tmp_path / out, **{"workers": 0, "progress": False, **settings})

    call.images, call.points = images, tmp_path / "points.json"
    return call


def id_maps(out):
    return [image.id_map for image in read_coco_panoptic(out / "panoptic.json", out / "panoptic")]


def summary(out):
    return json.loads((out / "summary.json").read_text())


def expected(seed, sizes, error=None):
    targets = targets_of(sizes)
    targets = PointTargets(*list(vars(targets).values())[:5], targets.size_error if error is None else error)
    return label_picture(beads(seed), targets).instance + 1


def test_sizes_of_the_points_reach_the_masks(job, tmp_path):
    told = [[{"size": 120}, {"radius": 9}, {}], [{}, {}, {}]]
    made = job(told)
    first, second = id_maps(made.out)
    np.testing.assert_array_equal(first, expected(0, [120, np.pi * 81, np.nan, np.nan]))
    np.testing.assert_array_equal(second, expected(1, None))
    assert (first != expected(0, None)).any(), "the sizes must matter here"
    csv = ["image,x,y,category,size,radius"]
    for name, sizes in zip(("0.png", "1.png"), told, strict=True):
        csv += [f"{name},{p['x']},{p['y']},bead,{p.get('size', '')},{p.get('radius', '')}" for p in points(sizes)[:3]]
        csv += [f"{name},{x},{y},wall:stuff,," for y, x in WALL]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "p.csv").write_text("\n".join(csv))
    for source in ("folder", "folder/p.csv"):
        again = label_dataset(job.images, tmp_path / source, tmp_path / f"{source[-3:]}-out", workers=0, progress=False)
        for ours, theirs in zip(id_maps(again.out), (first, second), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_sizes_by_category(job):
    """For the things without a size of their own, and never for stuff."""
    made = job([[{"size": 120}]], sizes={"bead": (200, 1.6)})
    np.testing.assert_array_equal(
        id_maps(made.out)[0], expected(0, [120, 200, 200, np.nan], [1.35, 1.6**2, 1.6**2, 1.35])
    )
    told = summary(made.out)
    assert told["settings"]["sizes.bead"] == [200, 1.6]
    assert {**told["sizes"], "hints_overruled": 0, "counts_overruled": 0} == {
        "told": 1, "typical": 2, "hints_overruled": 0, "counts_overruled": 0, "typical_sizes": {"bead": [200, 1.6]},
    }  # fmt: skip
    assert results(job([[{"size": 120}]], "text", sizes="bead=200/1.6").out) == results(made.out)


def test_learned_sizes(job, forked_workers):
    """From the whole points file, whichever part of it a call labels, in whichever parts and order."""
    told = [[{"size": 100}, {"size": 150}], [{"size": 225}], [], []]
    made = job(told, sizes="learned")
    (size, spread), = summary(made.out)["sizes"]["typical_sizes"].values()  # fmt: skip
    spread_of_hints = np.hypot(np.log([100, 150, 225]).std(ddof=1), np.log(1.35))
    assert (size, spread) == (150, pytest.approx(np.exp(spread_of_hints), abs=1e-3))
    error = float(np.exp(spread_of_hints)) ** 2
    np.testing.assert_array_equal(
        id_maps(made.out)[2], expected(2, [150, 150, 150, np.nan], [error, error, error, 1.35])
    )
    np.testing.assert_array_equal(
        id_maps(made.out)[1], expected(1, [225, 150, 150, np.nan], [1.35, error, error, 1.35])
    )
    part = job(told, "part", sizes="learned", limit=1)
    np.testing.assert_array_equal(id_maps(part.out)[0], id_maps(made.out)[0])
    assert results(job(told, "part", sizes=["learned"]).out) == results(made.out)
    for shard in ("2/2", "1/2"):
        job(told, "shards", sizes="learned", shard=shard)
    assert results(job(told, "shards", sizes="learned", merge=True).out) == results(made.out)
    assert results(job(told, "workers", sizes="learned", workers=2).out) == results(made.out)


def test_given_counts_more_than_learned(job):
    """And is enough where nothing can be learned of the others."""
    for told in ([{"size": 100}, {"size": 150}, {"size": 225}], [{"size": 100}]):
        made = job([told, []], f"out-{len(told)}", sizes=("learned", "bead=300"))
        assert summary(made.out)["sizes"]["typical_sizes"] == {"bead": [300, 2]}


def test_a_job_goes_on_with_its_sizes_only(job):
    told = [[{"size": 100}, {"size": 150}, {"size": 225}], []]
    job(told, limit=1)
    with pytest.raises(ArgumentError, match=r"sizes\.bead: \(absent\) -> \[200\.0, 2\.0\]"):
        job(told, sizes={"bead": 200})
    with pytest.raises(ArgumentError, match=r"sizes: \(absent\) -> learned"):
        job(told, sizes="learned")
    job(told, "given", sizes={"bead": 200}, limit=1)
    assert job(told, "given", sizes=["bead=200"]).labelled == 2
    with pytest.raises(ArgumentError, match=r"sizes\.bead: \[200\.0, 2\.0\] -> \[200\.0, 1\.5\]"):
        job(told, "given", sizes={"bead": (200, 1.5)})


def test_without_sizes_nothing_is_said_of_them(job):
    made = job([[], []])
    assert not any(b"sizes" in content for content in results(made.out).values())
    assert not re.search(b"sizes told|typical sizes", (made.out / "report.html").read_bytes())
    record = next((made.out / ".job" / "records").rglob("*.json"))
    assert "sizes" not in json.loads(record.read_text())


REFUSED = {
    "no such category": (
        {"bed": 3},
        r"got category 'bed'; expected one of the things \['bead'\] \(did you mean 'bead'",
    ),
    "stuff": ({"wall": 3}, r"got 'wall', which is stuff; expected one of the things \['bead'\]"),
    "nothing to learn from": ("learned", "got 'learned', from points that tell fewer than 3 sizes of each category"),
    "zero": ({"bead": 0}, "got 0 for 'bead'; expected a finite number and > 0"),
    "a word": ({"bead": "big"}, r"got str \('big'\) for 'bead'; expected a number"),
    "a factor below 1": ("bead=300/0.5", r"got 0\.5 for 'bead=300/0\.5'; expected a finite number and >= 1"),
    "no number": ("bead=big", "got 'bead=big'; expected 'learned', or once for each category 'NAME=PIXELS"),
    "no size": ("bead", "got 'bead'; expected 'learned'"),
    "no name": ("=3", "got '=3'"),
    "a missing factor": ("bead=3/", "got 'bead=3/'"),
    "twice": (("bead=3", "bead=4"), "got 'bead=4'; expected 'learned', or once"),
    "no text": ((3,), "got 3; expected 'learned'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_sizes(case, job):
    sizes, reason = REFUSED[case]
    with pytest.raises(ArgumentError, match=rf"^label_dataset: argument 'sizes': {reason}"):
        job([[{"size": 3}, {"size": 4}]], sizes=sizes)


def test_nothing_is_learned_from_sampled_points(tmp_path, job):
    made = job([[], []])
    sampling = Sampling(str(made.out / "panoptic.json"))
    with pytest.raises(ArgumentError, match="from points that tell fewer than 3 sizes"):
        label_dataset(job.images, sampling, tmp_path / "s", sizes="learned", workers=0, progress=False)


def test_names_with_equals_signs_and_slashes():
    found, learned = named_sizes("f", ["a=b=300", " a/b = 4e2 / 1.5 ", "learned"])
    assert (found, learned) == ({"a=b": (300, 2), "a/b": (400, 1.5)}, True)


class Notes:
    """What is read of diagnostics."""

    def __init__(self, suppliers, counted, capacities):
        self.suppliers, self.counted, self.capacities = map(np.array, (suppliers, counted, capacities))


def test_who_overruled_whom():
    """Of those whose size was told, and whose count is another by more than a factor of 2."""
    told = targets_of([100, 100, 100, np.nan])
    notes = Notes([0, 1, 2, 3], [201, 40, 199, 5000], [190, 90, 150, 5010])
    assert size_notes(told, told, notes) == {"told": 3, "typical": 0, "hints_overruled": 1, "counts_overruled": 1}
    some = targets_of([100, np.nan, np.nan, np.nan])
    assert size_notes(some, told, notes) == {"told": 1, "typical": 2, "hints_overruled": 1, "counts_overruled": 0}
    things = Notes([0, 1, 2], [3000, 3000, 1400], [3000, 2900, 1500])
    assert size_notes(told, told, things)["hints_overruled"] == 0, "where all are told, only proportions count"
    things = Notes([0, 1, 2], [300, 3000, 3000], [300, 3000, 3000])
    assert size_notes(told, told, things) == {"told": 3, "typical": 0, "hints_overruled": 1, "counts_overruled": 0}


def test_the_report_counts_what_was_overruled(job):
    """A hint of twenty times the true size, which the picture is sure of, and two that are about right."""
    made = job([[{"size": 250}, {"size": 260}, {"size": 12}], []])
    told = summary(made.out)["sizes"]
    assert (told["told"], told["typical"]) == (3, 0)
    assert told["hints_overruled"] + told["counts_overruled"] >= 1
    page = (made.out / "report.html").read_text()
    assert "<b>3</b><span>sizes told</span>" in page
    assert ("hints overruled by the picture" in page) == bool(told["hints_overruled"])
    assert ("counts overruled by a hint" in page) == bool(told["counts_overruled"])


def test_a_turn_of_the_camera_changes_no_size(job, tmp_path):
    """Sizes are in pixels of the turned picture, whose pixels are those that are stored."""
    job([[{"size": 120}, {"size": 400}]])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(beads(0))).save(job.images / "0.png", exif=exif)
    made = label_dataset(job.images, job.points, tmp_path / "turned", workers=0, progress=False)
    np.testing.assert_array_equal(id_maps(made.out)[0], expected(0, [120, 400, np.nan, np.nan]))


# The command line


def test_label_takes_sizes(job, tmp_path, capsys):
    job([[{"size": 120}, {"size": 150}], [{"size": 225}]])
    words = ["label", str(job.images / "0.png"), "--points", str(job.points), "--out"]
    assert main([*words, str(tmp_path / "a")]) == 0
    assert main([*words, str(tmp_path / "b"), "--size", "bead=200/1.6"]) == 0
    assert main([*words, str(tmp_path / "c"), "--size", "learned"]) == 0
    mean, spread = np.exp(np.log([120, 150, 225]).mean()), np.hypot(np.log([120, 150, 225]).std(ddof=1), np.log(1.35))
    for out, size, error in (("a", np.nan, 1.35), ("b", 200, 1.6**2), ("c", mean, np.exp(spread) ** 2)):
        found = read_coco_panoptic(tmp_path / out / "0.json", tmp_path / out / "panoptic")[0].id_map
        np.testing.assert_array_equal(found, expected(0, [120, 150, size, np.nan], [1.35, 1.35, error, 1.35]))
    capsys.readouterr()
    for size, reason in (("bed=3", "category 'bed'; expected one of the things ['bead'] (did you mean 'bead'?)"),
                         ("bead", "got 'bead'; expected 'learned'"), ("bead=0", "got 0")):  # fmt: skip
        assert main([*words, str(tmp_path / "d"), "--size", size]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("point2mask label: --size: got ")
        assert reason in shown


def test_label_dataset_takes_sizes(job, tmp_path, capsys):
    made = job([[{"size": 120}]], sizes={"bead": 200})
    words = ["label-dataset", "--images", str(job.images), "--points", str(job.points), "--workers", "0", "--quiet"]
    assert main([*words, "--size", "bead=200", "--out", str(tmp_path / "command")]) == 0
    assert results(tmp_path / "command") == results(made.out)
    assert main([*words, "--size", "bead=200", "--size", "wall=9", "--out", str(tmp_path / "no")]) == 2
    assert "label-dataset: --size: got 'wall', which is stuff" in capsys.readouterr().err


def test_the_border_as_background(job, tmp_path, capsys):
    made = job([[]], "border", border="background")
    expected_map = label_picture(beads(0), targets_of(), border="background").instance + 1
    np.testing.assert_array_equal(id_maps(made.out)[0], expected_map)
    words = ["--points", str(job.points), "--border", "background", "--out"]
    assert main(["label", str(job.images / "0.png"), *words, str(tmp_path / "a")]) == 0
    found = read_coco_panoptic(tmp_path / "a" / "0.json", tmp_path / "a" / "panoptic")[0].id_map
    np.testing.assert_array_equal(found, expected_map)
    capsys.readouterr()

    (tmp_path / "things.csv").write_text("image,x,y,category\n0.png,14,14,bead\n")
    words = ["--points", str(tmp_path / "things.csv"), "--border", "background", "--out", str(tmp_path / "no")]
    for command, got in (
        (["label", str(job.images / "0.png")], "'background' without a point on a background"),
        (["label-dataset", "--images", str(job.images)], "'background' with categories of things alone"),
    ):
        assert main([*command, *words]) == 2
        shown = capsys.readouterr().err
        assert f"--border: got {got}; expected " in shown
        assert "or --border free" in shown


def test_a_picture_without_background_is_set_aside(job, tmp_path, capsys):
    job([[], []])
    document = json.loads(job.points.read_text())
    document["images"][1]["points"] = document["images"][1]["points"][:3]
    job.points.write_text(json.dumps(document))
    words = ["--points", str(job.points), "--images", str(job.images), "--workers", "0", "--quiet"]
    assert main(["label-dataset", *words, "--border", "background", "--out", str(tmp_path / "some")]) == 1
    assert "without a point on a background; expected a point of a stuff target, or --border free" in (
        capsys.readouterr().out
    )


def test_the_unary_weight_needs_a_semantic_map(tmp_path, capsys):
    images, file = make_set(tmp_path, 1)
    words = ["--points", str(file), "--unary-weight", "0.5", "--out", str(tmp_path / "out")]
    assert main(["label", str(images / "p000.png"), *words]) == 2
    wanted = "--unary-weight: got 0.5 without a semantic map; expected a semantic map, or --unary-weight 0"
    assert wanted in capsys.readouterr().err
    assert main(["label-dataset", "--images", str(images), *words]) == 2
    assert (
        "--unary-weight: got 0.5, which has no effect; expected a semantic map beside it, or --unary-weight left"
        in (capsys.readouterr().err)
    )
    np.save(images / "p000.npy", np.random.default_rng(0).dirichlet([1, 1], (24, 32)).transpose(2, 0, 1))
    with_maps = [*words, "--maps", str(images / "p000.npy")]
    assert main(["label", str(images / "p000.png"), *with_maps]) == 0
    np.savez(images / "p000.npz", boundary=np.zeros((1, 24, 32), np.float32))
    assert main(["label", str(images / "p000.png"), *words, "--maps", str(images / "p000.npz")]) == 2
    assert wanted in capsys.readouterr().err


def test_reach_is_an_option(job, tmp_path):
    job([[{"size": 60}, {"size": 60}, {"size": 60}]])
    read = read_points(job.points, image="0.png")
    assert read.categories == (Category(1, "bead", True), Category(2, "wall", False))
    for reach in (0.5, 9):
        out = tmp_path / f"reach-{reach}"
        words = ["--points", str(job.points), "--reach", str(reach), "--out", str(out)]
        assert main(["label", str(job.images / "0.png"), *words]) == 0
        found = read_coco_panoptic(out / "0.json", out / "panoptic")[0].id_map
        made = label_picture(beads(0), read.targets, reach=reach).instance + 1
        np.testing.assert_array_equal(found, made)


IDLE = {
    "reach": "3.0, which has no effect; expected things with a size (in the points, or by --size) beside stuff "
    "without, or --reach left out",
    "compactness": "9.0, which has no effect; expected things with a size",
}


@pytest.mark.parametrize("name", IDLE)
def test_what_only_sizes_give_a_sense_is_refused_without(name, job, tmp_path, capsys):
    job([[], [{"size": 60}]], "plain", limit=1)
    value = IDLE[name][:3]
    words = ["--points", str(job.points), f"--{name}", value, "--out", str(tmp_path / "out")]
    assert main(["label", str(job.images / "0.png"), *words]) == 2
    assert f"point2mask label: --{name}: got {IDLE[name]}" in capsys.readouterr().err
    assert main(["label", str(job.images / "1.png"), *words]) == 0, "this picture has a size"
    assert main(["label", str(job.images / "0.png"), *words, "--size", "bead=200"]) == 0
    assert job([[], [{"size": 60}]], "some", **{name: float(value)}).labelled == 2, "one picture is enough"
    with pytest.raises(ArgumentError, match=rf"^label_dataset: argument '{name}': got {value}, which has no effect"):
        job([[]], "none", **{name: float(value)})
    sampling = Sampling(str(tmp_path / "some" / "panoptic.json"))
    how = {"workers": 0, "progress": False, name: float(value)}
    with pytest.raises(ArgumentError, match=rf"'{name}': got {value}, which has no effect"):
        label_dataset(job.images, sampling, tmp_path / "drawn", **how)
    assert label_dataset(job.images, sampling, tmp_path / "drawn", sizes="bead=200", **how).labelled == 2
    capsys.readouterr()
    assert main(["demo", f"--{name}", value, "--out", str(tmp_path / "demo")]) == 2
    assert "or by --sizes" in capsys.readouterr().err


def test_typical_sizes_are_refused_where_all_are_told(job, tmp_path, capsys):
    sized = [{"size": 100}, {"size": 150}, {"size": 225}]
    for sizes in ("bead=200", "learned"):
        with pytest.raises(ArgumentError, match=r"'sizes': got .*, which has no effect; expected things whose size"):
            job([sized, sized], f"all {sizes}", sizes=sizes)
        assert job([sized, sized[:2]], f"but one {sizes}", sizes=sizes).labelled == 2
    words = ["label", str(job.images / "0.png"), "--points", str(job.points), "--out", str(tmp_path / "a")]
    assert main([*words, "--size", "bead=200"]) == 2
    shown = capsys.readouterr().err
    assert "--size: got ('bead=200',), which has no effect; expected things whose size the points do not tell" in shown
    assert shown.endswith("or --size left out\n")
