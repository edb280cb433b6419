"""Points out of other tools' files."""

from __future__ import annotations

import base64
import io
import json
import math

import numpy as np
import pytest
from drawn import COCO, CVAT, FILES, HOW, LABEL_STUDIO, LABELME, NAPARI, QUPATH, SIZE
from PIL import Image

from point2mask_ot import ArgumentError, FileError, import_points
from point2mask_ot.checks import InputWarning
from point2mask_ot.cli import main
from point2mask_ot.panoptic import read_point_set


def written(folder, content, name="points.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def example(tmp_path):
    """The path of a format's small file, and the arguments that it takes."""

    def example(of):
        name, content = FILES[of]
        return written(tmp_path, content, name), {"format": of if of in HOW else None, **HOW.get(of, {})}

    return example


def of_shapes(tmp_path, *shapes, **document):
    """Targets of labelme's shapes on a picture of 60 x 80."""
    return import_points(written(tmp_path, {**LABELME, "shapes": list(shapes), **document})).pictures[0].targets


def shape(kind, points, label="coin", **more):
    return {"label": label, "shape_type": kind, "points": points, **more}


@pytest.mark.parametrize("of", [name for name in FILES if name != "napari"])
def test_fault_c5_each_format_says_the_same(of, example):
    path, how = example(of)
    found = import_points(path, stuff=["table"], **how)
    (picture,) = found.pictures
    assert picture.file_name == ("a" if of == "qupath" else "a.jpg")
    assert [(c.name, c.is_thing) for c in found.categories] == [("coin", True), ("table", False)]
    assert found.info == {"from": of}
    targets = picture.targets
    clicked = [(12, 31), (40, 60), (50, 2), (55, 10), (55, 20)]
    np.testing.assert_allclose(targets.points_yx, clicked, atol=1e-9)
    assert targets.target.tolist() == [0, 1, 2, 2, 2]
    assert targets.category.tolist() == [0, 0, 1]
    np.testing.assert_allclose(targets.size, [np.nan, SIZE.get(of, math.pi * 100), np.nan])


def test_napari_knows_neither_picture_nor_category(tmp_path):
    path = written(tmp_path, NAPARI, "a.csv")
    found = import_points(path, category="cell")
    assert found.pictures[0].file_name == "a"
    assert [c.name for c in found.categories] == ["cell"]
    assert found.pictures[0].targets.points_yx.tolist() == [[12, 31], [40, 60]]
    path.write_text("index,axis-0,axis-1,axis-2\n0,3,12,31\n")
    with pytest.raises(FileError, match="more than two axes"):
        import_points(path)
    path.write_text("index,axis-0,axis-1,kind\n0,12,31,coin\n1,4,5,sky\n")
    found = import_points(path, format="napari", columns={"category": "kind"}, stuff=["sky"])
    assert [(c.name, c.is_thing) for c in found.categories] == [("coin", True), ("sky", False)]


def test_coco_keeps_its_ids(example):
    found = import_points(example("coco")[0])
    assert found.pictures[0].image_id == 42
    assert [category.id for category in found.categories] == [3, 5]


@pytest.mark.parametrize(
    ("drawn", "points", "size"),
    [
        (shape("rectangle", [[10, 20], [20, 40]]), [(29.5, 14.5)], 0.8 * 200),
        (shape("rectangle", [[20, 40], [10, 20]]), [(29.5, 14.5)], 0.8 * 200),
        (shape("circle", [[10, 20], [13, 24]]), [(19.5, 9.5)], math.pi * 25),
        (shape("circle", [[10, 20], [10, 20]]), [(19.5, 9.5)], math.nan),
        # Each vertex moves to the pixel inside that is nearest.
        (shape("polygon", [[10, 20], [14, 20], [14, 23], [10, 23]]), [(20, 10), (20, 13), (22, 13), (22, 10)], 12),
        (shape("points", [[0, 0], [80, 60]]), [(-0.5, -0.5), (59, 79)], math.nan),
    ],
)
def test_what_a_shape_says(drawn, points, size, tmp_path):
    targets = of_shapes(tmp_path, drawn)
    np.testing.assert_allclose(targets.points_yx, points)
    np.testing.assert_allclose(targets.size, [size])


def test_groups_are_one_target_of_the_sum_of_sizes(tmp_path):
    one, two = (shape("circle", [[x, 20], [x, 30]], group_id=3) for x in (10, 50))
    targets = of_shapes(tmp_path, one, shape("point", [[4, 4]]), two, shape("point", [[5, 5]], "pen", group_id=3))
    assert targets.target.tolist() == [0, 1, 0, 2]
    np.testing.assert_allclose(targets.size, [2 * math.pi * 100, np.nan, np.nan])


def test_stuff_is_one_target_and_takes_the_rest(tmp_path):
    drawn = [shape("point", [[x, 4]], "Background") for x in (1, 2)] + [
        shape("rectangle", [[5, 5], [9, 9]], "sky:stuff")
    ]
    targets = of_shapes(tmp_path, *drawn)
    assert targets.target.tolist() == [0, 0, 1]
    assert not targets.is_thing.any()
    assert not targets.has_sizes


def test_labelme_names_a_picture_relative_to_itself(tmp_path):
    for folder, path in (("one", "a.jpg"), ("two", "..\\photos\\b.jpg"), ("three", "/home/me/c.jpg")):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, {**LABELME, "imagePath": path}, "x.json")
    names = {picture.file_name for picture in import_points(tmp_path).pictures}
    assert names == {"one/a.jpg", "photos/b.jpg", "c.jpg"}


