"""The ground the package stands on: array families, the thread pool, compilation without a writable cache."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
import torch

from point2mask_ot import ArgumentError, PointTargets, PseudoMasker
from point2mask_ot.arrays import as_optional_tensors, as_tensors
from point2mask_ot.checks import check_integer, check_number, require_all
from point2mask_ot.compiled import jit
from point2mask_ot.compiled.threads import run_parallel


class TestArrays:
    def test_shares_memory_and_restores_the_family(self):
        array = np.arange(6.0).reshape(2, 3)
        (tensor, nothing), restore = as_optional_tensors("f", x=array, y=None)
        assert tensor.data_ptr() == array.ctypes.data
        assert nothing is None
        assert isinstance(restore(tensor), np.ndarray)
        assert as_tensors("f", x=torch.ones(2))[1](torch.ones(2)).__class__ is torch.Tensor

    def test_awkward_arrays(self):
        base = np.arange(6, dtype=np.float32).reshape(2, 3)
        frozen = base.copy()
        frozen.setflags(write=False)
        for array in (base[:, ::-1], base.T, base.astype(">f4"), frozen, base[:, ::2]):
            (tensor,), _ = as_tensors("f", x=array)
            np.testing.assert_array_equal(tensor.numpy(), array)

    @pytest.mark.parametrize(
        "value", [None, [1.0], "x", np.array(["a"]), np.zeros(1, np.longdouble), np.array([object()])]
    )
    def test_refuses(self, value):
        with pytest.raises(ArgumentError, match=r"f: argument 'x': got .*; expected"):
            as_tensors("f", x=value)


class TestChecks:
    @pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), torch.tensor(1.0)])
    def test_numbers(self, value):
        assert check_number("f", "x", value) == 1.0

    @pytest.mark.parametrize("value", ["1", True, None, [1], np.ones(1), float("nan"), float("inf"), -1, 0, 9])
    def test_not_such_numbers(self, value):
        with pytest.raises(ArgumentError):
            check_number("f", "x", value, above=0, maximum=8)

    def test_no_number_that_is_to_be_learned(self):
        """Nothing would tell that it never moves."""
        value = torch.nn.Parameter(torch.tensor(1.0))
        with pytest.raises(ArgumentError, match="requires a gradient"):
            check_number("f", "x", value)
        with torch.no_grad():
            assert check_number("f", "x", value) == 1.0

    @pytest.mark.parametrize("value", [1.0, "1", True, None, 0])
    def test_not_such_integers(self, value):
        with pytest.raises(ArgumentError):
            check_integer("f", "x", value, minimum=1)

    def test_required_values_are_named_on_the_cpu_and_asserted_elsewhere(self):
        def f(x):
            require_all("f", "x", x >= 0, lambda: f"{x.min():g}", "values >= 0")
            return 2 * x

        with pytest.raises(ArgumentError, match=r"f: argument 'x': got -1; expected values >= 0"):
            f(torch.tensor([1.0, -1.0]))
        assert f(torch.ones(3, device="meta")).shape == (3,), "nothing looks at the values"
        compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
        assert compiled(torch.ones(3)).tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="'x': expected values >= 0"):
            compiled(-torch.ones(3))


class TestThreads:
    def test_results_in_order_on_a_bounded_pool(self):
        names = set()

        def work(i):
            names.add(threading.get_ident())
            return i * i

        assert run_parallel(work, range(50)) == [i * i for i in range(50)]
        assert len(names) <= torch.get_num_threads()
        names.clear()
        run_parallel(work, range(5), serial=True)
        assert names == {threading.get_ident()}

    def test_an_error_in_a_thread_reaches_the_caller(self):
        with pytest.raises(ZeroDivisionError):
            run_parallel(lambda i: 1 // i, [1, 0, 1])

    def test_threads_that_cannot_start_are_done_without(self, monkeypatch):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert run_parallel(lambda i: i * i, range(5)) == [0, 1, 4, 9, 16]

    def test_an_interrupt_leaves_no_thread_behind(self, monkeypatch):
        caller, begun, done = threading.get_ident(), threading.Event(), []

        def work(item):
            if threading.get_ident() == caller:
                assert begun.wait(60)
                raise KeyboardInterrupt
            begun.set()
            time.sleep(0.01)
            done.append(item)

        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            run_parallel(work, range(1000))
        assert threading.active_count() == before
        assert len(done) < 500

    def test_eight_callers_at_once_get_equal_bits(self, rng):
        boundary = rng.random((1, 60, 70)).astype(np.float32)
        targets = PointTargets([(5, 5), (50, 60), (30, 10)])
        masker = PseudoMasker("best", stuff="supply", step_cost=1e-3)
        alone = masker(None, boundary, targets)
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda _: masker(None, boundary, targets), range(16)))
        for result in together:
            np.testing.assert_array_equal(result.instance, alone.instance)
            np.testing.assert_array_equal(result.confidence, alone.confidence)


def test_a_read_only_install_compiles_in_memory(monkeypatch):
    original = numba.njit

    def read_only(*args, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return original(*args, **options)

    monkeypatch.setattr(numba, "njit", read_only)

    @jit.njit()
    def double(x):
        return 2 * x

    assert double(21) == 42


def test_a_cached_kernel_depends_on_every_source_of_the_package(tmp_path):
    source = tmp_path / "kernels.py"
    source.write_text("from point2mask_ot.compiled.jit import njit\n\n@njit()\ndef double(x):\n    return 2 * x\n")
    code = (
        "import os, sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from point2mask_ot.compiled import jit\n"
        "real = jit.sources_stamp\n"
        "jit.sources_stamp = lambda folder: (*real(folder), ('elsewhere.py', int(sys.argv[2]), 1))\n"
        "import kernels; kernels.double(1); print(len(kernels.double.stats.cache_hits))"
    )

    def cache_hits(version: int) -> int:
        command = [sys.executable, "-c", code, str(tmp_path), str(version)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert cache_hits(1) == 0
    assert cache_hits(1) == 1, "an unchanged package finds its kernels"
    assert cache_hits(2) == 0, "a changed file elsewhere makes them stale"


def test_processes_that_compile_at_once_do_not_mix_up_signatures(tmp_path):
    source = tmp_path / "at_once.py"
    source.write_text("from point2mask_ot.compiled.jit import njit\n\n@njit()\ndef double(x):\n    return 2 * x\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import at_once\n"
        "if sys.argv[3:]:\n"  # it looked at the index before the other process entered its kernel there
        "    at_once.double._cache._cache_file._load_index = lambda: {}\n"
        "print(at_once.double(eval(sys.argv[2])))"
    )

    def doubled(*words: str) -> str:
        command = [sys.executable, "-c", code, str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert doubled("1") == "2"
    (kernel,) = tmp_path.rglob("*.nbc")
    compiled = kernel.read_bytes()
    assert doubled("1.5", "at once") == "3.0"
    assert kernel.read_bytes() == compiled, "one signature's code was written over the other's"
    assert (doubled("1"), doubled("1.5")) == ("2", "3.0")


@pytest.mark.parametrize("locks", [True, False])
def test_processes_that_start_together_compile_once(locks, tmp_path):
    """Where a file system has no locks, each compiles for itself."""
    source = tmp_path / "together.py"
    source.write_text("from point2mask_ot.compiled.jit import njit\n\n@njit()\ndef double(x):\n    return 2 * x\n")
    code = (
        "import errno, fcntl, pathlib, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "def refuse(*_): raise OSError(errno.ENOLCK, 'no locks')\n"
        "if len(sys.argv) > 3: fcntl.lockf = refuse\n"
        "import together\n"
        "real = together.double._compiler.compile\n"
        "together.double._compiler.compile = lambda *given: time.sleep(0.3) or real(*given)\n"
        "pathlib.Path(sys.argv[1], sys.argv[2]).touch()\n"
        "while not all(pathlib.Path(sys.argv[1], name).exists() for name in 'ab'): time.sleep(0.001)\n"
        "assert together.double(21) == 42; print(len(together.double.stats.cache_misses))"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    without = [] if locks else ["no locks"]
    started = [subprocess.Popen([*words, name, *without], stdout=subprocess.PIPE, text=True) for name in "ab"]
    misses = sorted(int(process.communicate()[0]) for process in started)
    assert misses == ([0, 1] if locks else [1, 1])
