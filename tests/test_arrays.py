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
