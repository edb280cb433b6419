"""torch's ambient state, set by whoever imports the library, changes no result (FAULTS B4 and its kind)."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from public_calls import CALLS, arrays


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AMBIENT = {
    "default device": default_device,
    "default dtype": default_dtype,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic algorithms": lambda: deterministic(),
}


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture(params=AMBIENT)
def ambient(request):
    return AMBIENT[request.param]


@pytest.mark.parametrize("call", ["PseudoMasker, best", "label_picture"])
def test_fault_b3_a_compiled_step_labels(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CALLS[call]()
        found = torch.compile(lambda: CALLS[call](), backend="eager")()
    for ours, theirs in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("call", CALLS)
def test_fault_b4_ambient_state_changes_nothing(call, ambient):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = list(arrays(CALLS[call]()))
        with ambient():
            found = list(arrays(CALLS[call]()))
    assert expected
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
