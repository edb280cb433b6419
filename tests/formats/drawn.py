"""Small files as each tool writes them: the same two coins and a table on a picture of 60 x 80 pixels.

One coin is a dot at x = 31, y = 12. The other is drawn with an extent: a circle or ellipse of radius 10 around
x = 60, y = 40, where the tool has one, or else the box around it. The table is a line of three dots.
"""

from __future__ import annotations

import json

LABELME = {
    "version": "5.5.0",
    "flags": {},
    "shapes": [
        {"label": "coin", "points": [[31.5, 12.5]], "group_id": None, "shape_type": "point", "flags": {}},
        {
            "label": "coin",
            "points": [[60.5, 40.5], [60.5, 50.5]],
            "group_id": None,
            "shape_type": "circle",
            "flags": {},
        },
        {"label": "table", "points": [[2.5, 50.5], [10.5, 55.5], [20.5, 55.5]], "shape_type": "linestrip", "flags": {}},
    ],
    "imagePath": "a.jpg",
    "imageData": None,
    "imageHeight": 60,
    "imageWidth": 80,
}

_SIZE = {"original_width": 80, "original_height": 60, "image_rotation": 0}
LABEL_STUDIO = [
    {
        "id": 7,
        "data": {"image": "/data/upload/3/1a2b3c4d-a.jpg"},
        "annotations": [
            {
                "id": 1,
                "was_cancelled": False,
                "created_at": "2026-01-02T03:04:05.678901Z",
                "result": [
                    {
                        "id": "r1", "type": "keypointlabels", "from_name": "kp", "to_name": "image", **_SIZE,
                        "value": {"x": 31.5 / 0.8, "y": 12.5 / 0.6, "width": 0.4, "keypointlabels": ["coin"]},
                    },
                    {
                        "id": "r2", "type": "ellipselabels", "from_name": "el", "to_name": "image", **_SIZE,
                        "value": {
                            "x": 60.5 / 0.8, "y": 40.5 / 0.6, "radiusX": 10 / 0.8, "radiusY": 10 / 0.6, "rotation": 0,
                            "ellipselabels": ["coin"],
                        },
                    },
                    *(
                        {
                            "id": f"t{x}", "type": "keypointlabels", "from_name": "kp", "to_name": "image", **_SIZE,
                            "value": {"x": x / 0.8, "y": y / 0.6, "width": 0.4, "keypointlabels": ["table"]},
                        }
                        for x, y in ((2.5, 50.5), (10.5, 55.5), (20.5, 55.5))
                    ),
                ],
            }
        ],
    },
    {"id": 8, "data": {"image": "/data/upload/3/5e6f7a8b-untouched.jpg"}, "annotations": []},
]  # fmt: skip

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><name>coins</name><size>2</size><mode>annotation</mode>
    <labels><label><name>coin</name><attributes></attributes></label></labels></task></meta>
  <image id="0" name="a.jpg" width="80" height="60">
    <points label="coin" source="manual" occluded="0" points="31.50,12.50" z_order="0"></points>
    <ellipse label="coin" source="manual" occluded="0" cx="60.50" cy="40.50" rx="10.00" ry="10.00" z_order="0">
      <attribute name="side">head</attribute>
    </ellipse>
    <polyline label="table" source="manual" occluded="0" points="2.5,50.5;10.5,55.5;20.5,55.5" z_order="0"></polyline>
  </image>
  <image id="1" name="untouched.jpg" width="80" height="60"></image>
</annotations>
"""

COCO = {
    "info": {},
    "images": [
        {"id": 42, "file_name": "a.jpg", "height": 60, "width": 80},
        {"id": 43, "file_name": "untouched.jpg", "height": 60, "width": 80},
    ],
    "annotations": [
        {"id": 1, "image_id": 42, "category_id": 3, "keypoints": [31, 12, 2, 0, 0, 0], "num_keypoints": 1},
        {"id": 2, "image_id": 42, "category_id": 3, "bbox": [50.5, 30.5, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 3, "image_id": 42, "category_id": 5, "keypoints": [2, 50, 2, 10, 55, 1, 20, 55, 2]},
        {"id": 4, "image_id": 42, "category_id": 3, "bbox": [0, 0, 80, 60], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "coin", "supercategory": "money"}, {"id": 5, "name": "table"}],
}


def _feature(geometry: dict[str, object], name: str) -> dict[str, object]:
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    return {"type": "Feature", "id": "0a1b", "geometry": geometry, "properties": properties}


_RING = [[50, 30], [71, 30], [71, 51], [50, 51], [50, 30]]
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        _feature({"type": "Point", "coordinates": [31.5, 12.5]}, "coin"),
        _feature({"type": "Polygon", "coordinates": [_RING]}, "coin"),
        _feature({"type": "LineString", "coordinates": [[2.5, 50.5], [10.5, 55.5], [20.5, 55.5]]}, "table"),
    ],
}

NAPARI = "index,axis-0,axis-1\n0.0,12.0,31.0\n1.0,40.0,60.0\n"
TABLE = "file,cx,cy,label,d\na.jpg,31,12,coin,\na.jpg,60,40,coin,20\n" + "".join(
    f"a.jpg,{x},{y},table,\n" for x, y in ((2, 50), (10, 55), (20, 55))
)

FILES: dict[str, tuple[str, str]] = {
    "labelme": ("a.json", json.dumps(LABELME)),
    "label-studio": ("export.json", json.dumps(LABEL_STUDIO)),
    "cvat": ("annotations.xml", CVAT),
    "coco": ("instances.json", json.dumps(COCO)),
    "qupath": ("a.geojson", json.dumps(QUPATH)),
    "napari": ("a.csv", NAPARI),
    "csv": ("table.csv", TABLE),
}
"""Name and content of a file of each format."""
HOW = {"csv": {"columns": {"x": "cx", "y": "cy", "category": "label", "image": "file", "diameter": "d"}}}
"""Arguments of ``import_points`` beside the format."""
SIZE = {"coco": 0.8 * 400, "qupath": 441.0}
"""Of the second coin; that of the circle for all others."""
