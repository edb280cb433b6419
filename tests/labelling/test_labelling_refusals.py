"""What a data-set job refuses before it labels anything, and how it says so."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelling_jobs import CATEGORIES, entry, make_set, write_document

from point2mask_ot import ArgumentError, Category, FileError, PanopticImage, Segment, label_dataset, write_coco_panoptic
from point2mask_ot.cli import main
from point2mask_ot.files.io import Origin
from point2mask_ot.files.json_stream import stream_json
from point2mask_ot.labelling import JobStopped, LabelSummary, Sampling
from point2mask_ot.labelling.progress import Progress
from point2mask_ot.labelling.report.charts import histogram


@pytest.fixture
def call(tmp_path):
    """A call that refuses: it never comes to label the two pictures."""
    images, points = make_set(tmp_path, 2)

    def refuse(**given):
        whole = {"images": images, "points": points, "out": tmp_path / "out", "workers": 0, "progress": False, **given}
        return label_dataset(**whole)

    return refuse


SETTINGS = {
    "no such folder": ({"images": "nowhere"}, "images"),
    "no images": ({"images": None}, "images"),
    "no such points": ({"points": "nowhere.json"}, "points"),
    "unknown preset": ({"config": "bets"}, "did you mean 'best'"),
    "unknown switch": ({"strid": 2}, "did you mean 'stride'"),
    "a string for a number": ({"reg": "1e-3"}, "reg"),
    "output": ({"output": "vok"}, "did you mean 'voc'"),
    "exif": ({"exif": "turn"}, "exif"),
    "sigma": ({"sigma": -1}, "sigma"),
    "color_weight": ({"color_weight": math.nan}, "color_weight"),
    "workers": ({"workers": -1}, "workers"),
    "max_errors": ({"max_errors": 1.5}, "max_errors"),
    "max_pixels": ({"max_pixels": 0}, "max_pixels"),
    "shard 0": ({"shard": "0/4"}, "shard"),
    "shard beyond": ({"shard": (5, 4)}, "shard"),
    "shard in words": ({"shard": "first"}, "'i/n'"),
    "nothing to merge": ({"merge": True}, "shard-I-of-N"),
    "maps": ({"maps": "nowhere/"}, "module:function"),
    "maps of a kind": ({"maps": 3}, "maps"),
    "no such plug-in": ({"maps": "no_such_module:maps"}, "no_such_module"),
    "a plug-in that cannot travel": ({"maps": lambda picture: {}, "workers": 2}, "import"),
    "classes without a map": ({"config": "official"}, "colours name no class"),
    "an engine": ({"engine": "rai"}, "did you mean 'ray'"),
    "no such model": ({"edge_model": "nowhere.yml.gz"}, "edge_model"),
    "no such truth": ({"truth": "nowhere.json"}, "truth"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case, call):
    given, word = SETTINGS[case]
    with pytest.raises(ArgumentError) as caught:
        call(**given)
    assert word in str(caught.value)


def test_sampling():
    for bad in ({"n": 0}, {"seed": -1}, {"sampler": "unifrom"}, {"truth": 3}):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            Sampling(**{"truth": "x.json", **bad})


POINT = {"x": 1, "y": 2, "category": "left"}
DOCUMENTS = {
    "no JSON": "{'images': []}",
    "a list": "[1, 2]",
    "cut short": '{"categories": [{"name": "left", "isthing": 1}], "images": [{"file_name": "a.p',
    "something behind": json.dumps({"categories": CATEGORIES, "images": [entry("a.png")]}) + "}",
    "NaN": '{"categories": [{"name": "left", "isthing": 1}], "images": [NaN]}',
    "overflow": '{"categories": [{"name": "left", "isthing": 1}], "images": [1e999]}',
    "too deep": '{"images": ' + "[" * 100_000,
    "no pictures": {"categories": CATEGORIES, "images": []},
    "points of one picture": {"categories": CATEGORIES, "points": [POINT]},
    "no categories": {"images": [entry("a.png")]},
    "a category twice": {"categories": CATEGORIES * 2, "images": [entry("a.png")]},
    "no file name": {"categories": CATEGORIES, "images": [{"points": []}]},
    "no points": {"categories": CATEGORIES, "images": [{"file_name": "a.png"}]},
    "a field misspelt": {"categories": CATEGORIES, "images": [{**entry("a.png"), "filename": "a"}]},
    "an id of a kind": {"categories": CATEGORIES, "images": [{**entry("a.png"), "id": 1.5}]},
    "an id twice": {"categories": CATEGORIES, "images": [{**entry(name), "id": 3} for name in ("a.png", "b.png")]},
    "a name twice": {"categories": CATEGORIES, "images": [entry("a.png"), entry("a.png")]},
    "one label file for two": {"categories": CATEGORIES, "images": [entry("a.png"), entry("a.jpg")]},
    "an unknown category": {
        "categories": CATEGORIES,
        "images": [{"file_name": "a.png", "points": [{**POINT, "category": "lef"}]}],
    },
    "a coordinate in words": {
        "categories": CATEGORIES,
        "images": [{"file_name": "a.png", "points": [{**POINT, "x": "1"}]}],
    },
    "half a character": {"categories": CATEGORIES, "images": [entry("\ud800.png")]},
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_points_json(case, call, tmp_path):
    document = DOCUMENTS[case]
    path = tmp_path / "bad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(FileError, match=r"bad\.json"):
        call(points=path)
    call_again = call()
    assert call_again.labelled == 2, "a refusal leaves nothing behind that a corrected call would stumble over"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image,x,y,category\n",
        "image,x,category\na.png,1,left\n",
        "image,x,y,kategory\na.png,1,2,left\n",
        "image,x,y,category\na.png,one,2,left\n",
        "image,x,y,category\na.png,1,2\n",
        "image,x,y,category\n,1,2,left\n",
        "image,x,y,category,isthing\na.png,1,2,left,1\na.png,1,3,left,0\n",
        'image,x,y,category\n"a.png,1,2,left\n',
        b"image,x,y,category\n\xff\xfe,1,2,left\n",
    ],
)
def test_points_csv(text, call, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileError, match=r"bad\.csv"):
        call(points=path)


def test_truth_with_other_categories(call, tmp_path):
    named = [Category(4, "left", True), Category(9, "wrong", False)]
    image = PanopticImage([[1, 1]], (Segment(1, 4, True),), 1, "p000.png")
    write_coco_panoptic([image], tmp_path / "truth.json", tmp_path / "truth", named)
    with pytest.raises(ArgumentError, match="category 9 is 'right' in the points"):
        call(truth=tmp_path / "truth.json")


def test_voc_has_room_for_254(call, tmp_path):
    points = write_document(
        tmp_path / "far.json", [entry("p000.png")], [{**c, "id": c["id"] + 250} for c in CATEGORIES]
    )
    with pytest.raises(ArgumentError, match="category id 259"):
        call(points=points, output="voc")


def test_voc_names(call, tmp_path):
    points = write_document(tmp_path / "sub.json", [entry("sub/a.png"), entry("b c.png")])
    for name in ("sub/a.png", "b c.png"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_bytes((tmp_path / "images" / "p000.png").read_bytes())
    made = call(points=points, output="voc")
    assert (made.labelled, made.set_aside) == (0, 2)
    assert "names without folder" in (made.out / "set_aside.csv").read_text()


# ------------------------------------------------------------------------------------------------------ the command

WORDS = {
    "neither points nor masks": [],
    "both": ["--points", "a.json", "--sample", "b.json"],
    "no out": ["--points", "a.json"],
}


@pytest.mark.parametrize("case", WORDS)
def test_command_line(case, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["label-dataset", "--images", "x", *WORDS[case]])
    assert caught.value.code == 2
    assert "label-dataset" in capsys.readouterr().err


def test_command(tmp_path, capsys):
    images, points = make_set(tmp_path, 2)
    out = tmp_path / "out"
    words = ["label-dataset", "--images", images, "--points", points, "--out", out, "--workers", 0]
    words = [str(word) for word in words]
    assert main([*words, "--stride", "0"]) == 2
    assert "stride" in capsys.readouterr().err
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "2 of 2 pictures labelled" in shown.out
    assert "2/2 pictures" in shown.err
    (images / "p001.png").write_bytes(b"")
    assert main([*words, "--max-errors", "0"]) == 2
    assert "--max-errors 0" in capsys.readouterr().err
    assert main([*words, "--quiet"]) == 1
    shown = capsys.readouterr()
    assert "1 set aside" in shown.out
    assert shown.err == ""
    assert issubclass(JobStopped, RuntimeError)
    assert LabelSummary.__doc__


# -------------------------------------------------------------------------------------------------------- the parts

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]))
def test_json_read_in_pieces_is_json(tmp_path, document, chunk, indent):
    path = tmp_path / "any.json"
    path.write_text(
        json.dumps(document, indent=indent, ensure_ascii=chunk % 2 == 0), encoding="utf-8", errors="surrogatepass"
    )
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("point2mask_ot.files.json_stream._CHUNK", chunk)
        pieces = list(stream_json(Origin("test", "path", path)))
    expected = []
    for key, value in document.items():
        expected += [(key, one) for one in value] if isinstance(value, list) else [(key, value)]
    assert pieces == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_and_in_a_log(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        now[0] = 0.0
        progress = Progress(1000, stream, every=30)
        for _ in range(100):
            progress.add("kept")
        for second in range(101):
            now[0] = float(second)
            progress.add("set aside" if second == 3 else "labelled")
            progress.show()
        progress.show(final=True)
    lines = log.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[-1] == "201/1000 pictures (100 from before, 1 set aside), 1.0 a second, 0:13:19 to go"
    assert terminal.getvalue().count("\r[##") > 90
    assert terminal.getvalue().endswith("\n")


def test_histogram_shows_where_something_is():
    counts = [0] * 100
    counts[97], counts[99] = 3, 1200
    words = {"title": "Confidence", "axis": "confidence", "unit": "pictures"}
    drawn = histogram(counts, **words)
    assert [(bar.start, bar.count) for bar in drawn.bars] == [(0.97, 3), (0.99, 1200)]
    assert [bar.height for bar in drawn.bars] == [3 / 1200, 1]
    assert (drawn.first, drawn.last, drawn.top) == (0.9, 1, 1200)
    assert not histogram([0] * 100, **words).bars
