"""What held when people's situations were tried, and must go on holding: what no other file here tests of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from labelling_jobs import picture, results
from PIL import Image
from public_calls import CALLS, arrays

from point2mask_ot import PointTargets, PseudoMasker, edge_costs, label_picture, random_walk_costs, semantic_loss, solve
from point2mask_ot.cli import main

TARGETS = PointTargets([(4, 4), (18, 22), (20, 3)], category=[0, 1, 2], is_thing=[True, True, False])


def fortran(array, folder):
    return np.asfortranarray(array)


def strided(array, folder):
    return np.repeat(array, 2, -1)[..., ::2]


def backwards(array, folder):
    return np.ascontiguousarray(np.flip(array))[(slice(None, None, -1),) * array.ndim]


def read_only(array, folder):
    array = array.copy()
    array.setflags(write=False)
    return array


def big_endian(array, folder):
    return array.astype(array.dtype.newbyteorder(">"))


def memmap(array, folder):
    mapped = np.memmap(folder / f"{array.ndim}-{array.size}.bin", array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    mapped.flush()
    return np.memmap(mapped.filename, array.dtype, "r", shape=array.shape)


@pytest.mark.parametrize("layout", [fortran, strided, backwards, read_only, big_endian, memmap])
def test_sound_arrays_in_any_layout_give_the_same_bits(layout, tmp_path, rng):
    semantic = rng.random((3, 24, 28), np.float32)
    semantic /= semantic.sum(0)
    M, a, b = rng.random((3, 60)), np.array([30.0, 20, 10]), np.ones(60)
    edges = edge_costs(semantic)
    photo = picture(0, 24, 28)
    for call, given in (
        (edge_costs, (semantic, semantic[:1])),
        (lambda maps: PseudoMasker("best")(maps, None, TARGETS), (semantic,)),
        (lambda costs: random_walk_costs(costs, TARGETS), (edges,)),
        (lambda pixels: label_picture(pixels, TARGETS), (photo,)),
        (lambda a, b, M: solve(a, b, M, reg=0.1), (a, b, M)),
    ):
        expected = list(arrays(call(*given)))
        found = list(arrays(call(*(layout(array, tmp_path) for array in given))))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def labels() -> list[np.ndarray]:
    return list(arrays(CALLS["label_picture, bytes"]()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_sound_a_forked_process_labels():
    expected = labels()  # by then the threads and the kernels are there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of threads beside a fork
        # One thread, as a DataLoader sets it: torch's own wait for ever behind a fork of a process that has used some.
        with multiprocessing.get_context("fork").Pool(1, torch.set_num_threads, (1,)) as pool:
            found = pool.apply_async(labels).get(timeout=120)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


COMMAND = """import contextlib, sys
from point2mask_ot.cli import main
with contextlib.suppress(SystemExit):
    main(["--help"])
sys.exit(main())"""
SETTINGS = {
    "ASCII locale": ([], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    "code page, without assertions": (["-O"], {"PYTHONIOENCODING": "cp1252"}),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_sound_locales_and_optimised_python_give_the_same_files(case, tmp_path, monkeypatch):
    flags, environment = SETTINGS[case]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(0)).save("a.png")
    Path("points.csv").write_text("x,y,category\n2,12,čaj\n29,12,壁:stuff\n", encoding="utf-8")
    words = ["label", "a.png", "--points", "points.csv", "--out"]
    assert main([*words, "here"]) == 0
    program = [sys.executable, *flags, "-c", COMMAND]
    done = subprocess.run([*program, *words, "there"], env={**os.environ, **environment}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert results(Path("there")) == results(Path("here"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell a process's memory so")
def test_sound_120_steps_leak_nothing(rng):
    """Steps of a trainer. A map takes 160 kB, so that to keep one of each step would take 19 MB."""
    masker = PseudoMasker("best")
    logits = torch.from_numpy(rng.standard_normal((1, 21, 40, 48), np.float32)).requires_grad_()
    image = torch.from_numpy(rng.random((1, 3, 40, 48), np.float32))
    classes = torch.full((1, 40, 48), 255)
    classes[0, 4, 4], classes[0, 18, 22] = 0, 1

    def step() -> None:
        masks = masker(logits.detach().softmax(1), None, [TARGETS])[0]
        assert masks.instance.shape == (40, 48)
        semantic_loss(logits, classes, image).backward()

    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    for _ in range(20):
        step()
    before = megabytes()
    for _ in range(120):
        step()
    assert megabytes() - before < 8
