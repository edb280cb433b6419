"""What other tools' files hold that would be taken for something else: refused in words, or taken with a warning."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from drawn import COCO, LABEL_STUDIO, LABELME, QUPATH
from PIL import Image

from point2mask_ot import (
    ArgumentError,
    Category,
    FileError,
    PanopticImage,
    Segment,
    export_masks,
    import_points,
    label_dataset,
    read_coco_panoptic,
    read_points,
    write_coco_panoptic,
)
from point2mask_ot.checks import InputWarning


def written(folder, content, name="points.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def labelme(kind, points, label="coin"):
    return {**LABELME, "shapes": [{"label": label, "shape_type": kind, "points": points}]}


def coco(**annotation):
    entry = {"id": 1, "image_id": 42, "category_id": 3, **annotation}
    return {**COCO, "annotations": [entry]}


def label_studio(kind, **value):
    task = json.loads(json.dumps(LABEL_STUDIO[0]))
    (result,) = task["annotations"][0]["result"] = task["annotations"][0]["result"][:1]
    result.update(type=f"{kind}labels", value={"x": 10, "y": 10, f"{kind}labels": ["coin"], **value})
    return [task]


def qupath(ring, name="coin"):
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}
    return {"type": "FeatureCollection", "features": [QUPATH["features"][0], feature]}


def cvat(shape):
    return f'<annotations><image name="a.jpg" width="80" height="60">{shape}</image></annotations>'


SQUARE = [[10, 20], [30, 20], [30, 40], [10, 40]]
BOW = [[10, 20], [30, 40], [30, 20], [10, 40]]
FLAT = [x for pair in BOW for x in pair]

REFUSED = {
    "labelme, two vertices": (labelme("polygon", SQUARE[:2]), "an outline of 2 vertices; expected three at least"),
    "label studio, two vertices": (label_studio("polygon", points=SQUARE[:2]), "an outline of 2 vertices"),
    "cvat, two vertices": (cvat('<polygon label="coin" points="1,1;5,5"/>'), "an outline of 2 vertices"),
    "coco, two vertices": (coco(segmentation=[[1, 1, 5, 5]]), "an outline of 2 vertices"),
    "qupath, there and back": (qupath([[1, 1], [5, 5], [1, 1]]), "an outline of 2 vertices"),
    "coco, area": (coco(segmentation=[FLAT], area=-3), "area -3; expected 0 or more"),
    "coco, box": (coco(bbox=[5, 5, -3, 4]), "width -3; expected 0 or more"),
    "label studio, box": (label_studio("rectangle", width=-3, height=4), "width -3"),
    "label studio, ellipse": (label_studio("ellipse", radiusX=3, radiusY=-4), "radiusY -4"),
    "cvat, box": (cvat('<box label="coin" xtl="9" ytl="1" xbr="5" ybr="4"/>'), "width -4"),
    "cvat, ellipse": (cvat('<ellipse label="coin" cx="9" cy="9" rx="-5" ry="4"/>'), "rx -5"),
    "coco, a name twice": (
        {**COCO, "categories": [*COCO["categories"], {"id": 9, "name": "coin"}]}, "'coin' under a second id, 9"
    ),
    "line break": (labelme("point", SQUARE[:1], "co\nin"), r"category 'co\\nin'; expected a name on one line"),
    "NUL": (labelme("point", SQUARE[:1], "co\0in"), r"'co\\x00in'; expected a name on one line"),
    "NaN": ('{"version": "5", "shapes": [{"label": "coin", "points": [[NaN, 1]]}], "imagePath": "a.jpg"}', "NaN"),
    "napari, shapes": ("index,shape-type,vertex-index,axis-0,axis-1\n0,sphere,0,1,1\n", "shape-type 'sphere' with 1"),
    "napari, corners": ("index,shape-type,vertex-index,axis-0,axis-1\n0,ellipse,0,1,1\n", "ellipse with four"),
    "napari, axes": ("index,shape-type,vertex-index,axis-0,axis-1\n0,line,0,1,x\n", r"a list of \[x, y\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused(case, tmp_path):
    content, expected = REFUSED[case]
    name = "a.csv" if "napari" in case else "a.xml" if "cvat" in case else "a.json"
    with pytest.raises(FileError, match=rf"^import_points: argument 'path': got .*{name}: .*{expected}"):
        import_points(written(tmp_path, content, name))


WARNED = {
    "labelme": (labelme("polygon", BOW), r"shapes\[0\]: an outline that crosses itself", 200),
    "cvat": (cvat('<polygon label="coin" points="10,20;30,40;30,20;10,40"/>'), "crosses itself", 200),
    "coco": (coco(segmentation=[FLAT]), r"annotations\[0\]: an outline that crosses itself", 200),
    "coco, area": (coco(segmentation=[[x for pair in SQUARE for x in pair]], area=0), "an area of 0", 400),
    "qupath": (qupath([*BOW, BOW[0]]), "crosses itself", 200),
}


@pytest.mark.parametrize("case", WARNED)
def test_is_taken_with_a_warning(case, tmp_path):
    content, expected, size = WARNED[case]
    path = written(tmp_path, content, "a.xml" if case == "cvat" else "a.json")
    with pytest.warns(InputWarning, match=rf"{path}: .*{expected}"):
        found = import_points(path)
    np.testing.assert_allclose(found.pictures[0].targets.size[-1], size, rtol=0.06)


def test_small_and_thin_outlines_are_no_oddity(tmp_path, recwarn):
    for points in ([[5.2, 5.2], [5.8, 5.2], [5.8, 5.8]], [[5, 5], [25, 5.2], [25, 5.1]], SQUARE):
        import_points(written(tmp_path, labelme("polygon", points)))
    assert not recwarn


def test_what_qupath_ignores_is_left_out(tmp_path):
    with pytest.warns(InputWarning, match=r"features\[1\]: of the class 'Ignore\*', which is to be ignored; left out$"):
        found = import_points(written(tmp_path, qupath(SQUARE, "Ignore*")))
    assert [category.name for category in found.categories] == ["coin"]


def test_napari_s_shapes_are_shapes(tmp_path):
    """Corners on the centres of pixels; two rows are no two points."""
    drawn = {
        "rectangle": [(10, 20), (10, 30), (30, 30), (30, 20)],
        "ellipse": [(40, 20), (40, 30), (60, 30), (60, 20)],
        "path": [(1, 1), (2, 9)],
        "polygon": [(70, 10), (70, 20), (90, 20)],
    }
    rows = [
        f"{index},{kind},{vertex},{y},{x},{'cell' if index else 'nucleus'}"
        for index, (kind, corners) in enumerate(drawn.items())
        for vertex, (y, x) in enumerate(corners)
    ]
    path = written(tmp_path, "\n".join(["index,shape-type,vertex-index,axis-0,axis-1,name", *rows]), "a.csv")
    targets = import_points(path).pictures[0].targets
    assert targets.num_targets == 4
    assert targets.points_yx[:4].tolist() == [[20, 25], [50, 25], [1, 1], [2, 9]]
    np.testing.assert_allclose(targets.size, [0.8 * 200, math.pi / 4 * 200, math.nan, 100])
    found = import_points(path, format="napari", columns={"category": "name"})
    assert [category.name for category in found.categories] == ["nucleus", "cell"]
    with pytest.raises(FileError, match="none named but that of the category"):
        import_points(path, format="napari", columns={"size": "axis-0"})


def test_a_damaged_file_of_a_tool_among_others_is_not_passed_by(tmp_path):
    written(tmp_path, LABELME, "a.json")
    written(tmp_path, '{"some": "settings"} {"of": "others"}', "lines.json")
    assert len(import_points(tmp_path).pictures) == 1
    written(tmp_path, REFUSED["NaN"][0], "b.json")
    with pytest.raises(FileError, match=r"b\.json.*NaN"):
        import_points(tmp_path)


@pytest.mark.parametrize(("column", "value"), [("size", "1e300"), ("diameter", "1e100")])
def test_sizes_beyond_all_pictures_are_refused(column, value, tmp_path):
    path = written(tmp_path, f"x,y,category,{column}\n1,1,cup,{value}\n", "a.csv")
    with pytest.raises(FileError, match=r"a size of .* pixels; expected at most"):
        import_points(path, format="csv")


@pytest.mark.parametrize("name", ["a\nb", "a\0b"])
def test_names_of_several_lines_are_in_no_points_file(name, tmp_path):
    document = {"categories": [{"name": name, "isthing": 1}], "points": [{"x": 1, "y": 1, "category": name}]}
    with pytest.raises(FileError, match="a name on one line"):
        read_points(written(tmp_path, document))
    with pytest.raises(FileError, match=r"a name on one line|in UTF-8"):
        read_points(written(tmp_path, f'x,y,category\n1,1,"{name}"\n', "a.csv"))


def test_a_backslash_in_a_picture_s_name(tmp_path):
    """labelme on Windows writes folders with it, elsewhere it is a letter."""
    image = PanopticImage(np.ones((4, 4), int), (Segment(1, 1, True),), 1, "back\\slash.jpg")
    write_coco_panoptic([image], tmp_path / "m.json", tmp_path / "m", [Category(1, "coin", True)])
    masks = read_coco_panoptic(tmp_path / "m.json", tmp_path / "m")
    with pytest.raises(ArgumentError, match=r"no backslash, which labelme reads as a folder"):
        export_masks(masks, "labelme", tmp_path / "out")
    assert export_masks(masks, "yolo", tmp_path / "yolo") == 1
    path = written(tmp_path, {**LABELME, "imagePath": "back\\slash.jpg"}, "a.json")
    assert import_points(path).pictures[0].file_name == "back/slash.jpg"
    (tmp_path / "back\\slash.jpg").touch()
    assert import_points(path).pictures[0].file_name == "back\\slash.jpg"


def test_a_job_says_of_a_damaged_file_what_import_points_says(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "clicks").mkdir()
    written(tmp_path / "clicks", REFUSED["NaN"][0], "a.json")
    with pytest.raises(FileError, match="NaN"):
        label_dataset(tmp_path / "photos", tmp_path / "clicks", tmp_path / "out", workers=0, progress=False)


def test_a_job_sets_aside_what_is_said_to_be_larger_than_its_picture(tmp_path):
    """As `label` refuses it."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "photos/a.png")
    rows = "image,x,y,category,size\na.png,1,1,cup,1e300\na.png,7,7,background,\n"
    points = written(tmp_path, rows, "a.csv")
    made = label_dataset(tmp_path / "photos", points, tmp_path / "out", workers=0, progress=False)
    assert (made.labelled, made.set_aside) == (0, 1)
    assert "a size of 1e+300 pixels; expected at most the 72" in (tmp_path / "out/set_aside.csv").read_text()
