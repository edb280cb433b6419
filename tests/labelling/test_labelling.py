"""What a data-set job makes: formats, points, maps, scores, shards."""

from __future__ import annotations

import json

import numpy as np
import pytest
from labelling_jobs import CATEGORIES, entry, make_set, picture, results, write_document
from panopticapi.evaluation import pq_compute_single_core
from PIL import Image

from point2mask_ot import (
    Category,
    PanopticImage,
    PointTargets,
    Segment,
    label_dataset,
    label_picture,
    panoptic_quality,
    read_coco_panoptic,
    read_picture,
    read_voc,
    sample_points,
    write_coco_panoptic,
    write_voc,
)
from point2mask_ot.labelling import Sampling
from point2mask_ot.labelling.folder import JobFolder
from point2mask_ot.panoptic import PicturePoints, write_point_set

LISTED = [Category(4, "left", True), Category(9, "right", False)]


@pytest.fixture
def job(tmp_path):
    """A call that labels four small pictures in this process."""
    images, points = make_set(tmp_path, 4)

    def call(out="out", points=points, images=images, **settings):
        return label_dataset(images, points, tmp_path / out, **{"workers": 0, "progress": False, **settings})

    return call


def labels_of(out):
    return read_coco_panoptic(out / "panoptic.json", out / "panoptic")


def test_every_picture_as_label_picture_makes_it(job, tmp_path):
    made = job(stride=2)
    assert (made.pictures, made.labelled, made.set_aside, made.scores) == (4, 4, 0, None)
    dataset = labels_of(made.out)
    assert [(image.id, image.file_name) for image in dataset.images] == [(i + 1, f"p{i:03}.png") for i in range(4)]
    assert [(c.id, c.name, c.is_thing) for c in dataset.categories] == [(4, "left", True), (9, "right", False)]
    targets = PointTargets([(12, 2), (12, 29)], category=[0, 1], is_thing=[True, False])
    for index, image in enumerate(dataset):
        alone = label_picture(picture(index), targets, stride=2)
        assert np.array_equal(image.id_map, alone.instance + 1)


def test_the_json_is_what_write_coco_panoptic_writes(job, tmp_path):
    out = job().out
    info = json.loads((out / "panoptic.json").read_text())["info"]
    dataset = labels_of(out)
    write_coco_panoptic(list(dataset), tmp_path / "again.json", tmp_path / "again", dataset.categories, info=info)
    assert (tmp_path / "again.json").read_bytes() == (out / "panoptic.json").read_bytes()
    for path in (out / "panoptic").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_voc_layout(job, tmp_path):
    voc, coco = job("voc", output="voc").out, job("coco").out
    assert sorted(path.name for path in voc.iterdir() if not path.name.startswith(".")) == [
        "ImageSets",
        "SegmentationClass",
        "SegmentationObject",
        "doubtful.txt",
        "report",
        "report.html",
        "set_aside.csv",
        "summary.json",
        "timing.json",
    ]
    write_voc(labels_of(coco), tmp_path / "again", categories=LISTED)
    for path in (tmp_path / "again").rglob("*.*"):
        assert path.read_bytes() == (voc / path.relative_to(tmp_path / "again")).read_bytes()
    for image, other in zip(read_voc(voc, categories=LISTED), labels_of(coco), strict=True):
        assert np.array_equal(image.id_map, other.id_map)


def test_points_from_csv_in_any_order(job, tmp_path):
    rows = ["image,y,x,target,category"]
    rows += [f"p{i:03}.png,12,2,,left" for i in range(4)] + [f"p{i:03}.png,12,29,a,background" for i in (2, 0, 1, 3)]
    points = tmp_path / "points.csv"
    points.write_text("\n".join(rows))
    made = job("csv", points=points)
    assert made.labelled == 4
    for image, other in zip(labels_of(made.out), labels_of(job("json").out), strict=True):
        assert np.array_equal(image.id_map, other.id_map)
        assert [s.is_thing for s in image.segments] == [True, False]


def test_points_as_prepare_points_writes_them(job, tmp_path):
    targets = PointTargets([(12, 2), (12, 29)], category=[0, 1], is_thing=[True, False])
    pictures = [PicturePoints(f"p{index:03}.png", index + 1, targets) for index in range(4)]
    write_point_set(tmp_path / "set.json", pictures, LISTED)
    assert results(job("set", points=tmp_path / "set.json").out)["panoptic.json"] == results(job().out)["panoptic.json"]


