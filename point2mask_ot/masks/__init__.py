"""Algorithm 1: maps and points in, panoptic pseudo-masks out."""

from __future__ import annotations

from .config import PseudoMaskConfig
from .masker import PseudoMasker
from .picture import label_picture

__all__ = ["PseudoMaskConfig", "PseudoMasker", "label_picture"]
