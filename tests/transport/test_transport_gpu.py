"""Sinkhorn and Newton of the device backends: pure torch, and Triton on a GPU or in its interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ot
import pytest
import torch
from transport_problems import problem, rounds

from point2mask_ot import ArgumentError, sinkhorn, solve
from point2mask_ot.transport.problem import Options, Problems

GPU = torch.cuda.is_available()
PLACES = [
    "torch on cpu",
    "triton on cpu",
    *(pytest.param(f"{b} on cuda", marks=pytest.mark.gpu) for b in ("torch", "triton")),
]
BY_ROUNDS = ["triton on cpu by rounds", pytest.param("triton on cuda by rounds", marks=pytest.mark.gpu)]
each_way = pytest.mark.parametrize("place", PLACES + BY_ROUNDS, indirect=True)
"""Triton works off small problems in one launch and others round by round."""

# The interpreter is NumPy, which warns where infinities meet; GPUs do not.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{what}:RuntimeWarning")
    for what in ("invalid value", "divide by zero", "overflow", "underflow")
]


@pytest.fixture(params=PLACES)
def place(request, monkeypatch):
    """A backend, and a function that sends arrays to where it works."""
    backend, device = request.param.removesuffix(" by rounds").split(" on ")
    if backend == "triton":
        pytest.importorskip("triton")
        from interpreted import remember_builtins

        remember_builtins()
    if device == "cuda" and not GPU:
        pytest.skip("no CUDA device on this machine")
    if (backend, device) == ("triton", "cpu") and GPU:
        pytest.skip("kernels are compiled for the GPU, not interpreted")
    if request.param.endswith(" by rounds"):
        monkeypatch.setattr("point2mask_ot.transport.gpu.launch.SMALL_ENTRIES", 0)
    return SimpleNamespace(
        backend=backend, device=device, send=lambda *arrays: [torch.tensor(x, device=device) for x in arrays]
    )


def equal(result, expected, *, M, rtol=1e-5, atol=1e-6):
    """Results of two backends agree; labels up to ties."""
    for name in ("f", "g", "cost", "marginal_error", "plan"):
        got, wanted = np.asarray(getattr(result, name).cpu()), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=name)
    labels, others = result.labels.cpu().numpy(), np.asarray(expected.labels)
    scores = np.asarray(expected.f)[:, None] - M
    pixels = np.arange(len(labels))
    reached = np.isfinite(scores).any(axis=0)
    np.testing.assert_allclose(scores[labels, pixels][reached], scores[others, pixels][reached], rtol=rtol, atol=atol)
    assert (labels == others).mean() > 0.95
    assert result.labels.dtype == torch.int64


OPTIONS = {
    "hard": {},
    "small reg": {"reg": 2e-3},
    "soft": {"tau": 0.7},
    "floor": {"marginal_floor": 1e-3},
    "to a tolerance": {"tol": 2e-2, "max_iter": 100},
}


@each_way
@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_options(rng, place, dtype, case):
    a, b, M = problem(rng, pixels=70, dtype=dtype)
    options = {"reg": 0.2, "max_iter": 5, **OPTIONS[case]}
    expected = sinkhorn(a, b, M, backend="numba", **options)
    result = sinkhorn(*place.send(a, b, M), backend=place.backend, **options)
    if dtype == np.float64:
        equal(result, expected, M=M, rtol=1e-9, atol=1e-10)
        assert result.iterations == expected.iterations
    else:
        equal(result, expected, M=M)
    assert result.converged == expected.converged
    if case in ("hard", "floor"):
        f, _ = rounds(a, b, M, options["reg"], 5, options.get("marginal_floor", 0))
        np.testing.assert_allclose(result.f.cpu(), f, rtol=1e-5, atol=1e-6)


@each_way
def test_problems_of_different_shapes_are_the_loop(rng, place):
    shapes = [(1, 1), (6, 300), (9, 17), (1, 40), (17, 30)]
    each = [problem(rng, K, N, degenerate=K > 5 and N > 20) for K, N in shapes]
    each[1] = tuple(np.stack([x, y]) for x, y in zip(problem(rng, 6, 300), problem(rng, 6, 300), strict=True))
    sent = [place.send(*one) for one in each]
    results = sinkhorn(*map(list, zip(*sent, strict=True)), 0.1, max_iter=4, backend=place.backend)
    for (a, b, M), result in zip(each, results, strict=True):
        expected = sinkhorn(a, b, M, 0.1, max_iter=4, backend="numba")
        for name in ("f", "g", "labels", "cost", "marginal_error"):
            got = getattr(result, name)
            assert got.device.type == place.device
            np.testing.assert_allclose(got.cpu(), getattr(expected, name), rtol=1e-9, atol=1e-10, err_msg=name)
        assert result.iterations == 4
        assert not result.converged


@each_way
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_suppliers_and_a_region_out_of_reach(rng, place, dtype):
    """Exponents of thousands of bits: the masses of the far suppliers underflow, and are found as logarithms."""
    a, b, M = problem(rng, 5, 60, degenerate=False, dtype=dtype)
    M[3] += 40.0
    M[:3, :20] = np.inf
    f, _ = rounds(a, b, M, 5e-3, 3)
    result = sinkhorn(*place.send(a, b, M), 5e-3, max_iter=3, backend=place.backend)
    np.testing.assert_allclose(result.f.cpu(), f, rtol=1e-5, atol=1e-5 if dtype == np.float32 else 1e-9)


@each_way
def test_float32_exponents_are_accurate_at_any_scale(rng, place):
    a, b, M = problem(rng, 5, 60, degenerate=False)
    high = (M + 4096).astype(np.float32)
    f, g = rounds(a, b, high, 0.01, 4)
    result = sinkhorn(*place.send(a, b, high), 0.01, max_iter=4, backend=place.backend)
    np.testing.assert_allclose(result.f.cpu(), f, atol=1e-7)
    np.testing.assert_allclose(result.g.cpu(), g, atol=1e-7)


def check_error(result, a, b, scale, tau):
    """It is that of the plan as it is given, which is all that the plan misses of a problem of :func:`cheapest`."""
    plan, f = result.plan.cpu().numpy(), result.f.cpu().numpy()
    wanted = a if tau is None else a * np.exp(-f / tau)
    real = (np.abs(plan.sum(1) - wanted).sum() + np.abs(plan.sum(0) - b).sum()) / b.sum()
    np.testing.assert_allclose(float(result.marginal_error), real, rtol=1e-6, atol=1e-13)
    assert 1e-17 * scale < real < 1e-14 * scale  # potentials as large as costs have 16 digits


def cheapest(scale):
    """Every pixel goes to its cheapest supplier, so that what rounding takes is all that the plan can miss."""
    rng = np.random.default_rng(0)
    M, b = rng.random((4, 50)) * scale, rng.random(50) + 0.2
    return np.bincount(M.argmin(0), b, 4), b, M


@each_way
@pytest.mark.filterwarnings("ignore::point2mask_ot.ConvergenceWarning")
@pytest.mark.parametrize("tau", [None, 1.0])
@pytest.mark.parametrize("scale", [1e8, 1e12])
def test_fault_a7_the_error_is_that_of_the_plan_as_it_is_given(place, scale, tau):
    a, b, M = cheapest(scale)
    rounds, to_a_tolerance = (
        sinkhorn(*place.send(a, b, M), 0.1, max_iter=5, tol=tol, tau=tau, backend=place.backend) for tol in (None, 1e-7)
    )
    for result in (rounds, to_a_tolerance):
        check_error(result, a, b, scale, tau)
    assert not rounds.converged
    assert to_a_tolerance.converged == (scale == 1e8)


@pytest.mark.filterwarnings("ignore::point2mask_ot.ConvergenceWarning")
@pytest.mark.parametrize("tau", [None, 1.0])
@pytest.mark.parametrize("scale", [1e8, 1e12])
def test_fault_a7_the_error_of_newton_is_that_of_the_plan_as_it_is_given(place, scale, tau):
    a, b, M = cheapest(scale)
    result = solve(*place.send(a, b, M), reg=0.1, tau=tau, backend=place.backend)
    check_error(result, a, b, scale, tau)
    assert result.converged == (scale == 1e8)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (4, 9)])
def test_ties(place, shape):
    K, N = shape
    a, b, M = np.full(K, N / K), np.ones(N), np.full(shape, 2.5, np.float32)
    result = sinkhorn(*place.send(a, b, M), 0.1, max_iter=3, backend=place.backend)
    assert not result.labels.any()
    np.testing.assert_allclose(result.plan.cpu(), 1 / K, rtol=1e-6)


def test_half_precision_integers_and_other_totals(rng, place):
    a, b, M = problem(rng, 4, 50, unit=True, degenerate=False)
    low = torch.tensor(M, dtype=torch.float16)
    expected = sinkhorn(a, b, low.double().numpy(), 0.1, max_iter=4)
    a3, b8, M16 = torch.tensor(3 * a), torch.tensor(b, dtype=torch.uint8), low
    sent = [x.to(place.device) for x in (a3, b8, M16)]
    result = sinkhorn(*sent, 0.1, max_iter=4, normalize=True, backend=place.backend)
    np.testing.assert_allclose(result.f.cpu(), expected.f, atol=1e-6)
    assert result.plan.dtype == torch.float32


@pytest.mark.parametrize("tau", [None, 0.7])
def test_newton_is_pots(rng, place, tau):
    a, b, M = problem(rng, 5, 60)
    result = solve(*place.send(a, b, M), reg=0.1, tau=tau, tol=1e-9, backend=place.backend)
    assert result.converged
    equal(result, solve(a, b, M, reg=0.1, tau=tau, tol=1e-10), M=M, rtol=1e-6, atol=1e-7)
    if tau is None:
        a, b, M = problem(rng, 5, 60, degenerate=False)
        result = solve(*place.send(a, b, M.astype(np.float32)), reg=0.1, backend=place.backend)
        plan = ot.sinkhorn(a, b, M.astype(np.float32).astype(float), 0.1, method="sinkhorn_log", stopThr=1e-10)
        np.testing.assert_allclose(result.plan.cpu(), plan, atol=1e-6)


def test_newton_of_many_suppliers_that_start_far_away(rng, place):
    """More suppliers than one square of links holds; masses that underflow."""
    K, N = 66, 132
    M = rng.random((K, N)).astype(np.float32)
    M[:3] += 8
    a, b = np.full(K, N / K), np.ones(N)
    result = solve(*place.send(a, b, M), reg=0.1, tol=1e-6, backend=place.backend)
    assert result.converged
    np.testing.assert_allclose(result.plan.cpu().sum(1), a, atol=1e-3)


FAULTY = {
    "NaN cost": ("M", "NaN", lambda a, b, M: M.__setitem__((0, 1), np.nan)),
    "cost of -inf": ("M", "inf", lambda a, b, M: M.__setitem__((0, 1), -np.inf)),
    "unreached": ("M", "reach", lambda a, b, M: M.__setitem__((slice(None), 2), np.inf)),
    "cut off": ("M", "suppliers", lambda a, b, M: M.__setitem__(1, np.inf)),
    "absurd cost": ("M", "forbidden pair", lambda a, b, M: M.__setitem__((0, 1), 1e25)),
    "negative demand": ("b", "masses", lambda a, b, M: b.__setitem__(0, -1)),
    "NaN demand": ("b", "masses", lambda a, b, M: b.__setitem__(0, np.nan)),
    "no demand": ("b", "total of 0", lambda a, b, M: b.__setitem__(slice(None), 0)),
    "infinite capacity": ("a", "masses", lambda a, b, M: a.__setitem__(0, np.inf)),
    "no capacity": ("a", "total of 0", lambda a, b, M: a.__setitem__(slice(None), 0)),
    "demand of an infinite total": ("b", "masses", lambda a, b, M: b.__setitem__(slice(None), 1e308)),
    "capacity of an infinite total": ("a", "masses", lambda a, b, M: a.__setitem__(slice(None), 1e308)),
    "unequal totals": ("a", "total", lambda a, b, M: a.__setitem__(0, 9)),
}


@pytest.mark.parametrize("case", FAULTY)
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_faults_are_found_without_the_host(rng, backend, case):
    """What a GPU asserts, on the CPU, where the same rules judge the same statistics."""
    if backend == "triton" and GPU:
        pytest.skip("kernels are compiled for the GPU, not interpreted")
    solver = pytest.importorskip(f"point2mask_ot.transport.{'gpu.launch' if backend == 'triton' else 'portable'}")
    argument, text, spoil = FAULTY[case]
    arrays = problem(rng, 4, 30, degenerate=False)
    good = [torch.tensor(x)[None] for x in arrays]
    spoil(*arrays)
    bad = [torch.tensor(x)[None] for x in arrays]
    options = Options("sinkhorn", 0.1, np.inf, -1.0, 1, 0.0, False, backend)
    with pytest.raises(ArgumentError, match=f"f: argument '{argument}'.*{text}"):
        solver.sinkhorn("f", Problems.of(*([x, y] for x, y in zip(good, bad, strict=True))), options)


def test_the_interpreter_is_asked_for():
    """Without it, Triton refuses CPU tensors before it is too late."""
    code = (
        "import torch, point2mask_ot as p2m\n"
        "try: p2m.sinkhorn(torch.ones(2), torch.ones(2), torch.ones(2, 2), 0.1, backend='triton')\n"
        "except p2m.ArgumentError as error: print(error)"
    )
    assert "a CUDA device" in outside_the_interpreter("-c", code)


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_without_spills(triton_that_does_not_spill, capability):
    """Offline, for a card that need not be there, with the blocks that the library chooses."""
    report = outside_the_interpreter(str(Path(__file__).with_name("compile_transport.py")), str(capability))
    kernels = dict(line.rsplit(" ", 1) for line in report.splitlines())
    assert len({name.split()[0] for name in kernels}) == 9
    assert {name: stack for name, stack in kernels.items() if stack != "0"} == {}


def outside_the_interpreter(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no CUDA device on this machine")
class TestGpu:
    @pytest.mark.parametrize("backend", ["torch", "triton"])
    @pytest.mark.parametrize("pixels", [100, 20_000])
    def test_the_host_does_not_wait(self, rng, backend, pixels):
        each = [problem(rng, K, pixels, degenerate=False, dtype=np.float32) for K in (5, 9)]
        a, b, M = ([torch.tensor(x, device="cuda") for x in arrays] for arrays in zip(*each, strict=True))
        sinkhorn(a, b, M, 0.1, tau=1.0, marginal_floor=1e-8, backend=backend)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            results = sinkhorn(a, b, M, 0.1, tau=1.0, marginal_floor=1e-8, backend=backend)
            assert all(result.iterations == 80 for result in results)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for (a_, b_, M_), result in zip(each, results, strict=True):
            equal(result, sinkhorn(a_, b_, M_, 0.1, tau=1.0, marginal_floor=1e-8), M=M_)

    def test_the_same_bits_again(self, rng):
        a, b, M = (torch.tensor(x, device="cuda") for x in problem(rng, 20, 30_000, dtype=np.float32))
        first, second = (sinkhorn(a, b, M, 1e-2) for _ in range(2))
        for name in ("f", "g", "labels", "cost", "marginal_error"):
            assert torch.equal(getattr(first, name), getattr(second, name))

    def test_newton_at_full_size(self, rng):
        a, b, M = problem(rng, 20, 60_000, degenerate=False, dtype=np.float32)
        result = solve(*(torch.tensor(x, device="cuda") for x in (a, b, M)), reg=0.01)
        assert result.converged
        equal(result, solve(a, b, M, reg=0.01), M=M)
