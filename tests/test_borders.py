"""What is public crosses the borders of a process: pickles, copies, spawned workers (FAULTS B1, B2 and their kind)."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from public_calls import CALLS, arrays

import point2mask_ot as p2m
from point2mask_ot import labelling, panoptic

COIN = p2m.Category(3, "coin", True, (1, 2, 3))
RECORDS = {
    "PointTargets": p2m.PointTargets([(1, 2), (3, 4)], category=[1, 2]),
    "PointTargets, sizes": p2m.PointTargets([(1, 2), (3, 4)], size=[300, np.nan], size_error=[1.6, 2]),
    "PseudoMaskConfig": p2m.PseudoMaskConfig.preset("paper", stride=4),
    "PseudoMasker": p2m.PseudoMasker("official"),
    "MapTerm": p2m.MapTerm(np.ones((1, 2, 3), np.float32), 0.5, "max"),
    "Category": COIN,
    "Segment": p2m.Segment(7, 3, True),
    "PanopticImage": p2m.PanopticImage([[7, 0]], (p2m.Segment(7, 3, True),), 1, "a.png"),
    "LabelledPoints": panoptic.LabelledPoints(p2m.PointTargets([(1, 2)]), (COIN,)),
    "PicturePoints": panoptic.PicturePoints("a.png", 1, p2m.PointTargets([(1, 2)])),
    "Sampling": labelling.Sampling("truth.json"),
    "DatasetSettings": labelling.DatasetSettings(sizes={"coin": (300, 1.6)}),
    "LabelSummary": labelling.LabelSummary(Path("out"), 3, 2, 1, None, 0.5),
}
ERRORS = {
    "ArgumentError": p2m.ArgumentError("solve", "reg", -1, "a number"),
    "ArgumentTypeError": p2m.ArgumentTypeError("solve", "reg", "str", "a number"),
    "FileError": p2m.FileError("read_points", "path", "a.csv", "CSV"),
    "JobStopped": labelling.JobStopped("a full disk"),
    "JobInterrupted": labelling.JobInterrupted(15),
    "BackgroundWarning": p2m.BackgroundWarning("no background"),
    "ConvergenceWarning": p2m.ConvergenceWarning("stopped early"),
}


def quiet(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CALLS[call]()


def same(found, expected):
    pairs = list(zip(arrays(found), arrays(expected), strict=True))
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
    return len(pairs)


@pytest.mark.parametrize("call", CALLS)
def test_fault_b1_results_survive_pickle_copy_and_torch_save(call):
    result = quiet(call)
    buffer = io.BytesIO()
    torch.save(result, buffer)
    buffer.seek(0)
    copies = pickle.loads(pickle.dumps(result)), copy.deepcopy(result), torch.load(buffer, weights_only=False)
    for one in copies:
        assert same(one, result)


@pytest.fixture(scope="module")
def spawned():
    """A worker that imports everything anew, which takes longer than what it is asked for."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield pool


def test_fault_b1_results_come_out_of_spawned_workers(spawned):
    """A DataLoader's worker that returned one hung for ever."""
    calls = ["label_picture", "solve, exact", "sinkhorn", "nearest_partition"]
    for call, result in zip(calls, spawned.map_async(quiet, calls).get(timeout=120), strict=True):
        assert same(result, quiet(call))


class Pictures(torch.utils.data.Dataset):
    """Data whose worker labels."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return quiet("label_picture")


def test_fault_b1_a_loader_labels_in_its_worker():
    """It hung for ever."""
    loader = torch.utils.data.DataLoader(Pictures(), batch_size=None, num_workers=1, timeout=120)
    (found,) = loader
    assert same(found, quiet("label_picture"))


@pytest.mark.parametrize("family", [torch.asarray, np.asarray])
@pytest.mark.parametrize("reg", [0.0, 0.5])
def test_fault_b1_lists_and_batches_in_both_families_survive(family, reg):
    M = np.random.default_rng(0).random((2, 3, 6))
    a, b = np.full((2, 3), 2.0), np.ones((2, 6))
    batched = p2m.solve(family(a), family(b), family(M), reg=reg)
    listed = p2m.solve(list(family(a)), list(family(b)), list(family(M)), reg=reg)
    for result in (batched, *listed):
        found = pickle.loads(pickle.dumps(result))
        assert type(found.plan) is type(result.f)
        assert same(found, result)


@pytest.mark.parametrize("name", RECORDS)
def test_records_survive(name):
    record = RECORDS[name]
    for one in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
        assert type(one) is type(record)
        assert repr(one) == repr(record)


@pytest.mark.parametrize("name", ERRORS)
def test_fault_b2_errors_survive(name):
    error = ERRORS[name]
    for one in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(one) is type(error)
        assert str(one) == str(error)
        assert vars(one) == vars(error)


def refused(_):
    return p2m.solve(np.ones(2), np.ones(3), np.ones((2, 3)))


def test_fault_b2_a_refusal_comes_out_of_a_spawned_worker(spawned):
    with pytest.raises(p2m.ArgumentError, match="a total of 2"):
        spawned.map_async(refused, [0]).get(timeout=120)
