"""The page to click points on, in a headless Chromium."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from annotate_cases import serving
from PIL import Image

from point2mask_ot import Category, read_coco_panoptic, read_picture, read_points
from point2mask_ot.annotate.session import Session
from point2mask_ot.cli.annotate import parse_categories

SIZE = (600, 400)
PLACE = """const box = document.getElementById('photo').getBoundingClientRect();
return [box.left + (arguments[0] + .5) * box.width / 600, box.top + (arguments[1] + .5) * box.height / 400];"""
OVERLAY = """const pen = document.getElementById('overlay').getContext('2d');
return [...pen.getImageData(arguments[0], arguments[1], 1, 1).data];"""
SAYS = "return document.getElementById('status').textContent.includes(arguments[0]);"
MARKERS = "return [...document.querySelectorAll('.point')].map(marker => marker.getAttribute('aria-label'));"
UNNAMED = """return [...document.querySelectorAll('button, input, select, main, aside')].filter(e => !(e.ariaLabel ||
  e.textContent.trim() && !e.matches('select') || [...(e.labels || [])].some(l => l.textContent.trim())))
  .map(e => e.outerHTML);"""
LEAVES = "return !window.dispatchEvent(new Event('beforeunload', {cancelable: true}));"
CHOSEN = "return document.querySelector('#categories :checked').value"
FINE = "return document.getElementById('overlay').dataset.masks === 'fine';"
SAVED = "return document.getElementById('saved').textContent === 'Saved';"


@pytest.fixture
def coffee(tmp_path) -> Path:
    path = tmp_path / "coffee.png"
    Image.fromarray(skimage.data.coffee()).save(path)
    return path


@pytest.fixture
def small(tmp_path) -> Path:
    path = tmp_path / "coffee.png"
    Image.fromarray(skimage.data.coffee()[::8, ::8]).save(path)
    return path


def tint(window, x, y):
    """The colour of the mask over a pixel; canvas pixels lose a little to their opacity."""
    return np.array(window.run(OVERLAY, x, y))


def assert_tint(window, x, y, color):
    got = tint(window, x, y)
    np.testing.assert_allclose(got[:3], color, atol=3)
    assert 0 < got[3] < 255


ORANGE, BLUE, SLATE = (230, 159, 0), (0, 114, 178), (58, 62, 78)


def test_clicking_through_a_picture(window, coffee, tmp_path):
    def at(x, y):
        return window.run(PLACE, x, y)

    session = Session(coffee, out=tmp_path / "out", categories=parse_categories("cup,table:stuff"))
    with serving(session) as server:
        window.resize(1280, 800)
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*at(300, 60))
        window.wait(SAYS, "1 target labelled")
        assert_tint(window, 300, 150, ORANGE)
        window.keys("2")
        window.click(*at(40, 40))
        window.click(*at(560, 300))
        window.wait(SAYS, "2 targets labelled in ")
        window.wait(MARKERS + "[2]")
        window.wait("return document.getElementById('pick-1').textContent.includes('px');")
        assert_tint(window, 40, 45, SLATE)
        assert_tint(window, 300, 70, ORANGE)
        window.wait(SAVED)

        # A new category, whose points are two of one target.
        window.type("#new-name", "saucer")
        window.press("#add button")
        window.wait(CHOSEN + " === 'saucer'")
        window.click(*at(120, 250))
        window.click(*at(250, 365), key="\ue008")
        window.wait(SAYS, "3 targets labelled")
        assert window.run(MARKERS)[3:] == ["saucer 3, point at x 120, y 250", "saucer 3, point at x 250, y 365"]

        # Move, delete, undo and redo.
        window.drag(at(300, 60), at(330, 160))
        assert window.wait(MARKERS)[0] == "cup 1, point at x 330, y 160"
        window.click(*at(250, 365), button=2)
        assert len(window.run(MARKERS)) == 4
        window.press("#undo")
        assert len(window.run(MARKERS)) == 5
        window.press("#redo")
        assert len(window.run(MARKERS)) == 4
        window.press("#undo")
        window.wait(FINE)

        # Opacity and boundaries.
        window.run("const o = document.getElementById('opacity'); o.value = 100; o.dispatchEvent(new Event('input'));")
        assert tint(window, 330, 160)[3] == 255
        count = "return document.getElementById('overlay').getContext('2d').getImageData(0, 0, 600, 400).data"
        white = count + ".reduce((n, v, i, d) => n + (i % 4 == 0 && v == 255 && d[i + 1] == 255), 0);"
        assert window.run(white) > 500
        window.press("#borders")
        assert window.run(white) == 0

        # Zoom, and a click at that scale.
        window.press("#zoom-in")
        window.press("#zoom-in")
        window.click(*at(300, 210))
        assert window.run(MARKERS)[-1].endswith("x 300, y 210")
        window.keys("\ue017")
        assert len(window.run(MARKERS)) == 5

        window.press("#save")
        window.wait(SAYS, "Saved coffee_points.json, coffee.json, panoptic/coffee.png")

    targets = read_points(tmp_path / "out/coffee_points.json", shape=SIZE[::-1]).targets
    assert targets.points_yx.tolist() == [[160, 330], [40, 40], [300, 560], [250, 120], [365, 250]]
    assert targets.target.tolist() == [0, 1, 1, 2, 2]
    assert targets.is_thing.tolist() == [True, False, True]
    dataset = read_coco_panoptic(tmp_path / "out/coffee.json", tmp_path / "out/panoptic")
    assert [c.name for c in dataset.categories] == ["cup", "saucer", "table"]
    made = dataset[0].id_map
    shown = io.BytesIO(window.screenshot())
    assert Image.open(shown).size == (1280, 800)
    for (y, x), target in zip(targets.points_yx, targets.target, strict=True):
        assert made[y, x] == target + 1
    # What is on the screen is what is in the file.
    for x, y in ((330, 150), (20, 380), (250, 350), (590, 10), (180, 180)):
        np.testing.assert_array_equal(tint(window, x, y)[:3], (ORANGE, SLATE, (240, 228, 66))[made[y, x] - 1])


def test_the_page_by_keyboard_and_on_a_phone(window, coffee, tmp_path):
    with serving(Session(coffee, out=tmp_path / "out")) as server:
        window.resize(390, 800)
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        assert window.run("return document.documentElement.scrollWidth") <= 390
        assert window.run(UNNAMED) == []
        window.run("document.getElementById('stage').focus();")
        window.keys("\ue014")
        window.keys("\ue007")
        assert window.wait(MARKERS) == ["object 1, point at x 301, y 200"]
        window.run("document.querySelector('.point').focus();")
        window.keys("\ue008", "\ue015")
        assert window.run(MARKERS) == ["object 1, point at x 301, y 210"]
        window.wait(SAYS, "1 target labelled")
        window.keys("\ue009", "z")
        assert window.run(MARKERS) == ["object 1, point at x 301, y 200"]
        window.keys("2")
        # Two targets on one pixel: the fault is said in words, and goes when it is mended.
        window.run("document.getElementById('stage').focus();")
        window.keys("\ue007")
        assert "both at" in window.wait("return document.getElementById('alert').textContent;")
        window.keys("\ue017")
        window.wait("return document.getElementById('alert').hidden;")
    window.keys("3")
    window.run("document.getElementById('stage').focus();")
    window.keys("\ue015")
    window.keys("\ue007")
    assert "does not answer" in window.wait("return document.getElementById('alert').textContent;")


def test_sound_a_script_as_the_name_of_a_category_is_a_name(window, small, tmp_path):
    hostile = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
    with serving(Session(small, out=tmp_path / "out", categories=[Category(1, hostile, True)])) as server:
        window.resize(1280, 800)
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*window.run(PLACE, 300, 60))
        window.wait(SAYS, "1 target labelled")
        assert window.run("return document.querySelector('#targets .name').textContent;") == f"{hostile} 1"
        assert window.run("return document.querySelectorAll('img, script').length;") == 2, (
            "the photo and the page's own"
        )
        window.press("#save")
        window.wait(SAYS, "Saved")
        assert not window.run("return 'ran' in window;")
    assert read_points(tmp_path / "out/coffee_points.json").categories[0].name == hostile


SHOWN = "return (e => !e.hidden && e.offsetHeight > 0)(document.getElementById(arguments[0]));"
OPENED = "return document.querySelectorAll('.point').length === arguments[0];"


def test_fault_a2_a_reload_and_a_second_tab(window, small, tmp_path):
    def at(x, y):
        return window.run(PLACE, x * 8, y * 8)

    def count():
        return len(read_points(saved).targets.points_yx)

    saved = tmp_path / "out/coffee_points.json"
    session = Session(small, out=tmp_path / "out", categories=parse_categories("cup,table:stuff"))
    with serving(session) as server:
        window.resize(1280, 800)
        window.open(server.url)
        window.wait(SAYS, "Click on the picture")
        window.click(*at(37, 15))
        window.type("#new-name", "saucer")
        window.press("#add button")
        window.wait(CHOSEN + " === 'saucer'")
        window.click(*at(20, 40))
        window.keys("2")  # as before there was a saucer
        window.click(*at(5, 5))
        window.click(*at(70, 40))
        window.wait(SAYS, "3 targets labelled")
        window.wait(SAVED)
        assert count() == 4

        # The page comes back as it was left, in the category that was chosen, and goes on.
        before = window.run(MARKERS)
        window.reload()
        window.wait(OPENED, 4)
        assert window.run(MARKERS) == before
        assert window.run(CHOSEN) == "table"
        window.click(*at(60, 10))
        window.wait(SAVED)
        assert count() == 5

        # Closed at once after a click, a page loses nothing.
        first = window.new_tab()
        window.resize(1280, 800)
        window.open(server.url)
        window.wait(OPENED, 5)
        window.click(*at(60, 30))
        window.close_tab(first)
        wait_until(lambda: count() == 6)

        # The tab before is told that another has saved, and overwrites nothing.
        kept = saved.read_bytes()
        window.click(*at(30, 45))
        window.wait(SHOWN, "conflict")
        window.click(*at(10, 30))
        assert saved.read_bytes() == kept
        assert window.run(LEAVES), "they are not saved"

        # What is saved can be taken, what was here is an undo away and is saved again.
        mine = window.run(MARKERS)
        assert len(mine) == 7
        window.press("#take-theirs")
        window.wait(OPENED, 6)
        assert not window.run(SHOWN, "conflict")
        assert not window.run(LEAVES)
        window.press("#undo")
        assert window.run(MARKERS) == mine
        window.wait(SAVED)
        assert count() == 7

        saved.write_bytes(kept)
        window.click(*at(45, 3))
        window.wait(SHOWN, "conflict")
        window.press("#keep-mine")
        window.wait(SAVED)
        assert not window.run(SHOWN, "conflict")
        assert count() == 8


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_fault_a5_the_page_shows_turned_and_deep_pictures_as_they_are_labelled(window, tmp_path):
    """What browsers do not turn, WebP, and do not show, 16-bit TIFF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = skimage.data.coffee()[::8, ::8]
    Image.fromarray(pixels).save(tmp_path / "turned.webp", lossless=True, exif=exif)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 100).save(tmp_path / "deep.tif")
    for name in ("turned.webp", "deep.tif"):
        expected = read_picture(tmp_path / name)
        with serving(Session(tmp_path / name, out=tmp_path / "out")) as server:
            window.open(server.url)
            window.wait(SAYS, "Click on the picture")
            height, width, data = window.run(DRAWN)
        np.testing.assert_array_equal(np.reshape(data, (height, width, 4))[..., :3], expected)


