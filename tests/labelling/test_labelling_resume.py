"""What a data-set job may go on with, what it must not, and that nothing of a run before is left over or lost."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
from labelling_jobs import entry, make_set, picture, records, results, write_document
from PIL import Image

from point2mask_ot import ArgumentError, label_dataset, read_coco_panoptic, write_coco_panoptic
from point2mask_ot.labelling import JobStopped
from point2mask_ot.labelling.folder import JobFolder

COUNT = 3


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A call that labels a few pictures in this process."""
    images, points = make_set(tmp_path, COUNT)
    monkeypatch.chdir(tmp_path)

    def call(out="out", **settings):
        given = {"images": images, "points": points, "out": tmp_path / out, "workers": 0, "progress": False}
        return label_dataset(**{**given, **settings})

    call.images, call.points, call.out = images, points, tmp_path / "out"
    return call


@pytest.fixture
def truth(job, tmp_path):
    """True masks, which are the labels themselves."""
    labels = read_coco_panoptic((made := job("true").out) / "panoptic.json", made / "panoptic")
    write_coco_panoptic(list(labels), tmp_path / "truth.json", tmp_path / "truth", labels.categories)
    return tmp_path / "truth.json"


# ------------------------------------------------------------------------- a job that made nothing holds no folder

PLUG = """
import pathlib
class Weights:
    def __init__(self, path):
        if not pathlib.Path(path).read_text():
            raise EOFError("Ran out of input")
    def __call__(self, picture):
        return {}
"""


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"maps": "no_such_plug:Weights:good.pt"}, "no_such_plug"),
        ({"maps": "resume_plug:Weights:cut.pt"}, "Ran out of input"),
        ({"maps": "resume_plug:Weight:good.pt"}, "Weight"),
        ({"edge_model": "cut.pt"}, "structured forest"),
    ],
    ids=["module", "argument", "name", "edge model"],
)
def test_what_cannot_be_made_claims_no_folder(settings, word, workers, job, tmp_path, forked_workers):
    (tmp_path / "resume_plug.py").write_text(PLUG)
    (tmp_path / "cut.pt").touch()
    (tmp_path / "good.pt").write_text("weights")
    with pytest.raises((ArgumentError, JobStopped), match=word):
        job(workers=workers, **settings)
    assert records(job.out) == 0
    assert job(maps="resume_plug:Weights:good.pt").labelled == COUNT


def test_a_plug_in_that_failed_with_every_picture_may_be_mended(job, tmp_path):
    source = tmp_path / "mended_plug.py"
    source.write_text("def maps(picture):\n    return {}['nothing']\n")
    assert job(maps="mended_plug:maps").set_aside == COUNT
    calm = results(job("calm", maps=lambda picture: {}).out)
    source.write_text("def maps(picture):\n    return {}\n")
    del sys.modules["mended_plug"]
    assert job(maps="mended_plug:maps").labelled == COUNT
    assert results(job.out).keys() == calm.keys()
    assert results(job.out)["panoptic.json"] == calm["panoptic.json"]
    with pytest.raises(ArgumentError, match="other settings"):
        job()


# ------------------------------------------------------------------------------- checkpoints are more than weights


