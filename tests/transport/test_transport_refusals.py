"""What the transport solvers refuse, and how they say so."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, ArgumentTypeError, sinkhorn, solve

INF, NAN = np.inf, np.nan
GOOD = {"a": np.array([2.0, 1.0]), "b": np.ones(3), "M": np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])}


def costs(value, *index):
    changed = GOOD["M"].copy()
    changed[index] = value
    return changed


ARRAYS = {
    "NaN cost": ({"M": costs(NAN, 0, 1)}, "M", "NaN"),
    "cost of -inf": ({"M": costs(-INF, 0, 1)}, "M", "-inf"),
    "unreachable pixels": ({"M": costs(INF, slice(None), slice(0, 2))}, "M", "2 pixels with demand"),
    "supplier cut off": ({"M": costs(INF, 1)}, "M", "suppliers [1] with capacity"),
    "negative capacity": ({"a": np.array([4.0, -1.0])}, "a", "-1"),
    "negative demand": ({"b": np.array([4.0, -2.0, 1.0])}, "b", "-2"),
    "NaN capacity": ({"a": np.array([NAN, 1.0])}, "a", "NaN"),
    "infinite demand": ({"b": np.array([INF, 1.0, 1.0])}, "b", "infinity"),
    "no capacity": ({"a": np.zeros(2)}, "a", "total of 0"),
    "no demand": ({"b": np.zeros(3)}, "b", "total of 0"),
    "unequal masses": ({"a": np.array([2.0, 1.1])}, "a", "normalize=True"),
    "capacities of another length": ({"a": np.ones(3)}, "a", "(2,)"),
    "demand of another length": ({"b": np.ones(4)}, "b", "(3,)"),
    "demand of another rank": ({"b": np.ones((1, 3))}, "b", "(3,)"),
    "flat costs": ({"M": np.ones(6)}, "M", "(K, N)"),
    "no suppliers": ({"a": np.ones(0), "M": np.ones((0, 3))}, "M", "at least one"),
    "no pixels": ({"b": np.ones(0), "M": np.ones((2, 0))}, "M", "at least one"),
    "no problems": ({"a": np.ones((0, 2)), "b": np.ones((0, 3)), "M": np.ones((0, 2, 3))}, "M", "at least one"),
    "a list beside an array": ({"M": [GOOD["M"]]}, "a", "list"),
    "lists of different lengths": ({"M": [GOOD["M"]], "a": [GOOD["a"]] * 2, "b": [GOOD["b"]]}, "a", "2 problems"),
    "complex": ({"M": GOOD["M"] * 1j}, "M", "real"),
    "text": ({"M": np.full((2, 3), "1")}, "M", "numeric"),
    "nested lists": ({"a": [2.0, 1.0]}, "a", "NumPy array"),
    "NumPy beside torch": ({"M": torch.ones(2, 3)}, "a", "mixing"),
    "nothing": ({"b": None}, "b", "NoneType"),
}

SINKHORN = {
    "reg of 0": ({"reg": 0}, "reg", "> 0"),
    "negative reg": ({"reg": -1.0}, "reg", "> 0"),
    "reg as text": ({"reg": "1e-3"}, "reg", "a number"),
    "infinite reg": ({"reg": INF}, "reg", "finite"),
    "no rounds": ({"max_iter": 0}, "max_iter", ">= 1"),
    "half a round": ({"max_iter": 0.5}, "max_iter", "integer"),
    "tol of 0": ({"tol": 0.0}, "tol", "> 0"),
    "negative floor": ({"marginal_floor": -1e-8}, "marginal_floor", ">= 0"),
    "unknown backend": ({"backend": "nunba"}, "backend", "did you mean 'numba'"),
    "normalize as text": ({"normalize": "yes"}, "normalize", "True or False"),
}

SOLVE = {
    "negative reg": ({"reg": -1e-3}, "reg", ">= 0"),
    "unknown method": ({"method": "newtn"}, "method", "did you mean 'newton'"),
    "newton without reg": ({"method": "newton"}, "reg", "> 0"),
    "sinkhorn without reg": ({"method": "sinkhorn"}, "reg", "> 0"),
    "exact with reg": ({"method": "exact", "reg": 0.1}, "reg", "0, or another method"),
    "exact with tau": ({"tau": 1.0}, "tau", "reg > 0"),
    "tau of 0": ({"tau": 0.0, "reg": 0.1}, "tau", "> 0"),
    "tol of 0": ({"tol": 0.0}, "tol", "> 0"),
    "tol as text": ({"tol": "1e-6"}, "tol", "a number"),
    "no passes": ({"max_iter": 0, "reg": 0.1}, "max_iter", ">= 1"),
    "exact in torch": ({"backend": "torch"}, "backend", "numba"),
}


def refused(function, arguments, argument, text):
    with pytest.raises(ArgumentError, match=re.escape(text)) as error:
        function(**arguments)
    assert error.value.function == function.__name__
    assert error.value.argument == argument
    assert "expected" in str(error.value)
    return error.value


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("function", [sinkhorn, solve])
def test_arrays(function, backend, case):
    changes, argument, text = ARRAYS[case]
    refused(function, {**GOOD, "reg": 0.1, "backend": backend, **changes}, argument, text)


@pytest.mark.parametrize("case", SINKHORN)
def test_numbers_of_sinkhorn(case):
    changes, argument, text = SINKHORN[case]
    refused(sinkhorn, {**GOOD, "reg": 0.1, **changes}, argument, text)


@pytest.mark.parametrize("case", SOLVE)
def test_numbers_of_solve(case):
    changes, argument, text = SOLVE[case]
    refused(solve, {**GOOD, **changes}, argument, text)


def test_wrong_types_are_type_errors():
    for changes in ({"reg": "0.1"}, {"M": torch.ones(2, 3)}, {"M": GOOD["M"] * 1j}):
        with pytest.raises(ArgumentTypeError):
            sinkhorn(**{**GOOD, "reg": 0.1, **changes})


def test_a_batch_names_the_problem():
    batch = {name: np.stack([array, array]) for name, array in GOOD.items()}
    batch["M"][1, 0, 0] = NAN
    refused(solve, batch, "M", "NaN in problem 1 of the batch")
