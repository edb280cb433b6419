"""Optimal-transport pseudo-labelling primitives: one point per target in, panoptic pseudo-masks out."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "PointTargets": "types",
    "TransportResult": "types",
    "PseudoMasks": "types",
    "Diagnostics": "types",
    "ArgumentError": "checks",
    "ArgumentTypeError": "checks",
    "FileError": "checks",
    "ConvergenceWarning": "checks",
    "lab_gradient": "maps",
    "smooth_lab": "maps",
    "structured_edges": "maps",
    "MapTerm": "edges",
    "edge_costs": "edges",
    "geodesic_distances": "geodesic",
    "nearest_partition": "geodesic",
    "shortest_path": "geodesic",
    "capacities": "capacity",
    "sinkhorn": "transport",
    "solve": "transport",
    "PseudoMasker": "pseudo_masks",
    "PseudoMaskConfig": "pseudo_masks",
    "srgb_to_lab": "lab",
    "partial_cross_entropy": "losses",
    "dilate_labels": "losses",
    "lab_affinity_loss": "losses",
    "minimum_spanning_tree": "losses",
    "tree_filter": "losses",
    "tree_affinity_loss": "losses",
    "semantic_loss": "losses",
    "boundary_affinity_loss": "losses",
    "manifold_contrastive_loss": "losses",
    "panoptic_quality": "panoptic",
    "sample_points": "panoptic",
    "read_coco_panoptic": "panoptic",
    "write_coco_panoptic": "panoptic",
    "read_voc": "panoptic",
    "write_voc": "panoptic",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use, so that ``import point2mask_ot`` costs nothing (PEP 562).

    No module shares its name with a public function: importing a submodule binds its name on the package, and
    the function would vanish behind the module.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
