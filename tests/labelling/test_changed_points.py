"""A job whose points changed ends as one that began with the new points, and labels no more than what changed."""

from __future__ import annotations

import copy
import json
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from labelling_jobs import CATEGORIES, entry, picture, results, start, wait_for, write_document
from PIL import Image

from point2mask_ot import ArgumentError, label_dataset, read_coco_panoptic, write_coco_panoptic
from point2mask_ot.labelling import Sampling
from point2mask_ot.labelling.folder import JobFolder

NAMES = [f"p{index:03}.png" for index in (0, 1, 3, 4, 5)]
ALL = sorted([*NAMES, "p002.png"])


class Clicks(dict):
    """The points of pictures, by name, as the page of ``annotate`` leaves them: a file each, none with an id."""

    categories = CATEGORIES

    def save(self, folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, one in self.items():
            document = {"info": {"state": one.get("state", "begun")}, "categories": self.categories}
            told = {key: value for key, value in one.items() if key != "state"}
            (folder / f"{Path(name).stem}_points.json").write_text(json.dumps({**document, "images": [told]}))
        return folder


def clicks_on(names) -> Clicks:
    return Clicks((name, entry(name)) for name in names)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Pictures, and a job that has labelled those of ``NAMES``."""
    root = tmp_path_factory.mktemp("given")
    images = root / "images"
    images.mkdir()
    for index, name in enumerate([*ALL, "other.png"]):
        Image.fromarray(picture(index)).save(images / name)
    points = clicks_on(NAMES).save(root / "clicks")
    label_dataset(images, points, root / "done", workers=0, progress=False)
    return SimpleNamespace(images=images, points=points, done=root / "done", calm=results(root / "done"))


@pytest.fixture
def job(given, tmp_path):
    """A call that goes on with that job, or with another of its own in ``out``."""
    shutil.copytree(given.done, tmp_path / "out")

    def call(clicks, out="out", **settings):
        points = clicks.save(tmp_path / "clicks") if isinstance(clicks, Clicks) else clicks
        return label_dataset(given.images, points, tmp_path / out, **{"workers": 0, "progress": False, **settings})

    call.out = tmp_path / "out"
    return call


# ----------------------------------------------------------------------------------------- what changes with what


def moved(clicks):
    clicks["p003.png"]["points"][0]["y"] += 3


def added(clicks):
    clicks["p002.png"] = entry("p002.png")


def removed(clicks):
    del clicks["p001.png"]


def skipped(clicks):
    clicks["p001.png"]["state"] = "skipped"


def finished(clicks):
    clicks["p004.png"]["state"] = "done"


def sized(clicks):
    clicks["p000.png"]["points"][0]["size"] = 90


def painted(clicks):
    runs = {"target": 0, "own": [100, 12], "not": [200, 4]}
    points = [{**point, "target": number} for number, point in enumerate(clicks["p005.png"]["points"])]
    clicks["p005.png"] |= {"points": points, "paint": {"height": 24, "width": 32, "targets": [runs]}}


def a_new_category(clicks):
    clicks.categories = [{"id": 2, "name": "first", "isthing": 1}, *CATEGORIES]


def recoloured(clicks):
    clicks.categories = [{**one, "color": [9, 99, 200]} for one in CATEGORIES]


def much(clicks):
    for change in (moved, added, skipped, finished, sized, painted):
        change(clicks)


CHANGES = {moved: (4, 1, 0), added: (5, 1, 0), removed: (4, 0, 1), skipped: (4, 0, 1), finished: (5, 0, 0)}
CHANGES |= {sized: (4, 1, 0), painted: (4, 1, 0), a_new_category: (0, 5, 0), recoloured: (0, 5, 0), much: (1, 4, 1)}


@pytest.mark.parametrize(("change", "counts"), CHANGES.items(), ids=[change.__name__ for change in CHANGES])
def test_the_results_are_those_of_a_new_job(change, counts, job):
    change(clicks := clicks_on(NAMES))
    made = job(clicks)
    assert (made.kept, made.labelled - made.kept, made.dropped) == counts
    job(clicks, "new")
    assert results(job.out) == results(job.out.with_name("new"))
    assert job(clicks).kept == made.labelled, "and is done"
    assert len(list((job.out / ".job").glob("points-*"))) == 1


def test_voc_and_a_truth(given, job, tmp_path):
    labels = read_coco_panoptic(given.done / "panoptic.json", given.done / "panoptic")
    write_coco_panoptic(list(labels), tmp_path / "truth.json", tmp_path / "truth", labels.categories)
    settings = {"output": "voc", "truth": tmp_path / "truth.json"}
    job(clicks_on(NAMES), "voc", **settings)
    much(clicks := clicks_on(NAMES))
    made = job(clicks, "voc", **settings)
    assert (made.kept, made.dropped, made.scores["scored"]) == (1, 1, 4)
    job(clicks, "new", **settings)
    assert results(tmp_path / "voc") == results(tmp_path / "new")


def test_learned_sizes_are_of_all_pictures(job, tmp_path):
    clicks = clicks_on(NAMES)
    for size, name in enumerate(NAMES[:4], start=100):
        clicks[name]["points"][0]["size"] = size
    job(clicks, "learned", sizes="learned")
    clicks["p000.png"]["points"][0]["size"] = 300
    assert job(clicks, "learned", sizes="learned").kept == 0
    job(clicks, "new", sizes="learned")
    assert results(tmp_path / "learned") == results(tmp_path / "new")


def test_any_order_of_any_pictures(job, tmp_path):
    """One job through many points files, whose pictures come, go, move and have ids or none."""
    rng = random.Random(1)
    for turn in range(4):
        names = rng.sample(ALL, rng.randint(2, len(ALL)))
        entries = copy.deepcopy([entry(name) for name in names])
        for number, one in enumerate(entries):
            one["points"][0]["x"] += rng.choice((0, 0, 1))
            one |= rng.choice(({}, {"id": 100 - number}))
        points = write_document(tmp_path / "points.json", entries)
        made = job(points)
        assert made.labelled == len(names)
        job(points, f"new {turn}")
        assert results(job.out) == results(tmp_path / f"new {turn}")


def test_only_and_limit(job, tmp_path):
    """What changed and is not asked for has no labels, which would be those of other points."""
    much(clicks := clicks_on(NAMES))
    made = job(clicks, only=["p000"])
    assert (made.kept, made.labelled, made.dropped) == (0, 1, 1)
    names = sorted(path.name for path in (job.out / "panoptic").iterdir())
    assert names == ["p000.png", "p004.png"], "one was asked for, one has not changed"
    document = json.loads((job.out / "panoptic.json").read_text())
    assert [one["file_name"] for one in document["annotations"]] == names
    assert job(clicks, limit=2).labelled == 2
    job(clicks)
    job(clicks, "new")
    assert results(job.out) == results(tmp_path / "new")


def test_the_most_doubtful_are_mended_and_the_call_that_was_cut_short_comes_again(job, monkeypatch):
    moved(clicks := clicks_on(NAMES))
    with monkeypatch.context() as patch:
        patch.setattr("point2mask_ot.labelling.job.Run.finish", through)
        with pytest.raises(Through):
            job(clicks, only=job.out / "doubtful.txt")
    made = job(clicks, only=job.out / "doubtful.txt")
    assert (made.labelled, made.kept) == (5, 4)


def test_it_says_what_it_does(job, capsys, forked_workers):
    much(clicks := clicks_on(NAMES))
    job(clicks, progress=True, workers=1)
    assert "changed points: 1 pictures kept, 3 to label again, 1 dropped\n" in capsys.readouterr().err
    assert json.loads((job.out / "timing.json").read_text())["last_run"]["dropped"] == 1
    clicks["p000.png"]["points"][0]["x"] += 1
    assert job(clicks).kept == 4, "workers say the same of what they label"


# ------------------------------------------------------------------------------------------------ what is refused


def test_the_points_of_other_pictures_are_refused(given, job, tmp_path):
    with pytest.raises(ArgumentError, match=r"'points': got 1 pictures, none of which .*out has; .* or fresh=True"):
        job(write_document(tmp_path / "other.json", [entry("other.png")]))
    assert results(job.out) == given.calm
    assert job(given.points).kept == len(NAMES)


def test_changed_points_and_settings_are_refused(given, job):
    moved(clicks := clicks_on(NAMES))
    with pytest.raises(
        ArgumentError, match=r"points: \w+ -> \w+; config\.beta: .*points alone may change.* fresh=True"
    ):
        job(clicks, beta=0.3)
    assert results(job.out) == given.calm
    job(clicks, fresh=True, beta=0.3)


def test_parts_and_drawn_points_go_on_with_their_own_points_only(given, job, tmp_path):
    job(clicks_on(NAMES), "parts", shard="1/2")
    moved(clicks := clicks_on(NAMES))
    with pytest.raises(ArgumentError, match=r"other settings: points: \w+ -> \w+; .* began with, or fresh"):
        job(clicks, "parts", shard="1/2")
    with pytest.raises(ArgumentError, match=r"other settings: points"):
        job(clicks, merge=True)
    shutil.copytree(given.done / "panoptic", tmp_path / "truth")
    truth = Path(shutil.copy(given.done / "panoptic.json", tmp_path / "truth.json"))
    job(Sampling(str(truth)), "drawn")
    truth.write_text(truth.read_text() + "\n")
    with pytest.raises(ArgumentError, match=r"other settings: points"):
        job(Sampling(str(truth)), "drawn")


def test_a_job_of_an_older_version_starts_over_if_told_to(given, job):
    path = job.out / ".job" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    with pytest.raises(ArgumentError, match="another version; expected fresh=True"):
        job(given.points)
    job(given.points, fresh=True)
    assert results(job.out) == given.calm


def test_labels_that_do_not_say_what_they_are_made_of_are_made_again(given, job):
    for path, record in JobFolder(job.out).records():
        record.pop("told")
        path.write_text(json.dumps(record))
    moved(clicks := clicks_on(NAMES))
    assert job(clicks).kept == 0


# ---------------------------------------------------------------------------------------- an end at any moment


class Killed(BaseException):
    pass


class Through(BaseException):
    pass


def through(run, fingerprint):
    raise Through


def test_an_end_at_any_step(given, job, monkeypatch, tmp_path):
    """Then the call that was cut short goes on, and so does one with the points of before."""
    much(clicks := clicks_on(NAMES))
    job(clicks, "new")
    new = results(tmp_path / "new")
    real = Path.unlink
    for last in range(0, 100, 3):
        shutil.rmtree(job.out)
        shutil.copytree(given.done, job.out)
        left = [last]

        def unlink(path, missing_ok=False, left=left):
            if path.exists():
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
            real(path, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink)
            patch.setattr("point2mask_ot.labelling.job.Run.finish", through)
            with pytest.raises((Killed, Through)) as ended:
                job(clicks)
        if ended.type is Through:
            break
        if (job.out / "panoptic.json").exists():
            assert {name for name in given.calm if name.startswith("panoptic")} <= results(job.out).keys()
        if last % 2 == 0:
            job(given.points)
            assert results(job.out) == given.calm
        job(clicks)
        assert results(job.out) == new
    assert last > 15


@pytest.mark.parametrize("after", [False, True])
def test_an_end_beside_the_manifest(after, given, job, monkeypatch, tmp_path):
    much(clicks := clicks_on(NAMES))
    job(clicks, "new")
    real = JobFolder.begin

    def begin(folder, fingerprint):
        if after:
            real(folder, fingerprint)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "begin", begin)
        with pytest.raises(Killed):
            job(clicks)
    copied = shutil.copytree(job.out, tmp_path / "copied")
    assert job(clicks).kept == 1
    assert results(job.out) == results(tmp_path / "new")
    job(given.points, copied.name)
    assert results(copied) == given.calm


def test_labels_without_a_record_do_not_stay(job, tmp_path):
    """As a kill leaves them, here of a picture that is then skipped, and of one that changes and is not asked for."""
    for name in ("p001.png", "p003.png"):
        JobFolder(job.out).record_path(name).unlink()
    skipped(clicks := clicks_on(NAMES))
    moved(clicks)
    job(clicks, only=["p000.png"])
    job(clicks, "new", only=["p000.png", "p004.png", "p005.png"])
    assert results(job.out).keys() == results(tmp_path / "new").keys()


def test_a_list_of_doubtful_pictures_of_which_one_was_skipped_since(job):
    asked = job.out / "doubtful.txt"
    assert "p001.png" in asked.read_text().split()
    skipped(clicks := clicks_on(NAMES))
    made = job(clicks, only=asked)
    assert (made.labelled, made.dropped, made.pictures) == (4, 1, 4)
    for only in (["p001.png"], ["p001"]):
        with pytest.raises(ArgumentError, match=r"'only': got names \(1\) of pictures that were all skipped"):
            job(clicks, only=only)


def test_kill_minus_nine(given, job, tmp_path):
    much(clicks := clicks_on(NAMES))
    points = clicks.save(tmp_path / "clicks")
    process = start("--images", given.images, "--points", points, "--out", job.out, "--workers", 0)
    wait_for(lambda: not (job.out / "summary.json").exists() or process.poll() is not None)
    time.sleep(random.Random(5).uniform(0, 0.05))
    process.kill()
    process.communicate()
    assert process.returncode in (0, -9), "it had begun"
    job(clicks)
    job(clicks, "new")
    assert results(job.out) == results(tmp_path / "new")
    assert not list(job.out.rglob("*.tmp"))