def test_masks_of_labelme_and_cvat(tmp_path):
    mask = np.zeros((7, 9), np.uint8)
    mask[1:6, 2:7] = 1
    buffer = io.BytesIO()
    Image.fromarray(mask * 255).save(buffer, "PNG")
    png = base64.b64encode(buffer.getvalue()).decode()
    targets = of_shapes(tmp_path, shape("mask", [[10, 20], [18, 26]], mask=png))
    assert targets.points_yx.tolist() == [[23, 14]]
    assert targets.size.tolist() == [25]
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel(), prepend=2, append=2)))  # 0s first
    rle = ", ".join(str(run) for run in runs)
    drawn = f'<mask label="coin" rle="{rle}" left="10" top="20" width="9" height="7"/>'
    picture = import_points(written(tmp_path, CVAT.replace("<polyline", f"{drawn}<polyline"), "m.xml")).pictures[0]
    assert [23, 14] in picture.targets.points_yx.tolist()
    assert 25 in picture.targets.size


def test_cvat_boxes_skeletons_and_groups(tmp_path):
    drawn = (
        '<box label="coin" xtl="10" ytl="20" xbr="30" ybr="40" rotation="30" group_id="2"/>'
        '<points label="coin" points="12,22;13,23" group_id="2"/>'
        '<skeleton label="pen"><points label="tip" outside="0" points="5.5,6.5"/>'
        '<points label="end" outside="1" points="9,9"/><points label="mid" points="7.5,8.5"/></skeleton>'
    )
    content = f'<annotations><image name="a.jpg" width="80" height="60">{drawn}</image></annotations>'
    targets = import_points(written(tmp_path, content)).pictures[0].targets
    assert targets.points_yx.tolist() == [[29.5, 19.5], [21.5, 11.5], [22.5, 12.5], [6, 5], [8, 7]]
    assert targets.target.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(targets.size, [0.8 * 400, np.nan])


def test_label_studio_turns_rectangles_and_takes_the_newest(tmp_path):
    size = {"original_width": 200, "original_height": 100}
    value = {"x": 50, "y": 50, "width": 10, "height": 10, "rotation": 90, "rectanglelabels": ["coin"]}
    new = {"created_at": "2026-02", "result": [{"type": "rectanglelabels", **size, "value": value}]}
    old = {"created_at": "2026-01", "result": [{"type": "brushlabels", **size, "value": {}}]}
    gone = {"created_at": "2026-03", "was_cancelled": True, "result": []}
    tasks = [{"data": {"text": "hello", "image": "s3://bucket/f/a%20b.png?x=1"}, "annotations": [old, new, gone]}]
    picture = import_points(written(tmp_path, tasks)).pictures[0]
    assert picture.file_name == "a b.png"
    # A quarter turn around the first corner, (100, 50): 20 x 10 pixels become 10 x 20, to the left of it.
    np.testing.assert_allclose(picture.targets.points_yx, [(59.5, 94.5)])
    np.testing.assert_allclose(picture.targets.size, [0.8 * 200])


def test_label_studio_labels_apart_and_local_files(tmp_path):
    size = {"original_width": 100, "original_height": 100}
    results = [
        {"id": "r", "type": "keypoint", **size, "value": {"x": 10, "y": 20, "width": 1}},
        {"id": "r", "type": "labels", **size, "value": {"x": 10, "y": 20, "labels": ["pen"]}},
        {"id": "s", "type": "choices", "value": {"choices": ["sharp"]}},
    ]
    tasks = [{"data": {"img": "/data/local-files/?d=sub/a.png"}, "annotations": [{"result": results}]}]
    found = import_points(written(tmp_path, tasks))
    assert found.pictures[0].file_name == "sub/a.png"
    assert [c.name for c in found.categories] == ["pen"]


