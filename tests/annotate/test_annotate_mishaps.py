"""What goes wrong in a sitting, in a headless Chromium: damaged pictures, dead servers and keys, a second tab."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import ask, serving
from PIL import Image

from point2mask_ot import read_points
from point2mask_ot.annotate.session import Session
from point2mask_ot.cli.annotate import parse_categories

PLACE = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left + arguments[0] * box.width, box.top + arguments[1] * box.height];"""
SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"
SHOWS = "return document.getElementById('name').textContent === arguments[0];"
SAVED = "return document.getElementById('saved').textContent === 'Saved';"
ROWS = "return [...document.querySelectorAll('.picture')].map(row => row.getAttribute('aria-label'));"
CHOSEN = "return document.querySelector('#categories :checked').value"
ALERT = "return document.getElementById('alert').textContent;"
NOTICE = "return !document.getElementById('notice').hidden && document.getElementById('notice-words').textContent;"
SEEN = "return document.getElementById(arguments[0]).offsetHeight > 0;"
FOCUS = "return document.activeElement.id;"
OPEN = "[...document.querySelectorAll('.picture')].find(row => row.textContent === arguments[0]).click();"
ENTER, ESCAPE = "\ue007", "\ue00c"
COFFEE = skimage.data.coffee()[::8, ::8]  # 50 x 75


