"""The plan of the house: what lies at the top of the package, public names in their places, pages made from the code.

That imports keep to the layers is checked by ``lint-imports`` in ``make lint``.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PLACES = {
    "annotate": "serve",
    "capacity": "CapacityRule capacities",
    "checks": "ArgumentError ArgumentTypeError ConvergenceWarning FileError",
    "cli": "main summary",
    "formats": "EXPORTS IMPORTS export_masks import_points",
    "geodesic": "NearestTargets Partition geodesic_distances nearest_partition nearest_targets shortest_path",
    "labelling": "JobInterrupted JobStopped LabelSummary Sampling label_dataset",
    "losses": "SpanningTree boundary_affinity_loss dilate_labels lab_affinity_loss manifold_contrastive_loss "
    "minimum_spanning_tree partial_cross_entropy semantic_loss srgb_to_lab tree_affinity_loss tree_filter",
    "maps": "lab_gradient smooth_lab structured_edges",
    "panoptic": "Category ClassQuality CocoPanoptic ImageEntry LabelledPoints MAX_JSON_BYTES MAX_JSON_DEPTH MAX_PIXELS "
    "MeanQuality PanopticDataset PanopticEvaluator PanopticImage PanopticQuality PicturePoints PointSet SampledPoints "
    "Segment VOC_CATEGORIES VocPanoptic atomic_write category_channels check_points import_psps panoptic_quality "
    "prepare_points prepare_voc read_coco_panoptic read_json read_picture read_point_set read_points read_voc "
    "safe_join sample_points voc_palette write_coco_panoptic write_point_set write_points write_voc",
    "transport": "sinkhorn solve",
    "types": "Diagnostics PointTargets PseudoMasks TransportResult",
    "viz": "draw_paths draw_points fit heat_map overlay_masks partition_map stage_strip stages target_colors",
}
"""Modules that people import from, and what they find there; the names of the package itself are in test_package."""


@pytest.mark.parametrize("module", PLACES)
def test_public_names_are_where_they_were(module):
    found = importlib.import_module(f"point2mask_ot.{module}")
    for name in PLACES[module].split():
        assert hasattr(found, name), f"point2mask_ot.{module}.{name}"


def test_the_top_of_the_package_fits_on_a_screen():
    there = [path for path in (ROOT / "point2mask_ot").iterdir() if path.name != "__pycache__"]
    assert sum(path.is_dir() or path.suffix == ".py" for path in there) <= 26


def test_the_plan_is_what_the_code_gives():
    """The drawing of the rooms, and one plain form for each equation of the paper."""
    script = [sys.executable, str(ROOT / "docs" / "architecture.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