def test_ids_of_the_points_file_and_folders(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("sub/a.png", "b.png"):
        Image.fromarray(picture(1)).save(tmp_path / "images" / name)
    images = [{**entry("sub/a.png"), "id": 70}, {**entry("b.png"), "id": "b"}]
    points = write_document(tmp_path / "points.json", images)
    made = label_dataset(tmp_path / "images", points, tmp_path / "out", workers=0, progress=False)
    assert [image.id for image in labels_of(made.out).images] == [70, "b"]
    assert (made.out / "panoptic" / "sub" / "a.png").is_file()


def test_stuff_of_one_category_is_one_segment_and_no_points_no_segment(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(picture(1)).save(tmp_path / "images" / name)
    two = entry("a.png")
    two["points"] = [{**point, "category": "right", "target": k} for k, point in enumerate(two["points"])]
    points = write_document(tmp_path / "points.json", [two, {"file_name": "b.png", "points": []}])
    made = label_dataset(tmp_path / "images", points, tmp_path / "out", workers=0, progress=False)
    first, second = labels_of(made.out)
    assert len(first.segments) == 1
    assert (first.id_map == 1).all()
    assert not second.segments
    assert not second.id_map.any()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_maps_from_files_resized(suffix, job, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for index in range(4):
        semantic = np.zeros((2, 12, 16), np.float32)
        semantic[0, :, : 6 + index], semantic[1, :, 6 + index :] = 1, 1
        boundary = np.zeros((1, 24, 32), np.float32)
        path = folder / f"p{index:03}{suffix}"
        if suffix == ".npy":
            np.save(path, semantic)
        elif suffix == ".npz":
            np.savez(path, semantic=semantic, boundary=boundary)
        else:
            pytest.importorskip("safetensors.numpy").save_file({"semantic": semantic, "boundary": boundary}, path)
    made = job(maps=folder, presence=False)
    assert made.labelled == 4
    for index, image in enumerate(labels_of(made.out)):
        assert (image.id_map[:, : 2 * (6 + index) - 1] == 1).all()
        assert (image.id_map[:, 2 * (6 + index) + 1 :] == 2).all()


def test_a_plug_in_by_name_and_as_a_callable(job, tmp_path, monkeypatch):
    (tmp_path / "gradient_plug.py").write_text(
        "import numpy as np\n"
        "def boundary(picture):\n"
        "    grey = picture.astype('f').mean(-1) / 255\n"
        "    return {'boundary': np.abs(np.gradient(grey, axis=1))[None]}\n"
        "class Edges:\n"
        "    def __call__(self, picture):\n"
        "        return boundary(picture)\n"
    )
    monkeypatch.chdir(tmp_path)
    by_name, by_class = job("name", maps="gradient_plug:boundary"), job("class", maps="gradient_plug:Edges")
    import gradient_plug

    called = job("callable", maps=gradient_plug.boundary)
    assert results(by_name.out)["panoptic.json"] == results(by_class.out)["panoptic.json"]
    assert results(by_name.out)["panoptic.json"] == results(called.out)["panoptic.json"]


def test_sampled_points_are_those_of_sample_points(tmp_path):
    truths = [
        PanopticImage(
            np.tile([[1] * 14 + [2] * 18], (24, 1)), (Segment(1, 4, True), Segment(2, 9, False)), i, f"p{i}.png"
        )
        for i in (5, 6)
    ]
    write_coco_panoptic(truths, tmp_path / "truth.json", tmp_path / "truth", LISTED)
    (tmp_path / "images").mkdir()
    for index, truth in enumerate(truths):
        Image.fromarray(picture(index)).save(tmp_path / "images" / truth.file_name)
    drawn = Sampling(tmp_path / "truth.json", n=3, seed=1)
    made = label_dataset(tmp_path / "images", drawn, tmp_path / "out", workers=0, progress=False)
    for index, (image, truth) in enumerate(zip(labels_of(made.out), truths, strict=True)):
        targets = sample_points(truth, LISTED, n=3, seed=1, stuff=True).targets
        assert np.array_equal(image.id_map, label_picture(picture(index), targets).instance + 1)
        assert image.image_id == truth.image_id


def test_scores_against_panopticapi_and_by_counting_pixels(job, tmp_path):
    rng = np.random.default_rng(3)
    truths = []
    for index in range(3):  # the fourth picture has no truth
        ids = np.where(np.arange(32) < rng.integers(8, 24), 1, 2)[None].repeat(24, 0)
        ids[:4] = 0
        ids[20:, 20:] = 3
        segments = (Segment(1, 4, True), Segment(2, 9, False), Segment(3, 4, True, True))
        truths.append(PanopticImage(ids, segments, 50 + index, f"p{index:03}.jpg"))
    write_coco_panoptic(truths, tmp_path / "truth.json", tmp_path / "truth", LISTED)
    made = job(truth=tmp_path / "truth.json")
    guesses = list(labels_of(made.out))[:3]
    right, true, guessed = np.zeros((3, 2))
    for guess, truth in zip(guesses, truths, strict=True):
        classes = [np.select([image.id_map == 1, image.id_map == 2], [0, 1], -1) for image in (guess, truth)]
        solid = classes[1] >= 0
        for k in (0, 1):
            here, there = (c[solid] == k for c in classes)
            right[k], true[k], guessed[k] = (
                right[k] + (here & there).sum(),
                true[k] + there.sum(),
                guessed[k] + here.sum(),
            )
    assert made.scores["miou"] == pytest.approx((right / (true + guessed - right)).mean())
    assert made.scores["scored"] == 3

    renamed = [
        PanopticImage(g.id_map, g.segments, t.image_id, t.file_name) for g, t in zip(guesses, truths, strict=True)
    ]
    assert made.scores["pq"] == pytest.approx(panoptic_quality(renamed, truths, LISTED).pq)
    write_coco_panoptic(renamed, tmp_path / "guess.json", tmp_path / "guess", LISTED)
    documents = [json.loads((tmp_path / name).read_text()) for name in ("truth.json", "guess.json")]
    pairs = list(zip(*(document["annotations"] for document in documents), strict=True))
    listed = {category["id"]: category for category in documents[0]["categories"]}
    theirs = pq_compute_single_core(0, pairs, str(tmp_path / "truth"), str(tmp_path / "guess"), listed)
    assert made.scores["pq"] == pytest.approx(theirs.pq_average(listed, None)[0]["pq"])


def test_scores_later_without_labelling_again(job, tmp_path):
    first = job()
    truth = labels_of(first.out)
    write_coco_panoptic(list(truth), tmp_path / "truth.json", tmp_path / "truth", truth.categories)
    before = {path: path.stat().st_mtime_ns for path in (first.out / "panoptic").iterdir()}
    scored = job(truth=tmp_path / "truth.json")
    assert scored.scores["pq"] == scored.scores["miou"] == 1
    assert before == {path: path.stat().st_mtime_ns for path in (first.out / "panoptic").iterdir()}


def test_same_bytes_whatever_the_workers_and_shards(job, tmp_path):
    alone = job("alone")
    assert results(job("two", workers=2).out) == results(alone.out)
    for part in ("2/3", "1/3", "3/3"):
        made = job("parts", shard=part)
        assert made.labelled == made.pictures == (2 if part == "1/3" else 1)
        assert not (made.out / "panoptic.json").exists()
    merged = job("parts", merge=True)
    assert merged.labelled == 4
    assert results(merged.out) == results(alone.out)


def test_merge_does_what_a_lost_part_did_not(job):
    job("parts", shard="1/2")
    merged = job("parts", merge=True)
    assert results(merged.out) == results(job("alone").out)


def test_summary(job, tmp_path):
    images, points = make_set(tmp_path / "more", 11)
    (images / "extra.jpg").write_bytes(b"not named in the points")
    (images / ".hidden.jpg").write_bytes(b"not meant")
    (images / "p003.png").write_bytes(b"broken")
    made = job("eleven", images=images, points=points)
    summary = json.loads((made.out / "summary.json").read_text())
    assert (summary["pictures"], summary["labelled"], summary["set_aside"], summary["segments"]) == (11, 10, 1, 20)
    assert summary["pictures_without_points_first"] == ["extra.jpg"]
    assert sum(summary["confidence"]["pictures"]) == 10
    records = [record for _, record in JobFolder(made.out).records()]
    sure = {record["name"]: record["confidence"] for record in records if "error" not in record}
    assert summary["label_next"] == sorted(sure, key=sure.get)
    for record in records:
        if "error" not in record:
            assert record["confidence"] == pytest.approx(np.mean(record["confidences"]), abs=1e-6)
    assert [(c["name"], c["segments"]) for c in summary["categories"]] == [("left", 10), ("right", 10)]
    assert summary["settings"]["config.reg"] == 0.1
    assert (made.out / "set_aside.csv").read_text().startswith("picture,reason\np003.png,")


@pytest.mark.shared
def test_real_nuclei(shared_data, tmp_path):
    root = shared_data / "coco_panoptic_layout"
    document = json.loads((root / "annotations/panoptic_val.json").read_text())
    kept = {image["id"] for image in document["images"][:4]}
    few = {
        **document,
        "images": [image for image in document["images"] if image["id"] in kept],
        "annotations": [one for one in document["annotations"] if one["image_id"] in kept],
    }
    (tmp_path / "panoptic_val.json").write_text(json.dumps(few))
    (tmp_path / "panoptic_val").symlink_to(root / "annotations/panoptic_val")
    truth = tmp_path / "panoptic_val.json"
    made = label_dataset(root / "val", Sampling(truth), tmp_path / "out", truth=truth, workers=0, progress=False)
    assert made.labelled == 4
    assert made.scores["pq"] > 0.2
    for image, true in zip(labels_of(made.out), read_coco_panoptic(truth, truth.with_suffix("")), strict=True):
        assert image.size == true.size == read_picture(root / "val" / image.file_name).shape[:2]


def test_the_categories_of_the_tests():
    assert [(c["id"], c["name"], bool(c["isthing"])) for c in CATEGORIES] == [
        (c.id, c.name, c.is_thing) for c in LISTED
    ]
