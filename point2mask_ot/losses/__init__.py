"""The weak-supervision losses (Eq. 5-7, 12-15): plain functions of ``(B, C, H, W)`` tensors, each one scalar.

What they share:

- **Kinds**: torch in, torch out, with gradients; NumPy in, a NumPy scalar out. One image may come without its batch
  axis.
- **Precision**: computed in float32 with autocast off for half and bfloat16, in float64 for float64.
- **Padding**: whatever lies where ``valid`` is False, NaN included, changes neither loss nor gradient.
- **Batches**: each image is normalised by its own pairs or pixels, then images are averaged (the partial
  cross-entropy can weigh pixels alike instead).
- **Devices**: nothing waits for a GPU. Wrong values of labels or pictures raise on the CPU; on other devices and
  in compiled graphs they make the loss NaN. NaN logits make NaN losses everywhere.
- **Compilation**: ``torch.compile(fullgraph=True)`` takes every loss.
"""

from __future__ import annotations

from ..maps.lab import srgb_to_lab
from .boundary import boundary_affinity_loss
from .color import lab_affinity_loss
from .manifold import manifold_contrastive_loss
from .partial import dilate_labels, partial_cross_entropy
from .semantic import semantic_loss
from .tree import SpanningTree, minimum_spanning_tree, tree_affinity_loss, tree_filter

__all__ = [
    "SpanningTree",
    "boundary_affinity_loss",
    "dilate_labels",
    "lab_affinity_loss",
    "manifold_contrastive_loss",
    "minimum_spanning_tree",
    "partial_cross_entropy",
    "semantic_loss",
    "srgb_to_lab",
    "tree_affinity_loss",
    "tree_filter",
]
