"""The backends for GPUs equal the CPU's to the bit. Without a GPU, Triton's kernel runs in its interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from geodesic_cases import FAMILIES, close_border, lognormal, maze, noise, random_points, smooth, walls

from point2mask_ot import geodesic_distances, nearest_partition
from point2mask_ot.checks import ArgumentError

pytest.importorskip("triton", reason="no Triton for this platform")

from interpreted import remember_builtins

from point2mask_ot.geodesic.gpu import launch

remember_builtins()
SIZES = [(8, 13), (1, 8), (1, 1), (5, 6)]
COUNTS = [2, 1, 1, 0]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Tiles of 6x6 pixels and regions of 2x2 tiles: small images have several, and the interpreter little to do."""
    if launch.INTERPRETED:
        monkeypatch.setattr(launch, "SIDE", 8)
        monkeypatch.setattr(launch, "REGION_SIDE", 2)


def ragged(family, rng, dtype, device="cpu", sizes=SIZES, counts=COUNTS):
    edges = [torch.from_numpy(close_border(family(rng, *size))).to(device, dtype) for size in sizes]
    return edges, [random_points(rng, count, *size) for count, size in zip(counts, sizes, strict=True)]


def on_host(tensors):
    return [tensor.cpu() for tensor in tensors]


def assert_same_bits(results, expected):
    assert len(results) == len(expected)
    for result, other in zip(results, expected, strict=True):
        assert result.dtype == other.dtype
        assert torch.equal(result.cpu(), other)


def flat(parts):
    return [tensor for part in parts for tensor in part]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_ragged_distances_equal_the_cpu(family, device, rng):
    dtype = torch.float64 if family in (lognormal, walls) else torch.float32
    edges, points = ragged(family, rng, dtype, device)
    expected = geodesic_distances(on_host(edges), points)
    for backend in ("triton", "torch"):
        assert_same_bits(geodesic_distances(edges, points, backend=backend), expected)


@pytest.mark.parametrize("family", [smooth, maze, walls], ids=lambda family: family.__name__)
def test_ragged_partition_equals_the_cpu(family, device, rng):
    edges, points = ragged(family, rng, torch.float32, device)
    target = [[1, 0], None, None, None]
    expected = flat(nearest_partition(on_host(edges), points, target))
    for backend in ("triton", "torch"):
        assert_same_bits(flat(nearest_partition(edges, points, target, backend=backend)), expected)


@pytest.mark.parametrize("rounds", [False, True], ids=["one launch", "regions first"])
def test_maze_crosses_regions_many_times(rounds, monkeypatch, rng):
    monkeypatch.setattr(launch, "ENOUGH_MAPS", 256 if rounds else 0)
    if rounds and launch.INTERPRETED:
        monkeypatch.setattr(launch, "REGION_SIDE", 1)
    edges = torch.from_numpy(close_border(maze(rng, 13, 8).astype(np.float32)))
    result = geodesic_distances(edges, [(0, 0)], backend="triton")
    assert torch.isfinite(result).sum() > 50
    assert_same_bits(result, geodesic_distances(edges, [(0, 0)]))


def test_values_at_the_ends_of_the_range(device, rng):
    choices = np.array([0.0, 1.0, np.inf, 2.0**-140, 2.0**127], np.float32)
    edges = torch.from_numpy(close_border(choices[rng.integers(0, 5, (4, 7, 9))])).to(device)
    points = random_points(rng, 2, 7, 9)
    expected = geodesic_distances(edges.cpu(), points)
    with np.errstate(over="ignore"):  # the interpreter adds with NumPy, which warns of infinity
        for backend in ("triton", "torch"):
            assert_same_bits(geodesic_distances(edges, points, backend=backend), expected)