def test_qupath_counts_points_and_fills_holes_not(tmp_path):
    square = lambda a, b: [[a, a], [b, a], [b, b], [a, b], [a, a]]  # noqa: E731
    features = [
        {"geometry": {"type": "MultiPoint", "coordinates": [[1.5, 2.5], [3.5, 4.5]]}, "properties": {}},
        {"geometry": {"type": "Polygon", "coordinates": [square(10, 30), square(12, 28)]}, "properties": {}},
        {"geometry": {"type": "MultiPolygon", "coordinates": [[square(40, 44)], [square(50, 60)]]}},
    ]
    for entry in features:
        entry["type"] = "Feature"
    picture = import_points(written(tmp_path, features, "a.geojson")).pictures[0]  # a list, as older versions
    targets = picture.targets
    assert targets.target.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(targets.size, [np.nan, np.nan, 400 - 256, 16 + 100])
    y, x = targets.points_yx[2]
    assert max(abs(x - 19.5), abs(y - 19.5)) > 8  # in the frame, not in the hole
    y, x = targets.points_yx[3]
    assert 50 <= x < 60
    assert 50 <= y < 60


def test_a_large_outline_is_looked_at_from_afar(tmp_path):
    ring = [[0, 0], [200_000, 0], [200_000, 100_000], [0, 100_000]]
    content = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": None}
    targets = import_points(written(tmp_path, content, "a.geojson")).pictures[0].targets
    y, x = targets.points_yx[0]
    assert y == pytest.approx(50_000, abs=200)
    assert 49_000 < x < 151_000
    assert targets.size == [2e10]


@pytest.mark.parametrize("order", ["list", "string"])
def test_coco_run_lengths(order, tmp_path):
    mask = np.zeros((60, 80), bool)
    mask[20:31, 5:16], mask[40, 40] = True, True
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F").astype(int), prepend=2, append=2))).tolist()
    counts = runs if order == "list" else packed(runs)
    entry = {"image_id": 42, "category_id": 3, "segmentation": {"size": [60, 80], "counts": counts}}
    targets = import_points(written(tmp_path, {**COCO, "annotations": [entry]})).pictures[0].targets
    assert targets.points_yx.tolist() == [[25, 10]]
    assert targets.size.tolist() == [122]


def packed(runs):
    """As COCO's documentation of run lengths has it: differences to the last but one, five bits a character."""
    text = ""
    for index, run in enumerate(runs):
        left = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            code = left & 31
            left >>= 5
            more = left != (-1 if code & 16 else 0)
            text += chr(48 + code + 32 * more)
    return text