@pytest.fixture
def photos(tmp_path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(1, 4):
        Image.fromarray(np.roll(COFFEE, 3 * number, 1)).save(root / f"shot_{number}.png")
    (root / "bad.png").write_bytes(b"no picture")
    return root


def test_what_is_damaged_is_skipped_and_what_is_worked_on_is_not(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    with serving(Session(photos, out=tmp_path / "out", categories=parse_categories("cup,table:stuff"))) as server:
        window.resize(1280, 800)
        # Asked for by its address, a picture that is not there or damaged is no other, whose state a key would change.
        for name, words in (("bad.png", "no readable picture"), ("gone.png", "no picture 'gone.png'")):
            window.open("about:blank")
            window.open(f"{server.url}#{name}")
            window.wait(SHOWS, name)
            assert words in window.wait(ALERT)
        window.keys("s")
        window.keys("d")
        window.wait(SAYS, "Choose a picture of the list.")
        assert ask(server, "folder")[1]["states"] == ["untouched"] * 4
        window.open(f"{server.url}#shot_1.png")
        window.wait(SHOWS, "shot_1.png")
        window.click(*at(0.5, 0.5))
        window.wait(SAVED)
        # A damaged picture that is asked for is the one that keys are about.
        window.run(OPEN, "bad.png")
        window.wait(SHOWS, "bad.png")
        window.keys("d")
        assert "S skips it" in window.wait(ALERT)
        window.keys("s")
        window.wait(SHOWS, "shot_1.png")  # the next that waits, round the end of the folder
        assert window.run(ROWS)[:2] == ["bad.png, could not be opened", "shot_1.png, begun"]
        assert ask(server, "folder")[1]["states"][0] == "skipped"

        # Steps to undo outlive the visit.
        window.press("#undo")
        assert window.run("return document.querySelectorAll('.point').length;") == 0
        window.press("#redo")
        window.wait(SAVED)

        # Skipped, and worked on after all.
        window.keys("s")
        window.wait(SHOWS, "shot_2.png")
        window.keys("p")
        window.wait(SHOWS, "shot_1.png")
        window.click(*at(0.1, 0.1))
        window.wait(SAYS, "was skipped, and is no longer")
        window.wait(SAVED)
        assert "shot_1.png, begun" in window.run(ROWS)

        # Fields are left by Enter and Escape, and what is chosen by the pointer leaves at once.
        window.run("document.getElementById('radius').focus();")
        window.type("#radius", "9" + ENTER)
        assert window.run(FOCUS) == "stage"
        for field in ("search", "new-name", "radius", "opacity", "filter"):
            window.run("document.getElementById(arguments[0]).focus();", field)
            window.keys(ESCAPE)
            assert window.run(FOCUS) == "stage", field
        window.wait(SAVED)
        assert round(float(np.nanmax(read_points(tmp_path / "out/shot_1_points.json").targets.size))) == 254
        slider = window.run("const b = document.getElementById('opacity').getBoundingClientRect();"
                            "return [b.left + 20, b.top + b.height / 2];")  # fmt: skip
        window.click(*slider)
        assert window.run(FOCUS) == "stage"

        # A thing that is added takes no key from stuff.
        window.type("#new-name", "a:b" + ENTER)
        window.wait(SAYS, "The categories are as they were.")
        assert "alone or with :thing or :stuff" in window.run(ALERT)
        window.run("document.getElementById('new-name').value = '';")
        window.type("#new-name", "saucer" + ENTER)
        window.wait(CHOSEN + " === 'saucer'")
        window.wait(SAYS, "saucer is the category of the next point.")
        assert window.run(ALERT) == ""
        window.keys("2")
        assert window.run(CHOSEN) == "table"
        window.keys("3")
        assert window.run(CHOSEN) == "saucer"


def test_the_brush_and_the_eraser_say_what_they_leave(window, photos, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    session = Session(photos / "shot_1.png", out=tmp_path / "out", categories=parse_categories("cup,table:stuff"))
    with serving(session) as server:
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*at(0.5, 0.4))
        window.keys("2")
        window.click(*at(0.05, 0.1))
        window.wait(SAYS, "2 targets labelled")
        window.keys("f")
        window.drag(at(0.4, 0.4), at(0.6, 0.4))
        window.wait(SAYS, "The brush leaves the points of cup 1 to them.")
        window.wait(SAVED)
        found = read_points(tmp_path / "out/shot_1_points.json")
        (y, x), _ = found.targets.points_yx
        assert (found.paint.marks[y, x], found.paint.marks[y, x - 2]) == (0, 2)
        window.press("#pick-0")
        window.keys("e")
        window.drag(at(0.43, 0.4), at(0.46, 0.4))  # where the brush was
        window.wait(SAYS, "the eraser takes from cup 1 alone, and this is table 2.")
        # Masks that are saved are of points as they were then.
        window.press("#save")
        window.wait(SAYS, "Saved shot_1_points.json")
        assert not window.run(SEEN, "older")
        window.press("#undo")
        window.wait(SEEN, "older")


def test_a_copy_of_points_that_cannot_be_saved(window, photos, tmp_path):
    with serving(Session(photos / "shot_1.png", out=tmp_path / "out")) as server:
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*window.run(PLACE, 0.5, 0.5))
        window.wait(SAVED)
        assert not window.run(SEEN, "rescue")
    window.drag(window.run(PLACE, 0.2, 0.2), window.run(PLACE, 0.3, 0.2))
    window.wait(SEEN, "rescue")
    window.run("URL.createObjectURL = blob => { blob.text().then(text => { window.copied = text; }); return '#'; };"
               "HTMLAnchorElement.prototype.click = function () { window.called = this.download; };")  # fmt: skip
    window.press("#save-copy")
    (tmp_path / "copy.json").write_text(window.wait("return window.copied;"))
    assert window.run("return window.called;") == "shot_1_points.json"
    mine = read_points(tmp_path / "copy.json", image="shot_1.png", shape=(50, 75)).targets
    assert (mine.num_targets, mine.has_sizes) == (2, True)
    session = Session(photos / "shot_1.png", out=tmp_path / "other", points=tmp_path / "copy.json")
    assert len(session.opening("shot_1.png")["points"]) == 2


def test_a_merge_is_confirmed_and_what_a_stale_tab_brings_back_is_said(window, photos, tmp_path):
    session = Session(photos / "shot_1.png", out=tmp_path / "out", categories=parse_categories("cup,mug,table:stuff"))
    with serving(session) as server:
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*window.run(PLACE, 0.5, 0.5))
        window.wait(SAVED)
        window.press("#edit-category")
        window.press("#category-merge")
        window.wait(SEEN, "merge-sure")
        words = window.run("return document.getElementById('merge-words').textContent;")
        assert words.startswith("Merge cup (1 saved point in 1 picture) into mug?")
        assert ask(server, "uses?category=cup")[1]["points"] == 1, "not yet"
        window.press("#merge-now")
        window.wait("return document.querySelectorAll('#categories label').length === 2;")
        assert window.run(CHOSEN) == "mug"
        # Elsewhere it is called otherwise, while this tab has points of it.
        change = {"do": "rename", "name": "mug", "to": "bowl"}
        assert ask(server, "category", change)[0] == 200
        window.click(*window.run(PLACE, 0.2, 0.2))
        window.wait(SEEN, "conflict")
        window.press("#keep-mine")
        assert window.wait(NOTICE).startswith("mug: renamed, merged or deleted elsewhere, and back")
        window.wait(SAYS, "in the place of the others")
        window.press("#notice-read")
        assert not window.run(SEEN, "notice")
        assert [c["name"] for c in json.loads((tmp_path / "out/categories.json").read_text())["categories"]] == [
            "bowl", "mug", "table"
        ]  # fmt: skip