DRAWN = """const photo = document.getElementById('photo'), canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [photo.naturalWidth, photo.naturalHeight];
const pen = canvas.getContext('2d');
pen.drawImage(photo, 0, 0);
return [canvas.height, canvas.width, [...pen.getImageData(0, 0, canvas.width, canvas.height).data]];"""


def test_regions_that_become_one_keep_their_sizes(window, small, tmp_path):
    """The size of both together, if both are known; and what a region was told where the other was not."""
    rows = "10,5,cup,,\n70,5,sky:stuff,800,2\n5,40,table:stuff,1500,\n40,45,grass:stuff,,\n"
    (tmp_path / "mine.csv").write_text(f"x,y,category,size,size_error\n{rows}")
    session = Session(small, points=tmp_path / "mine.csv", out=tmp_path / "out")
    with serving(session) as server:
        window.resize(1280, 800)
        window.open(server.url)
        window.wait(SAYS, "4 targets labelled")
        for count, gone, told in ((3, 3, [(1500, 1.35), (800, 2)]), (2, 1, [(2300, 2)])):
            window.press(f"#pick-{gone}")
            window.run(BECOMES, "table")
            window.wait(SAYS, f"{count} targets labelled")
            window.press("#save")
            window.wait(SAYS, "Saved")
            found = read_points(tmp_path / "out/coffee_points.json").targets
            stuff = ~found.is_thing
            assert sorted(zip(found.size[stuff], found.size_error[stuff], strict=True)) == sorted(told)


BECOMES = """const choice = document.getElementById('selected-category');
choice.value = arguments[0];
choice.dispatchEvent(new Event('change'));"""