@pytest.mark.parametrize("backend", ["triton", "torch"])
def test_no_points_and_no_images(backend, device):
    edges = torch.ones(2, 4, 3, 5, device=device)
    assert [maps.shape for maps in geodesic_distances(edges, [[], []], backend=backend)] == [(0, 3, 5)] * 2
    labels, distance = nearest_partition(edges, [[], [(0, 0)]], backend=backend)
    assert (labels[0] == -1).all()
    assert torch.isinf(distance[0]).all()
    assert (labels[1] == 0).all()
    assert geodesic_distances(edges[:0], [], backend=backend) == []


def test_interpreted_kernel_compiles_into_a_graph(rng):
    torch.compiler.reset()
    edges = torch.from_numpy(close_border(noise(rng, 5, 7).astype(np.float32)))

    def costs(edges):
        return geodesic_distances([edges * 2, edges[:, :3]], [[(0, 1)], [(2, 2)]], backend="triton")

    points, target = torch.tensor([[0, 1]]), torch.tensor([0])
    operands = ([edges, edges[:, :1, :1]], [points, points[:0]], [target, target[:0]], [1, 0])
    torch.library.opcheck(torch.ops.point2mask.nearest_partition.default, (*operands, "triton"))
    compiled = torch.compile(costs, fullgraph=True, backend="aot_eager")
    assert_same_bits(compiled(edges), costs(edges))


def test_needs_the_interpreter_on_the_cpu(monkeypatch):
    monkeypatch.setattr(launch, "INTERPRETED", False)
    with pytest.raises(ArgumentError, match=r"'triton' for edges on cpu.*TRITON_INTERPRET"):
        geodesic_distances(torch.ones(4, 2, 2), [(0, 0)], backend="triton")


@pytest.mark.gpu
def test_host_never_waits_for_the_gpu(rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    edges, points = ragged(noise, rng, torch.float32, "cuda", sizes=[(70, 90), (250, 180)], counts=[3, 2])
    geodesic_distances(edges, points), nearest_partition(edges, points)  # compiled, and memory at hand
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = geodesic_distances(edges, points), nearest_partition(edges, points)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_same_bits(results[0], geodesic_distances(on_host(edges), points))
    assert_same_bits(flat(results[1]), flat(nearest_partition(on_host(edges), points)))


@pytest.mark.gpu
@pytest.mark.parametrize("family", [noise, smooth, maze], ids=lambda family: family.__name__)
def test_large_maps_equal_the_cpu_and_themselves(family, rng):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    edges, points = ragged(family, rng, torch.float32, "cuda", sizes=[(333, 500), (61, 47)], counts=[5, 8])
    first = geodesic_distances(edges, points)
    assert_same_bits(first, geodesic_distances(on_host(edges), points))
    assert_same_bits(first, on_host(geodesic_distances(edges, points)))


COMPILE = """
import re, subprocess, tempfile
from pathlib import Path
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from point2mask_ot.geodesic.gpu.launch import constants
from point2mask_ot.geodesic.gpu.kernel import settle

tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
for capability, dtype, tight in [(80, torch.float32, False), (90, torch.float32, False), (90, torch.float32, True),
                                 (80, torch.float64, True), (90, torch.float64, False)]:
    options = constants(tight)
    flags = {name: options.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    real, bits = ("*fp32", "*i32") if dtype == torch.float32 else ("*fp64", "*i64")
    types = [real, real, real, bits, bits, real, "*i64", "*i64"] + ["constexpr"] * len(options)
    source = ASTSource(settle, dict(zip(settle.arg_names, types, strict=True)), options)
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=flags)
    assert ".ftz" not in kernel.asm["ptx"], "flushes small numbers to zero"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r"REG:(\\d+) STACK:(\\d+)", usage).groups()
    print(f"sm_{capability}", dtype, "tight" if tight else "edges", registers, "registers", stack)
    assert int(stack) == 0, "spills registers"
"""


def test_kernel_compiles_for_cards_that_are_not_here(triton_that_does_not_spill):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("registers 0") == 5, run.stdout
