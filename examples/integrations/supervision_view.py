"""Look at pseudo-masks with supervision: masks, boxes and class names over the picture.

A class has a colour; the figure is how sure the mask is.

    python examples/integrations/supervision_view.py --out supervision.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image
from scenes import CATEGORIES, make_scene

from point2mask_ot import PointTargets, PseudoMasks, label_picture

COLORS = sv.ColorPalette.from_hex(["#f0e442", "#56b4e9", "#009e73"])  # of Okabe and Ito, one for each category
ZOOM = 5


def detections(targets: PointTargets, result: PseudoMasks) -> sv.Detections:
    """The things that have a mask."""
    kept = np.flatnonzero(targets.is_thing & result.masks.any((1, 2)))
    return sv.Detections(
        xyxy=result.boxes[kept],
        mask=result.masks[kept],
        class_id=targets.category[kept],
        confidence=result.target_confidence[kept],
    )


def view(picture: np.ndarray, found: sv.Detections) -> np.ndarray:
    """The picture with masks, boxes and names, ``ZOOM`` times as large."""
    grow = np.ones((ZOOM, ZOOM), bool)
    large = sv.Detections(
        xyxy=ZOOM * found.xyxy,
        mask=np.stack([np.kron(mask, grow) for mask in found.mask]),
        class_id=found.class_id,
        confidence=found.confidence,
    )
    names = [f"{CATEGORIES[c].name} {sure:.2f}" for c, sure in zip(found.class_id, found.confidence, strict=True)]
    # supervision follows OpenCV in the order of colours: BGR in, BGR out.
    canvas = np.kron(picture[..., ::-1], grow[..., None]).astype(np.uint8)
    canvas = sv.MaskAnnotator(COLORS, opacity=0.6).annotate(canvas, large)
    canvas = sv.BoxAnnotator(COLORS, thickness=2).annotate(canvas, large)
    labels = sv.LabelAnnotator(COLORS, text_color=sv.Color.BLACK, text_position=sv.Position.CENTER)
    canvas = labels.annotate(canvas, large, names)
    return canvas[..., ::-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("supervision.png"))
    out = parser.parse_args().out
    scene = make_scene(7)
    found = detections(scene.targets, label_picture(scene.picture, scene.targets))
    Image.fromarray(view(scene.picture, found)).save(out)
    print(f"{len(found)} things drawn in {out}")
