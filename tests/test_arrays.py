"""Arrays that would be read as something else are refused where arrays are taken (FAULTS A6, B6)."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import point2mask_ot as p2m
from point2mask_ot import viz

EDGES = np.ones((4, 6, 8), np.float32)
PICTURE = np.zeros((6, 8, 3), np.uint8)
POINTS = np.array([[1, 2], [4, 6]])


def masked(array):
    return np.ma.masked_array(array, np.zeros(array.shape, bool) | (array == array.flat[0]))


TAKERS = {
    ("label_picture", "image"): (lambda x: p2m.label_picture(x, p2m.PointTargets(POINTS)), PICTURE),
    ("smooth_lab", "image"): (p2m.smooth_lab, PICTURE),
    ("edge_costs", "boundary"): (lambda x: p2m.edge_costs(boundary=x), np.zeros((1, 6, 8), np.float32)),
    ("geodesic_distances", "edges"): (lambda x: p2m.geodesic_distances(x, POINTS), EDGES),
    ("geodesic_distances", "points_yx"): (lambda x: p2m.geodesic_distances(EDGES, x), POINTS),
    ("PointTargets", "points_yx"): (p2m.PointTargets, POINTS),
    ("PointTargets", "is_thing"): (lambda x: p2m.PointTargets(POINTS, is_thing=x), np.array([True, True])),
    ("solve", "M"): (lambda x: p2m.solve(np.ones(2), np.ones(2), x), np.eye(2)),
    ("draw_points", "image"): (lambda x: viz.draw_points(x, p2m.PointTargets(POINTS)), PICTURE),
}


@pytest.mark.parametrize("where", TAKERS, ids=".".join)
def test_fault_a6_masked_arrays_are_refused(where):
    take, array = TAKERS[where]
    take(array)
    with pytest.raises(p2m.ArgumentTypeError, match="masked array") as caught:
        take(masked(array))
    assert (caught.value.function, caught.value.argument) in (where, ("smooth_lab", "image"), ("lab_gradient", "image"))


def test_fault_b6_tensors_without_values():
    edges = torch.from_numpy(EDGES)
    for tensor, expected in ((edges.to_sparse(), "dense"), (edges.to("meta"), "holds values")):
        with pytest.raises(p2m.ArgumentError, match=f"geodesic_distances: argument 'edges'.*{expected}"):
            p2m.geodesic_distances(tensor, POINTS)
    with pytest.raises(p2m.ArgumentError, match=r"PointTargets: argument 'points_yx'.*dense"):
        p2m.PointTargets(torch.from_numpy(POINTS).to_sparse())


def test_fault_b6_kernels_that_may_not_be_compiled():
    code = "import numpy as np, point2mask_ot as p\np.geodesic_distances(np.ones((4, 3, 3), 'f'), [(1, 1)])"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode
    assert "NUMBA_DISABLE_JIT is set" in found.stderr.splitlines()[-1]


COLORS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = COLORS[..., :1]
OPAQUE = np.dstack([COLORS, np.full((6, 8), 255, np.uint8)])


def first(array):
    return np.ascontiguousarray(array.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (GREY[..., 0], GREY.repeat(3, 2)),
        (GREY, GREY.repeat(3, 2)),
        (OPAQUE, COLORS),
        (torch.from_numpy(first(GREY)), torch.from_numpy(first(GREY.repeat(3, 2)))),
        (torch.from_numpy(first(OPAQUE)), torch.from_numpy(first(COLORS))),
        (torch.from_numpy(first(OPAQUE)) / 255, torch.from_numpy(first(COLORS)) / 255),
        (first(GREY)[None], first(GREY.repeat(3, 2))[None]),
        (first(OPAQUE)[None], first(COLORS)[None]),
    ],
)
def test_fault_c1_arrays_as_people_have_them(given, meant):
    for make in (p2m.smooth_lab, p2m.lab_gradient):
        np.testing.assert_array_equal(np.asarray(make(given)), np.asarray(make(meant)))


def test_fault_c1_sixteen_bits_and_what_is_drawn():
    deep = COLORS.astype(np.uint16) * 16
    found = p2m.smooth_lab(deep, sigma=0)
    assert found.shape == (3, 6, 8)
    assert found[0].max() > 0.9  # its brightest pixels are white
    targets = p2m.PointTargets(POINTS)
    assert p2m.label_picture(deep, targets, stuff="supply").masks.shape == (2, 6, 8)
    plain = viz.draw_points(COLORS, targets)
    np.testing.assert_array_equal(viz.draw_points(OPAQUE, targets), plain)
    assert viz.fit(GREY, 16).shape == viz.fit(deep, 16).shape == (12, 16, 3)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (first(COLORS), r"shape \(3, 6, 8\).*channels first\?"),
        (np.dstack([COLORS, GREY]), "transparent pixels"),
        (np.zeros((6, 8, 5), np.uint8), "shape"),
        (torch.from_numpy(COLORS), "shape"),
    ],
)
def test_fault_c1_what_would_be_read_as_something_else(picture, message):
    with pytest.raises(p2m.ArgumentError, match=message):
        p2m.smooth_lab(picture)