def test_a_checkpoint_is_its_weights_and_its_configuration(job, tmp_path):
    (tmp_path / "resume_plug.py").write_text(PLUG)
    (tmp_path / "words_plug.py").write_text(PLUG.replace("not pathlib.Path(path).read_text()", "not path"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.pt").write_text("weights")
    (run / "config.json").write_text('{"layers": 2}')
    (run / "log.txt").write_text("epoch 1")
    whole, folder = {"maps": "resume_plug:Weights:run/best.pt"}, {"maps": "words_plug:Weights:run"}
    job("file", **whole)
    job("folder", **folder)
    (run / "log.txt").write_text("epoch 2")
    shutil.copytree(run, tmp_path / "moved")
    job("file", maps="resume_plug:Weights:moved/best.pt")
    job("folder", maps="words_plug:Weights:moved")
    (run / "config.json").write_text('{"layers": 3}')
    for out, given in (("file", whole), ("folder", folder)):
        with pytest.raises(ArgumentError, match=r"settings: maps\.config: \w+ -> \w+;"):
            job(out, **given)
    (run / "config.json").write_text('{"layers": 2}')
    (run / "best.pt").write_text("others")
    with pytest.raises(ArgumentError, match=r"settings: maps\.argument: \w+ -> \w+;"):
        job("file", **whole)
    with pytest.raises(ArgumentError, match=r"settings: maps\.argument\.best\.pt: \w+ -> \w+;"):
        job("folder", **folder)


# --------------------------------------------------------------------------------- names that share one label file


def test_names_that_a_disk_does_not_tell_apart(job, tmp_path, monkeypatch):
    """As on the usual disks of macOS and Windows; a folder of Linux tells all of them apart."""
    for alike in (("A.png", "a.png"), ("E\u0301te\u0301.png", "\u00e9t\u00e9.jpg")):
        names = ["other.png", *alike]
        for index, name in enumerate(names):
            Image.fromarray(picture(index)).save(job.images / name)
        points = write_document(tmp_path / "alike.json", [entry(name) for name in names])
        with monkeypatch.context() as patch:
            patch.setattr(JobFolder, "tells_case", lambda folder: False)
            with pytest.raises(ArgumentError, match=r"pictures '.*' and '.*'; expected names that differ in more"):
                job(alike[0], points=points)
            assert job(alike[0]).labelled == COUNT, "the refused job left nothing behind"
        if not (tmp_path / "POINTS.JSON").exists():
            assert JobFolder(tmp_path / alike[0]).tells_case()
            made = job(f"{alike[0]} 2", points=points)
            assert len(list((made.out / "panoptic").iterdir())) == 3


def test_one_disk_that_does_not_tell_case(tmp_path):
    folder = JobFolder(tmp_path)
    with folder.locked():
        assert folder.tells_case() != (tmp_path / ".JOB").exists()
        (tmp_path / ".job" / "LOCK").touch()  # what such a disk shows
        assert not folder.tells_case()


def test_detours_to_one_file(job, tmp_path):
    (job.images / "sub").mkdir()
    for name in ("sub/../p000.png", "./p000.png", "sub//../p000.jpg"):
        points = write_document(tmp_path / "detours.json", [entry("p000.png"), entry(name)])
        with pytest.raises(ArgumentError, match=r"pictures '.*' and '.*': name \(suffix aside\) twice"):
            job("detours", points=points)
    points = write_document(tmp_path / "detours.json", [entry("sub/../p001.png"), entry("../p002.png")])
    made = job("detours", points=points)
    assert (made.labelled, made.set_aside) == (1, 1)
    document = json.loads((made.out / "panoptic.json").read_text())
    assert [one["file_name"] for one in document["annotations"]] == ["p001.png"]


# ----------------------------------------------------------------------------------------- nothing left over or lost


def test_a_folder_of_pictures_that_is_not_there_costs_no_labels(job, tmp_path):
    """A network disk that is not mounted is an empty folder."""
    calm = results(job().out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match=r"'images': got .*empty, with a file for none of the 3 pictures"):
        job(images=tmp_path / "empty")
    assert results(job.out) == calm
    with pytest.raises(ArgumentError, match=r"'maps': got .*empty, with a file for none of the 3 pictures"):
        job("other", maps=tmp_path / "empty")
    np.save(tmp_path / "empty" / "p001.npy", np.full((2, 24, 32), 0.5, np.float32))
    assert job("other", maps=tmp_path / "empty").set_aside == COUNT - 1


def test_label_files_without_a_record_do_not_stay(job, tmp_path):
    """A kill between the two leaves one; then the picture may be no good any more, or the job another one."""
    job()
    for index in (1, 2):
        JobFolder(job.out).record_path(f"p00{index}.png").unlink()
    (job.out / "panoptic" / "mine.png").write_bytes(b"a user's own")
    (job.images / "p001.png").write_bytes(b"")
    assert job().set_aside == 1
    assert sorted(path.name for path in (job.out / "panoptic").iterdir()) == ["mine.png", "p000.png", "p002.png"]
    JobFolder(job.out).record_path("p002.png").unlink()
    points = write_document(tmp_path / "one.json", [entry("p000.png")])
    job(points=points, fresh=True)
    assert sorted(path.name for path in (job.out / "panoptic").iterdir()) == ["mine.png", "p000.png"]


def test_fresh_forgets_a_damaged_job(job):
    job()
    (job.out / ".job/manifest.json").write_text('{"format"')
    with pytest.raises(ArgumentError, match=r"manifest\.json"):
        job()
    assert job(fresh=True).labelled == COUNT


def test_a_damaged_truth_sets_aside_and_leaves_no_label_file(job, truth):
    whole = (mask := truth.with_suffix("") / "p001.png").read_bytes()
    mask.write_bytes(whole[:20])
    assert job(truth=truth).set_aside == 1
    assert sorted(path.name for path in (job.out / "panoptic").iterdir()) == ["p000.png", "p002.png"]
    mask.write_bytes(whole)
    made = job(truth=truth)
    assert (made.labelled, made.scores["pq"]) == (COUNT, 1)


def test_scores_follow_masks_that_change(job, truth):
    assert job(truth=truth).scores["miou"] == 1
    mask = truth.with_suffix("") / "p001.png"
    with Image.open(mask) as image:
        turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned.save(mask)
    assert job(truth=truth).scores["miou"] < 1


def test_final_files_read_each_record_once(job, monkeypatch):
    """Once more for the pictures that the report shows, and once to see whether there is anything to do."""
    job()
    calm, read = results(job.out), Counter()
    real = JobFolder.read_record
    monkeypatch.setattr(JobFolder, "read_record", lambda folder, name: read.update([name]) or real(folder, name))
    job()
    assert set(read.values()) == {3}
    assert results(job.out) == calm
    assert not (job.out / ".job" / "annotations.part").exists()


def test_results_cannot_be_written_through_a_link(job, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "p000.png").write_bytes(b"precious")
    (job.images / "sub").mkdir()
    for name in ("p000.png", "p001.png"):
        shutil.copy(job.images / name, job.images / "sub")
    points = write_document(tmp_path / "sub.json", [entry("p000.png"), entry("sub/p000.png"), entry("sub/p001.png")])
    job(points=points)
    shutil.rmtree(job.out / "panoptic" / "sub")
    (job.out / "panoptic" / "sub").symlink_to(elsewhere)
    assert job(points=points).set_aside == 2
    (job.out / "panoptic").rename(tmp_path / "moved")
    (job.out / "panoptic").symlink_to(elsewhere)
    with pytest.raises(
        ArgumentError,
        match=r"'out': got 'panoptic', a link .*; expected a path that stays inside",
    ):
        job(points=points)
    assert [path.name for path in elsewhere.iterdir()] == ["p000.png"]
    assert (elsewhere / "p000.png").read_bytes() == b"precious"


def test_an_endless_entry_of_a_points_file(job, monkeypatch):
    monkeypatch.setattr("point2mask_ot.files.json_stream._MAX_ENTRY", 2**17)
    path = job.points.with_name("endless.json")
    path.write_text('{"images": [{"file_name": "' + "a" * 2**18)
    with pytest.raises(ArgumentError, match=r"endless\.json"):
        job(points=path)
