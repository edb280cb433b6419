"""The backends for GPUs equal the CPU's to the bit. Without a GPU, Triton's kernel runs in its interpreter."""

from __future__ import annotations

import pytest
import torch
from geodesic_cases import FAMILIES, close_border, lognormal, maze, random_points, smooth, walls

from point2mask_ot import geodesic_distances, nearest_partition

pytest.importorskip("triton", reason="no Triton for this platform")

from point2mask_ot.geodesic import _launch

SIZES = [(9, 13), (1, 8), (1, 1), (7, 1), (5, 6)]
COUNTS = [2, 1, 1, 1, 0]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Tiles of 6x6 pixels and regions of 2x2 tiles: small images have several, and the interpreter little to do."""
    if _launch.INTERPRETED:
        monkeypatch.setattr(_launch, "SIDE", 8)
        monkeypatch.setattr(_launch, "REGION_SIDE", 2)


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
    target = [[1, 0], None, None, None, None]
    expected = flat(nearest_partition(on_host(edges), points, target))
    for backend in ("triton", "torch"):
        assert_same_bits(flat(nearest_partition(edges, points, target, backend=backend)), expected)
