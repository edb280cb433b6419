"""Many pictures in one sitting, in a headless Chromium: keys alone, rough circles, a server that is killed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import serving
from page_process import page_process
from PIL import Image

from point2mask_ot import label_dataset, read_points
from point2mask_ot.annotate.session import Session
from point2mask_ot.cli.annotate import parse_categories

PLACE = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left + arguments[0] * box.width, box.top + arguments[1] * box.height];"""
SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"
SHOWS = "return document.getElementById('name').textContent === arguments[0];"
FINE = "return document.getElementById('overlay').dataset.masks === 'fine';"
SAVED = "return document.getElementById('saved').textContent === 'Saved';"
ALERT = "return document.getElementById('alert').textContent;"
NOTICE = "return document.getElementById('notice-words').textContent;"
PROGRESS = "return document.getElementById('count').textContent;"
ROWS = "return [...document.querySelectorAll('.picture')].map(row => row.getAttribute('aria-label'));"
UNNAMED = """return [...document.querySelectorAll('button, input, select, main, aside, nav, progress, dialog')].filter(
  e => !(e.ariaLabel || e.getAttribute('aria-labelledby') || e.textContent.trim() && !e.matches('select') ||
  [...(e.labels || [])].some(l => l.textContent.trim()))).map(e => e.outerHTML);"""
MIDDLE = """const row = [...document.querySelectorAll('.picture')].find(row => row.textContent === arguments[0]);
const box = row.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2];"""
RING = "return [...document.querySelectorAll('.ring')].map(ring => ring.getBoundingClientRect().width / 2);"
SCALE = "return document.getElementById('photo').getBoundingClientRect().width / 75;"
SHIFT, ALT, ENTER, UP, DOWN, ESCAPE = "\ue008", "\ue00a", "\ue007", "\ue013", "\ue015", "\ue00c"
COFFEE = skimage.data.coffee()[::8, ::8]  # 50 x 75


@pytest.fixture
def photos(tmp_path) -> Path:
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for number in range(1, 6):
        Image.fromarray(np.roll(COFFEE, 3 * number, 1)).save(root / f"shot_{number}.png")
    Image.fromarray(COFFEE).save(root / "more/last.png")
    return root


def test_pictures_that_cannot_be_opened_are_passed_over(window, photos, tmp_path):
    """Not that one comes to none behind them, or to none at all where the first of the folder is one."""
    for name in ("more/last.png", "shot_2.png", "shot_3.png"):
        (photos / name).write_bytes(b"no picture")
    with serving(Session(photos, out=tmp_path / "out")) as server:
        window.open(server.url)
        window.wait(SHOWS, "shot_1.png")
        assert window.wait(SAYS, "Passed over more/last.png, which could not be opened.")
        for key, name in (("n", "shot_4.png"), ("p", "shot_1.png"), ("s", "shot_4.png"), ("s", "shot_5.png")):
            window.keys(key)
            window.wait(SHOWS, name)
        window.keys("s")
        assert window.wait(SAYS, "but 3 that cannot be opened: more/last.png, shot_2.png, shot_3.png.")
        assert "shot_2.png, could not be opened" in window.run(ROWS)
        Image.fromarray(COFFEE).save(photos / "shot_2.png")
        window.click(*window.run(MIDDLE, "shot_2.png"))
        window.wait(SHOWS, "shot_2.png")
        # Where no picture waits, one that was done and is mended leads to the next of the list.
        window.run("document.getElementById('stage').focus();")
        window.keys(ENTER)
        window.wait(FINE)
        window.keys("d")
        assert window.wait(SAYS, "but 2 that cannot be opened")
        window.keys(SHIFT, UP)
        window.keys(ENTER)
        window.keys("d")
        window.wait(SHOWS, "shot_4.png")
        assert "shot_2.png, done" in window.run(ROWS)
        window.type("#search", "nothing of that name")
        assert window.run("return document.getElementById('rows').textContent;") == "No picture"