def test_coco_outline_and_told_area(tmp_path):
    entry = {"image_id": 42, "category_id": 3, "segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]], "bbox": [0, 0, 9, 9]}
    targets = import_points(written(tmp_path, {**COCO, "annotations": [entry]})).pictures[0].targets
    assert (np.abs(targets.points_yx - 14.5) <= 0.5).all()
    assert targets.size.tolist() == [100]
    entry |= {"area": 90.5, "keypoints": [11, 12, 2]}
    targets = import_points(written(tmp_path, {**COCO, "annotations": [entry]})).pictures[0].targets
    assert targets.points_yx.tolist() == [[12, 11]]
    assert targets.size.tolist() == [90.5]


def test_pictures_are_found_in_their_folder(tmp_path, example):
    photos = tmp_path / "photos" / "sub"
    photos.mkdir(parents=True)
    Image.new("L", (80, 60)).save(photos / "a.png")
    path, _ = example("qupath")
    assert import_points(path, images=tmp_path / "photos").pictures[0].file_name == "sub/a.png"
    Image.new("L", (50, 60)).save(photos / "a.png")
    with pytest.raises(FileError, match=r"x=60, y=40|x=.*a point inside HxW = 60x50"):
        import_points(path, images=tmp_path / "photos")
    with pytest.raises(FileError, match=r"of HxW \(60, 80\); expected those of the picture, \(60, 50\)"):
        import_points(example("labelme")[0], images=tmp_path / "photos")
    Image.new("L", (80, 60)).save(photos.parent / "a.png")
    with pytest.raises(FileError, match=r"several pictures .a.; expected the name of one: a\.png, sub/a\.png"):
        import_points(path, images=tmp_path / "photos")
    with pytest.raises(FileError, match=r"argument 'images'.*no pictures"):
        import_points(path, images=tmp_path / "none")


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_pictures_are_as_large_as_viewers_show_them(suffix, tmp_path, example):
    """labelme's file says 60 x 80; the pixels lie on their side, as cameras store them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 80)).save(tmp_path / f"a{suffix}", exif=exif)
    assert import_points(example("labelme")[0], images=tmp_path).pictures[0].file_name == f"a{suffix}"


def test_what_import_points_refuses(tmp_path, example):
    path, _ = example("labelme")
    with pytest.raises(ArgumentError, match=r"argument 'format': got 'labelm'.*did you mean 'labelme'"):
        import_points(path, format="labelm")
    with pytest.raises(ArgumentError, match=r"argument 'stuff': got 'tabel'.*did you mean 'table'"):
        import_points(path, stuff=["tabel"])
    with pytest.raises(ArgumentError, match="argument 'stuff'"):
        import_points(path, stuff="table")
    with pytest.raises(FileError, match="no such file"):
        import_points(tmp_path / "none.json")
    with pytest.raises(ArgumentError, match=r"argument 'columns'.*format='csv'"):
        import_points(path, columns={"x": "cx"})
    table, how = example("csv")
    with pytest.raises(FileError, match=r"content that is of no known format.*format='csv'"):
        import_points(table)
    with pytest.raises(FileError, match=r"no column 'fil'.*one for image.*did you mean 'file'"):
        import_points(table, format="csv", columns={**how["columns"], "image": "fil"})
    with pytest.raises(ArgumentError, match="'columns': got 'colour'"):
        import_points(table, format="csv", columns={"colour": "cx"})
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a.json", "b.json"):
        written(twice, LABELME, name)
    with pytest.raises(FileError, match=r"b\.json: picture 'a\.jpg' again"):
        import_points(twice)
    with pytest.raises(FileError, match="no points"):
        import_points(written(tmp_path, {**LABELME, "shapes": []}))


def test_xml_with_entities_is_refused(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotations><image name="&y;"/></annotations>'
    for content in (bomb, '<?xml version="1.0"?>' + bomb, bomb.encode("utf-16").decode("latin-1")):
        path = tmp_path / "a.xml"
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(FileError):
            import_points(path, format="cvat")
    with pytest.raises(FileError, match="document type"):
        import_points(written(tmp_path, bomb), format="cvat")


def paths(value, at=()):
    """The place of every value in a document."""
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*at, key))


def changed(value, at, new):
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(at) == 1 and new is KeyError:
        del copy[at[0]]
    else:
        copy[at[0]] = changed(copy[at[0]], at[1:], new)
    return copy


WRONG = (KeyError, None, -1, 1e300, "x", [], {}, [[]])


@pytest.mark.parametrize("of", ["labelme", "label-studio", "coco", "qupath"])
def test_damage_anywhere_is_said_and_never_crashes(of, tmp_path, recwarn):
    """Every value of each file in turn missing, or something else: it is read, or refused in words."""
    document = {"labelme": LABELME, "label-studio": LABEL_STUDIO, "coco": COCO, "qupath": QUPATH}[of]
    path, refused = tmp_path / "x.json", []
    for at in paths(document):
        for wrong in WRONG:
            if not at and wrong is KeyError:
                continue
            path.write_text(json.dumps(changed(document, at, wrong)))
            try:
                import_points(path, format=of)
            except FileError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert all(said.count(str(path)) == said.count("import_points") == 1 for said in refused)
    assert {one.category for one in recwarn} <= {InputWarning}, "of outlines that cross themselves"


def test_damaged_xml_is_said_and_never_crashes(tmp_path, recwarn):
    path, refused = tmp_path / "x.xml", []
    words = [word for word in CVAT.replace('"', ' " ').split() if not word.startswith("<")]
    wrongs = [CVAT.replace(word, new) for word in words for new in ("", "x", "-1", "1e999", "nan", "1,2,3;4", "<a>")]
    wrongs += [CVAT[:cut] for cut in range(0, len(CVAT), 29)]
    for wrong in wrongs:
        path.write_text(wrong)
        try:
            import_points(path, format="cvat")
        except FileError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(str(path) in said for said in refused)
    assert {one.category for one in recwarn} <= {InputWarning}, "of outlines that cross themselves"


def test_the_command(tmp_path, example, capsys):
    path, _ = example("csv")
    columns = "x=cx,y=cy, category=label,image=file,diameter=d"
    words = ["prepare", "import", str(path), "--out", str(tmp_path / "p.json"), "--stuff", "table"]
    assert main([*words, "--format", "csv", "--columns", columns]) == 0
    out = capsys.readouterr().out
    assert "3 targets, 1 with a size, in 1 pictures" in out
    assert "table: stuff" in out
    found = read_point_set(tmp_path / "p.json")
    assert found.info == {"from": "csv"}
    np.testing.assert_allclose(found.pictures[0].targets.size, [np.nan, math.pi * 100, np.nan])
    assert main([*words, "--columns", columns]) == 2
    assert "--columns: " in capsys.readouterr().err
    before = path.read_bytes()
    again = [*words[:3], "--out", str(path), "--format", "csv", "--columns", columns]
    assert main(again) == 2
    assert "not called .json" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([*words, "--format", "csv", "--columns", "x:cx"]) == 2
    assert "as x=cx,y=cy" in capsys.readouterr().err
