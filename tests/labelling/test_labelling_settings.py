"""The settings of a job: given one by one or as a record, and what of them makes a job another job."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from labelling_jobs import make_set

from point2mask_ot import ArgumentError, PseudoMaskConfig, label_dataset
from point2mask_ot.labelling import DatasetSettings, Sampling

FINGERPRINT = [
    *(
        "library",
        "points",
        "maps",
        "edge_model",
        "sigma",
        "color_weight",
        "add_colors",
        "output",
        "max_pixels",
        "exif",
        "levels",
    ),
    "shard",
    *(f"config.{field.name}" for field in fields(PseudoMaskConfig)),
]
"""A job that was begun goes on only if these stay."""


@pytest.fixture
def job(tmp_path):
    images, points = make_set(tmp_path, 2)

    def call(out, *args, **given):
        made = label_dataset(images, points, tmp_path / out, *args, **given)
        return json.loads((made.out / ".job" / "manifest.json").read_text())["fingerprint"]

    return call


def test_a_record_is_the_same_as_keywords(job):
    alone = job("a", stride=2, sigma=2, output="voc", workers=0, progress=False)
    settings = DatasetSettings(sigma=2, output="voc", workers=0, progress=False)
    assert job("b", "best", settings=settings, stride=2) == alone
    assert job("a", settings=settings, stride=2) == alone, "the job goes on"
    assert (
        job("c", settings=DatasetSettings(sigma=7, workers=0), sigma=2, output="voc", stride=2, progress=False) == alone
    )
    assert list(alone) == FINGERPRINT
    assert (alone["sigma"], alone["max_pixels"], alone["maps"]) == (2, 2**26, "picture")


@pytest.mark.parametrize(("name", "near"), [("outptu", "output"), ("strid", "stride"), ("worker", "workers")])
def test_unknown_settings(job, name, near):
    with pytest.raises(ArgumentError, match=f"label_dataset: argument '{name}': .*did you mean '{near}'"):
        job("a", **{name: 1})


def test_what_is_no_record(job):
    with pytest.raises(ArgumentError, match=r"'settings': .*DatasetSettings"):
        job("a", settings={"workers": 0})


@pytest.mark.parametrize(
    "given", [{"output": "vok"}, {"workers": -1}, {"shard": "2/1"}, {"sigma": -1}, {"engine": "ray", "workers": 0}]
)
def test_a_record_refuses(given):
    with pytest.raises(ArgumentError, match=f"label_dataset: argument '{list(given)[-1]}'"):
        DatasetSettings(**given)


def test_no_name_is_in_two_records():
    assert not {f.name for f in fields(DatasetSettings)} & {f.name for f in fields(PseudoMaskConfig)}
    assert {f.name for f in fields(Sampling)} >= {"truth", "split", "n", "seed", "sampler"}