def test_a_folder_by_keys_alone(window, photos, tmp_path):
    out = tmp_path / "out"
    session = Session(photos, out=out, categories=parse_categories("cup,table:stuff"))
    with serving(session) as server:
        window.open(server.url)
        window.wait(SHOWS, "more/last.png")
        window.run("document.getElementById('stage').focus();")
        for number in (1, 2, 3):
            window.keys("n")
            window.wait(SHOWS, f"shot_{number}.png")
            window.keys("1")
            window.keys(ENTER)  # a cup in the middle
            window.keys("2")
            window.keys(SHIFT, DOWN)
            window.keys(ENTER)
            if number == 2:
                window.keys("s")  # skipped, and on
                window.wait(SHOWS, "shot_3.png")
                window.keys("p")
                window.wait(SHOWS, "shot_2.png")
        assert window.wait(PROGRESS) == "0 of 6 done, 1 skipped"
        window.keys("d")  # done, and on to the next that is not
        window.wait(SHOWS, "shot_4.png")
        window.keys("u")
        window.wait(SHOWS, "shot_5.png")
        window.keys("u")
        window.wait(SHOWS, "more/last.png")
        window.keys("n")
        window.wait(SHOWS, "shot_1.png")
        window.keys("d")
        window.wait(SHOWS, "shot_4.png")
        window.keys("d")  # nothing is on it: a second one means it
        assert "would be void" in window.wait(ALERT)
        window.keys("d")
        window.wait(SHOWS, "shot_5.png")
        assert window.run(PROGRESS) == "3 of 6 done, 1 skipped"
        assert window.run(ROWS) == [
            "more/last.png, untouched", "shot_1.png, done", "shot_2.png, skipped", "shot_3.png, done",
            "shot_4.png, done", "shot_5.png, untouched",
        ]  # fmt: skip
        assert window.run(UNNAMED) == []
        window.keys("?")
        assert window.run("return document.getElementById('help').open;")
        window.keys(ESCAPE)

        # The list: search, filter, and a click on a row; the address keeps the place.
        window.type("#search", "shot 3")
        assert window.run(ROWS) == ["shot_3.png, done"]
        window.press(".picture")
        window.wait(SHOWS, "shot_3.png")
        window.reload()
        window.wait(SHOWS, "shot_3.png")
        assert window.run("return document.querySelectorAll('.point').length;") == 2
        # Mended, it is done as before, and one goes on; as it was, the mark is taken away, and that is said.
        window.run("document.getElementById('stage').focus();")
        window.keys("2")
        window.keys(SHIFT, UP)
        window.keys(ENTER)
        window.press("#done")
        window.wait(SHOWS, "shot_5.png")
        assert window.run(PROGRESS) == "3 of 6 done, 1 skipped"
        window.keys("p")
        window.wait(SHOWS, "shot_4.png")
        window.keys("d")
        assert "No longer done, but untouched." in window.wait(NOTICE)
        assert window.wait(PROGRESS) == "2 of 6 done, 1 skipped"
    made = label_dataset(photos, out, tmp_path / "labels", workers=0, progress=False)
    assert (made.labelled, made.set_aside) == (2, 0), "done, and not what was skipped or is untouched"
    found = read_points(out / "shot_1_points.json").targets
    assert found.points_yx.tolist() == [[25, 37], [35, 37]]
    assert found.is_thing.tolist() == [True, False]


