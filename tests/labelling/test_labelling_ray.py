"""A data-set job on Ray is the same job: the same bytes, the same faults survived; one engine ends the other's."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys

import pytest
from labelling_jobs import make_set, picture, records, results, run, slow_job, wait_for
from PIL import Image

from point2mask_ot import ArgumentError, label_dataset
from point2mask_ot.labelling.job_settings import JobSettings
from point2mask_ot.labelling.workers.ray import RemoteLabeller, connected
from point2mask_ot.masks.config import PseudoMaskConfig

COUNT = 24
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray, which is not installed")


@with_ray
@pytest.mark.usefixtures("eager_ray")
def test_killed_then_terminated_then_ended_by_the_other_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = slow_job(tmp_path, COUNT, "--engine", "ray", "--workers", 1)
    process, out = job.start(), job.out
    wait_for(lambda: records(out) > 2)
    process.kill()
    process.communicate()
    assert 2 < records(out) < COUNT
    before = records(out)
    process = job.start()
    wait_for(lambda: records(out) > before + 2)
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 143, complaints
    assert "goes on" in complaints
    assert "Traceback" not in complaints
    done = records(out)
    assert before + 2 < done < COUNT
    assert job(out).labelled == COUNT
    assert json.loads((out / "timing.json").read_text())["last_run"]["kept"] == done
    assert results(out) == job.calm


DEADLY = """
import os, pathlib, signal
def maps(picture):
    if picture[0, 0, 0] == 2:
        before = pathlib.Path(__file__).with_name("before")
        if before.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        before.touch()
        raise MemoryError("too large")
    return {}
"""


@with_ray
@pytest.mark.usefixtures("eager_ray")
def test_workers_that_die(tmp_path):
    """One has no memory for a picture, the next is killed by it; each costs the start of another."""
    images, _ = make_set(tmp_path, 3)
    pixels = picture(2)
    pixels[0, 0] = 2
    Image.fromarray(pixels).save(images / "p002.png")
    (tmp_path / "deadly_ray_plug.py").write_text(DEADLY)
    words = ["--images", "images", "--points", "points.json", "--out", "out", "--engine", "ray", "--workers", 1]
    ended = run(*words, "--maps", "deadly_ray_plug:maps", cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "2 of 3 pictures labelled, 1 set aside" in ended.stdout
    (listed,) = json.loads((tmp_path / "out/summary.json").read_text())["set_aside_first"]
    assert listed["picture"] == "p002.png"
    assert listed["reason"].startswith("2 workers died of it: The actor died")


class StubbedRay:
    """Answers ``init`` as Ray does, by what runs: nothing, a cluster of ``ray start``, or only its address is left."""

    def __init__(self, runs):
        self.runs, self.begun = runs, []

    def is_initialized(self):
        return False

    def init(self, address=None, object_store_memory=None, include_dashboard=None, **quiet):
        own = address == "local" or (address is None and self.runs == "nothing")
        if not own and object_store_memory is not None:
            raise ValueError("When connecting to an existing cluster, object_store_memory must not be provided.")
        if not own and self.runs != "a cluster":
            raise ConnectionError("Failed to connect to Ray cluster")
        assert own == (os.environ.get("RAY_USAGE_STATS_ENABLED") == "0" and include_dashboard is False)
        self.begun.append("own" if own else address or "found")

    def cluster_resources(self):
        return {"CPU": 3.0}

    def shutdown(self):
        self.begun.append("ended")


@pytest.mark.parametrize(("runs", "begun"), [("nothing", "own"), ("a cluster", "found"), ("its address", "own")])
def test_joins_what_ray_start_began_and_else_begins_its_own(monkeypatch, runs, begun):
    """Never a cluster that another job has begun for itself, as ``address="auto"`` would find it."""
    for name in ("RAY_ADDRESS", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    stub = StubbedRay(runs)
    with connected(stub) as cores:
        assert (cores, stub.begun) == (3, [begun])
    assert stub.begun == [begun, "ended"]
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


def test_an_address_where_no_cluster_is(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with connected(StubbedRay("a cluster")):
        pass
    refusal = pytest.raises(ArgumentError, match=r"'engine': got 'ray', and RAY_ADDRESS=10.0.0.1:6379: Failed")
    with refusal, connected(StubbedRay("nothing")):
        pass


def test_no_ray(tmp_path, monkeypatch):
    images, points = make_set(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=r"point2mask-ot\[ray\]"):
        label_dataset(images, points, tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


def test_refusals(tmp_path):
    images, points = make_set(tmp_path, 1)
    for given, word in (({"engine": "rai"}, "did you mean 'ray'"), ({"engine": "ray", "workers": 0}, "workers")):
        with pytest.raises(ArgumentError, match=word):
            label_dataset(images, points, tmp_path / "out", **given)


def test_a_machine_that_does_not_see_the_folder(tmp_path):
    config = PseudoMaskConfig.preset("best")
    settings = JobSettings(images=str(tmp_path), out=str(tmp_path / "elsewhere"), config=config)
    kind, reason = RemoteLabeller().begin(settings, str(tmp_path))
    assert kind == "stopped"
    assert "not to be seen" in reason
    assert not (tmp_path / "elsewhere").exists()
