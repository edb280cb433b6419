"""Fixtures shared by all tests: devices, dtypes, tolerances, seeded generators, and problems that are degenerate
by default."""

from __future__ import annotations

import os
from pathlib import Path

# Read when OpenMP is loaded: threads that wait sleep, where spinning would take the cores from the processes beside.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    # Read when a kernel is defined: without a GPU, Triton's kernels run in its interpreter, on CPU tensors.
    os.environ.setdefault("TRITON_INTERPRET", "1")

TOLERANCE = {
    torch.float64: {"rtol": 1e-9, "atol": 1e-10},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
    torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2},
    torch.float16: {"rtol": 2e-3, "atol": 2e-3},
}
"""How closely a result computed in a dtype must match its float64 oracle, unless an issue names a tighter bound."""


@pytest.fixture
def tolerance():
    """The tolerance table, by torch dtype."""
    return TOLERANCE


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch.device(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231002)


@pytest.fixture
def forked_workers(monkeypatch):
    """The workers of a job are forked from a process that has imported what they need, which saves two seconds of a
    core for each; that they can be spawned, other tests show."""
    from multiprocessing import forkserver

    from processes import FORKS

    # Begun by a job, which holds its signals back, the server would hand that on to all that it forks later.
    forkserver.ensure_running()
    monkeypatch.setattr("point2mask_ot.labelling.workers.processes._CONTEXT", FORKS)


@pytest.fixture
def eager_ray(monkeypatch):
    """Ray's workers would let all others of this machine go first, and so hardly get anywhere beside other tests."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture(scope="module")
def network():
    """The tiny network of the reference trainer; imported here, since most tests need no trainer."""
    from trainer_cases import tiny_network

    return tiny_network()


@pytest.fixture
def batch():
    """Pictures for it."""
    from trainer_cases import three_pictures

    return three_pictures()


@pytest.fixture(scope="session")
def chromium_window():
    """A window of a browser without a screen, which the tests of the page share."""
    from chromium import browser, missing

    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    with browser() as opened:
        yield opened


@pytest.fixture
def window(chromium_window):
    """As wide as a desk's, whatever a test before has made of it."""
    chromium_window.resize(1280, 800)
    return chromium_window


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures with masks, beside the checkout; never part of the project."""
    folder = Path(os.environ.get("POINT2MASK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real pictures at {folder} (set POINT2MASK_DATA)")
    return folder


@pytest.fixture
def triton_that_does_not_spill() -> None:
    """Older versions move up to 32 bytes of some kernels out of the registers."""
    triton = pytest.importorskip("triton")
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7):
        pytest.skip("Triton before 3.7 spills in some kernels")
