"""What a job's report shows: every fact, every picture, in pages that hold together and run nothing but their own."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import skimage.data
from labelling_jobs import CATEGORIES, entry, make_set, picture, write_document
from PIL import Image

from point2mask_ot import Category, PanopticImage, PointTargets, Segment, label_dataset, write_coco_panoptic
from point2mask_ot.annotate.session import Session
from point2mask_ot.checks import ArgumentError
from point2mask_ot.labelling import Sampling
from point2mask_ot.labelling.folder import JobFolder
from point2mask_ot.labelling.report.doubtful import write_doubtful
from point2mask_ot.labelling.report.thumbnails import Painter
from point2mask_ot.panoptic import read_coco_panoptic
from point2mask_ot.viz.colors import category_colors

LISTED = [Category(4, "left", True), Category(9, "right", False)]
HOSTILE = "<script>alert(1)</script> & \"'%20#?.png"
NAMES = ["a.png", "b.png", "done.png", HOSTILE, "e.png", "f.png", "g.png", "h.png", "i.png", "k.png"]


class Page(HTMLParser):
    """A page: its words, what it refers to, the tags that were left open, and the text of each script."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.links, self.anchors, self.text, self.scripts, self.policy = [], [], set(), "", [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag not in ("meta", "link", "img", "br", "rect", "line", "input"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        self.links += [found[key] for key in ("href", "src") if key in found]
        self.anchors.add(found.get("id"))
        self.policy = found["content"] if "http-equiv" in found else self.policy

    def handle_endtag(self, tag):
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text += f"{data} "

    @property
    def words(self):
        return " ".join(re.split("[ \n]+", self.text))

    @property
    def lines(self):
        return [line.strip() for line in self.text.splitlines()]

    @property
    def rows(self):
        return json.loads(self.scripts[0])


def refers_to_what_is_there(out: Path, name: str) -> Page:
    """A page whose links are relative, and lead somewhere."""
    page = Page(out / name)
    assert page.open == []
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme == "data":
            continue
        assert not parts.scheme, link
        assert not parts.netloc, link
        target = (out / name).parent / unquote(parts.path) if parts.path else out / name
        assert target.exists(), link
        if parts.fragment and "=" not in parts.fragment:
            assert parts.fragment in Page(target).anchors, link
    return page


def labels_of(out):
    return list(read_coco_panoptic(out / "panoptic.json", out / "panoptic"))


def records_of(out):
    found = [json.loads(path.read_text()) for path in sorted((out / ".job/records").rglob("*.json"))]
    return {record["name"]: record for record in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A job of the page's points: two pictures are damaged or outside, one is done, and three have a truth."""
    root = tmp_path_factory.mktemp("report")
    for index, name in enumerate(NAMES):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(index)).save(path)
    (root / "images/broken.png").write_bytes(b"x" * 50)
    (root / "clicks").mkdir()
    (root / "clicks/categories.json").write_text("{}")
    for index, name in enumerate([*NAMES, "broken.png", "../outside.png"]):
        state = "done" if name == "done.png" else "begun"
        document = {"info": {"state": state}, "categories": CATEGORIES, "images": [entry(name)]}
        (root / f"clicks/{index}_points.json").write_text(json.dumps(document))
    ids = np.where(np.arange(32) < 16, 70000, 9)[None].repeat(24, 0)
    ids[:6] = 0
    segments = (Segment(70000, 4, True), Segment(9, 9, False))
    truths = [PanopticImage(ids, segments, index, name) for index, name in enumerate(NAMES[:3])]
    write_coco_panoptic(truths, root / "truth.json", root / "truth", LISTED)
    how = {"truth": root / "truth.json", "workers": 0, "progress": False}
    return label_dataset(root / "images", root / "clicks", root / "out", **how)


