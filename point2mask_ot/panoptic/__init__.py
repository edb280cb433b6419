"""Panoptic files in and out, point labels drawn from them, and panoptic quality.

Both formats give the same :class:`PanopticImage`, so that what follows need not know where a picture came from.
Everything here is NumPy.
"""

from __future__ import annotations

from ..files.io import MAX_JSON_BYTES, MAX_JSON_DEPTH, atomic_write, read_json, safe_join
from ..files.pictures import MAX_PIXELS, read_picture
from .coco import CocoPanoptic, read_coco_panoptic, write_coco_panoptic
from .evaluator import PanopticEvaluator
from .images import Category, ImageEntry, PanopticDataset, PanopticImage, Segment, category_channels
from .point_set import PicturePoints, PointSet, read_point_set, write_point_set
from .points import LabelledPoints, read_points, write_points
from .prepare import check_points, import_psps, prepare_points, prepare_voc
from .quality import ClassQuality, MeanQuality, PanopticQuality, panoptic_quality
from .sampling import SampledPoints, sample_points
from .voc import VOC_CATEGORIES, VocPanoptic, read_voc, voc_palette, write_voc

__all__ = [
    "Category",
    "ClassQuality",
    "CocoPanoptic",
    "ImageEntry",
    "LabelledPoints",
    "MAX_JSON_BYTES",
    "MAX_JSON_DEPTH",
    "MAX_PIXELS",
    "MeanQuality",
    "PanopticDataset",
    "PanopticEvaluator",
    "PanopticImage",
    "PanopticQuality",
    "PicturePoints",
    "PointSet",
    "SampledPoints",
    "Segment",
    "VOC_CATEGORIES",
    "VocPanoptic",
    "atomic_write",
    "category_channels",
    "check_points",
    "import_psps",
    "panoptic_quality",
    "prepare_points",
    "prepare_voc",
    "read_coco_panoptic",
    "read_json",
    "read_picture",
    "read_point_set",
    "read_points",
    "read_voc",
    "safe_join",
    "sample_points",
    "voc_palette",
    "write_coco_panoptic",
    "write_point_set",
    "write_points",
    "write_voc",
]