def test_a_drag_says_how_large_a_target_is(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    def sizes():
        window.wait(SAVED)
        return read_points(tmp_path / "out/shot_1_points.json").targets.size

    with serving(Session(photos / "shot_1.png", out=tmp_path / "out")) as server:
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        scale = window.run(SCALE)
        window.drag(at(0.4, 0.5), at(0.4, 0.7))
        assert window.run(RING) == [pytest.approx(10 * scale, abs=3)]
        np.testing.assert_allclose(sizes(), [np.pi * 10**2], rtol=0.1)
        # A box: a point in its middle.
        window.drag(at(0.6, 0.21), at(0.8, 0.61), key=SHIFT)  # the middle is that of a pixel
        np.testing.assert_allclose(sizes()[1], 0.8 * 15 * 20, rtol=0.1)
        assert read_points(tmp_path / "out/shot_1_points.json").targets.points_yx[1].tolist() == [20, 52]
        # The handle of the ring, a number, and a drag with Alt from a point that has none.
        edge = window.run("const b = document.querySelector('.ring.chosen .handle').getBoundingClientRect();"
                          "return [b.left + b.width / 2, b.top + b.height / 2];")  # fmt: skip
        before = sizes()[1]
        window.drag(edge, (edge[0] + 5 * scale, edge[1]))
        np.testing.assert_allclose(np.sqrt(sizes()[1] / np.pi), np.sqrt(before / np.pi) + 5, rtol=0.05)
        window.press("#no-radius")
        assert np.isnan(sizes()[1])
        assert len(window.run(RING)) == 1
        window.drag(at(52.5 / 75, 20.5 / 50), at(58.5 / 75, 20.5 / 50), key=ALT)
        np.testing.assert_allclose(sizes()[1], np.pi * 6**2, rtol=0.15)
        assert read_points(tmp_path / "out/shot_1_points.json").targets.points_yx[1].tolist() == [20, 52], "not moved"
        window.keys(">")
        np.testing.assert_allclose(sizes()[1], np.pi * 6.6**2, rtol=0.15)
        # A drag is one step to undo; the picture itself is moved with another button.
        window.drag(at(0.1, 0.1), at(0.1, 0.2))
        assert len(sizes()) == 3
        window.press("#undo")
        assert len(sizes()) == 2
        left = at(0, 0)
        window.drag(at(0.5, 0.9), (at(0.5, 0.9)[0] - 30, at(0.5, 0.9)[1]), button=1)
        assert at(0, 0)[0] == pytest.approx(left[0] - 30, abs=1)
        assert len(sizes()) == 2


def test_a_killed_server_loses_nothing(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    with page_process([sys.executable, "-m", "point2mask_ot"], photos, "--out", tmp_path / "out") as (url, process):
        window.open(f"{url}#shot_2.png")
        window.wait(SHOWS, "shot_2.png")
        window.click(*at(0.5, 0.5))
        window.wait(SAVED)
        process.kill()
        process.wait()
        window.click(*at(0.2, 0.2))
        window.wait("return document.getElementById('saved').textContent === 'Not saved yet';")
        assert "does not answer" in window.run("return document.getElementById('alert').textContent;")
    with serving(Session(photos, out=tmp_path / "out"), int(re.search(r":(\d+)/", url)[1])) as server:
        window.open(f"{server.url}#shot_2.png")
        window.wait("return document.querySelectorAll('.point').length === 1;")
        window.click(*at(0.2, 0.2))
        window.wait(SAVED)
    assert len(read_points(tmp_path / "out/shot_2_points.json").targets.points_yx) == 2


CATEGORIES = "return [...document.querySelectorAll('#categories span')].map(e => e.textContent);"
ALPHA = """const pen = document.getElementById('overlay').getContext('2d');
return pen.getImageData(arguments[0], arguments[1], 1, 1).data[3];"""


def test_categories_and_how_it_looks(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    names = ",".join(f"kind{number}" for number in range(1, 12))
    session = Session(photos, out=tmp_path / "out", categories=parse_categories(f"{names},table:stuff"))
    with serving(session) as server:
        window.open(f"{server.url}#shot_1.png")
        window.wait(SHOWS, "shot_1.png")
        window.keys(SHIFT, "2")  # the eleventh
        window.click(*at(0.5, 0.5))
        window.keys(".")
        window.click(*at(0.1, 0.1))
        window.wait(SAYS, "2 targets labelled")
        assert window.run("return document.querySelector('#targets .name').textContent;") == "kind11 1"

        # Renamed, with points in this picture and a place in the list.
        window.keys(",")
        window.press("#edit-category")
        window.run("document.getElementById('category-name').value = '';")
        window.type("#category-name", "cup" + ENTER)
        window.wait("return document.querySelector('#targets .name').textContent === 'cup 1';")
        assert window.run(CATEGORIES)[9:] == ["kind10", "cup", "table"]
        window.keys("\ue032")  # F2
        window.run("const c = document.getElementById('category-color'); c.value = '#102030';"
                   "c.dispatchEvent(new Event('change'));")  # fmt: skip
        window.wait("return document.querySelector('#targets .swatch').style.background === 'rgb(16, 32, 48)';")
        window.keys("1")
        window.press("#edit-category")
        window.press("#category-delete")
        window.wait("return document.querySelectorAll('#categories label').length === 11;")

        # Hidden, and locked.
        window.wait(SAVED)
        window.click(*at(0.5, 0.5))
        window.keys("h")
        window.wait("return document.querySelector('.point').hidden;")
        assert window.run(ALPHA, 37, 22) == 0
        window.keys("h")
        window.wait(FINE)
        assert window.run(ALPHA, 37, 22) > 0
        window.keys("l")
        window.keys("\ue017")
        assert "is locked" in window.wait("return document.getElementById('alert').textContent;")
        assert window.run("return document.querySelectorAll('.point').length;") == 2
        window.keys("k")
        window.keys("m")
        assert window.run("return document.getElementById('photo').style.filter;") == (
            'contrast(1.2) url("#gamma-curve")'
        )
        window.keys("o")
        assert window.run("return document.getElementById('photo').style.filter;") == "contrast(1)"
    assert [c.name for c in read_points(tmp_path / "out/shot_1_points.json").categories][-2:] == ["cup", "table"]


OWNER = """const pen = document.getElementById('overlay').getContext('2d');
return [...pen.getImageData(arguments[0], arguments[1], 1, 1).data].slice(0, 3).join();"""


def test_what_is_painted_holds(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    def painted():
        window.wait(SAVED)
        paint = read_points(tmp_path / "out/shot_1_points.json").paint
        return None if paint is None else paint.marks

    session = Session(photos, out=tmp_path / "out", categories=parse_categories("cup,table:stuff"))
    with serving(session) as server:
        window.open(f"{server.url}#shot_1.png")
        window.wait(SHOWS, "shot_1.png")
        window.keys("2")
        window.click(*at(0.05, 0.1))
        window.keys("1")
        window.click(*at(0.5, 0.4))
        window.wait(SAYS, "2 targets labelled")
        window.run("document.getElementById('borders').click();")
        cup, table = (window.run(OWNER, x, y) for x, y in ((37, 20), (4, 5)))
        assert cup != table
        window.keys("f")
        window.run("const b = document.getElementById('radius-of-brush'); b.value = 18;"
                   "b.dispatchEvent(new Event('input'));")  # fmt: skip
        window.drag(at(0.1, 0.9), at(0.4, 0.9))
        marks = painted()
        assert marks.shape == (50, 75)
        assert (marks[45, 9:29] == 2).all(), "from end to end"
        assert set(np.unique(marks)) == {0, 2}
        window.wait(f"return (() => {{ {OWNER} }})(...arguments) === '{cup}';", 20, 45)
        # Erased: from the selected target alone, and it goes to the other.
        window.keys("e")
        window.drag(at(0.45, 0.4), at(0.55, 0.4))
        window.wait(f"return (() => {{ {OWNER} }})(...arguments) === '{table}';", 37, 20)
        assert painted()[20, 37] == -2
        # A stroke is one step to undo; a picture that comes back has its paint.
        window.press("#undo")
        window.wait(f"return (() => {{ {OWNER} }})(...arguments) === '{cup}';", 37, 20)
        window.press("#redo")
        window.keys("v")
        window.keys("n")
        window.wait(SHOWS, "shot_2.png")
        window.keys("p")
        window.wait(SHOWS, "shot_1.png")
        window.wait(f"return (() => {{ {OWNER} }})(...arguments) === '{table}';", 37, 20)
        before = painted()
        assert (before[45, 9:29] == 2).all()
        # The target goes, and its paint.
        window.press("#delete-1")
        assert painted() is None
        window.press("#undo")
        window.wait(SAVED)
        np.testing.assert_array_equal(painted(), before)