def test_the_report_has_every_fact(made):
    page = refers_to_what_is_there(made.out, "report.html")
    summary = json.loads((made.out / "summary.json").read_text())
    expected = ["10 of 12 labelled", "2 set aside", "20 segments", "3 scored", "left thing 10", "right stuff 10"]
    expected += [f"{summary['confidence']['minimum_quartiles_maximum'][2]:.3f} median confidence"]
    expected += [f"{100 * summary['scores'][name]:.1f} {words}" for name, words in (("pq", "PQ"), ("miou", "mIoU"))]
    expected += ["Most doubtful: label these next", "Median", "Most certain", "Histogram", "transport", "thumbnails"]
    expected += ["Confidence of the segments", "config.reg 0.1", "peak_mib job", "broken.png", "../outside.png"]
    expected += ["PQ, panoptic quality, is RQ times SQ"]
    expected += [entry["reason"].split(";")[0].split(": got ")[0] for entry in summary["set_aside_first"]]
    for word in expected:
        assert word in page.words, word
    shown = [link for link in page.links if link.endswith(".jpg")]
    assert len(shown) == len(set(shown)) == 10 + 3, "each picture once: labels of all, the truth of three"


def test_all_pictures_are_on_their_page(made):
    page = refers_to_what_is_there(made.out, "report/pictures.html")
    assert "report.html" in "".join(page.links)
    known, rows = records_of(made.out), {row[0]: row[1:] for row in page.rows}
    assert rows.keys() == known.keys() == {*NAMES, "broken.png", "../outside.png"}
    for name, record in known.items():
        if "error" in record:
            assert rows[name] == [record["error"]]
            continue
        sure, targets, segments, void, seconds, pq, miou, state, labels, truth = rows[name]
        assert (sure, targets, segments, void) == (record["confidence"], 2, 2, record["void"])
        assert seconds == pytest.approx(sum(record["seconds"].values()), abs=1e-3)
        assert state == ("done" if name == "done.png" else "begun")
        assert (made.out / "report" / labels).is_file()
        assert bool(truth) == (pq is not None) == (miou is not None) == ("score" in record)
        assert not truth or (made.out / "report" / truth).is_file()
    assert sum(bool(row[-1]) for row in rows.values() if len(row) > 1) == 3


def test_hostile_names_are_text(made):
    report, pictures = Page(made.out / "report.html"), Page(made.out / "report/pictures.html")
    assert not report.scripts
    assert len(pictures.scripts) == 2
    for page in ("report.html", "report/pictures.html"):
        assert "<script>alert" not in (made.out / page).read_text()
    assert HOSTILE in report.text
    assert HOSTILE in {row[0] for row in pictures.rows}


def test_only_their_own_script_may_run(made):
    assert "script-src" not in Page(made.out / "report.html").policy
    page = Page(made.out / "report/pictures.html")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.policy
    assert page.policy.startswith("default-src 'none'")


def test_doubtful_pictures_come_first_and_those_that_are_done_last(made):
    sure = {name: record["confidence"] for name, record in records_of(made.out).items() if "error" not in record}
    order = sorted(sure, key=lambda name: (name == "done.png", sure[name]))
    assert (made.out / "doubtful.txt").read_text().splitlines() == order
    assert json.loads((made.out / "summary.json").read_text())["label_next"] == order
    page = (made.out / "report.html").read_text()
    assert "marked as done last" in page
    assert page.count('<span class="badge">done</span>') == 1


