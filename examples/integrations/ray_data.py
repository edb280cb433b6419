"""Label pictures with Ray Data, on all cores or all machines of a cluster: the same code for each picture.

Each worker labels one picture after the other and gives back an id map; the driver writes COCO panoptic files while
they come in, so that memory does not grow with the number of pictures.

    python examples/integrations/ray_data.py --out ray_labels
"""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
import ray
from scenes import CATEGORIES, make_scene

from point2mask_ot import PanopticImage, PointTargets, Segment, label_picture, write_coco_panoptic

Row = dict[str, Any]
TARGETS = tuple(field.name for field in fields(PointTargets))


def picture_row(seed: int) -> Row:
    """What a worker needs to know of one picture. For files, give paths and let the worker read them."""
    picture, targets, truth = make_scene(seed)
    points = {name: getattr(targets, name) for name in TARGETS}
    return {"image_id": seed, "file_name": truth.file_name, "picture": picture, **points}


def label(row: Row) -> Row:
    """One picture's segments, by the same call as anywhere else."""
    targets = PointTargets(*(np.array(row[name]) for name in TARGETS))
    result = label_picture(np.array(row["picture"]), targets)
    image = PanopticImage.from_targets(result.instance, targets, CATEGORIES)
    return {
        "image_id": row["image_id"],
        "file_name": row["file_name"],
        "id_map": image.id_map.astype(np.int32),
        "segments": [(segment.id, segment.category_id) for segment in image.segments],
    }


def panoptic_image(row: Row) -> PanopticImage:
    """A worker's row as the package knows it."""
    is_thing = {category.id: category.is_thing for category in CATEGORIES}
    segments = tuple(Segment(int(number), int(c), is_thing[int(c)]) for number, c in row["segments"])
    return PanopticImage(np.array(row["id_map"]), segments, int(row["image_id"]), row["file_name"])


def main() -> None:
    """Label made pictures on two cores of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("ray_labels"))
    options = parser.parse_args()
    # On a cluster: ray.init(address="auto").
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([picture_row(seed) for seed in range(options.pictures)]).map(label).iter_rows()
    write_coco_panoptic(map(panoptic_image, rows), options.out / "panoptic.json", options.out / "panoptic", CATEGORIES)
    ray.shutdown()
    print(f"{options.pictures} pictures labelled in {options.out / 'panoptic.json'}")


if __name__ == "__main__":
    main()