def test_the_report_leads_back_to_the_page(made):
    """The command opens the pictures, the worst first, with the points that they had."""
    command = next(line for line in Page(made.out / "report.html").lines if line.startswith("point2mask"))
    program, name, photos, *words = shlex.split(command)
    assert (program, name, words[::2]) == ("point2mask", "annotate", ["--out", "--only"])
    clicks, only = words[1::2]
    for index, each in enumerate(NAMES):  # as the page calls its files
        path = Path(clicks, each).with_name(f"{Path(each).stem}_points.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(clicks, f"{index}_points.json"), path)
    (Path(clicks) / "categories.json").unlink()
    session = Session(photos, out=clicks, only=only)
    assert list(session.pictures.names) == Path(only).read_text().splitlines()
    assert session.folder()["states"] == ["begun"] * 9 + ["done"]
    assert len(session.opening(session.pictures.names[0])["points"]) == 2


@pytest.mark.parametrize("kind", ["file", "drawn"])
def test_points_of_another_kind_are_led_back_to_a_new_folder(kind, tmp_path):
    images, points = make_set(tmp_path, 1)
    if kind == "drawn":
        ids = np.where(np.arange(32) < 16, 1, 2)[None].repeat(24, 0)
        truth = PanopticImage(ids, (Segment(1, 4, True), Segment(2, 9, False)), 1, "p000.png")
        write_coco_panoptic([truth], tmp_path / "truth.json", tmp_path / "truth", LISTED)
        points = Sampling(tmp_path / "truth.json")
    out = label_dataset(images, points, tmp_path / "out", exif="ignore", workers=0, progress=False).out
    page = Page(out / "report.html")
    command = next(line for line in page.lines if line.startswith("point2mask"))
    brought = [] if kind == "drawn" else ["--points", str(points)]
    options = [*brought, "--out", str(tmp_path / "out_clicks"), "--exif", "ignore", "--only", str(out / "doubtful.txt")]
    assert shlex.split(command)[2:] == [str(images), *options]
    assert ("begins without the points" in page.words) == (kind == "drawn")
    assert f"in {tmp_path / 'out_clicks'} then" in page.words


def test_a_thumbnail_shows_points_labels_and_truth_in_their_colours():
    photo = np.full((100, 200, 3), 90, np.uint8)
    ids = np.zeros((100, 200), int)
    ids[:, 50:100], ids[:, 100:] = 1, 2
    labels = PanopticImage(ids, (Segment(1, 4, True), Segment(2, 9, False)))
    painter = Painter(LISTED)
    targets = PointTargets([(50, 75), (50, 150)], category=[0, 1], is_thing=[True, False])
    strip = np.asarray(Image.open(io.BytesIO(painter.labels(photo, targets, labels))), int)
    truth = np.asarray(Image.open(io.BytesIO(painter.truth(photo, labels))), int)
    assert (strip.shape, truth.shape) == ((128, 256 + 4 + 256, 3), (128, 256, 3))
    colors = category_colors(LISTED).astype(int)
    tinted = 90 + 0.6 * (colors - 90)
    for column, expected in ((96, colors[0]), (192, colors[1]), (260 + 96, tinted[0]), (260 + 192, tinted[1])):
        assert np.abs(strip[64, column] - expected).max() < 20, column
    for column, expected in ((96, tinted[0]), (192, tinted[1])):
        assert np.abs(truth[64, column] - expected).max() < 20, column
    assert np.ptp(truth[20:100, 5:55].mean(-1)) > 20, "void is hatched"


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (8, 8), (2000, 1500), (399, 601), (257, 255)])
def test_pictures_of_any_shape_have_a_thumbnail(shape, count):
    ids = (np.arange(np.prod(shape)) % count + 1).reshape(shape)
    targets = PointTargets(np.zeros((count, 2)), category=[0] * count)
    labels = PanopticImage(ids, tuple(Segment(k + 1, 4, True) for k in range(count)))
    photo = np.zeros((*shape, 3), np.uint8)
    drawn = Image.open(io.BytesIO(Painter(LISTED).labels(photo, targets, labels)))
    assert max(drawn.height, (drawn.width - 4) // 2) == 256
    assert Image.open(io.BytesIO(Painter(LISTED).truth(photo, labels))).size == ((drawn.width - 4) // 2, drawn.height)


@pytest.mark.parametrize("count", [2, 50])
def test_a_thumbnail_takes_some_20_kb(count):
    photo = skimage.data.coffee()
    columns = np.linspace(10, 590, count).astype(int)
    targets = PointTargets([(200, x) for x in columns], category=[0] * count)
    ids = np.broadcast_to(1 + np.arange(600) * count // 600, (400, 600))
    labels = PanopticImage(ids, tuple(Segment(k + 1, 4, True) for k in range(count)))
    drawn = Painter(LISTED).labels(photo, targets, labels), Painter(LISTED).truth(photo, labels)
    assert [Image.open(io.BytesIO(data)).size for data in drawn] == [(516, 171), (256, 171)]
    assert 10_000 < len(drawn[0]) < 40_000
    assert len(drawn[1]) < len(drawn[0])


def test_thumbnails_are_drawn_where_they_are_missing(tmp_path):
    images, points = make_set(tmp_path, 4)

    def job(**more):
        return label_dataset(images, points, tmp_path / "out", workers=0, progress=False, **more).out

    out = job(thumbnails=False)
    assert not (out / "report/thumbnails").exists()
    page = refers_to_what_is_there(out, "report.html")
    assert sum(link.startswith("data:image/jpeg") for link in page.links) == 4
    assert "told to draw none" in page.text
    labels = {path: path.stat().st_mtime_ns for path in (out / "panoptic").iterdir()}
    job()
    drawn = {path: path.read_bytes() for path in (out / "report/thumbnails").rglob("*.jpg")}
    assert len(drawn) == 4
    shutil.rmtree(out / "report")
    job()
    assert drawn == {path: path.read_bytes() for path in (out / "report/thumbnails").rglob("*.jpg")}
    assert labels == {path: path.stat().st_mtime_ns for path in (out / "panoptic").iterdir()}
    (images / "p001.png").write_bytes(b"")
    job()
    assert len(list((out / "report/thumbnails").rglob("*.jpg"))) == 3, "it goes with its labels"
    refers_to_what_is_there(out, "report.html")
    refers_to_what_is_there(out, "report/pictures.html")
    job(fresh=True, thumbnails=False)
    assert not list((out / "report/thumbnails").rglob("*.jpg"))


def test_nothing_labelled_and_much_set_aside(tmp_path):
    images, _ = make_set(tmp_path, 1)
    (images / "p000.png").write_bytes(b"")
    listed = [entry("p000.png"), *(entry(f"gone{index:03}.png") for index in range(204))]
    points = write_document(tmp_path / "points.json", listed)
    out = label_dataset(images, points, tmp_path / "out", workers=0, progress=False).out
    page = refers_to_what_is_there(out, "report.html")
    assert "No picture was labelled." in page.text
    assert "5 more" in page.words
    assert {"report/pictures.html#show=aside", "report/pictures.html#show=aside&find=gone003.png"} <= {*page.links}
    rows = refers_to_what_is_there(out, "report/pictures.html").rows
    assert [row[0] for row in rows] == [one["file_name"] for one in listed]
    assert all(len(row) == 2 for row in rows)
    assert (out / "doubtful.txt").read_bytes() == b""
    with pytest.raises(ArgumentError, match=r"'only': got .*empty file"):
        Session(images, out=tmp_path / "clicks", only=out / "doubtful.txt")


def test_names_that_no_line_can_hold_are_left_out(tmp_path):
    assert write_doubtful(tmp_path, ["a.png", "two\nlines.png", " ends.png", "b c.png", "\u2028.png"]) == 2
    assert (tmp_path / "doubtful.txt").read_text() == "a.png\nb c.png\n"


def test_the_report_says_whether_doubtful_pictures_are_the_bad_ones(tmp_path):
    images, points = make_set(tmp_path, 7)
    out = tmp_path / "out"
    label_dataset(images, points, out, workers=0, progress=False)
    truths = labels_of(out)
    confidence = [JobFolder(out).read_record(f"p00{i}.png")["confidence"] for i in range(7)]
    for index in np.argsort(confidence, kind="stable")[:2]:  # the first fifth of seven
        true = truths[index]
        truths[index] = PanopticImage(3 - true.id_map, true.segments[::-1], true.image_id, true.file_name)
    write_coco_panoptic(truths, tmp_path / "truth.json", tmp_path / "truth", LISTED)
    made = label_dataset(images, points, out, truth=tmp_path / "truth.json", workers=0, progress=False)
    scores = json.loads((out / "summary.json").read_text())["scores"]
    assert scores["miou_by_fifth_of_confidence"] == [0, 1, 1, 1, 1]
    assert set(made.scores) == {"scored", "pq", "pq_things", "pq_stuff", "sq", "rq", "miou"}
    text = Page(out / "report.html").words
    assert "most doubtful: 0.0 · 100.0 · 100.0 · 100.0 · 100.0" in text
    assert text.count("mIoU\xa0") == 7
